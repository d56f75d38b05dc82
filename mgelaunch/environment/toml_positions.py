"""Reads TOML with positions: its parsers give values without them, and sentences that repeat the file."""

import re
import sys
from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

KeyPath = tuple[str | int, ...]
"""The keys that lead to a value, from the outermost; an integer is the index in an array."""


class Position(NamedTuple):
    """A place in a text. Lines and columns count from 1, columns in characters."""

    line: int
    column: int


class NotTomlError(ValueError):
    """A text is not TOML: one of our own sentences, and where (None when the parser does not say)."""

    def __init__(self, message: str, position: Position | None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


def parse(text: str) -> dict[str, object]:
    """The document. Raises NotTomlError."""
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - 20 ms that only runs with a profile pay
    else:
        import tomli as tomllib  # noqa: PLC0415 - the same parser, for Pythons without it
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # the parser's own, or int() on a number of thousands of digits
        raise _restated(str(error), text) from None


def _too_deep() -> NotTomlError:
    return NotTomlError("a value is nested too deeply", None)


_NOT_CLOSED = "a text has no closing quote"
_SENTENCES = (
    ("Cannot overwrite", "a key is set twice"),
    ("Duplicate inline table key", "a key is set twice"),
    ("Cannot declare", "a table is declared twice"),
    ("Cannot mutate", "something is added to a table that is complete"),
    ("Expected '='", "a key has no = behind it"),
    ("Expected newline", "something follows the value on its line; a text needs quotes"),
    ("Expected ']", "the header of a table has no closing bracket"),
    ('Expected "\'"', _NOT_CLOSED),
    ("Unterminated string", _NOT_CLOSED),
    ("Unclosed array", "a list has no closing bracket"),
    ("Unclosed inline table", "a table in braces has no closing brace"),
    ("Unescaped", "a backslash in double quotes stands for nothing; use single quotes, or two backslashes"),
    ("Illegal character", "a character stands here that TOML does not allow"),
    ("Invalid value", "a value is missing, or is a text without quotes"),
    ("Invalid statement", "this is no key, no [table] and no comment"),
)
"""The beginnings of the parser's sentences, and ours. Theirs go on with pieces of the file."""


def _restated(said: str, text: str) -> NotTomlError:
    # Only the newest parsers give the position as numbers too; all of them write it behind the sentence.
    message = next((ours for theirs, ours in _SENTENCES if said.startswith(theirs)), "the file is not valid TOML")
    if at := re.search(r"\(at line ([0-9]+), column ([0-9]+)\)$", said):
        return NotTomlError(message, Position(int(at[1]), int(at[2])))
    if not said.endswith("(at end of document)"):
        return NotTomlError(message, None)
    at_end = len(text)
    if message == _NOT_CLOSED:  # the parser ran on to the end; the last text that is opened is the one
        at_end = max((match.start(1) for match in re.finditer(r"[=\[,]\s*(['\"])", text)), default=at_end)
    return NotTomlError(message, _position(_line_starts(text), at_end))


def positions(text: str) -> Mapping[KeyPath, Position]:
    """The position of every key and of every item of a list in `text`, which `parse` has accepted.

    A key stands where it is written first: ``a`` of a header ``[a.b]`` has a position, too. An item of
    an array of tables stands at the last key of its header. Raises NotTomlError for absurd nesting.
    """
    scanner = _Scanner(text)
    try:
        scanner.document()
    except RecursionError:
        raise _too_deep() from None
    starts = _line_starts(text)
    return {path: _position(starts, offset) for path, offset in scanner.offsets.items()}


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def _position(starts: list[int], offset: int) -> Position:
    line = bisect_right(starts, offset)
    return Position(line, offset - starts[line - 1] + 1)


_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS = re.compile(r"[ \t]*=")
_ATOM = re.compile(
    # A multi-line string may end in five quotes: the first two of them are its own.
    r'"""(?:[^\\]|\\.)*?"""{1,3}'
    r"|'''.*?'''{1,3}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'"
    r"|[^,\]}#\n]+",
    re.DOTALL,
)


class _Scanner:
    """Walks over a valid document once; it may be lax, because the parser was not."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.offsets: dict[KeyPath, int] = {}
        self.items: dict[KeyPath, int] = {}  # the index of the last item of each array of tables

    def document(self) -> None:
        table: KeyPath = ()
        while first := self._next():
            if first == "[":
                table = self._header()
            else:
                self._pair(table)

    def _next(self) -> str:
        """The next character that is neither blank nor comment; empty at the end of the text."""
        self._take(_BLANK)
        return self.text[self.at : self.at + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(self.at)  # not TOML: without this an invalid text would be an endless loop
        self.at = match.end()
        return match[0]

    def _header(self) -> KeyPath:
        repeated = self.text.startswith("[[", self.at)
        self.at += 2 if repeated else 1
        path, at = self._key(())
        if repeated:
            self.items[path] = self.items.get(path, -1) + 1
            path = (*path, self.items[path])
            self.offsets[path] = at
        self.at = self.text.index("]", self.at) + (2 if repeated else 1)
        return path

    def _key(self, table: KeyPath) -> tuple[KeyPath, int]:
        """Reads a dotted key below `table` and notes each part; its path, and the offset of its last part."""
        path = table
        while True:
            self._next()
            at = self.at
            if path in self.items:  # [a.b] below [[a]] speaks of the last item
                path = (*path, self.items[path])
            path = (*path, _plain(self._take(_KEY)))
            self.offsets.setdefault(path, at)
            if not _DOT.match(self.text, self.at):
                return path, at
            self._take(_DOT)

    def _pair(self, table: KeyPath) -> None:
        path, _ = self._key(table)
        self._take(_EQUALS)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self._next()
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_ATOM)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self._next() != "]":
            item = (*path, index)
            self.offsets[item] = self.at
            self._value(item)
            self._comma()
            index += 1
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self._next() != "}":
            self._pair(path)
            self._comma()
        self.at += 1

    def _comma(self) -> None:
        if self._next() == ",":
            self.at += 1


def _plain(key: str) -> str:
    """A key as the parser gives it: without quotes, its escapes decoded."""
    if key[0] == '"' and "\\" in key:
        return next(iter(parse(f"{key} = 0")))
    return key.strip(key[0]) if key[0] in "\"'" else key
