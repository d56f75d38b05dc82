"""Ranks that fail in every way there is: who is told, what is said, which code comes out, and that nothing is left.

The ranks are real. They say when they are ready, and misbehave when the launcher passes SIGUSR1 on to them.
"""

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from mgelaunch.host.cgroups import chain
from mgelaunch.host.files import Files

DEADLINE = 30
MIB = 1 << 20

RANK = """
import os, signal, subprocess, sys, time

rank = int(os.environ["RANK"])

def say(text):
    os.write(1, text.encode() + b"\\n")

def heed(number, frame):
    say(signal.Signals(number).name)
    os._exit(0)

def spawn(code="import signal; signal.pause()", **options):
    "A grandchild that ignores TERM and is there when this returns."
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = "import os; os.write(%d, b'.'); " + code
    told, tell = os.pipe()
    child = subprocess.Popen([sys.executable, "-S", "-c", code % tell], pass_fds=[tell], **options)
    signal.signal(signal.SIGTERM, heed)
    os.read(told, 1)
    say(f"grandchild {child.pid}")

def wait(number=signal.SIGUSR1):
    "Returns when the launcher passes on USR1."
    say(f"ready {os.getpid()}")
    signal.sigwaitinfo([number])

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
signal.signal(signal.SIGTERM, heed)
"""


class Job:
    """A job that runs: its output, read as it comes, and its end."""

    def __init__(self, process, world):
        self.process, self.world = process, world
        self.said, self.lines = {rank: [] for rank in range(world)}, iter(process.stdout.readline, b"")

    def until(self, text, ranks=None):
        """Reads until each of the ranks has said something that begins so; returns what follows there."""
        wanted = set(range(self.world) if ranks is None else ranks)
        while any(self.of(rank, text) is None for rank in wanted):
            line = next(self.lines, None)
            assert line is not None, f"the job has ended: {self.process.stderr.read().decode()}"
            rank, said = re.fullmatch(r"\[(\d+)\] +(.*)\n", line.decode()).groups()
            self.said[int(rank)].append(said)
        return [self.of(rank, text) for rank in sorted(wanted)]

    def of(self, rank, text):
        return next((said.removeprefix(text).strip() for said in self.said[rank] if said.startswith(text)), None)

    def go(self):
        """Lets the ranks do what they are there for."""
        self.process.send_signal(signal.SIGUSR1)

    def end(self):
        """The exit code, and what was said on stderr."""
        stdout, stderr = self.process.communicate(timeout=DEADLINE)
        for line in stdout.decode().splitlines():
            rank, said = re.fullmatch(r"\[(\d+)\] +(.*)", line).groups()
            self.said[int(rank)].append(said)
        return self.process.returncode, stderr.decode().splitlines()

    @property
    def grandchildren(self):
        told = [said.split()[1] for lines in self.said.values() for said in lines if said.startswith("grandchild ")]
        return [int(pid) for pid in told]


@pytest.fixture
def job(world, start):
    """A function that starts ranks with a script and returns when all of them are ready."""

    def run(script, *options, ranks=2, ready=True, **more):
        world.write("train.py", RANK + script)
        running = Job(start("run", "-n", str(ranks), *options, "train.py", **more), ranks)
        if ready:
            running.until("ready")
        return running

    return run


@pytest.fixture
def start(start, world, tmp_path):
    """What starts mgelaunch; no file of a job stays in the folders for files of the moment."""
    started, temporary = [], tmp_path / "temporary"
    temporary.mkdir()
    world.environ["TMPDIR"] = str(temporary)
    before = set(_names())

    def run(*args, **options):
        started.append(start(*args, **options))
        return started[-1]

    yield run
    left = [name for name in _names() if name not in before]
    assert not list(temporary.iterdir())
    assert not [name for name in left for process in started if re.search(rf"(?<!\d){process.pid}(?!\d)", name)]


def _names():
    return [name for folder in ("/tmp", "/dev/shm") for name in os.listdir(folder)]


def lives(pid):
    return os.path.exists(f"/proc/{pid}")


def until(true):
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def error(lines):
    """The line that says why a job ended; the whole report has ten lines at most."""
    ours = [line for line in lines if not line.startswith("[")]
    (first,) = [line for line in ours if "error: " in line]
    assert len(ours) <= 10
    return first


# -- one rank of several fails -----------------------------------------------------------------------------

WAYS = {
    "a code": ("sys.exit(3)", 3, "exited with 3"),
    "an exception": ("raise ValueError('boom')", 1, "exited with 1"),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", 139, "was killed by SIGSEGV"),
    "abort": ("os.abort()", 134, "was killed by SIGABRT"),
    "exit 137": ("os._exit(137)", 137, "exited with 137"),
}


