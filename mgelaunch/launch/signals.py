"""Signals as events: a handler only takes a note, whoever waits for the descriptor does the work."""

import os
import signal
from types import FrameType

HANDLED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGCHLD,
)
_OF_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_OF_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by Python, or by us, for its own sake."""
_HARMLESS = (signal.SIGWINCH, signal.SIGCONT, signal.SIGCHLD)
"""Signals that do nothing to a program that knows none of them, nor to a child that is about to become one."""


class Signals:
    """Takes the signals of this process from construction to `close`.

    What was ignored when we were started stays ignored, by us and by the ranks: ``nohup`` means it. Only INT and
    QUIT, which a shell without job control makes every ``command &`` ignore for the keyboard's sake, are still heeded
    unless the keyboard can have sent them: then somebody means us.
    """

    def __init__(self) -> None:
        self._read, write = os.pipe()
        for end in (self._read, write):
            os.set_blocking(end, False)
        self._write = write
        self._former = {number: signal.getsignal(number) for number in HANDLED}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self.release()

    def fileno(self) -> int:
        """The descriptor that becomes readable when a signal has come."""
        return self._read

    def take(self) -> list[int]:
        """The signals since the last call, each once, INT before others: of several that come at once Python tells the
        last one first, and a Ctrl-C after another signal would mean that somebody is out of patience. The ends of
        children come last: a child that has ended by the same signal was told to.
        """
        try:
            told = os.read(self._read, 4096)
        except BlockingIOError:
            return []
        told = bytes(sorted(dict.fromkeys(told), key=lambda n: (n == signal.SIGCHLD, n != signal.SIGINT)))
        if signal.SIGCONT in told:
            told = told.replace(bytes([signal.SIGTSTP]), b"")  # somebody has already changed their mind
        return [number for number in told if not self._ignored(number) or not _from_terminal()]

    def hold(self) -> None:
        """Keeps signals waiting while children are forked: none of them may take a note in our name. What a child would
        have to undo is undone here, once for all of them.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        for number, former in self._former.items():
            # A signal that waits is lost when it is set to be ignored, and so is one that does nothing.
            if number not in _HARMLESS and former != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        for number in _OF_PYTHON:
            signal.signal(number, signal.SIG_DFL)

    def release(self) -> None:
        """Lets signals in again, also those that whoever started us had blocked: we could not be ended."""
        for number in _OF_PYTHON:
            signal.signal(number, signal.SIG_IGN)
        for number in HANDLED:
            if number in _OF_TERMINAL or number == signal.SIGCHLD or not self._ignored(number):
                signal.signal(number, _note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def restore(self) -> None:
        """In a child of the time between `hold` and `release`: every signal acts as it did on us when we were started.
        Becoming a program undoes what is left.
        """
        signal.set_wakeup_fd(-1)
        for number in _OF_TERMINAL:
            if self._ignored(number):
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def suspend(self) -> None:
        """Stops this process as Ctrl-Z does any other; returns when it is continued."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _note)

    def close(self) -> None:
        """Lets signals act on this process as before."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.set_wakeup_fd(-1)
        for number, former in self._former.items():
            signal.signal(number, former if former is not None else signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)

    def _ignored(self, number: int) -> bool:
        return number != signal.SIGCHLD and self._former.get(signal.Signals(number)) == signal.SIG_IGN


def _note(number: int, frame: FrameType | None) -> None:
    """Nothing: the number is on its way through the pipe."""


def _from_terminal() -> bool:
    """Whether a signal can have come from the keyboard: this process is in the terminal's foreground."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
