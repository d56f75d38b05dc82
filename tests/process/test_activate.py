"""`mgelaunch.activate()`: real interpreters with stand-ins for the frameworks, whose import is all that matters here."""

import json
import subprocess
import sys

import pytest

HEAD = """
import json, os, sys
import mgelaunch

def shown(*names):
    return [os.environ.get(name) for name in names]

def refused(*profile, **options):
    before = dict(os.environ)
    try:
        mgelaunch.activate(profile, **options)
    except mgelaunch.NotActivated as failure:
        assert dict(os.environ) == before
        assert failure.code in [finding.code for finding in failure.findings if finding.severity == "error"]
        return str(failure).splitlines()
    raise AssertionError("it was not refused")
"""


@pytest.fixture
def notebook(world):
    """A function that runs cells in one interpreter, whose imports find stand-ins for the frameworks; it returns what
    the last line, an expression, was, and stderr."""
    for module in ("megengine", "torch", "brevitas", "numpy"):
        world.write(f"{module}.py", "")

    def run(cells, **environ):
        *lines, last = cells.strip().splitlines()
        program = "\n".join([HEAD, *lines, f"print(json.dumps({last}))"])
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=world.project,
            env=world.environ | environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return run


# -- what it does --------------------------------------------------------------------------------


def test_it_sets_and_removes_what_run_sets_and_removes(notebook, world, planned):
    world.write(".env", "FROM_ENV=1\nMEGENGINE_LOGGING_LEVEL=DEBUG\n")
    world.write(".mgelaunch/ours.toml", '[env]\nMEGENGINE_DTR_EVICTION_THRESHOLD = "5GB"\nGONE = { unset = true }\n')
    said, stderr = notebook(
        """
before = dict(os.environ)
done = mgelaunch.activate("ours", settings={"MEGENGINE_ENABLE_DROP": "on"}, device="cpu0")
changed = {name for name in {**before, **os.environ} if before.get(name) != os.environ.get(name)}
[done.changes, {name: os.environ.get(name) for name in done.changes}, changed == set(done.changes)]
""",
        GONE="x",
    )
    options = ["-p", "ours", "-e", "MEGENGINE_ENABLE_DROP=on", "--device", "cpu0"]
    world.environ["GONE"] = "x"
    assert said[0] == said[1] == planned(*options)
    assert said[2]
    assert said[0]["MEGENGINE_DTR_EVICTION_THRESHOLD"] == "5368709120"
    assert (said[0]["GONE"], said[0]["FROM_ENV"]) == (None, "1")
    assert "[together.dtr]" in stderr


def test_native_code_and_children_see_it(notebook):
    said, _ = notebook(
        """
mgelaunch.activate(settings={"MEGENGINE_ENABLE_DROP": "on"})
import ctypes, subprocess
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
child = subprocess.run(["printenv", "MEGENGINE_ENABLE_DROP"], capture_output=True, text=True)
[getenv(b"MEGENGINE_ENABLE_DROP").decode(), child.stdout]
"""
    )
    assert said == ["1", "1\n"]


def test_several_profiles_are_combined_as_on_a_command_line(notebook, world):
    world.write("a.toml", '[env]\nONE = "a"\nTWO = "a"\n')
    world.write("b.toml", '[env]\nTWO = "b"\n')
    assert notebook('mgelaunch.activate(["./a.toml", "./b.toml"])\nshown("ONE", "TWO")')[0] == ["a", "b"]


def test_the_target_is_the_interpreter_that_asks(notebook, world):
    """Not the one that run would choose."""
    world.write(".mgelaunch/ours.toml", '[requires]\npython = ">=3.99"\n[launch]\npython = "/nowhere/python"\n')
    said, _ = notebook('[refused("ours"), ".".join(map(str, sys.version_info[:2]))]', MGELAUNCH_PYTHON="/nowhere")
    (_, line), version = said
    assert f"is {version}" in line or version in line
    assert line.endswith("[requires.python]")


