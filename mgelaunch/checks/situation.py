"""What every check is given, and the one form that a check has."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.environment.resolve import Resolution
from mgelaunch.finding import Finding
from mgelaunch.host.facts import HostFacts
from mgelaunch.host.placement import Placement

if TYPE_CHECKING:  # profiles are read by few starts
    from mgelaunch.environment.profile import Requirement


class Situation(NamedTuple):
    """A job held against a host.

    ``ranks`` are the resolutions of the local ranks that are planned here (one without ``-n``), ``local_ranks`` is
    how many local ranks share the host (more than ``ranks`` under another launcher), ``placements`` says on
    which device each of ``ranks`` computes. ``installed`` gives the versions of distributions in the target
    (by canonical name; nothing for what is not there), ``python`` the target's version, empty when unknown.
    ``bound``: the CPUs of the facts are this rank's alone. ``thorough``: also say what no setting asks for.
    """

    ranks: tuple[Resolution, ...]
    local_ranks: int
    facts: HostFacts
    placements: tuple[Placement, ...]
    installed: Callable[[frozenset[str]], dict[str, str]]
    python: str = ""
    fixes: frozenset[str] = frozenset()
    bound: bool = False
    thorough: bool = False

    @property
    def resolution(self) -> Resolution:
        """The resolution of the first rank, which stands for all where they do not differ."""
        return self.ranks[0]

    @property
    def requires(self) -> "Sequence[Requirement]":
        """What the profiles require."""
        return self.resolution.layers.requires

    @property
    def cpu_ranks(self) -> int:
        """How many ranks share the CPUs of the facts."""
        return 1 if self.bound else self.local_ranks

    def get(self, name: str) -> str | None:
        """The text that the first rank gets for `name`; None when it gets none, or a wrong one."""
        return self.resolution.get(name)

    def place(self, name: str) -> str:
        """Where the value of `name` was said: ``file:line:column``, or the layer; empty when nowhere."""
        setting = self.resolution.settings.get(name)
        return (setting.winner.place or setting.winner.where) if setting else ""


Check = Callable[[Situation], Iterator[Finding]]
"""A pure function. It raises nothing, and is silent where a fact that it needs is unknown."""
