"""What it costs a rank to find its place, and a driver to write out the hosts, by the size of the job.

    python benchmarks/clusters.py                      all rows, 2,000 calls for each
    python benchmarks/clusters.py --calls 20000        on a noisy machine

*detect* is what each rank pays before its script starts; *hosts* is what only whoever needs every name pays; *text*
is how many characters the two lists of Slurm have together. In the even rows all machines have 8 ranks and names in
one range, so the lists are as short for 8,000 ranks as for 8. In the uneven row no two neighbours have as many ranks
and no two names are in one range, which no scheduler would do to anybody: the longest lists that there can be.

The bar: 10,000 ranks on 1,250 machines take less than 200 ms, whatever their lists look like.
"""

import argparse
import statistics
import sys
import time

from mgelaunch.clusters.detect import detect
from mgelaunch.clusters.hostlist import hosts

BAR = 200.0


def even(ranks):
    """A step of `ranks` on machines with 8 each, seen by its last rank."""
    nodes = ranks // 8
    return step(ranks, nodes, 8, f"gpu[0001-{nodes:04d}]", f"8(x{nodes})")


def uneven(nodes):
    """A step of 7 and 9 ranks in turn on machines whose numbers have gaps, in racks of two."""
    names = ",".join(f"rack{node // 2:03d}-gpu[{node % 2 * 4 + 1},{node % 2 * 4 + 3}]-ib" for node in range(nodes // 2))
    tasks = ",".join("79"[node % 2] for node in range(nodes))
    return step(8 * nodes, nodes, 9, names, tasks)


def step(ranks, nodes, last, names, tasks):
    """The variables that Slurm gives the last rank."""
    return {
        "SLURM_JOB_ID": "42",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": str(ranks - 1),
        "SLURM_STEP_NUM_TASKS": str(ranks),
        "SLURM_LOCALID": str(last - 1),
        "SLURM_NODEID": str(nodes - 1),
        "SLURM_STEP_NODELIST": names,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
    }


ROWS = {
    "8 ranks, 1 machine": even(8),
    "800 ranks, 100 machines": even(800),
    "8,000 ranks, 1,000": even(8000),
    "10,000 ranks, 1,250": even(10000),
    "10,000 ranks, 1,250 uneven": uneven(1250),
}


def cost(work, calls):
    """Median milliseconds of one call."""
    spent = []
    for _ in range(calls):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000, help="calls for each row (default 2000)")
    options = parser.parse_args()
    print(f"{sys.implementation.name} {sys.version.split()[0]}, medians of {options.calls} calls, ms\n")
    print(f"{'':28}{'text':>8}{'detect':>10}{'hosts':>10}{'names':>8}")
    slowest = 0.0
    for row, environ in ROWS.items():
        placed = detect(environ).placement
        assert placed is not None, row
        names = environ["SLURM_STEP_NODELIST"]
        found = cost(lambda environ=environ: detect(environ), options.calls)
        written = cost(lambda names=names: hosts(names), max(1, options.calls // 20))
        slowest = max(slowest, found + written)
        size = len(names) + len(environ["SLURM_STEP_TASKS_PER_NODE"])
        print(f"{row:28}{size:8}{found:10.3f}{written:10.3f}{len(hosts(names)):8}")
    print(f"\nthe slowest row took {slowest:.1f} ms, {'below' if slowest < BAR else 'NOT below'} {BAR:.0f} ms")


if __name__ == "__main__":
    main()
