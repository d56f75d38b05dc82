"""Keeps the end of what one rank said, for the words about how it ended."""

import re
from collections import deque

_WIDTH = 300
"""Characters that are shown of one line."""
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # control sequences (ECMA-48, 5.4): colours, movements
    r"|[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # strings (5.6): titles, links
    r"|[ -/]*[0-~])?"
)
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Control characters, and what Unicode has beside them: line separators, and what turns the direction of a line."""
_INVISIBLE = dict.fromkeys(_CONTROLS, "") | {ord("\t"): " "}
_RANK = re.compile(r"\[rank[0-9]+\]: ")
"""What torch.distributed puts before every line of a traceback once a process group is initialised (torch 2.13,
``distributed_c10d.py``).
"""
_FRAME = '  File "'
_FAULT = re.compile(r'  File ".*", line [0-9]+ in ')
"""A frame as Python's faulthandler writes it: no exception follows."""
_BETWEEN = (
    "Traceback (most recent call last)",
    "During handling of the above exception, another exception occurred",
    "The above exception was the direct cause of the following exception",
)
_EXCEPTION = re.compile(r"[^\W\d][\w.]*(?:<locals>[\w.]*)*(?::\s|:?$)")


class Tail:
    """The last `limit` bytes of one stream."""

    def __init__(self, limit: int = 16 << 10) -> None:
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Adds what was said next."""
        piece = data[-self._limit :]
        self._pieces.append(piece)
        self._size += len(piece)
        while self._size - len(self._pieces[0]) >= self._limit:
            self._size -= len(self._pieces.popleft())

    def lines(self, most: int) -> tuple[str, ...]:
        """The last lines that are not blank, at most so many, as a terminal would show them but without colours; each
        at most 300 characters, the last of them ``…`` when there were more.
        """
        said = [line for line in self._shown() if line]
        return tuple(_cut(line) for line in said[max(len(said) - most, 0) :])

    @property
    def exception(self) -> str:
        """The line of the last traceback that names the exception (``ValueError: boom``); empty without one."""
        lines = [_RANK.sub("", line, count=1) if line.startswith("[rank") else line for line in self._shown()]
        last = max((at for at, line in enumerate(lines) if line.startswith(_FRAME)), default=None)
        if last is None or _FAULT.match(lines[last]):
            return ""
        after = (line for line in lines[last:] if line and not line.startswith((" ", *_BETWEEN)))
        named = next(after, "")
        return _cut(named) if _EXCEPTION.match(named) else ""

    def _shown(self) -> list[str]:
        text = b"".join(self._pieces)[-self._limit :].decode("utf-8", "replace")
        return [_visible(line) for line in text.split("\n")]


def _visible(line: str) -> str:
    """What stands in a line in the end: nothing that was written over, no escapes, no blanks behind."""
    line = line.rstrip("\r").rpartition("\r")[2]
    return _ESCAPES.sub("", line).translate(_INVISIBLE).rstrip()


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
