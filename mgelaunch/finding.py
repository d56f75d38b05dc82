"""What mgelaunch has to say about a setting, a file or a target: one frozen noun for every layer."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


class Finding(NamedTuple):
    """One thing to tell the user.

    ``code`` is a stable dotted slug (``value.unit``); ``message`` is one sentence without a final
    stop that never repeats a value that could not be read; ``place`` is ``file:line:column`` or a
    flag, empty when there is none; ``names`` are the variables concerned; ``remedy`` can be pasted as
    an option of the same command (or as a line of the file, or a shell command). ``about`` is ``host`` for
    what is merely true of the host, which a start keeps to itself and ``check`` shows as a warning.
    """

    severity: Severity
    code: str
    message: str
    names: tuple[str, ...] = ()
    remedy: str = ""
    place: str = ""
    about: Literal["job", "host"] = "job"

    def as_error(self) -> "Finding":
        """The same finding under ``--strict``."""
        return self._replace(severity="error") if self.severity == "warning" else self


_OR = "  or  "


def either(remedies: Iterable[str]) -> str:
    """Several remedies as one text, without the empty ones."""
    return _OR.join(dict.fromkeys(filter(None, remedies)))


def alternatives(remedy: str) -> list[str]:
    """The remedies that `either` joined."""
    return remedy.split(_OR)
