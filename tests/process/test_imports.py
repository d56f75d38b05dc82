"""A start loads what it needs: each of these modules costs every start, and a framework would cost seconds."""

import importlib.util
import os
import subprocess
import sys
from collections import Counter

import pytest

FRAMEWORKS = {"megengine", "brevitas", "torch", "numpy", "tensorflow", "jax"}
HEAVY = {"psutil", "rich", "dotenv", "tomllib", "tomli", "platformdirs", "packaging", "pydantic", "click", "pynvml"}

DTR = """[env]
MEGENGINE_DTR_AUTO_DROP = 1
MEGENGINE_ENABLE_DROP = 1
MEGENGINE_RECORD_COMPUTING_PATH = 1
MEGENGINE_DTR_EVICTION_THRESHOLD = { default = "80%" }
"""


COUNTING = """
import os, sys

opened = []


def note(event, arguments):
    if event == "open":  # of io and of os alike
        opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else "")
    elif event == "os.exec":
        tell()


def tell():
    with open("opened.txt", "w", encoding="utf-8", errors="replace") as file:
        file.writelines(f"{path}\\n" for path in opened)


sys.addaudithook(note)
from mgelaunch.cli import main

main(sys.argv[1:])
tell()
"""
"""Runs mgelaunch and writes down each path that it opens, until it becomes the script or ends."""


@pytest.fixture
def opened(world, bare, undisturbed):
    """A function that counts how often mgelaunch opens each of the kernel's files."""
    world.write("noop.py", "")

    def count(*args):
        done = bare(*undisturbed, sys.executable, "-c", COUNTING, *args)
        assert done.returncode == 0, done.stderr
        paths = (world.project / "opened.txt").read_text("utf-8").splitlines()
        return Counter(path for path in paths if path.startswith(("/proc/", "/sys/")))

    return count


@pytest.fixture
def undisturbed():
    """The words before a command that is to see no plasma store, whose processes mgelaunch would look at with psutil: a
    network namespace has sockets of its own.
    """
    words = ["unshare", "--net"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
        return words
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
        if "/tmp/mge_plasma_" in sockets.read():
            pytest.skip("somebody's plasma store is running here")
    return []


@pytest.fixture
def imported(world, bare, undisturbed):
    """A function that lists, in order, the modules that mgelaunch imports until it becomes `noop.py`."""
    world.write("noop.py", "print('became it')")

    def ask(*options):
        command = [sys.executable, "-X", "importtime", "-m", "mgelaunch", "run", "--python", sys.executable, *options]
        done = bare(*undisturbed, *command, "noop.py")
        assert (done.returncode, done.stdout) == (0, b"became it\n"), done.stderr
        lines = [line.split("|") for line in done.stderr.decode().splitlines() if line.startswith("import time:")]
        return [line[2].strip() for line in lines[1:]]

    return ask


def roots(modules):
    return {module.partition(".")[0] for module in modules}


def test_a_start_without_settings_loads_nothing_heavy(imported):
    modules = imported()
    assert roots(modules) & (HEAVY | FRAMEWORKS) == set()
    assert modules.count("typer") == 1


def test_a_start_with_settings_of_the_command_line_loads_nothing_heavy(imported):
    options = ["-e", "MEGENGINE_LOGGING_LEVEL=error", "--unset", "A", "--device", "cpu0", "--threads", "50%"]
    assert roots(imported(*options)) & (HEAVY | FRAMEWORKS) == set()


def test_a_profile_loads_its_parser_and_what_its_percentages_need(world, imported):
    world.write(".mgelaunch/dtr.toml", DTR)
    modules = imported("-p", "dtr")
    assert roots(modules) & (HEAVY | FRAMEWORKS) <= {"tomllib", "tomli", "psutil"}
    assert modules.count("typer") == 1


@pytest.mark.skipif(importlib.util.find_spec("pynvml") is None, reason="no pynvml: pip install nvidia-ml-py")
@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this host has a driver, which is asked")
def test_a_host_without_a_driver_is_looked_at_with_nothing_heavy(imported, bare):
    """Its cards are looked for, because the threshold is 80 % of them. The parser has a subprocess of its own."""
    parser = bare(sys.executable, "-X", "importtime", "-c", "import typer").stderr.decode().splitlines()
    its_own = roots(line.split("|")[-1].strip() for line in parser)
    modules = imported("-p", "dtr")
    assert "mgelaunch.host.devices" in modules
    assert (roots(modules) - its_own) & {"pynvml", "psutil", "subprocess", "ctypes", "json"} == set()


ASKING_FOR_MUCH = (
    *("-p", "dtr", "-e", "MGE_PLASMA_MEMORY=20%", "-e", "MGB_SUBLINEAR_MEMORY_WORKERS=50%", "--threads", "50%"),
    *("-e", "CUDA_CACHE_PATH=/tmp/cache", "-e", "MGE_HOME=/tmp/home", "-e", "BREVITAS_JIT=1"),
)


@pytest.mark.parametrize(
    "args",
    [
        ("run", "-p", "dtr", "noop.py"),
        ("run", *ASKING_FOR_MUCH, "noop.py"),
        ("check", "-p", "dtr"),
        ("check", *ASKING_FOR_MUCH),
    ],
    ids=["a start", "a start that asks for much", "a check", "a check that asks for much"],
)
def test_no_file_of_the_kernel_is_opened_twice(opened, args):
    counts = opened(*args)
    assert {"/proc/meminfo", "/proc/self/mountinfo", "/proc/self/cgroup"} <= counts.keys()
    assert {path: times for path, times in counts.items() if times > 1} == {}


def test_an_env_file_loads_its_parser_only(world, imported):
    world.write(".env", "MEGENGINE_LOGGING_LEVEL=error\n")
    assert roots(imported()) & (HEAVY | FRAMEWORKS) == {"dotenv"}


def test_the_other_commands_are_not_loaded(imported):
    others = {f"mgelaunch.cli.{name}" for name in ("env", "explain", "check", "profiles", "vars")}
    others |= {"mgelaunch.report.table", "mgelaunch.report.docs"}
    assert others & set(imported()) == set()


@pytest.mark.parametrize(
    "command",
    [["run", "--dry-run"], ["check", "--no-check"], ["env"], ["explain", "BREVITAS_JIT"], ["vars", "dtr"]],
    ids=" ".join,
)
def test_no_command_ever_imports_a_framework(world, command):
    """Each of them stands in the way as a module that ends the process."""
    for name in FRAMEWORKS:
        world.write(f"site/{name}/__init__.py", f"raise SystemExit('{name} was imported')")
    done = world.run(*command, PYTHONPATH=str(world.project / "site"))
    assert (done.returncode, done.stderr) == (0, "")
