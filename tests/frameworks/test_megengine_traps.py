"""Every trap of MegEngine's variables that a CPU can show: what the raw value does to a script that is
started bare, and what becomes of the same value under mgelaunch, by flag and from the shell.

Rows that end the process have one of their own. Rows that are merely misread share processes: each batch
sets as many different variables as there are rows for them.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from mgelaunch.catalogue import CATALOGUE

pytestmark = pytest.mark.megengine

# -- what the scripts do ---------------------------------------------------------------------------

IMPORT = "import megengine\n"
TENSOR = """
import megengine
(megengine.tensor([1.0]) + 1).numpy()
"""
STEP = """
import megengine
from megengine.autodiff import GradManager
from megengine.optimizer import SGD
weight = megengine.Parameter([1.0])
with GradManager().attach([weight]) as gradients:
    gradients.backward((weight * weight).sum())
SGD([weight], lr=0.5).step()
weight.numpy()
"""
GRAPH = """
import megengine
import megengine.module as M
import numpy as np
from megengine.autodiff import GradManager
from megengine.jit import SublinearMemoryConfig, trace
net = M.Sequential(*[part for _ in range(6) for part in (M.Linear(16, 16), M.ReLU())])
watch = GradManager().attach(net.parameters())
@trace(symbolic=True, sublinear_memory_config=SublinearMemoryConfig())
def train(points):
    with watch:
        loss = net(points).sum()
        watch.backward(loss)
    for weight in net.parameters():
        weight.grad = None
    return loss
print("searching", flush=True)
for _ in range(2):
    train(megengine.tensor(np.ones((8, 16), dtype="float32"))).numpy()
"""
DEFERRED = """
import megengine
some = megengine.tensor([1.0, 2.0, 3.0])
wrong = some[some > 0] + megengine.tensor([1.0, 2.0])
print("past the guilty line", flush=True)
wrong.numpy()
"""
CAUGHT = """
import megengine
try:
    megengine.tensor([1.0], device="gpu99").numpy()
except RuntimeError:
    pass
"""
FORK = """
import megengine, os
if os.fork() == 0:
    os._exit(0)
os.wait()
"""
SEGFAULT = """
import megengine, os, signal
os.kill(os.getpid(), signal.SIGSEGV)
"""
LOADER = """
import atexit
import megengine
import megengine.data.tools._queue as queue
import numpy as np
from megengine.data import DataLoader, SequentialSampler
from megengine.data.dataset import ArrayDataset
size = "none"
class Store(queue._PlasmaStoreManager):
    def __init__(self):
        global size
        super().__init__()
        size = self.plasma_store.args[-1]
        atexit.register(self.leave_nothing)
    def leave_nothing(self):
        self.plasma_store.kill()
        self.plasma_store.wait()
        if os.path.exists(self.socket_name):
            os.unlink(self.socket_name)
