"""Which rank, or which of several machines, this process is: frozen nouns that say from which variables."""

from typing import NamedTuple

from mgelaunch.finding import Finding


class Task(NamedTuple):
    """One rank that an engine has started.

    ``engine`` is its name in messages, ``variables`` are those that the rule used, in the order it looked.
    ``node_rank`` is None where the engine does not number the machines. ``master_addr`` is empty and
    ``master_port`` 0 where the variables do not tell them; ``why_no_address`` then says why, in one clause.
    With ``own_device`` the engine gave each task devices of its own, so local ranks do not share the visible ones.
    ``restart_count`` counts how often the engine has started the job again.
    """

    engine: str
    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int | None
    master_addr: str = ""
    master_port: int = 0
    variables: tuple[str, ...] = ()
    why_no_address: str = ""
    own_device: bool = False
    restart_count: int = 0


class Node(NamedTuple):
    """One of several machines; ``-n`` starts the ranks on it.

    ``nproc`` is how many the platform asks for (a number, ``auto``, ``gpu`` or ``cpu``), empty when it does not say.
    The address is empty and the port 0 where they are not told.
    """

    engine: str
    node_rank: int
    nodes: int
    nproc: str = ""
    master_addr: str = ""
    master_port: int = 0
    variables: tuple[str, ...] = ()


Placement = Task | Node


class Found(NamedTuple):
    """What the environment says of this process; ``placement`` is None when it stands alone or when nobody can tell.

    ``allocation`` is the number of the Slurm job in whose batch script or shell this process runs without being one
    of its tasks, empty elsewhere.
    """

    placement: Placement | None = None
    findings: tuple[Finding, ...] = ()
    allocation: str = ""


class Inconsistent(Exception):
    """Variables of an engine that cannot all be true: one sentence, and their names."""

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        super().__init__(message)
        self.message = message
        self.names = names
