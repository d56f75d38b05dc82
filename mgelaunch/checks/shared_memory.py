"""``/dev/shm``: the store through which MegEngine's DataLoader workers hand over batches, and what profiles require.

Every training process that makes such a loader starts one store of ``MGE_PLASMA_MEMORY`` bytes. It starts
whatever room there is, and its workers die when the room is used up (measured on 1.13.0).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mgelaunch.checks.situation import Check, Situation
from mgelaunch.finding import Finding, either
from mgelaunch.host.amounts import pasted, shown
from mgelaunch.host.facts import SharedMemory
from mgelaunch.host.files import whole

if TYPE_CHECKING:  # profiles are read by few starts
    from mgelaunch.environment.profile import Requirement

_MEMORY, _DEBUG = "MGE_PLASMA_MEMORY", "MGE_DATALOADER_PLASMA_DEBUG"
_DEFAULT = 4 << 30
_LEAST, _DOCKERS = 16 << 20, 64 << 20
_FIX = "cgroup2-dataloader"


def present(situation: Situation) -> Iterator[Finding]:
    """``/dev/shm`` must be a tmpfs that can be written."""
    shared = situation.facts.shared_memory
    if shared is None or (_is_memory(shared) and shared.writable is not False):
        return
    remedy = "mount -t tmpfs tmpfs /dev/shm"
    if not shared.kind:
        why = "is missing"
    elif shared.kind != "tmpfs":
        why = f"is on {shared.kind} and not in memory (tmpfs)"
    else:
        why, remedy = "is not writable", "mount -o remount,rw,mode=1777 /dev/shm"
    message = f"/dev/shm {why}, and DataLoader workers (num_workers > 0) hand over their batches through it"
    relied = _is_set(situation, _MEMORY, _DEBUG) or bool(_required(situation))
    yield _about_shared_memory("shm.present", message, remedy, situation, relied=relied)


def size(situation: Situation) -> Iterator[Finding]:
    """The stores of all local ranks must fit into nine tenths of what is free, the bound of the store itself."""
    shared, need = situation.facts.shared_memory, _need(situation)
    if shared is None or need is None or not _is_memory(shared) or _is_strange(situation):
        return
    room = _room(shared)
    if room is None or need * 10 <= room * 9:
        return
    has = f"{shown(room)} free" if shared.free is not None else "no more room"
    of = f" of {shown(shared.size)}" if shared.size is not None else ""
    message = (
        f"{_demand(situation, need)}, and /dev/shm has {has}{of}; "
        'only DataLoader workers (num_workers > 0) use it, and these workers would die with "Bus error"'
    )
    docker = f"docker run --shm-size={-(-need * 10 // (8 << 30))}g"
    remedy = either((_smaller(situation), docker))
    expected, chosen = _profile_expects(situation), _is_set(situation, _MEMORY)
    finding = _about_shared_memory("shm.size", message, remedy, situation, relied=chosen or expected)
    # The default store is larger than most jobs need; one that somebody chose, for workers that are there, is meant.
    certain = expected and chosen and shared.size is not None and need > shared.size
    yield finding._replace(severity="error") if certain else finding


def small(situation: Situation) -> Iterator[Finding]:
    """Docker and Kubernetes give 64 MiB, too little for the loaders of PyTorch, and for NCCL between many ranks."""
    shared, need = situation.facts.shared_memory, _need(situation)
    told = shared is None or not _is_memory(shared) or shared.size is None or shared.size > _DOCKERS
    if shared is None or told or _required(situation):
        return
    if need is not None and need * 10 > (_room(shared) or 0) * 9 and not _is_strange(situation):
        return  # `size` says more
    message = f"/dev/shm has {shown(shared.size or 0)} in all, little for DataLoader workers and for NCCL"
    yield Finding("info", "shm.small", message, (), "docker run --shm-size=8g", about="host")


def few(situation: Situation) -> Iterator[Finding]:
    """A store must hold (2 x num_workers + 1) batches at once."""
    memory = whole(situation.get(_MEMORY) or "")
    if memory is not None and memory < _LEAST:
        message = f"{_MEMORY} is {shown(memory)}, and a store holds 2 x num_workers + 1 batches at once"
        remedy = _smaller(situation, most=1 << 30) or f"--unset {_MEMORY}"
        yield Finding("warning", "plasma.value", message, (_MEMORY,), remedy, situation.place(_MEMORY))


def charged(situation: Situation) -> Iterator[Finding]:
    """What lies in ``/dev/shm`` counts against the memory limit (measured: killed with half of it empty)."""
    memory, need = situation.facts.memory, _need(situation)
    if need is None or _is_strange(situation):
        return
    if memory.limit and need > memory.limit.amount:
        bound = f"the memory limit is {shown(memory.limit.amount)} ({memory.limit.origin})"
    elif memory.available is not None and need > memory.available:
        bound = f"{shown(memory.available)} of memory are available"
    else:
        return
    message = f"{_demand(situation, need)}, and {bound}; /dev/shm is charged to the same memory"
    relied = _is_set(situation, _MEMORY) or _profile_expects(situation)
    yield _about_shared_memory("shm.mem", message, _smaller(situation), situation, relied=relied)


def required(situation: Situation) -> Iterator[Finding]:
    """``[requires] shared-memory``, held against the size of ``/dev/shm`` and the memory limit."""
    for requirement in _required(situation):
        yield from _unmet(requirement, int(requirement.value), situation)


def _unmet(requirement: "Requirement", need: int, situation: Situation) -> Iterator[Finding]:
    shared, limit = situation.facts.shared_memory, situation.facts.memory.limit
    wanted = f"the profile requires {shown(need)} of shared memory"
    gib = -(-need // (1 << 30))
    docker = f"docker run --shm-size={gib}g"
    code, place = "requires.shared-memory", requirement.place
    if limit and limit.amount < need:
        message = f"{wanted}, and the memory limit that it is charged to is {shown(limit.amount)} ({limit.origin})"
        remedy = f"sbatch --mem={gib}G" if limit.source.startswith("SLURM_") else f"docker run --memory={gib}g"
        yield Finding("error", code, message, (), remedy, place)
    if shared and not shared.kind and shared.size is None:
        yield Finding("error", code, f"{wanted}, and /dev/shm is missing", (), docker, place)
    elif shared is None or shared.size is None:
        message = f"{wanted}, and the size of /dev/shm is not known here"
        yield Finding("warning", "requires.unchecked", message, (), "--ignore requires.unchecked", place)
    elif shared.size < need:
        yield Finding("error", code, f"{wanted}, and /dev/shm has {shown(shared.size)} in all", (), docker, place)
    elif shared.free is not None and shared.free < need:
        message = f"{wanted}, and /dev/shm has {shown(shared.free)} free of {shown(shared.size)}"
        used = shared.size - shared.free
        remedy = f"docker run --shm-size={-(-(need + used) // (1 << 30))}g"
        yield Finding("warning", code, message, (), remedy, place)


def stale(situation: Situation) -> Iterator[Finding]:
    """A rank that ends by a signal leaves its store behind, for ever and with its memory (measured on 1.13.0)."""
    stores = situation.facts.stores
    if not stores:
        return
    held = [store.held for store in stores if store.held is not None]
    many = f"{len(stores)} plasma stores" if len(stores) > 1 else "a plasma store"
    pids = [str(store.pid) for store in stores]
    what = f"{shown(sum(held))} of /dev/shm" if held else "memory of /dev/shm"
    message = f"{many} of earlier runs (process {', '.join(pids)}) still hold{'s' * (len(stores) == 1)} {what}"
    if _is_set(situation, _MEMORY, _DEBUG) or "megengine" in situation.installed(frozenset({"megengine"})):
        yield Finding("warning", "shm.stale", message, (), f"kill {' '.join(pids)}")
    else:
        yield Finding("info", "shm.stale", message, (), f"kill {' '.join(pids)}", about="host")


def loader(situation: Situation) -> Iterator[Finding]:
    """MegEngine's DataLoader reads a number from a file that hosts with cgroup v2 alone lack (measured on 1.13.0)."""
    if situation.facts.memory.v1_limit_file is not False or _FIX in situation.fixes:
        return
    message = (
        "this host has no cgroup v1 memory limit file, "
        "so every MegEngine DataLoader with num_workers > 0 raises ValueError on this host"
    )
    relied = _is_set(situation, _MEMORY, _DEBUG) or _profile_expects(situation)
    yield _about_shared_memory("cgroup2.loader", message, f"--fix {_FIX}", situation, relied=relied)