def test_there_is_one_process_whatever_a_profile_says_of_ranks(notebook, world):
    profile = (
        '[launch]\nnproc-per-node = 4\nmax-restarts = 3\n[rank.env]\nMGB_JIT_WORKDIR = "/tmp/jit-{run_id}-{rank}"\n'
    )
    world.write(".mgelaunch/ours.toml", profile)
    cells = """
first = mgelaunch.activate("ours").changes
again = mgelaunch.activate("ours").changes
[sorted(first), first["MGB_JIT_WORKDIR"].endswith(f"-{os.getpid()}-0"), again]
"""
    assert notebook(cells) == ([["MGB_JIT_WORKDIR"], True, {}], "")


def test_under_an_engine_it_is_the_rank_that_the_engine_has_started(notebook, world):
    world.write(".mgelaunch/ours.toml", '[rank.env]\nMGE_DEFAULT_DEVICE = "cpu{local_rank}"\n')
    rank = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1"}
    meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "1"}
    said, stderr = notebook('mgelaunch.activate("ours")\nshown("MGE_DEFAULT_DEVICE", "RANK")', **rank, **meeting)
    assert (said, stderr) == (["cpu1", "5"], "")


# -- what is too late ----------------------------------------------------------------------------


def test_after_the_import_it_refuses_with_every_variable_and_changes_nothing(notebook):
    said, stderr = notebook(
        """
import megengine
refused("dtr", settings={"MEGENGINE_DTR_EVICTION_THRESHOLD": "6GiB", "PYTHONHASHSEED": "0", "FREE": "1"})
"""
    )
    late = ["AUTO_DROP", "EVICTION_THRESHOLD"]
    names = [*(f"MEGENGINE_DTR_{name}" for name in late), "MEGENGINE_ENABLE_DROP", "MEGENGINE_RECORD_COMPUTING_PATH"]
    happened = 'is read by "import megengine", which has happened: restart the kernel and call activate() first'
    assert said[0] == "nothing was changed:"
    assert said[1:-1] == [f"  {name} {happened} [late.import]" for name in names]
    assert said[-1].startswith(
        "  PYTHONHASHSEED is read when Python starts, which has happened: mgelaunch kernel install"
    )
    assert stderr == ""


@pytest.mark.parametrize(
    ("module", "setting"),
    [
        ("torch", "TORCH_CPP_LOG_LEVEL=ERROR"),
        ("brevitas", "BREVITAS_JIT=1"),
        ("numpy", "OMP_NUM_THREADS=2"),
        ("megengine", "MGE_FASTRUN_CACHE_DIR=/tmp"),
        ("megengine.core", "MEGENGINE_ENABLE_DROP=1"),
    ],
)
def test_each_module_makes_its_own_variables_late(notebook, module, setting):
    """Of an import that has failed, parts may be left, and the library has read its variables."""
    name, _, text = setting.partition("=")
    cells = f"""
mgelaunch.activate(settings={{{name!r}: {text!r}}}).undo()
sys.modules[{module!r}] = sys
refused(settings={{{name!r}: {text!r}}})
"""
    (_, line), _ = notebook(cells)
    assert line.startswith(f'  {name} is read by "import {module.partition(".")[0]}", which has happened')


def test_a_value_that_is_there_already_is_not_late(notebook):
    cells = """
import megengine, numpy
done = mgelaunch.activate(settings={"MEGENGINE_ENABLE_DROP": "yes", "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}, unset=["BREVITAS_JIT"])
done.changes
"""
    assert notebook(cells, MEGENGINE_ENABLE_DROP="1", OMP_NUM_THREADS="2", PYTHONHASHSEED="7") == ({}, "")


def test_a_value_with_which_this_interpreter_was_started_is_not_late(notebook):
    """Somebody has changed it since, which Python did not notice."""
    cells = 'os.environ["PYTHONHASHSEED"] = "8"\nmgelaunch.activate(settings={"PYTHONHASHSEED": "7"}).changes'
    assert notebook(cells, PYTHONHASHSEED="7") == ({"PYTHONHASHSEED": "7"}, "")


