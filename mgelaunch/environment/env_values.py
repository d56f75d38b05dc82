"""What stands right of ``=`` in a ``.env`` file: how it is quoted, what it says, and what other tools make of it.

The rules follow measurements of 13 parser runs (python-dotenv, Docker Compose, ``docker run``, Node, uv, mise,
direnv, bash and others): what two of them read differently is at least a warning. No message holds any part of a
value, because it may be a password.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mgelaunch.catalogue.names import is_secret
from mgelaunch.environment.interpolate import Expanded, Unexpanded, expand
from mgelaunch.environment.source import Reference
from mgelaunch.finding import Severity

_CLOSED = {
    "'": re.compile(r"'([^']*)'"),
    '"': re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL),
}
_COMMENT = re.compile(r"[ \t]+#")
_TAIL = re.compile(r"(?:[ \t]+#[^\n]*|[ \t]*)$", re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED_NOT_DOLLAR = re.compile(r"\\+(?=\$)|\\(.)", re.DOTALL)
_ESCAPES = {"\\": "\\", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_COMMAND = re.compile(r"\$\(|`")
_DOLLAR = re.compile(r"\$[A-Za-z0-9_]|\$\$(?!\{)")
_HOME = re.compile(r"(?:^|(?<=:))\$HOME(?=[/:]|$)")
_ASSIGNMENT = re.compile(r"\n[ \t]*(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*=")
_JOINED = re.compile(r";[ \t]*[A-Za-z_][A-Za-z0-9_]*=")
_TYPOGRAPHIC = re.compile("[\u2018-\u201f\u00ab\u00bb\uff02\uff07]")
_DIFFERENT_ELSEWHERE = (("quotes", "['\"]"), ("blanks", "[ \t]"), ("backslashes", r"\\"), ("# characters", "#"))
_HIDDEN = {
    "reference.unset": "the value refers to a variable that is not set",
    "reference.required": "the value requires a variable that is not set",
    "reference.forward": "the value refers to a variable that is not set before line {line}",
}
"""What is said of the references in a secret value, whose names are not shown."""


class Complaint(NamedTuple):
    """A finding before its offset in the text has become a place. `name` is the variable, empty when unknown."""

    severity: Severity
    code: str
    message: str
    at: int
    name: str = ""
    remedy: str = ""


class Value(NamedTuple):
    r"""A value before interpolation.

    `text` has its escapes decoded but for ``\$``, as python-dotenv reads it; `raw` is what `expand` takes, with
    all backslashes before a dollar still in place. In single quotes both are final. `quote` is empty when there
    is none. `start` is the offset of the first character, `end` that of the end of its last line.
    """

    text: str
    raw: str
    quote: str
    start: int
    end: int
    complaints: tuple[Complaint, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether the value cannot be used."""
        return any(complaint.severity == "error" for complaint in self.complaints)


