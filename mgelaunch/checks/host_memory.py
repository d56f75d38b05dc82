"""Host memory: what profiles require of it, and bounds that a job may meet without knowing them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mgelaunch.checks.cards import used
from mgelaunch.checks.situation import Check, Situation
from mgelaunch.finding import Finding, either
from mgelaunch.host.amounts import pasted, shown
from mgelaunch.host.facts import Memory
from mgelaunch.host.files import whole

if TYPE_CHECKING:  # profiles are read by few starts
    from mgelaunch.environment.profile import Requirement

_PLASMA = "MGE_PLASMA_MEMORY"
_LOW = 1 << 30
"""Bytes that are little on a host; in a small container half of what there is counts in their place."""
_DEFAULT_STORE = 4 << 30


def limit(situation: Situation) -> Iterator[Finding]:
    """``[requires] host-memory``: what all local ranks together need."""
    for requirement, wanted in _required(situation):
        yield from _limit(situation.facts.memory, requirement, wanted)


def _required(situation: Situation) -> "list[tuple[Requirement, int]]":
    return [
        (requirement, requirement.value)
        for requirement in situation.requires
        if requirement.key == "host-memory" and isinstance(requirement.value, int)
    ]


def _limit(memory: Memory, requirement: "Requirement", wanted: int) -> Iterator[Finding]:
    asked = f"the profile requires {shown(wanted)} of host memory"
    bound = _bound(memory)
    if bound is None:
        message, remedy = f"{asked}, which cannot be measured here", "--ignore requires.unchecked"
        yield Finding("warning", "requires.unchecked", message, (), remedy, requirement.place)
    elif wanted > bound:
        message = f"{asked}, and {_origin(memory, bound)}"
        yield Finding("error", "mem.limit", message, (), _more(memory, wanted), requirement.place)
    elif memory.available is not None and wanted > memory.available:
        message = f"{asked}, and {shown(memory.available)} of {shown(bound)} is available now"
        yield Finding("warning", "mem.limit", message, (), "--ignore mem.limit", requirement.place)


def _bound(memory: Memory) -> int | None:
    """The most that all processes here can have, in bytes; None when it is unknown."""
    bounds = [amount for amount in (memory.total, memory.limit and memory.limit.amount) if amount is not None]
    return min(bounds) if bounds else None


def _origin(memory: Memory, bound: int) -> str:
    """What sets the bound."""
    if memory.limit is None or memory.limit.amount > bound:
        return f"this host has {shown(bound)}"
    host = f"; the host has {shown(memory.total)}" if memory.total is not None else ""
    return f"the limit is {shown(bound)} ({memory.limit.origin}{host})"


def _more(memory: Memory, wanted: int) -> str:
    """How to ask for more, where it is known who sets the limit; else how to start all the same."""
    megabytes = -(-wanted // (1 << 20))
    beyond = memory.limit is None or (memory.total is not None and wanted > memory.total)
    if not beyond and memory.limit and memory.limit.source.startswith("SLURM"):
        return f"sbatch --mem={megabytes}M"
    if not beyond and memory.limit and "docker" in memory.limit.level:
        return f"docker run --memory={megabytes}m"
    return "--ignore mem.limit"


def throttled(situation: Situation) -> Iterator[Finding]:
    """Above ``memory.high`` nothing dies: the kernel slows the job until it looks hung (measured)."""
    memory = situation.facts.memory
    bound = _bound(memory)
    if memory.high is None or (bound is not None and memory.high.amount >= bound):
        return
    effect = f"above {shown(memory.high.amount)} the kernel throttles this job until it looks hung"
    message = f"{effect} ({memory.high.origin})"
    beyond = [(need, wanted) for need, wanted in _required(situation) if wanted > memory.high.amount]
    for need, wanted in beyond:
        message = f"the profile requires {shown(wanted)} of host memory, and {message}"
        yield Finding("warning", "mem.high", message, (), "--ignore mem.high", need.place)
        return
    yield Finding("info", "mem.high", message, about="host")


def low(situation: Situation) -> Iterator[Finding]:
    """Little memory left for anybody."""
    memory = situation.facts.memory
    bound = _bound(memory)
    if (
        memory.available is not None
        and bound is not None
        and memory.available < max(min(_LOW, bound // 2), bound // 10)
    ):
        message = f"{shown(memory.available)} of the {shown(bound)} that this job may have is available now"
        yield Finding("info", "mem.low", message, about="host")


def mappings(situation: Situation) -> Iterator[Finding]:
    """``ulimit -v`` and ``-d``: CUDA maps far more than it uses, whichever of the two is lower."""
    limits = situation.facts.limits
    bounds = ((limits.address_space, "ulimit -v", "address space"), (limits.data, "ulimit -d", "data"))
    finite = [
        (limit.soft, limit.hard, command, what) for limit, command, what in bounds if limit and limit.soft is not None
    ]
    if finite and used(situation):
        soft, hard, command, what = min(finite, key=_soft)
        message = f"{command} allows each process {shown(soft)} of {what}, and CUDA maps far more than it uses"
        yield Finding("warning", "mem.rlimit", message, (), f"{command} unlimited" if hard is None else "")


def _soft(bound: tuple[int, int | None, str, str]) -> int:
    return bound[0]


def store_mapping(situation: Situation) -> Iterator[Finding]:
    """A plasma store maps its whole size and ends at once where it may not. That counts as address space, and not as
    data, for the mapping is shared (measured with pyarrow 11.0.0).
    """
    limit = situation.facts.limits.address_space
    setting = situation.resolution.settings.get(_PLASMA)
    store = whole(situation.get(_PLASMA) or "")
    size = _DEFAULT_STORE if store is None else store
    if limit is None or limit.soft is None or size <= limit.soft or (setting is not None and setting.wrong):
        return
    smaller = f"-e {_PLASMA}={pasted(limit.soft // 2)}" if limit.soft >= 4 << 20 else ""
    remedy = either((smaller, "ulimit -v unlimited" if limit.hard is None else ""))
    bound = f"ulimit -v allows each process {shown(limit.soft)} of address space"
    if store is not None:
        message = f"{bound}, and a plasma store maps all {shown(size)} of {_PLASMA}"
        yield Finding("warning", "mem.rlimit", message, (_PLASMA,), remedy, situation.place(_PLASMA))
    else:
        message = f"{bound}, and the plasma store of a DataLoader with workers maps {shown(size)} by default"
        yield Finding("info", "mem.rlimit", message, (), remedy, about="host")


def overcommit(situation: Situation) -> Iterator[Finding]:
    """With mode 2 the kernel promises no more than it has, so that the fork of a large trainer fails."""
    memory = situation.facts.memory
    if memory.overcommit != 2 or memory.commit_left is None:
        return
    left = f"vm.overcommit_memory is 2, and {shown(memory.commit_left)} can still be promised"
    for requirement, wanted in _required(situation):
        if wanted > memory.commit_left:
            message = f"the profile requires {shown(wanted)} of host memory; {left}"
            remedy = "sudo sysctl vm.overcommit_memory=0"
            yield Finding("warning", "mem.overcommit", message, (), remedy, requirement.place)
            return
    yield Finding("info", "mem.overcommit", left, about="host")


def granted(situation: Situation) -> Iterator[Finding]:
    """What Slurm granted of the node when no cgroup says so: its sampler ends a job that takes more."""
    memory = situation.facts.memory
    if memory.granted is not None and memory.granted == memory.limit:
        node = f" of this node's {shown(memory.total)}" if memory.total is not None else ""
        message = f"Slurm grants {shown(memory.granted.amount)}{node} ({memory.granted.source}) and ends a job above it"
        yield Finding("info", "mem.slurm", message)


HOST_MEMORY: tuple[Check, ...] = (limit, throttled, low, mappings, store_mapping, overcommit, granted)
