"""``check --prove`` with the real frameworks: every read-back, every shipped profile, aborts, locks and builds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.target.answers import Question

from .test_megengine_values import ANY_CARDS, BATCHES, batches, python_of

PATIENCE = 300
PROFILES = os.path.join(os.path.dirname(__file__), "..", "..", "profiles")
STRATEGY = "MEGENGINE_EXECUTION_STRATEGY"


@pytest.fixture
def prove(world):
    """A function that proves these settings: the exit code, the rows of the proof by name, the lines of the report."""
    world.write("script.py", "")

    def run(python, sets, *options, environ=None):
        settings = [word for name, text in sets.items() for word in ("-e", f"{name}={text}")]
        command = ("check", "--prove", "--python", python, *ANY_CARDS, *settings, *options)
        done = world.run(*command, "-f", "json", timeout=PATIENCE, **(environ or {}))
        assert "Traceback" not in done.stderr
        return done.returncode, {row["name"]: row for row in json.loads(done.stdout)["proof"]}, done.stderr

    return run


def states(rows):
    return {name: row["state"] for name, row in rows.items()}


@batches
@pytest.mark.parametrize("way", ["flag", "shell"])
def test_every_value_with_a_read_back_is_proved(batch, way, prove, request):
    """Whoever says it: --set, or the shell. What is read when a device is opened, which no proof does, is foretold."""
    settings = {"sets": BATCHES[batch]} if way == "flag" else {"sets": {}, "environ": BATCHES[batch]}
    _, rows, _ = prove(python_of(batch, request), settings.pop("sets"), "--prove-full", **settings)
    readable = {name for name in BATCHES[batch] if CATALOGUE[name].readback}
    expected = {name: "predicted" if row["moment"] == "first_device" else "proved" for name, row in rows.items()}
    assert {name: rows[name]["state"] for name in readable} == {name: expected[name] for name in readable}
    assert all(rows[name]["in_effect"] == rows[name]["asked"] for name in readable)
    assert not [name for name, row in rows.items() if row["state"] != expected[name] and CATALOGUE[name].readback]


@pytest.mark.brevitas
def test_brevitas_is_looked_at_without_torch_in_no_time(world, brevitas_python):
    settings = {name: text for name, text in BATCHES["brevitas"].items() if name.startswith("BREVITAS_")}
    words = [word for name, text in settings.items() for word in ("-e", f"{name}={text}")]
    done = world.run("check", "--prove", "--python", brevitas_python, *words)
    head = next(line for line in done.stdout.splitlines() if line.startswith("proof "))
    assert head.startswith("proof   brevitas ")
    assert "torch" not in head.replace(brevitas_python, "")
    # The JIT is on, so the extension is, whatever is asked for it: whether it loads depends on the tools of this host.
    assert "BREVITAS_JIT                        1      1 is predicted" in done.stdout
    assert "6 asked, 4 in effect, 2 predicted" in done.stdout


@pytest.mark.megengine
@pytest.mark.parametrize("profile", sorted(name.removesuffix(".toml") for name in os.listdir(PROFILES)))
def test_no_shipped_profile_asks_in_vain(profile, prove, megengine_python):
    code, rows, stderr = prove(megengine_python, {"MGE_DEFAULT_DEVICE": "cpu0"}, "-p", profile)
    assert code == 0, stderr
    assert "differs" not in states(rows).values()
    readable = {name for name in rows if CATALOGUE[name].readback and CATALOGUE[name].readback.startswith("megengine.")}
    assert {rows[name]["state"] for name in readable} == {"proved"}


@pytest.mark.brevitas
@pytest.mark.parametrize("profile", ["brevitas-jit", "threads", "repro"])
def test_no_shipped_profile_asks_torch_in_vain(profile, prove, brevitas_python):
    code, rows, stderr = prove(brevitas_python, {"TORCH_EXTENSIONS_DIR": "ext"}, "-p", profile)
    assert code == 0, stderr
    assert {row["state"] for name, row in rows.items() if CATALOGUE[name].readback} <= {"proved"}


@pytest.mark.megengine
def test_a_removed_variable_has_megengines_default(prove, megengine_python):
    names = [name for name, row in CATALOGUE.items() if row.readback.startswith("megengine.") and row.default]
    options = [word for name in names for word in ("--unset", name)]
    code, rows, _ = prove(megengine_python, {}, *options)
    assert code == 0
    assert states(rows) == dict.fromkeys(names, "proved")
    assert len(names) > 10


@pytest.mark.megengine
def test_a_dead_variable_is_a_failed_proof_until_it_is_fixed(prove, megengine_python):
    code, rows, stderr = prove(megengine_python, {STRATEGY: "PROFILE"})
    assert (code, rows[STRATEGY]["state"], rows[STRATEGY]["in_effect"]) == (4, "differs", "HEURISTIC")
    assert "--fix execution-strategy" in stderr
    for asked, read in (("PROFILE", "PROFILE"), ("profile_reproduceable", "PROFILE_REPRODUCIBLE")):
        code, rows, _ = prove(megengine_python, {STRATEGY: asked}, "--fix", "execution-strategy")
        assert (code, rows[STRATEGY]["state"], rows[STRATEGY]["in_effect"]) == (0, "proved", read)


# -- environments that the resolver would refuse -------------------------------------------------------

INQUIRE = """
import json, os, sys
from mgelaunch.launch.inquiry import inquire
from mgelaunch.launch.plan import Process
from mgelaunch.target.answers import Question

