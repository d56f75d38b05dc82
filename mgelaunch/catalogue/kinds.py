"""What a text can mean: the four answers that every kind of value gives, and the protocol they share."""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

Resource = Literal["", "device-memory", "shared-memory", "cpus"]


class Value(NamedTuple):
    """The canonical text that the reader understands rightly; None when the variable must be absent."""

    text: str | None


class Relative(NamedTuple):
    """A percentage (0 < percent <= 100) of the kind's resource, to be bound to a measured total; `render`
    turns an amount of the resource (bytes or CPUs) into the value.
    """

    percent: float
    render: Callable[[int], Value]


class Unplaced(NamedTuple):
    """Paths still to be made absolute: relative to the file that says them, ``~`` and ``$HOME`` unexpanded."""

    paths: tuple[str, ...]


class Rejected(NamedTuple):
    """Why the text cannot be meant: a stable code, a phrase that follows the variable's name and never
    repeats the text, and a value to paste instead (empty when none suggests itself).
    """

    code: str
    reason: str
    suggestion: str = ""


Reading = Value | Relative | Unplaced | Rejected


class Kind(Protocol):
    """A kind of value: how a user may write it, and what the framework must get."""

    @property
    def name(self) -> str:
        """The word shown to users (``switch``, ``bytes``, ...)."""

    @property
    def legal(self) -> tuple[str, str]:
        """The accepted spellings in one phrase, in English and in Chinese."""

    @property
    def off(self) -> str:
        """How "off" is said: a text, ``unset`` when the variable must be absent, empty when there is no off."""

    @property
    def resource(self) -> Resource:
        """What a percentage refers to; empty when percentages make no sense."""

    def read(self, text: str) -> Reading:
        """What `text`, stripped and not empty, means."""


class Total(NamedTuple):
    """What there is of a resource: an amount in bytes or CPUs, how to show it (``24.0 GiB``), and how many local
    ranks share it.
    """

    amount: int
    label: str
    sharers: int = 1


class Unmeasured(NamedTuple):
    """Why a total is not known, as a phrase that follows "cannot be measured here" (empty: nothing to add), and
    an option that helps.
    """

    reason: str = ""
    remedy: str = ""
