"""What was measured of a host, a line for each topic."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mgelaunch.host.amounts import counted
from mgelaunch.host.amounts import shown as size
from mgelaunch.host.facts import Card, Devices, HostFacts, Rlimit


class Measured(NamedTuple):
    """A sentence on a topic; ``known`` is False when what matters could not be measured."""

    text: str
    known: bool = True


def _unknown(what: str) -> Measured:
    return Measured(f"{what} cannot be measured here", known=False)


def _devices(facts: HostFacts) -> Measured:
    devices = facts.devices
    if devices is None or devices.source == "unknown":
        why = f": {devices.problem}" if devices and devices.problem else ""
        return Measured(f"GPUs cannot be measured here{why}", known=False)
    if devices.source == "none":
        return Measured("no GPU, and no driver of one")
    if not devices.cards:
        return Measured(f"the driver shows no GPU{_behind(devices)}")
    kinds = Counter(map(_card, devices.cards))
    complete = all(card.total for card in devices.cards)
    return Measured(", ".join(f"{times} x {kind}" for kind, times in kinds.items()) + _behind(devices), complete)


def _card(card: Card) -> str:
    memory = f" {size(card.total)}" if card.total else " of unknown memory"
    divided = f" in {counted(len(card.slices), 'MIG slice')}" if card.mig else ""
    return f"{card.name or 'GPU'}{memory}{divided}"


def _behind(devices: Devices) -> str:
    driver = f", driver {devices.driver}" if devices.driver else ""
    return f"{driver} (by {devices.source})"


def _memory(facts: HostFacts) -> Measured:
    memory = facts.memory
    if memory.total is None:
        return _unknown("host memory")
    parts = [size(memory.total)]
    if memory.available is not None:
        parts.append(f"{size(memory.available)} available")
    if memory.limit:
        parts.append(f"limit {size(memory.limit.amount)} ({memory.limit.origin})")
    elif memory.cgroups:
        parts.append("no limit")
    else:
        return Measured(f"{', '.join(parts)}; limits cannot be measured here", known=False)
    if memory.high:
        parts.append(f"throttled above {size(memory.high.amount)} ({memory.high.origin})")
    return Measured(", ".join(parts))


def _shared_memory(facts: HostFacts) -> Measured:
    mounted = facts.shared_memory
    if mounted is None or (mounted.kind and mounted.size is None):
        return _unknown("/dev/shm")
    if not mounted.kind:
        return Measured("/dev/shm is not mounted")
    free = f", {size(mounted.free)} free" if mounted.free is not None else ""
    return Measured(f"/dev/shm {size(mounted.size or 0)} ({mounted.kind}){free}")


def _cpus(facts: HostFacts) -> Measured:
    cpus = facts.cpus
    if cpus.usable is None:
        return _unknown("the CPUs of this job")
    parts = [f"{cpus.usable} usable of {cpus.online or len(cpus.allowed)}"]
    if cpus.cores:
        parts.append(counted(len(cpus.cores), "physical core"))
    if len(cpus.nodes) > 1:
        parts.append(f"{len(cpus.nodes)} NUMA nodes")
    if cpus.quota:
        parts.append(f"quota of {cpus.quota.cpus:g} CPUs ({cpus.quota.origin})")
    return Measured(", ".join(parts))


def _limits(facts: HostFacts) -> Measured:
    limits = facts.limits
    named = (("nofile", limits.nofile), ("nproc", limits.nproc), ("memlock", limits.memlock))
    parts = [f"{name} {_soft(limit)}" for name, limit in named if limit]
    if limits.pids:
        parts.append(f"pids {limits.pids.amount} ({limits.pids.origin})")
    return Measured(", ".join(parts), limits.nofile is not None) if parts else _unknown("the kernel's limits")


def _soft(limit: Rlimit) -> str:
    return "unlimited" if limit.soft is None else str(limit.soft)


def _tools(facts: HostFacts) -> Measured:
    if facts.tools is None:
        return Measured("no compiler was looked for", known=False)
    there = ", ".join(tool.name for tool in facts.tools if tool.path)
    absent = ", ".join(tool.name for tool in facts.tools if not tool.path)
    return Measured("; ".join(part for part in (there, absent and f"not there: {absent}") if part))


def _places(facts: HostFacts, wanted: Sequence[str]) -> Measured:
    """The file systems of the directories that settings name; one that is not among the facts is unknown."""
    told = [
        f"{place.path} on {place.kind or 'an unknown file system'}"
        + (", read-only" if place.read_only else f", {size(place.free)} free" if place.free is not None else "")
        for place in facts.storage
    ]
    unseen = [path for path in wanted if path not in {place.path for place in facts.storage}]
    told += [f"{path} is not among the facts" for path in unseen]
    known = not unseen and all(place.kind for place in facts.storage)
    return Measured("; ".join(told) or "no cache directory is known", known)


TOPICS: dict[str, Callable[[HostFacts], Measured]] = {
    "devices": _devices,
    "memory": _memory,
    "shm": _shared_memory,
    "cpus": _cpus,
    "limits": _limits,
    "tools": _tools,
}
"""The topics of a host in the order in which they are shown."""


def host_lines(facts: HostFacts, places: Sequence[str] = ()) -> Iterable[tuple[str, Measured]]:
    """Each topic and what was measured; `places` are the directories that settings name."""
    for topic, tell in TOPICS.items():
        yield topic, tell(facts)
    yield "storage", _places(facts, places)
