"""Every trap of Brevitas' and torch's variables that a CPU can show: what the raw value does to a script that
is started bare, and what becomes of the same value under mgelaunch, by flag and from the shell.

An import of torch takes seconds. Variables that are read later share one: each row then has a fork of its own.
"""

import json
import os
from dataclasses import dataclass

import pytest

from mgelaunch.catalogue import CATALOGUE

pytestmark = pytest.mark.brevitas

IMPORT = "import brevitas, torch"
LAYERS = "import brevitas.nn"
THREADS = CATALOGUE["OMP_NUM_THREADS"].readback
CARDS = CATALOGUE["CUDA_VISIBLE_DEVICES"].readback
ALLOCATOR = CATALOGUE["PYTORCH_ALLOC_CONF"].readback
CPUS = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Fails:
    """The statement raises this, in a fork of a process that has imported torch."""

    statement: str
    error: str


@dataclass(frozen=True)
class Starts:
    """A process of its own that executes the statement says this on stderr and ends with this code."""

    said: str
    code: int = 1
    statement: str = "import torch"


@dataclass(frozen=True)
class Reads:
    """No error: after `before`, this expression has this value, which is not what was meant.

    With `early` a process of its own executes `before`, because the variable is read by torch's import.
    """

    expression: str
    value: str
    before: str = "pass"
    early: bool = False


@dataclass(frozen=True)
class Unread:
    """The name occurs in no Python file of Brevitas."""


@dataclass(frozen=True)
class Refused:
    """mgelaunch starts nothing and gives this code."""

    code: str


@dataclass(frozen=True)
class Gets:
    """mgelaunch starts the script with this text (None: without the variable)."""

    text: str | None
    value: str = ""
    """What the expression of the bare half reads now."""


@dataclass(frozen=True)
class Warned:
    """mgelaunch starts the script and gives this code."""

    code: str


@dataclass(frozen=True)
class Stopped:
    """mgelaunch itself cannot start: its own Python reads the variable, too. It says this."""

    said: str


@dataclass(frozen=True)
class Trap:
    """One row; `shell` None: mgelaunch handles it as it does the flag."""

    settings: dict[str, str]
    bare: Fails | Starts | Reads | Unread
    flag: Refused | Gets | Warned
    shell: Refused | Gets | Warned | Stopped | None = None

    def __str__(self):
        return " ".join(f"{name}={text or repr(text)}" for name, text in self.settings.items())

    @property
    def name(self):
        return next(iter(self.settings))

    def handled(self, way):
        return self.flag if way == "flag" or self.shell is None else self.shell


def trap(name, text, bare, flag, shell=None):
    return Trap({name: text}, bare, flag, shell)


def empty(name, bare, value=""):
    """An empty text: a slip in a flag, no setting at all in the shell."""
    return trap(name, "", bare, Refused("value.empty"), Gets(None, value))


def no_truth(text):
    return Fails(IMPORT, f"ValueError: invalid truth value {text!r}")


NO_PAIRS = Fails(ALLOCATOR, "Index out of bounds in ConfigTokenizer")
NO_LEVEL = "has no attribute"
CLIPPED = """
import brevitas.nn as qnn
from brevitas.quant import Int8WeightPerTensorFloat
class Learned(Int8WeightPerTensorFloat):
    scaling_impl_type = "parameter_from_stats"
layer = qnn.QuantLinear(4, 3, bias=False, weight_quant=Learned)
layer.weight.data.fill_(0.5)
layer.quant_weight()
layer.load_state_dict(dict(layer.state_dict(), weight=torch.full((3, 4), 2.0)), strict=False)
""".strip()

