"""A job of several ranks, and how it ended: the nouns between the command line, the loop and the report."""

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.launch.events import Cause, Exit, Rules, State
from mgelaunch.launch.plan import Plan
from mgelaunch.launch.pump import Last

if TYPE_CHECKING:  # json comes with them
    from mgelaunch.launch.records import Records


_MOST_RANKS = 8


class Meeting(NamedTuple):
    """Where the ranks meet. ``chosen``: the port is ours to change. ``python`` hosts MegEngine's server there; empty:
    the port is left free for the script. ``everywhere``: the server is for ranks of other hosts too, and listens on
    every IPv4 address of this one.
    """

    address: str
    port: int
    chosen: bool
    python: str = ""
    everywhere: bool = False

    @property
    def listens(self) -> str:
        """The address that the server listens on."""
        return "0.0.0.0" if self.everywhere else self.address  # noqa: S104 - as MegEngine's own server does


class Job(NamedTuple):
    """A job of several ranks. ``again`` makes the plan anew for an attempt and a port. ``coloured`` are those of 1 and
    2 that take colours, None shows nothing of the ranks. ``records`` is None for a rank that an engine
    has started without us.

    The plan may have but some of the ranks of a larger job, with neighbouring numbers: ``first`` and those after it, of
    ``world`` (0: there are no others). ``shared``: whoever sends us a signal sends it to the ranks as well, as Slurm
    does; to hear it twice would make two checkpoints of one. ``parent`` is the process without which the ranks have to
    end, 0 when there is none.
    """

    plan: Plan
    again: Callable[[int, int], Plan]
    inherited: Mapping[str, str]
    rules: Rules
    meeting: Meeting | None
    coloured: frozenset[int] | None
    records: "Records | None" = None
    first: int = 0
    world: int = 0
    shared: bool = False
    parent: int = 0

    @property
    def logs(self) -> "Records | None":
        """The records when they have the logs, too: what a rank says is then kept, whoever reads it."""
        return self.records if self.records and self.records.logging else None

    @property
    def here(self) -> range:
        """The numbers of the ranks that are started here."""
        return range(self.first, self.first + len(self.plan.processes))

    @property
    def size(self) -> int:
        """How many ranks the whole job has."""
        return self.world or len(self.plan.processes)


class Outcome(NamedTuple):
    """How a job ended: all that there is to say about it. ``killed`` are the ranks that did not heed a TERM;
    ``memory`` is what the kernel says of kills for lack of memory, ``holder`` who has the port that a rank wanted.
    """

    code: int
    state: State
    elapsed: float
    last: Last = Last((), "")
    memory: str = ""
    holder: str = ""
    port: int = 0
    keeper: tuple[str, ...] = ()
    refused: OSError | None = None
    lost: OSError | None = None

    hidden: bool = False

    @property
    def cause(self) -> Cause | None:
        """Why the job was stopped; None when all ranks ended with 0."""
        return self.state.cause


def how(exit_: Exit) -> str:
    """How a process ended, for a sentence."""
    if not exit_.signal:
        return f"exited with {exit_.code}"
    name = signal.Signals(exit_.signal).name if exit_.signal in set(signal.Signals) else f"signal {exit_.signal}"
    return f"was killed by {name}"


def prefixes(ranks: Iterable[int], world: int) -> dict[int, bytes]:
    """What stands before the lines of each of `ranks`; nothing when the whole job has but one."""
    if world == 1:
        return dict.fromkeys(ranks, b"")
    width = len(str(world - 1)) + 2
    return {rank: f"{f'[{rank}]':{width}} ".encode() for rank in ranks}


def ranks_shown(ranks: Sequence[int]) -> str:
    """Ranks for a sentence: ``rank 1``, ``ranks 1, 2 and 5``, or the first of many."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) > _MOST_RANKS:
        return f"ranks {', '.join(map(str, ranks[:_MOST_RANKS]))} and {len(ranks) - _MOST_RANKS} more"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
