"""Platforms that start one process on each machine and leave the ranks to it, such as pods of Kubernetes."""

from collections.abc import Mapping

from mgelaunch.clusters.placement import Inconsistent, Node
from mgelaunch.clusters.reading import Reading, is_here, number, within

_PET = "torchrun's PET_ variables"
_KUBERNETES = "Kubernetes"
_PLATFORM = "RANK and WORLD_SIZE of the platform"


def placement(environ: Mapping[str, str]) -> Node | None:
    """The machine that the variables number, None without them.

    Raises:
        Inconsistent: the variables cannot all be true.
    """
    read = Reading(environ)
    if read.has("PET_NODE_RANK") and (size_name := _size_name(read)):
        return _node(read, _PET, "PET_NODE_RANK", size_name)
    if read.has("JOB_COMPLETION_INDEX") and (read.has("NNODES") or read.has("MASTER_ADDR")):
        return _of_kubernetes(read)
    if read.has("RANK", "WORLD_SIZE", "MASTER_ADDR") and not read.has("LOCAL_RANK"):
        return _of_platform(read)
    return None


def _size_name(read: Reading) -> str:
    """The variable with the number of machines: PET_NNODES, but not where it is a range; empty when there is none.

    Raises:
        Inconsistent: WORLD_SIZE may be that number, or that of all ranks, as Kubeflow's versions differ.
    """
    low, colon, high = read.text("PET_NNODES").partition(":")
    if low and (not colon or low == high):
        return "PET_NNODES"
    if not read.has("WORLD_SIZE"):
        return ""
    ranks = read.text("PET_NPROC_PER_NODE")
    if colon and ranks.isdecimal() and ranks != "1":
        message = "PET_NNODES is a range, and WORLD_SIZE may count nodes or ranks"
        raise Inconsistent(message, ("PET_NNODES", "WORLD_SIZE"))
    return "WORLD_SIZE"


def _of_kubernetes(read: Reading) -> Node | None:
    """A pod of an indexed Job; None for one of many jobs that have nothing to do with each other.

    Raises:
        Inconsistent: the manifest passes only a part of what the ranks need to find each other.
    """
    lacking = next((name for name in ("NNODES", "MASTER_ADDR") if not read.has(name)), "")
    if lacking:
        message = f"JOB_COMPLETION_INDEX is set and {lacking} is not, so this pod would be a job of its own"
        raise Inconsistent(message, ("JOB_COMPLETION_INDEX", lacking))
    return None if read.count("NNODES") == 1 else _node(read, _KUBERNETES, "JOB_COMPLETION_INDEX", "NNODES")


def _of_platform(read: Reading) -> Node:
    """RANK without LOCAL_RANK is that of a machine, and WORLD_SIZE counts machines.

    Raises:
        Inconsistent: the ranks are processes of one machine, so that nobody tells their local rank.
    """
    node = _node(read, _PLATFORM, "RANK", "WORLD_SIZE")
    if node.node_rank > 0 and is_here(node.master_addr):  # some platforms say localhost to the first
        message = f"RANK is {node.node_rank} and MASTER_ADDR is this machine, but LOCAL_RANK is not set"
        raise Inconsistent(message, ("RANK", "MASTER_ADDR", "LOCAL_RANK"))
    return node


def _node(read: Reading, engine: str, rank_name: str, size_name: str) -> Node:
    rank = read.needed(rank_name)
    nodes = _size(read, size_name)
    within(rank_name, rank, size_name, nodes)
    ranks = read.text("PET_NPROC_PER_NODE", "NPROC_PER_NODE")
    return Node(
        engine=engine,
        node_rank=rank,
        nodes=nodes,
        nproc=ranks if (ranks.isascii() and ranks.isdecimal()) or ranks in {"auto", "gpu", "cpu"} else "",
        master_addr=read.text("PET_MASTER_ADDR", "MASTER_ADDR"),
        master_port=read.port("PET_MASTER_PORT", "MASTER_PORT"),
        variables=read.used,
    )


def _size(read: Reading, name: str) -> int:
    """The number of machines in `name`; ``2:2`` is 2."""
    low, _, high = read.text(name).partition(":")
    return number(name, low) if low == high else read.needed(name)
