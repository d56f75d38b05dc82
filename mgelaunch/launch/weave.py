"""Makes one stream of what several sources say, without a torn line.

A line is held back until it is whole. What stays unfinished (a prompt, a progress bar) is shown all the same. From then
on the stream stands in the middle of a line, which is *open* until its source ends it or another one interrupts it.
"""

from collections.abc import Hashable, Mapping
from typing import Any

LONGEST = 1 << 20
"""Bytes of an unfinished line that are kept; a longer one is shown in pieces."""
_STATE = 4096
"""Bytes of a bar that are kept to be shown once more."""
_ERASE = b"\x1b[K"
"""Erases from the cursor to the end of the line (ECMA-48, EL)."""
_CLEAR = b"\r" + _ERASE


class _Line:
    """The line that one source has begun and not ended: what of it is not shown yet."""

    __slots__ = ("after_newline", "after_return", "begun", "prefix", "returned", "state", "waiting")

    def __init__(self, prefix: bytes, *, ansi: bool) -> None:
        self.prefix = prefix
        self.after_newline = b"\n" + prefix
        self.after_return = b"\r" + (_ERASE if ansi and prefix else b"") + prefix
        self.waiting = bytearray()
        self.returned = False  # a carriage return follows that may be half of a line end
        self.begun = False  # something of it has been shown
        self.state = b""  # what its bar shows, to be shown again if it ends while another one stands in its place

    def hold(self, data: bytes) -> bytes:
        """`data` with the carriage return that was held back before it, and without the one at its own end."""
        if self.returned:
            data = b"\r" + data
        self.returned = data.endswith(b"\r")
        return data[:-1] if self.returned else data

    def note(self, said: bytes, *, anew: bool) -> None:
        """Takes down what a bar shows, now that `said` has been added to it, or put in its place (`anew`)."""
        _, back, state = said.rpartition(b"\r")
        self.state = (state if back or anew else self.state + state)[:_STATE]

    def prefixed(self, text: bytes) -> bytes:
        """`text`, which begins within a line, with the prefix after each line end and carriage return in it."""
        if not self.prefix:
            return text
        if b"\r" in text:
            text = text.replace(b"\r", self.after_return).replace(self.after_return + b"\n", b"\r\n")
        if text.endswith(b"\n"):
            return text[:-1].replace(b"\n", self.after_newline) + b"\n"
        return text.replace(b"\n", self.after_newline)


class Weaver:
    """The stream. What the methods return is to be written to it in that order; times are seconds of a monotonic clock.

    Without prefixes and with one source the stream is what the source said, byte for byte.
    """

    def __init__(self, prefixes: Mapping[Any, bytes], *, ansi: bool, patience: float = 1.0) -> None:
        """`prefixes` has every source, which is any hashable, and what begins each of its lines (no line end in it).

        With `ansi` the stream is a terminal that understands escapes. `patience` is how long a line may stay
        unfinished before it is shown as it stands, in seconds.
        """
        self._lines = {source: _Line(prefix, ansi=ansi) for source, prefix in prefixes.items()}
        self._ansi = ansi
        self._patience = patience
        self._dues: dict[Hashable, float] = {}  # the earliest first, as patience is the same for all
        self._open = False
        self._owner: _Line | None = None  # whose line is open; None: of a source that has ended
        self._bar = False  # what is open is a progress bar, which its source will write again

    @property
    def open(self) -> bool:
        """Whether the stream stands in the middle of a line."""
        return self._open

    @property
    def due(self) -> float | None:
        """When `ripe` has something to show; None when nothing waits."""
        return next(iter(self._dues.values()), None)

    def feed(self, source: Hashable, data: bytes, now: float) -> bytes:
        """What can be written at once when `source` says `data`: whole lines, and what shows progress.

        Raises:
            KeyError: there is no such source.
        """
        line = self._lines[source]
        if line.returned or b"\r" in data:
            data = line.hold(data)
        end = data.rfind(b"\n") + 1
        if self._goes_on(line, data, end):
            end = len(data)
        shown = self._show(line, data[:end]) if end else b""
        if end:
            self._dues.pop(source, None)
        if end < len(data):
            line.waiting += data[end:] if end else data
            self._dues.setdefault(source, now + self._patience)
        return shown

    def ripe(self, now: float) -> bytes:
        """What has been unfinished for as long as patience lasts, as it stands."""
        ripe = [source for source, due in self._dues.items() if due <= now]
        for source in ripe:
            del self._dues[source]
        return b"".join([self._show(self._lines[source], b"") for source in ripe])

    def close(self, source: Hashable) -> bytes:
        """What is left of a source that has ended, as it is. The same source may begin anew, on a line of its own."""
        line = self._lines[source]
        self._dues.pop(source, None)
        if line.returned and (line.waiting or self._owner is line or not line.begun):
            line.waiting += b"\r"  # elsewhere it would go back in a line that is over
        line.returned = False
        shown = self._show(line, b"") if line.waiting else b""
        if self._owner is line:
            self._owner, self._bar = None, False  # the last state of a bar stays
        line.begun = False
        return shown

    def interrupt(self) -> bytes:
        """What brings the stream to the beginning of a line; empty when it stands there."""
        if not self._open:
            return b""
        cleared = self._bar and self._ansi
        self._open, self._owner, self._bar = False, None, False
        return _CLEAR if cleared else b"\n"

    def _goes_on(self, line: _Line, data: bytes, end: int) -> bool:
        """Whether the unfinished part of `data`, from `end` on, is shown with the rest."""
        if not end and self._owner is line:
            return True
        waiting = 0 if end else len(line.waiting)
        return waiting + len(data) - end > LONGEST or data.find(b"\r", end) >= 0

    def _show(self, line: _Line, text: bytes) -> bytes:
        """What waits of `line` and then `text`, made ready for the stream, which then stands where `text` ends."""
        ended = text.rfind(b"\n") + 1
        bar = text.find(b"\r", ended) >= 0 or line.returned
        lead, anew = b"", False
        if self._owner is line:
            bar = bar or (self._bar and not ended)
        else:
            elsewhere = line.begun or self._open
            lead = self.interrupt() + line.prefix
            if elsewhere and not line.waiting and _goes_back(text):
                text, anew = text[1:], True  # where it goes back to, the stream already is
            if self._ansi and line.begun and not line.waiting and text.lstrip(b"\r").startswith(b"\n"):
                lead += line.state
        shown = b"".join((lead, line.waiting, line.prefixed(text)))
        if bar:
            line.note(text[ended:] if ended else bytes(line.waiting) + text, anew=anew)
        else:
            line.state = b""
        line.waiting.clear()
        self._open = line.begun = not text.endswith(b"\n")
        self._owner = line if self._open else None
        self._bar = bar and self._open
        return shown


def _goes_back(text: bytes) -> bool:
    return text.startswith(b"\r") and not text.startswith(b"\r\n")