queue._PlasmaStoreManager = Store
points = ArrayDataset(np.arange(8.0), np.arange(8))
batches = DataLoader(points, sampler=SequentialSampler(points, batch_size=4), num_workers=1)
assert sum(len(batch) for batch, _ in batches) == 8
"""
WHOLE = TENSOR + STEP + GRAPH

BEGIN = "import json, os, sys\ngiven = dict(os.environ)\n"
END = """
read = {number: str(eval(text)) for number, text in json.loads(sys.argv[1]).items()}
print(json.dumps({"given": given, "read": read}))
"""
OPTION = "megengine.core.get_option({!r})"
STRATEGY = "str(megengine.functional.debug_param.get_execution_strategy()).rpartition('.')[2]"
SIZE = "size"
UNSIGNED = str(2**64 - 1)


# -- what a trap is --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ends:
    """The bare script ends with this code (a negative one is a signal) and says this on stderr."""

    script: str
    code: int
    said: str = ""


@dataclass(frozen=True)
class Reads:
    """The bare script runs, and this expression has this value, which is not what was meant."""

    expression: str
    value: str


@dataclass(frozen=True)
class Says:
    """The bare script runs and says this on stderr, although the setting was meant to turn it off."""

    script: str
    said: str


@dataclass(frozen=True)
class Mute:
    """The bare script says this on stderr only when `until` is set as well."""

    script: str
    said: str
    until: dict[str, str]


@dataclass(frozen=True)
class Unread:
    """The name occurs nowhere in the wheel as a text of its own."""


@dataclass(frozen=True)
class Refused:
    """mgelaunch starts nothing and gives this code."""

    code: str


@dataclass(frozen=True)
class Gets:
    """mgelaunch starts the script with this text (None: without the variable)."""

    text: str | None
    value: str = ""
    """What the expression of the trap reads now; empty when there is none, or no fixed default."""


@dataclass(frozen=True)
class Warned:
    """mgelaunch starts the script and gives this code."""

    code: str


@dataclass(frozen=True)
class Trap:
    """One row. `bare` None: a CPU cannot show it. `shell` None: as for the flag. `settings` holds the text of each."""

    settings: dict[str, str]
    bare: object
    flag: object
    shell: object = None
    loader: bool = False

    def __str__(self):
        return " ".join(
            f"{name}={text!r}" if text != text.strip() or not text else f"{name}={text}"
            for name, text in self.settings.items()
        )

    def handled(self, way):
        return self.flag if way == "flag" or self.shell is None else self.shell

    @property
    def name(self):
        return next(iter(self.settings))

    @property
    def script(self):
        return LOADER if self.loader else WHOLE

    @property
    def expression(self):
        """What shows the value that took effect; empty when nothing does."""
        if isinstance(self.bare, Reads):
            return self.bare.expression
        return SIZE if self.name == "MGE_PLASMA_MEMORY" else CATALOGUE[self.name].readback


def trap(name, text, bare, flag, shell=None, **more):
    return Trap({name: text}, bare, flag, shell, **more)


def empty(name, bare, value="", **more):
    """An empty text: a slip in a flag, no setting at all in the shell."""
    return trap(name, "", bare, Refused("value.empty"), Gets(None, value), **more)


ABORTS, DIVIDES_BY_ZERO, SEGFAULTS = -signal.SIGABRT, -signal.SIGFPE, -signal.SIGSEGV
NO_DEVICE = Ends(IMPORT, 1, "Invalid device name")
NO_LEVEL = Ends(IMPORT, 1, "ValueError: Unknown level")
NO_QUEUE = Ends(IMPORT, 1, "async queue size should be an integer")
STOI_ABORTS = Ends(IMPORT, ABORTS, "what():  stoi")
STOD_ABORTS = Ends(IMPORT, ABORTS, "what():  stod")
NO_INTEGER = Ends(STEP, 1, "ValueError: invalid literal for int()")
NO_PLANNER = Ends(GRAPH, 1, "invalid planner concurrency")
NO_STORE = Ends(LOADER, 1, "Exception happened in starting plasma_store")
TOO_MANY = str(4 * (os.cpu_count() or 1) + 1)
SUBLINEAR = "MGB_SUBLINEAR_MEMORY"

BREAKING = [
    # the import fails
    empty("MGE_DEFAULT_DEVICE", NO_DEVICE, "xpux"),
    *(
        trap("MGE_DEFAULT_DEVICE", text, NO_DEVICE, Refused("value.device"))
        for text in ("cpu", "gpu", "xpu", "cuda0", "cuda:0", "cpu:default")
    ),
    trap("MGE_DEFAULT_DEVICE", "CPU0", NO_DEVICE, Gets("cpu0", "cpu0")),
    trap("MGE_DEFAULT_DEVICE", " cpu0", NO_DEVICE, Gets("cpu0", "cpu0")),
    empty("MEGENGINE_LOGGING_LEVEL", NO_LEVEL, "INFO"),
    trap("MEGENGINE_LOGGING_LEVEL", "20", NO_LEVEL, Refused("value.choice")),
    trap("MEGENGINE_LOGGING_LEVEL", "VERBOSE", NO_LEVEL, Refused("value.choice")),
    trap("MEGENGINE_ASYNC_QUEUE_SIZE", "10k", NO_QUEUE, Refused("value.integer")),
    trap("MEGENGINE_ASYNC_QUEUE_SIZE", "-1", NO_QUEUE, Refused("value.range")),
    trap("MEGENGINE_ASYNC_QUEUE_SIZE", " 5", NO_QUEUE, Gets("5")),
    trap("MGE_FASTRUN_CACHE_DIR", "script.py", Ends(IMPORT, 1, "FileExistsError"), Refused("cache.blocked")),
    trap("MGE_FASTRUN_CACHE_DIR", "script.py/x", Ends(IMPORT, 1, "NotADirectoryError"), Refused("cache.blocked")),
    # the import aborts
    empty("RUNTIME_OVERRIDE_LOG_LEVEL", STOI_ABORTS),
    trap("RUNTIME_OVERRIDE_LOG_LEVEL", "DEBUG", STOI_ABORTS, Gets("0", "0")),
    trap("RUNTIME_OVERRIDE_LOG_LEVEL", "ERROR", STOI_ABORTS, Gets("3", "3")),
    trap("RUNTIME_OVERRIDE_LOG_LEVEL", "99999999999", STOI_ABORTS, Refused("value.choice")),
    empty("MGB_CONV_PROFILING_TIMEOUT", STOD_ABORTS),
    trap("MGB_CONV_PROFILING_TIMEOUT", "never", STOD_ABORTS, Refused("value.float")),
    # the first fork aborts (with some Pythons the import forks, too)
    trap("MGB_THROW_ON_FORK", "1", Ends(FORK, ABORTS), Refused("value.harmful")),
    trap("MGB_THROW_ON_FORK", "0", Ends(FORK, ABORTS), Gets(None)),
    # the first tensor fails
    trap("MGE_DEFAULT_DEVICE", "multithread0", Ends(TENSOR, 1, "invalid comp node id"), Refused("value.device")),
    empty("MGB_USE_MEGDNN_DBG", Ends(TENSOR, 1, "ValueError: stol")),
    trap("MGB_USE_MEGDNN_DBG", "3", Ends(TENSOR, 1, "Debug level must be 0/1/2"), Refused("value.choice")),
    empty("MGB_WORKER_MAX_SPIN", Ends(TENSOR, 1, "ValueError: stoi")),
    trap("MGB_WORKER_MAX_SPIN", "often", Ends(TENSOR, 1, "ValueError: stoi"), Refused("value.integer")),
    trap("MGB_LOG_VAR_SIZE_MB", "big", Ends(GRAPH, 1, "ValueError: stold"), Refused("value.float")),
    # the first step of the optimizer fails
    empty("MEGENGINE_INPLACE_UPDATE", NO_INTEGER),
    trap("MEGENGINE_INPLACE_UPDATE", "true", NO_INTEGER, Gets("1")),
    trap("MEGENGINE_INPLACE_UPDATE", "1.0", NO_INTEGER, Refused("value.switch")),
    # the plan for sublinear memory fails
    empty(f"{SUBLINEAR}_THRESH_NR_TRY", Ends(GRAPH, 1, "ValueError: stoi")),
    trap(f"{SUBLINEAR}_THRESH_NR_TRY", "1", Ends(GRAPH, DIVIDES_BY_ZERO), Refused("value.range")),
    trap(f"{SUBLINEAR}_THRESH_NR_TRY", "-1", Ends(GRAPH, DIVIDES_BY_ZERO), Refused("value.range")),
    trap(f"{SUBLINEAR}_THRESH_NR_TRY", "1x", Ends(GRAPH, DIVIDES_BY_ZERO), Refused("value.integer")),
    Trap(
        {f"{SUBLINEAR}_GENETIC_POOL_SIZE": "0", f"{SUBLINEAR}_GENETIC_NR_ITER": "2"},
        Ends(GRAPH, 1, "invalid pool size"),
        Refused("value.range"),
    ),
    trap(f"{SUBLINEAR}_WORKERS", "0", NO_PLANNER, Refused("value.range")),
    trap(f"{SUBLINEAR}_WORKERS", "-1", NO_PLANNER, Refused("value.range")),
    trap(f"{SUBLINEAR}_WORKERS", TOO_MANY, NO_PLANNER, Refused("cpu.sublinear")),
    # the data loader fails
    empty("MGE_PLASMA_MEMORY", NO_STORE, "4294967296", loader=True),
    trap("MGE_PLASMA_MEMORY", "5GB", NO_STORE, Gets("5368709120", "5368709120"), loader=True),
    trap("MGE_PLASMA_MEMORY", "1e9", NO_STORE, Refused("value.unit"), loader=True),
    trap(
        "MGE_PLASMA_MEMORY",
        "0",
        Ends(LOADER, 1, "cannot unpack non-iterable NoneType"),
        Refused("value.unit"),
        loader=True,
    ),
    # a crash is no crash any more
    trap("MGB_REGISTER_SEGV_HANDLER", "0", Ends(SEGFAULT, 1, "caught deadly signal 11"), Gets(None)),
]

AUTO_DROP, THRESHOLD = OPTION.format("enable_dtr_auto_drop"), OPTION.format("dtr_eviction_threshold")
LEVEL = OPTION.format("async_level")

MISREAD = [
    trap("MEGENGINE_DTR_EVICTION_THRESHOLD", "5GB", Reads(THRESHOLD, "5"), Gets("5368709120", "5368709120")),
    trap("MEGENGINE_DTR_EVICTION_THRESHOLD", "8", Reads(THRESHOLD, "8"), Refused("value.unit")),
    trap("MEGENGINE_DTR_EVICTION_THRESHOLD", "1e9", Reads(THRESHOLD, "1"), Refused("value.unit")),
    trap("MEGENGINE_DTR_EVICTION_THRESHOLD", "-1", Reads(THRESHOLD, UNSIGNED), Refused("value.unit")),
    trap(
        "MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE",
        "1MB",
        Reads(OPTION.format("dtr_evictee_minimum_size"), "1"),
        Gets("1048576", "1048576"),
    ),
    trap("MEGENGINE_DTR_AUTO_DROP", "true", Reads(AUTO_DROP, "0"), Gets("1", "1")),
    trap("MEGENGINE_DTR_AUTO_DROP", "-1", Reads(AUTO_DROP, UNSIGNED), Refused("value.switch")),
    trap("MEGENGINE_HOST_COMPUTE", "false", Reads(OPTION.format("enable_host_compute"), "1"), Gets("0", "0")),
    trap("MEGENGINE_CATCH_WORKER_EXEC", "no", Reads(OPTION.format("catch_worker_execption"), "1"), Gets("0", "0")),
    trap("MEGENGINE_DTR_SQRT_SAMPLING", "on", Reads(OPTION.format("enable_dtr_sqrt_sampling"), "0"), Gets("1", "1")),
    empty("MEGENGINE_ENABLE_DROP", Reads(OPTION.format("enable_drop"), "0"), "0"),
    trap("MEGENGINE_INTERP_ASYNC_LEVEL", "sync", Reads(LEVEL, "2"), Refused("value.choice")),
    trap("MEGENGINE_INTERP_ASYNC_LEVEL", "7", Reads(LEVEL, "7"), Refused("value.choice")),
    trap("MEGENGINE_INTERP_ASYNC_LEVEL", "-1", Reads(LEVEL, UNSIGNED), Refused("value.choice")),
    trap(
        "MGE_FASTRUN_CACHE_TYPE",
        "memory",
        Reads(CATALOGUE["MGE_FASTRUN_CACHE_TYPE"].readback, "FILE"),
        Gets("MEMORY", "MEMORY"),
    ),
    trap(
        "MGE_FASTRUN_CACHE_URL",
        "http://cache:6379",
        Reads(CATALOGUE["MGE_FASTRUN_CACHE_TYPE"].readback, "FILE"),
        Refused("value.url"),
    ),
    # a text is on, whatever it says
    *(
        trap(name, "0", Reads(CATALOGUE[name].readback, "1"), Gets(None, "0"))
        for name in (
            "MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE",
            "MGE_USE_TYPEOBJ_AS_DTYPE",
            "MEGENGINE_USE_SYMBOLIC_SHAPE",
        )
    ),
    trap(
        "ALREADY_CONFIG_CUDA_LOADING_MODE",
        "0",
        Reads("os.environ.get('CUDA_MODULE_LOADING')", "None"),
        Gets(None, "LAZY"),
    ),
    trap("MGB_WORKER_NO_SLEEP", "0", Says(TENSOR, "worker would not sleep"), Gets(None)),
    trap("MGB_PRINT_EXC", "0", Says(CAUGHT, "mgb: exception occurred"), Gets(None)),
    trap(
        "MGE_DATALOADER_PLASMA_DEBUG",
        "0",
        Says(LOADER, "Allowing the Plasma store to use up to"),
        Gets(None),
        loader=True,
    ),
    # accepted, and nothing shows that 5 MiB or less were understood
    trap(f"{SUBLINEAR}_LOWER_BOUND_MB", "5GB", Ends(GRAPH, 0), Gets("5120")),
    trap(f"{SUBLINEAR}_LOWER_BOUND_MB", "-5", None, Refused("value.unit")),
    # only a GPU shows that 0 takes nearly all of its memory
    trap("MGB_CUDA_RESERVE_MEMORY", "0", None, Gets(None)),
    trap("MGB_CUDA_RESERVE_MEMORY", "8GiB", None, Gets("b:8589934592")),
]

WITHOUT_EFFECT = [
    Trap(
        {"MEGENGINE_DTR_EVICTION_THRESHOLD": "5GB", "MEGENGINE_DTR_AUTO_DROP": "0"},
        Reads(AUTO_DROP, "0"),
        Warned("together.dtr"),
    ),
    Trap(
        {
            "MEGENGINE_DTR_AUTO_DROP": "1",
            "MEGENGINE_ENABLE_DROP": "1",
            "MEGENGINE_RECORD_COMPUTING_PATH": "1",
            "MEGENGINE_DTR_EVICTION_THRESHOLD": "0",
        },
        Reads(THRESHOLD, "0"),
        Warned("together.dtr"),
    ),
    trap(
        "RUNTIME_OVERRIDE_LOG_LEVEL",
        "0",
        Mute(TENSOR, "DBG ", {"MEGENGINE_LOGGING_LEVEL": "DEBUG"}),
        Warned("together.log"),
    ),
    trap("MEGENGINE_CATCH_WORKER_EXEC", "0", Ends(DEFERRED, SEGFAULTS), Warned("together.worker")),
    Trap(
        {"MEGENGINE_INPLACE_UPDATE": "1", "MGB_DEBUG_VAR_SANITY_CHECK_LOG": "2"},
        Mute(GRAPH, "MGB_DEBUG_VAR_SANITY_CHECK_LOG is set to", {"MEGENGINE_INPLACE_UPDATE": "0"}),
        Warned("together.sanity"),
    ),
    Trap(
        {"MGE_FASTRUN_CACHE_DIR": "kernels", "MGE_FASTRUN_CACHE_TYPE": "MEMORY"},
        Reads(CATALOGUE["MGE_FASTRUN_CACHE_TYPE"].readback, "MEMORY"),
        Warned("together.cache"),
    ),
    Trap(
        {"MGB_WORKER_MAX_SPIN": "100", "MGB_WORKER_NO_SLEEP": "1"},
        Ends(TENSOR, 0, "worker would not sleep"),
        Warned("together.spin"),
    ),
    trap("MGB_WAIT_TERMINATE", "1", Ends(SEGFAULT, SEGFAULTS), Warned("together.handler")),
    # dead, newer, or of other builds
    trap("MEGENGINE_EXECUTION_STRATEGY", "PROFILE", Reads(STRATEGY, "HEURISTIC"), Warned("name.dead")),
    trap("MEGENGINE_CONV_EXECUTION_STRATEGY", "PROFILE", Reads(STRATEGY, "HEURISTIC"), Warned("name.dead")),
    trap("MEGENGINE_MAX_RECOMP_TIME", "5", Reads(OPTION.format("max_recompute_time"), "5"), Warned("name.dead")),
    *(
        trap(name, "1", Unread(), Warned("name.dead"))
        for name in ("MEGENGINE_ENABLE_SWAP", "MGB_COMP_GRAPH_OPT", "MGE_EINSUM_IMPL")
    ),
    *(
        trap(name, "1", Unread(), Warned("name.build"))
        for name in ("MGB_ROCM_RESERVE_MEMORY", "MGB_CAMBRICON_RESERVE_MEMORY", "MGB_ATLAS_RESERVE_MEMORY")
    ),
    *(
        trap(name, "1", Unread(), Warned("name.newer"))
        for name in (
            "MGE_DATA_MONITOR",
            "MGE_DATA_MONITOR_FREQUENCY",
            "MEGENGINE_XLA_TEMP_BUFFER_SIZE_CONSTRAINT",
            "_DEBUG_LOG_MEM_ALLOC_DETAIL",
        )
    ),
]

TRAPS = [*BREAKING, *MISREAD, *WITHOUT_EFFECT]


# -- which traps a test is about -------------------------------------------------------------------


def bare(kind):
    """All traps whose bare half is of `kind`."""
    return pytest.mark.parametrize("trap", [trap for trap in TRAPS if isinstance(trap.bare, kind)], ids=str)


def under_mgelaunch(kind):
    """All traps, and the ways, that mgelaunch handles by `kind`."""
    cases = [(trap, way) for trap in TRAPS for way in ("flag", "shell") if isinstance(trap.handled(way), kind)]
    return pytest.mark.parametrize(("trap", "way"), cases, ids=[f"{trap}-{way}" for trap, way in cases])


def batches(traps):
    """`traps` in as few groups as keep the variables of each apart."""
    groups = []
    for trap in traps:
        free = (group for group in groups if all(trap.settings.keys().isdisjoint(other.settings) for other in group))
        group = next(free, None)
        if group is None:
            groups.append([trap])
        else:
            group.append(trap)
    return groups


def run_batches(traps, run):
    """Runs each batch of `traps` once by `run(settings, expressions)` and gives the run of each trap by its number."""
    outcome = {}
    for group in batches(traps):
        settings = {name: text for trap in group for name, text in trap.settings.items()}
        expressions = {str(TRAPS.index(trap)): trap.expression for trap in group if trap.expression}
        ran = run(settings, json.dumps(expressions))
        assert ran.returncode == 0, ran.stderr
        outcome |= {TRAPS.index(trap): ran for trap in group}
    return outcome


def said(way, settings):
    return {"sets" if way == "flag" else "environ": settings}


@pytest.fixture(scope="session")
def loader_works(lack, megengine_python):
    """DataLoader workers need pyarrow's plasma store, psutil and the files of cgroup v1."""
    if not os.path.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        pytest.skip("MegEngine's DataLoader workers read a file that this host, with cgroup v2, does not have")
    found = subprocess.run(
        [megengine_python, "-W", "ignore", "-c", "import psutil, pyarrow.plasma"], capture_output=True, check=False
    )
    if found.returncode:
        lack("megengine", "MegEngine's DataLoader workers need psutil and pyarrow<12")


