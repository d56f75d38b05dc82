"""Every job leaves a folder of its own: how each rank ended and the whole in one file, with --log-dir what they said."""

import json
import os
import re
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from mgelaunch.launch.records import Records, Subject

DEADLINE = 30
MIB = 1 << 20


@pytest.fixture
def kept(world):
    """A function that returns the one folder of a job below `parent`, as an object that reads it."""

    def find(parent="logs"):
        (folder,) = (world.project / parent).iterdir()
        return Kept(folder)

    return find


class Kept:
    """The folder that one job left."""

    def __init__(self, folder):
        self.folder = folder

    def log(self, rank):
        return (self.folder / f"rank-{rank}.log").read_bytes()

    def rank(self, rank):
        return json.loads((self.folder / f"rank-{rank}.json").read_text("utf-8"))

    def job(self):
        return json.loads((self.folder / "job.json").read_text("utf-8"))

    def files(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# -- what is kept --------------------------------------------------------------------------------


def test_a_job_leaves_a_log_and_a_record_of_each_rank_and_one_of_the_whole(world, kept):
    done = world.run("run", "-n", "2", "--log-dir", "logs", "sh", "-c", "echo $$")
    assert done.returncode == 0
    assert done.stderr == f"mgelaunch: logs and records are in {kept().folder}\n"
    ranks = [f"rank-{rank}.{kind}" for rank in (0, 1) for kind in ("json", "log")]
    assert sorted(kept().files()) == ["job.json", *ranks]
    assert kept().job()["run_id"] == kept().folder.name
    for rank in (0, 1):
        assert kept().rank(rank)["pid"] == int(kept().log(rank))
        assert f"[{rank}] {int(kept().log(rank))}\n" in done.stdout


def test_a_log_has_both_streams_byte_for_byte_and_no_prefix(world, start, kept):
    world.write("train.py", "import os; os.write(1, bytes(range(256)) * 20); os.write(2, b'\\rerr \\xff')")
    start("run", "-n", "2", "--log-dir", "logs", "train.py").communicate(timeout=DEADLINE)
    out, err = bytes(range(256)) * 20, b"\rerr \xff"
    for rank in (0, 1):
        assert kept().log(rank) in {out + err, err + out}


def test_one_rank_is_shown_as_it_is_and_kept_too(world, start, kept):
    said = bytes(range(256)) * 20
    world.write("train.py", f"import os; os.write(1, bytes(range(256)) * {len(said) // 256})")
    stdout, _ = start("run", "-n", "1", "--log-dir", "logs", "train.py").communicate(timeout=DEADLINE)
    assert stdout == kept().log(0) == said


def test_a_rank_that_ended_well_has_a_record_of_it(world, kept):
    world.write("train.py", "import os\nif os.environ['RANK'] == '1': b'x' * (128 << 20)")
    began = time.time()
    world.run("run", "-n", "2", "--log-dir", "logs", "train.py")
    for rank in (0, 1):
        record = kept().rank(rank)
        assert (record["rank"], record["attempt"], record["exit_code"], record["signal"]) == (rank, 0, 0, None)
        assert began - 0.01 <= moment(record["start"]) <= moment(record["end"]) <= time.time()
    assert 4 * MIB < kept().rank(0)["peak_rss"] < 100 * MIB < 128 * MIB < kept().rank(1)["peak_rss"] < 228 * MIB


def test_the_record_of_a_job_names_the_rank_that_failed_first_and_why(world, kept):
    done = world.run("run", "-n", "2", "--log-dir", "logs", "sh", "-c", "[ $RANK = 0 ] || kill -KILL $$; exec sleep 60")
    job = kept().job()
    assert (done.returncode, job["exit_code"], job["first_failed_rank"], job["world_size"]) == (137, 137, 1, 2)
    assert re.match("rank 1 .*was killed by SIGKILL", job["reason"])
    ends = [(kept().rank(rank)["exit_code"], kept().rank(rank)["signal"]) for rank in (0, 1)]
    assert ends == [(None, signal.SIGTERM), (None, signal.SIGKILL)]
    assert str(kept().folder) in done.stderr.splitlines()[-1]


def test_a_job_that_went_well_has_no_reason(world, kept):
    world.run("run", "-n", "2", "--log-dir", "logs", "true")
    job = kept().job()
    assert (job["exit_code"], job["first_failed_rank"], job["reason"], job["attempts"]) == (0, None, None, 1)
    assert moment(job["start"]) <= moment(job["end"])
    assert job["command"] == ["true"]


def test_a_rank_has_a_record_while_it_runs_and_a_job_that_was_stopped_says_so(start, kept):
    process = start("run", "-n", "1", "--log-dir", "logs", "sh", "-c", "echo $$; exec sleep 60")
    pid = int(process.stdout.readline())
    record = kept().rank(0)
    assert (record["pid"], "end" in record) == (pid, False)
    process.terminate()
    assert process.wait(DEADLINE) == 128 + signal.SIGTERM
    job = kept().job()
    assert (job["exit_code"], job["first_failed_rank"]) == (128 + signal.SIGTERM, None)
    assert "SIGTERM" in job["reason"]
    assert kept().rank(0)["signal"] == signal.SIGTERM


def test_a_second_start_goes_on_in_the_same_log_and_says_that_it_is_one(world, kept):
    # A failure within three seconds of the first start is none that another start would mend.
    script = "echo $TORCHELASTIC_RESTART_COUNT; [ $TORCHELASTIC_RESTART_COUNT = 1 ] || { sleep 3.1; exit 1; }"
    done = world.run("run", "-n", "1", "--max-restarts", "1", "--log-dir", "logs", "sh", "-c", script)
    assert (done.returncode, kept().log(0)) == (0, b"0\n1\n")
    record = kept().rank(0)
    assert (record["attempt"], record["exit_code"]) == (1, 0)
    assert (kept().job()["attempts"], kept().job()["exit_code"]) == (2, 0)


def test_no_secret_of_the_command_is_in_a_record(world, kept):
    secrets = ["--api-key=hunter2", "WANDB_API_KEY=hunter2", "https://me:hunter2@host/x"]
    world.run("run", "-n", "1", "-e", "A_TOKEN=hunter2", "--log-dir", "logs", "true", "--lr=1", *secrets)
    command = ["true", "--lr=1", "--api-key=(secret)", "WANDB_API_KEY=(secret)", "https://me:(secret)@host/x"]
    assert kept().job()["command"] == command
    assert not [name for name, data in kept().files().items() if b"hunter2" in data]


# -- without --log-dir ---------------------------------------------------------------------------


def test_without_a_log_directory_the_records_go_to_the_project_and_nothing_is_said_of_them(world, kept):
    done = world.run("run", "-n", "2", "sh", "-c", "echo $$")
    assert (done.returncode, done.stderr) == (0, "")
    runs = world.project / ".mgelaunch/runs"
    assert sorted(kept(runs).files()) == ["job.json", "rank-0.json", "rank-1.json"]
    assert {f"[{rank}] {kept(runs).rank(rank)['pid']}" for rank in (0, 1)} == set(done.stdout.splitlines())
    assert kept(runs).job()["exit_code"] == kept(runs).rank(0)["exit_code"] == kept(runs).rank(1)["exit_code"] == 0


def test_a_job_that_failed_names_the_folder_of_its_records(world, kept):
    done = world.run("run", "-n", "2", "sh", "-c", "[ $RANK = 0 ] || exit 3; exec sleep 60")
    record = kept(".mgelaunch/runs")
    assert done.returncode == record.job()["exit_code"] == record.rank(1)["exit_code"] == 3
    assert (record.rank(1)["stopped_by"], record.rank(0)["stopped_by"]) == (None, "SIGTERM")
    assert done.stderr.splitlines()[-1] == f"  records: {record.folder}"


def test_nothing_is_written_before_the_first_rank_has_ended(world, start):
    process = start("run", "-n", "1", "sh", "-c", "echo ready; read line", stdin=subprocess.PIPE)
    process.stdout.readline()
    assert not (world.project / ".mgelaunch/runs").exists()
    process.communicate(b"go\n", timeout=DEADLINE)
    assert (world.project / ".mgelaunch/runs").exists()


@pytest.mark.parametrize("command", [("true",), ("false",)])
def test_a_project_that_cannot_be_written_to_runs_its_job_without_records(world, command):
    world.write(".mgelaunch/runs", "a file, where a folder would have to be")
    done = world.run("run", "-n", "2", *command)
    assert done.returncode == int(command == ("false",))
    assert "records" not in done.stderr


def test_a_start_that_is_refused_leaves_no_record(world):
    done = world.run("run", "-n", "2", "no-such-command")
    assert done.returncode == 127
    assert not (world.project / ".mgelaunch/runs").exists()


def test_records_below_a_directory_make_no_project_of_it(world):
    bare = Path(world.home, "bare")
    (bare / "sub").mkdir(parents=True)
    world.run("run", "-n", "1", "true", cwd=bare)
    assert (bare / ".mgelaunch/runs/.gitignore").read_text() == "*\n"
    (bare / ".env").write_text("A=1\n")
    done = world.run("run", "sh", "-c", "echo ${A-none}", cwd=bare / "sub")
    assert done.stdout == "none\n"


def test_an_empty_folder_that_marks_a_project_still_marks_it_with_records_in_it(world):
    bare = Path(world.home, "bare")
    (bare / ".mgelaunch").mkdir(parents=True)
    (bare / "sub").mkdir()
    world.run("run", "-n", "1", "true", cwd=bare / "sub")
    assert (bare / ".mgelaunch/.gitignore").read_text() == "/runs/\n"
    (bare / ".env").write_text("A=1\n")
    done = world.run("run", "sh", "-c", "echo ${A-none}", cwd=bare / "sub")
    assert done.stdout == "1\n"


# -- what is shown -------------------------------------------------------------------------------


def test_quiet_shows_nothing_of_the_ranks(world, kept):
    done = world.run("run", "-n", "2", "--log-dir", "logs", "--quiet", "sh", "-c", "echo x; echo x >&2")
    assert (done.returncode, done.stdout) == (0, "")
    assert len(done.stderr.splitlines()) == 1
    assert [kept().log(rank) for rank in (0, 1)] == [b"x\nx\n"] * 2


def test_quiet_without_a_log_directory_is_a_usage_error(world):
    done = world.run("run", "-n", "2", "--quiet", "touch", "started")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--log-dir" in done.stderr
    assert not (world.project / "started").exists()


def test_a_reader_that_leaves_does_not_end_a_job_whose_logs_have_it_all(world, start, kept):
    world.write(
        "train.py",
        """import os, time
print("ready")
while not os.path.exists("go"): time.sleep(0.02)
for n in range(500): print(n)""",
    )
    process = start("run", "-n", "2", "--log-dir", "logs", "train.py", stdin=subprocess.DEVNULL)
    process.stdout.readline()
    process.stdout.close()
    world.write("go", "")
    assert process.wait(DEADLINE) == 0
    assert b"warning: the output cannot be shown any more" in process.stderr.read()
    everything = "".join(f"{line}\n" for line in ("ready", *range(500))).encode()
    assert [kept().log(rank) for rank in (0, 1)] == [everything] * 2


# -- where it is kept ----------------------------------------------------------------------------


def test_a_directory_that_cannot_be_made_refuses_the_start(world):
    world.write("file", "mine")
    done = world.run("run", "-n", "2", "--log-dir", "file/logs", "touch", "started")
    assert done.returncode == 125
    assert done.stderr.endswith("mgelaunch: nothing was started (exit code 125, log.directory)\n")
    assert not (world.project / "started").exists()
    assert (world.project / "file").read_text() == "mine"


def test_jobs_at_the_same_time_have_a_folder_each(world, start):
    jobs = [start("run", "-n", "1", "--log-dir", "logs", "sh", "-c", f"echo {job}") for job in range(3)]
    assert [job.wait(DEADLINE) for job in jobs] == [0, 0, 0]
    said = sorted((folder / "rank-0.log").read_text() for folder in (world.project / "logs").iterdir())
    assert said == ["0\n", "1\n", "2\n"]


def test_a_later_job_leaves_the_folder_of_a_former_one_alone(world, kept):
    world.run("run", "-n", "1", "--log-dir", "logs", "sh", "-c", "echo first")
    first = kept()
    before = first.files()
    world.run("run", "-n", "1", "--log-dir", "logs", "sh", "-c", "echo second")
    assert len(os.listdir(world.project / "logs")) == 2
    assert first.files() == before


def test_a_folder_that_is_there_is_never_used_again(tmp_path):
    subject = Subject("20300101-000000-7", "host", ("true",), 1)
    former = Records.below(str(tmp_path), subject)
    former.log(0, b"mine")
    other = Records.below(str(tmp_path), subject)
    assert other.folder == f"{former.folder}-2"
    other.close()
    assert (tmp_path / subject.run_id / "rank-0.log").read_bytes() == b"mine"
    former.close()


def test_the_directory_of_a_profile_is_beside_the_profile_and_that_of_the_flag_where_one_is(world, kept):
    world.write(".mgelaunch/kept.toml", "[launch]\nlog-dir = '../kept/runs'\n")
    folder = world.project / "sub"
    folder.mkdir()
    world.run("run", "-p", "kept", "-n", "1", "sh", "-c", "echo profile", cwd=folder)
    world.run("run", "-p", "kept", "-n", "1", "--log-dir", "logs", "sh", "-c", "echo flag", cwd=folder)
    assert (kept("kept/runs").log(0), kept("sub/logs").log(0)) == (b"profile\n", b"flag\n")
