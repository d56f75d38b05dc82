"""What happens to the ranks of a job, and when: a pure state machine that is told events and answers with actions.

Times are seconds of one monotonic clock. The loop in supervise.py carries the actions out.
"""

import signal

from mgelaunch.launch.events import (
    Action,
    Alone,
    Attended,
    Broken,
    Cause,
    Clock,
    Dismiss,
    Ended,
    Event,
    Exit,
    Finish,
    Forsake,
    Joined,
    Kill,
    Notice,
    Restart,
    Resumed,
    Rules,
    State,
    Suspend,
    Sweep,
    Tell,
    Told,
)

DOUBLED = 0.1
"""Seconds within which a second Ctrl-C is the same one, told by the terminal and by a wrapper of ours."""
NOTICE = 1.0
"""Seconds of stopping after which a user is told what is waited for."""
GIVE_UP = 100
"""Rounds of KILL, five seconds, after which what is still there is another user's, or held by the kernel."""
AGAIN = 0.05
"""Seconds between two rounds of KILL: a process may have been started during the first one."""


Decided = tuple[State, tuple[Action, ...]]

_ENDING = {
    signal.SIGINT: signal.SIGTERM,  # an interrupted barrier of MegEngine miscounts its ranks (measured on 1.13.0)
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGHUP: signal.SIGHUP,
    signal.SIGQUIT: signal.SIGQUIT,
}
"""Signals that end the job, and what the ranks get for each."""
_PASSED_ON = frozenset({signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH})


def begin(rules: Rules, world: int, now: float, here: range | None = None) -> State:
    """The state when the ranks have just been started for the first time: of `world`, those that are `here`, or all."""
    here = range(world) if here is None else here
    return State(rules, world, here, now, frozenset(here), attempt_began=now)


def restarted(state: State, now: float) -> State:
    """The state when the ranks have just been started again."""
    fresh = begin(state.rules, state.world, now, state.here)
    return fresh._replace(began=state.began, attempt=state.attempt + 1)


def step(state: State, event: Event, now: float) -> Decided:
    """What becomes of `state` when `event` happens at `now`, and what is to be done."""
    match event:
        case Ended(rank, exit_, refused):
            return _ended(state._replace(final=state.final or refused), rank, exit_, now)
        case Told(number):
            return _told(state, number, now)
        case Joined(rank, remote):
            return _left_alone(_joined(state, rank, remote=remote), now)
        case Attended(still):
            return _left_alone(state._replace(attended=still), now)
        case Broken(kind, exit_):
            cause = Cause(kind, now, exit=exit_)
            return (state, ()) if state.stopping else _stop(state, cause, signal.SIGTERM, now)
        case Resumed(slept):
            return _resumed(state, slept)
        case Clock():
            return _clock(state, now)
        case Alone():
            return _alone(state, now)


def wake(state: State) -> float | None:
    """When the clock is to be told again; None when only events matter."""
    times = (
        [state.kill_at, state.notice_at]
        if state.stopping
        else [_time_limit(state), _join_limit(state), state.linger_at]
    )
    return min((time for time in times if time is not None), default=None)


def _stop(state: State, cause: Cause | None, told: int, now: float) -> Decided:
    """Begins to stop what still runs."""
    stopping = state._replace(cause=cause, kill_at=now + state.rules.grace, notice_at=now + NOTICE)
    ranks = tuple(sorted(state.running))
    return stopping, (Tell(ranks, told),) if ranks else (Dismiss(), Sweep())


def _ended(state: State, rank: int, exit_: Exit, now: float) -> Decided:
    state = state._replace(running=state.running - {rank}, exits=(*state.exits, (rank, exit_)))
    actions: tuple[Action, ...] = ()
    if not state.stopping:
        if exit_.status:
            state, actions = _stop(state, Cause("rank", now, rank, exit_), signal.SIGTERM, now)
        elif not state.running:
            return _all_well(state, now)
        else:
            return state, ()  # a rank that ends with 0 ends nobody
    if not state.running:
        return state, (Dismiss(), Sweep(rank), Sweep())
    return state, (*actions, Sweep(rank))


def _all_well(state: State, now: float) -> Decided:
    """All ranks here have ended with 0, and those elsewhere may still need the server."""
    if state.rules.linger is None or len(state.here) >= state.world:
        return _stop(state, None, signal.SIGTERM, now)
    return _left_alone(state._replace(linger_at=now + state.rules.linger), now)


