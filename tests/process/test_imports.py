"""A start loads what it needs: each of these modules costs every start, and a framework would cost seconds."""

import sys

import pytest

FRAMEWORKS = {"megengine", "brevitas", "torch", "numpy", "tensorflow", "jax"}
HEAVY = {"psutil", "rich", "dotenv", "tomllib", "tomli", "platformdirs", "packaging", "pydantic", "click", "pynvml"}

DTR = """[env]
MEGENGINE_DTR_AUTO_DROP = 1
MEGENGINE_ENABLE_DROP = 1
MEGENGINE_RECORD_COMPUTING_PATH = 1
MEGENGINE_DTR_EVICTION_THRESHOLD = { default = "80%" }
"""


@pytest.fixture
def imported(world, bare):
    """A function that lists, in order, the modules that mgelaunch imports until it becomes `noop.py`."""
    world.write("noop.py", "print('became it')")

    def ask(*options):
        command = [sys.executable, "-X", "importtime", "-m", "mgelaunch", "run", "--python", sys.executable, *options]
        done = bare(*command, "noop.py")
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


def test_an_env_file_loads_its_parser_only(world, imported):
    world.write(".env", "MEGENGINE_LOGGING_LEVEL=error\n")
    assert roots(imported()) & (HEAVY | FRAMEWORKS) == {"dotenv"}


def test_the_other_commands_are_not_loaded(imported):
    others = {f"mgelaunch.cli.{name}" for name in ("env", "explain", "profiles", "vars")}
    others |= {"mgelaunch.report.table", "mgelaunch.report.docs"}
    assert others & set(imported()) == set()


@pytest.mark.parametrize(
    "command", [["run", "--dry-run"], ["env"], ["explain", "BREVITAS_JIT"], ["vars", "dtr"]], ids=" ".join
)
def test_no_command_ever_imports_a_framework(world, command):
    """Each of them stands in the way as a module that ends the process."""
    for name in FRAMEWORKS:
        world.write(f"site/{name}/__init__.py", f"raise SystemExit('{name} was imported')")
    done = world.run(*command, PYTHONPATH=str(world.project / "site"))
    assert (done.returncode, done.stderr) == (0, "")
