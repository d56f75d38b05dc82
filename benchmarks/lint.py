"""How long it takes to read scripts of several sizes: a small one, one of 2,000 lines with 50 local modules, a folder.

    python benchmarks/lint.py                    medians of 5 runs of mgelaunch lint, as a process
    python benchmarks/lint.py --runs 1

The scripts are generated: functions that call each other, classes with bases in other modules, branches, loops, and
imports from everywhere, with one late write at the end, which must be found. Nothing of them is ever run.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

MODULES, FUNCTIONS, LINES = 50, 8, 2000

MODULE = '''\
"""Module {number}."""

import os
import sys
from dataclasses import dataclass

from pkg.m{one} import Model as Base{one}
from .m{other} import build as build_other
{framework}
LIMIT = {number}
SETTINGS = {{"learning rate": 0.1, "name": "m{number}", "sizes": [1, 2, 3, 4]}}


@dataclass
class Options:
    name: str = "m{number}"
    size: int = LIMIT


class Model(Base{one}):
    def __init__(self, size=LIMIT, name="model"):
        super().__init__(size)
        self.layers = [self.layer(index) for index in range(size)]

    def layer(self, index):
        if index > LIMIT:
            raise ValueError(f"layer {{index}} of {{self}}")
        return {{"index": index, "name": SETTINGS["name"] + str(index)}}

    def forward(self, inputs):
        for layer in self.layers:
            inputs = layer["index"] * inputs if inputs else self.layer(len(inputs))
        return inputs


def build(options=None):
    options = options or Options()
    model = Model(options.size, name=options.name)
    return model if options.size else build_other(options)

'''

FUNCTION = '''
def step_{index}(model, value, *, rate=0.1):
    """One of many steps."""
    try:
        with open(os.path.join(sys.prefix, "x{index}")) as file:
            lines = [line.strip() for line in file if line and not line.startswith("#")]
    except OSError as error:
        print("step {index}", error, sep=": ")
        lines = []
    total = sum(len(line) * rate for line in lines) + value
    while total > 100 and lines:
        total -= len(lines.pop()) if len(lines) % 2 else {index}
    return step_{next}(model, total) if total > {index} else model.forward(lines)

'''


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def module(number):
    """One of the local modules; the last ones import the framework."""
    framework = "import torch" if number >= MODULES - 5 else ""
    names = {"number": number, "one": min(number // 10 * 10 + 10, MODULES - 1), "other": min(number + 1, MODULES - 1)}
    head = MODULE if number < MODULES - 1 else MODULE.replace("(Base{one})", "").replace("from", "# from")
    steps = (FUNCTION.format(index=index, next=(index + 1) % FUNCTIONS) for index in range(FUNCTIONS))
    return head.format(framework=framework, **names) + "".join(steps)


def script():
    """The script: imports of all modules, a step after the other, and a write that comes too late."""
    lines = [f"from pkg import m{number}" for number in range(MODULES)]
    lines += ["import os, sys", "", "def main():", "    model = m0.build()"]
    body = len(lines)
    while len(lines) < LINES - 6:
        at = len(lines) - body
        lines.append(
            f"    if len(sys.argv) > {at}:"
            if at % 4 == 0
            else f"    {'    ' if at % 4 == 1 else ''}m{at % MODULES}.step_{at % FUNCTIONS}(model, {at})"
        )
    lines += ["    os.environ['TORCH_CPP_LOG_LEVEL'] = 'ERROR'", "", "", "if __name__ == '__main__':", "    main()"]
    return "\n".join(lines) + "\n"


def project(folder):
    for number in range(MODULES):
        write(folder, f"pkg/m{number}.py", module(number))
    write(folder, "pkg/__init__.py", "")
    write(folder, "train.py", script())
    write(folder, "small.py", "import os\nimport torch\nos.environ['TORCH_CPP_LOG_LEVEL'] = 'ERROR'\n")
    for number in range(20):
        write(folder, f"tools/run{number}.py", script())


def lines_below(folder, path):
    """How many lines the named files have."""
    full = os.path.join(folder, path)
    files = (
        [full] if os.path.isfile(full) else [os.path.join(at, name) for at, _, names in os.walk(full) for name in names]
    )
    total = 0
    for name in files:
        with open(name, encoding="utf-8") as file:
            total += sum(1 for _ in file)
    return total


def measure(folder, path, runs):
    """Seconds of each run, by the clock and of the processor; each must find the late line."""
    taken = []
    for _ in range(runs):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "mgelaunch", "lint", path], cwd=folder, capture_output=True, text=True, check=False
        )
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        if done.returncode != 1 or "TORCH_CPP_LOG_LEVEL was already read" not in done.stdout:
            sys.exit(f"the late line was not found: {done.stdout[-500:]}{done.stderr[-500:]}")
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default 5)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="mgelaunch-lint-") as folder:
        project(folder)
        below = lines_below(folder, "pkg")
        rows = [
            ("a script of 3 lines", "small.py", 0),
            (f"a script of {lines_below(folder, 'train.py')} lines and {MODULES} modules", "train.py", below),
            ("a folder of 22 scripts and these modules", ".", 0),
        ]
        print(f"{sys.implementation.name} {sys.version.split()[0]}, medians of {runs} runs\n")
        print(f"{'':46}{'lines':>8}{'wall s':>8}{'CPU s':>8}")
        for name, path, more in rows:
            walls, processor = zip(*measure(folder, path, runs))
            lines = lines_below(folder, path) + more
            print(f"{name:46}{lines:8}{statistics.median(walls):8.2f}{statistics.median(processor):8.2f}")


if __name__ == "__main__":
    main()