@pytest.fixture
def ready(request):
    """Skips the traps of the data loader where it cannot run."""
    if request.getfixturevalue("trap").loader:
        request.getfixturevalue("loader_works")


# -- the bare half ---------------------------------------------------------------------------------


@bare(Ends)
@pytest.mark.usefixtures("ready")
def test_a_bare_run_ends_like_this(trap, job, megengine_python):
    """The exit status and the words of MegEngine that the raw value leads to."""
    ran = job.bare(megengine_python, BEGIN + trap.bare.script, environ=trap.settings)
    assert ran.returncode == trap.bare.code, ran.stderr
    assert trap.bare.said in ran.stderr


@bare(Reads)
def test_a_bare_run_reads_something_else(trap, job, megengine_python, kept):
    """No error: the value that MegEngine reads back is just not the one that was written."""

    def run(settings, expressions):
        return job.bare(megengine_python, BEGIN + IMPORT + END, expressions, environ=settings)

    if "bare" not in kept:
        kept["bare"] = run_batches([trap for trap in TRAPS if isinstance(trap.bare, Reads)], run)
    assert kept["bare"][TRAPS.index(trap)].report["read"][str(TRAPS.index(trap))] == trap.bare.value


@bare(Says)
@pytest.mark.usefixtures("ready")
def test_a_bare_run_takes_zero_for_on(trap, job, megengine_python):
    """What the variable turns on can be read on stderr, although it was set to 0."""
    assert trap.bare.said in job.bare(megengine_python, BEGIN + trap.bare.script, environ=trap.settings).stderr


