"""Ranks that Open MPI's mpirun has started (versions 4 and 5)."""

from collections.abc import Mapping

from mgelaunch.clusters.placement import Task
from mgelaunch.clusters.ports import agreed_port
from mgelaunch.clusters.reading import Reading, part_of

_ENGINE = "Open MPI"


def placement(environ: Mapping[str, str]) -> Task | None:
    """The rank that Open MPI's variables describe, None without them.

    Its OMPI_COMM_WORLD_NODE_RANK is not the number of a machine: it counts the ranks on one.

    Raises:
        Inconsistent: the variables cannot all be true.
    """
    read = Reading(environ)
    if not read.has("OMPI_COMM_WORLD_RANK"):
        return None
    rank, world = read.place("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
    local_rank, local_world = read.place("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")
    part_of("OMPI_COMM_WORLD_LOCAL_SIZE", local_world, "OMPI_COMM_WORLD_SIZE", world)
    job = read.text("PMIX_NAMESPACE")
    here = local_world == world
    why = "" if here else "Open MPI does not tell on which host rank 0 is"
    return Task(
        engine=_ENGINE,
        rank=rank,
        world_size=world,
        local_rank=local_rank,
        local_world_size=local_world,
        node_rank=None,
        master_addr="127.0.0.1" if here else "",
        master_port=agreed_port(job) if job else 0,
        variables=read.used,
        why_no_address=why if job else "Open MPI did not set PMIX_NAMESPACE, from which a port would follow",
    )
