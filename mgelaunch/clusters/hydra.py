"""Ranks that hydra has started: mpiexec of MPICH and what descends from it."""

from collections.abc import Mapping

from mgelaunch.clusters.placement import Task
from mgelaunch.clusters.reading import Reading, part_of

_ENGINE = "hydra"


def placement(environ: Mapping[str, str]) -> Task | None:
    """The rank that hydra's variables describe, None without them (a Slurm step with PMI has only PMI_RANK).

    No variable is alike on all ranks of one job and different in the next, so no port follows from them.

    Raises:
        Inconsistent: the variables cannot all be true.
    """
    read = Reading(environ)
    if not read.has("PMI_RANK", "MPI_LOCALRANKID"):
        return None
    rank, world = read.place("PMI_RANK", "PMI_SIZE")
    local_rank, local_world = read.place("MPI_LOCALRANKID", "MPI_LOCALNRANKS")
    part_of("MPI_LOCALNRANKS", local_world, "PMI_SIZE", world)
    here = local_world == world
    return Task(
        engine=_ENGINE,
        rank=rank,
        world_size=world,
        local_rank=local_rank,
        local_world_size=local_world,
        node_rank=None,
        master_addr="127.0.0.1" if here else "",
        variables=read.used,
        why_no_address="hydra gives the ranks nothing from which all could take the same port"
        if here
        else "hydra tells neither on which host rank 0 is nor anything from which all could take the same port",
    )
