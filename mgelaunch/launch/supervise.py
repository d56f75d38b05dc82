"""Carries out what lifecycle.py decides: starts the ranks, waits for whatever happens, and ends them all."""

import errno
import os
import selectors
import signal
import time
from collections.abc import Callable

from mgelaunch.errors import Failure
from mgelaunch.host import out_of_memory
from mgelaunch.host.amounts import counted
from mgelaunch.host.files import Files
from mgelaunch.launch import events, lifecycle
from mgelaunch.launch import keeper as rendezvous
from mgelaunch.launch.attempt import Attempt, not_started, start
from mgelaunch.launch.descriptors import allow_files, may_write, restore_terminal, terminal_state
from mgelaunch.launch.events import Exit
from mgelaunch.launch.job import Job, Outcome, how, prefixes, waiting
from mgelaunch.launch.keeper import Keeper
from mgelaunch.launch.outcome import Told, conclude
from mgelaunch.launch.pump import Pump, Ready
from mgelaunch.launch.ranks import Gone, Ranks, Watched
from mgelaunch.launch.signals import Signals
from mgelaunch.launch.spawn import Gate, adopt

_LONGEST = 86400.0
"""Seconds that are waited at once; epoll takes no more than 24 days."""
_IMPATIENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def supervise(job: Job, say: Callable[[str], None]) -> Outcome:
    """Runs the ranks of `job` to their end; when it returns no process of theirs is left. `say` puts a line on stderr.

    Raises:
        Failure: the ranks could not be started; none of them runs.
    """
    terminal = terminal_state()
    try:
        supervisor = _Supervisor(job, say)
    except OSError as error:
        raise not_started(error, 0, len(job.plan.processes)) from None
    try:
        return supervisor.run()
    finally:
        supervisor.close()
        restore_terminal(terminal)


