"""What the ranks get when somebody speaks to the launcher: signals, Ctrl-C and Ctrl-Z at a terminal, stdin."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time

import pytest

DEADLINE = 30

RANK = """
import os, signal, sys
ENDS = getattr(signal, sys.argv[1])
ALL = [getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH")]
ignored = [number for number in ALL if signal.getsignal(number) == signal.SIG_IGN]
heeded = [number for number in ALL if number not in ignored]
signal.pthread_sigmask(signal.SIG_BLOCK, heeded)  # so that none comes between two lines of this
os.write(1, f"ready {os.getpid()} {' '.join(number.name[3:] for number in ignored)}\\n".encode())
seen = []
while ENDS not in seen:
    seen.append(signal.sigwait(heeded))
    os.write(1, f"got {seen[-1].name}\\n".encode())
os.write(1, f"seen {' '.join(number.name for number in seen)}\\n".encode())
"""
"""Says which signals come, and ends itself with 0 at the one that it is told to end with."""


class Job:
    """Two ranks that are ready, and what they say."""

    def __init__(self, process, read):
        self.process, self._read = process, read
        self.said = {0: [], 1: []}
        self.pid = process.pid

    def until(self, text):
        """Reads until both ranks have said something that begins so; returns what follows there."""
        while not all(any(said.startswith(text) for said in self.said[rank]) for rank in self.said):
            line = self._read()
            assert line, f"the job has ended after {self.said}"
            if match := re.search(rb"\[(\d)\] *(?:\x1b\[0m)?([^\r\n]+)\r?\n$", line):
                self.said[int(match[1])].append(match[2].decode())
        return [
            next(said for said in self.said[rank] if said.startswith(text)).removeprefix(text).strip()
            for rank in (0, 1)
        ]

    def tell(self, name):
        os.kill(self.pid, getattr(signal, f"SIG{name}"))

    def saw(self, name):
        """Sends a signal that is passed on, and waits until both ranks have it: what was sent before is there too."""
        self.tell(name)
        self.until(f"got SIG{name}")

    def end(self):
        """The exit code, and what was said on stderr."""
        while self._read():
            pass
        code = self.process.wait(DEADLINE)
        return code, self.process.stderr.read().decode() if self.process.stderr else ""


@pytest.fixture
def job(world, start):
    """A function that starts two ranks, which end when they get a certain signal, and waits until they are ready."""
    world.write("train.py", RANK)

    def run(ends, *options, wrapper=(), **more):
        process = start("run", "-n", "2", *options, "train.py", f"SIG{ends}", wrapper=wrapper, **more)
        running = Job(process, process.stdout.readline)
        running.ready = running.until("ready")
        return running

    return run


def pids(running):
    return [int(said.split()[0]) for said in running.ready]


def state(pid):
    """The letter of proc(5), empty when the process has gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def until(true):
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- signals to the launcher -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "passed_on", "code"),
    [("INT", "TERM", 130), ("TERM", "TERM", 143), ("HUP", "HUP", 129), ("QUIT", "QUIT", 131)],
)
def test_a_signal_that_ends_the_job_reaches_every_rank_once(job, told, passed_on, code):
    """As it came, but for Ctrl-C, of which the ranks see a TERM; after it, they may take their time."""
    running = job("USR1")
    running.tell(told)
    running.until(f"got SIG{passed_on}")
    running.saw("USR1")
    assert running.until("seen") == [f"SIG{passed_on} SIGUSR1"] * 2
    ended, report = running.end()
    assert ended == code
    assert re.fullmatch(rf"mgelaunch: error: the job was stopped by SIG{told} .* \[job\.signal\]\n", report)


def test_signals_that_end_nothing_reach_every_rank_once(job):
    running = job("TERM")
    for name in ("USR1", "WINCH", "USR2"):
        running.saw(name)
    running.tell("TERM")
    assert running.until("seen") == ["SIGUSR1 SIGWINCH SIGUSR2 SIGTERM"] * 2
    assert running.end()[0] == 143


def test_a_second_ctrl_c_kills_at_once(job):
    running = job("USR1", "--grace", "60s")
    running.tell("INT")
    running.until("got SIGTERM")
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(0.2)
    began = time.monotonic()
    running.tell("INT")
    code, report = running.end()
    assert (code, time.monotonic() - began < 5) == (130, True)
    assert report.endswith("; ranks 0 and 1 did not end and were killed [job.signal]\n")


def test_a_launcher_that_is_stopped_and_goes_on_has_lost_nothing(job):
    running = job("TERM")
    running.tell("STOP")
    until(lambda: state(running.pid) == "T")
    running.tell("USR1")
    running.tell("CONT")
    running.until("got SIGUSR1")
    running.tell("TERM")
    assert running.until("seen") == ["SIGUSR1 SIGTERM"] * 2
    assert running.end()[0] == 143


# -- signals that were ignored when we were started ----------------------------------------------------------


