"""One start of all ranks: where they meet, their pipes, the rendezvous server beside them, and the fork."""

import errno
import os
import selectors
from collections.abc import Callable, Iterable, Iterator

from mgelaunch.errors import Failure
from mgelaunch.host import ports
from mgelaunch.host.files import Files
from mgelaunch.launch import events
from mgelaunch.launch.descriptors import may_read
from mgelaunch.launch.job import Job, Meeting
from mgelaunch.launch.keeper import Keeper
from mgelaunch.launch.plan import Plan, Process
from mgelaunch.launch.pump import Pump
from mgelaunch.launch.ranks import Ranks
from mgelaunch.launch.spawn import Gate, NotForked, Streams


class Attempt:
    """What was started. ``meeting`` has the port that the ranks were told, ``refused`` has why ranks could not become
    their program, as far as that has been told.
    """

    def __init__(
        self, meeting: Meeting | None, gate: Gate, keeper: Keeper | None, selector: selectors.BaseSelector
    ) -> None:
        self.meeting = meeting
        self.gate: Gate | None = gate
        self.keeper = keeper
        self.refused: dict[int, OSError] = {}
        self._selector = selector
        selector.register(gate.report, selectors.EVENT_READ, gate)
        if keeper:
            keeper.watch(selector)

    def hear_refusals(self) -> None:
        """Takes down what has been told until now."""
        told = self.gate.refusals() if self.gate else ()
        if told is None:
            self._forget_gate()
        else:
            self.refused |= {rank: OSError(number, os.strerror(number)) for rank, number in told}

    def news(self) -> Iterator[events.Event]:
        """What the rendezvous server has said since the last call."""
        for event in self.keeper.events(self._selector) if self.keeper else ():
            if event["event"] == "joined":
                yield events.Joined(event["rank"], event["remote"])
            elif event["event"] == "attended":
                yield events.Attended(event["still"])

    def close(self) -> None:
        """Gives back what was opened."""
        self._forget_gate()
        if self.keeper:
            self.keeper.close(self._selector)
            self.keeper = None

    def _forget_gate(self) -> None:
        if self.gate:
            self._selector.unregister(self.gate.report)
            os.close(self.gate.report)
            self.gate = None


def start(
    number: int,
    job: Job,
    meeting: Meeting | None,
    make: Callable[[], Gate],
    ranks: Ranks,
    pump: Pump | None,
    selector: selectors.BaseSelector,
) -> Attempt:
    """Starts all ranks for the `number`-th time, 0 first. `make` makes what they wait behind; without a `pump` they get
    our own streams. The `selector` is to tell what happens to them.

    Raises:
        Failure: none of them runs.
    """
    place = _free(meeting, number)
    port = place.port if place else 0
    plan = job.plan if place == job.meeting and not number else job.again(number, port)
    keeper = _keeper(place, plan, job.size) if place and place.python else None
    opened: list[int] = []
    gate = make()

    def processes() -> Iterable[tuple[Process, Streams]]:
        if keeper:
            yield keeper.process(plan.processes[0].environment), keeper.streams
        for process in plan.processes:
            stdin = 0 if process.rank == 0 and may_read() else null  # of the whole job, wherever it runs
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
    return Attempt(place, gate, keeper, selector)


def _free(meeting: Meeting | None, number: int) -> Meeting | None:
    """The place to meet, with another port when ours to choose and the old one is taken or was used before."""
    if meeting and meeting.chosen and (number or ports.obstacle(meeting.listens, meeting.port)):
        try:
            return meeting._replace(port=ports.free_port(meeting.listens, Files()))
        except ports.NoPort as problem:
            raise Failure(str(problem).rstrip("."), "port.taken") from None
    return meeting


def _keeper(place: Meeting, plan: Plan, world: int) -> Keeper:
    """MegEngine's server, which holds the port from here on.

    Raises:
        Failure: somebody else has the port.
    """
    try:
        server = ports.listen(place.listens, place.port)
    except OSError as error:
        who = ports.holder(place.port)
        why = f"it is held by {who}" if who else str(error.strerror)
        message = f"the ranks cannot meet at port {place.port}: {why}; --master-port names another one"
        raise Failure(message, "port.taken") from None
    if ":" in server.getsockname()[0]:
        server.close()
        raise Failure("MegEngine's server cannot be reached by IPv6, which MASTER_ADDR stands for", "rendezvous.place")
    return Keeper(server, place.python, world, plan.processes[0].cwd, everywhere=place.everywhere)


def not_started(error: OSError, held: int, wanted: int) -> Failure:
    """Why not all of the ranks could be started, of which the kernel let `held` be made."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        why = f"{wanted} ranks need more open files than the kernel allows (ulimit -n)"
    elif error.errno == errno.EAGAIN:
        why = f"the kernel allows {held} of {wanted} ranks only, by ulimit -u or pids.max of the cgroup"
    else:
        why = f"the kernel allows {held} of {wanted} ranks only: {error.strerror}"
    return Failure(why, "launch.processes")
