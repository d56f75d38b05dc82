"""What the ranks say, on its way from their pipes through the weave to our stdout and stderr, and to their logs."""

import fcntl
import os
import selectors
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple

from mgelaunch.launch.outlet import Outlet, same_file
from mgelaunch.launch.tail import Tail
from mgelaunch.launch.weave import Weaver

if TYPE_CHECKING:  # json comes with them
    from mgelaunch.launch.records import Records

_BLOCK = 1 << 18
"""Bytes that are read from one rank before the next has its turn."""
_PIPE = 1 << 18
"""Bytes that a rank can be ahead of us. The kernel's 64 KiB make twice as many turns of the loop."""
_DRAINED = 16
"""Blocks that are read of a pipe at the end: more than it can hold, were somebody else still to write into it."""

Stream = Literal["stdout", "stderr"]
_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class Source(NamedTuple):
    """One stream of one rank."""

    rank: int
    stream: Stream


class Ready(NamedTuple):
    """What the selector's events of this module carry: a source to read, or an outlet to go on writing to."""

    source: Source | None
    outlet: Outlet | None = None


class Last(NamedTuple):
    """The end of what a rank said."""

    lines: tuple[str, ...]
    exception: str


class _Branch:
    """One of our own descriptors, and the weave that flows into it."""

    def __init__(self, descriptor: int, weaver: Weaver) -> None:
        self.outlet = Outlet.open(descriptor)
        self.weaver = weaver
        self.waiting = False


