"""The sections of a profile: each is read on its own and gives its parts and its problems as it meets them."""

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Rejected
from mgelaunch.catalogue.names import is_portable
from mgelaunch.environment.placeholders import misplaced
from mgelaunch.environment.profile_values import (
    LAUNCH,
    REQUIRES,
    LaunchValue,
    Place,
    Saying,
    read_need,
    read_saying,
)
from mgelaunch.environment.toml_positions import KeyPath, Position
from mgelaunch.finding import Finding

Table = Mapping[str, object]


class Base(NamedTuple):
    """A profile that a file extends: a name or path as written, and where (see `Entry`)."""

    name: str
    place: str
    where: str


class Entry(NamedTuple):
    """What a file says of one variable.

    ``text`` is not yet interpolated; it is None with ``unset``, and None with ``required``, the message
    for a user who has not set the variable. A ``soft`` text gives way to lower layers. ``place`` is
    ``path:line:column`` of the key, ``where`` is ``name:line``.
    """

    name: str
    text: str | None
    unset: bool
    soft: bool
    required: str
    secret: bool
    place: str
    where: str


class LaunchKey(NamedTuple):
    """A key of ``[launch]``. Durations are in seconds; paths are absolute, or begin with ``~``."""

    key: str
    value: LaunchValue
    place: str
    where: str

    @property
    def items(self) -> tuple[str, ...]:
        """The items of a list; nothing for any other value."""
        return self.value if isinstance(self.value, tuple) else ()


class Requirement(NamedTuple):
    """What ``[requires]`` asks of the target or the host: a specifier, one of the packages, or bytes."""

    key: str
    value: str | int
    place: str
    where: str


class Sheet(NamedTuple):
    """The file as findings know it."""

    name: str
    path: str
    positions: Mapping[KeyPath, Position]

    def spot(self, key: KeyPath) -> tuple[str, str]:
        """The place and the short form of it (see `Entry`) of what stands at `key`."""
        at = self.positions[key]
        return f"{self.path}:{at.line}:{at.column}", f"{self.name}:{at.line}"

    def error(self, key: KeyPath, code: str, message: str, remedy: str = "") -> Finding:
        """An error at `key`; below ``[env]`` and ``[rank.env]`` it is about the variable of that name."""
        name = str(key[-1])
        names = (name,) if key[:-1] in {("env",), ("rank", "env")} and is_portable(name) else ()
        return Finding("error", code, message, names, remedy, self.spot(key)[0])

    def rejected(self, key: KeyPath, why: Rejected) -> Finding:
        """The error that a value gives."""
        name = str(key[-1])
        return self.error(key, why.code, f"{name} {why.reason}", why.suggestion and f"{name} = {why.suggestion}")

    def unknown(self, key: KeyPath, meant: str) -> Finding:
        """The error that a key gives which no profile has; `meant` is a likely one, or empty."""
        name = str(key[-1])
        shown = name if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name) else "of this name"
        inside = f" in [{key[0]}]" if len(key) > 1 else ""
        guess = f"; did you mean {meant}?" if meant else ""
        return self.error(key, "profile.key", f"there is no key {shown}{inside} in a profile{guess}", meant)


def near(key: str, known: Iterable[str]) -> str:
    """The one of `known` that `key` looks like; empty when there is none."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a wrong key pays

    return next(iter(get_close_matches(key.lower().replace("_", "-"), known, 1)), "")


def _table(document: Table, key: KeyPath, sheet: Sheet) -> Table | Finding:
    """The table at `key`, empty when it is missing."""
    value: object = document
    for part in key:
        value = value.get(part, {}) if isinstance(value, dict) else {}
    if isinstance(value, dict):
        return value
    header = f"[{'.'.join(map(str, key))}]"
    return sheet.error(key, "profile.type", f"{header} is a table", header)


def read_extends(document: Table, sheet: Sheet) -> Iterator[Base | Finding]:
    """The profiles that the file builds on."""
    value = document.get("extends", [])
    if not isinstance(value, list):
        yield sheet.error(("extends",), "profile.type", "extends is a list of profiles", 'extends = ["dtr"]')
        return
    for index, item in enumerate(value):
        key = ("extends", index)
        if isinstance(item, str) and item.strip():
            yield Base(item, *sheet.spot(key))
        else:
            yield sheet.error(key, "profile.type", "extends holds names or paths in quotes", 'extends = ["dtr"]')


def read_environment(document: Table, section: KeyPath, sheet: Sheet) -> Iterator[Entry | Finding]:
    """The variables of ``[env]`` or ``[rank.env]``."""
    said = _table(document, section, sheet)
    if isinstance(said, Finding):
        yield said
        return
    for name, value in said.items():
        key = (*section, name)
        if name == "unset":
            yield misused_unset(key, sheet)
        elif is_portable(name):
            yield _entry(name, value, key, sheet)
        else:
            message = "a variable's name has letters, digits and _ only, and does not begin with a digit"
            yield sheet.error(key, "profile.name", message)


def misused_unset(key: KeyPath, sheet: Sheet) -> Finding:
    """The error for a list of names to unset, which other tools have."""
    message = "unset is no key of its own: a variable is removed by a line of its own below [env]"
    return sheet.error(key, "profile.key", message, "NAME = { unset = true }")


def _entry(name: str, value: object, key: KeyPath, sheet: Sheet) -> Entry | Finding:
    saying = read_saying(value, known=name in CATALOGUE)
    if isinstance(saying, Saying) and key[0] == "rank":
        saying = misplaced(saying.text or "") or saying
    if isinstance(saying, Rejected):
        return sheet.rejected(key, saying)
    place, where = sheet.spot(key)
    return Entry(name, saying.text, saying.unset, saying.soft, saying.required, saying.secret, place, where)


def read_launch(document: Table, sheet: Sheet, folder: str) -> Iterator[LaunchKey | Finding]:
    """The options of ``[launch]``; a relative path is relative to `folder`."""
    said = _table(document, ("launch",), sheet)
    if isinstance(said, Finding):
        yield said
        return
    for name, value in said.items():
        key = ("launch", name)
        if name not in LAUNCH:
            yield sheet.unknown(key, near(name, LAUNCH))
            continue
        shape = LAUNCH[name]
        read = shape.read(value)
        if read is None:
            yield sheet.rejected(key, Rejected("profile.value", shape.phrase, shape.example))
        else:
            yield LaunchKey(name, _placed(read, shape.place, folder), *sheet.spot(key))


def _placed(value: LaunchValue, place: Place, folder: str) -> LaunchValue:
    """`value` made absolute if it is a path; whose home ``~`` is, only the command line knows."""
    if not place or not isinstance(value, str) or value.startswith("~") or (place == "program" and "/" not in value):
        return value
    return os.path.normpath(os.path.join(folder, value))


def read_requires(document: Table, sheet: Sheet) -> Iterator[Requirement | Finding]:
    """The demands of ``[requires]``; each package is one of its own."""
    said = _table(document, ("requires",), sheet)
    if isinstance(said, Finding):
        yield said
        return
    for name, value in said.items():
        key: KeyPath = ("requires", name)
        if name not in REQUIRES:
            yield sheet.unknown(key, near(name, REQUIRES))
            continue
        needs = read_need(name, value)
        if isinstance(needs, Rejected):
            yield sheet.rejected(key, needs)
            continue
        for index, need in enumerate(needs):
            yield Requirement(name, need, *sheet.spot((*key, index) if name == "packages" else key))
