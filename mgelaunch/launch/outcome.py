"""The end of a job: what pipes, kernel and neighbours can still tell of it."""

import signal
from typing import NamedTuple

from mgelaunch.host import out_of_memory
from mgelaunch.host.files import Files
from mgelaunch.launch.events import State
from mgelaunch.launch.job import Job, Meeting, Outcome
from mgelaunch.launch.keeper import Keeper
from mgelaunch.launch.pump import Last, Pump

_SHOWN_LINES = 5


class Told(NamedTuple):
    """Who can tell more: the pump (None: a rank had our own streams), the rendezvous server, the kernel's counters as
    they were at the start, and why the rank that failed first could not become its program.
    """

    pump: Pump | None
    meeting: Meeting | None
    keeper: Keeper | None
    memory: out_of_memory.Kills
    refused: OSError | None


def conclude(job: Job, state: State, code: int, told: Told, now: float) -> Outcome:
    """How `job` ended with exit code `code`."""
    cause = state.cause
    failed = cause if cause and cause.kind == "rank" else None
    last = told.pump.last(failed.rank, _SHOWN_LINES) if failed and told.pump else Last((), "")
    memory = ""
    if failed and failed.exit.status == 128 + signal.SIGKILL:
        memory = out_of_memory.explanation(told.memory, out_of_memory.kills(Files()))
    return Outcome(
        code=code,
        state=state,
        elapsed=now - state.began,
        last=last,
        memory=memory,
        holder=_holder(last, told.meeting) if failed else "",
        port=told.meeting.port if told.meeting else 0,
        keeper=told.keeper.last() if told.keeper and cause and cause.kind == "keeper" else (),
        refused=told.refused,
        lost=told.pump.lost if told.pump else None,
        hidden=job.coloured is None,
    )


def _holder(last: Last, meeting: Meeting | None) -> str:
    """Who has the port, when a rank says that it is in use."""
    said = (*last.lines, last.exception)
    if not meeting or not any("ddress already in use" in line or "EADDRINUSE" in line for line in said):
        return ""
    from mgelaunch.host.ports import holder  # noqa: PLC0415

    return holder(meeting.port)