def arrow(situation: Situation) -> Iterator[Finding]:
    """Plasma left pyarrow with version 12, and MegEngine's loader raises a RuntimeError (measured on 1.13.0)."""
    if not (situation.thorough or _is_set(situation, _MEMORY, _DEBUG)):
        return  # a start looks at the packages of the target only when it must
    versions = situation.installed(frozenset({"megengine", "pyarrow"}))
    major = whole(versions.get("pyarrow", "").partition(".")[0])
    if "megengine" not in versions or major is None or major < 12:
        return
    message = (
        f"the target has pyarrow {major}, which is without plasma since 12, "
        "so every MegEngine DataLoader with num_workers > 0 raises RuntimeError"
    )
    relied = _is_set(situation, _MEMORY, _DEBUG)
    yield _about_shared_memory("plasma.arrow", message, "pip install 'pyarrow<12'", situation, relied=relied)


def _about_shared_memory(code: str, message: str, remedy: str, situation: Situation, *, relied: bool) -> Finding:
    """A warning where the job relies on it, else what is merely true of the host."""
    names = tuple(name for name in (_MEMORY, _DEBUG) if _is_set(situation, name))
    place = situation.place(names[0]) if names else ""
    if not relied:
        return Finding("info", code, message, names, remedy, place, about="host")
    required = _required(situation)
    return Finding("warning", code, message, names, remedy, place or (required[0].place if required else ""))


