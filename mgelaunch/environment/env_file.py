"""``.env`` files, read strictly: python-dotenv's format, but what it drops or guesses in silence is a finding.

A misread number does not stop MegEngine, it becomes another number; so whatever two common tools would read
differently is said with its place, and every error of a file comes out in one run.
"""

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from mgelaunch.catalogue.names import is_portable, is_secret
from mgelaunch.environment.env_values import (
    Complaint,
    Value,
    end_of_line,
    expand_value,
    explain_unexpanded,
    read_value,
)
from mgelaunch.environment.interpolate import Expanded
from mgelaunch.environment.source import Assignment, Lookup, Source
from mgelaunch.environment.text import Positions, read_text
from mgelaunch.finding import Finding

_INDENT = re.compile(r"[ \t]*(?:export[ \t]+(?=[^ \t]))?")
_BLANKS = re.compile(r"[ \t]*")
_CONFLICT = re.compile(r"(?:<{7}|={7}|>{7}|\|{7})(?:[ \t]|$)")
_OTHER_COMMENT = r";|//|--(?!-)"
# Left uncompiled: only a line that is wrong needs them, and compiling takes longer than reading a file.
_NO_ASSIGNMENT = (
    (r"\[", "section headers belong in TOML profiles; here every line is NAME=value", ""),
    (_OTHER_COMMENT, "comments begin with #", "# ..."),
    (r"unset[ \t]", "a .env file cannot unset a variable; an option can", "--unset NAME"),
    (r"[A-Za-z_][A-Za-z0-9_]*[ \t]*:", "this looks like YAML; write NAME=value", "NAME=..."),
    (r"[A-Za-z_][A-Za-z0-9_]*[ \t]*(?:#|$)", "there is no = on this line", "NAME="),
    ("", "this is no assignment; write NAME=value", "NAME=..."),
)


class EnvFile(NamedTuple):
    """What a file sets, one assignment a name, and what there is to say about it. When any finding is an error,
    the assignments are those of the good lines: enough to show, not to be used.
    """

    assignments: tuple[Assignment, ...]
    findings: tuple[Finding, ...]


class _Statement(NamedTuple):
    """What is neither blank nor a comment. `start` is the offset of its first character behind indentation and
    ``export``, `end` that of the end of its last line; `value` is None when no valid name stands before ``=``.
    """

    start: int
    end: int
    name: str
    value: Value | None
    complaints: tuple[Complaint, ...] = ()


class _Origin(NamedTuple):
    """What all assignments of a file have in common."""

    positions: Positions
    label: str
    folder: str
    source: Source

    def assignment(self, name: str, value: Value, expanded: Expanded) -> Assignment:
        """Say what the line of `value` says, for the layers above."""
        where, place = f"{self.label}:{self.positions.line(value.start)}", self.positions.place(value.start)
        # A quote that is not closed swallows lines, and with them what other lines keep secret.
        lines = expanded.text.split("\n")[1:]
        secret = expanded.secret or any(is_secret(line.partition("=")[0].strip()) for line in lines if "=" in line)
        return Assignment(name, expanded.text, self.source, where, place, self.folder, secret)


def read_env_file(
    data: bytes,
    *,
    path: str,
    label: str,
    folder: str,
    source: Source,
    lookup: Lookup,
    is_path: Callable[[str], bool],
) -> EnvFile:
    """Read the assignments of a ``.env`` file and all findings, in the order of the file.

    `path` names the file in findings, `label` in tables (``.env``); `folder` is what its relative paths are
    relative to. `lookup` is asked for ``${NAME}`` together with this file's own earlier assignment of that name.
    `is_path` tells the variables whose leading ``~`` and ``$HOME`` the catalogue expands. Of a name that is set
    twice the last one counts, with a warning.
    """
    text, findings = read_text(data, path)
    if any(finding.severity == "error" for finding in findings):
        return EnvFile((), findings)
    positions = Positions.of(text, path)
    statements = tuple(_statements(text, is_path))
    assignments, complaints = _evaluated(statements, _Origin(positions, label, folder, source), lookup)
    complaints += [complaint for statement in statements for complaint in statement.complaints]
    complaints += _duplicates(statements, positions)
    complaints += _differences(text, statements)
    complaints.sort(key=lambda complaint: complaint.at)
    return EnvFile(assignments, findings + tuple(_finding(complaint, positions) for complaint in complaints))


def _finding(complaint: Complaint, positions: Positions) -> Finding:
    names = (complaint.name,) if complaint.name else ()
    place = positions.place(complaint.at)
    return Finding(complaint.severity, complaint.code, complaint.message, names, complaint.remedy, place)


def _statements(text: str, is_path: Callable[[str], bool]) -> Iterator[_Statement]:
    at = 0
    while at < len(text):
        end = end_of_line(text, at)
        words = text[at:end].lstrip(" \t")
        if words and not words.startswith("#"):
            statement = _statement(text, at, end, is_path)
            yield statement
            end = statement.end
        at = end + 1


