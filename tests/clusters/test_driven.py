"""``mgelaunch run --cluster slurm|mpi``: a driver on the hub has a real engine start the ranks of a job."""

import json
import os
import re

import pytest

from .driver import PATIENCE

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK")
VALUE = 'a,b;c "q"\nline2'
REPORT = """
import json, os, socket, sys
rank = os.environ["RANK"]
with open("report." + rank, "w") as file:
    json.dump({"environ": dict(os.environ), "host": socket.gethostname(), "cwd": os.getcwd(), "args": sys.argv[1:]}, file)
print("rank", rank, "was here")
"""
BLOCK = ["n1", "n1", "n2", "n2"]


@pytest.fixture(params=["slurm", "mpi"])
def driver(request, driver_of, project):
    """A driver of each engine in turn, in the folder of a project with a script that reports."""
    return driver_of(request.param, project)


@pytest.fixture
def slurm_driver(driver_of, project):
    return driver_of("slurm", project)


@pytest.fixture
def project(tmp_path):
    (tmp_path / ".mgelaunch").mkdir()
    (tmp_path / "train.py").write_text(REPORT)
    return tmp_path


def reports(project):
    """What each rank has reported, by rank."""
    return [json.loads(path.read_text()) for path in sorted(project.glob("report.*"))]


def without_engine(driver, *arguments):
    """How a job ends where no engine is on the PATH."""
    command = ("env", "PATH=/nowhere", *driver.command, *arguments)
    return driver.cluster.run("hub", *command, env=driver.environ, cwd=driver.folder)


def told(project, name):
    """The value of a variable in every rank."""
    return [report["environ"].get(name) for report in reports(project)]


