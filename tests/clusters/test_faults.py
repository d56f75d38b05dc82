"""What a driven job does when something breaks. Whatever it is, the job ends within a deadline, says which rank on which
host failed, and leaves no process and no port: every test is followed by that check (conftest.py).
"""

import os
import re
import signal

import pytest

from .cluster import wait_until
from .driver import OBEY, PATIENCE

SHORT = ("--grace", "2s")


@pytest.fixture(params=["slurm", "mpi"])
def driver(request, driver_of, project):
    return driver_of(request.param, project)


@pytest.fixture
def slurm_driver(driver_of, project):
    return driver_of("slurm", project)


@pytest.fixture
def mpi_driver(driver_of, project):
    return driver_of("mpi", project)


@pytest.fixture
def project(tmp_path):
    (tmp_path / ".mgelaunch").mkdir()
    return tmp_path


@pytest.fixture
def both(driver_of, tmp_path):
    """A driver of each engine, for faults that take their time: both can wait at once."""
    drivers = []
    for word in ("slurm", "mpi"):
        (tmp_path / word / ".mgelaunch").mkdir(parents=True)
        drivers.append(driver_of(word, tmp_path / word))
    return drivers


def obeying(drivers, *options):
    """Each driver with the process of its job, whose ranks are ready."""
    return [(driver, driver.obey(*SHORT, *options)) for driver in drivers]


def heard(driver, ranks=range(4)):
    """What each rank has heard."""
    return [driver.said(rank)[1:] for rank in ranks]


def test_the_rank_that_fails_is_named_and_its_code_is_ours(driver):
    process = driver.obey(*SHORT)
    driver.order(3, 3)
    _, errors = driver.end(process)
    assert process.returncode == 3, errors
    assert "rank 3 on n2 exited with 3" in errors
    assert "0 of 4 ranks ended with 0" in errors
    assert (driver.job()["first_failed_rank"], driver.job()["exit_code"]) == (3, 3)
    assert heard(driver, range(3)) == [["SIGTERM"]] * 3
    assert {driver.record(rank)["signal"] for rank in range(3)} == {signal.SIGTERM}


def test_a_rank_that_is_killed_is_named(driver):
    process = driver.obey(*SHORT)
    os.kill(driver.pid(2), signal.SIGKILL)
    _, errors = driver.end(process)
    assert process.returncode == 137, errors
    assert "rank 2 on n2 was killed by SIGKILL" in errors
    assert driver.job()["first_failed_rank"] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_ends_reaches_every_rank_once_as_term(driver, number):
    process = driver.obey(*SHORT)
    process.send_signal(number)
    _, errors = driver.end(process)
    assert process.returncode == 128 + number, errors
    assert f"the job was stopped by {number.name}" in errors
    assert heard(driver) == [["SIGTERM"]] * 4


def test_a_second_ctrl_c_kills_at_once(driver):
    (driver.folder / "stubborn").touch()
    process = driver.obey("--grace", "8s")
    ranks = [driver.pid(rank) for rank in range(4)]
    process.send_signal(signal.SIGINT)
    notice = next(line for line in process.stderr if line.startswith("mgelaunch: "))
    assert "at once by Ctrl-C" in notice
    process.send_signal(signal.SIGINT)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ranks), "the end of all ranks", 5)
    assert process.wait(5) == 130


def test_usr1_reaches_every_rank_once(driver):
    process = driver.obey(*SHORT)
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: heard(driver) == [["SIGUSR1"]] * 4, "USR1 in every rank")
    for rank in range(4):
        driver.order(rank, 0)
    _, errors = driver.end(process)
    assert process.returncode == 0, errors
    assert heard(driver) == [["SIGUSR1"]] * 4


def test_no_rank_outlives_a_driver_that_is_killed(driver):
    """Slurm's srun has a process of its own that sees to it; Open MPI's daemons miss mpirun."""
    process = driver.obey(*SHORT)
    ranks = [driver.pid(rank) for rank in range(4)]
    assert all(os.path.exists(f"/proc/{pid}") for pid in ranks)
    process.kill()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ranks), "the end of all ranks")


def test_a_time_limit_ends_the_job(both):
    for driver, process in obeying(both, "--time-limit", "8s"):
        _, errors = driver.end(process)
        assert process.returncode == 124, errors
        assert "time limit of 8 s" in errors
        assert heard(driver) == [["SIGTERM"]] * 4


def test_a_node_that_crashes_ends_the_job(both, cluster):
    running = obeying(both)
    cluster.crash("n2")
    for driver, process in running:
        _, errors = driver.end(process)
        assert process.returncode > 0, errors
        assert "ranks 2 and 3 on n2 left no word of an end" in errors
        assert driver.job()["exit_code"] == process.returncode