@pytest.mark.parametrize(("way", "code", "words"), WAYS.values(), ids=WAYS)
def test_the_first_failure_stops_the_others_and_is_named(job, way, code, words):
    script = f"""
if rank == 1:
    wait()
    print("the last words", file=sys.stderr, flush=True)
    {way}
wait(signal.SIGUSR2)
"""
    running = job(script, ranks=3)
    running.go()
    told, lines = running.end()
    assert told == code
    assert re.fullmatch(
        rf"mgelaunch: error: rank 1 failed first: it {words} after .* s; ranks 0 and 2 were stopped \[rank\.failed\]",
        error(lines),
    )
    assert "    the last words" in lines
    assert [running.said[rank][-1] for rank in (0, 2)] == ["SIGTERM"] * 2
    if "raise" in way:
        assert "[1] ValueError: boom" in lines
        assert lines[-2] == "    ValueError: boom"


def test_the_end_of_a_traceback_is_named_when_other_lines_follow_it(job):
    running = job(
        """
wait()
if rank == 1:
    import atexit
    atexit.register(lambda: print(*range(9), sep="\\n", file=sys.stderr))
    raise KeyError("loss")
""",
        "--grace",
        "30s",
    )
    running.go()
    code, lines = running.end()
    assert (code, lines[-7:-1]) == (1, ["  its last lines:", *(f"    {number}" for number in range(4, 9))])
    assert lines[-8] == "  its traceback ends with KeyError: 'loss'"


def oom_kills():
    with open("/proc/vmstat") as file:
        return next((line for line in file if line.startswith("oom_kill ")), "")


def test_a_rank_that_somebody_kills_is_not_said_to_lack_memory(job):
    before = oom_kills()
    running = job("wait()")
    os.kill(int(running.of(1, "ready")), signal.SIGKILL)
    code, lines = running.end()
    assert code == 137
    assert "rank 1 failed first: it was killed by SIGKILL" in error(lines)
    assert oom_kills() != before or "memory" not in "".join(lines)


@pytest.fixture
def little_memory():
    """What starts a command in a control group with 150 MiB."""
    found = chain(Files(), "memory")
    name = {"v1": "memory.limit_in_bytes", "v2": "memory.max"}[found.version] if found.groups else ""
    directory = f"{found.groups[0].directory}/mgelaunch-ranks-{os.getpid()}" if found.groups else ""
    wrapper = ("sh", "-c", 'echo $$ >"$1" && shift && exec "$@"', "sh", f"{directory}/cgroup.procs")
    try:
        os.mkdir(directory)
        with open(f"{directory}/{name}", "w") as file:
            file.write(str(150 * MIB))
        subprocess.run([*wrapper, "true"], stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
        pytest.skip("a control group for memory cannot be made here")
    yield wrapper
    until(lambda: _removed(directory))


def _removed(directory):
    with contextlib.suppress(OSError):
        os.rmdir(directory)
    return not os.path.exists(directory)


def test_a_rank_that_the_kernel_kills_for_want_of_memory(job, little_memory):
    running = job("wait()\nif rank == 1: b'x' * (1 << 30)\nwait(signal.SIGUSR2)", wrapper=little_memory)
    running.go()
    code, lines = running.end()
    assert code == 137
    assert "rank 1 failed first: it was killed by SIGKILL" in error(lines)
    assert re.search(
        r"^  likely out of memory: .*out-of-memory killer ended 1 process of cgroup /", "\n".join(lines), re.MULTILINE
    )


def test_a_rank_that_ignores_term_is_killed_at_the_end_of_the_grace(job):
    running = job(
        """
wait()
if rank == 1: sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: say("SIGTERM"))
say("stays")
wait(signal.SIGUSR2)
""",
        "--grace",
        "1500ms",
    )
    began = time.monotonic()
    running.go()
    code, lines = running.end()
    assert code == 3
    assert error(lines).endswith("; rank 0 did not end and was killed [rank.failed]")
    assert "mgelaunch: waiting for rank 0 to end; killed in " in "".join(lines)  # a second after it was told
    assert 1.5 <= time.monotonic() - began < 5


# -- what ranks leave behind -------------------------------------------------------------------------------

GRANDCHILDREN = """
spawn(process_group=0)
spawn(start_new_session=True)
spawn(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
if sys.version_info < (3, 11):
    GRANDCHILDREN = GRANDCHILDREN.replace("process_group=0", "preexec_fn=os.setpgrp")


@pytest.mark.parametrize("how", [3, 0], ids=["the job failed", "the job went well"])
def test_no_grandchild_is_left(job, how):
    """Not those in groups and sessions of their own, nor those that hold the pipes; none of them heeds TERM."""
    running = job(f"{GRANDCHILDREN}\nwait()\nsys.exit({how} if rank == 1 else 0)", "--grace", "1s")
    pids = running.grandchildren
    assert len(pids) == 6
    assert all(map(lives, pids))
    running.go()
    code, _ = running.end()
    assert code == how
    assert not any(map(lives, pids))


def test_a_grandchild_that_holds_the_pipes_delays_nothing(job):
    running = job(
        """
if rank == 1: spawn(start_new_session=True)
wait()
if rank == 1: sys.exit(3)
wait(signal.SIGUSR2)
""",
        "--grace",
        "2s",  # which is for the grandchild
    )
    began = time.monotonic()
    running.go()
    running.until("SIGTERM", [0])
    assert time.monotonic() - began < 2
    assert running.end()[0] == 3
    assert time.monotonic() - began < 5


def test_no_rank_survives_the_launcher(job):
    """It is killed, so the kernel must end them."""
    running = job("wait()", ranks=3)
    watched = [os.pidfd_open(int(running.of(rank, "ready"))) for rank in range(3)]
    running.process.kill()
    running.process.wait(DEADLINE)
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + 5
    while len(poll.poll(1000)) < len(watched):
        assert time.monotonic() < deadline, "a rank lives on"
    for descriptor in watched:
        os.close(descriptor)


# -- ranks that do not fail --------------------------------------------------------------------------------


def test_a_rank_without_streams_goes_on_and_one_that_ends_well_ends_nobody(job, world):
    running = job(
        """
say(f"ready {os.getpid()}")
if rank == 0: sys.exit(0)
if rank == 1:
    os.close(1)
    os.close(2)
signal.sigwaitinfo([signal.SIGUSR1])
open(f"went-on-{rank}", "w").close()
""",
        ranks=3,
    )
    until(lambda: not lives(int(running.of(0, "ready"))))
    running.go()
    assert running.end() == (0, [])
    assert sorted(path.name for path in world.project.glob("went-on-*")) == ["went-on-1", "went-on-2"]


def test_two_jobs_at_once_do_not_meet(job):
    """Each has a port of its own, which its rank 0 can listen on."""
    script = """
import socket
if rank == 0:
    server = socket.create_server((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])))
