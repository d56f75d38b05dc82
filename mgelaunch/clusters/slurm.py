"""Tasks of a Slurm step: what srun has started. Only the STEP_ variables speak of the step, the others of its job."""

from collections.abc import Mapping

from mgelaunch.clusters.hostlist import NotAList, first_host, host_count, task_counts, tasks_on
from mgelaunch.clusters.placement import Inconsistent, Task
from mgelaunch.clusters.ports import agreed_port
from mgelaunch.clusters.reading import Reading, part_of, within

ENGINE = "Slurm"
_OWN_STEPS = 0xFFFFFFF0
"""From here on a step is Slurm's own: the batch script, the shell of salloc. It is one process, not rank 0."""

_TASKS, _HOSTS, _SIZE = "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS"


def placement(environ: Mapping[str, str], above: str | None = None) -> Task | None:
    """The task of a step that Slurm's variables describe; None outside a step, where some of them are set as well.

    `above` is the step whose daemon is above this process (see `host.ancestors`). Another one than that of the
    variables means that they are left over: a batch script submitted in a step has those of that step, besides its own.

    Raises:
        Inconsistent: the variables cannot all be true.
    """
    read = Reading(environ)
    if not read.has("SLURM_STEP_ID", "SLURM_PROCID"):
        return None
    step = read.needed("SLURM_STEP_ID")
    if step >= _OWN_STEPS or (above and not _is_of(above, f"{step}")):
        return None
    rank, world = read.place("SLURM_PROCID", _SIZE)
    local_rank, node = read.needed("SLURM_LOCALID"), read.needed("SLURM_NODEID")
    hosts = _count(_HOSTS, read.needed_text(_HOSTS))
    local_name, local_world = _local_world(read, node, hosts, world)
    within("SLURM_LOCALID", local_rank, local_name, local_world)
    part_of(local_name, local_world, _SIZE, world)
    why = _why_no_address(read) if hosts > 1 else ""
    return Task(
        engine=ENGINE,
        rank=rank,
        world_size=world,
        local_rank=local_rank,
        local_world_size=local_world,
        node_rank=node,
        master_addr="" if why else first_host(read.text(_HOSTS)),
        master_port=agreed_port(f"{read.needed('SLURM_JOB_ID')}.{step}"),
        own_device=_own_device(read, local_world),
        restart_count=read.count("SLURM_RESTART_COUNT") or 0,
        variables=read.used,
        why_no_address=why,
    )


def _is_of(above: str, step: str) -> bool:
    """Whether the daemon of ``42.0``, or ``42.0+1`` for a component of a heterogeneous step, is that of `step`."""
    return above.rpartition(".")[2].partition("+")[0] == step


def _local_world(read: Reading, node: int, hosts: int, world: int) -> tuple[str, int]:
    """The variable that tells how many tasks are on this machine, and their number.

    The components of a heterogeneous step number their machines in their own order, while the lists are sorted; so
    there the tasks of this machine are counted, whose ranks are listed as between brackets (``0,1`` or ``0-3,7``).

    Raises:
        Inconsistent: the list of hosts, the tasks on each and the number of all do not fit.
    """
    if read.text("SLURM_HET_SIZE"):
        return "SLURM_GTIDS", _count("SLURM_GTIDS", f"[{read.needed_text('SLURM_GTIDS')}]")
    text = read.needed_text(_TASKS)
    try:
        tasks = task_counts(text)
    except NotAList as wrong:
        raise Inconsistent(f"{_TASKS} cannot be read: {wrong}", (_TASKS,)) from None
    if (counted := sum(times for _, times in tasks)) != hosts:
        raise Inconsistent(f"{_HOSTS} has {hosts} hosts, and {_TASKS} is for {counted}", (_HOSTS, _TASKS))
    if (total := sum(each * times for each, times in tasks)) != world:
        raise Inconsistent(f"{_TASKS} adds up to {total}, and {_SIZE} is {world}", (_TASKS, _SIZE))
    if node >= hosts:
        raise Inconsistent(f"SLURM_NODEID is {node} where {_HOSTS} has {hosts} hosts", ("SLURM_NODEID", _HOSTS))
    return _TASKS, tasks_on(text, node)


def _count(name: str, text: str) -> int:
    """How many hosts the list `text` of `name` has; not one is written out.

    Raises:
        Inconsistent: it cannot be read.
    """
    try:
        return host_count(text)
    except NotAList as wrong:
        raise Inconsistent(f"{name} cannot be read: {wrong}", (name,)) from None


def _why_no_address(read: Reading) -> str:
    """Why rank 0 need not be on the first of several hosts; empty when it is there."""
    if read.text("SLURM_HET_SIZE"):
        return "in a heterogeneous job rank 0 need not be on the first host of the step"
    if read.text("SLURM_HOSTFILE"):
        return "with SLURM_HOSTFILE rank 0 need not be on the first host of the step"
    if "arbitrary" in read.text("SLURM_DISTRIBUTION"):
        return "with the arbitrary distribution rank 0 need not be on the first host of the step"
    return ""


def _own_device(read: Reading, local_world: int) -> bool:
    """Whether Slurm bound each task to devices of its own: it granted this one so few that all can have as many.

    An option of srun that binds, such as ``--gpus-per-task``, leaves no variable of its own.
    """
    if local_world < 2 or not read.has("SLURM_GPUS_ON_NODE", "SLURM_STEP_GPUS"):
        return False
    try:
        granted = host_count(f"[{read.text('SLURM_STEP_GPUS')}]")
        return granted * local_world <= read.needed("SLURM_GPUS_ON_NODE")
    except (NotAList, Inconsistent):
        return False  # to share too much is safe