class _Supervisor:
    """The one mutable thing of this module."""

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        world = len(job.plan.processes)
        self._job = job
        self._say = say
        self._files = allow_files(8 * world + 64)
        self._selector = selectors.DefaultSelector()
        self._signals = Signals()
        self._selector.register(self._signals, selectors.EVENT_READ, self._signals)
        self._kernel = adopt()
        self._ranks = Ranks(self._selector, job.inherited)
        direct = world == 1 and job.coloured is not None and job.records is None
        self._pump = None if direct else Pump(self._selector, prefixes(world), job.records, job.coloured)
        self._meeting = job.meeting
        self._gate: Gate | None = None
        self._keeper: Keeper | None = None
        self._refused: dict[int, OSError] = {}
        self._sweeping = False
        self._killing = False
        self._warned = False
        self._code: int | None = None
        self._memory = out_of_memory.Kills(None, "", None)
        self._state = events.State(job.rules, world, 0.0, frozenset())

    def run(self) -> Outcome:
        """From the first start to the last word."""
        self._start(0)
        self._state = lifecycle.begin(self._job.rules, self._state.world, time.monotonic())
        self._memory = out_of_memory.kills(Files())  # the ranks are on their way, and have used none yet
        while self._code is None:
            self._turn()
        now = time.monotonic()
        code = self._flush(self._pump, self._code, now) if self._pump else self._code
        refused = self._refused.get(self._state.cause.rank) if self._state.cause else None
        told = Told(self._pump, self._meeting, self._keeper, self._memory, refused)
        return conclude(self._job, self._state, code, told, now)

    def _flush(self, pump: Pump, code: int, now: float) -> int:
        """Writes what is left of the output, however long its reader takes after a job that went well; returns the exit
        code, which is another one if nobody gets it.
        """
        pump.drain(now)
        if code:
            pump.end_line()
        until = max(self._state.cause.at + self._job.rules.grace, now + 1.0) if self._state.cause else None
        number = 0
        while pump.pending and not number and (until is None or time.monotonic() < until):
            number = self._interrupted(pump, until)
        if self._state.cause:
            return code
        if number:
            cause = events.Cause("signal", now, exit=Exit(0, number))
        elif pump.lost and (not self._job.records or self._job.records.lost):
            cause = events.Cause("output", now, exit=_exit_of(pump.lost))
        else:
            return code
        self._state = self._state._replace(cause=cause)
        return cause.exit.status

    def close(self) -> None:
        """Gives back what was opened."""
        if self._pump:
            self._pump.close()
        self._ranks.close()
        self._forget_attempt()
        self._signals.close()
        self._selector.close()

    # What happens

    def _turn(self) -> None:
        """Waits for the next events and deals with all of them, the ends of ranks first."""
        times = [
            when for when in (lifecycle.wake(self._state), self._pump.due if self._pump else None) if when is not None
        ]
        timeout = max(0.0, min(times) - time.monotonic()) if times else None
        ready = [key.data for key, _ in self._wait(timeout)]
        ended = [data for data in ready if isinstance(data, Watched)]
        for watched in ended:
            if gone := self._ranks.gone(watched.rank):
                self._bury(gone)
        if self._signals in ready:
            self._heed()
        if ended:
            self._reap()
        if self._keeper in ready and self._keeper:
            self._listen(self._keeper)
        if self._gate in ready and self._gate:
            self._hear_refusals(self._gate)
        if self._pump:
            self._flow(self._pump, [data for data in ready if isinstance(data, Ready)])
        self._do(events.Clock())
        if self._killing:
            self._killing = False
            self._reap()

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """What has happened. A process that was stopped meanwhile finds its time over before it is told the rest."""
        happened = self._selector.select(timeout if timeout is None else min(timeout, _LONGEST))
        return happened or self._selector.select(0)

    def _flow(self, pump: Pump, ready: list[Ready]) -> None:
        now = time.monotonic()
        for data in ready:
            pump.ready(data, now)
        pump.ripen(now)
        if pump.lost:
            self._mourn(pump.lost)

    def _heed(self) -> None:
        for number in self._signals.take():
            if number == signal.SIGCHLD:
                self._reap()
            else:
                self._do(events.Told(number))

    def _reap(self) -> None:
        """Buries every child that has ended, the orphans of ranks included."""
        try:
            for gone in self._ranks.any_gone():
                self._bury(gone)
            alone = self._ranks.alone
        except ChildProcessError:
            alone = True
        if alone and self._code is None:
            self._do(events.Alone())
        elif self._sweeping:
            self._sweeping = False
            self._ranks.tell_all(signal.SIGTERM)

    def _bury(self, gone: Gone) -> None:
        """What is to be done at the end of a rank is done while its pid cannot be anybody else's."""
        if gone.rank is not None and gone.rank >= 0:
            if self._gate:
                self._hear_refusals(self._gate)
            self._do(events.Ended(gone.rank, gone.exit, gone.rank in self._refused))
        peak = self._ranks.bury(gone)
        if gone.rank is not None and gone.rank >= 0 and self._job.records:
            self._job.records.ended(gone.rank, gone.exit, peak)
        if gone.rank == rendezvous.RANK and self._keeper:
            self._listen(self._keeper)  # why it ended, perhaps
            if self._state.running:
                self._do(events.Broken("keeper", gone.exit))

    def _listen(self, keeper: Keeper) -> None:
        for event in keeper.events(self._selector):
            if event["event"] == "joined":
                missing = set(range(self._state.world)) - self._state.joined
                unknown = min(missing, default=0)  # one has joined, and the server could not tell which
                self._do(events.Joined(unknown if event["rank"] is None else event["rank"]))

    def _hear_refusals(self, gate: Gate) -> None:
        told = gate.refusals()
        if told is None:
            self._forget_gate()
        else:
            self._refused |= {rank: OSError(number, os.strerror(number)) for rank, number in told}

    def _mourn(self, lost: OSError) -> None:
        """Our own output takes nothing any more: where no log has it, nobody will ever read what the ranks say."""
        if not self._job.records or self._job.records.lost:
            self._do(events.Broken("output", _exit_of(lost)))
        elif not self._warned:
            self._warned = True
            self._tell_user(
                f"mgelaunch: warning: the output cannot be shown any more ({lost.strerror}); the logs have it"
            )

    def _interrupted(self, pump: Pump, until: float | None) -> int:
        """Waits for whoever reads our output. The signal of a user who does not want to; 0 without one."""
        for key, _ in self._wait(None if until is None else max(0.0, until - time.monotonic())):
            if isinstance(key.data, Ready):
                pump.ready(key.data, time.monotonic())
            elif key.data is self._signals:
                told = self._signals.take()
                if signal.SIGTSTP in told:
                    self._signals.suspend()
                return next((number for number in told if number in _IMPATIENT), 0)
        return 0

    # What is done

    def _do(self, event: events.Event) -> None:
        self._state, actions = lifecycle.step(self._state, event, time.monotonic())
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: events.Action) -> None:
        match action:
            case events.Tell(_, signal.SIGCONT):
                self._ranks.tell_groups(signal.SIGCONT)
            case events.Tell(ranks, number):
                self._ranks.tell(ranks, number)
            case events.Sweep(None):
                self._sweeping = True
            case events.Sweep(rank):
                self._ranks.tell_groups(signal.SIGTERM, rank)
            case events.Kill():
                self._ranks.tell_groups(signal.SIGKILL)
                self._ranks.tell_all(signal.SIGKILL)
                self._killing = True
            case events.Dismiss():
                if self._keeper:
                    self._keeper.dismiss()
            case events.Notice(ranks, left):
                self._tell_user(waiting(ranks, left))
            case events.Suspend():
                self._suspend()
            case events.Restart():
                self._restart()
            case events.Finish(code):
                self._code = code

    def _tell_user(self, text: str) -> None:
        """Nobody waits for a terminal that takes nothing."""
        if not (self._pump and self._pump.say(text)) and may_write(2):
            self._say(text)

    def _suspend(self) -> None:
        self._ranks.tell_groups(signal.SIGSTOP)
        began = time.monotonic()
        self._signals.suspend()
        self._do(events.Resumed(time.monotonic() - began))

    def _restart(self) -> None:
        cause, left = self._state.cause, self._job.rules.max_restarts - self._state.attempt - 1
        if cause:
            why = f"rank {cause.rank} {how(cause.exit)}"
            self._tell_user(f"mgelaunch: {why}; all ranks are started again ({counted(left, 'restart')} left)")
        if self._pump:
            self._pump.drain(time.monotonic())
        self._forget_attempt()
        self._sweeping = False
        try:
            self._start(self._state.attempt + 1)
        except Failure as failure:
            self._tell_user(f"mgelaunch: error: they could not be: {failure.message} [{failure.code}]")
            self._code = cause.exit.status if cause else failure.exit_code
            return
        self._state = lifecycle.restarted(self._state, time.monotonic())

    def _start(self, number: int) -> None:
        self._refused = {}

        def gate() -> Gate:
            return Gate(self._signals, self._kernel, self._files)

        self._begun(start(number, self._job, self._meeting, gate, self._ranks, self._pump))
        for process in self._job.plan.processes if self._job.records else ():
            self._job.records.started(process.rank, self._ranks.pid(process.rank), number)  # type: ignore[union-attr]

    def _begun(self, attempt: Attempt) -> None:
        self._meeting, self._gate, self._keeper = attempt
        self._selector.register(attempt.gate.report, selectors.EVENT_READ, attempt.gate)
        if attempt.keeper:
            attempt.keeper.watch(self._selector)

    def _forget_attempt(self) -> None:
        self._forget_gate()
        if self._keeper:
            self._keeper.close(self._selector)
            self._keeper = None

    def _forget_gate(self) -> None:
        if self._gate:
            self._selector.unregister(self._gate.report)
            os.close(self._gate.report)
            self._gate = None


def _exit_of(lost: OSError) -> Exit:
    """How a program ends that writes to what takes nothing any more."""
    return Exit(1, signal.SIGPIPE) if lost.errno == errno.EPIPE else Exit(1)
