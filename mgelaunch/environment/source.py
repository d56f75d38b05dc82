"""Where settings come from: the layers, their order, and one assignment with its provenance."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from mgelaunch.finding import Finding


class Source(IntEnum):
    """The layers, low to high: the only statement of precedence."""

    FRAMEWORK = 0
    """The framework's own default: shown, never exported."""
    DERIVED = 1
    """Chosen by mgelaunch when nobody says otherwise."""
    SOFT = 2
    """A profile's ``{ default = ... }``: gives way to every layer that a user wrote."""
    DOTENV = 3
    """The project's ``.env``, found without being named."""
    SHELL = 4
    """The inherited environment."""
    ENV_FILE = 5
    """``--env-file``, left to right."""
    PROFILE = 6
    """``--profile``, bases first."""
    KEPT = 7
    """A variable of the shell that ``--keep-shell`` names."""
    FLAG = 8
    """What other flags imply (``--device``, ``--gpu-ids``, ``--threads``)."""
    SET = 9
    """``--set`` and ``--unset``: the last word."""
    OWNED = 10
    """The rank variables of ranks that mgelaunch starts."""

    @property
    def label(self) -> str:
        """The word shown to users and written to JSON."""
        return _LABELS.get(self, self.name.lower())


_LABELS = {
    Source.FRAMEWORK: "default",
    Source.SOFT: "profile",
    Source.KEPT: "shell",
    Source.ENV_FILE: "env-file",
    Source.OWNED: "mgelaunch",
}


INHERITED = frozenset({Source.SHELL, Source.KEPT})
"""The layers of the inherited environment."""


class Assignment(NamedTuple):
    """One layer's word on one variable.

    ``text`` is what the layer says, interpolated but not yet typed; None unsets the variable.
    ``where`` is short, for tables (``.env:7``, ``dtr:11``, ``--set``, ``shell``); ``place`` is
    ``file:line:column``, for findings (empty when there is no file). ``folder`` is what a relative
    path is relative to (absolute; empty: the working directory). ``secret`` masks the value because
    it was marked secret or refers to a secret. ``template`` says that ``{local_rank}`` and its kin
    are still to be filled in. ``broken`` says why the text could not be worked out.
    """

    name: str
    text: str | None
    source: Source
    where: str
    place: str = ""
    folder: str = ""
    secret: bool = False
    template: bool = False
    broken: Finding | None = None


class Reference(NamedTuple):
    """What ``${NAME}`` stands for: a text (None when the variable is not set), and whether it is secret."""

    text: str | None
    secret: bool = False


Lookup = Callable[[str, Assignment | None], Reference]
"""Finds what ``${NAME}`` means from what is known so far. The second argument is the same file's own
earlier assignment of that name (None when there is none, and always None for a profile)."""