def _statement(text: str, at: int, end: int, is_path: Callable[[str], bool]) -> _Statement:
    if _CONFLICT.match(text[at:end]):
        complaint = Complaint("error", "envfile.conflict", "a merge conflict is not resolved", at)
        return _Statement(at, end, "", None, (complaint,))
    start = at + len(_matched(_INDENT, text[at:end]))
    left, equals, _ = text[start:end].partition("=")
    name = left.rstrip(" \t")
    if not equals or not is_portable(name):
        complaint = _bad_name(name, start) if equals else _no_assignment(text[start:end], start)
        return _Statement(start, end, "", None, (complaint,))
    behind = start + len(left) + 1
    begin = behind + len(_matched(_BLANKS, text[behind:end]))
    value = read_value(text, begin, name, after_blanks=begin > behind, is_path=is_path(name))
    complaints = value.complaints
    if len(left) > len(name) or behind < begin < end:
        message = "blanks around = are skipped here, but refused by docker and the shell"
        blanks = Complaint("warning", "envfile.blanks", message, start + len(name), name, f"{name}=...")
        complaints = (blanks, *complaints)
    return _Statement(start, value.end, name, value, complaints)


def _matched(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.match(text)
    return match[0] if match else ""


def _no_assignment(words: str, at: int) -> Complaint:
    message, remedy = next((message, remedy) for shape, message, remedy in _NO_ASSIGNMENT if re.match(shape, words))
    return Complaint("error", "envfile.syntax", message, at, remedy=remedy)


def _bad_name(name: str, start: int) -> Complaint:
    error = partial(Complaint, "error", "envfile.name", remedy="NAME=...")
    if not name:
        return error("the name before = is missing", start)
    if "0" <= name[0] <= "9":
        return error("a variable name cannot begin with a digit", start)
    at, sign = next((at, sign) for at, sign in enumerate(name) if not is_portable(f"_{sign}"))
    if re.match(_OTHER_COMMENT, name):
        return error("comments begin with #", start, remedy="# ...")
    if sign in "'\"":
        return error("a variable name stands without quotes", start + at)
    if sign in " \t":
        command = "; leave out set" if name[:at] == "set" else ""
        return error(f"a variable name holds no blank{command}", start + at)
    shown = sign if sign.isascii() and sign.isprintable() else f"the character U+{ord(sign):04X}"
    return error(f"a variable name cannot hold {shown}", start + at)


def _evaluated(
    statements: tuple[_Statement, ...], origin: _Origin, lookup: Lookup
) -> tuple[tuple[Assignment, ...], list[Complaint]]:
    """Return the assignments with their references replaced, and a complaint of each value for which that fails."""
    kept: dict[str, Assignment] = {}
    unusable: set[str] = set()  # a reference to one of these would only repeat an error that is already told
    complaints = []
    lines = _lines(statements, origin.positions)
    for name, value in ((statement.name, statement.value) for statement in statements):
        if value is None:
            continue
        result = expand_value(value, lambda asked: lookup(asked, kept.get(asked)))
        if isinstance(result, Expanded):
            kept[name] = origin.assignment(name, value, result)
            unusable.discard(name)
            continue
        if result and result.name not in unusable:
            line = origin.positions.line(value.start)
            forward = next((later for later in lines.get(result.name, ()) if later >= line), 0)
            complaints.append(explain_unexpanded(result, name, value.start, forward))
        unusable.add(name)
    return tuple(kept.values()), complaints


def _lines(statements: tuple[_Statement, ...], positions: Positions) -> dict[str, list[int]]:
    """Return the lines, ascending, that set each name."""
    lines: dict[str, list[int]] = {}
    for statement in statements:
        lines.setdefault(statement.name, []).append(positions.line(statement.start))
    return lines


def _duplicates(statements: tuple[_Statement, ...], positions: Positions) -> Iterator[Complaint]:
    seen: dict[str, int] = {}
    for statement in statements:
        if not statement.name:
            continue
        line, earlier = positions.line(statement.start), seen.get(statement.name)
        if earlier:
            message = f"{statement.name} is set on line {earlier} and again on line {line}, which counts"
            yield Complaint("warning", "envfile.duplicate", message, statement.start, statement.name)
        seen[statement.name] = line


def _differences(text: str, statements: tuple[_Statement, ...]) -> Iterator[Complaint]:
    """Catch what python-dotenv reads differently although no rule has spoken."""
    from dotenv.parser import parse_stream  # noqa: PLC0415 (brings logging and tempfile: only when there is a file)

    bindings = tuple(parse_stream(io.StringIO(text)))
    # Offsets come from the summed lengths, because a binding's own line is that of the blank lines before it.
    # The parser drops one more byte order mark, so the sum may begin behind it.
    end = len(text) - sum(len(binding.original.string) for binding in bindings)
    first, last, theirs = 0, 0, []
    for binding in bindings:
        end += len(binding.original.string)
        if binding.key or binding.error:
            theirs.append((binding.key, binding.value))
        while last < len(statements) and statements[last].start < end:
            last += 1
        if first < last and statements[last - 1].end >= end and end < len(text):
            continue  # a value of ours runs on: the two have lost step, and meet again further down
        ours = statements[first:last]
        strict = [(statement.name, statement.value and statement.value.text) for statement in ours]
        if strict != theirs and not any(statement.complaints for statement in ours):
            at = ours[0].start if ours else end - len(binding.original.string)
            yield Complaint("warning", "envfile.differs", "python-dotenv reads this line differently", at)
        first, theirs = last, []