def test_what_an_import_has_written_is_nobodys_setting(notebook, world):
    """MegEngine writes CUDA_MODULE_LOADING where nobody has said anything, as the real one does."""
    world.write("megengine.py", 'import os; os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")')
    world.write(".mgelaunch/ours.toml", '[env]\nCUDA_MODULE_LOADING = { default = "EAGER" }\n')
    cells = """
import megengine
[mgelaunch.activate().changes, mgelaunch.activate(unset=["CUDA_MODULE_LOADING"]).changes, shown("CUDA_MODULE_LOADING"), refused("ours")[1][:43]]
"""
    assert notebook(cells)[0] == [{}, {}, ["LAZY"], '  CUDA_MODULE_LOADING is read by "import me']
    in_time = 'mgelaunch.activate("ours")\nimport megengine\nmgelaunch.activate("ours")\nshown("CUDA_MODULE_LOADING")'
    assert notebook(in_time) == (["EAGER"], "")


def test_what_may_have_been_read_is_set_with_a_warning(notebook):
    cells = """
import torch
mgelaunch.activate(settings={"CUDA_VISIBLE_DEVICES": "", "TORCH_EXTENSIONS_DIR": "/tmp", "OTHERS_OWN": "1"}, ignore="dev.none")
shown("CUDA_VISIBLE_DEVICES", "TORCH_EXTENSIONS_DIR", "OTHERS_OWN")
"""
    said, stderr = notebook(cells)
    assert said == ["", "/tmp", "1"]
    (warning,) = [line for line in stderr.splitlines() if "[late." in line]
    assert warning == (
        "mgelaunch: warning: torch is imported already, and may have opened its first device, when CUDA_VISIBLE_DEVICES "
        "is read [late.unknown]"
    )


def test_what_is_too_late_may_be_left_to_child_processes(notebook):
    cells = 'mgelaunch.activate("repro", ignore="late.start")\nshown("PYTHONHASHSEED")'
    assert notebook(cells) == (["0"], "")


def test_a_number_of_threads_that_nobody_has_asked_for_is_left_out_when_it_is_late(notebook):
    rank = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    rank |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    cells = (
        'mgelaunch.activate(settings={"MEGENGINE_ENABLE_DROP": "1"})\nshown("MEGENGINE_ENABLE_DROP", "OMP_NUM_THREADS")'
    )
    (_, threads), _ = notebook(cells, **rank)
    assert threads is not None
    assert notebook(f"import numpy\n{cells}", **rank)[0] == ["1", None]


# -- called again, and undone --------------------------------------------------------------------


def test_a_second_call_with_the_same_settings_changes_nothing_even_after_the_import(notebook):
    cells = """
mgelaunch.activate("dtr", settings={"MEGENGINE_DTR_EVICTION_THRESHOLD": "6GiB"})
import megengine
mgelaunch.activate("dtr", settings={"MEGENGINE_DTR_EVICTION_THRESHOLD": "6GiB"}).changes
"""
    assert notebook(cells) == ({}, "")


def test_a_later_call_decides_afresh_of_what_it_speaks_of_and_leaves_the_rest(notebook, world):
    """What an earlier one has set is no shell's, to which the default of a profile would give way."""
    soft = world.write(
        "soft.toml", '[env]\nMEGENGINE_LOGGING_LEVEL = { default = "INFO" }\nGONE = { default = "soft" }\n'
    )
    cells = f"""
mgelaunch.activate("soft.toml", settings={{"MEGENGINE_ENABLE_DROP": "1", "KEPT": "2", "MINE": "3"}}, unset=["GONE"])
os.environ["MINE"] = "mine"
open({str(soft)!r}, "w").write('[env]\\nMEGENGINE_LOGGING_LEVEL = {{ default = "ERROR" }}\\nGONE = {{ default = "soft" }}\\nMINE = {{ default = "soft" }}')
second = mgelaunch.activate("soft.toml").changes
[second, shown("MEGENGINE_LOGGING_LEVEL", "MEGENGINE_ENABLE_DROP", "KEPT", "MINE", "GONE")]
"""
    changes, values = notebook(cells, GONE="back")[0]
    assert changes == {"MEGENGINE_LOGGING_LEVEL": "ERROR", "GONE": "back"}
    assert values == ["ERROR", "1", "2", "mine", "back"]


