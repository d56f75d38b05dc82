"""The batch script that would start a job on Slurm: printed, never submitted."""

import shlex
from collections.abc import Sequence

from mgelaunch.clusters.engine import Wanted

_MOST = 65535
"""Seconds before the end at which Slurm can warn (sbatch(1), --signal)."""


def script(wanted: Wanted, name: str, time_limit: float | None, grace: float, command: Sequence[str]) -> str:
    """A script for sbatch. USR1 reaches the ranks before the time is over; the job is put in the queue again after the
    loss of a node, and appends to what it has said before.

    The batch shell becomes `command`, so that Slurm's signals reach it and not a shell that waits for it.
    """
    minutes = max(1, -(-int(time_limit) // 60)) if time_limit else 0
    warning = min(max(60, int(grace) * 2), _MOST)
    lines = [
        "#!/bin/sh",
        f"#SBATCH --job-name={name}",
        f"#SBATCH --nodes={wanted.nodes}",
        f"#SBATCH --ntasks-per-node={wanted.per_node}",
        *([f"#SBATCH --time={minutes}"] if minutes else []),
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --signal=B:USR1@{warning}",
        "# The ranks get USR1 that many seconds before the end; it ends a script that does not handle it.",
        f"exec {shlex.join(command)}",
    ]
    return "\n".join(lines) + "\n"
