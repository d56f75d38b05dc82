"""Runs the command by which an engine starts the ranks, tells it what we are told, and ends it when nothing else does.

The same state machine decides as for ranks of our own (lifecycle.py), with the engine in the place of the only rank.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mgelaunch.host.descendants import descendants, tell
from mgelaunch.launch import events, lifecycle
from mgelaunch.launch.descriptors import allow_files, may_read
from mgelaunch.launch.plan import Process
from mgelaunch.launch.signals import Signals
from mgelaunch.launch.spawn import Gate, Streams, adopt

END = signal.SIGALRM
"""What tells ``mgelaunch rank`` to end its script: of the signals that Open MPI passes on at once, the one that nobody
sends to a launcher.
"""
_LOOK = 2.0
"""Seconds between two looks at the records of the ranks: nobody tells of a file on a shared disk."""
_ANSWER = 10.0
"""Seconds that a command of the engine may take to answer."""
_ROUNDS = 40
"""Rounds of KILL, two seconds, after which the engine itself is killed and not only told to end the ranks."""


class Reins(Protocol):
    """How an engine is told to pass something on to its ranks. ``pid`` is its own process."""

    def tell(self, pid: int, number: int) -> None:
        """Passes a signal on to every rank."""

    def kill(self, pid: int) -> None:
        """Ends every rank at once."""


class Direct:
    """An engine that passes signals on by itself, as mpirun does. TERM it keeps to itself, and sleeps before it tells
    the ranks; so that one travels as `END`, which they understand once all of them are there.
    """

    def __init__(self, are_running: Callable[[], bool]) -> None:
        """`are_running`: all ranks have been started, and not all have ended."""
        self._are_running = are_running

    def tell(self, pid: int, number: int) -> None:
        """Passes a signal on; one that ends does so as TERM."""
        if number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
            os.kill(pid, number)
        else:
            os.kill(pid, END if self._are_running() else signal.SIGTERM)

    def kill(self, pid: int) -> None:
        """Ends the ranks, for whom a second `END` is the last one, or else the engine; its ranks end with it."""
        os.kill(pid, END if self._are_running() else signal.SIGKILL)


class ByCommand:
    """An engine whose ranks are reached by other commands, as those of srun are."""

    def __init__(
        self,
        environment: Mapping[str, str],
        find: tuple[str, ...],
        identity: Callable[[str], str],
        tell: Callable[[str, str], tuple[str, ...]],
    ) -> None:
        """`find` prints what `identity` reads the step from; `tell` is the command for a step and a signal."""
        self._environment = environment
        self._find = find
        self._identity = identity
        self._tell = tell
        self._step = ""

    def tell(self, pid: int, number: int) -> None:
        """Passes a signal on; when the engine does not answer, what ends is told to the engine itself."""
        if number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)  # srun passes these on by itself
        elif not self._send(signal.Signals(number).name.removeprefix("SIG")) and number != signal.SIGCONT:
            os.kill(pid, signal.SIGTERM)

    def kill(self, pid: int) -> None:
        """Ends every rank at once."""
        if not self._send("KILL"):
            os.kill(pid, signal.SIGKILL)

    def _send(self, name: str) -> bool:
        self._step = self._step or self._identity(self._run(self._find) or "")
        return bool(self._step) and self._run(self._tell(self._step, name)) is not None

    def _run(self, command: Sequence[str]) -> str | None:
        """What `command` prints; None when it fails, or says nothing for long."""
        try:
            done = subprocess.run(
                command, env=self._environment, capture_output=True, text=True, timeout=_ANSWER, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return None if done.returncode else done.stdout


class Ended(NamedTuple):
    """How the engine ended, and why it was told to; ``given_up``: it did not end although its ranks had."""

    exit: events.Exit
    cause: events.Cause | None
    given_up: bool


def run_engine(
    process: Process,
    environment: Mapping[str, str],
    reins: Reins,
    rules: events.Rules,
    patience: Callable[[], float | None],
    say: Callable[[str], None],
) -> Ended:
    """Runs `process` with the whole `environment` to its end. `patience` tells how many seconds the engine has left to
    notice that the job is over, or ought to be, by the records of its ranks; None while it is not.

    Raises:
        OSError: it cannot be started.
    """
    run = _Run(process, environment, reins, rules, patience, say)
    try:
        return run.to_the_end()
    finally:
        run.close()


class _Run:
    """The one mutable thing of this module."""

    def __init__(
        self,
        process: Process,
        environment: Mapping[str, str],
        reins: Reins,
        rules: events.Rules,
        patience: Callable[[], float | None],
        say: Callable[[str], None],
    ) -> None:
        self._reins, self._rules, self._patience, self._say = reins, rules, patience, say
        self._signals = Signals()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._signals, selectors.EVENT_READ)
        self._exit: events.Exit | None = None
        self._over_at: float | None = None
        self._given_up = False
        self._rounds = 0
        self.pid = self._start(process, environment)
        self._watch = os.pidfd_open(self.pid)
        self._selector.register(self._watch, selectors.EVENT_READ)
        self._state = lifecycle.begin(rules, 1, time.monotonic())

    def _start(self, process: Process, environment: Mapping[str, str]) -> int:
        gate = Gate(self._signals, adopt(), allow_files(64))
        with open(os.devnull, "rb", buffering=0) as null:
            stdin = 0 if may_read() else null.fileno()
            return gate.start(process, environment, Streams(stdin, 1, 2))

    def to_the_end(self) -> Ended:
        """Waits for whatever happens."""
        while self._exit is None:
            self._selector.select(self._timeout())
            for number in self._signals.take():
                if number != signal.SIGCHLD:
                    self._do(events.Told(number))
            self._reap()
            self._look()
            self._do(events.Clock())
        self._clear()
        return Ended(self._exit, self._state.cause, self._given_up)

    def _clear(self) -> None:
        """Ends what the engine has left: when it was killed, its ranks on this host are ours now."""
        told: set[int] = set()
        until = time.monotonic() + self._rules.grace
        while left := [each for each in descendants() if each.session != os.getsid(0)]:
            late = time.monotonic() > until
            if time.monotonic() > until + _LOOK:
                return  # another user's, or held by the kernel
            for each in left:
                if late or each.pid not in told:
                    told.add(each.pid)
                    tell(each, signal.SIGKILL if late else signal.SIGTERM)
            self._selector.select(0.05)
            self._signals.take()
            self._reap()

    def close(self) -> None:
        """Gives back what was opened."""
        os.close(self._watch)
        self._selector.close()
        self._signals.close()

    def _timeout(self) -> float:
        due = lifecycle.wake(self._state)
        return _LOOK if due is None else max(0.0, min(_LOOK, due - time.monotonic()))

    def _reap(self) -> None:
        """Buries every child: orphans of the engine come to us."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self.pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._exit = events.Exit(code) if code >= 0 else events.Exit(1, -code)
        except ChildProcessError:
            return

    def _look(self) -> None:
        """Ends an engine that has not noticed the end of its ranks."""
        now = time.monotonic()
        patience = None if self._exit or self._state.stopping else self._patience()
        if patience is None:
            self._over_at = None
        elif self._over_at is None:
            self._over_at = now
        elif now - self._over_at > patience:
            self._end()
            self._over_at = now

    def _end(self) -> None:
        """Ends the ranks that are left, and when that has not helped, the engine."""
        if self._given_up:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self._reins.kill(self.pid)
        self._given_up = True

    def _do(self, event: events.Event) -> None:
        if self._exit:
            return
        self._state, actions = lifecycle.step(self._state, event, time.monotonic())
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: events.Action) -> None:
        match action:
            case events.Tell(_, number) if number != signal.SIGWINCH:
                self._reins.tell(self.pid, number)
            case events.Kill():
                self._rounds += 1
                if self._rounds == 1:
                    self._reins.kill(self.pid)
                elif self._rounds == _ROUNDS:
                    os.kill(self.pid, signal.SIGKILL)
            case events.Notice(_, left) if left >= 0:
                self._say(f"mgelaunch: waiting for the ranks to end; killed in {left:.0f} s, or at once by Ctrl-C")
            case events.Finish():
                self._exit = self._exit or events.Exit(1, signal.SIGKILL)  # it cannot be killed: the kernel has it
            case events.Suspend():
                began = time.monotonic()
                self._signals.suspend()
                self._do(events.Resumed(time.monotonic() - began))