python, deadline, imports, quick, environ = json.loads(sys.argv[1])
start = lambda words: Process(0, python, (python, *words), os.getcwd(), {})
found = inquire((Question(tuple(imports), quick),), start, environ, deadline, lambda _: None)
print(json.dumps([[f.failure.kind, f.failure.sentence, f.guilty, f.blame.works, f.lines] for f in found.faults]))
"""


@pytest.fixture
def faults(world):
    """A function that asks a Python in this environment, and returns what is wrong: (kind, sentence, names, works)."""

    def ask(python, question, deadline=PATIENCE / 3, **environ):
        request = json.dumps([python, deadline, question.imports, question.quick, world.environ | environ])
        command = [sys.executable, "-c", INQUIRE, request]
        done = subprocess.run(
            command, cwd=world.project, capture_output=True, text=True, timeout=2 * PATIENCE, check=True
        )
        return json.loads(done.stdout)

    return ask


HARMLESS = {"MEGENGINE_ENABLE_DROP": "1", "MEGENGINE_INTERP_ASYNC_LEVEL": "0", "OMP_NUM_THREADS": "1"}
IMPORT = "importing megengine failed: "


@pytest.mark.megengine
@pytest.mark.parametrize(
    ("name", "value", "sentence", "last"),
    [
        ("MGB_CONV_PROFILING_TIMEOUT", "abc", "python died while importing megengine (SIGABRT)", "  what():  stod"),
        ("RUNTIME_OVERRIDE_LOG_LEVEL", "DEBUG", "python died while importing megengine (SIGABRT)", "  what():  stoi"),
        ("MGE_DEFAULT_DEVICE", "cuda:0", f"{IMPORT}AssertionError: Invalid device name", None),
        ("MEGENGINE_LOGGING_LEVEL", "VERBOSE", f"{IMPORT}ValueError: Unknown level: 'Level VERBOSE'", None),
        ("MEGENGINE_ASYNC_QUEUE_SIZE", "10k", f"{IMPORT}ImportError: ", None),
        ("PYTHONHASHSEED", "abc", "python ended while starting (exit code 1)", None),
    ],
)
def test_what_breaks_megengine_is_named(name, value, sentence, last, faults, megengine_python):
    ((kind, told, guilty, works, lines),) = faults(
        megengine_python, Question(("megengine",)), **HARMLESS | {name: value}
    )
    assert (guilty, works) == ([name], True)
    assert told.startswith(sentence)
    assert kind == ("import" if sentence.startswith(IMPORT) else "died")
    assert last is None or lines[-1] == last


@pytest.mark.brevitas
@pytest.mark.parametrize("quick", [True, False])
def test_what_breaks_brevitas_is_named_with_or_without_an_import(quick, faults, brevitas_python):
    question = Question((), quick=True) if quick else Question(("brevitas",))
    harmless = {"BREVITAS_LOGGING": "INFO", "BREVITAS_VERBOSE": "1"}
    ((kind, told, guilty, works, _),) = faults(
        brevitas_python, question, **harmless, BREVITAS_IGNORE_MISSING_KEYS="Ture"
    )
    assert (kind, guilty, works) == ("import", ["BREVITAS_IGNORE_MISSING_KEYS"], True)
    assert told == "importing brevitas failed: ValueError: invalid truth value 'ture'"


@pytest.mark.brevitas
def test_a_lock_that_a_killed_build_has_left_is_a_hang(faults, world, brevitas_python):
    # Where torch looks when no variable names a place: a build in another one might end within the deadline, or not.
    version = subprocess.check_output(
        [brevitas_python, "-c", "import sys; print(*sys.version_info[:2], sep='')"], text=True
    )
    lock = Path(world.home) / f".cache/torch_extensions/py{version.strip()}_cpu/autograd_ste_ops/lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    environ = {"BREVITAS_NATIVE_STE_BACKEND": "1", "BREVITAS_LOGGING": "INFO"}
    ((kind, told, guilty, works, _),) = faults(brevitas_python, Question(("brevitas",)), 30, **environ)
    assert (kind, guilty, works) == ("hang", ["BREVITAS_NATIVE_STE_BACKEND"], True)
    assert told == "python had not finished importing brevitas after 30 s"


@pytest.mark.brevitas
def test_a_build_that_is_stopped_leaves_no_lock_and_no_file_behind(lack, world, brevitas_python):
    options = ("--python", brevitas_python, "-e", "BREVITAS_JIT=1", "-e", "TORCH_EXTENSIONS_DIR=ext")
    command = world.command("check", "--no-check", "--prove-full", *options)
    environ = world.environ | {"PATH": f"{os.path.dirname(brevitas_python)}:{world.environ['PATH']}"}
    if lacking := [name for name in ("ninja", "c++") if not shutil.which(name, path=environ["PATH"])]:
        lack("brevitas", f"nothing can be built here without {' and '.join(lacking)}")
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=world.project, env=environ, stdout=quiet, stderr=subprocess.PIPE)
    until, lock = time.monotonic() + PATIENCE / 3, world.project / "ext" / "autograd_ste_ops" / "lock"
    while not lock.exists():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(f"no build has begun: {process.communicate()}")
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (130, b"mgelaunch: error: the proof was ended by SIGINT [prove.signal]\n")
    assert not lock.exists()
    assert os.listdir(world.environ["TMPDIR"]) == []
