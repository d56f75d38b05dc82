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
    accident that a restart would mend. ``linger`` is how long the rendezvous server stays for ranks elsewhere when all
    ranks here have ended with 0; None: not at all.
    """

    grace: float = 10.0
    time_limit: float | None = None
    join_timeout: float | None = None
    max_restarts: int = 0
    early: float = 3.0
    linger: float | None = None


class Cause(NamedTuple):
    """Why the ranks are stopped: the rank that failed first, a signal to the launcher, the time limit, ranks that did
    not join the rendezvous (``ranks``, and ``unnamed`` more whose numbers are not known), the rendezvous server that
    ended, or the output that nobody can get any more.
    """

    kind: Literal["rank", "signal", "time", "join", "keeper", "output"]
    at: float
    rank: int = -1
    exit: Exit = Exit(0)
    ranks: tuple[int, ...] = ()
    unnamed: int = 0


class State(NamedTuple):
    """All that the decisions depend on. ``world`` counts the ranks of the whole job, of which ``here`` are ours; ranks
    are called by their number in it. ``exits`` are in the order in which the ranks ended; ``joined`` are the ranks
    that the rendezvous server has seen, ``unnamed`` and ``remote`` count those that it could not name: processes of
    this host, and of another one. ``attended`` while somebody is connected to it. ``linger_at`` is set while it stays
    for ranks elsewhere alone: until then. ``kill_at`` is set while ranks, or what they left behind, are being stopped;
    ``kills`` counts the rounds of KILL; ``final`` when nothing is to be started again: the user has told it to end too,
    or it never could be started.
    """

    rules: Rules
    world: int
    here: range
    began: float
    running: frozenset[int]
    attempt: int = 0
    attempt_began: float = 0.0
    exits: tuple[tuple[int, Exit], ...] = ()
    joined: frozenset[int] = frozenset()
    unnamed: int = 0
    remote: int = 0
    attended: bool = False
    linger_at: float | None = None
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

    @property
    def lingering(self) -> bool:
        """Whether all ranks here have ended with 0, and the rendezvous server stays for those elsewhere."""
        return self.linger_at is not None and not self.stopping

    @property
    def complete(self) -> bool:
        """Whether every rank of the job has joined the rendezvous."""
        return len(self.joined) + self.unnamed + self.remote >= self.world


class Ended(NamedTuple):
    """Event: the main process of a rank has ended; ``refused``: the kernel did not let it become its program."""

    rank: int
    exit: Exit
    refused: bool = False


class Told(NamedTuple):
    """Event: the launcher got a signal."""

    signal: int


class Joined(NamedTuple):
    """Event: a rank has joined the rendezvous; None: one whose number is not known, of this host or ``remote``."""

    rank: int | None
    remote: bool = False


class Attended(NamedTuple):
    """Event: somebody is connected to the rendezvous server. Not ``still``: nobody has been for a while, so that all
    who were there have gone for good.
    """

    still: bool


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


Event = Ended | Told | Joined | Attended | Broken | Resumed | Clock | Alone


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


class Forsake(NamedTuple):
    """Action: say that the rendezvous server stays no longer for the ranks elsewhere, which had so many seconds."""

    seconds: float


class Suspend(NamedTuple):
    """Action: stop the ranks, then the launcher, until somebody continues it."""


class Restart(NamedTuple):
    """Action: start all ranks again."""


class Finish(NamedTuple):
    """Action: the job is over."""

    code: int


Action = Tell | Sweep | Kill | Dismiss | Notice | Forsake | Suspend | Restart | Finish
