"""All files together: entry scripts first, then what they have not reached, then the findings in order."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from mgelaunch.environment.project import Places
from mgelaunch.environment.resolve import Resolution
from mgelaunch.environment.settle import World
from mgelaunch.finding import Finding
from mgelaunch.lint.branching import has_main_block
from mgelaunch.lint.files import Found, collect
from mgelaunch.lint.library import Library
from mgelaunch.lint.locate import Finder, roots
from mgelaunch.lint.observed import Reading
from mgelaunch.lint.scripts import judged
from mgelaunch.lint.settings import env_file_findings, profile_findings
from mgelaunch.lint.source import Source, ignored
from mgelaunch.lint.walk import Walk

_FRAMES = 10_000
"""Blocks in `Walk.DEEPEST` functions and modules take fewer, and Python's own limit is for accidents."""


class Request(NamedTuple):
    """What is asked for. ``project_of`` gives the root of a folder's project (empty: it has none); ``shown`` is how
    findings name a path; ``profiles`` is what the named profiles come to.
    """

    paths: Sequence[str]
    places: Places
    world: World
    version: str
    shown: Callable[[str], str]
    project_of: Callable[[str], str]
    profiles: Resolution | None = None


class Outcome(NamedTuple):
    """The findings in the order of files and lines, and how many files were looked at."""

    findings: tuple[Finding, ...]
    files: int


def lint(request: Request) -> Outcome:
    """Looks at all files that the request names. It imports and starts nothing.

    Raises:
        UsageError: a path stands for nothing.
    """
    found, unlisted = collect(request.paths, request.places.cwd)
    library = Library(request.shown)
    scripts = [file for file in found if file.sort == "script"]
    former = sys.getrecursionlimit()
    sys.setrecursionlimit(max(former, _FRAMES))
    try:
        readings = list(_read(scripts, library, request))
    finally:
        sys.setrecursionlimit(former)
    findings = [*judged(readings, request.profiles), *library.unread]
    findings += [source.finding for source in library.sources.values() if source and source.finding]
    findings += [_unlisted(error, request) for error in unlisted]
    lines: dict[str, Sequence[str]] = {source.shown: source.lines for source in library.sources.values() if source}
    for file in found:
        if file.sort != "script":
            findings += _of_settings(file, request, lines)
    kept = _not_ignored(dict.fromkeys(findings), lines)
    return Outcome(tuple(sorted(kept, key=position)), len(found))


def _read(scripts: Sequence[Found], library: Library, request: Request) -> Iterator[Reading]:
    """Scripts that are run come first; a file that none of them reaches is read as one that somebody imports; then
    the functions that nobody calls.
    """
    folders = [path for path in _absolute(request) if os.path.isdir(path)]
    later = []
    for file in scripts:
        source = library.source(file.path)
        if source is not None and (file.named or has_main_block(source.tree)):
            yield _walk(source, library, request, folders, main=True).run()
        elif source is not None:
            later.append(source)
    for source in later:
        if source.path not in library.reached:
            yield _walk(source, library, request, folders, main=False).run()
    while untouched := library.untouched():
        for definition in untouched:
            yield definition.walk.sweep(definition.function, definition.state)


def _absolute(request: Request) -> list[str]:
    return [os.path.normpath(os.path.join(request.places.cwd, path)) for path in request.paths]


def _walk(source: Source, library: Library, request: Request, folders: Sequence[str], *, main: bool) -> Walk:
    tops = (request.project_of(os.path.dirname(source.path)), *folders, request.places.cwd)
    return Walk(library, source, Finder(roots(source.path, tops)), main=main)


def _of_settings(file: Found, request: Request, lines: dict[str, Sequence[str]]) -> Iterable[Finding]:
    shown = request.shown(file.path)
    try:
        with open(file.path, "rb") as opened:
            data = opened.read()
    except OSError as error:
        return [Finding("error", "file.unreadable", f"the file cannot be read: {error.strerror}", place=f"{shown}:1:1")]
    lines[shown] = re.split(r"\r\n|\r|\n", data.decode("utf-8", "replace"))
    if file.sort == "env":
        return env_file_findings(data, file.path, shown, request.world)
    return profile_findings(file.path, request.places, request.version, request.world)


def _unlisted(error: OSError, request: Request) -> Finding:
    message = f"the folder cannot be read: {error.strerror}"
    return Finding("error", "file.unreadable", message, place=request.shown(error.filename))


def _not_ignored(findings: Iterable[Finding], lines: dict[str, Sequence[str]]) -> Iterator[Finding]:
    """Leaves out what a comment on its line silences."""
    comments = {file: ignored(text) for file, text in lines.items()}
    for finding in findings:
        file, line, _ = position(finding)
        codes = comments.get(file, {}).get(line)
        if codes is None or (codes and finding.code not in codes):
            yield finding


def position(finding: Finding) -> tuple[str, int, int]:
    """The file, the line and the column of a finding; a place without them is at its beginning."""
    file, *numbers = finding.place.rsplit(":", 2)
    if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
        return file, int(numbers[0]), int(numbers[1])
    return finding.place, 1, 1