def _is_set(situation: Situation, *names: str) -> bool:
    return any(situation.get(name) is not None for name in names)


def _required(situation: Situation) -> "list[Requirement]":
    return [requirement for requirement in situation.requires if requirement.key == "shared-memory"]


def _profile_expects(situation: Situation) -> bool:
    """Whether a profile says that shared memory is used, and not for torch alone, which has no plasma store."""
    if not _required(situation):
        return False
    frameworks = situation.installed(frozenset({"megengine", "torch"}))
    return "megengine" in frameworks or "torch" not in frameworks


def _is_memory(shared: SharedMemory) -> bool:
    return shared.kind == "tmpfs"


def _room(shared: SharedMemory) -> int | None:
    return shared.free if shared.free is not None else shared.size


def _is_strange(situation: Situation) -> bool:
    """Whether the target has PyTorch and no MegEngine, which alone has plasma stores; a setting speaks for itself."""
    if _is_set(situation, _MEMORY) or not situation.thorough:
        return False
    frameworks = situation.installed(frozenset({"megengine", "torch"}))
    return "torch" in frameworks and "megengine" not in frameworks


def _need(situation: Situation) -> int | None:
    """Bytes of all local ranks' stores; None when the setting is wrong."""
    setting = situation.resolution.settings.get(_MEMORY)
    if setting and setting.wrong:
        return None
    return (whole(situation.get(_MEMORY) or "") or _DEFAULT) * situation.local_ranks


def _demand(situation: Situation, need: int) -> str:
    """``MGE_PLASMA_MEMORY needs 8 x 4.0 GiB = 32.0 GiB``."""
    ranks = situation.local_ranks
    name = _MEMORY if _is_set(situation, _MEMORY) else f"the default of {_MEMORY}"
    return f"{name} needs {f'{ranks} x {shown(need // ranks)} = ' if ranks > 1 else ''}{shown(need)}"


def _smaller(situation: Situation, most: int = 1 << 62) -> str:
    """The option for stores of at most `most` bytes that fit into eight tenths of all that bounds them; empty when
    nothing would.
    """
    shared, memory = situation.facts.shared_memory, situation.facts.memory
    limit = memory.limit.amount if memory.limit else None
    rooms = [room for room in (shared and _room(shared), limit, memory.available) if room is not None]
    each = min(min(rooms, default=most) * 8 // 10 // situation.local_ranks, most)
    return f"-e {_MEMORY}={pasted(each)}" if each >= _LEAST else ""


SHARED_MEMORY: tuple[Check, ...] = (present, size, small, few, charged, required, stale, loader, arrow)
