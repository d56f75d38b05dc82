"""References in values: the ``${NAME}`` forms of POSIX (2.6.2), and no other expansion."""

import re
from collections.abc import Callable
from typing import NamedTuple

from mgelaunch.catalogue.names import is_secret
from mgelaunch.environment.source import Reference

_DEEPEST = 100  # keeps absurd files from ending in a RecursionError
_HEAD = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:?[-?+]|(?=\}))")
_PLAIN_SIGN = re.compile(r"\$\{|[{}]")
_ESCAPED_SIGN = re.compile(r"\\+(?=\$)|\$\{|[{}]")


class Expanded(NamedTuple):
    """The text with all references replaced; `secret` when a reference that was looked up is secret."""

    text: str
    secret: bool = False


class Unexpanded(NamedTuple):
    """Why a text has no expansion: ``reference.unset``, ``reference.required``, ``reference.malformed``.

    `message` is a sentence without a value or a default text; for ``reference.required`` it ends with what
    the author wrote after ``?``, unless `name` is secret. `name` is the variable, empty when malformed.
    """

    code: str
    message: str
    name: str = ""


class _Use(NamedTuple):
    """One ``${name operator body}``."""

    name: str
    operator: str
    body: tuple["str | _Use", ...]


_Parts = tuple[str | _Use, ...]


class _MalformedError(Exception):
    """The braces do not form a reference."""


def expand(
    raw: str,
    lookup: Callable[[str], Reference],
    *,
    escapes: bool = False,
    protect: Callable[[str], str] | None = None,
) -> Expanded | Unexpanded:
    r"""`raw` with every reference replaced by what `lookup` knows.

    ``${X}`` ``${X-d}`` ``${X:-d}`` ``${X?m}`` ``${X:?m}`` ``${X+a}`` ``${X:+a}`` mean what they mean in a
    POSIX shell: with the colon an empty value counts as unset, and the text after the operator may hold
    references, which are looked up only if that text is used. ``$X`` is plain text.

    With `escapes`, ``\$`` is a literal dollar; in a run of backslashes before a dollar each pair is one
    backslash. Other backslashes are plain text. `protect` is applied to what comes out of a lookup, never to
    what the author wrote.
    """
    try:
        parts, _ = _parse(raw, 0, 0, _ESCAPED_SIGN if escapes else _PLAIN_SIGN)
    except _MalformedError as malformed:
        return Unexpanded("reference.malformed", f"a ${{...}} reference {malformed}")
    return _join(parts, _protected(lookup, protect) if protect else lookup)


def _protected(lookup: Callable[[str], Reference], protect: Callable[[str], str]) -> Callable[[str], Reference]:
    def find(name: str) -> Reference:
        found = lookup(name)
        return found if found.text is None else found._replace(text=protect(found.text))

    return find


def _parse(raw: str, at: int, depth: int, sign: re.Pattern[str]) -> tuple[_Parts, int]:
    """Return the parts up to the brace that closes this level (depth 0: the end) and the offset behind it."""
    parts: list[str | _Use] = []
    while match := sign.search(raw, at):
        parts.append(raw[at : match.start()])
        at = match.end()
        if match[0] == "${":
            use, at = _parse_use(raw, match.start(), depth + 1, sign)
            parts.append(use)
        elif match[0] == "}" and depth:
            return tuple(parts), at
        elif match[0] == "{" and depth:
            raise _MalformedError("has a bare brace in the text after its operator")
        elif match[0][0] == "\\":
            parts.append("\\" * (len(match[0]) // 2))
            literal = len(match[0]) % 2
            parts.append("$" * literal)
            at += literal
        else:
            parts.append(match[0])
    if depth:
        raise _MalformedError("has no closing brace")
    return (*parts, raw[at:]), len(raw)


def _parse_use(raw: str, at: int, depth: int, sign: re.Pattern[str]) -> tuple[_Use, int]:
    head = _HEAD.match(raw, at)
    if not head:
        closed = "}" in raw[at:]
        raise _MalformedError("has no valid name or no known operator" if closed else "has no closing brace")
    if depth > _DEEPEST:
        raise _MalformedError(f"is nested more than {_DEEPEST} deep")
    body, end = _parse(raw, head.end(), depth, sign)
    return _Use(head[1], head[2], body), end


def _join(parts: _Parts, lookup: Callable[[str], Reference]) -> Expanded | Unexpanded:
    texts, secret = [], False
    for part in parts:
        result = Expanded(part) if isinstance(part, str) else _resolve(part, lookup)
        if isinstance(result, Unexpanded):
            return result
        texts.append(result.text)
        secret = secret or result.secret
    return Expanded("".join(texts), secret)


def _resolve(use: _Use, lookup: Callable[[str], Reference]) -> Expanded | Unexpanded:
    known = lookup(use.name)
    secret = known.secret or is_secret(use.name)
    present = known.text if known.text or not use.operator.startswith(":") else None
    kind = use.operator[-1:]
    if kind == "+" and present is None:
        return Expanded("", secret)
    if kind == "+" or (kind == "-" and present is None):
        body = _join(use.body, lookup)
        return body if isinstance(body, Unexpanded) else body._replace(secret=body.secret or secret)
    if present is not None:
        return Expanded(present, secret)
    if kind == "?":
        return Unexpanded("reference.required", f"${{{use.name}}} is required{_wish(use, secret=secret)}", use.name)
    return Unexpanded("reference.unset", f"${{{use.name}}} is not set", use.name)


def _wish(use: _Use, *, secret: bool) -> str:
    """Quote what the author wrote after ``?``, on one line; references in it show their name but no default."""
    words = "".join(part if isinstance(part, str) else f"${{{part.name}}}" for part in use.body)
    sentence = " ".join("".join(sign if sign.isprintable() else " " for sign in words).split()).rstrip(".")
    return f": {sentence}" if sentence and not secret else ""