@bare(Mute)
def test_a_bare_run_overlooks_one_variable_because_of_another(trap, job, megengine_python):
    """The line appears as soon as the other variable allows it."""
    silent = job.bare(megengine_python, trap.bare.script, environ=trap.settings)
    assert silent.returncode == 0
    assert trap.bare.said not in silent.stderr
    assert (
        trap.bare.said in job.bare(megengine_python, trap.bare.script, environ=trap.settings | trap.bare.until).stderr
    )


STRINGS = """
import importlib.util, json, mmap, os, struct, sys
def constants(data):
    table, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", data, table + number * size) for number in range(count)]
    for name, _, _, _, start, length in sections:
        if data[sections[names][4] + name :][:8] == b".rodata\\0":
            return start, start + length
def holds(path, name):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if path.endswith(".py"):
            return any(data.find(quote + name + quote) >= 0 for quote in (b"'", b'"'))
        return data.find(name + b"\\0", *constants(data)) >= 0
top = os.path.dirname(importlib.util.find_spec("megengine").origin)
files = [os.path.join(folder, file) for folder, _, files in os.walk(top) for file in files]
read = [path for path in files if path.endswith(".py") and os.path.getsize(path)]
read += [path for path in files if os.path.basename(path).startswith(("_imperative_rt.", "libmegengine"))]
print(json.dumps([name for name in sys.argv[1:] if any(holds(path, name.encode()) for path in read)]))
"""


