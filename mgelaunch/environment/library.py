"""Finds profiles by name, and puts the files that one job uses into order: bases first, each file once."""

import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mgelaunch.environment.profile import ProfileFile, read_profile
from mgelaunch.environment.project import Places, Shelf
from mgelaunch.environment.relative import display
from mgelaunch.finding import Finding

_DEEPEST = 10
_SHIPPED = "shipped:"


class Found(NamedTuple):
    """A profile file: its name, its path (absolute), its shelf, and the files of that name that it hides."""

    name: str
    path: str
    shelf: Shelf
    hides: tuple["Found", ...] = ()


class Chain(NamedTuple):
    """The files that one job uses, bases first; ``found`` says of each where it was found.

    ``findings`` are about names and files that cannot be found or read; what is wrong inside a file is
    among its own findings.
    """

    files: tuple[ProfileFile, ...]
    found: tuple[Found, ...]
    findings: tuple[Finding, ...]


def find(name: str, places: Places) -> Found | Finding:
    """The profile that `name` stands for, or a finding (``profile.unknown``) that has no place yet.

    `name` is a path when it has a ``/`` or ends in ``.toml``, ``shipped:NAME`` is the shipped one, and
    any other name is the first file of that name on the shelves.
    """
    if "\0" in name or not name.strip():
        return Finding("error", "profile.unknown", "the name of a profile is empty or holds a NUL character")
    if _is_path(name):
        path = os.path.normpath(os.path.join(places.cwd, name))
        stem = os.path.basename(path).removesuffix(".toml")
        return Found(stem, path, "path") if _is_there(path) else _unknown_path(path)
    plain = name.removeprefix(_SHIPPED)
    shelves: Iterable[tuple[Shelf, str]] = places.shelves() if plain == name else [("shipped", places.shipped)]
    looked = []
    for shelf, folder in shelves:
        path = os.path.join(folder, f"{plain}.toml")
        if _is_there(path):
            return Found(plain, path, shelf)
        looked.append(folder)
    return _unknown_name(plain, looked, available(places))


def available(places: Places) -> tuple[Found, ...]:
    """All profiles that have a name, in the order in which they are looked up, each with what it hides."""
    by_name: dict[str, list[Found]] = {}
    for shelf, folder in places.shelves():
        for name in _names(folder):
            by_name.setdefault(name, []).append(Found(name, os.path.join(folder, f"{name}.toml"), shelf))
    return tuple(first._replace(hides=tuple(hidden)) for first, *hidden in by_name.values())


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(".toml")


def _is_there(path: str) -> bool:
    """Whether anything lies at `path`: what cannot be opened must not give way to a later place in silence."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _names(folder: str) -> list[str]:
    try:
        return sorted(entry.removesuffix(".toml") for entry in os.listdir(folder) if entry.endswith(".toml"))
    except OSError:
        return []


def _near(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only a wrong name pays

    close = get_close_matches(name, list(known), 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _unknown_path(path: str) -> Finding:
    folder, name = os.path.split(path)
    near = _near(name.removesuffix(".toml"), _names(folder))
    return Finding("error", "profile.unknown", f"there is no file {path}{near}", remedy="mgelaunch profiles list")


def _unknown_name(name: str, looked: Iterable[str], known: Iterable[Found]) -> Finding:
    called = name if re.fullmatch(r"[\w.+-]{1,60}", name) else "of this name"
    message = f"there is no profile {called} in {', '.join(looked)}{_near(name, (found.name for found in known))}"
    return Finding("error", "profile.unknown", message, remedy="mgelaunch profiles list")


def chain(names: Sequence[str], places: Places, version: str, *, origin: str = "--profile") -> Chain:
    """The files behind `names` as mgelaunch of `version` reads them: bases first, left to right, each file
    once at its first place, as if one file without a name extended them all. `origin` is the place of
    findings about the names themselves.
    """
    walk = _Walk(places, version)
    for name in names:
        walk.visit(name, origin, ())
    return Chain(tuple(walk.files.values()), tuple(walk.found.values()), tuple(walk.findings))


class _Step(NamedTuple):
    """A file on the way from a named profile downwards: its name, its real path, the place of its next base."""

    name: str
    identity: str
    place: str


class _Walk:
    """The one mutable thing of this module: what has been read so far. The keys are real paths."""

    def __init__(self, places: Places, version: str) -> None:
        self.places = places
        self.version = version
        self.files: dict[str, ProfileFile] = {}
        self.found: dict[str, Found] = {}
        self.findings: list[Finding] = []

    def visit(self, name: str, place: str, trail: tuple[_Step, ...]) -> None:
        """Adds the profile `name`, which `place` asks for, behind all its bases."""
        found = find(name, self.places)
        if isinstance(found, Finding):
            self.findings.append(found._replace(place=place))
            return
        identity = os.path.realpath(found.path)
        if wrong := self._loop(found, identity, trail) or _too_deep(trail):
            self.findings.append(wrong._replace(place=place))
        elif identity not in self.files:
            self._add(found, identity, place, trail)

    def _add(self, found: Found, identity: str, place: str, trail: tuple[_Step, ...]) -> None:
        try:
            with open(found.path, "rb") as opened:
                data = opened.read()
        except OSError as error:
            message = f"the profile {found.path} cannot be read: {error.strerror}"
            self.findings.append(Finding("error", "file.unreadable", message, place=place))
            return
        folder = os.path.dirname(found.path)
        path = display(found.path, self.places.cwd)
        file = read_profile(data, name=found.name, path=path, folder=folder, version=self.version)
        for base in file.extends:
            wanted = os.path.join(folder, base.name) if _is_path(base.name) else base.name
            self.visit(wanted, base.place, (*trail, _Step(found.name, identity, base.place)))
        self.files[identity], self.found[identity] = file, found

    def _loop(self, found: Found, identity: str, trail: tuple[_Step, ...]) -> Finding | None:
        """The error when the file is among those that led to it."""
        start = next((at for at, step in enumerate(trail) if step.identity == identity), None)
        if start is None:
            return None
        if len(trail) > start + 1:
            links = [f"{step.name} ({step.place.rpartition(':')[0]})" for step in trail[start:]]
            return Finding("error", "profile.cycle", f"profiles extend each other: {' -> '.join((*links, found.name))}")
        shipped = os.path.join(self.places.shipped, f"{found.name}.toml")
        hidden = os.path.exists(shipped) and os.path.realpath(shipped) != identity
        remedy = f'extends = ["{_SHIPPED}{found.name}"]' if hidden else ""
        return Finding("error", "profile.cycle", f"the profile {found.name} extends itself", remedy=remedy)


def _too_deep(trail: tuple[_Step, ...]) -> Finding | None:
    message = f"profiles extend each other more than {_DEEPEST} deep"
    return Finding("error", "profile.depth", message) if len(trail) >= _DEEPEST else None
