"""What can happen to the ranks of a job and what can be done about it: the nouns of lifecycle.py."""

from typing import Literal, NamedTuple


class Exit(NamedTuple):
    """How a process ended: by itself with ``code``, or killed by ``signal`` (0: it was not)."""

    code: int
    signal: int = 0

    @property
    def status(self) -> int:
        """The exit code as a shell tells it."""
        return 128 + self.signal if self.signal else self.code


class Rules(NamedTuple):
    """What the user decides; seconds, None is no limit. A failure within ``early`` seconds of the first start is no
    accident that a restart would mend.
    """

    grace: float = 10.0
    time_limit: float | None = None
    join_timeout: float | None = None
    max_restarts: int = 0
    early: float = 3.0


class Cause(NamedTuple):
    """Why the ranks are stopped: the rank that failed first, a signal to the launcher, the time limit, ranks that did
    not join the rendezvous, the rendezvous server that ended, or the output that nobody can get any more.
    """

    kind: Literal["rank", "signal", "time", "join", "keeper", "output"]
    at: float
    rank: int = -1
    exit: Exit = Exit(0)
    ranks: tuple[int, ...] = ()


class State(NamedTuple):
    """All that the decisions depend on. ``exits`` are in the order in which the ranks ended; ``joined`` are the ranks
    that the rendezvous server has seen. ``kill_at`` is set while ranks, or what they left behind, are being stopped;
    ``kills`` counts the rounds of KILL; ``final`` when nothing is to be started again: the user has told it to end too,
    or it never could be started.
    """

    rules: Rules
    world: int
    began: float
    running: frozenset[int]
    attempt: int = 0
    attempt_began: float = 0.0
    exits: tuple[tuple[int, Exit], ...] = ()
    joined: frozenset[int] = frozenset()
    cause: Cause | None = None
    kill_at: float | None = None
    notice_at: float | None = None
    killed: frozenset[int] = frozenset()
    interrupted_at: float = float("-inf")
    final: bool = False
    kills: int = 0

    @property
    def stopping(self) -> bool:
        """Whether what still runs has been told to end."""
        return self.kill_at is not None


class Ended(NamedTuple):
    """Event: the main process of a rank has ended; ``refused``: the kernel did not let it become its program."""

    rank: int
    exit: Exit
    refused: bool = False


class Told(NamedTuple):
    """Event: the launcher got a signal."""

    signal: int


class Joined(NamedTuple):
    """Event: a rank has joined the rendezvous."""

    rank: int


class Broken(NamedTuple):
    """Event: the rendezvous server has ended, or the output is lost."""

    kind: Literal["keeper", "output"]
    exit: Exit = Exit(1)


class Resumed(NamedTuple):
    """Event: the launcher goes on after it was suspended for ``slept`` seconds together with its ranks."""

    slept: float


class Clock(NamedTuple):
    """Event: time has passed."""


class Alone(NamedTuple):
    """Event: no process below the launcher is left."""


Event = Ended | Told | Joined | Broken | Resumed | Clock | Alone


class Tell(NamedTuple):
    """Action: send a signal to the main processes of these ranks."""

    ranks: tuple[int, ...]
    signal: int


class Sweep(NamedTuple):
    """Action: TERM to what a rank that has ended left in its process group; without a rank, to every process left."""

    rank: int | None = None


class Kill(NamedTuple):
    """Action: KILL to every process below the launcher."""


class Dismiss(NamedTuple):
    """Action: the rendezvous server is not needed any more."""


class Notice(NamedTuple):
    """Action: say which ranks are waited for, and for how many seconds; less than none: they are given up."""

    ranks: tuple[int, ...]
    left: float


class Suspend(NamedTuple):
    """Action: stop the ranks, then the launcher, until somebody continues it."""


class Restart(NamedTuple):
    """Action: start all ranks again."""


class Finish(NamedTuple):
    """Action: the job is over."""

    code: int


Action = Tell | Sweep | Kill | Dismiss | Notice | Suspend | Restart | Finish