TRAPS = [
    # Brevitas
    trap("BREVITAS_JIT", "enable", no_truth("enable"), Gets("1")),
    empty("BREVITAS_JIT", no_truth("")),
    empty("BREVITAS_VERBOSE", no_truth("")),
    trap("BREVITAS_VERBOSE", " 1", no_truth(" 1"), Gets("1")),
    trap("BREVITAS_NATIVE_STE_BACKEND", "disabled", no_truth("disabled"), Gets("0")),
    trap("BREVITAS_IGNORE_MISSING_KEYS", "2", no_truth("2"), Refused("value.switch")),
    trap("BREVITAS_REINIT_ON_STATE_DICT_LOAD", "Ture", no_truth("ture"), Refused("value.switch")),
    trap(
        "BREVITAS_LOGGING", "debug", Fails(LAYERS, "TypeError: Level not an integer or a valid string"), Gets("DEBUG")
    ),
    trap("BREVITAS_LOGGING", "10", Fails(LAYERS, NO_LEVEL), Refused("value.choice")),
    trap("BREVITAS_LOGGING", "TRACE", Fails(LAYERS, NO_LEVEL), Refused("value.choice")),
    empty("BREVITAS_LOGGING", Fails(LAYERS, NO_LEVEL)),
    # torch, while it is imported
    trap("PYTORCH_JIT", "on", Starts("Unknown setting of PYTORCH_JIT"), Gets("1")),
    empty("PYTORCH_JIT", Starts("Unknown setting of PYTORCH_JIT")),
    empty("TORCH_DISTRIBUTED_DEBUG", Starts("must be OFF, INFO, or DETAIL")),
    empty("TORCH_LOGS", Starts("has no attribute 'get_log_level_pairs'")),
    # torch's allocator
    trap("PYTORCH_CUDA_ALLOC_CONF", "a=b", NO_PAIRS, Refused("value.pairs")),
    trap("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64;backend:native", NO_PAIRS, Refused("value.pairs")),
    trap("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb", NO_PAIRS, Refused("value.pairs")),
    trap(
        "PYTORCH_CUDA_ALLOC_CONF",
        "max_split_size_mb:19",
        Fails(ALLOCATOR, "too small, must be >= 20"),
        Refused("value.pairs"),
    ),
    trap(
        "PYTORCH_CUDA_ALLOC_CONF",
        "max_split_size_mb:128MB",
        Reads(ALLOCATOR, "max_split_size_mb:128MB"),
        Refused("value.pairs"),
    ),
    trap(
        "PYTORCH_CUDA_ALLOC_CONF",
        "garbage_collection_threshold:1",
        Fails(ALLOCATOR, "set it in (0.0, 1.0)"),
        Refused("value.pairs"),
    ),
    trap(
        "PYTORCH_CUDA_ALLOC_CONF",
        "expandable_segments:true",
        Fails(ALLOCATOR, "Expected 'True' or 'False'"),
        Refused("value.pairs"),
    ),
    trap(
        "PYTORCH_CUDA_ALLOC_CONF",
        "roundup_power2_divisions:3",
        Fails(ALLOCATOR, "has to be power of 2"),
        Refused("value.pairs"),
    ),
    Trap(
        {"PYTORCH_CUDA_ALLOC_CONF": "", "PYTORCH_ALLOC_CONF": "max_split_size_mb:32"},
        Reads(ALLOCATOR, ""),
        Refused("value.empty"),
        Gets(None, "max_split_size_mb:32"),
    ),
    # the visible cards
    *(
        trap("CUDA_VISIBLE_DEVICES", text, Reads(CARDS, "-1"), Refused("value.devices"))
        for text in ("0,0", "1,01", "all", "cuda:0", "[0,1]", '"0,1"', "-1,0", "GPU-a,GPU-a")
    ),
    *(
        trap("CUDA_VISIBLE_DEVICES", text, Reads(CARDS, read), Refused("value.devices"))
        for text, read in (("0;1", "0"), ("0 1", "0"), ("0,1,x", "0,1"), ("1gpu2,2ampere", "1,2"), ("GPU-a,1", "GPU-a"))
    ),
    trap("CUDA_VISIBLE_DEVICES", "+", Fails(CARDS, "ValueError"), Refused("value.devices")),
    trap("CUDA_VISIBLE_DEVICES", "none", Reads(CARDS, "-1"), Gets("-1", "-1")),
    trap("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b", Reads(CARDS, "GPU-a"), Gets("GPU-a,GPU-b", "GPU-a,GPU-b")),
    # threads
    trap(
        "OMP_NUM_THREADS",
        "abc",
        Starts("Invalid value for environment variable OMP_NUM_THREADS", code=0),
        Refused("value.integer"),
    ),
    trap(
        "OMP_NUM_THREADS",
        "0",
        Starts("Invalid value for environment variable OMP_NUM_THREADS", code=0),
        Refused("value.range"),
    ),
    trap("MKL_NUM_THREADS", "abc", Reads(THREADS, "1", "import torch", early=True), Refused("value.integer")),
    # Python itself
    trap(
        "PYTHONUNBUFFERED",
        "false",
        Reads(CATALOGUE["PYTHONUNBUFFERED"].readback, "1", early=True),
        Gets(None, "0"),
    ),
    trap(
        "PYTHONHASHSEED",
        "-1",
        Starts("config_init_hash_seed", statement="pass"),
        Refused("value.range"),
        Stopped("config_init_hash_seed"),
    ),
    trap(
        "PYTHONHASHSEED",
        "abc",
        Starts("config_init_hash_seed", statement="pass"),
        Refused("value.integer"),
        Stopped("config_init_hash_seed"),
    ),
    # several together, and dead ones
    Trap(
        {"BREVITAS_JIT": "1", "PYTORCH_JIT": "0"},
        Reads(
            "(bool(brevitas.config.JIT_ENABLED), brevitas.NATIVE_STE_BACKEND_LOADED)",
            "(False, False)",
            IMPORT,
            early=True,
        ),
        Warned("together.jit"),
    ),
    trap(
        "BREVITAS_REINIT_ON_STATE_DICT_LOAD",
        "0",
        Reads("bool(layer.quant_weight().value.max() < 1)", "True", CLIPPED),
        Warned("together.reinit"),
    ),
    Trap(
        {"PYTORCH_ALLOC_CONF": "max_split_size_mb:32", "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"},
        Reads(ALLOCATOR, "max_split_size_mb:64"),
        Warned("together.alloc"),
    ),
    Trap(
        {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"},
        Reads(THREADS, str(min(2, CPUS)), "import torch", early=True),
        Warned("together.threads"),
    ),
    trap(
        "OMP_PROC_BIND",
        "true",
        Reads("len(os.sched_getaffinity(0))", "1", "import torch", early=True),
        Warned("together.bind"),
    ),
    trap(
        "GOMP_CPU_AFFINITY",
        str(min(os.sched_getaffinity(0))),
        Reads("len(os.sched_getaffinity(0))", "1", "import torch", early=True),
        Warned("together.bind"),
    ),
    *(
        trap(name, "1", Unread(), Warned("name.dead"))
        for name in ("BREVITAS_FSDP_ROTATION_SYNC", "BREVITAS_FSDP_ROTATION_DEBUG")
    ),
]


# -- which traps a test is about -------------------------------------------------------------------


def bare(kind, *, early=None):
    """All traps whose bare half is of `kind`."""
    rows = [trap for trap in TRAPS if isinstance(trap.bare, kind)]
    if early is not None:
        rows = [trap for trap in rows if getattr(trap.bare, "early", False) is early]
    return pytest.mark.parametrize("trap", rows, ids=str)


def under_mgelaunch(kind):
    """All traps, and the ways, that mgelaunch handles by `kind`."""
    cases = [(trap, way) for trap in TRAPS for way in ("flag", "shell") if isinstance(trap.handled(way), kind)]
    return pytest.mark.parametrize(("trap", "way"), cases, ids=[f"{trap}-{way}" for trap, way in cases])


def said(way, settings):
    return {"sets" if way == "flag" else "environ": settings}


# -- the bare half ---------------------------------------------------------------------------------

FORKS = """
import json, os, sys
import torch
import torch._dynamo  # the greater part of what brevitas imports

def outcome(settings, before, expression):
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.environ.update(settings)
        try:
            known = {"os": os, "torch": torch}
            exec(before, known)
            seen = str(eval(expression, known))
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
        os.write(theirs, seen.encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as pipe:
        seen = pipe.read()
    os.wait()
    return seen

print(json.dumps([outcome(*row) for row in json.loads(sys.argv[1])]))
"""


@bare((Fails, Reads), early=False)
def test_a_bare_run_fails_or_reads_something_else(trap, job, brevitas_python, kept):
    """What the first use of the variable leads to after an import of torch that all rows share."""
    rows = [
        other for other in TRAPS if isinstance(other.bare, (Fails, Reads)) and not getattr(other.bare, "early", False)
    ]
    if "bare" not in kept:
        asked = [(other.settings, *statement_and_expression(other.bare)) for other in rows]
        kept["bare"] = job.bare(brevitas_python, FORKS, json.dumps(asked)).report
    seen = kept["bare"][rows.index(trap)]
    if isinstance(trap.bare, Reads):
        assert seen == trap.bare.value
    else:
        assert trap.bare.error in seen


def statement_and_expression(expected):
    if isinstance(expected, Reads):
        return expected.before, expected.expression
    return (
        (expected.statement, "'nothing'") if expected.statement.startswith("import") else ("pass", expected.statement)
    )


@bare(Reads, early=True)
def test_a_bare_run_reads_something_else_from_the_start(trap, job, brevitas_python):
    """No error: what torch or Python made of the text is just not what was written."""
    script = f"import json, os\n{trap.bare.before}\nprint(json.dumps(str({trap.bare.expression})))"
    ran = job.bare(brevitas_python, script, environ=trap.settings)
    assert (ran.returncode, ran.report) == (0, trap.bare.value)


@bare(Starts)
def test_a_bare_run_ends_like_this(trap, job, brevitas_python):
    """The exit status and the words that the raw value leads to."""
    ran = job.bare(brevitas_python, trap.bare.statement, environ=trap.settings)
    assert ran.returncode == trap.bare.code, ran.stderr
    assert trap.bare.said in ran.stderr


def test_no_code_of_brevitas_names_the_unread_variables(job, brevitas_python):
    """They stand in a notes file only; the others are found."""
    script = """
import importlib.util, json, os, sys
folders = [os.path.dirname(importlib.util.find_spec(name).origin) for name in ("brevitas", "brevitas_examples")]
files = [os.path.join(at, file) for top in folders for at, _, files in os.walk(top) for file in files]
texts = [open(file, encoding="utf-8").read() for file in files if file.endswith(".py")]
print(json.dumps([name for name in sys.argv[1:] if any(name in text for text in texts)]))
"""
    unread = [trap.name for trap in TRAPS if isinstance(trap.bare, Unread)]
    assert job.bare(brevitas_python, script, "BREVITAS_JIT", *unread).report == ["BREVITAS_JIT"]


# -- the half under mgelaunch ----------------------------------------------------------------------


@under_mgelaunch(Refused)
def test_mgelaunch_refuses(trap, way, job, brevitas_python):
    """Nothing is started, and the code is on stderr."""
    ran = job.launched(brevitas_python, "print('started')", **said(way, trap.settings))
    code = trap.handled(way).code
    assert (ran.returncode, ran.stdout) == (125, "")
    assert f"{trap.name} " in ran.stderr
    assert f"[{code}]" in ran.stderr
    assert ran.stderr.splitlines()[-1] == f"mgelaunch: nothing was started (exit code 125, {code})"


@under_mgelaunch(Stopped)
def test_mgelaunch_cannot_start_with_what_its_own_python_refuses(trap, way, job, brevitas_python):
    """The shell's value ends the launcher's own interpreter first: nothing is started either."""
    ran = job.launched(brevitas_python, "print('started')", **said(way, trap.settings))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert trap.handled(way).said in ran.stderr


WHOLE = """
import json, os, sys
given = dict(os.environ)
import brevitas.nn, torch
read = [str(eval(text)) for text in json.loads(sys.argv[1])]
print(json.dumps({"given": given, "read": read}))
"""


@under_mgelaunch(Gets)
def test_mgelaunch_gives_what_was_meant(trap, way, job, brevitas_python, kept):
    """Brevitas runs, has the canonical text and reads the intended value; the shell's user gets a note."""
    if way not in kept:
        kept[way] = launch_batches(way, job, brevitas_python)
    ran, read = kept[way][TRAPS.index(trap)]
    meant = trap.handled(way)
    assert ran.report["given"].get(trap.name) == meant.text
    if isinstance(trap.bare, Reads):
        assert read == meant.value
    outcome = f"{trap.name} {'is removed' if meant.text is None else 'is passed on as '}"
    noted = [line for line in ran.stderr.splitlines() if line.startswith(f"mgelaunch: note: shell: {outcome}")]
    assert [line.endswith("[shell.canonical]") for line in noted] == ([True] if way == "shell" else [])


def launch_batches(way, job, python):
    """The run of each trap and what its expression reads, by the trap's number; traps of different variables share one."""
    outcome = {}
    waiting = [trap for trap in TRAPS if isinstance(trap.handled(way), Gets)]
    while waiting:
        batch = []
        for trap in waiting:
            if all(trap.settings.keys().isdisjoint(other.settings) for other in batch):
                batch.append(trap)
        waiting = [trap for trap in waiting if trap not in batch]
        # A folder that cannot be used: the native part is not compiled, which would take half a minute.
        settings = {"TORCH_EXTENSIONS_DIR": "script.py"}
        for trap in batch:
            settings |= trap.settings
        expressions = [getattr(trap.bare, "expression", "''") for trap in batch]
        any_cards = ("--ignore", "dev.visible")  # what is read is the question, whatever cards this host has
        ran = job.launched(python, WHOLE, json.dumps(expressions), options=any_cards, **said(way, settings))
        assert ran.returncode == 0, ran.stderr
        for trap, read in zip(batch, ran.report["read"], strict=True):
            outcome[TRAPS.index(trap)] = (ran, read)
    return outcome


@under_mgelaunch(Warned)
def test_mgelaunch_warns(trap, way, job, brevitas_python):
    """The script runs as it is told to, and one line says what has no effect, and why."""
    ran = job.launched(brevitas_python, "print('started')", **said(way, trap.settings))
    assert (ran.returncode, ran.stdout) == (0, "started\n")
    warnings = [line for line in ran.stderr.splitlines() if line.startswith("mgelaunch: warning: ")]
    assert len(warnings) == 1
    assert warnings[0].endswith(f"[{trap.handled(way).code}]")
    assert trap.name in warnings[0]
