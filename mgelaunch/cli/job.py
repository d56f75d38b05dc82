"""A job as it was asked for: its layers, and the ranks that are planned here."""

from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.cli.standing import as_node, as_task
from mgelaunch.environment.layers import Layers
from mgelaunch.environment.settle import World
from mgelaunch.finding import Finding
from mgelaunch.host.totals import Share

if TYPE_CHECKING:  # only where an engine has left its variables
    from mgelaunch.clusters.placement import Found, Node, Task


class Job(NamedTuple):
    """What was asked for: ``worlds`` has one entry for each rank that is planned here. ``planned`` is the number
    that ``-n`` or a profile asks for, 0 when mgelaunch becomes the one process. ``found`` is what the environment says
    of an engine, or options of several machines; None when nothing is said.
    """

    layers: Layers
    worlds: tuple[World, ...]
    planned: int
    share: Share
    findings: tuple[Finding, ...] = ()
    found: "Found | None" = None

    @property
    def task(self) -> "Task | None":
        """The rank that an engine has started as this very process."""
        return as_task(self.found.placement) if self.found else None

    @property
    def node(self) -> "Node | None":
        """The machine of several on which this process is to start ranks."""
        return as_node(self.found.placement) if self.found else None

    @property
    def first(self) -> int:
        """The number, in the whole job, of the first rank that is planned here."""
        return int(self.worlds[0].placeholders["rank"]) if self.found else 0

    @property
    def world(self) -> int:
        """How many ranks the whole job has."""
        return int(self.worlds[0].placeholders["world_size"]) if self.found else len(self.worlds)

    @property
    def hosts(self) -> bool:
        """Whether the first rank of the whole job is on this machine, and so a server that it asks for."""
        return self.task.rank == 0 if self.task else self.node is None or self.node.node_rank == 0
