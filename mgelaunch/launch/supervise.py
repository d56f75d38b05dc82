"""Carries out what lifecycle.py decides: starts the ranks, waits for whatever happens, and ends them all."""

import os
import selectors
import signal
import time
from collections.abc import Callable

from mgelaunch.errors import Failure
from mgelaunch.host import out_of_memory
from mgelaunch.host.files import Files
from mgelaunch.launch import events, lifecycle
from mgelaunch.launch import keeper as rendezvous
from mgelaunch.launch.attempt import Attempt, not_started, start
from mgelaunch.launch.descriptors import allow_files, restore_terminal, terminal_state
from mgelaunch.launch.flush import exit_of, flush, wait
from mgelaunch.launch.job import Job, Outcome, prefixes
from mgelaunch.launch.outcome import Told, conclude
from mgelaunch.launch.pump import Pump, Ready
from mgelaunch.launch.ranks import Gone, Ranks, Watched
from mgelaunch.launch.signals import Signals
from mgelaunch.launch.spawn import Gate, adopt
from mgelaunch.launch.voice import Voice


def supervise(job: Job, say: Callable[[str], None]) -> Outcome:
    """Runs the ranks of `job` that are here to their end; when it returns no process of theirs is left. `say` puts a
    line on stderr.

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


_ORPHANED = "orphaned"
"""What the selector says when the engine that started us has gone."""


class _Supervisor:
    """The one mutable thing of this module."""

    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        ranks = len(job.plan.processes)
        self._job = job
        self._files = allow_files(8 * ranks + 64)
        self._selector = selectors.DefaultSelector()
        self._signals = Signals()
        self._selector.register(self._signals, selectors.EVENT_READ, self._signals)
        self._kernel = adopt()
        self._ranks = Ranks(self._selector, job.inherited)
        direct = ranks == 1 and job.coloured is not None and not (job.logs or job.parent)
        starts = prefixes(job.here, job.size)
        self._pump = None if direct else Pump(self._selector, starts, job.logs, job.coloured)
        self._voice = Voice(self._pump, say)
        self._attempt: Attempt | None = None
        self._heard = 0
        self._parent = self._watched(job.parent) if job.parent else -1
        self._sweeping = False
        self._killing = False
        self._code: int | None = None
        self._memory = out_of_memory.Kills(None, "", None)
        self._state = events.State(job.rules, job.size, job.here, 0.0, frozenset())

    def _watched(self, parent: int) -> int:
        """A descriptor that becomes readable when `parent` ends; -1 on a kernel that has none."""
        try:
            watch = os.pidfd_open(parent)
        except (OSError, AttributeError):
            return -1
        self._selector.register(watch, selectors.EVENT_READ, _ORPHANED)
        return watch

    def run(self) -> Outcome:
        """From the first start to the last word."""
        attempt, rules = self._start(0), self._job.rules
        rules = rules if attempt.keeper else rules._replace(linger=None)  # there is nothing to stay for
        self._state = lifecycle.begin(rules, self._job.size, time.monotonic(), self._job.here)
        self._memory = out_of_memory.kills(Files())  # the ranks are on their way, and have used none yet
        while self._code is None:
            self._turn()
        now, code = time.monotonic(), self._code
        if self._pump:
            cause = flush(self._job, self._state, self._pump, self._signals, self._selector)
            code = cause.exit.status if cause and not self._state.cause else code
            self._state = self._state._replace(cause=cause)
        attempt = self._attempt or attempt
        refused = attempt.refused.get(self._state.cause.rank) if self._state.cause else None
        told = Told(self._pump, attempt.meeting, attempt.keeper, self._memory, refused)
        return conclude(self._job, self._state, code, told, now)

    def close(self) -> None:
        """Gives back what was opened."""
        if self._pump:
            self._pump.close()
        self._ranks.close()
        if self._attempt:
            self._attempt.close()
        self._forget_parent()
        self._signals.close()
        self._selector.close()

    # What happens

    def _turn(self) -> None:
        """Waits for the next events and deals with all of them, the ends of ranks first."""
        times = [
            when for when in (lifecycle.wake(self._state), self._pump.due if self._pump else None) if when is not None
        ]
        timeout = max(0.0, min(times) - time.monotonic()) if times else None
        ready = [key.data for key, _ in wait(self._selector, timeout)]
        ended = [data for data in ready if isinstance(data, Watched)]
        if self._job.shared:  # who ends by a signal that reached us both has not failed by itself
            self._heed()
        for watched in ended:
            if gone := self._ranks.gone(watched.rank):
                self._bury(gone)
        if self._signals in ready:
            self._heed()
        if ended:
            self._reap()
        if _ORPHANED in ready:
            self._forget_parent()
            self._do(events.Told(signal.SIGTERM))
        if self._attempt and self._attempt.keeper in ready:
            self._listen(self._attempt)
        if self._attempt and self._attempt.gate in ready:
            self._attempt.hear_refusals()
        if self._pump:
            self._flow(self._pump, [data for data in ready if isinstance(data, Ready)])
        self._do(events.Clock())
        if self._killing:
            self._killing = False
            self._reap()

    def _forget_parent(self) -> None:
        if self._parent >= 0:
            self._selector.unregister(self._parent)
            os.close(self._parent)
            self._parent = -1

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
                self._heard = number
                self._do(events.Told(number))
                self._heard = 0

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
        number = -1 if gone.rank is None else gone.rank
        if number >= 0 and self._attempt:
            self._attempt.hear_refusals()
            self._do(events.Ended(number, gone.exit, number in self._attempt.refused))
        peak = self._ranks.bury(gone)
        if number >= 0 and self._job.records:
            self._job.records.ended(number, gone.exit, peak, gone.stopped)
        if gone.rank == rendezvous.RANK and self._attempt:
            self._listen(self._attempt)  # why it ended, perhaps
            if self._state.running or self._state.lingering:
                self._do(events.Broken("keeper", gone.exit))

    def _listen(self, attempt: Attempt) -> None:
        for event in attempt.news():
            self._do(event)

    def _mourn(self, lost: OSError) -> None:
        """Our own output takes nothing any more: where no log has it, nobody will ever read what the ranks say."""
        if not self._job.logs or self._job.logs.lost:
            self._do(events.Broken("output", exit_of(lost)))
        else:
            self._voice.only_logs(lost)

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
                known = self._job.shared and number == self._heard
                (self._ranks.knew if known else self._ranks.tell)(ranks, number)
            case events.Sweep(None):
                self._sweeping = True
            case events.Sweep(rank):
                self._ranks.tell_groups(signal.SIGTERM, rank)
            case events.Kill():
                self._ranks.tell_groups(signal.SIGKILL)
                self._ranks.tell_all(signal.SIGKILL)
                self._killing = True
            case events.Dismiss():
                if self._attempt and self._attempt.keeper:
                    self._attempt.keeper.dismiss()
            case events.Notice() | events.Forsake():
                self._voice.say(action)
            case events.Suspend():
                self._suspend()
            case events.Restart():
                self._restart()
            case events.Finish(code):
                self._code = code

    def _suspend(self) -> None:
        self._ranks.tell_groups(signal.SIGSTOP)
        began = time.monotonic()
        self._signals.suspend()
        self._do(events.Resumed(time.monotonic() - began))

    def _restart(self) -> None:
        cause, left = self._state.cause, self._job.rules.max_restarts - self._state.attempt - 1
        if cause:
            self._voice.restart(cause, left)
        if self._pump:
            self._pump.drain(time.monotonic())
        if self._attempt:
            self._attempt.close()
        self._sweeping = False
        try:
            self._start(self._state.attempt + 1)
        except Failure as failure:
            self._voice.tell(f"mgelaunch: error: they could not be: {failure.message} [{failure.code}]")
            self._code = cause.exit.status if cause else failure.exit_code
            return
        self._state = lifecycle.restarted(self._state, time.monotonic())

    def _start(self, number: int) -> Attempt:
        def gate() -> Gate:
            return Gate(self._signals, self._kernel, self._files)

        meeting = self._attempt.meeting if self._attempt else self._job.meeting
        self._attempt = start(number, self._job, meeting, gate, self._ranks, self._pump, self._selector)
        for rank in self._job.here if self._job.records else ():
            self._job.records.started(rank, self._ranks.pid(rank), number)  # type: ignore[union-attr]
        return self._attempt
