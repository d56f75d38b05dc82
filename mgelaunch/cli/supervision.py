"""From a decision to a supervised job, and from its outcome to words and an exit code."""

import os
import sys
from typing import NamedTuple

from mgelaunch.cli.decide import Decision, Supervision
from mgelaunch.cli.say import coloured, complain, say
from mgelaunch.cli.standing import as_node
from mgelaunch.errors import Failure
from mgelaunch.finding import Finding
from mgelaunch.launch.job import Job, Meeting, Outcome
from mgelaunch.launch.records import Records, Subject
from mgelaunch.launch.supervise import supervise
from mgelaunch.report.text import escaped, masked_command, shown


class Driven(NamedTuple):
    """What a driver, which speaks for all ranks, asks of one: where its record goes, and whether its lines are to be
    in colour, or not to be seen at all.
    """

    records: Records
    colour: bool
    quiet: bool


def run_ranks(decision: Decision, supervision: Supervision, run_id: str, driven: Driven | None = None) -> int:
    """Starts the ranks of `decision` and watches them to their end. Those that are `driven` say nothing of it here.

    Raises:
        Failure: they could not be started.
    """
    asked = supervision.terms
    records = driven.records if driven else _records(decision, asked.log_dir, run_id)
    if asked.log_dir and records and not driven:
        complain(f"mgelaunch: logs and records are in {escaped(records.folder)}")
    job = _job(decision, supervision, records)
    if driven:
        seen = None if driven.quiet else frozenset((1, 2) if driven.colour else ())
        job = job._replace(coloured=seen, parent=os.getppid())
    sys.stdout.flush()
    try:
        outcome = supervise(job, complain)
    except Failure as failure:
        if asked.log_dir and records and not driven:
            records.finished(failure.exit_code, None, failure.message, 0)
        raise
    if records and driven:
        why = (f"it could not be started: {outcome.refused.strerror}",) if outcome.refused else ()
        records.heard(job.first, why or outcome.last.lines)
        return outcome.code
    if outcome.cause:
        from mgelaunch.report.verdict import verdict  # noqa: PLC0415 - no rank waits for it any more

        for line in verdict(outcome, records.folder if records else "", logs=bool(asked.log_dir)):
            complain(line)
    return _close(records, outcome) if records else outcome.code


def _job(decision: Decision, supervision: Supervision, records: Records | None) -> Job:
    asked, place, plan = supervision.terms, supervision.meeting, decision.plan
    elsewhere = plan.world > len(plan.processes)
    hosted = asked.rendezvous and supervision.hosts
    python = decision.interpreter.path if hosted else ""
    rules = asked.rules._replace(
        join_timeout=asked.rules.join_timeout if hosted else None,
        linger=asked.rules.join_timeout if hosted and elsewhere else None,
    )
    return Job(
        plan=plan,
        again=supervision.again,
        inherited=decision.environ,
        rules=rules,
        meeting=place and Meeting(place.address, place.port, place.chosen and not elsewhere, python, elsewhere),
        coloured=None if asked.quiet else frozenset(fd for fd in (1, 2) if coloured(os.isatty(fd))),
        records=records,
        first=plan.processes[0].rank,
        world=plan.world,
        shared=decision.task is not None and decision.task.engine == "Slurm",
    )


def _records(decision: Decision, log_dir: str, run_id: str) -> Records | None:
    plan = decision.plan
    first = plan.processes[0]
    node = as_node(decision.found.placement) if decision.found else None
    place = {"first": first.rank, "local_rank": 0, "node_rank": node.node_rank if node else 0}
    subject = Subject(run_id, os.uname().nodename, masked_command(first.argv), plan.world, **place)
    if not log_dir:
        return None if decision.task else Records("", subject, logs=False, project=decision.project)
    try:
        return Records.below(log_dir, subject)
    except OSError as error:
        message = f"{shown(log_dir)}, the directory of --log-dir, cannot be made: {error.strerror}"
        raise Failure(message, "log.directory") from None


def _close(records: Records, outcome: Outcome) -> int:
    from mgelaunch.report.verdict import reason  # noqa: PLC0415

    cause = outcome.cause
    first = cause.rank if cause and cause.kind == "rank" else None
    records.finished(outcome.code, first, reason(outcome), outcome.state.attempt + 1)
    records.close()
    if records.lost and records.logging:
        message = f"the logs or records in {records.folder} are incomplete: {records.lost.strerror}"
        say([Finding("warning", "log.lost", message)])
        return outcome.code or int(outcome.hidden or outcome.lost is not None)
    return outcome.code