def test_ranks_on_two_nodes_know_their_places_and_get_every_character(driver, project):
    """Also what concerns their end: prefixes, records, and the exit code."""
    profile = (
        f'[env]\nOF_PROFILE = {json.dumps(VALUE)}\n[rank.env]\nOF_RANK = "{{rank}} on {{node_rank}}, {{run_id}}"\n'
    )
    (project / ".mgelaunch" / "job.toml").write_text(profile)
    stale = {"RANK": "7", "WORLD_SIZE": "8", "SLURM_HOSTFILE": str(project / "none"), "SLURM_LABELIO": "1"}
    done = driver.run("-p", "job", "train.py", "--lr", VALUE, env={"OF_SHELL": VALUE} | stale)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == [f"[{rank}] rank {rank} was here" for rank in range(4)]
    assert [report["host"] for report in reports(project)] == BLOCK
    ranks = [tuple(report["environ"][name] for name in NAMES) for report in reports(project)]
    assert ranks == [(str(rank), str(rank % 2), "4", "2", str(rank // 2), str(rank // 2)) for rank in range(4)]
    assert told(project, "OF_PROFILE") == [VALUE] * 4
    assert told(project, "OF_SHELL") == [VALUE] * 4
    assert [report["args"] for report in reports(project)] == [["--lr", VALUE]] * 4
    assert {report["cwd"] for report in reports(project)} == {str(project)}
    assert told(project, "MGELAUNCH_RANK") == [None] * 4
    assert told(project, "MASTER_ADDR") == ["n1"] * 4
    (port,) = set(told(project, "MASTER_PORT"))
    assert 20000 <= int(port) < 30000
    job, run_id = driver.job(), driver.run_folder.name
    assert told(project, "OF_RANK") == [f"{rank} on {rank // 2}, {run_id}" for rank in range(4)]
    assert (job["exit_code"], job["world_size"], job["host"], job["reason"]) == (0, 4, "hub", None)
    records = [driver.record(rank) for rank in range(4)]
    assert [(record["host"], record["exit_code"]) for record in records] == [(host, 0) for host in BLOCK]
    assert [(record["rank"], record["local_rank"], record["node_rank"]) for record in records] == [
        (rank, rank % 2, rank // 2) for rank in range(4)
    ]
    assert {path.name for path in driver.run_folder.iterdir()} == {"job.json", *(f"rank-{n}.json" for n in range(4))}


def test_logs_of_all_ranks_are_beside_their_records(driver, project):
    done = driver.run("--log-dir", "logs", "train.py")
    assert done.returncode == 0, done.stderr
    (folder,) = (project / "logs").iterdir()
    assert driver.job(folder)["exit_code"] == 0
    for rank in range(4):
        assert driver.record(rank, folder)["exit_code"] == 0
        assert (folder / f"rank-{rank}.log").read_text() == f"rank {rank} was here\n"
    assert not (project / ".mgelaunch" / "runs").exists()


def test_a_percentage_is_of_the_host_where_a_rank_runs(driver, cluster, project):
    sizes = {"hub": "16M", "n1": "64M", "n2": "256M"}
    try:
        for where, size in sizes.items():
            assert cluster.run(where, "mount", "-o", f"remount,size={size}", "/dev/shm").returncode == 0
        done = driver.run("-e", "MGE_PLASMA_MEMORY=50%", "train.py")
    finally:
        for where in sizes:
            cluster.run(where, "mount", "-o", "remount,size=50%", "/dev/shm")
    assert done.returncode == 0, done.stderr
    values = [int(value) for value in told(project, "MGE_PLASMA_MEMORY")]
    assert values == [16 << 20, 16 << 20, 64 << 20, 64 << 20]  # half of it, for two ranks


def test_files_are_read_once_where_the_job_is_started(driver, cluster, project):
    """One profile is seen by the hub only, the other one and .env are gone when ranks start."""
    (project / ".env").write_text("OF_FILE=read\n")
    (project / ".mgelaunch" / "job.toml").write_text('[env]\nOF_PROFILE = "read"\n')
    (project / "bin").mkdir()
    name = {"slurm": "srun", "mpi": "mpirun"}[driver.word]
    engine = project / "bin" / name
    engine.write_text(
        f'#!/bin/sh\nrm .mgelaunch/job.toml\necho OF_FILE=late >.env\nPATH=${{PATH#*:}} exec {name} "$@"\n'
    )
    engine.chmod(0o755)
    profile = 'echo "[env]" >/dev/shm/here.toml; echo "OF_HUB = \'read\'" >>/dev/shm/here.toml'
    cluster.run("hub", "sh", "-c", profile)
    path = f"{project}/bin:{cluster.environ['PATH']}"
    done = driver.run("-p", "job", "-p", "/dev/shm/here.toml", "train.py", env={"PATH": path})
    cluster.run("hub", "rm", "/dev/shm/here.toml")
    assert done.returncode == 0, done.stderr
    assert not (project / ".mgelaunch" / "job.toml").exists()
    for variable in ("OF_FILE", "OF_PROFILE", "OF_HUB"):
        assert told(project, variable) == ["read"] * 4


def test_what_the_driver_has_said_no_rank_repeats(driver, project):
    done = driver.run("train.py", env={"MEGENGINE_LOGING_LEVEL": "ERROR"})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("[name.unknown]") == 1, done.stderr
    assert len(reports(project)) == 4


def test_a_host_that_does_not_do_refuses_all_ranks_and_is_said_once(driver, project):
    (project / ".mgelaunch" / "huge.toml").write_text('[requires]\nhost-memory = "900TiB"\n')
    done = driver.run("-p", "huge", "--grace", "2s", "train.py")
    assert done.returncode == 125, done.stderr
    assert done.stderr.count("[mem.limit]") == 1, done.stderr
    assert re.search(r"nothing was started as rank [0-3] on n[12]", done.stderr), done.stderr
    assert reports(project) == []
    # The engine may have ended a rank before it could look: another one had refused already.
    refused = [json.loads(path.read_text()) for path in driver.run_folder.glob("rank-*.json")]
    assert {record["exit_code"] for record in refused} == {125}
    assert driver.job()["exit_code"] == 125


def test_a_wrong_setting_is_refused_before_the_engine_is_asked(driver, project):
    done = without_engine(driver, "-e", "MEGENGINE_DTR_EVICTION_THRESHOLD=8", "train.py")
    assert done.returncode == 125, done.stderr
    assert "8GiB" in done.stderr
    assert not (project / ".mgelaunch" / "runs").exists()


def test_an_engine_that_is_not_there_is_named(driver, project):
    done = without_engine(driver, "train.py")
    assert done.returncode == 125, done.stderr
    name = {"slurm": "srun", "mpi": "mpirun"}[driver.word]
    assert re.search(rf"{name} is not there.*\[cluster\.command\]", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert reports(project) == []


def test_a_dry_run_prints_the_command_of_the_engine_and_starts_nothing(driver, project):
    done = driver.run("--dry-run", "train.py")
    assert done.returncode == 0, done.stderr
    wanted = {
        "slurm": ("srun", "--export=ALL", "--nodes=2", "--ntasks-per-node=2", "--kill-on-bad-exit=1"),
        "mpi": ("mpirun", "-H", "n1:2,n2:2", "-x"),
    }
    for word in wanted[driver.word]:
        assert word in done.stdout
    assert reports(project) == []
    assert not (project / ".mgelaunch" / "runs").exists()


def test_slurm_takes_and_runs_the_batch_script_of_a_dry_run(slurm, slurm_driver, project):
    outside = [*slurm_driver.command, "--time-limit", "5m", "-e", f"OF_OPTION={VALUE}", "--dry-run", "train.py", "a b"]
    shown = slurm.cluster.run("hub", *outside, cwd=project)
    assert shown.returncode == 0, shown.stderr
    assert reports(project) == []
    job = slurm.batch(shown.stdout, f"--chdir={project}")
    said = project / f"slurm-{job}.out"
    assert slurm.await_job(job, seconds=PATIENCE) == "COMPLETED", said.read_text()
    assert [report["host"] for report in reports(project)] == BLOCK
    assert told(project, "OF_OPTION") == [VALUE] * 4
    assert [report["args"] for report in reports(project)] == [["a b"]] * 4
    assert slurm_driver.job()["exit_code"] == 0


def test_outside_of_an_allocation_nothing_is_started(slurm, slurm_driver, project):
    done = slurm.cluster.run("hub", *slurm_driver.command, "train.py", cwd=project)
    assert done.returncode == 125, done.stderr
    assert "salloc" in done.stderr
    assert "[cluster.allocation]" in done.stderr
    assert reports(project) == []


@pytest.mark.megengine
def test_driven_ranks_train_what_one_process_trains(driver, cluster, launcher, project, megengine_python):
    """Every gradient of MegEngine's own server, which is kept beside rank 0."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(folder, "frameworks", "data_parallel.py"), encoding="utf-8") as file:
        (project / "train.py").write_text(file.read())
    options = ("--threads", "1", "--python", megengine_python)
    alone = cluster.run("n1", *launcher, "run", *options, "train.py", cwd=project, timeout=PATIENCE)
    assert alone.returncode == 0, alone.stderr
    done = driver.run(*options, "--rendezvous", "megengine", "train.py", timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    (one,) = _digests(alone.stdout)
    assert _digests(done.stdout) == [one] * 4


def _digests(stdout):
    return [json.loads(text)["digest"] for text in re.findall(r"\{.*?\}", stdout)]
