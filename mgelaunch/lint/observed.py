"""What the reading of a script has found, before anybody judges it."""

from typing import Literal, NamedTuple

from mgelaunch.lint.state import State

Action = Literal["set", "default", "remove"]
"""What is done to a variable: set to a text, set unless it is set already, removed."""


class Write(NamedTuple):
    """A line that changes the environment of its own process.

    ``place`` is ``file:line:column``. ``values`` are the constants that the variable may be given there; none when
    they are not known. ``state`` is what has happened up to here.
    """

    name: str
    action: Action
    values: tuple[object, ...]
    place: str
    state: State


class Replacement(NamedTuple):
    """A call or an assignment that overrules what the environment said of a variable.

    ``text`` is the call in the words of the script, ``value`` what the variable would have to be to say the same; None
    when it is not known.
    """

    name: str
    text: str
    value: str | None
    place: str


class Heir(NamedTuple):
    """A program that gets the environment as it is here: ``self`` when this process becomes it, ``python`` when it is a
    child that is a Python, ``child`` when it is another one.
    """

    kind: Literal["self", "python", "child"]


Event = Write | Replacement | Heir


class Reading(NamedTuple):
    """What was found in one entry script, in the order in which it would come; with ``reached`` False in a function
    that nobody was seen to call.
    """

    script: str
    reached: bool
    events: tuple[Event, ...]
