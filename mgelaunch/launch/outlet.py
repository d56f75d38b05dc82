"""Writes to our own stdout and stderr without ever waiting for who reads them, and drops nothing while somebody does.

Whether a write waits is a flag of the open file description, which an inherited descriptor shares with the shell, our
parent and, on a terminal, the stdin of a rank (open(2)). So that flag is never set on it. A pipe or a terminal is
opened once more through /proc, which makes a description of our own; where that cannot be (a terminal of another
user's, a socket), only so much is written as there is room for.
"""

import os
import re
import select
import stat
from collections import deque
from typing import Literal

FULL = 1 << 20
"""Bytes that may wait to be written before whoever feeds an outlet should pause."""
Shared = Literal["", "stream", "terminal"]
"""What a descriptor leads to whose description is not ours alone, when a write to it may wait."""
_PIECES = {"stream": 4096, "terminal": 256}
"""Bytes that fit when poll(2) says that there is room: PIPE_BUF for a pipe, for a terminal the unit in which the kernel
counts (``drivers/tty/tty_buffer.c``).
"""
_TEXT = re.compile(rb"[^\b\t\n\r]+")
"""What a terminal's line discipline takes at once. It puts other signs in one by one, asking for room before each."""


class Outlet:
    """One of our own descriptors. Two outlets must never lead to the same place: see `same_file`.

    ``pending`` is how many bytes are not yet written; meanwhile the outlet can be registered with a selector.
    ``lost`` says why nothing can be written any more; from then on everything is discarded.
    """

    def __init__(self, descriptor: int, *, own: bool = False, shared: Shared = "") -> None:
        """`own`: to be closed with the outlet. `shared`: to be written to only when poll(2) says so, and only so much
        as there is room for then.
        """
        self.pending = 0
        self.lost: OSError | None = None
        self._descriptor = descriptor
        self._own = own
        self._shared = shared
        self._pieces: deque[memoryview] = deque()

    @classmethod
    def open(cls, descriptor: int) -> "Outlet":
        """The outlet for `descriptor`, which stays open and as it is. One that is closed is lost from the start."""
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError as error:
            outlet = cls(descriptor)
            outlet.lost = error
            return outlet
        terminal = stat.S_ISCHR(mode) and os.isatty(descriptor)
        if not (terminal or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return cls(descriptor)  # a file or /dev/null: its offset and O_APPEND are of the description
        try:
            return cls(_reopened(descriptor), own=True)
        except OSError:
            return cls(descriptor, shared="terminal" if terminal else "stream")

    @property
    def full(self) -> bool:
        """Whether whoever feeds this outlet should pause until it is no longer so."""
        return self.pending > FULL

    def fileno(self) -> int:
        """The descriptor to wait for until it is writable."""
        return self._descriptor

    def write(self, data: bytes) -> None:
        """Writes `data` after what is pending: now, as far as there is room, and the rest with `flush`."""
        if data and not self.lost:
            self._pieces.append(memoryview(data))
            self.pending += len(data)
            self.flush()

    def flush(self) -> None:
        """Writes as much of what is pending as there is room for."""
        try:
            while self._pieces and self._has_room():
                self._written(os.write(self._descriptor, self._fitting()))
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(error)

    def close(self) -> None:
        """Gives back what was opened, and discards what is pending."""
        if self._own:
            os.close(self._descriptor)
        self._descriptor, self._own, self._shared = -1, False, ""
        self._discard()

    def _has_room(self) -> bool:
        if not self._shared:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))  # an error counts as well: the write will tell which one

    def _fitting(self) -> memoryview:
        """As much of what is first as can be written now."""
        first = self._pieces[0]
        if not self._shared:
            return first
        first = first[: _PIECES[self._shared]]
        if self._shared == "stream":
            return first
        text = _TEXT.match(first)
        return first[: text.end() if text else 1]

    def _written(self, count: int) -> None:
        self.pending -= count
        if count == len(self._pieces[0]):
            self._pieces.popleft()
        else:
            self._pieces[0] = self._pieces[0][count:]

    def _lose(self, error: OSError) -> None:
        self.lost = error
        self._discard()

    def _discard(self) -> None:
        self._pieces.clear()
        self.pending = 0


def same_file(first: int, second: int) -> bool:
    """Whether two descriptors lead to the same file, pipe, terminal or socket. A closed one leads nowhere."""
    try:
        one, other = os.fstat(first), os.fstat(second)
    except OSError:
        return False
    if stat.S_ISCHR(one.st_mode) and stat.S_ISCHR(other.st_mode):
        return one.st_rdev == other.st_rdev
    return os.path.samestat(one, other)


def _reopened(descriptor: int) -> int:
    """Another descriptor for the same pipe or terminal, with a description of its own.

    Raises:
        OSError: it may not be opened, /proc is not there, or it is a socket.
    """
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    opened = os.open(f"/proc/self/fd/{descriptor}", flags)
    if same_file(descriptor, opened):
        return opened
    os.close(opened)
    raise OSError
