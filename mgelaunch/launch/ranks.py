"""The processes of a job as the kernel knows them: started together, told signals, waited for."""

import os
import selectors
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from mgelaunch.host.descendants import Descendant, descendants, tell
from mgelaunch.launch.events import Exit
from mgelaunch.launch.plan import Process, complete_environment
from mgelaunch.launch.spawn import Gate, NotForked, Streams

_GONE = (ProcessLookupError, PermissionError)
_POLITE = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Gone(NamedTuple):
    """A child that has ended. ``rank`` is None for an orphan of a rank; ``stopped`` is the last signal by which a rank
    was told to end while it still ran, 0 without one.
    """

    pid: int
    rank: int | None
    exit: Exit
    stopped: int = 0


class Watched(NamedTuple):
    """What the selector's events of this module carry."""

    rank: int


class Ranks:
    """All processes below this one. A pid is used only while its process is not yet waited for, or is known by the
    time of its start, so that a signal never reaches a stranger. Strangers are also the children of a shell that
    became us (``tensorboard & exec mgelaunch run``, ``> >(tee log)``): they are in our own session, where no rank is.
    """

    def __init__(self, selector: selectors.BaseSelector, inherited: Mapping[str, str]) -> None:
        self._selector = selector
        self._inherited = inherited
        self._pids: dict[int, int] = {}
        self._watches: dict[int, int] = {}
        self._stopped: dict[int, int] = {}
        self._session = os.getsid(0)
        self._strangers = _children()

    def start(self, gate: Gate, processes: Iterable[tuple[Process, Streams]]) -> None:
        """Forks the processes behind `gate`, watches them, and lets them go.

        Raises:
            NotForked: nothing runs.
        """
        # Every page that is written to between two forks is copied, so all that can be done before is.
        ready = [(each, complete_environment(self._inherited, each.environment), own) for each, own in processes]
        try:
            for process, environment, streams in ready:
                self._pids[process.rank] = gate.hold(process, environment, streams)
        except NotForked:
            self._pids.clear()  # they have been waited for, and their numbers may be anybody's
            raise
        gate.release()
        for rank, pid in self._pids.items():
            self._watch(rank, pid)

    def pid(self, rank: int) -> int:
        """The main process of `rank`."""
        return self._pids[rank]

    def _watch(self, rank: int, pid: int) -> None:
        """A descriptor that becomes readable when the process ends. Its events come in the order of the ends, which
        SIGCHLD does not tell; a kernel before Linux 5.3 has but that.
        """
        with suppress(OSError, AttributeError):
            watch = os.pidfd_open(pid)
            self._watches[rank] = watch
            self._selector.register(watch, selectors.EVENT_READ, Watched(rank))

    def gone(self, rank: int) -> Gone | None:
        """How the main process of `rank` has ended; None while it runs. It stays a zombie until `bury`."""
        return self._peek(os.P_PID, self._pids[rank]) if rank in self._pids else None

    def any_gone(self) -> Iterator[Gone]:
        """Every child that has ended, to be buried before the next is asked for.

        Raises:
            ChildProcessError: there is no child at all.
        """
        while gone := self._peek(os.P_ALL, 0):
            yield gone

    def _peek(self, kind: int, pid: int) -> Gone | None:
        told = os.waitid(kind, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if told is None:
            return None
        by_itself = told.si_code == os.CLD_EXITED
        rank = next((rank for rank, known in self._pids.items() if known == told.si_pid), None)
        exit_ = Exit(told.si_status) if by_itself else Exit(1, told.si_status)
        return Gone(told.si_pid, rank, exit_, 0 if rank is None else self._stopped.get(rank, 0))

    def bury(self, gone: Gone) -> int:
        """Forgets a child that has ended; returns its largest resident set in bytes."""
        _, _, usage = os.wait4(gone.pid, 0)
        if gone.rank is not None:
            del self._pids[gone.rank]
            self._stopped.pop(gone.rank, None)
            if (watch := self._watches.pop(gone.rank, -1)) >= 0:
                self._selector.unregister(watch)
                os.close(watch)
        return usage.ru_maxrss * 1024

    def tell(self, ranks: Iterable[int], number: int) -> None:
        """Sends a signal to main processes. One that is stopped cannot heed it before it goes on."""
        for rank in ranks:
            if rank in self._pids:
                self._note(rank, number)
                with suppress(*_GONE):
                    os.kill(self._pids[rank], number)
                    if number in _POLITE:
                        os.kill(self._pids[rank], signal.SIGCONT)

    def knew(self, ranks: Iterable[int], number: int) -> None:
        """Remembers a signal that somebody else has sent to them."""
        for rank in ranks:
            if rank in self._pids:
                self._note(rank, number)

    def _note(self, rank: int, number: int) -> None:
        """Remembers that `rank` ends because it is told to, unless it has ended already and waits to be buried."""
        if number in (*_POLITE, signal.SIGKILL) and self.gone(rank) is None:
            self._stopped[rank] = number

    def tell_groups(self, number: int, rank: int | None = None) -> None:
        """Sends a signal to the process group of `rank`, or of every rank."""
        for known, pid in self._pids.items():
            if known >= 0 and rank in (None, known):
                self._note(known, number)
                with suppress(*_GONE):
                    os.killpg(pid, number)

    def left(self) -> Iterator[Descendant]:
        """Every process below this one that a rank has started, or is."""
        strangers = set()
        for descendant in descendants():
            known = descendant.session == self._session or (descendant.pid, descendant.start) in self._strangers
            if known or descendant.parent in strangers:
                strangers.add(descendant.pid)
            else:
                yield descendant

    @property
    def alone(self) -> bool:
        """Whether no child of ours is left but those that are nobody's concern here."""
        return bool(self._strangers) and not self._pids and not any(self.left())

    def tell_all(self, number: int) -> None:
        """Sends a signal to all that are left."""
        for descendant in self.left():
            tell(descendant, number)

    def close(self) -> None:
        """Closes what is still watched."""
        for watch in self._watches.values():
            self._selector.unregister(watch)
            os.close(watch)
        self._watches.clear()


def _children() -> frozenset[tuple[int, int]]:
    """Processes that are below this one before it has started any, by pid and time of start."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()
    return frozenset((descendant.pid, descendant.start) for descendant in descendants())
