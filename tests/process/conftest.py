"""Real children in a project of their own: how they are started, spoken to, and cleared away."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

DEADLINE = 30
"""Seconds after which a child counts as stuck."""


@pytest.fixture(scope="session", autouse=True)
def signals_act():
    """Children are started as a terminal's shell starts them, also when the tests run under nohup or in the background
    of a script, which have signals ignored.
    """
    usual = {signal.SIGHUP: signal.SIG_DFL, signal.SIGQUIT: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    former = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def nothing_is_left_running(tmp_path):
    """No process of a test, grandchildren included, lives longer than the test."""
    yield
    left = [pid for pid in os.listdir("/proc") if pid.isdigit() and _lives_in(pid, str(tmp_path))]
    assert not left, "processes of this test are still running"


def _lives_in(pid, folder):
    try:
        return os.readlink(f"/proc/{pid}/cwd").startswith(f"{folder}/")
    except OSError:  # it has ended meanwhile, or is a zombie, or is not ours
        return False


@pytest.fixture
def world(world):
    """The shell of the user; which Python runs the scripts is no question (its tests take the answer away)."""
    world.environ["MGELAUNCH_PYTHON"] = sys.executable
    return world


@pytest.fixture
def start(world):
    """A function that starts mgelaunch without waiting for it; what runs longer than the deadline, or at the end
    of the test, is killed, so that whoever reads from it is not stuck."""
    started, watchdogs = [], []

    def run(*args, wrapper=(), **options):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        options = {"cwd": world.project, "env": world.environ} | options
        process = subprocess.Popen([*wrapper, *world.command(), *args], **options)
        started.append(process)
        watchdogs.append(threading.Timer(DEADLINE, process.kill))
        watchdogs[-1].start()
        return process

    yield run
    for watchdog in watchdogs:
        watchdog.cancel()
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(DEADLINE)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def out(start):
    """A function that runs mgelaunch to its end and returns its stdout as bytes, which must be all that it says."""

    def run(*args, **options):
        stdout, stderr = start(*args, **options).communicate(timeout=DEADLINE)
        assert not stderr
        return stdout

    return run


@pytest.fixture
def bare(world):
    """A function that runs a command without mgelaunch, for comparison."""

    def run(*command, **options):
        options = {"cwd": world.project, "env": world.environ, "timeout": DEADLINE} | options
        return subprocess.run(command, capture_output=True, check=False, **options)

    return run


@pytest.fixture
def planned(world):
    """A function that asks a dry-run which variables mgelaunch would set (a text) or remove (None)."""

    def ask(*options):
        done = world.run("run", "--dry-run", "-f", "json", *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["processes"][0]["environment"]

    return ask


@pytest.fixture(scope="session")
def nvml_library(need, tmp_path_factory):
    """The folder of a stub libnvidia-ml.so.1 (see tests/nvml_stub.c); `old` in it is that of an old driver's."""
    need("nvml")
    compiler = shutil.which("gcc") or shutil.which("cc")
    folder, source = tmp_path_factory.mktemp("nvml"), os.path.join(os.path.dirname(__file__), "..", "nvml_stub.c")
    for place, *options in ((folder,), (folder / "old", "-DOLD")):
        place.mkdir(exist_ok=True)
        options += ["-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", place / "libnvidia-ml.so.1"]
        subprocess.run([compiler, *options, source], check=True, timeout=60)
    return folder


@pytest.fixture
def cards(nvml_library, tmp_path):
    """A function that takes the lines of the stub's file and returns the variables under which its cards are found."""

    def write(*lines, old=False):
        said = tmp_path / "cards.txt"
        said.write_bytes(b"".join(line.encode("utf-8", "surrogateescape") + b"\n" for line in lines))
        return {"NVML_STUB": str(said), "LD_LIBRARY_PATH": str(nvml_library / "old" if old else nvml_library)}

    return write
