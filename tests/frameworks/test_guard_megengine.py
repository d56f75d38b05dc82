"""--guard with the real MegEngine: what a script does stays the same, and what it sets too late is told."""

import re
import subprocess

import pytest

pytestmark = pytest.mark.megengine

TRAIN = """
import atexit, json, os, pickle, sys
import numpy as np
import megengine as mge
from megengine import functional as F, module as M, optimizer
from megengine.autodiff import GradManager

class Net(M.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = M.Linear(8, 8), M.Linear(8, 2)
        rng = np.random.RandomState(0)
        for p in self.parameters():
            p[...] = mge.Parameter(rng.randn(*p.shape).astype("float32"))
    def forward(self, x):
        return self.b(F.relu(self.a(x)))

def losses(steps):
    net = Net()
    manager, sgd = GradManager().attach(net.parameters()), optimizer.SGD(net.parameters(), lr=0.1)
    data, label = mge.tensor(np.ones((4, 8), "float32")), mge.tensor(np.array([0, 1, 0, 1], "int32"))
    for _ in range(steps):
        with manager:
            loss = F.nn.cross_entropy(net(data), label)
            manager.backward(loss)
        sgd.step().clear_grad()
        yield float(loss.numpy())

def losses_of(steps):
    return list(losses(steps))

if __name__ == "__main__":
"""
ALONE = """
    print(losses_of(5), sys.argv[1:], os.environ.get("CUDA_MODULE_LOADING"), flush=True)
"""
BESIDE = """
    import multiprocessing
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(losses_of, [2, 3]))
"""
ENDS = {
    "to its end": "",
    "by an exit code": "    sys.exit(7)\n",
    "by an exception in a module of MegEngine": "    Net()(mge.tensor(np.ones((4, 9), 'float32'))).numpy()\n",
    "by a pickle of its own class at exit": "    atexit.register(lambda: print(type(pickle.loads(pickle.dumps(Net()))).__name__))\n",
    "by Ctrl-C": "    import signal\n    os.kill(os.getpid(), signal.SIGINT)\n",
    "by an abort": "    os.abort()\n",
}


def known(text):
    """`text` without times, pids and addresses."""
    return re.sub(r"0x[0-9a-f]+|\d\d:\d\d:\d\d|pid \d+", "_", text)


@pytest.fixture
def both(job, megengine_python):
    """A function that runs a script alone and guarded, and makes sure that both end alike and say the same. What the native
    half of several processes writes at once (`mixed`) is torn, so there only mgelaunch must not have said anything.
    """

    def run(script, *args, environ=None, mixed=False):
        environ = {"MGE_DEFAULT_DEVICE": "cpu0", **(environ or {})}
        alone = job.bare(megengine_python, script, *args, environ=environ)
        guarded = job.launched(megengine_python, script, *args, options=("--guard",), environ=environ)
        assert (guarded.returncode, guarded.stdout) == (alone.returncode, alone.stdout)
        if mixed:
            assert "mgelaunch: " not in guarded.stderr
        else:
            assert known(guarded.stderr) == known(alone.stderr)
        return guarded

    return run


@pytest.mark.parametrize("end", ENDS)
def test_a_training_ends_as_it_does_alone(both, end):
    ran = both(TRAIN + ALONE + ENDS[end], "-b", "64")
    assert ran.stdout.startswith("[")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_it_starts_train_as_they_do_alone(both, method):
    assert both(TRAIN + BESIDE, method, mixed=True).stdout.count("[") == 3


@pytest.mark.parametrize(
    ("target", "typed"),
    [("-m pkg.train", ""), ("-m pdb pkg/train.py", "b losses_of\nc\np steps, mge.__version__\nw\nc\nq\n")],
    ids=["module", "debugger"],
)
def test_a_module_and_a_debugger_do_what_they_do_alone(job, megengine_python, target, typed):
    job.world.write("pkg/train.py", TRAIN + ALONE)
    usual = {"cwd": job.world.project, "env": job.world.environ | {"MGE_DEFAULT_DEVICE": "cpu0"}, "input": typed}
    usual |= {"capture_output": True, "text": True, "timeout": 180}
    alone = subprocess.run([megengine_python, *target.split()], check=False, **usual)
    guarded = subprocess.run(
        job.world.command("run", "--python", megengine_python, "--guard", *target.split()), check=False, **usual
    )
    seen = re.sub(r"  \S+/importlib_bootstrap\.py\(\d+\)<module>\(\)\n-> .*\n", "", guarded.stdout)
    assert (guarded.returncode, seen, known(guarded.stderr)) == (alone.returncode, alone.stdout, known(alone.stderr))
    assert alone.returncode == 0
    assert seen.count("(Pdb)") == typed.count("\n")


def test_a_traced_training_is_what_it_is_alone(both):
    both(
        "import numpy as np, megengine as mge\nfrom megengine.jit import trace\n"
        "@trace(symbolic=True)\ndef f(x): return (x * 2 + 1).sum()\n"
        "for _ in range(3): print(float(f(mge.tensor(np.ones(3, 'float32'))).numpy()))\n"
    )


def test_what_megengine_sets_itself_is_not_told(job, megengine_python):
    script = "import megengine, os\nassert os.environ['CUDA_MODULE_LOADING'] and os.environ['LD_LIBRARY_PATH']\n"
    ran = job.launched(megengine_python, script, options=("--guard",))
    assert (ran.returncode, "mgelaunch: " in ran.stderr) == (0, False)


LATE = """
import os
os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
os.environ["OMP_NUM_THREADS"] = "1"
import megengine
from megengine.core import get_option
os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = "5368709120"
os.environ.setdefault("MEGENGINE_ENABLE_DROP", "1")
os.environ["MEGENGINE_INPLACE_UPDATE"] = "1"
os.environ["MGB_CUDA_RESERVE_MEMORY"] = "b:1"
os.environ["MGE_HOME"] = "/nowhere"
os.environ["OMP_NUM_THREADS"] = "2"
print(get_option("dtr_eviction_threshold"), get_option("enable_drop"))
"""


def test_what_comes_too_late_is_told_with_its_line_and_has_no_effect_indeed(job, megengine_python):
    ran = job.launched(megengine_python, LATE, options=("--guard",))
    told = [line for line in ran.stderr.splitlines() if line.startswith("mgelaunch")]
    assert [
        re.match(
            r"mgelaunch: warning: script\.py:(\d+): (\w+) is set after the import of megengine \(script\.py:5\)", line
        ).groups()
        for line in told[:3]
    ] == [
        ("7", "MEGENGINE_DTR_EVICTION_THRESHOLD"),
        ("8", "MEGENGINE_ENABLE_DROP"),
        ("11", "MGE_HOME"),
    ]
    assert "in this process, but for its lock file at exit" in told[2]
    assert re.search(r"script\.py:12: OMP_NUM_THREADS is set after the import of .*numpy \(script\.py:5\)", told[3])
    assert len(told) == 4
    assert ran.stdout == "0 0\n"


def test_a_data_loader_is_what_it_is_alone(both):
    both(
        "import numpy as np, megengine.data as d\nfrom megengine.data.dataset import ArrayDataset\n"
        "def main():\n"
        "    data = ArrayDataset(np.arange(8, dtype='float32'), np.arange(8))\n"
        "    loader = d.DataLoader(data, d.SequentialSampler(data, batch_size=2), num_workers=0)\n"
        "    print([float(x.sum()) for x, _ in loader])\n"
        "if __name__ == '__main__':\n    main()\n"
    )
