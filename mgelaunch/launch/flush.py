"""The end of the output: what is left of it is written, however long its reader takes after a job that went well."""

import errno
import selectors
import signal
import time

from mgelaunch.launch.events import Cause, Exit, State
from mgelaunch.launch.job import Job
from mgelaunch.launch.pump import Pump, Ready
from mgelaunch.launch.signals import Signals

_LONGEST = 86400.0
"""Seconds that are waited at once; epoll takes no more than 24 days."""
_IMPATIENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

Happened = list[tuple[selectors.SelectorKey, int]]


def wait(selector: selectors.BaseSelector, timeout: float | None) -> Happened:
    """What has happened within `timeout` seconds, None waits for ever. A process that was stopped meanwhile finds its
    time over before it is told the rest.
    """
    happened = selector.select(timeout if timeout is None else min(timeout, _LONGEST))
    return happened or selector.select(0)


def flush(job: Job, state: State, pump: Pump, signals: Signals, selector: selectors.BaseSelector) -> Cause | None:
    """Writes what is left; returns why the job ended, which is another reason if nobody gets what a good one said."""
    now = time.monotonic()
    pump.drain(now)
    if state.cause:
        pump.end_line()
    until = max(state.cause.at + job.rules.grace, now + 1.0) if state.cause else None
    number = 0
    while pump.pending and not number and (until is None or time.monotonic() < until):
        number = _interrupted(pump, signals, wait(selector, _left(until)))
    if state.cause:
        return state.cause
    if number:
        return Cause("signal", now, exit=Exit(0, number))
    if pump.lost and (not job.logs or job.logs.lost):
        return Cause("output", now, exit=exit_of(pump.lost))
    return None


def _interrupted(pump: Pump, signals: Signals, happened: Happened) -> int:
    """Goes on writing for whoever reads our output. The signal of a user who does not want to wait; 0 without one."""
    for key, _ in happened:
        if isinstance(key.data, Ready):
            pump.ready(key.data, time.monotonic())
        elif key.data is signals:
            told = signals.take()
            if signal.SIGTSTP in told:
                signals.suspend()
            return next((number for number in told if number in _IMPATIENT), 0)
    return 0


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


def exit_of(lost: OSError) -> Exit:
    """How a program ends that writes to what takes nothing any more."""
    return Exit(1, signal.SIGPIPE) if lost.errno == errno.EPIPE else Exit(1)