def test_nothing_in_the_wheel_knows_the_unread_names(job, megengine_python):
    """The texts in MegEngine's libraries and modules name the variables that they read, and not the dead ones."""
    unread = [trap.name for trap in TRAPS if isinstance(trap.bare, Unread)]
    read = ["MEGENGINE_ENABLE_DROP", "MGB_CUDA_RESERVE_MEMORY", "MGE_PLASMA_MEMORY"]
    assert job.bare(megengine_python, STRINGS, *unread, *read).report == read


def test_a_negative_number_of_generations_never_ends(job, megengine_python):
    """The search of a bare run goes on for ever; mgelaunch does not let it begin."""
    settings = {f"{SUBLINEAR}_GENETIC_NR_ITER": "-1"}
    command = [megengine_python, job.write(GRAPH)]
    with subprocess.Popen(
        command,
        cwd=job.world.project,
        env=job.world.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            assert child.stdout.readline() == b"searching\n"
            time.sleep(2)
            assert child.poll() is None
        finally:
            child.kill()
    for way in ("flag", "shell"):
        refused = job.launched(megengine_python, GRAPH, **said(way, settings))
        assert (refused.returncode, refused.stdout) == (125, "")
        assert "[value.range]" in refused.stderr


@pytest.mark.parametrize(
    ("level", "line"), [("0", "wrong = some"), ("1", "wrong = some"), ("2", "wrong.numpy()")], ids=str
)
def test_an_error_comes_up_where_the_asynchronous_level_says(job, megengine_python, level, line):
    """A traceback names the guilty line at levels 0 and 1, a later one at 2."""
    ran = job.launched(megengine_python, DEFERRED, sets={"MEGENGINE_INTERP_ASYNC_LEVEL": level})
    last_of_script = ran.stderr.rpartition("script.py")[2]
    assert ran.returncode == 1
    assert line in last_of_script.splitlines()[1]
    assert ("past the guilty line" in ran.stdout) == (level == "2")


# -- the half under mgelaunch ----------------------------------------------------------------------


@under_mgelaunch(Refused)
def test_mgelaunch_refuses(trap, way, job, megengine_python):
    """Nothing is started, and stderr has the variable, the code, and in its last line the verdict."""
    ran = job.launched(megengine_python, "print('started')", **said(way, trap.settings))
    code = trap.handled(way).code
    assert (ran.returncode, ran.stdout) == (125, "")
    assert f"mgelaunch: error: {'shell: ' if way == 'shell' else ''}" in ran.stderr
    assert f"{trap.name} " in ran.stderr
    assert f"[{code}]" in ran.stderr
    assert ran.stderr.splitlines()[-1] == f"mgelaunch: nothing was started (exit code 125, {code})"


@under_mgelaunch(Gets)
@pytest.mark.usefixtures("ready")
def test_mgelaunch_gives_what_was_meant(trap, way, job, megengine_python, kept):
    """The whole script runs, has the canonical text and reads the intended value; the shell's user gets a note."""

    def run(settings, expressions):
        return job.launched(megengine_python, BEGIN + trap.script + END, expressions, **said(way, settings))

    if (way, trap.script) not in kept:
        together = [other for other in TRAPS if other.script == trap.script and isinstance(other.handled(way), Gets)]
        kept[way, trap.script] = run_batches(together, run)
    ran = kept[way, trap.script][TRAPS.index(trap)]
    meant = trap.handled(way)
    assert ran.report["given"].get(trap.name) == meant.text
    if meant.value:
        assert ran.report["read"][str(TRAPS.index(trap))] == meant.value
    if isinstance(trap.bare, Says):
        assert trap.bare.said not in ran.stderr
    outcome = f"{trap.name} {'is removed' if meant.text is None else 'is passed on as '}"
    noted = [line for line in ran.stderr.splitlines() if line.startswith(f"mgelaunch: note: shell: {outcome}")]
    assert [line.endswith("[shell.canonical]") for line in noted] == ([True] if way == "shell" else [])


@under_mgelaunch(Warned)
def test_mgelaunch_warns(trap, way, job, megengine_python):
    """The script runs as it is told to, and one line says what has no effect, and why."""
    ran = job.launched(megengine_python, "print('started')", **said(way, trap.settings))
    assert (ran.returncode, ran.stdout) == (0, "started\n")
    warnings = [line for line in ran.stderr.splitlines() if line.startswith("mgelaunch: warning: ")]
    assert len(warnings) == 1
    assert warnings[0].endswith(f"[{trap.handled(way).code}]")
    assert trap.name in warnings[0]


def test_the_home_directory_is_written_out_for_the_kernel_cache(job, megengine_python):
    """Bare, a folder called ~ appears in the working directory; under mgelaunch the cache is at home."""
    script = BEGIN + IMPORT + END
    expression = json.dumps({"0": CATALOGUE["MGE_FASTRUN_CACHE_DIR"].readback})
    settings = {"MGE_FASTRUN_CACHE_DIR": "~/kernels"}
    job.bare(megengine_python, script, expression, environ=settings)
    assert os.path.isdir(job.world.project / "~" / "kernels")
    shutil.rmtree(job.world.project / "~")
    for way in ("flag", "shell"):
        ran = job.launched(megengine_python, script, expression, **said(way, settings))
        assert ran.report["read"]["0"] == f"{job.world.home}/kernels"
        assert not os.path.exists(job.world.project / "~")


def test_an_empty_home_of_megengine_is_no_home(job, megengine_python):
    """Bare, the cache lands in the working directory; under mgelaunch the flag is refused and the shell's is removed."""
    job.bare(megengine_python, IMPORT, environ={"MGE_HOME": ""})
    assert os.path.isdir(job.world.project / "persistent_cache")
    refused = job.launched(megengine_python, IMPORT, sets={"MGE_HOME": ""})
    assert refused.returncode == 125
    assert "[value.empty]" in refused.stderr
    expression = json.dumps({"0": CATALOGUE["MGE_HOME"].readback})
    ran = job.launched(megengine_python, BEGIN + IMPORT + END, expression, environ={"MGE_HOME": ""})
    assert ran.report["read"]["0"] == f"{job.world.home}/.cache/megengine"
    assert "MGE_HOME is removed" in ran.stderr


DEVICES = (
    "", "xpux", "xpu0", "xpu0:1", "cpu0", "cpux", "cpu7", "cpu99999", "cpu0:1", "gpu0", "gpux", "gpu0:1",
    "multithread2", "multithread2:0", "rocm0", "xpu", "cpu", "gpu", "cpu:default", "cpu0:default", "cuda0", "cuda:0",
    "gpu:0", "multithread", "multithread:default:2", "CPU0", "GPU0", "cpu-1", "tpu0", "cpu0:x", "ppu0",
)  # fmt: skip


def test_every_device_that_mgelaunch_lets_pass_is_one_that_megengine_knows(job, megengine_python):
    """MegEngine's own judge is asked about what the catalogue makes of each spelling."""
    kind = CATALOGUE["MGE_DEFAULT_DEVICE"].kind
    passed = [getattr(kind.read(text), "text", None) for text in DEVICES if text]
    script = (
        "import json, sys, megengine.device as d\nprint(json.dumps([bool(d._valid_device(n)) for n in sys.argv[1:]]))"
    )
    judged = job.bare(megengine_python, script, *(text for text in passed if text)).report
    assert len(judged) > 15
    assert all(judged)