def _left_alone(state: State, now: float) -> Decided:
    """Ends a server that stays for ranks elsewhere when all of them have come and gone."""
    over = state.lingering and state.complete and not state.attended
    return _stop(state, None, signal.SIGTERM, now) if over else (state, ())


def _joined(state: State, rank: int | None, *, remote: bool) -> State:
    if rank is not None:
        return state._replace(joined=state.joined | {rank})
    return state._replace(remote=state.remote + 1) if remote else state._replace(unnamed=state.unnamed + 1)


def _told(state: State, number: int, now: float) -> Decided:
    if number == signal.SIGTSTP:
        return state, (Suspend(),)
    if number in _PASSED_ON:
        return state, (Tell(tuple(sorted(state.running)), number),)
    if number not in _ENDING:
        return state, ()
    interrupted = number == signal.SIGINT
    doubled = interrupted and now - state.interrupted_at < DOUBLED
    # Who has not yet been told that ranks are being stopped does not mean to kill them by a first Ctrl-C.
    insistent = interrupted and (state.interrupted_at > float("-inf") or state.notice_at is None)
    if interrupted:
        state = state._replace(interrupted_at=now)
    if not state.stopping:
        cause = Cause("signal", now, exit=Exit(0, number))
        return _stop(state, cause, _ENDING[signal.Signals(number)], now)
    if state.cause is None:
        state = state._replace(cause=Cause("signal", now, exit=Exit(0, number)))  # a job that has not quite gone well
    state = state._replace(final=True)
    return _kill(state, now) if insistent and not doubled else (state, ())


def _kill(state: State, now: float) -> Decided:
    if state.kills >= GIVE_UP:
        return state, (Notice(tuple(sorted(state.running)), -1.0), Finish(_code(state.cause)))
    killed = state._replace(
        kill_at=now + AGAIN, notice_at=None, killed=state.killed | state.running, kills=state.kills + 1
    )
    return killed, (Dismiss(), Kill())


def _resumed(state: State, slept: float) -> Decided:
    """Deadlines that the ranks could not keep while they were suspended are put off; the time limit is wall time."""
    later = state._replace(attempt_began=state.attempt_began + slept)
    if state.kill_at is not None:
        later = later._replace(kill_at=state.kill_at + slept)
    return later, (Tell(tuple(sorted(state.running)), signal.SIGCONT),)


def _clock(state: State, now: float) -> Decided:
    if state.kill_at is not None:
        if now >= state.kill_at:
            return _kill(state, now)
        if state.notice_at is not None and now >= state.notice_at:
            notice = Notice(tuple(sorted(state.running)), state.kill_at - now)
            return state._replace(notice_at=None), (notice,)
        return state, ()
    if _is_past(_time_limit(state), now):
        return _stop(state, Cause("time", now), signal.SIGTERM, now)
    if _is_past(_join_limit(state), now):
        return _stop(state, _missing(state, now), signal.SIGTERM, now)
    if _is_past(state.linger_at, now):
        state, actions = _stop(state, None, signal.SIGTERM, now)
        return state, (Forsake(state.rules.linger or 0.0), *actions)
    return state, ()


def _missing(state: State, now: float) -> Cause:
    """Who has not joined: by number where no rank that could not be named may be the one."""
    missing = [rank for rank in range(state.world) if rank not in state.joined]
    named = [rank for rank in missing if not state.unnamed and (rank in state.here or not state.remote)]
    others = len(missing) - len(named) - state.unnamed - state.remote
    return Cause("join", now, ranks=tuple(named), unnamed=max(0, others))


def _is_past(time: float | None, now: float) -> bool:
    return time is not None and now >= time


def _time_limit(state: State) -> float | None:
    return None if state.rules.time_limit is None else state.began + state.rules.time_limit


def _join_limit(state: State) -> float | None:
    if state.rules.join_timeout is None or state.complete:
        return None
    return state.attempt_began + state.rules.join_timeout


def _alone(state: State, now: float) -> Decided:
    if state.running:
        return state, ()
    cause = state.cause
    if cause and cause.kind == "rank" and state.attempt < state.rules.max_restarts:
        is_accident = state.attempt > 0 or cause.at - state.began >= state.rules.early
        if is_accident and not state.final and not _is_past(_time_limit(state), now):
            return state, (Restart(),)
    return state, (Finish(_code(cause)),)


def _code(cause: Cause | None) -> int:
    """The exit code of the job."""
    if cause is None:
        return 0
    return {"rank": cause.exit.status, "signal": cause.exit.status, "time": 124, "output": cause.exit.status}.get(
        cause.kind, 1
    )
