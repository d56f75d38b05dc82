"""The control groups above this process: where they lie, and what they grant of CPU time and of tasks.

The rules are those of cgroups(7): a controller belongs to one hierarchy only, version 1 or 2, and a bound of any
group between the process and the root of the hierarchy holds. What lies above a private cgroup namespace, or above
a subtree that alone is mounted, cannot be seen.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from mgelaunch.host.facts import Limit, Quota
from mgelaunch.host.files import Files, whole
from mgelaunch.host.mounts import Mount, mounts

UNLIMITED = 1 << 60
"""From here on a number is no bound: version 1 writes the largest multiple of a page below 2**63."""

_PERIOD = 100_000
"""Microseconds: the kernel's own period where ``cpu.max`` names none."""


class Group(NamedTuple):
    """One control group: its `directory`, and its path in the hierarchy as far as it can be seen (`level`)."""

    directory: str
    level: str


class Chain(NamedTuple):
    """The groups that bind this process for one controller, its own first, the outermost that can be seen last.

    ``version`` is empty when no hierarchy has the controller; ``groups`` is empty too when it is not mounted here.
    """

    version: Literal["", "v1", "v2"] = ""
    groups: tuple[Group, ...] = ()


class _Membership(NamedTuple):
    """One line of ``/proc/self/cgroup``; version 2 names no controllers."""

    controllers: tuple[str, ...]
    path: str


class _Seen(NamedTuple):
    memberships: tuple[_Membership, ...]
    mounts: tuple[Mount, ...]


def kind(files: Files) -> Literal["", "none", "v1", "v2", "hybrid"]:
    """Which versions this process is in; ``none`` without any, empty when that, or where the memory controller is
    mounted, cannot be found out.
    """
    memberships = _seen(files).memberships
    if not memberships:
        return "none" if files.text("/proc/self/mountinfo") and not files.exists("/proc/self/cgroup") else ""
    memory = chain(files, "memory")
    if memory.version and not memory.groups:
        return ""
    first = any(not name.startswith("name=") for line in memberships for name in line.controllers)
    second = any(not line.controllers for line in memberships)
    if first:
        return "hybrid" if second else "v1"
    return "v2" if second else "none"


def chain(files: Files, controller: str) -> Chain:
    """The groups of this process for `controller` (``memory``, ``cpu``, ``pids``).

    A line of version 1 that names the controller beats the line of version 2, which then has it not.
    """
    seen = _seen(files)
    for line in seen.memberships:
        if controller in line.controllers:
            mounted = (mount for mount in seen.mounts if mount.kind == "cgroup" and controller in mount.of_file_system)
            return Chain("v1", _groups(files, tuple(mounted), line.path))
    for line in seen.memberships:
        if not line.controllers:
            mounted = (mount for mount in seen.mounts if mount.kind == "cgroup2")
            return Chain("v2", _groups(files, tuple(mounted), line.path))
    return Chain()


def cpu_quota(files: Files) -> Quota | None:
    """The lowest CPU quota of the chain (``cpu.max``, or ``cpu.cfs_quota_us`` over its period); None without any."""
    found = chain(files, "cpu")
    read = _quota if found.version == "v2" else _cfs_quota
    quotas = [quota for group in found.groups if (quota := read(files, group))]
    return min(quotas, key=lambda quota: quota.cpus, default=None)


def pids_limit(files: Files) -> tuple[Limit | None, int | None]:
    """The lowest ``pids.max`` of the chain, and how many tasks its group counts now; both versions name them so."""
    bounds = []
    for group in chain(files, "pids").groups:
        amount = files.number(f"{group.directory}/pids.max")
        if amount is not None and amount < UNLIMITED:
            bounds.append((Limit(amount, "pids.max", group.level), files.number(f"{group.directory}/pids.current")))
    return min(bounds, key=lambda bound: bound[0].amount, default=(None, None))


def _quota(files: Files, group: Group) -> Quota | None:
    quota, *period = files.text(f"{group.directory}/cpu.max").split() or ["max"]
    return _in_cpus(whole(quota), whole(period[0]) if period else _PERIOD, "cpu.max", group)


def _cfs_quota(files: Files, group: Group) -> Quota | None:
    quota = files.number(f"{group.directory}/cpu.cfs_quota_us")
    period = files.number(f"{group.directory}/cpu.cfs_period_us") if quota else None
    return _in_cpus(quota, period, "cpu.cfs_quota_us", group)


def _in_cpus(quota: int | None, period: int | None, source: str, group: Group) -> Quota | None:
    return Quota(quota / period, source, group.level) if quota and period else None


# Several readers ask within one measurement, and a Files never changes its mind.
@lru_cache(maxsize=1)
def _seen(files: Files) -> _Seen:
    """Both tables of the kernel; of several mounts at one point only the last, which covers the others."""
    # A group may be named with any character but a newline, so only that ends a line.
    lines = map(_membership, files.text("/proc/self/cgroup").split("\n"))
    uncovered = {mount.point: mount for mount in mounts(files)}.values()
    return _Seen(
        tuple(line for line in lines if line),
        tuple(mount for mount in uncovered if mount.kind in ("cgroup", "cgroup2")),
    )


def _membership(line: str) -> _Membership | None:
    """A line ``number:controllers:path``, whose path may hold colons."""
    number, _, rest = line.partition(":")
    controllers, colon, path = rest.partition(":")
    if not colon or not path.startswith("/") or not (controllers or number == "0"):
        return None
    return _Membership(tuple(controllers.split(",")) if controllers else (), path)


def _groups(files: Files, mounted: tuple[Mount, ...], path: str) -> tuple[Group, ...]:
    """The groups from `path` up to the mount that shows most of them; the root of the last mount alone when none
    shows `path`: a private namespace with the old mounts, or Docker on version 1 with the host's namespace.
    """
    inside = [
        (mount, below)
        for mount in reversed(mounted)
        if (below := _below(mount, path)) is not None and files.exists(mount.point + below)
    ]
    if inside:
        mount, below = min(inside, key=lambda each: len(each[0].root.rstrip("/")))
        return tuple(_upwards(mount, below))
    # A mount may be covered by another one above it, and then nothing of it can be read.
    shown = [mount for mount in mounted if files.exists(mount.point)]
    return tuple(_upwards(shown[-1], "")) if shown else ()


def _below(mount: Mount, path: str) -> str | None:
    """`path` seen from the root of `mount` (empty for that root itself); None when it is not below it."""
    root, path = mount.root.rstrip("/"), path.rstrip("/")
    if path != root and not path.startswith(f"{root}/"):
        return None
    below = path[len(root) :]
    return None if ".." in below.split("/") else below


def _upwards(mount: Mount, below: str) -> Iterator[Group]:
    """The group at `below`, and each above it up to the root of `mount`."""
    point, root = mount.point.rstrip("/"), mount.root.rstrip("/")
    while below:
        yield Group(point + below, _shown(root + below))
        below = below.rpartition("/")[0]
    yield Group(point or "/", _shown(root or "/"))


def _shown(level: str) -> str:
    """`level` fit for a message: names of groups may hold bytes that no terminal should get."""
    return level if level.isprintable() else "".join(char if char.isprintable() else "?" for char in level)
