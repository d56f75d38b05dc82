"""``mgelaunch rank``: what an engine starts for ``--cluster``. It binds what depends on rank and host, checks its own
host, stays beside the script, and leaves a record of how it ended.
"""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

import typer

from mgelaunch import __version__
from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.drive import CARRIER
from mgelaunch.cli.options import Options
from mgelaunch.cli.say import complain, say_at_start
from mgelaunch.cli.supervision import Driven, run_ranks
from mgelaunch.clusters.placement import Task
from mgelaunch.environment.shipping import Shipped, from_document, unpacked
from mgelaunch.errors import REFUSED, Failure, UsageError
from mgelaunch.finding import Finding
from mgelaunch.launch.command import Target
from mgelaunch.launch.engine import END
from mgelaunch.launch.records import Records, Subject
from mgelaunch.report.text import line, masked_command

_BY_HAND = "rank is called by the engine that --cluster names; you want mgelaunch run"
_INSISTENCE = 0.2
"""Seconds after which a second Ctrl-C is not taken for an echo of the first one."""


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the command to `app`; nobody calls it by hand."""
    app.command("rank", context_settings=settings, hidden=True)(rank)


def rank() -> int:
    """Run one rank of a job that --cluster has started. Engines call this, people do not."""
    document = _carried()
    try:
        options, target = Options(**document["options"]), _target(document["target"])
        shipped = Shipped(from_document(document["layers"]), document["per_node"])
    except (KeyError, TypeError, ValueError):
        raise UsageError(_BY_HAND) from None
    decision = decide(options, target, run_id=document["run_id"], shipped=shipped)
    task = decision.task
    if task is None or task.world_size != document["world"]:
        why = f"{task.world_size} ranks" if task else "no rank at all"
        raise UsageError(f"the engine started {why} and not {document['world']}: it was given other options on the way")
    records = _records(document, decision, task)
    said = {tuple(pair) for pair in document["said"]}
    news = [finding for finding in decision.findings if (finding.code, finding.message) not in said]
    if decision.errors:
        return _refuse(records, task.rank, [finding for finding in news if finding.severity == "error"])
    if decision.supervision is None:
        raise UsageError("a rank that an engine starts is always watched")
    if task.local_rank == 0:
        say_at_start([finding for finding in news if finding.severity != "info"])
    signal.signal(END, _enders())
    try:
        told = Driven(records, document["colour"], document["quiet"])
        return run_ranks(decision, decision.supervision, document["run_id"], told)
    except Failure as failure:
        return _refuse(records, task.rank, [Finding("error", failure.code, failure.message)])


def _enders() -> Callable[..., None]:
    """A handler that turns `END` into what a supervisor understands: TERM, and for a second one Ctrl-C, twice. The
    engine may be asleep by then, so the last one comes from a timer, whose signal is `END` as well.
    """
    left = [signal.SIGINT, signal.SIGINT, signal.SIGTERM]

    def turn(*_: object) -> None:
        if left:
            os.kill(os.getpid(), left.pop())
        if len(left) == 1:
            signal.setitimer(signal.ITIMER_REAL, _INSISTENCE)

    return turn


def _carried() -> dict[str, Any]:
    """What the driver has resolved, which the script is not to see.

    Raises:
        UsageError: there is nothing, or it comes from another version.
    """
    try:
        document = unpacked(os.environ.pop(CARRIER, ""))
    except ValueError:
        raise UsageError(_BY_HAND) from None
    if document.get("version") != __version__:
        host = socket.gethostname()
        raise UsageError(
            f"mgelaunch is {__version__} on {host}, and {document.get('version')} where the job was started"
        )
    return document


def _target(words: Sequence[Any] | None) -> Target | None:
    if words is None:
        return None
    name, args, module, program = words
    return Target(name, tuple(args), module, program)


def _records(document: dict[str, Any], decision: Decision, task: Task) -> Records:
    command = masked_command(decision.plan.processes[0].argv)
    place = {"first": task.rank, "local_rank": task.local_rank, "node_rank": task.node_rank or 0}
    subject = Subject(document["run_id"], socket.gethostname(), command, task.world_size, **place)
    return Records(document["folder"], subject, logs=document["logs"])


def _refuse(records: Records, number: int, errors: Sequence[Finding]) -> int:
    """Leaves the reasons to the driver, which says them once for all ranks."""
    records.refused(number, REFUSED, [line(error).removeprefix("mgelaunch: ") for error in errors])
    if records.lost:
        for error in errors:
            complain(line(error))
    return REFUSED