def test_a_later_call_is_judged_together_with_what_earlier_ones_have_set(notebook):
    """Three switches, and then the threshold that needs them."""
    switches = ["MEGENGINE_DTR_AUTO_DROP", "MEGENGINE_ENABLE_DROP", "MEGENGINE_RECORD_COMPUTING_PATH"]
    cells = f"""
mgelaunch.activate(settings=dict.fromkeys({switches}, "1"), ignore="together.dtr")
mgelaunch.activate(settings={{"MEGENGINE_DTR_EVICTION_THRESHOLD": "6GiB"}}, ignore="dtr.mem").changes
"""
    assert notebook(cells) == ({"MEGENGINE_DTR_EVICTION_THRESHOLD": "6442450944"}, "")


def test_it_is_undone_to_what_stood_there_before(notebook):
    cells = """
before = dict(os.environ)
outer = mgelaunch.activate(settings={"A": "1", "B": "1"}, unset=["GONE"])
middle = dict(os.environ)
with mgelaunch.activate(settings={"A": "2"}, unset=["B"]) as inner:
    within = shown("A", "B", "GONE")
after = dict(os.environ) == middle
outer.undo()
[within, after, dict(os.environ) == before, mgelaunch.activate(settings={"A": "1"}).former]
"""
    assert notebook(cells, GONE="x")[0] == [["2", None, None], True, True, {"A": None}]


def test_it_is_undone_at_the_end_of_a_block_that_fails(notebook):
    cells = """
try:
    with mgelaunch.activate(settings={"A": "1"}):
        raise KeyError
except KeyError:
    pass
shown("A")
"""
    assert notebook(cells)[0] == [None]


# -- what is said --------------------------------------------------------------------------------


def test_what_there_is_to_say_is_said_in_the_words_of_run(notebook, world):
    dead = ["MEGENGINE_EXECUTION_STRATEGY", "MEGENGINE_ENABLE_SWAP", "MGB_COMP_GRAPH_OPT", "MGE_EINSUM_IMPL"]
    settings = {name: "PROFILE" if "STRATEGY" in name else "1" for name in dead}
    _, stderr = notebook(f"mgelaunch.activate(settings={settings!r}).changes")
    done = world.run("run", *(word for name, text in settings.items() for word in ("-e", f"{name}={text}")), "true")
    assert stderr == done.stderr
    assert len(stderr.splitlines()) == 4
    assert "1 more: mgelaunch check with the same options shows them" in stderr


@pytest.mark.parametrize("method", ["write", "close"])
def test_whatever_stands_in_the_place_of_stderr_may_be_deaf(notebook, method):
    cells = f"""
import io, sys, types
heard = []
sys.stderr = types.SimpleNamespace(write=heard.append) if {method == "write"} else io.StringIO()
{method == "close"} and sys.stderr.close()
mgelaunch.activate(settings={{"MEGENGINE_ENABLE_SWAP": "1"}})
sys.stderr = sys.__stderr__
[os.environ["MEGENGINE_ENABLE_SWAP"], len(heard)]
"""
    assert notebook(cells)[0] == ["1", int(method == "write")]


def test_a_wrong_setting_is_refused_with_its_place(notebook, world):
    world.write(".env", "A=1\nMEGENGINE_DTR_EVICTION_THRESHOLD=8\n")
    said, stderr = notebook("refused(settings={'MGE_DEFAULT_DEVICE': 'cuda:0'})")
    assert len(said) == 3
    assert any(line.startswith("  .env:2:") and "[value." in line for line in said)
    assert stderr == ""