def end_of_line(text: str, at: int) -> int:
    """Return the offset of the line feed that ends the line of `at`, or of the end of the text."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def read_value(text: str, start: int, name: str, *, after_blanks: bool, is_path: bool) -> Value:
    """Read the value of `name` that begins at `start`.

    `after_blanks` says that blanks stand between it and ``=``; `is_path` that the catalogue expands a leading
    ``~`` and ``$HOME`` in it.
    """
    quote = text[start : start + 1]
    if quote and quote in "'\"":
        return _quoted(text, start, name, quote, is_path=is_path)
    end = end_of_line(text, start)
    if quote == "#":
        return Value("", "", "", start, end, (_leading_hash(start, name, after_blanks=after_blanks),))
    raw = _COMMENT.split(text[start:end], maxsplit=1)[0].rstrip(" \t")
    complaints = tuple(_unquoted_errors(raw, start, name)) or tuple(
        _unquoted_warnings(raw, start, name, is_path=is_path)
    )
    return Value(raw, raw, "", start, end, complaints)


def expand_value(value: Value, find: Callable[[str], Reference]) -> Expanded | Unexpanded | None:
    """Replace the references in `value`; None when an error about it is known already."""
    if value.wrong:
        return None
    return Expanded(value.raw) if value.quote == "'" else expand(value.raw, find, escapes=value.quote == '"')


def explain_unexpanded(result: Unexpanded, name: str, at: int, forward: int) -> Complaint:
    """Say why the value of `name`, at offset `at`, has no expansion.

    `forward` is the line, this one or a later one, that sets the missing variable; 0 when none does.
    """
    code, message, remedy = result.code, result.message, ""
    if code == "reference.unset" and forward:
        code, message = "reference.forward", f"${{{result.name}}} is not set before line {forward} sets it"
        remedy = f"${{{'NAME' if is_secret(name) else result.name}:-}}"
    elif code == "reference.unset":
        remedy = f"${{{'NAME' if is_secret(name) else result.name}:-default}}"
    if is_secret(name) and code in _HIDDEN:
        message = _HIDDEN[code].format(line=forward)
    return Complaint("error", code, message, at, name, remedy)


def _quoted(text: str, start: int, name: str, quote: str, *, is_path: bool) -> Value:
    kind = "double" if quote == '"' else "single"
    match = _CLOSED[quote].match(text, start)
    if not match:
        message = f"the {kind} quote is never closed"
        complaint = Complaint("error", "envfile.quote", message, start, name, f"{name}={quote}...{quote}")
        return Value("", "", quote, start, end_of_line(text, start), (complaint,))
    if not _TAIL.match(text, match.end()):
        message = f"text follows the closing {kind} quote; put a blank before a comment"
        complaint = Complaint("error", "envfile.trailing", message, match.end(), name, f"{name}={quote}...{quote}")
        return Value("", "", quote, start, end_of_line(text, match.end()), (complaint,))
    body, end = match[1], end_of_line(text, match.end())
    over = tuple(_over_assignment(text, match, name))
    if quote == "'":
        return Value(body, body, quote, start, end, (*_single_quoted(body, start, name), *over))
    complaints = (*_double_quoted(body, start, name, is_path=is_path), *over)
    return Value(_decoded(_ESCAPED, body), _decoded(_ESCAPED_NOT_DOLLAR, body), quote, start, end, complaints)


def _decoded(pattern: re.Pattern[str], body: str) -> str:
    return pattern.sub(lambda match: _ESCAPES.get(match[1], match[0]), body)


def _leading_hash(start: int, name: str, *, after_blanks: bool) -> Complaint:
    if after_blanks:
        message = "the value is empty; some tools take the comment after it as the value"
        return Complaint("warning", "envfile.comment", message, start, name, f'{name}=""')
    message = "the value begins with #; quote it, or put a blank before a comment"
    return Complaint("error", "envfile.hash", message, start, name, f"{name}='...'")


def _over_assignment(text: str, match: re.Match[str], name: str) -> Iterator[Complaint]:
    if inner := _ASSIGNMENT.search(text, match.start(), match.end()):
        line = text.count("\n", 0, inner.start() + 1) + 1
        message = f"the quoted value runs over line {line}, which looks like an assignment"
        yield Complaint("warning", "envfile.swallowed", message, match.start(), name)


def _single_quoted(body: str, at: int, name: str) -> Iterator[Complaint]:
    if "\\" in body:
        message = "a backslash in single quotes is a plain character here, but an escape for python-dotenv"
        yield Complaint("warning", "envfile.backslash", message, at, name)
    if "${" in body:
        message = "${...} in single quotes is plain text here, but a reference for python-dotenv"
        yield Complaint("warning", "envfile.literal-reference", message, at, name, f'{name}="..."')


def _double_quoted(body: str, at: int, name: str, *, is_path: bool) -> Iterator[Complaint]:
    live = re.sub(r"(?s)\\[^`]", "  ", body)  # what a backslash escapes is no dollar; a backtick stays one
    yield from _command(live, at, name)
    yield from _dollars(live, at, name, is_path=is_path)
    for match in _ESCAPED.finditer(body):
        if match[1] not in _ESCAPES and match[1] not in "$`":
            message = "this backslash escapes nothing and is kept"
            yield Complaint("warning", "envfile.escape", message, at + 1 + match.start(), name, "\\\\")


def _command(live: str, at: int, name: str) -> Iterator[Complaint]:
    if _COMMAND.search(live):
        message = "command substitution is not carried out; single quotes make the text literal"
        yield Complaint("error", "envfile.command", message, at, name, f"{name}='...'")


def _dollars(live: str, at: int, name: str, *, is_path: bool) -> Iterator[Complaint]:
    if "$${" in live:
        message = "$$ before { is a dollar and a reference here, but an escape for Docker Compose"
        yield Complaint("warning", "envfile.double-dollar", message, at, name)
    if _DOLLAR.search(_HOME.sub("", live) if is_path else live):
        message = "a $ without braces is a plain character here, but other tools expand it"
        yield Complaint("warning", "envfile.dollar", message, at, name, f"{name}='...' or {name}=${{...}}")


def _unquoted_errors(raw: str, at: int, name: str) -> Iterator[Complaint]:
    if _TYPOGRAPHIC.match(raw):
        message = f"the value begins with the typographic quotation mark U+{ord(raw[0]):04X}, which quotes nothing"
        yield Complaint("error", "envfile.typographic", message, at, name, f'{name}="..."')
    if _JOINED.search(raw):
        message = "two assignments stand on one line; quote the value if the semicolon belongs to it"
        yield Complaint("error", "envfile.joined", message, at, name, f"{name}='...'")
    if raw.endswith("\\"):
        message = "a backslash at the end does not continue the line; quote the value if it belongs to it"
        yield Complaint("error", "envfile.continuation", message, at, name, f"{name}='...'")
    yield from _command(raw, at, name)


def _unquoted_warnings(raw: str, at: int, name: str, *, is_path: bool) -> Iterator[Complaint]:
    yield from _dollars(raw, at, name, is_path=is_path)
    quote = '"' if "'" in raw or "${" in raw else "'"
    if found := [word for word, sign in _DIFFERENT_ELSEWHERE if re.search(sign, raw)]:
        message = f"{' and '.join(found)} in a value without quotes are kept here, but not by other tools"
        yield Complaint("warning", "envfile.unquoted", message, at, name, f"{name}={quote}...{quote}")
    if raw.startswith("~") and not (is_path and re.match("~(?:[/:]|$)", raw)):
        message = "a leading ~ is not expanded"
        yield Complaint("warning", "envfile.tilde", message, at, name, f"{name}=${{HOME}}...")
    if odd := next((sign for sign in raw if sign != "\t" and not sign.isprintable()), ""):
        message = f"the value holds the invisible character U+{ord(odd):04X}"
        yield Complaint("warning", "envfile.invisible", message, at, name, f"{name}={quote}...{quote}")