class Pump:
    """Reads from ranks and writes, never waiting for either. When our reader is slow, the ranks are not read from, so
    that they feel it; nothing is dropped while somebody reads.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        prefixes: Mapping[int, bytes],
        logs: "Records | None",
        coloured: frozenset[int] | None,
    ) -> None:
        """`coloured` are those of 1 and 2 that take colours; None: nothing is shown."""
        self._selector = selector
        self._logs = logs
        self._descriptors: dict[Source, int] = {}
        self._paused: set[Source] = set()
        self._full: set[Stream] = set()
        self._branches = {} if coloured is None else _branches(prefixes, coloured)
        self._tails: dict[Source, Tail] = {}

    def open(self, rank: int) -> tuple[int, int]:
        """Makes the pipes of a rank; returns the ends that it writes to, which the caller closes after the fork."""
        ends = []
        for stream in _STREAMS:
            read, write = os.pipe()
            os.set_blocking(read, False)
            _widen(read)
            source = Source(rank, stream)
            self._descriptors[source] = read
            self._tails[source] = Tail()
            self._selector.register(read, selectors.EVENT_READ, Ready(source))
            ends.append(write)
        return ends[0], ends[1]

    @property
    def lost(self) -> OSError | None:
        """Why our stdout, or else our stderr, takes nothing any more; None while both do."""
        return next((branch.outlet.lost for branch in self._branches.values() if branch.outlet.lost), None)

    @property
    def pending(self) -> bool:
        """Whether something has been read that is not yet written."""
        return any(branch.outlet.pending for branch in self._distinct())

    @property
    def due(self) -> float | None:
        """When a line that stays open is to be shown as it is."""
        return min((due for branch in self._waiting_lines() if (due := branch.weaver.due) is not None), default=None)

    def ready(self, ready: Ready, now: float) -> None:
        """Carries out one event of the selector."""
        if ready.outlet is not None:
            ready.outlet.flush()
        elif ready.source in self._descriptors:
            self._read(ready.source, now)
        self._balance()

    def ripen(self, now: float) -> None:
        """Shows the lines that have been open for long."""
        for branch in self._waiting_lines():
            if (due := branch.weaver.due) is None or due > now:
                continue
            for source in tuple(self._descriptors):
                if self._branches[source.stream] is branch:
                    self._read(source, now)  # the rest of a line may be there by now
            branch.outlet.write(branch.weaver.ripe(now))
        self._balance()

    def drain(self, now: float) -> None:
        """Reads what is left in all pipes, whoever may still hold their other ends, and closes them."""
        for source in tuple(self._descriptors):
            for _ in range(_DRAINED):
                if source not in self._descriptors or not self._read(source, now):
                    break
            if source in self._descriptors:
                self._close(source)
        self._balance()

    def say(self, text: str) -> bool:
        """Puts a line of ours on stderr, between the lines of the ranks; False when that is not ours to order."""
        branch = self._branches.get("stderr")
        if branch is None:
            return False
        branch.outlet.write(branch.weaver.interrupt() + text.encode(errors="backslashreplace") + b"\n")
        self._balance()
        return True

    def end_line(self) -> None:
        """Ends the line that a rank has left open on stderr: lines of ours are to follow."""
        if branch := self._branches.get("stderr"):
            branch.outlet.write(branch.weaver.interrupt())

    def last(self, rank: int, most: int) -> Last:
        """The last lines of `rank`, at most so many: of its stderr, or when it has said nothing there of its stdout."""
        tails = [self._tails[source] for source in self._tails if source.rank == rank]
        said = next((lines for tail in reversed(tails) if (lines := tail.lines(most))), ())
        return Last(said, next((text for tail in reversed(tails) if (text := tail.exception)), ""))

    def close(self) -> None:
        """Gives back what was opened. What is not written by now never will be."""
        for source in tuple(self._descriptors):
            self._close(source)
        for branch in self._distinct():
            if branch.waiting:
                self._selector.unregister(branch.outlet)
            branch.outlet.close()

    def _waiting_lines(self) -> Iterable[_Branch]:
        """The branches whose lines are open because of the ranks, and not because nobody reads what we write."""
        return (branch for branch in self._distinct() if not branch.outlet.pending)

    def _distinct(self) -> Iterable[_Branch]:
        return dict.fromkeys(self._branches.values())

    def _read(self, source: Source, now: float) -> bool:
        """One block of a source; False when there is nothing now, or never again."""
        try:
            data = os.read(self._descriptors[source], _BLOCK)
        except BlockingIOError:
            return False
        if not data:
            self._close(source)
            return False
        self._tails[source].add(data)
        if self._logs:
            self._logs.log(source.rank, data)
        if branch := self._branches.get(source.stream):
            branch.outlet.write(branch.weaver.feed(source, data, now))
        return True

    def _close(self, source: Source) -> None:
        descriptor = self._descriptors.pop(source)
        if source in self._paused:
            self._paused.discard(source)
        else:
            self._selector.unregister(descriptor)
        os.close(descriptor)
        if branch := self._branches.get(source.stream):
            branch.outlet.write(branch.weaver.close(source))

    def _balance(self) -> None:
        """Waits for the outlets that have something pending, and for the sources of those that are not full."""
        for branch in self._distinct():
            waiting = branch.outlet.pending > 0
            if waiting and not branch.waiting:
                self._selector.register(branch.outlet, selectors.EVENT_WRITE, Ready(None, branch.outlet))
            elif branch.waiting and not waiting:
                self._selector.unregister(branch.outlet)
            branch.waiting = waiting
        full = {stream for stream, branch in self._branches.items() if branch.outlet.full}
        if full != self._full:
            self._full = full
            self._pause()

    def _pause(self) -> None:
        """Reads from no source whose outlet is full, and from all others."""
        for source, descriptor in self._descriptors.items():
            full = source.stream in self._full
            if full and source not in self._paused:
                self._selector.unregister(descriptor)
                self._paused.add(source)
            elif source in self._paused and not full:
                self._selector.register(descriptor, selectors.EVENT_READ, Ready(source))
                self._paused.discard(source)


def _branches(prefixes: Mapping[int, bytes], coloured: frozenset[int]) -> dict[Stream, _Branch]:
    """What flows into our stdout and stderr; one branch when both lead to the same place."""

    def branch(descriptor: int) -> _Branch:
        colour = descriptor in coloured
        lines = {
            Source(rank, stream): _coloured(prefix, rank) if colour and prefix else prefix
            for rank, prefix in prefixes.items()
            for stream in _STREAMS
        }
        return _Branch(descriptor, Weaver(lines, ansi=colour and os.isatty(descriptor)))

    first = branch(1)
    return {"stdout": first, "stderr": first if same_file(1, 2) else branch(2)}


def _coloured(prefix: bytes, rank: int) -> bytes:
    """The prefix in one of six colours, so that neighbours differ."""
    return b"\x1b[%dm%s\x1b[0m" % (31 + (rank + 1) % 6, prefix)


def _widen(pipe: int) -> None:
    """Makes room in a pipe; a user may have only so much of it (pipe-user-pages-soft)."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
