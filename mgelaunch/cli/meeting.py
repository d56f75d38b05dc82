"""Where the ranks of a job meet: the address and the port that layers say, or a free one."""

from collections.abc import Iterable
from typing import NamedTuple

from mgelaunch.cli.job import Job
from mgelaunch.cli.terms import Terms
from mgelaunch.environment.resolve import Resolution
from mgelaunch.environment.settle import DEFERRED_PORT
from mgelaunch.environment.source import Assignment, Source
from mgelaunch.finding import Finding
from mgelaunch.host import ports
from mgelaunch.host.files import Files
from mgelaunch.target.interpreter import Interpreter


class Meeting(NamedTuple):
    """An address, and a port: 0 while it is left to the start. ``chosen``: nobody asked for this very port."""

    address: str
    port: int
    chosen: bool


def ready(job: Job, asked: Terms | None, interpreter: Interpreter, home: str, *, starting: bool) -> Job:
    """`job` with all that ranks are told of each other."""
    own = []
    ranks = int(job.worlds[0].placeholders["world_size"])
    if ranks > 1 and ((asked and asked.rendezvous) or _has_megengine(interpreter, home)):
        # Several cards may lock each other without it; MegEngine's own launcher sets it, too late for NCCL.
        own.append(Assignment("NCCL_LAUNCH_MODE", "PARALLEL", Source.DERIVED, "MegEngine"))
    if asked and asked.rules.max_restarts:
        most = str(asked.rules.max_restarts)
        own.append(Assignment("TORCHELASTIC_MAX_RESTARTS", most, Source.DERIVED, "--max-restarts"))
        count = Assignment("TORCHELASTIC_RESTART_COUNT", "{restart_count}", Source.DERIVED, "mgelaunch", template=True)
        own.append(count)
    said = dict(job.layers.assignments)
    said |= {assignment.name: (assignment, *said.get(assignment.name, ())) for assignment in own}
    return _meet(job._replace(layers=job.layers._replace(assignments=said)), starting=starting)


def _has_megengine(interpreter: Interpreter, home: str) -> bool:
    from mgelaunch.target.installed import installed_versions  # noqa: PLC0415

    return bool(interpreter.path and installed_versions(interpreter.path, home, frozenset({"megengine"})))


def find_meeting(
    first: Resolution, asked: Terms, interpreter: Interpreter, home: str, *, here: bool
) -> tuple[Meeting | None, Iterable[Finding]]:
    """Where the ranks meet, and why they cannot; nothing is known of another host (not `here`)."""
    place = _meeting(first)
    findings = list(_obstacles(place, first)) if place and here else []
    if asked.rendezvous and not place:
        message = "MegEngine's server needs MASTER_ADDR and MASTER_PORT, and one of them is removed or wrong"
        findings.append(Finding("error", "rendezvous.place", message, ("MASTER_PORT",), "", "--rendezvous"))
    if asked.rendezvous and place and ":" in place.address:
        message = "MegEngine's server cannot be reached by IPv6"
        findings.append(Finding("error", "rendezvous.place", message, ("MASTER_ADDR",), "--master-addr 127.0.0.1"))
    if asked.rendezvous and interpreter.path and not _has_megengine(interpreter, home):
        message = "MegEngine's rendezvous server is asked for, and the interpreter of the script has no megengine"
        findings.append(Finding("error", "rendezvous.megengine", message, (), "--python PATH", "--rendezvous"))
    return place, findings


def with_placeholders(job: Job, **values: str) -> Job:
    """`job` whose ranks all know these placeholders, too."""
    mates = tuple({**world.placeholders, **values} for world in job.worlds)
    worlds = (world._replace(placeholders=mate, mates=mates) for world, mate in zip(job.worlds, mates, strict=True))
    return job._replace(worlds=tuple(worlds))


def _meet(job: Job, *, starting: bool) -> Job:
    """`job` whose placeholders name the address and the port that some layer says; a start chooses the port where
    none does. The ranks may still find that one taken when they come to use it: then the report says by whom.
    """
    job = _with_free_port(job) if job.planned else job
    said = {}
    for placeholder, name in (("master_addr", "MASTER_ADDR"), ("master_port", "MASTER_PORT")):
        winner = job.layers.assignments[name][-1] if name in job.layers.assignments else None
        if winner and winner.text and not winner.template:
            said[placeholder] = winner.text.strip()
    problems: tuple[Finding, ...] = ()
    if starting and job.planned and _port_of(job) == DEFERRED_PORT:
        try:
            said["master_port"] = str(ports.free_port(said.get("master_addr", "127.0.0.1"), Files()))
        except ports.NoPort as problem:
            obstacle = ports.obstacle(said.get("master_addr", "127.0.0.1"), 0)
            if obstacle and obstacle.kind == "address":
                return job  # that is told with its place
            problems = (Finding("error", "port.taken", str(problem).rstrip("."), ("MASTER_PORT",)),)
    return with_placeholders(job, **said)._replace(findings=(*job.findings, *problems))


def _port_of(job: Job) -> str | None:
    said = job.layers.assignments.get("MASTER_PORT")
    return said[-1].text if said else None


def _with_free_port(job: Job) -> Job:
    """`job` in which port 0 means a free one, whoever says so: no rank could meet another one at it."""
    if _port_of(job) is None:
        return job
    *beaten, winner = job.layers.assignments["MASTER_PORT"]
    if winner.template or (winner.text or "").strip() != "0":
        return job
    free = winner._replace(text=DEFERRED_PORT, template=True)
    assignments = {**job.layers.assignments, "MASTER_PORT": (*beaten, free)}
    return job._replace(layers=job.layers._replace(assignments=assignments))


def _meeting(resolution: Resolution) -> Meeting | None:
    """Where the ranks meet; None when address or port are removed or wrong, which is the user's word."""
    address, port = resolution.get("MASTER_ADDR"), resolution.get("MASTER_PORT")
    if not address or not port:
        return None
    chosen = resolution.settings["MASTER_PORT"].winner.template
    return Meeting(address, int(port) if port.isdecimal() else 0, chosen)


def _obstacles(place: Meeting, resolution: Resolution) -> Iterable[Finding]:
    """Why the ranks cannot meet there, as far as the host can tell before they try."""
    winners = {name: resolution.settings[name].winner for name in ("MASTER_ADDR", "MASTER_PORT")}
    if place.chosen and winners["MASTER_ADDR"].source is Source.DERIVED:
        return
    obstacle = ports.obstacle(place.address, place.port)
    if obstacle is None:
        return
    name = "MASTER_ADDR" if obstacle.kind == "address" else "MASTER_PORT"
    where = winners[name].place or winners[name].where
    if obstacle.kind == "address":
        message = f"MASTER_ADDR is no address of this host, where rank 0 runs: {obstacle.text}"
        yield Finding("error", "port.address", message, (name,), "--master-addr 127.0.0.1", where)
    else:
        who = ports.holder(place.port) if obstacle.kind == "taken" else ""
        why = f"it is held by {who}" if who else obstacle.text
        message = f"the ranks cannot meet at port {place.port}: {why}"
        yield Finding("error", "port.taken", message, (name,), "--master-port 0", where)