def test_a_secret_is_never_shown(notebook, world):
    world.write(".env", "WANDB_API_KEY=5ecret\n")
    cells = """
done = mgelaunch.activate(settings={"HUB": "https://me:5ecret@host/"})
import megengine
[repr(done), refused(settings={"MGE_FASTRUN_CACHE_URL": "redis://:5ecret@h:1"}), shown("WANDB_API_KEY")]
"""
    said, stderr = notebook(cells)
    assert said[2] == ["5ecret"]
    assert "WANDB_API_KEY=(secret)  (.env:1)" in said[0]
    assert "5ecret" not in json.dumps(said[:2]) + stderr


def test_what_a_profile_asks_of_a_start_beside_variables_is_told(notebook, world):
    world.write(".mgelaunch/ours.toml", '[launch]\nbind-cpus = "cores"\nguard = true\nfix = ["dtr-allocator"]\n')
    _, stderr = notebook('mgelaunch.activate("ours").changes')
    assert "left out of [launch]: bind-cpus; activate() changes variables only" in stderr
    assert "--guard and --fix dtr-allocator can do nothing here" in stderr
    assert stderr.count("[activate.launch]") == stderr.count("[guard.command]") == 1


def test_a_number_counts_as_its_text_and_zero_is_one(notebook):
    cells = """
mgelaunch.activate(threads=1, device=None, settings={"MEGENGINE_INTERP_ASYNC_LEVEL": 0})
[shown("OMP_NUM_THREADS", "MEGENGINE_INTERP_ASYNC_LEVEL"), refused(device=0), refused(gpu_ids=0)]
"""
    changed, device, cards = notebook(cells)[0]
    assert changed == ["1", "0"]
    assert "[value.device]" in device[1]
    assert "[dev.visible]" in cards[1]


@pytest.mark.parametrize(
    "arguments",
    [
        'settings={"A": None}',
        'settings={"A": "x\\0y"}',
        'settings={"A=B": "1"}',
        'settings={"A": "1"}, unset=["A"]',
        'settings={"A": "\\ud800"}',
    ],
)
def test_arguments_that_mean_nothing_are_a_usage_error(notebook, arguments):
    cells = f"""
from mgelaunch.errors import UsageError
try:
    mgelaunch.activate({arguments})
except UsageError as error:
    said = str(error)
[bool(said), shown("A")]
"""
    assert notebook(cells)[0] == [True, [None]]


def test_its_exception_is_named_as_programs_import_it(world):
    done = subprocess.run(
        [sys.executable, "-c", "import mgelaunch; mgelaunch.activate('nothing-of-this-name')"],
        cwd=world.project,
        env=world.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "\nmgelaunch.NotActivated: nothing was changed:\n" in done.stderr
    assert "[profile.unknown]" in done.stderr


def test_a_test_suite_has_its_settings_before_its_first_import_and_gets_its_environment_back(world):
    """The examples of docs/notebooks.md."""
    world.write(".mgelaunch/ci.toml", "[env]\nMEGENGINE_INTERP_ASYNC_LEVEL = 0\n")
    world.write("megengine.py", 'import os; level = os.environ["MEGENGINE_INTERP_ASYNC_LEVEL"]\n')
    world.write("conftest.py", 'import mgelaunch\n\nmgelaunch.activate("ci")\n')
    name = "MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE"
    tests = f"""
import os
import megengine, mgelaunch, pytest

@pytest.fixture
def static_shapes():
    with mgelaunch.activate(settings={{{name!r}: "1"}}):
        yield

def test_inside(static_shapes):
    assert (megengine.level, os.environ[{name!r}]) == ("0", "1")

def test_afterwards():
    assert {name!r} not in os.environ and os.environ["MEGENGINE_INTERP_ASYNC_LEVEL"] == "0"
"""
    world.write("test_model.py", tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_model.py"],
        cwd=world.project,
        env=world.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
