"""Limits of the kernel: open files, processes and threads, locked memory, core files."""

from collections.abc import Iterator

from mgelaunch.checks.situation import Check, Situation
from mgelaunch.finding import Finding
from mgelaunch.host.amounts import shown
from mgelaunch.host.facts import Rlimit
from mgelaunch.host.files import whole

_FEW_FILES, _ENOUGH_FILES = 4096, 65536
_TASKS_OF_A_RANK = 64
"""Processes and threads of one training process and its loader workers, beside the threads of its libraries: a
guess on the low side."""
_ENOUGH_TASKS = 4096


def open_files(situation: Situation) -> Iterator[Finding]:
    """Loader workers hand tensors over as open files, and each connection of a rank is one more."""
    limit = situation.facts.limits.nofile
    if limit is None or limit.soft is None or limit.soft >= _FEW_FILES:
        return
    message = f"a process may open {limit.soft} files (RLIMIT_NOFILE), few for many loader workers or ranks"
    reachable = limit.hard is None or limit.hard >= _FEW_FILES
    most = min(_ENOUGH_FILES, limit.hard or _ENOUGH_FILES)
    remedy = f"ulimit -n {most}" if reachable else f"docker run --ulimit nofile={_ENOUGH_FILES}"
    yield Finding("info", "limit.nofile", message, (), remedy, about="host")


def tasks_of_the_group(situation: Situation) -> Iterator[Finding]:
    """Docker's ``--pids-limit`` and its like count threads too, of all processes below them."""
    limit, running = situation.facts.limits.pids, situation.facts.limits.tasks or 0
    need = _need(situation)
    if limit is None or limit.amount - running >= need:
        return
    room = max(0, limit.amount - running)
    message = (
        f"{limit.origin} leaves room for {room} processes and threads, and {_ranks(situation)} may need {need}; "
        'without them Python says "can\'t start new thread"'
    )
    remedy = f"docker run --pids-limit={max(_ENOUGH_TASKS, running + need)}"
    yield Finding("warning", "limit.pids", message, (), remedy)


def tasks_of_the_user(situation: Situation) -> Iterator[Finding]:
    """``ulimit -u`` counts the threads of all processes of the user."""
    limit, need = situation.facts.limits.nproc, _need(situation)
    if limit is None or limit.soft is None or limit.soft >= need:
        return
    message = (
        f"a user may have {limit.soft} processes and threads (RLIMIT_NPROC), and {_ranks(situation)} may need {need}"
    )
    reachable = limit.hard is None or limit.hard >= need
    most = max(_ENOUGH_TASKS, need)
    remedy = f"ulimit -u {min(most, limit.hard or most)}" if reachable else f"docker run --ulimit nproc={most}"
    yield Finding("warning", "limit.nproc", message, (), remedy)


def _need(situation: Situation) -> int:
    """Tasks of all local ranks. Libraries start as many threads as they are told, else as there are CPUs."""
    told = whole((situation.get("OMP_NUM_THREADS") or "").partition(",")[0])
    threads = told if told is not None else situation.facts.cpus.usable or 1
    return situation.local_ranks * (_TASKS_OF_A_RANK + threads)


def locked_memory(situation: Situation) -> Iterator[Finding]:
    """InfiniBand locks the memory that it sends from, and NCCL uses it where there is an adapter."""
    limits = situation.facts.limits
    if limits.memlock is None or limits.memlock.soft is None or not limits.infiniband:
        return
    said = tuple(
        name
        for name, setting in situation.resolution.settings.items()
        if name.startswith("NCCL_IB_") and setting.text is not None
    )
    if situation.get("NCCL_IB_DISABLE") == "1" or not (said or situation.local_ranks > 1):
        return
    soft = limits.memlock.soft
    amount = shown(soft) if soft >= 1 << 20 else f"{soft >> 10} KiB"
    message = f"{amount} may be locked (RLIMIT_MEMLOCK), and NCCL locks more for InfiniBand"
    remedy = "ulimit -l unlimited" if limits.memlock.hard is None else "docker run --ulimit memlock=-1"
    place = situation.place(said[0]) if said else ""
    yield Finding("warning", "limit.memlock", message, said, remedy, place)


def core_files(situation: Situation) -> Iterator[Finding]:
    """Without a core file a crash in C++ leaves nothing to look at."""
    limit = situation.facts.limits.core
    if limit is not None and limit.soft == 0:
        message = "a crash leaves no core file (RLIMIT_CORE is 0)"
        yield Finding("info", "limit.core", message, (), _raise_core(limit))


def _raise_core(limit: Rlimit) -> str:
    if limit.hard is None:
        return "ulimit -c unlimited"
    return f"ulimit -c {limit.hard >> 10}" if limit.hard >= 1 << 10 else "docker run --ulimit core=-1"


def _ranks(situation: Situation) -> str:
    return f"{situation.local_ranks} ranks" if situation.local_ranks > 1 else "one rank"


KERNEL_LIMITS: tuple[Check, ...] = (open_files, tasks_of_the_group, tasks_of_the_user, locked_memory, core_files)
