"""Four ranks of MegEngine on a CPU that meet at the server which mgelaunch keeps for them."""

import json
import os
import re
import socket
import subprocess
import time

import psutil
import pytest

pytestmark = pytest.mark.megengine

PATIENCE = 180
"""Seconds: four ranks and the server import MegEngine at once; on two quiet cores all is over in six."""

RANKS = 4
ONE_STAYS_AWAY = """
import os, time
import megengine.distributed as dist
rank = int(os.environ["RANK"])
print("port", os.environ["MASTER_PORT"], flush=True)
if rank == 2:
    time.sleep(600)
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
dist.init_process_group(*address, int(os.environ["WORLD_SIZE"]), rank, rank, device_type="gpu")
dist.group_barrier()
"""
ONE_FAILS = """
import os, sys
import megengine.distributed as dist
rank = int(os.environ["RANK"])
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
dist.init_process_group(*address, int(os.environ["WORLD_SIZE"]), rank, rank, device_type="gpu")
dist.group_barrier()
if rank == 1:
    sys.exit(5)
dist.group_barrier()
"""


@pytest.fixture
def train(world):
    """The data-parallel training, in a project of its own."""
    with open(os.path.join(os.path.dirname(__file__), "data_parallel.py"), encoding="utf-8") as file:
        return world.write("data_parallel.py", file.read())


def reports(stdout):
    """The JSON that each rank printed, by rank."""
    found = [json.loads(text) for text in re.findall(r"\{.*\}$", stdout, re.MULTILINE)]
    return sorted(found, key=lambda report: report["rank"])


def left(folder):
    """The processes that have their working directory below `folder`: ranks and the server have it in the project."""
    running = psutil.process_iter(["pid", "cwd", "cmdline"])
    return [process.info for process in running if (process.info["cwd"] or "").startswith(str(folder))]


def is_free(port):
    """Whether anybody can listen at `port` again."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_four_ranks_train_what_one_process_trains(world, tmp_path, megengine_python, train):
    """The digest of all weights is the same, so each rank had its own rows and heard of all gradients."""
    alone = world.run("run", "--threads", 1, "--python", megengine_python, train, timeout=PATIENCE)
    (one,) = reports(alone.stdout)
    options = ("-n", RANKS, "--rendezvous", "megengine", "--python", megengine_python)
    ran = world.run("run", *options, train, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    told = reports(ran.stdout)
    assert [report["rank"] for report in told] == list(range(RANKS))
    assert [report["digest"] for report in told] == [one["digest"]] * RANKS
    assert [report["nccl_launch_mode"] for report in told] == ["PARALLEL"] * RANKS
    assert left(tmp_path) == []


def test_a_rank_that_never_joins_is_named_in_the_end(world, tmp_path, megengine_python):
    """MegEngine's ranks would wait for ever, and say nothing."""
    script = world.write("train.py", ONE_STAYS_AWAY)
    options = ("-n", 3, "--rendezvous", "megengine", "--join-timeout", "20s", "--python", megengine_python)
    ran = world.run("run", *options, script, timeout=PATIENCE)
    assert ran.returncode not in (0, None)
    assert re.search(r"\brank 2 .*not joined", ran.stderr), ran.stderr
    assert not re.search(r"\branks? [01]\b.*not joined", ran.stderr)
    assert left(tmp_path) == []
    assert is_free(int(re.search(r"port (\d+)$", ran.stdout, re.MULTILINE)[1]))


def test_a_rank_that_fails_ends_those_that_wait_for_it(world, tmp_path, megengine_python):
    """They would wait in a barrier that can never open; the server goes last, and goes."""
    script = world.write("train.py", ONE_FAILS)
    options = ("-n", 3, "--rendezvous", "megengine", "--python", megengine_python)
    ran = world.run("run", *options, script, timeout=PATIENCE)
    assert (ran.returncode, "rank 1" in ran.stderr) == (5, True), ran.stderr
    assert left(tmp_path) == []


def test_the_example_runs_as_its_text_says(world, tmp_path, megengine_python):
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    script = os.path.join(folder, "examples", "megengine_ranks.py")
    options = ("-n", 2, "--rendezvous", "megengine", "--python", megengine_python)
    ran = world.run("run", *options, script, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("60 rows: y = 3.000 a -2.000 b +1.000") == 2
    assert left(tmp_path) == []


def test_nothing_outlives_a_launcher_that_is_killed(world, tmp_path, megengine_python):
    """Neither the ranks that wait for the third nor the server; the port is free again."""
    script = world.write("train.py", ONE_STAYS_AWAY)
    options = ("-n", 3, "--rendezvous", "megengine", "--python", megengine_python)
    command = world.command("run", *options, script)
    with subprocess.Popen(
        command, cwd=world.project, env=world.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as launcher:
        (port,) = {int(launcher.stdout.readline().rpartition(" ")[2]) for _ in range(3)}
        assert len(left(tmp_path)) == 5  # the launcher, three ranks, the server
        launcher.kill()
        deadline = time.monotonic() + 10
        # The threads of a process that was killed give back what they hold after its folder is gone from /proc.
        while (left(tmp_path) or not is_free(port)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left(tmp_path) == []
        assert is_free(port)


def test_a_megengine_that_cannot_be_imported_is_the_reason_told(world, tmp_path, megengine_python):
    """The server cannot be hosted then: the ranks are ended, not left to wait for it."""
    world.write("broken/megengine/__init__.py", "raise ImportError('libcublas.so.11: no such file')")
    script = world.write("train.py", "import time; time.sleep(600)")
    options = ("-n", 2, "--rendezvous", "megengine", "--python", megengine_python)
    ran = world.run("run", *options, script, timeout=PATIENCE, PYTHONPATH=str(world.project / "broken"))
    assert ran.returncode != 0
    assert ran.stderr.count("libcublas.so.11: no such file") == 1, ran.stderr
    assert left(tmp_path) == []
