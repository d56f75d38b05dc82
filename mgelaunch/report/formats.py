"""The environment of a job in the words of others: sh, fish, dotenv, docker."""

import re
import shlex
from collections.abc import Callable, Mapping
from typing import NamedTuple

_EVERYWHERE = re.compile(r"[A-Za-z0-9_./:,@%+-]*")


class Unsayable(NamedTuple):
    """The format has no way to say this; `why` is a phrase that follows the variable's name. It is
    `harmless` when the line can be left out: who reads the file starts without the variable.
    """

    why: str
    harmless: bool = False


def sh(name: str, text: str | None) -> str:
    """A line for POSIX shells: ``export`` or ``unset``."""
    return f"unset {name}" if text is None else f"export {name}={shlex.quote(text)}"


def fish(name: str, text: str | None) -> str:
    """A line for fish: ``set -gx`` or ``set -e``, to be piped into ``source``."""
    if text is None:
        return f"set -e {name}"
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def dotenv(name: str, text: str | None) -> str | Unsayable:
    """A line that every reader of ``.env`` files takes alike, or `Unsayable`."""
    if text is None:
        return Unsayable("is left out: a .env file sets variables and removes none", harmless=True)
    if _EVERYWHERE.fullmatch(text):
        return f"{name}={text}"
    if re.search(r"'|\$\{|\\\\|\\$|[\r\n]", text) or not _is_utf8(text):
        return Unsayable("has a value that readers of .env files take differently")
    return f"{name}='{text}'"


def docker(name: str, text: str | None) -> str | Unsayable:
    """A line of ``docker run --env-file``, which keeps every character but line ends."""
    if text is None:
        return Unsayable("is left out: docker's --env-file sets variables and removes none", harmless=True)
    if re.search(r"[\r\n]", text) or not _is_utf8(text):
        return Unsayable("has a value that docker's --env-file cannot carry")
    return f"{name}={text}"


FORMATS: Mapping[str, Callable[[str, str | None], str | Unsayable]] = {
    "sh": sh,
    "fish": fish,
    "dotenv": dotenv,
    "docker": docker,
}
TRAVELLING = frozenset({"dotenv", "docker"})
"""Formats that are read on another machine, where values bound to this host would be wrong."""


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
