"""CPUs: which of them this process may use, how they form cores and NUMA nodes, and how ranks share them."""

from collections.abc import Iterable, Sequence

from mgelaunch.host.amounts import counted
from mgelaunch.host.cgroups import cpu_quota
from mgelaunch.host.facts import Cpus, Node
from mgelaunch.host.files import Files, whole

_SYSTEM = "/sys/devices/system"

_MOST = 8192
"""CPUs that a Linux kernel can be built for; a list that names a higher number is no list of CPUs."""


def read_cpus(files: Files, allowed: Iterable[int]) -> Cpus:
    """The CPUs below the root of `files` for a process whose affinity is `allowed` (see sched_getaffinity(2)).

    Cores are grouped by ``thread_siblings_list`` and ordered by node, then by their first CPU. Where sysfs does not
    tell the core of every allowed CPU, no core is known.
    """
    usable = tuple(sorted({cpu for cpu in allowed if cpu >= 0}))
    online = _listed(files.text(f"{_SYSTEM}/cpu/online"))
    nodes = _nodes(files)
    return Cpus(len(online) if online else None, usable, _cores(files, usable, nodes), cpu_quota(files), nodes)


def share(cpus: Cpus, local_rank: int, ranks: int) -> tuple[int, ...]:
    """The CPUs of `local_rank` (from 0) among `ranks`, ascending: neighbouring whole cores, of which the lowest ranks
    get what is left over. With fewer cores than ranks it is single CPUs; with fewer CPUs, there is no share.
    """
    units: Sequence[tuple[int, ...]] = cpus.cores
    if len(units) < ranks:
        units = [(cpu,) for core in cpus.cores for cpu in core] or [(cpu,) for cpu in cpus.allowed]
    if not 0 <= local_rank < ranks <= len(units):
        return ()
    size, left = divmod(len(units), ranks)
    start = local_rank * size + min(local_rank, left)
    return tuple(sorted(cpu for unit in units[start : start + size + (local_rank < left)] for cpu in unit))


def thread_share(cpus: Cpus, ranks: int) -> tuple[int, str] | None:
    """How many OpenMP threads each of `ranks` gets, and of what: ``16 cores / 2``; None where nothing is derived.

    Threads above a quota stand still until its next period, so a quota counts with its whole CPUs. One rank may
    have every CPU, as OpenMP gives it by itself: only a quota, of which OpenMP knows nothing, bounds it.
    """
    granted = max(1, int(cpus.quota.cpus)) if cpus.quota else None
    cores = len(cpus.cores or cpus.allowed)
    if not cores or ranks < 1:
        return None
    if ranks == 1:
        limited = cpus.quota is not None and cpus.quota.cpus < len(cpus.allowed)
        return (granted, _quota(cpus)) if granted and limited else None
    if granted is not None and granted < cores:
        return max(1, granted // ranks), f"{_quota(cpus)} / {ranks}"
    return max(1, cores // ranks), f"{counted(cores, 'core' if cpus.cores else 'CPU')} / {ranks}"


def _quota(cpus: Cpus) -> str:
    granted = round(cpus.quota.cpus, 2) if cpus.quota else 0
    return f"quota of {granted:g} {'CPU' if granted == 1 else 'CPUs'}"


def _cores(files: Files, allowed: Sequence[int], nodes: Sequence[Node]) -> tuple[tuple[int, ...], ...]:
    """One file is read for each core, not for each CPU: it names the siblings too."""
    rest, cores = set(allowed), []
    for cpu in allowed:
        if cpu in rest:
            siblings = _listed(files.text(f"{_SYSTEM}/cpu/cpu{cpu}/topology/thread_siblings_list")) or ()
            if cpu not in siblings:
                return ()
            cores.append(tuple(sibling for sibling in siblings if sibling in rest))
            rest.difference_update(siblings)
    place = {cpu: position for position, node in enumerate(nodes) for cpu in node.cpus}
    return tuple(sorted(cores, key=lambda core: (place.get(core[0], len(nodes)), core)))


def _nodes(files: Files) -> tuple[Node, ...]:
    """Nodes by number. One that has only memory has no CPUs; one whose list cannot be read is left out."""
    found = []
    for name in files.names(f"{_SYSTEM}/node"):
        number = whole(name[4:]) if name.startswith("node") else None
        text = files.text(f"{_SYSTEM}/node/{name}/cpulist") if number is not None else ""
        cpus = () if text.isspace() else _listed(text)
        if number is not None and cpus is not None:
            found.append(Node(number, cpus))
    return tuple(sorted(found))


def _listed(text: str) -> tuple[int, ...] | None:
    """The CPUs of a list such as ``0-3,8``; None when the text is anything else.

    The kernel writes them in ascending order. That is asked for here, so that no text can cost much.
    """
    found: list[int] = []
    for part in text.split(",", _MOST):
        low, dash, high = part.partition("-")
        first, last = whole(low), whole(high if dash else low)
        if first is None or last is None or not first <= last < _MOST or (found and first <= found[-1]):
            return None
        found.extend(range(first, last + 1))
    return tuple(found)


def listed(cpus: Iterable[int]) -> str:
    """CPU numbers as taskset writes them: ``0-3,8``."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][-1] + 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
