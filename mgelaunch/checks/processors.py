"""Settings held against the number of CPUs."""

import os
from collections.abc import Iterator

from mgelaunch.environment.resolve import Resolution
from mgelaunch.finding import Finding

_WORKERS = "MGB_SUBLINEAR_MEMORY_WORKERS"


def processors(resolution: Resolution, cpus: int | None = None) -> Iterator[Finding]:
    """MegEngine's planner refuses more workers than four times the host's CPUs (measured on 1.13.0).

    `cpus` is the number of CPUs of the host, not of the affinity mask; None asks the system.
    """
    text = resolution.get(_WORKERS)
    if text is None:
        return
    limit = 4 * (cpus or os.cpu_count() or 1)
    if int(text) > limit:
        winner = resolution.settings[_WORKERS].winner
        message = f"{_WORKERS} is above {limit}, four times the CPUs of this host, which MegEngine refuses"
        place = winner.place or winner.where
        yield Finding("error", "cpu.workers", message, (_WORKERS,), f"-e {_WORKERS}=50%", place)
