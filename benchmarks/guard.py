"""What --guard costs: a script alone and guarded, in one run.

    python benchmarks/guard.py --megengine /path/to/python      the Python that has MegEngine
    python benchmarks/guard.py                                  only what starting costs, with this interpreter

Both commands are the ones that `mgelaunch run` would start, without and with --guard; they take turns, so that a noisy
machine is noisy for both. Medians are printed, CPU time (user + system) and wall time: of a script that does nothing, of
`import megengine`, of so many training steps of a small model, and of so many changes of a variable that is guarded and
of one that is not. The last column is guarded / alone.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from mgelaunch.launch.bootstrapped import bootstrapped
from mgelaunch.launch.command import Command

TRAINING = """
import json, os, resource, sys, time

def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.perf_counter()

def spent(since):
    return [after - before for before, after in zip(since, now())]

began = now()
import megengine as mge
result = {"import megengine": spent(began)}
import numpy
from megengine import functional, module, optimizer
from megengine.autodiff import GradManager

net = module.Sequential(module.Linear(32, 32), module.ReLU(), module.Linear(32, 4))
manager, sgd = GradManager().attach(net.parameters()), optimizer.SGD(net.parameters(), lr=0.01)
random = numpy.random.RandomState(0)
data, label = mge.tensor(random.rand(16, 32).astype("float32")), mge.tensor(random.randint(4, size=16).astype("int32"))

def step():
    with manager:
        loss = functional.nn.cross_entropy(net(data), label)
        manager.backward(loss)
    sgd.step().clear_grad()
    return float(loss.numpy())

for _ in range(50):
    step()
steps = int(sys.argv[1])
began = now()
for _ in range(steps):
    step()
result[f"{steps} training steps"] = spent(began)
began = now()
for index in range(1000):
    os.environ["SOME_VARIABLE"] = str(index)
result["1000 changes of a variable"] = spent(began)
os.environ["MGE_HOME"] = "/"
began = now()
for index in range(1000):
    os.environ["MGE_HOME"] = str(index % 2)
result["1000 late changes, told once"] = spent(began)
print(json.dumps(result))
"""


def commands(python, *argv):
    """The command line of both."""
    alone = Command(python, (python, *argv))
    return {"alone": alone.argv, "guarded": bootstrapped(alone, guard=True, fixes=frozenset()).argv}


def start(argv, environ):
    """Runs a command; its CPU and wall time in seconds, and what it has printed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stderr or f"{argv} failed")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (cpu, wall), done.stdout


def rows(python, folder, options):
    """One row after the other: a name, and for both kinds a list of pairs of seconds."""
    environ = {"PATH": os.defpath, "HOME": folder, "LANG": "C.UTF-8", "MGE_DEFAULT_DEVICE": "cpu0"}
    environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # fewer threads that others disturb
    nothing, training = os.path.join(folder, "nothing.py"), os.path.join(folder, "training.py")
    for path, text in ((nothing, ""), (training, TRAINING)):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    taken = {"a script that does nothing": {"alone": [], "guarded": []}}
    for _ in range(options.launches):
        for kind, argv in commands(python, nothing).items():
            taken["a script that does nothing"][kind].append(start(argv, environ)[0])
    for _ in range(options.trainings if options.megengine else 0):
        for kind, argv in commands(python, training, str(options.steps)).items():
            for name, pair in json.loads(start(argv, environ)[1].splitlines()[-1]).items():
                taken.setdefault(name, {"alone": [], "guarded": []})[kind].append(pair)
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megengine", metavar="PYTHON", help="a Python that has MegEngine")
    parser.add_argument("--launches", type=int, default=25, help="starts of the script that does nothing (default 25)")
    parser.add_argument("--trainings", type=int, default=7, help="trainings of each kind (default 7)")
    parser.add_argument("--steps", type=int, default=1000, help="training steps (default 1000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mgelaunch-guard-") as folder:
        table = rows(options.megengine or sys.executable, folder, options)
    print(
        f"{'medians, milliseconds':32}{'CPU alone':>11}{'guarded':>10}{'ratio':>7}{'wall alone':>13}{'guarded':>10}{'ratio':>7}"
    )
    for name, taken in table.items():
        line = f"{name:32}"
        for index, width in ((0, 11), (1, 13)):
            alone, guarded = (statistics.median(pair[index] for pair in taken[kind]) for kind in ("alone", "guarded"))
            line += f"{alone * 1000:{width}.1f}{guarded * 1000:10.1f}{guarded / alone if alone else 1:7.2f}"
        print(line)
    if not options.megengine:
        print("trainings: left out, name a Python with --megengine")


if __name__ == "__main__":
    main()