say("port " + os.environ["MASTER_PORT"])
wait()
"""
    first, second = job(script, ready=False), job(script, ready=False)
    for running in (first, second):
        running.until("ready")
    (one,), (other,) = {*first.until("port")}, {*second.until("port")}
    assert one != other
    for running in (first, second):
        running.go()
    assert [running.end() for running in (first, second)] == [(0, [])] * 2


# -- limits ------------------------------------------------------------------------------------------------


def test_a_job_that_takes_too_long_is_stopped(job):
    running = job("wait()", "--time-limit", "700ms", ready=False)
    code, lines = running.end()
    assert code == 124
    assert error(lines).startswith("mgelaunch: error: the job was stopped by its time limit of 0.7 s ")
    assert error(lines).endswith(" [job.time-limit]")


RESTART = """
count = os.environ["TORCHELASTIC_RESTART_COUNT"]
with open(f"start-{count}-{rank}", "w") as file:
    file.write(os.environ["MASTER_PORT"])
"""


def test_a_failure_at_once_is_not_mended_by_a_restart(job, world):
    code, lines = job(RESTART + "sys.exit(3)", "--max-restarts", "3", ready=False).end()
    assert (code, lines[1:-1]) == (3, ["  not started again: it failed within 3 s of the first start"])
    assert world.project.joinpath("start-0-0").exists() or world.project.joinpath("start-0-1").exists()
    assert not list(world.project.glob("start-1-*"))


def test_after_a_later_failure_all_ranks_are_started_again(job, world):
    """... with another port, as often as is allowed; then the last failure gives the code."""
    script = f"""{RESTART}
if rank == 1:
    time.sleep(3.2 if count == "0" else 0)
    os._exit([5, 6, 7][int(count)])
