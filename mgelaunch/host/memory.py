"""Host memory: what there is, what is left, and which bounds of control groups and of Slurm lie below it.

Anonymous memory and files in ``/dev/shm`` are charged to the same bounds, so they are one budget. Swap is no part of
it, and neither are ``memory.low`` (a protection) and RLIMIT_RSS (without effect since Linux 2.4.30).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mgelaunch.host.cgroups import UNLIMITED, Chain, Group, chain, kind
from mgelaunch.host.facts import Limit, Memory
from mgelaunch.host.files import Files, whole

_HIDDEN = "hierarchical_memory_limit"
"""The line of version 1's ``memory.stat`` that tells also the bounds of ancestors that cannot be seen."""

_V1_LIMIT_FILE = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
"""MegEngine's DataLoader (1.13.0) opens this very file, wherever the hierarchy is mounted."""

_GRANTS = (
    ("SLURM_MEM_PER_NODE", ""),
    ("SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"),
    ("SLURM_MEM_PER_GPU", "SLURM_GPUS_ON_NODE"),
)
"""What Slurm's sbatch(1) sets, in MiB, and by what to multiply it; the three exclude each other."""


class _Bound(NamedTuple):
    """A bound of a group, and how much it leaves: what is in use counts without inactive file pages, as the kernel
    can drop those.
    """

    limit: Limit
    left: int


def read_memory(files: Files, environ: Mapping[str, str]) -> Memory:
    """The memory of this host, in bytes; ``swap`` is its total.

    A bound counts below ``total`` only. ``available`` is the least of MemAvailable, of what each group with a bound
    leaves, a ``memory.high`` included, and of Slurm's grant, whose use is not known. `environ` is asked for
    ``SLURM_MEM_*``. Without ``/proc/meminfo`` psutil is asked, for this host only.
    """
    total, available, swap = _of_host(files)
    ceiling = min(total or UNLIMITED, UNLIMITED)
    bounds = tuple(_bounds(files, chain(files, "memory"), ceiling))
    granted = _granted(environ)
    counted = (granted,) if granted and granted.amount < ceiling else ()
    overcommit = files.number("/proc/sys/vm/overcommit_memory")
    return Memory(
        total=total,
        available=_least((available, *(bound.left for bound in bounds), *(limit.amount for limit in counted))),
        limit=_lowest((*(bound.limit for bound in bounds if bound.limit.source != "memory.high"), *counted)),
        high=_lowest(bound.limit for bound in bounds if bound.limit.source == "memory.high"),
        granted=granted,
        cgroups=kind(files),
        v1_limit_file=_has_v1_limit_file(files),
        swap=swap,
        overcommit=overcommit,
        commit_left=_commit_left(files) if overcommit == 2 else None,
    )


def _least(amounts: Iterable[int | None]) -> int | None:
    return min((amount for amount in amounts if amount is not None), default=None)


def _lowest(limits: Iterable[Limit]) -> Limit | None:
    """The lowest; of equals the group that sets it before one that repeats it, and the inner one before the outer."""
    return min(limits, key=lambda limit: (limit.amount, limit.source == _HIDDEN), default=None)


def _of_host(files: Files) -> tuple[int | None, int | None, int | None]:
    """Total memory, what of it is available, and swap."""
    text = files.text("/proc/meminfo")
    if text or files.real("/proc") != "/proc":
        return _told(text, "MemTotal") or None, _told(text, "MemAvailable"), _told(text, "SwapTotal")
    return _of_psutil()


def _of_psutil() -> tuple[int | None, int | None, int | None]:
    import psutil  # noqa: PLC0415 - costs more than all other readings together

    try:
        memory = psutil.virtual_memory()
        return memory.total or None, memory.available, psutil.swap_memory().total
    except (psutil.Error, OSError, RuntimeError, ValueError):
        return None, None, None


def _told(text: str, name: str) -> int | None:
    """A line of ``/proc/meminfo`` in bytes."""
    found = re.search(rf"^{name}:[ \t]*([0-9]+) kB$", text, re.MULTILINE)
    amount = whole(found[1]) if found else None
    return None if amount is None else amount * 1024


def _commit_left(files: Files) -> int | None:
    text = files.text("/proc/meminfo")
    limit, promised = _told(text, "CommitLimit"), _told(text, "Committed_AS")
    return None if limit is None or promised is None else max(0, limit - promised)


def _has_v1_limit_file(files: Files) -> bool | None:
    """Whether version 1's limit can be read at its usual place; None where nothing can be read at all."""
    if files.number(_V1_LIMIT_FILE) is not None:
        return True
    return False if files.text("/proc/self/mountinfo") else None


def _bounds(files: Files, found: Chain, ceiling: int) -> Iterator[_Bound]:
    """The bounds of all groups that are below `ceiling`. What is in use is read in the group that has the bound."""
    usage, inactive = {
        "v1": ("memory.usage_in_bytes", "total_inactive_file"),
        "v2": ("memory.current", "inactive_file"),
        "": ("", ""),
    }[found.version]
    for group in found.groups:
        limits = [limit for limit in _limits(files, found.version, group) if limit.amount < ceiling]
        if not limits:
            continue
        used = files.number(f"{group.directory}/{usage}") or 0
        working = max(0, used - (_stat(files, group, inactive) or 0))
        yield from (_Bound(limit, max(0, limit.amount - working)) for limit in limits)


def _limits(files: Files, version: str, group: Group) -> Iterator[Limit]:
    names = ("memory.max", "memory.high") if version == "v2" else ("memory.limit_in_bytes",)
    for name in names:
        amount = files.number(f"{group.directory}/{name}")
        if amount is not None:
            yield Limit(amount, name, group.level)
    hidden = _stat(files, group, _HIDDEN) if version == "v1" else None
    if hidden is not None:
        yield Limit(hidden, _HIDDEN, group.level)


def _stat(files: Files, group: Group, name: str) -> int | None:
    """A line of ``memory.stat``, in bytes."""
    found = re.search(rf"^{name} ([0-9]+)$", files.text(f"{group.directory}/memory.stat"), re.MULTILINE)
    return whole(found[1]) if found else None


def _granted(environ: Mapping[str, str]) -> Limit | None:
    """Slurm's budget of this node; 0 means the whole node, which is no bound."""
    for name, factor in _GRANTS:
        mebibytes = whole(environ.get(name, ""))
        times = whole(environ.get(factor, "")) if factor else 1
        if mebibytes and times and mebibytes * times << 20 < UNLIMITED:
            return Limit(mebibytes * times << 20, name)
    return None