def test_after_nohup_a_hangup_is_none(job):
    running = job("TERM", wrapper=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"])
    assert [said.split()[1:] for said in running.ready] == [["HUP"]] * 2
    running.tell("HUP")
    running.saw("USR1")
    running.tell("TERM")
    assert running.until("seen") == ["SIGUSR1 SIGTERM"] * 2
    assert running.end()[0] == 143


@pytest.mark.parametrize(("told", "passed_on", "code"), [("INT", "TERM", 130), ("QUIT", "QUIT", 131)])
def test_a_job_in_the_background_of_a_script_heeds_who_means_it(job, told, passed_on, code):
    """A shell without job control lets its ``command &`` ignore INT and QUIT. Without a terminal no key was hit."""
    ends = "TERM" if passed_on == "TERM" else "USR1"
    background = ["sh", "-c", '"$@" & echo "[0] pid $!"; echo "[1] pid $!"; wait $!', "sh"]
    running = job(ends, wrapper=background, start_new_session=True)
    running.pid = int(running.until("pid")[0])
    assert [said.split()[1:] for said in running.ready] == [["INT", "QUIT"]] * 2
    running.tell(told)
    if passed_on == "TERM":
        assert running.until("seen") == ["SIGTERM"] * 2
    else:  # the ranks ignore it as the launcher was to
        running.saw("USR1")
    assert running.end()[0] == code


# -- a terminal --------------------------------------------------------------------------------------------

TAKE_TERMINAL = """import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
"""
DIRECTLY = f"{TAKE_TERMINAL}os.execvp(sys.argv[1], sys.argv[1:])"
IGNORING = f"{TAKE_TERMINAL}signal.signal(signal.SIGINT, signal.SIG_IGN)\nos.execvp(sys.argv[1], sys.argv[1:])"
SHELL = f"""{TAKE_TERMINAL}
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status = os.waitpid(pid, os.WUNTRACED)
while os.WIFSTOPPED(status):
    os.tcsetpgrp(0, os.getpgrp())
    print("suspended", flush=True)
    input()
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signal.SIGCONT)
    _, status = os.waitpid(pid, os.WUNTRACED)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Job control as a shell has it: a job that is suspended goes on in the foreground at the next line."""


class Terminal:
    """The keyboard and the screen of a new session."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        settings = termios.tcgetattr(self.theirs)
        settings[3] |= termios.NOFLSH  # what is on its way to the screen is shown, also when Ctrl-C is hit
        termios.tcsetattr(self.theirs, termios.TCSANOW, settings)
        self._shown = b""

    def type(self, keys):
        os.write(self.ours, keys)

    def line(self):
        """The next line on the screen; empty when nobody can write to it any more."""
        with contextlib.suppress(OSError):  # EIO: the last of them has gone
            while b"\n" not in self._shown and (more := os.read(self.ours, 1024)):
                self._shown += more
        line, end, self._shown = self._shown.partition(b"\n")
        return line + end

    def until(self, text):
        while text not in (line := self.line()):
            assert line

    def close(self):
        for end in (self.ours, self.theirs):
            with contextlib.suppress(OSError):
                os.close(end)


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def at(world, start, terminal):
    """A function that starts two ranks in the foreground of the terminal and waits until they are ready."""
    world.write("train.py", RANK)

    def run(ends, *options, way=DIRECTLY):
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.theirs)
        wrapper = [sys.executable, "-c", way]
        process = start("run", "-n", "2", *options, "train.py", f"SIG{ends}", wrapper=wrapper, **streams)
        os.close(terminal.theirs)
        running = Job(process, terminal.line)
        running.ready = running.until("ready")
        return running

    return run


def test_ctrl_c_at_the_terminal_ends_the_job(at, terminal):
    running = at("USR1")
    terminal.type(b"\x03")
    running.until("got SIGTERM")
    running.saw("USR1")
    assert running.until("seen") == ["SIGTERM SIGUSR1"] * 2
    assert running.end()[0] == 130


def test_ctrl_c_is_ignored_where_it_was_ignored(at, terminal):
    running = at("TERM", way=IGNORING)
    terminal.type(b"\x03")
    running.saw("USR1")
    running.tell("TERM")
    assert running.until("seen") == ["SIGUSR1 SIGTERM"] * 2
    assert running.end()[0] == 143


def test_ctrl_z_suspends_the_ranks_until_the_job_goes_on(at, terminal):
    running = at("TERM", way=SHELL)
    terminal.type(b"\x1a")
    terminal.until(b"suspended")
    until(lambda: {state(pid) for pid in pids(running)} == {"T"})
    terminal.type(b"\n")
    until(lambda: "T" not in {state(pid) for pid in pids(running)})
    terminal.type(b"\x03")
    assert running.until("seen") == ["SIGTERM"] * 2
    assert running.end()[0] == 130


def test_a_terminal_that_goes_away_takes_the_job_with_it(at, terminal):
    running = at("HUP", "--grace", "60s")
    os.close(terminal.ours)
    assert running.process.wait(DEADLINE) == 129
    assert {state(pid) for pid in pids(running)} == {""}


# -- stdin -------------------------------------------------------------------------------------------------


def test_rank_0_reads_what_is_piped_in_and_the_others_nothing(world, start):
    world.write("train.py", "import os, sys; data = sys.stdin.buffer.read(); print(len(data), sum(data), flush=True)")
    process = start("run", "-n", "3", "train.py")
    everything = bytes(range(256)) * 1024  # more than a pipe holds
    stdout, stderr = process.communicate(everything, timeout=DEADLINE)
    assert (process.returncode, stderr) == (0, b"")
    expected = [b"[0] %d %d" % (len(everything), sum(everything)), b"[1] 0 0", b"[2] 0 0"]
    assert sorted(stdout.splitlines()) == expected


def test_a_closed_stdin_is_an_empty_one(world, start):
    world.write("train.py", "import sys; print(repr(sys.stdin.read()))")
    process = start("run", "-n", "2", "train.py", wrapper=["sh", "-c", 'exec "$@" <&-', "sh"])
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stderr) == (0, b"")
    assert sorted(stdout.splitlines()) == [b"[0] ''", b"[1] ''"]
