"""How a job of several ranks ended, in ten lines at most: the cause first, then what may explain it."""

import signal
from collections.abc import Iterable, Sequence

from mgelaunch.host.amounts import counted
from mgelaunch.launch.events import Cause, Exit
from mgelaunch.launch.job import Outcome, how, ranks_shown
from mgelaunch.report.text import duration, escaped

_MOST_LINES = 10


def verdict(outcome: Outcome, folder: str = "", *, logs: bool = True) -> tuple[str, ...]:
    """The lines for stderr; none when all ranks ended with 0. `folder` holds the records, empty when nothing was kept,
    and with `logs` what the ranks have said: records alone are worth a line only where a rank has failed.
    """
    sentence = reason(outcome)
    if not sentence:
        return ()
    head = f"mgelaunch: error: {escaped(sentence)} [{_CODES[outcome.cause.kind]}]" if outcome.cause else ""
    lines = [line for line in (head, *_explanations(outcome)) if line]
    told = folder and (logs or (outcome.cause and outcome.cause.kind == "rank"))
    kept = [f"  {'logs' if logs else 'records'}: {escaped(folder)}"] if told else []
    room = max(0, _MOST_LINES - len(lines) - len(kept) - 1)
    last = [f"    {escaped(line)}" for line in outcome.last.lines or outcome.keeper][-room:] if room else []
    return (*lines, *(["  its last lines:", *last] if last else []), *kept)


_CODES = {
    "rank": "rank.failed",
    "signal": "job.signal",
    "time": "job.time-limit",
    "join": "rank.join",
    "keeper": "rendezvous.failed",
    "output": "output.lost",
}


def reason(outcome: Outcome) -> str:
    """Why the job ended as it did, in one sentence; empty when all ranks ended with 0."""
    cause = outcome.cause
    if cause is None:
        return ""
    told = cause.kind in {"rank", "signal", "keeper"} and not outcome.refused
    after = f" after {duration(cause.at - outcome.state.attempt_began)}" if told else ""
    restarts = f" of start {outcome.state.attempt + 1}" if after and outcome.state.attempt else ""
    return f"{_what(cause, outcome)}{after}{restarts}{_others(cause, outcome)}"


def _what(cause: Cause, outcome: Outcome) -> str:
    limit = outcome.state.rules
    match cause.kind:
        case "rank" if outcome.refused:
            return f"rank {cause.rank} could not be started: {outcome.refused.strerror}"
        case "rank":
            first = " failed first: it" if len(outcome.state.exits) > 1 else ""
            return f"rank {cause.rank}{first} {how(cause.exit)}"
        case "signal":
            return f"the job was stopped by {how(cause.exit).rpartition(' ')[2]}"
        case "time":
            return f"the job was stopped by its time limit of {duration(limit.time_limit or 0)}"
        case "join":
            return _not_joined(cause, outcome)
        case "keeper":
            return f"MegEngine's rendezvous server {how(cause.exit)}"
        case "output":
            return "the output cannot be written any more" + (f": {outcome.lost.strerror}" if outcome.lost else "")


def _not_joined(cause: Cause, outcome: Outcome) -> str:
    """Which ranks nobody has seen: they have ended, or never came to init_process_group, or not as far as the server.
    Those that could not be named are counted.
    """
    gone = {rank for rank, exit_ in outcome.state.exits if not exit_.status}
    ended = [rank for rank in cause.ranks if rank in gone]
    here = [rank for rank in cause.ranks if rank in outcome.state.here and rank not in gone]
    away = [rank for rank in cause.ranks if rank not in outcome.state.here]
    where = f"the rendezvous at port {outcome.port} within {duration(outcome.state.rules.join_timeout or 0)}"
    never = "init_process_group was not called there"
    parts = [f"{ranks_shown(ended)} ended with 0 without joining {where}"] if ended else []
    parts += [f"{ranks_shown(here)} {_have(len(here))} not joined {where}: {never}"] if here else []
    if away or cause.unnamed:
        count = len(away) or cause.unnamed
        who = ranks_shown(away) if away else f"{counted(count, 'rank')} that cannot be named"
        far = ", or their host cannot reach that port" if outcome.state.world > len(outcome.state.here) else ""
        parts.append(f"{who} {_have(count)} not joined {where}: {never}{far}")
    return "; ".join(parts)


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _others(cause: Cause, outcome: Outcome) -> str:
    """What became of the ranks that did not fail first."""
    killed = sorted(outcome.state.killed)
    after = dict(outcome.state.exits[_place(cause, outcome) :])
    by_force = sorted(rank for rank, exit_ in after.items() if _is_stopped(exit_) and rank not in killed)
    by_itself: dict[Exit, list[int]] = {}
    for rank, exit_ in after.items():
        if rank not in (*killed, *by_force, cause.rank):
            by_itself.setdefault(exit_, []).append(rank)
    parts = [f"then {ranks_shown(sorted(ranks))} {how(exit_)}" for exit_, ranks in by_itself.items()]
    parts += [f"{ranks_shown(by_force)} {_was(by_force)} stopped"] if by_force and cause.kind == "rank" else []
    parts += [f"{ranks_shown(killed)} did not end and {_was(killed)} killed"] if killed else []
    return f"; {', '.join(parts)}" if parts else ""


def _place(cause: Cause, outcome: Outcome) -> int:
    """How many ranks had ended before the job was stopped, the guilty one included."""
    return next((place + 1 for place, (rank, _) in enumerate(outcome.state.exits) if rank == cause.rank), 0)


def _is_stopped(exit_: Exit) -> bool:
    """Whether a rank ended as one does that is told to."""
    return exit_.status in (0, 128 + signal.SIGTERM, 128 + signal.SIGHUP, 128 + signal.SIGQUIT)


def _was(ranks: Sequence[int]) -> str:
    return "was" if len(ranks) == 1 else "were"


def _explanations(outcome: Outcome) -> Iterable[str]:
    cause, rules, attempt, began = outcome.cause, outcome.state.rules, outcome.state.attempt, outcome.state.began
    if outcome.memory:
        yield f"  likely out of memory: {escaped(outcome.memory)}"
    if outcome.holder:
        yield f"  port {outcome.port} is held by {escaped(outcome.holder)}; try --master-port 0"
    if cause and cause.kind == "rank" and rules.max_restarts and not attempt and cause.at - began < rules.early:
        yield f"  not started again: it failed within {duration(rules.early)} of the first start"
    if outcome.last.exception and outcome.last.exception != next(reversed(outcome.last.lines), ""):
        yield f"  its traceback ends with {escaped(outcome.last.exception)}"
