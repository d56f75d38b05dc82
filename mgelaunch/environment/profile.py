"""Reads one profile file: what it sets, what it asks for, and every problem in it with its place."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from mgelaunch.catalogue.names import is_portable
from mgelaunch.environment.profile_sections import (
    Base,
    Entry,
    LaunchKey,
    Requirement,
    Sheet,
    Table,
    misused_unset,
    near,
    read_environment,
    read_extends,
    read_launch,
    read_requires,
)
from mgelaunch.environment.profile_values import specifies
from mgelaunch.environment.text import read_text
from mgelaunch.environment.toml_positions import NotTomlError, parse, positions
from mgelaunch.finding import Finding

__all__ = ["Base", "Entry", "LaunchKey", "ProfileFile", "Requirement", "read_profile"]


class ProfileFile(NamedTuple):
    """A profile file as far as it could be read; with an error among ``findings`` nothing may be started.

    ``name`` is how it was found; ``path`` is what findings call it; ``folder`` is what its relative paths
    are relative to.
    """

    name: str
    path: str
    folder: str
    description: str = ""
    extends: tuple[Base, ...] = ()
    env: tuple[Entry, ...] = ()
    rank_env: tuple[Entry, ...] = ()
    launch: tuple[LaunchKey, ...] = ()
    requires: tuple[Requirement, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_profile(data: bytes, *, name: str, path: str, folder: str, version: str) -> ProfileFile:
    """The profile in `data`, read by mgelaunch of `version`. It raises nothing: problems become findings.

    When ``requires.mgelaunch`` leaves out `version`, that is the only finding: a profile for another
    version may have keys that this one does not know.
    """
    text, findings = read_text(data, path)
    try:
        document = parse(text)
        sheet = Sheet(name, path, positions(text))
    except NotTomlError as error:
        return ProfileFile(name, path, folder, findings=(*findings, _syntax(error, path)))
    if outdated := _outdated(document, sheet, version):
        return ProfileFile(name, path, folder, findings=(outdated,))
    description, unknown = list(_description(document, sheet)), list(_unknown_keys(document, sheet))
    extends, launch = list(read_extends(document, sheet)), list(read_launch(document, sheet, folder))
    env, rank_env = (list(read_environment(document, key, sheet)) for key in (("env",), ("rank", "env")))
    requires = list(read_requires(document, sheet))
    problems = _only(Finding, (*unknown, *description, *extends, *env, *rank_env, *launch, *requires))
    return ProfileFile(
        name,
        path,
        folder,
        "".join(_only(str, description)),
        _only(Base, extends),
        _only(Entry, env),
        _only(Entry, rank_env),
        _only(LaunchKey, launch),
        _only(Requirement, requires),
        (*findings, *sorted(problems, key=_line_and_column)),
    )


_Kind = TypeVar("_Kind")


def _only(kind: type[_Kind], items: Iterable[object]) -> tuple[_Kind, ...]:
    return tuple(item for item in items if isinstance(item, kind))


def _line_and_column(finding: Finding) -> list[int]:
    return [int(number) for number in finding.place.rsplit(":", 2)[1:]]


def _syntax(error: NotTomlError, path: str) -> Finding:
    at = error.position
    return Finding("error", "profile.syntax", error.message, place=f"{path}:{at.line}:{at.column}" if at else path)


def _outdated(document: Table, sheet: Sheet, version: str) -> Finding | None:
    requires = document.get("requires")
    wanted = requires.get("mgelaunch") if isinstance(requires, dict) else None
    holds = specifies(wanted) if isinstance(wanted, str) else None
    if holds is None or holds(version):
        return None
    message = f"this is mgelaunch {version}, and the profile asks for another version"
    return sheet.error(("requires", "mgelaunch"), "profile.version", message)


def _description(document: Table, sheet: Sheet) -> Iterator[str | Finding]:
    value = document.get("description", "")
    if isinstance(value, str):
        yield value
    else:
        yield sheet.error(("description",), "profile.type", "description is a text in quotes")


_KEYS = {
    "description": ("desc", "title", "summary", "help"),
    "extends": ("extend", "base", "bases", "inherit", "inherits", "parent", "parents", "include"),
    "env": ("environment", "environ", "envs", "vars", "variables"),
    "rank": ("ranks", "per-rank"),
    "launch": ("run", "options", "args", "launcher"),
    "requires": ("require", "required", "requirements", "resources"),
}
"""All keys of a profile, and what other tools call them."""
_WRITTEN = {"env": "[env]", "rank": "[rank.env]", "launch": "[launch]", "requires": "[requires]"}


def _unknown_keys(document: Table, sheet: Sheet) -> Iterator[Finding]:
    for key in document:
        if key == "unset":
            yield misused_unset((key,), sheet)
        elif key not in _KEYS and is_portable(key) and key.isupper():
            yield sheet.error((key,), "profile.key", f"{key} must stand below the line [env]", "[env]")
        elif key not in _KEYS:
            alias = next((ours for ours, theirs in _KEYS.items() if key.lower() in theirs), "")
            meant = alias or near(key, _KEYS)
            yield sheet.unknown((key,), _WRITTEN.get(meant, meant))
    rank = document.get("rank", {})
    if not isinstance(rank, dict):
        yield sheet.error(("rank",), "profile.type", "rank holds [rank.env] and nothing else", "[rank.env]")
        return
    for key in rank:
        if key != "env":
            yield sheet.unknown(("rank", key), "[rank.env]")
