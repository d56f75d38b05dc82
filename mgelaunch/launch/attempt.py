"""One start of all ranks: where they meet, their pipes, the rendezvous server beside them, and the fork."""

import errno
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from mgelaunch.errors import Failure
from mgelaunch.host import ports
from mgelaunch.host.files import Files
from mgelaunch.launch.descriptors import may_read
from mgelaunch.launch.job import Job, Meeting
from mgelaunch.launch.keeper import Keeper
from mgelaunch.launch.plan import Plan, Process
from mgelaunch.launch.pump import Pump
from mgelaunch.launch.ranks import Ranks
from mgelaunch.launch.spawn import Gate, NotForked, Streams


class Attempt(NamedTuple):
    """What was started. ``meeting`` has the port that the ranks were told."""

    meeting: Meeting | None
    gate: Gate
    keeper: Keeper | None


def start(
    number: int, job: Job, meeting: Meeting | None, make: Callable[[], Gate], ranks: Ranks, pump: Pump | None
) -> Attempt:
    """Starts all ranks for the `number`-th time, 0 first. `make` makes what they wait behind; without a `pump` they get
    our own streams.

    Raises:
        Failure: none of them runs.
    """
    place = _free(meeting, number)
    port = place.port if place else 0
    plan = job.plan if place == job.meeting and not number else job.again(number, port)
    keeper = _keeper(place, plan) if place and place.python else None
    opened: list[int] = []
    gate = make()

    def processes() -> Iterable[tuple[Process, Streams]]:
        if keeper:
            yield keeper.process(plan.processes[0].environment), keeper.streams
        for process in plan.processes:
            stdin = 0 if process.rank == 0 and may_read() else null
            ends = pump.open(process.rank) if pump else (1, 2)
            opened.extend(ends if pump else ())
            yield process, Streams(stdin, *ends)

    try:
        with open(os.devnull, "r+b", buffering=0) as file:
            null = file.fileno()
            ranks.start(gate, processes())
    except NotForked as refused:
        raise not_started(refused.error, refused.held - bool(keeper), len(plan.processes)) from None
    except OSError as error:
        held = len(gate.pids) - bool(keeper)
        gate.cancel()
        raise not_started(error, held, len(plan.processes)) from None
    finally:
        for end in opened:
            os.close(end)
    return Attempt(place, gate, keeper)


def _free(meeting: Meeting | None, number: int) -> Meeting | None:
    """The place to meet, with another port when ours to choose and the old one is taken or was used before."""
    if meeting and meeting.chosen and (number or ports.obstacle(meeting.address, meeting.port)):
        try:
            return meeting._replace(port=ports.free_port(meeting.address, Files()))
        except ports.NoPort as problem:
            raise Failure(str(problem).rstrip("."), "port.taken") from None
    return meeting


def _keeper(place: Meeting, plan: Plan) -> Keeper:
    """MegEngine's server, which holds the port from here on.

    Raises:
        Failure: somebody else has the port.
    """
    try:
        server = ports.listen(place.address, place.port)
    except OSError as error:
        who = ports.holder(place.port)
        why = f"it is held by {who}" if who else str(error.strerror)
        raise Failure(f"the ranks cannot meet at port {place.port}: {why}", "port.taken") from None
    if ":" in server.getsockname()[0]:
        server.close()
        raise Failure("MegEngine's server cannot be reached by IPv6, which MASTER_ADDR stands for", "rendezvous.place")
    return Keeper(server, place.python, len(plan.processes), plan.processes[0].cwd)


def not_started(error: OSError, held: int, wanted: int) -> Failure:
    """Why not all of the ranks could be started, of which the kernel let `held` be made."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        why = f"{wanted} ranks need more open files than the kernel allows (ulimit -n)"
    elif error.errno == errno.EAGAIN:
        why = f"the kernel allows {held} of {wanted} ranks only, by ulimit -u or pids.max of the cgroup"
    else:
        why = f"the kernel allows {held} of {wanted} ranks only: {error.strerror}"
    return Failure(why, "launch.processes")
