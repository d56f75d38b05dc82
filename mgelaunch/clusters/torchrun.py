"""Ranks that torchrun has started, or whatever else speaks its names: RANK, LOCAL_RANK and WORLD_SIZE."""

from collections.abc import Mapping

from mgelaunch.clusters.placement import Inconsistent, Task
from mgelaunch.clusters.ports import other_port
from mgelaunch.clusters.reading import Reading, is_here, part_of, within

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def placement(environ: Mapping[str, str], *, megengine_server: bool = False) -> Task | None:
    """The rank that the process-level variables describe, None without them.

    Under torchrun itself MASTER_PORT is held by its agent. With `megengine_server` the port is therefore another
    one, which follows from the job's id and MASTER_PORT; never from the restart count, in which nodes differ.

    Raises:
        Inconsistent: the variables cannot all be true.
    """
    read = Reading(environ)
    run_id = read.text("TORCHELASTIC_RUN_ID")
    if not read.has(*_NAMES) and not (run_id and any(map(read.has, _NAMES))):
        return None
    rank, world = read.place("RANK", "WORLD_SIZE")
    local_rank, local_world = read.needed("LOCAL_RANK"), read.count("LOCAL_WORLD_SIZE")
    node = read.count("GROUP_RANK")
    node = read.count("NODE_RANK") if node is None else node
    address, port = read.text("MASTER_ADDR"), read.port("MASTER_PORT")
    if local_world is None:
        local_world = _local_world(read, world, address)
    within("LOCAL_RANK", local_rank, "LOCAL_WORLD_SIZE", local_world)
    part_of("LOCAL_WORLD_SIZE", local_world, "WORLD_SIZE", world)
    if run_id and megengine_server:
        port = other_port(f"{run_id}{environ.get('MASTER_PORT', '')}", port)
    return Task(
        engine="torchrun" if run_id else "RANK and LOCAL_RANK",
        rank=rank,
        world_size=world,
        local_rank=local_rank,
        local_world_size=local_world,
        node_rank=node,
        master_addr=address,
        master_port=port,
        restart_count=read.count("TORCHELASTIC_RESTART_COUNT") or 0,
        variables=read.used,
        why_no_address="" if address and port else "whoever set RANK and LOCAL_RANK did not say where the ranks meet",
    )


def _local_world(read: Reading, world: int, address: str) -> int:
    """The ranks of this machine where LOCAL_WORLD_SIZE is missing: what DeepSpeed says, or all when they must be here.

    Memory and CPUs are divided by this number, so nothing is taken for likely.

    Raises:
        Inconsistent: nobody tells.
    """
    told = read.count("LOCAL_SIZE")
    if told is not None:
        return told
    if world == 1 or is_here(address):
        return world
    raise Inconsistent(
        "RANK and LOCAL_RANK are set, but LOCAL_WORLD_SIZE is not, and nothing else tells how many ranks are here",
        ("LOCAL_WORLD_SIZE",),
    )
