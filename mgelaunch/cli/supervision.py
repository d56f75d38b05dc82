"""From a decision to a supervised job, and from its outcome to words and an exit code."""

import os
import sys
from typing import TYPE_CHECKING

from mgelaunch.cli.decide import Decision, Supervision
from mgelaunch.cli.say import coloured, complain, say
from mgelaunch.errors import Failure
from mgelaunch.finding import Finding
from mgelaunch.launch.job import Job, Meeting, Outcome
from mgelaunch.launch.supervise import supervise

if TYPE_CHECKING:  # only --log-dir pays for them
    from mgelaunch.launch.records import Records


def run_ranks(decision: Decision, supervision: Supervision, run_id: str) -> int:
    """Starts the ranks of `decision` and watches them to their end.

    Raises:
        Failure: they could not be started.
    """
    asked, place = supervision.terms, supervision.meeting
    from mgelaunch.report.text import escaped  # noqa: PLC0415

    records = _records(decision, asked.log_dir, run_id) if asked.log_dir else None
    if records:
        complain(f"mgelaunch: logs and records are in {escaped(records.folder)}")
    python = decision.interpreter.path if asked.rendezvous else ""
    job = Job(
        plan=decision.plan,
        again=supervision.again,
        inherited=decision.environ,
        rules=asked.rules,
        meeting=Meeting(place.address, place.port, place.chosen, python) if place else None,
        coloured=None if asked.quiet else frozenset(fd for fd in (1, 2) if coloured(os.isatty(fd))),
        records=records,
    )
    sys.stdout.flush()
    try:
        outcome = supervise(job, complain)
    except Failure as failure:
        if records:
            records.finished(failure.exit_code, None, failure.message, 0)
        raise
    if outcome.cause:
        from mgelaunch.report.verdict import verdict  # noqa: PLC0415 - no rank waits for it any more

        for line in verdict(outcome, records.folder if records else ""):
            complain(line)
    return _close(records, outcome) if records else outcome.code


def _records(decision: Decision, log_dir: str, run_id: str) -> "Records":
    import socket  # noqa: PLC0415

    from mgelaunch.launch.records import Records, Subject  # noqa: PLC0415
    from mgelaunch.report.text import masked_command, shown  # noqa: PLC0415

    command = masked_command(decision.plan.processes[0].argv)
    try:
        return Records(log_dir, Subject(run_id, socket.gethostname(), command, len(decision.plan.processes)))
    except OSError as error:
        message = f"{shown(log_dir)}, the directory of --log-dir, cannot be made: {error.strerror}"
        raise Failure(message, "log.directory") from None


def _close(records: "Records", outcome: Outcome) -> int:
    from mgelaunch.report.verdict import reason  # noqa: PLC0415

    cause = outcome.cause
    first = cause.rank if cause and cause.kind == "rank" else None
    records.finished(outcome.code, first, reason(outcome), outcome.state.attempt + 1)
    records.close()
    if records.lost:
        message = f"the logs or records in {records.folder} are incomplete: {records.lost.strerror}"
        say([Finding("warning", "log.lost", message)])
        return outcome.code or int(outcome.hidden or outcome.lost is not None)
    return outcome.code
