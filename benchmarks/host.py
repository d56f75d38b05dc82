"""What it costs to measure the host, beside what it costs to import psutil, in one run.

    python benchmarks/host.py                         all rows, 31 children for each
    python benchmarks/host.py --children 101          on a noisy machine

Every row runs in a child of its own with this interpreter, and the rows take turns. Only the CPU time (user +
system) of the row itself counts, its imports included, not the start of the interpreter. In the column *alone*
nothing else is imported; in *launcher* the command-line parser is there already, as in every start of mgelaunch,
and with it much of the standard library. The last two rows measure again in a process that has measured before,
so that nothing is left to import: each time from files that are read anew.

The bar: all facts of the host but the cards cost less than `import psutil` in the launcher, where both would be paid.
Alone the two are closer, because the facts then bring the modules of the standard library that the parser has loaded.
"""

import argparse
import os
import statistics
import subprocess
import sys

CHILD = """
import os, sys, time
if {launcher}:
    import typer
{before}
started = time.process_time()
{row}
print((time.process_time() - started) * 1000 / {times}, "psutil" in sys.modules)
"""

MEASURE = """
from mgelaunch.host.files import Files
from mgelaunch.host.measure import Host
environ = dict(os.environ)
def measure():
    return Host(Files(), environ).facts({arguments})
"""
WITHOUT_CARDS = MEASURE.format(arguments="devices=False, tools=None, places=()")
# As `mgelaunch check` does: cards, programs to compile with, and the directories of three caches.
EVERYTHING = MEASURE.format(
    arguments="devices=True, tools=(environ.get('PATH', os.defpath), environ),"
    " places=tuple(os.path.join(os.path.expanduser('~'), '.cache', name) for name in ('megengine', 'torch', 'nv'))"
)
TIMES = 50
AGAIN = f"for _ in range({TIMES}): measure()"

PSUTIL = "import psutil"
FACTS = "host facts without cards"
ROWS = {
    PSUTIL: ("", "import psutil", 1),
    FACTS: ("", f"{WITHOUT_CARDS}measure()", 1),
    "all that check asks for": ("", f"{EVERYTHING}measure()", 1),
    "again, without cards": (f"{WITHOUT_CARDS}measure()", AGAIN, TIMES),
    "again, all": (f"{EVERYTHING}measure()", AGAIN, TIMES),
}


def cost(row, launcher):
    """CPU milliseconds of one child, and whether psutil was imported in it."""
    before, measured, times = ROWS[row]
    code = CHILD.format(launcher=launcher, before=before, row=measured, times=times)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return float(said[0]), said[1] == "True"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", type=int, default=31, help="children for each row and column (default 31)")
    options = parser.parse_args()
    cells = [(row, launcher) for row in ROWS for launcher in (False, True)]
    costs = {cell: [] for cell in cells}
    for cell in cells:  # warms the caches of the file system and of bytecode
        cost(*cell)
    with_psutil = False
    for _ in range(options.children):
        for cell in cells:
            spent, imported = cost(*cell)
            costs[cell].append(spent)
            with_psutil |= imported and cell[0] != PSUTIL
    median = {cell: statistics.median(spent) for cell, spent in costs.items()}
    print(f"{sys.implementation.name} {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} CPUs,", end=" ")
    print(f"medians of {options.children} children, CPU ms\n")
    print(f"{'':26}{'alone':>9}{'x psutil':>10}{'launcher':>11}{'x psutil':>10}")
    for row in ROWS:
        alone, inside = median[row, False], median[row, True]
        beside = alone / median[PSUTIL, False], inside / median[PSUTIL, True]
        print(f"{row:26}{alone:9.2f}{beside[0]:10.2f}{inside:11.2f}{beside[1]:10.2f}")
    holds = median[FACTS, True] < median[PSUTIL, True]
    print(f"\nin the launcher {FACTS} cost {'less' if holds else 'NOT less'} than {PSUTIL}")
    if with_psutil:
        print("psutil was needed to measure, because a plasma store is running on this host")


if __name__ == "__main__":
    main()