def test_a_node_that_is_cut_off_ends_the_job(both, cluster):
    """Slurm misses it after its SlurmdTimeout, Open MPI when nothing answers to what keeps its connections alive."""
    running = obeying(both)
    cluster.cut("n2")
    try:
        for driver, process in running:
            _, errors = driver.end(process)
            assert process.returncode > 0, errors
            # The disk is not cut off here: the ranks of n2 may have told how Open MPI's daemon there has ended them.
            assert re.search(r"\bn2\b", errors), errors
    finally:
        cluster.heal("n2")


def test_a_job_that_is_cancelled_from_outside_ends(slurm_driver, slurm):
    other = slurm.allocate()
    process = slurm_driver.obey(*SHORT, env=other.environ)
    slurm.tell("scancel", other.job)
    _, errors = slurm_driver.end(process)
    other.release()
    assert process.returncode not in {0, None}, errors
    assert re.search(r"was killed by SIGTERM|were told to end, and not by mgelaunch", errors), errors
    assert heard(slurm_driver) == [["SIGTERM"]] * 4


def test_a_requeued_job_tells_the_script_how_often(slurm_driver, slurm, project):
    (project / "train.py").write_text(
        "import os\n"
        "names = ('RANK', 'SLURM_RESTART_COUNT')\n"
        "with open('seen.' + os.environ['RANK'], 'a') as file:\n"
        "    print(*(os.environ.get(name, '-') for name in names), file=file)\n"
        "if 'SLURM_RESTART_COUNT' not in os.environ:\n"
        "    open('ready.' + os.environ['RANK'], 'w').close()\n"
        "    import time; time.sleep(120)\n"
    )
    command = [*slurm_driver.command, *SHORT, "--dry-run", "train.py"]
    script = slurm.cluster.run("hub", *command, cwd=project).stdout
    job = slurm.batch(script, f"--chdir={project}")
    wait_until(lambda: len(list(project.glob("ready.*"))) == 4, "four ranks", PATIENCE)
    slurm.tell("scontrol", "requeue", job)
    slurm.start_requeued(job)
    said = (project / f"slurm-{job}.out").read_text
    assert slurm.await_job(job, seconds=PATIENCE) == "COMPLETED", said()
    seen = [(project / f"seen.{rank}").read_text().splitlines() for rank in range(4)]
    assert seen == [[f"{rank} -", f"{rank} 1"] for rank in range(4)], said()


def test_slurms_time_limit_warns_every_rank_once_before_it_ends_them(slurm_driver, slurm, project):
    """Slurm looks at its limits every 30 seconds, and knows of none below a minute: so the end is moved nearer."""
    (project / "obey.py").write_text(OBEY)
    script = slurm.cluster.run("hub", *slurm_driver.command, *SHORT, "--dry-run", "obey.py", cwd=project).stdout
    job = slurm.batch(script, f"--chdir={project}", "--time=1", "--signal=USR1@55")
    wait_until(lambda: heard(slurm_driver) == [["SIGUSR1"]] * 4, "a warning", PATIENCE)
    assert slurm.state(job) == "RUNNING"
    slurm.tell("scontrol", "update", f"job={job}", "EndTime=now")
    assert slurm.await_job(job, seconds=PATIENCE) == "TIMEOUT"
    assert heard(slurm_driver) == [["SIGUSR1", "SIGTERM"]] * 4
    said = (project / f"slurm-{job}.out").read_text
    wait_until(lambda: "the job was stopped by SIGTERM [job.signal]" in said(), "the verdict", PATIENCE)


def test_a_job_goes_on_without_the_controller(slurm_driver, slurm):
    process = slurm_driver.obey(*SHORT)
    slurm.kill_controller()
    slurm.start_controller()
    for rank in range(4):
        slurm_driver.order(rank, 0)
    _, errors = slurm_driver.end(process)
    assert process.returncode == 0, errors
    assert slurm_driver.job()["exit_code"] == 0


def test_an_mpirun_that_hangs_is_ended(mpi_driver):
    """It is stopped when its ranks end, so it hears of nothing."""
    process = mpi_driver.obey(*SHORT)
    (mpirun,) = children(process.pid)
    os.kill(mpirun, signal.SIGSTOP)
    for rank, code in enumerate((0, 3, 0, 0)):
        mpi_driver.order(rank, code)
    _, errors = mpi_driver.end(process)
    assert process.returncode == 3, errors
    assert "rank 1 on n1 exited with 3; 3 of 4 ranks ended with 0" in errors


def children(pid):
    """The pids of the children of a process."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]
