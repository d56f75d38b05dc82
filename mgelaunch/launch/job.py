"""A job of several ranks, and how it ended: the nouns between the command line, the loop and the report."""

import signal
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.launch.events import Cause, Exit, Rules, State
from mgelaunch.launch.plan import Plan
from mgelaunch.launch.pump import Last

if TYPE_CHECKING:  # json comes with them
    from mgelaunch.launch.records import Records


_MOST_RANKS = 8
_LEFT = "rank.left"


class Meeting(NamedTuple):
    """Where the ranks meet. ``chosen``: the port is ours to change. ``python`` hosts MegEngine's server there; empty:
    the port is left free for the script.
    """

    address: str
    port: int
    chosen: bool
    python: str = ""


class Job(NamedTuple):
    """A job of several ranks. ``again`` makes the plan anew for an attempt and a port. ``coloured`` are those of 1 and
    2 that take colours, None shows nothing of the ranks. ``records`` is None without a log directory.
    """

    plan: Plan
    again: Callable[[int, int], Plan]
    inherited: Mapping[str, str]
    rules: Rules
    meeting: Meeting | None
    coloured: frozenset[int] | None
    records: "Records | None" = None


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


def waiting(ranks: tuple[int, ...], left: float) -> str:
    """What a user is told who waits for ranks to end; `left` is in seconds."""
    who = ranks_shown(ranks) if ranks else "what the ranks left behind"
    if left < 0:
        return f"mgelaunch: error: {who} cannot be ended, by this user or on this kernel, and is given up [{_LEFT}]"
    return f"mgelaunch: waiting for {who} to end; killed in {left:.0f} s, or at once by Ctrl-C"


def prefixes(world: int) -> dict[int, bytes]:
    """What stands before the lines of each rank; nothing when there is but one."""
    if world == 1:
        return {0: b""}
    width = len(str(world - 1)) + 2
    return {rank: f"{f'[{rank}]':{width}} ".encode() for rank in range(world)}


def ranks_shown(ranks: Sequence[int]) -> str:
    """Ranks for a sentence: ``rank 1``, ``ranks 1, 2 and 5``, or the first of many."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) > _MOST_RANKS:
        return f"ranks {', '.join(map(str, ranks[:_MOST_RANKS]))} and {len(ranks) - _MOST_RANKS} more"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
