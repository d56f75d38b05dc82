"""How often the kernel's out-of-memory killer has struck: what two looks differ by tells why a rank was killed."""

from typing import NamedTuple

from mgelaunch.host.cgroups import chain
from mgelaunch.host.files import Files, whole

_COUNTERS = {"v1": "memory.oom_control", "v2": "memory.events"}
"""Where a memory group counts its processes that were killed. Version 1 counts those of the group itself, version 2
those of the groups below it as well; both do whichever bound was hit, their own, an outer one or the host's.
"""


class Kills(NamedTuple):
    """Processes that the killer has ended so far; None where the kernel does not tell (before Linux 4.13).

    ``group`` counts those of the memory cgroup of this process, whose path is ``group_origin``; ``host`` counts all
    that have been ended since the host was started, those of every group among them.
    """

    group: int | None
    group_origin: str
    host: int | None


def kills(files: Files) -> Kills:
    """The counters as they are now, so `files` must be a new one: it reads each file only once."""
    host = _counter(files.text("/proc/vmstat"))
    found = chain(files, "memory")
    if not found.groups:
        return Kills(None, "", host)
    own = found.groups[0]
    return Kills(_counter(files.text(f"{own.directory}/{_COUNTERS[found.version]}")), own.level, host)


def explanation(before: Kills, after: Kills) -> str:
    """What the killer did between two looks, as a clause; empty when no counter rose: then nothing says that a
    process ended for want of memory.
    """
    if before.group_origin == after.group_origin and (count := _risen(before.group, after.group)):
        return _clause(count, f"of cgroup {after.group_origin}")
    count = _risen(before.host, after.host)
    return _clause(count, "on this host") if count else ""


def _clause(count: int, where: str) -> str:
    return f"the kernel's out-of-memory killer ended {count} process{'es' if count > 1 else ''} {where} meanwhile"


def _risen(before: int | None, after: int | None) -> int:
    return 0 if before is None or after is None else max(0, after - before)


def _counter(text: str) -> int | None:
    """The line ``oom_kill N``, which all three files have."""
    rows = (line.split() for line in text.splitlines())
    return next((whole(row[1]) for row in rows if len(row) == 2 and row[0] == "oom_kill"), None)
