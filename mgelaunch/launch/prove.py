"""Starts the target's interpreter to read values back (target/prove.py), with a deadline, and leaves nothing of it."""

import os
import select
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Literal, NamedTuple

import mgelaunch.target
from mgelaunch import errors
from mgelaunch.host.descendants import descendants, tell
from mgelaunch.launch.descriptors import allow_files
from mgelaunch.launch.events import Exit
from mgelaunch.launch.plan import Process
from mgelaunch.launch.signals import Signals
from mgelaunch.launch.spawn import Gate, Streams, adopt
from mgelaunch.launch.tail import Tail
from mgelaunch.target.answers import Answer, Question, answer

SCRIPT = os.path.join(os.path.dirname(mgelaunch.target.__file__), "prove.py")
_POLITE = (signal.SIGINT,) * 5
"""What an interpreter is told before it is killed: a build of torch's that is only killed leaves a file lock, for which
every later import waits without end, and the compiler its temporary files. One INT may be lost, in an ``except:`` of
Brevitas (0.13.4; all measured).
"""
_MERCY = 1.0
"""Seconds between two signals, and until what was killed must have gone."""
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_LOOK = 0.05
"""Seconds between two looks at what cannot be waited for."""
_LONGEST = 3600.0
"""How many seconds are waited at once: epoll takes no more than 24 days."""
_LINES = 3
"""How many of the last lines are kept."""


class Interrupted(errors.Failure):
    """A signal told us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the proof was ended by {signal.Signals(number).name}", "prove.signal")
        self.exit_code = 128 + number


class Failure(NamedTuple):
    """Why an interpreter did not come to the end: ``sentence`` says it in one."""

    kind: Literal["died", "hang", "import"]
    sentence: str


def _named(number: int) -> str:
    """``SIGABRT``; a number where the signal has no name."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


class Told(NamedTuple):
    """What an interpreter has told, how it ended (None: not before the deadline), and the last lines that anything in
    it wrote.
    """

    answer: Answer
    exit: Exit | None
    lines: tuple[str, ...] = ()

    def failure(self, deadline: float) -> Failure | None:
        """What went wrong, if anything did; `deadline` is in seconds."""
        doing = self.answer.doing or "starting"
        if self.exit is None:
            return Failure("hang", f"python had not finished {doing} after {deadline:g} s")
        if self.answer.failed:
            return Failure("import", f"{doing} failed: {self.answer.failed}")
        if self.answer.ended:
            return None
        if self.exit.signal:
            return Failure("died", f"python died while {doing} ({_named(self.exit.signal)})")
        return Failure("died", f"python ended while {doing} (exit code {self.exit.code})")


Start = Callable[[tuple[str, ...]], Process]
"""Makes the process of which these are the words behind the interpreter."""


class Prover:
    """Starts one interpreter after another. A signal that ends us ends the one that runs."""

    def __init__(self, deadline: float) -> None:
        """`deadline` is how many seconds each of them has."""
        self.deadline = deadline
        self._signals = Signals()
        self._kernel = adopt()
        self._files = allow_files(64)
        self._told_to_end = 0
        self._hurried = False

    def close(self) -> None:
        """Gives the signals back."""
        self._signals.close()

    def ask(self, start: Start, question: Question, environment: Mapping[str, str]) -> Told:
        """What an interpreter tells in this whole `environment`. It and what it has started are ended.

        Raises:
            OSError: it cannot be started.
            Interrupted: a signal came.
        """
        with ExitStack() as opened:
            told, tell_on = _pipe(opened)
            said, say_on = _pipe(opened)
            null = os.open(os.devnull, os.O_RDONLY)
            opened.callback(os.close, null)
            process = start((SCRIPT, str(tell_on), question.request))
            gate = Gate(self._signals, self._kernel, self._files)
            pid = gate.start(process, environment, Streams(null, say_on, say_on, (tell_on,)))
            try:
                return self._hear(pid, told, said)
            finally:
                self._clear(pid)
                if self._told_to_end:
                    raise Interrupted(self._told_to_end)

    def _hear(self, pid: int, told: int, said: int) -> Told:
        until, heard, tail = time.monotonic() + self.deadline, bytearray(), Tail()
        with selectors.DefaultSelector() as selector:
            for end in (self._signals.fileno(), told, said):
                selector.register(end, selectors.EVENT_READ)
            while True:
                ended, late = _exit(pid), time.monotonic() >= until
                heard += _read(told)
                tail.add(_read(said))
                if ended or late:
                    return Told(answer(bytes(heard)), ended, tail.lines(_LINES))
                selector.select(min(max(0.0, until - time.monotonic()), _LONGEST))
                self._heed()

    def _heed(self) -> None:
        """Does what signals ask for.

        Raises:
            Interrupted: one of them ends us.
        """
        for number in self._signals.take():
            if number in _ENDS:
                self._told_to_end = number
                raise Interrupted(number)
            if number == signal.SIGTSTP:
                self._signals.suspend()

    def _clear(self, pid: int) -> None:
        """Ends the interpreter and all that it has started. Its number is nobody else's until it is buried at last."""
        gentle = _POLITE if _exit(pid) is None else ()
        for number in gentle:
            os.killpg(pid, number)
            if self._wait(lambda: _exit(pid) is not None, _MERCY) or self._hurried:
                break
        if gentle:
            self._wait(lambda: not _left(signal.SIGTERM), _MERCY)
        os.killpg(pid, signal.SIGKILL)
        self._wait(lambda: _exit(pid) is not None, _MERCY)
        self._wait(lambda: not _left(signal.SIGKILL), _MERCY)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Waits until it is done, but not for ever, and no longer for whoever presses Ctrl-C meanwhile."""
        until = time.monotonic() + seconds
        while not done() and time.monotonic() < until:
            select.select([self._signals], (), (), _LOOK)
            if told := [number for number in self._signals.take() if number in _ENDS]:
                self._told_to_end, self._hurried = told[0], True
                break
        return done()


def _pipe(opened: ExitStack) -> tuple[int, int]:
    """Both ends of a pipe that is closed with `opened`; reading does not wait."""
    ends = os.pipe()
    for end in ends:
        opened.callback(os.close, end)
    os.set_blocking(ends[0], False)
    return ends


def _read(end: int) -> bytes:
    """What is to be had at once, of a flood a part."""
    with suppress(BlockingIOError):
        return os.read(end, 1 << 20)
    return b""


def _exit(pid: int) -> Exit | None:
    """How the process has ended; None while it runs. It stays a zombie."""
    told = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if told is None:
        return None
    return Exit(told.si_status) if told.si_code == os.CLD_EXITED else Exit(1, told.si_status)


def _left(number: int) -> bool:
    """Whether anything is left below this process, but for what was there before, in our own session. It is told."""
    left = [each for each in descendants() if each.session != os.getsid(0)]
    for each in left:
        tell(each, number)
    return bool(left)
