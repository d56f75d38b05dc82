"""The examples learn under mgelaunch, report the settings they were given, and start with every shipped profile."""

import json
import os
import signal

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROFILES = sorted(file.removesuffix(".toml") for file in os.listdir(f"{ROOT}/profiles") if file.endswith(".toml"))
NEUTRAL = ("threads",)
"""Profiles that say more to torch than to MegEngine."""


def source(name):
    with open(f"{ROOT}/examples/{name}.py", encoding="utf-8") as file:
        return file.read()


def plan(job, python, script, *options):
    """What the dry-run says that each variable gets."""
    ran = job.launched(python, script, options=("--dry-run", "--format", "json", *options))
    return {setting["name"]: setting["value"] for setting in json.loads(ran.stdout)["settings"]}


@pytest.mark.megengine
def test_the_megengine_example_learns_with_dtr(job, megengine_python):
    """The profile's switches and the threshold of the plan are what MegEngine reads back."""
    script = source("megengine_train")
    ran = job.launched(megengine_python, script, options=("-p", "dtr"))
    assert ran.report["accuracy"] > 0.95
    assert ran.report["dtr"] == 1
    planned = plan(job, megengine_python, script, "-p", "dtr")["MEGENGINE_DTR_EVICTION_THRESHOLD"]
    assert ran.report["dtr_threshold"] == int(planned) > 1 << 20
    assert "mgelaunch: " not in ran.stderr


@pytest.mark.megengine
def test_a_size_of_the_shell_beats_the_soft_threshold(job, megengine_python):
    """``MEGENGINE_DTR_EVICTION_THRESHOLD=6GB mgelaunch run -p dtr`` does what it looks like."""
    environ = {"MEGENGINE_DTR_EVICTION_THRESHOLD": "6GB"}
    ran = job.launched(
        megengine_python, source("megengine_train"), "--steps", "1", options=("-p", "dtr"), environ=environ
    )
    assert (ran.report["dtr"], ran.report["dtr_threshold"]) == (1, 6 << 30)


@pytest.mark.megengine
def test_the_broken_example_aborts_without_a_python_line(job, megengine_python):
    """MegEngine runs behind the Python code: what is left is a C++ message."""
    ran = job.bare(megengine_python, source("megengine_train"), "--broken")
    assert ran.returncode == -signal.SIGABRT
    assert "Traceback" not in ran.stderr
    assert "index 7 is out of bounds" in ran.stderr


@pytest.mark.megengine
@pytest.mark.parametrize(
    "options", [("-p", "debug"), ("-e", "MEGENGINE_INTERP_ASYNC_LEVEL=0")], ids=["profile", "level"]
)
def test_the_broken_example_names_the_guilty_line(job, megengine_python, options):
    """With the debug profile, or the one setting that matters, the traceback ends in the line of the mistake."""
    ran = job.launched(megengine_python, source("megengine_train"), "--broken", options=options)
    assert ran.returncode == 1
    assert "Traceback (most recent call last)" in ran.stderr
    lines = ran.stderr.splitlines()
    places = [number for number, line in enumerate(lines) if "script.py" in line and "look_past_the_end" in line]
    assert [lines[number + 1].strip() for number in places] == ["row = rows[megengine.tensor([7])]"]


@pytest.mark.brevitas
def test_the_brevitas_example_learns_and_reports_its_settings(job, brevitas_python):
    """What the example prints is what was asked for."""
    sets = {
        "BREVITAS_JIT": "off",
        "BREVITAS_IGNORE_MISSING_KEYS": "on",
        "BREVITAS_LOGGING": "info",
        "CUDA_VISIBLE_DEVICES": "none",
    }
    ran = job.launched(brevitas_python, source("brevitas_qat"), options=("--threads", "1"), sets=sets)
    assert ran.report["accuracy"] > 0.95
    expected = {
        "jit": False,
        "native": False,
        "ignore_missing_keys": True,
        "reinit_on_load": True,
        "logging": "INFO",
        "threads": 1,
        "cards": 0,
        "rank": None,
    }
    assert {name: ran.report[name] for name in expected} == expected
    assert "mgelaunch: " not in ran.stderr


@pytest.mark.megengine
@pytest.mark.parametrize("profile", [name for name in PROFILES if not name.startswith("brevitas")])
def test_every_profile_starts_the_megengine_example(job, megengine_python, profile):
    """On a host without a GPU, and with nothing to say about it."""
    ran = job.launched(megengine_python, source("megengine_train"), "--steps", "1", options=("-p", profile))
    assert ran.returncode == 0, ran.stderr
    assert "accuracy" in ran.report
    assert "mgelaunch: " not in ran.stderr


@pytest.mark.brevitas
@pytest.mark.parametrize("profile", [name for name in PROFILES if name.startswith("brevitas") or name in NEUTRAL])
def test_every_profile_of_brevitas_starts_its_example(job, brevitas_python, profile):
    """The folder of extensions cannot be used here: the native part would take half a minute to compile."""
    environ = {"TORCH_EXTENSIONS_DIR": "script.py"}
    options = ("-p", profile, "--ignore", "cache.readonly")  # mgelaunch says so of the folder, rightly
    ran = job.launched(brevitas_python, source("brevitas_qat"), options=options, environ=environ)
    assert ran.returncode == 0, ran.stderr
    assert ran.report["accuracy"] > 0.95
    assert ran.report["jit"] == (profile == "brevitas-jit")
    assert "mgelaunch: " not in ran.stderr