wait(signal.SIGUSR2)
"""
    code, lines = job(script, "--max-restarts", "2", ready=False).end()
    again = "all ranks are started again"
    assert (code, lines[:2]) == (
        7,
        [
            f"mgelaunch: rank 1 exited with 5; {again} (1 restart left)",
            f"mgelaunch: rank 1 exited with 6; {again} (0 restarts left)",
        ],
    )
    assert " of start 3; " in error(lines[2:])
    starts = {path.name: path.read_text() for path in world.project.glob("start-*")}
    assert {"start-0-0", "start-0-1", "start-1-1", "start-2-1"} <= set(starts)
    assert starts["start-0-0"] == starts["start-0-1"] != starts["start-1-1"]


# -- jobs that cannot be started ---------------------------------------------------------------------------


def refused(world, start, *args, ranks=3, **options):
    """The code and the lines of a job that is not started at all."""
    world.write("train.py", "import os; open('started-' + os.environ['RANK'], 'w').close()")
    process = start("run", "-n", str(ranks), *args, **options)
    stdout, stderr = process.communicate(timeout=DEADLINE)
    lines = stderr.decode().splitlines()
    assert (stdout, list(world.project.glob("started*"))) == (b"", [])
    assert re.fullmatch(rf"mgelaunch: nothing was started \(exit code {process.returncode}, \S+\)", lines[-1])
    assert len([line for line in lines if "error: " in line]) == 1
    return process.returncode, "\n".join(lines[:-1])


def test_a_port_that_is_taken_is_known_before_the_start_with_its_holder(world, start):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, said = refused(world, start, "--master-port", str(port), "train.py")
    assert code == 125
    assert re.search(rf"port {port}: it is held by process {os.getpid()} \(.*--master-port 0 \[port\.taken\]$", said)


def test_a_script_or_an_interpreter_that_is_missing(world, start):
    world.write("odd", "#!/no/such/interpreter\n").chmod(0o755)
    for name, words in (("missing.py", "missing.py"), ("./missing", "./missing"), ("./odd", "first line of ./odd")):
        code, said = refused(world, start, name)
        assert (code, words in said, said.count("\n")) == (127, True, 0)
        assert said.endswith("[target.missing]")


def test_files_that_are_too_few(world, start):
    wrapper = ("sh", "-c", 'ulimit -n "$0" && exec "$@"')
    for files in (12, 20):
        code, said = refused(world, start, "train.py", ranks=8, wrapper=(*wrapper, str(files)))
        assert (code, "Traceback" in said) == (125, False)
    assert said.endswith("8 ranks need more open files than the kernel allows (ulimit -n) [launch.processes]")


NOBODY = (
    "setpriv",
    *("--reuid", str(54321 + os.getpid() % 10000), "--clear-groups", "--securebits", "+no_setuid_fixup"),
    *("--inh-caps", "-all,+dac_override"),
    *("--ambient-caps", "-all,+dac_override"),
)
"""What starts a command as a user who has no other process, but may read and write every file as this one."""


def test_processes_that_are_too_few(world, start):
    wrapper = (*NOBODY, "prlimit", "--nproc=5")
    if os.geteuid() or not all(map(shutil.which, ("setpriv", "prlimit"))):
        pytest.skip("only root can become a user without processes, with setpriv and prlimit")
    tried = subprocess.run([*wrapper, sys.executable, "-c", ""], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"a user without processes cannot be had here: {tried.stderr.strip()}")
    code, said = refused(world, start, "train.py", ranks=8, wrapper=wrapper)
    assert code == 125
    assert re.search(r"error: the kernel allows 4 of 8 ranks only, by ulimit -u .*\[launch\.processes\]$", said)


def test_a_rank_that_the_kernel_refuses_ends_the_others(world, start):
    """Its environment has a text of 128 KiB, the others' is one byte shorter (execve(2))."""
    world.write(".mgelaunch/big.toml", '[rank.env]\nBIG = "{rank}' + "x" * (128 * 1024 - 6) + '"\n')
    process = start("run", "-n", "11", "-p", "big", "sleep", "60")
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert stdout == b""
    assert error(stderr.decode().splitlines()).startswith("mgelaunch: error: rank 10 could not be started: ")
    assert process.returncode == 126


def test_only_a_rank_that_was_refused_is_said_not_to_have_been_started(world, start):
    """Who fails first is a race between the rank that cannot start and those that fail by themselves."""
    world.write(".mgelaunch/big.toml", '[rank.env]\nBIG = "{rank}' + "x" * (128 * 1024 - 6) + '"\n')
    for _ in range(3):
        process = start("run", "-n", "11", "-p", "big", "sh", "-c", "exit 9")
        said = error(process.communicate(timeout=DEADLINE)[1].decode().splitlines())
        _, rank, how, _ = re.split(
            r"^mgelaunch: error: rank (\d+) (?:failed first: it )?(exited with 9|could not be started)", said
        )
        assert (how == "could not be started", process.returncode) == ((True, 126) if rank == "10" else (False, 9))


def test_a_full_disk_below_the_logs_stops_nobody(world, start, unshare):
    (world.project / "logs").mkdir()
    mount = ("sh", "-c", 'mount -t tmpfs -o size=64k tmpfs logs && exec "$@"', "sh")
    os.mkfifo(world.project / "said")
    script = """head -c 300000 /dev/zero | tr "\\0" "\\n"
if [ "$RANK" = 0 ]; then echo >said; else read -r all <said; exit 4; fi"""
    process = start("run", "-n", "2", "--log-dir", "logs", "sh", "-c", script, wrapper=(*unshare, *mount))
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stdout.count(b"\n")) == (4, 600000)
    assert re.search(r"warning: .* incomplete: No space left on device \[log\.lost\]", stderr.decode())
