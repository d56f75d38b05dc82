"""How a job that an engine has run ended: one sentence, and what explains it."""

from collections.abc import Iterable

from mgelaunch.clusters.verdict import Ending, Verdict
from mgelaunch.launch.engine import Ended
from mgelaunch.launch.events import Cause, Exit, Rules
from mgelaunch.launch.job import how, ranks_shown
from mgelaunch.report.text import duration, escaped

_COMMANDS = {"slurm": "srun", "mpi": "mpirun"}
_MOST_LINES = 5
_STOPPED = {"signal": "job.signal", "time": "job.time-limit"}
_HUNG, _FAILED = "cluster.hung", "cluster.engine"


def reason(verdict: Verdict, cause: Cause | None, ended: Ended, engine: str, world: int, rules: Rules) -> str:
    """Why the job ended as it did; empty when all ranks ended with 0."""
    if cause:
        limit = f"its time limit of {duration(rules.time_limit or 0)}"
        by = limit if cause.kind == "time" else how(cause.exit).rpartition(" ")[2]
        return f"the job was stopped by {by}{_unknown(verdict)}"
    if verdict.first and verdict.first.refused:
        return f"nothing was started as rank {verdict.first.rank} on {verdict.first.host}{_unknown(verdict)}"
    if verdict.first and (verdict.code == verdict.first.status or not verdict.missing):
        return f"{_of_first(verdict.first)}; {verdict.well} of {world} ranks ended with 0{_unknown(verdict)}"
    if verdict.missing:
        told = f"{_COMMANDS[engine]} {how(ended.exit)}"
        return f"{verdict.well} of {world} ranks ended with 0{_unknown(verdict)}; {told}"
    if verdict.code:
        engine_too = f"; {_COMMANDS[engine]} {how(ended.exit)}" if ended.exit.status else ""
        return f"the ranks were told to end, and not by mgelaunch; {verdict.well} of {world} ended with 0{engine_too}"
    return ""


def _of_first(first: Ending) -> str:
    exit_ = Exit(1, first.signal) if first.signal else Exit(first.code or 0)
    return f"rank {first.rank} on {first.host} {how(exit_)}"


def _unknown(verdict: Verdict) -> str:
    """The ranks of which nothing is known, by host where that is known."""
    by_host: dict[str, list[int]] = {}
    for rank, host in verdict.missing:
        by_host.setdefault(host, []).append(rank)
    parts = [
        f"{ranks_shown(ranks)} on {host} left no word of an end" if host else f"{ranks_shown(ranks)} left no record"
        for host, ranks in by_host.items()
    ]
    return "".join(f"; {part}" for part in parts)


def code_of(verdict: Verdict, cause: Cause | None) -> str:
    """The stable code of the sentence."""
    if cause and cause.kind in _STOPPED:
        return _STOPPED[cause.kind]
    if not verdict.first and not verdict.missing:
        return "job.signal"
    return "rank.failed" if verdict.first else "rank.lost"


def lines(sentence: str, verdict: Verdict, ended: Ended, engine: str, folder: str) -> Iterable[str]:
    """The lines for stderr; none when all is well."""
    if ended.given_up and not sentence:
        yield f"mgelaunch: warning: {_COMMANDS[engine]} had to be ended, because its ranks had [{_HUNG}]"
    elif not sentence and ended.exit.status:
        told = f"{_COMMANDS[engine]} {how(ended.exit)}, and every rank ended with 0"
        yield f"mgelaunch: warning: {told} [{_FAILED}]"
    if not sentence:
        return
    yield f"mgelaunch: error: {escaped(sentence)} [{code_of(verdict, ended.cause)}]"
    first = verdict.first
    if first and first.refused:
        yield from (f"  {escaped(line)}" for line in first.refused[:_MOST_LINES])
    elif first and first.last:
        yield "  its last lines:"
        yield from (f"    {escaped(line)}" for line in first.last[-_MOST_LINES:])
    yield f"  records: {escaped(folder)}"
