"""From options to layers: how many ranks are planned, what each of them is called, and what every layer says."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch import __version__
from mgelaunch.catalogue.names import is_portable
from mgelaunch.cli.job import Job
from mgelaunch.cli.options import Options
from mgelaunch.cli.standing import (
    ENGINES,
    RANK_NAMES,
    alone,
    as_node,
    as_task,
    driving,
    place_of,
    problems,
    seat,
    standing,
    told,
)
from mgelaunch.cli.surroundings import home_directory, places
from mgelaunch.environment.flags import IMPLYING, MEETING, THREAD_COUNTS, implied
from mgelaunch.environment.layers import Layers, Request, bound_here, read_layers
from mgelaunch.environment.project import find_env_file, project_root
from mgelaunch.environment.relative import Measure
from mgelaunch.environment.resolve import resolve
from mgelaunch.environment.settle import DEFERRED_PORT, DEFERRED_RUN, World
from mgelaunch.environment.source import Assignment, Source
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding
from mgelaunch.host.cpus import thread_share
from mgelaunch.host.files import whole
from mgelaunch.host.measure import Host
from mgelaunch.host.totals import Share, Totals

if TYPE_CHECKING:  # only where an engine has left its variables
    from mgelaunch.clusters.placement import Found, Task
    from mgelaunch.environment.shipping import Shipped

MOST_RANKS = 1024


def gather(
    options: Options,
    environ: Mapping[str, str],
    cwd: str,
    run_id: str,
    host: Host,
    *,
    lone: bool = False,
    measure: Measure | None = None,
    shipped: "Shipped | None" = None,
) -> Job:
    """Reads every layer, twice when only the layers tell how many ranks there are. `lone`: there is but one process.
    `measure` takes the place of this host; `shipped` are layers that another host has read.

    Raises:
        UsageError: the options contradict each other or cannot be understood.
    """
    request = _request(options, environ, cwd)
    _usage(request, options)
    asked = "" if lone or shipped else options.ranks or ("1" if options.standalone else "")
    found = standing(options, environ, shipped.layers) if shipped else standing(options, environ)
    if found and shipped:
        found = _numbered(found, shipped.per_node)
    if asked and found and (task := as_task(found.placement)) and task.world_size == 1:
        found = None  # a shell that srun has opened: its ranks are ours to start
    reader = _Reader(request, environ, run_id, host, measure, shipped)
    planned = int(asked) if asked.isdecimal() else 0
    job = reader.read(planned, found)
    if options.profile and (again := standing(options, environ, job.layers)) != found:
        job = reader.read(planned, again)
    if job.task and not lone and (asking := _asking(options)):
        raise UsageError(
            f"{asking} starts ranks, and this process is rank {job.task.rank} of {job.task.world_size} already, by "
            f"{job.task.engine}; leave it out, or say --cluster none"
        )
    findings: tuple[Finding, ...] = ()
    if not (lone or shipped or job.task or driving(options, job.layers, None)):
        word, place = (asked, "--nproc-per-node") if asked else _of_profile(job.layers)
        number, findings = _number(word, place, job, host)
        job = job if number == job.planned else reader.read(number, job.found)
    if job.found:
        findings = (*findings, *job.found.findings, *problems(job.found.placement, job.layers, planned=job.planned))
    return job._replace(findings=findings)


def _asking(options: Options) -> str:
    """The options by which somebody asks for ranks; empty when nobody does."""
    said = (("--cluster", options.cluster in ENGINES), ("-n", options.ranks), ("--standalone", options.standalone))
    return " with ".join(option for option, is_said in said if is_said)


def _request(options: Options, environ: Mapping[str, str], cwd: str) -> Request:
    home = home_directory()
    found = find_env_file(cwd, project_root(cwd, home), home)
    from_environment = [name.strip() for name in environ.get("MGELAUNCH_PROFILE", "").split(",") if name.strip()]
    return Request(
        environ=environ,
        places=places(environ, cwd),
        version=__version__,
        profiles=tuple(options.profile or from_environment),
        profiles_from="--profile" if options.profile else "MGELAUNCH_PROFILE",
        env_file="" if options.no_env_file else found,
        env_files=tuple(options.env_file or ()),
        keep_shell=tuple(options.keep_shell or ()),
        flags=tuple(_flags(options)),
        sets=tuple(_split(text) for text in options.assign or ()),
        unsets=tuple(options.unset or ()),
    )


def _flags(options: Options) -> Iterable[Assignment]:
    implying = (("device", options.device), ("gpu-ids", options.gpu_ids), ("threads", options.threads))
    for key, value in (*implying, ("master-addr", options.master_addr), ("master-port", options.master_port)):
        if value:
            yield from implied(key, value, f"--{key}")


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError("--set takes NAME=VALUE, and one of them has no '='; to remove a variable: --unset NAME")
    return name, value


def _usage(request: Request, options: Options) -> None:
    names = [name for name, _ in request.sets]
    for name in (*names, *request.unsets):
        if not is_portable(name):
            raise UsageError("a variable's name has letters, digits and _ only, and does not begin with a digit")
    if both := sorted(set(names) & set(request.unsets)):
        raise UsageError(f"{', '.join(both)} cannot be both --set and --unset")
    texts = {"--device": options.device, "--gpu-ids": options.gpu_ids, "--threads": options.threads}
    texts |= {"--python": options.python, "-n": options.ranks, "--facts": options.facts, "--log-dir": options.log_dir}
    texts |= {"--hosts": options.hosts, "--nnodes": options.nnodes, "--node-rank": options.node_rank}
    for option, text in {**texts, "--master-addr": options.master_addr, "--master-port": options.master_port}.items():
        if text is not None and not text.strip():
            raise UsageError(f"{option} is empty; leave it out to say nothing")
    ranks = options.ranks or "1"
    if ranks.startswith("="):
        raise UsageError(f"write -n {ranks[1:]}, not -n{ranks}")
    if options.hosts and options.cluster not in {None, "mpi"}:
        raise UsageError("--hosts belongs to --cluster mpi: Slurm has hosts of its own")
    number = whole(ranks)
    if ranks not in {"gpu", "cpu", "auto"} and (number is None or not 0 < number <= MOST_RANKS):
        raise UsageError(f"-n/--nproc-per-node takes a number of ranks from 1 to {MOST_RANKS}, or gpu, cpu or auto")


def _numbered(found: "Found", per_node: int) -> "Found":
    """`found` with the number of the node, also where the engine tells none: the ranks were started node by node."""
    task = as_task(found.placement)
    if task is None or task.node_rank is not None:
        return found
    return found._replace(placement=task._replace(node_rank=task.rank // per_node))


class _Reader(NamedTuple):
    """What is the same however many ranks there turn out to be."""

    request: Request
    environ: Mapping[str, str]
    run_id: str
    host: Host
    measure: Measure | None
    shipped: "Shipped | None"

    def read(self, planned: int, found: "Found | None") -> Job:
        """The job of `planned` ranks here (0: the one process that mgelaunch becomes)."""
        placement = found.placement if found else None
        task, node = as_task(placement), as_node(placement)
        inherited = alone(placement, self.environ)
        share = self._share(planned, inherited, task)
        deferred = {"run_id": self.run_id or DEFERRED_RUN, "restart_count": str(task.restart_count if task else 0)}
        ranks = [seat(node, number, planned) | deferred for number in range(planned)] or [inherited | deferred]
        home, cwd, mates = home_directory(), self.request.places.cwd, tuple(ranks)
        own = list(_derived(self.host, share.cpu_ranks))
        if planned:
            own += [
                *_owned(),
                _UNBUFFERED,
                *(place_of(node, self.environ) if node and node.nodes > 1 else _MEETING_PLACE),
            ]
        elif placement:
            own += told(placement, self.environ)
        # A driver says where its ranks meet, which it does not measure; alone, nobody meets anybody.
        implying = (*IMPLYING, *MEETING) if planned or task or self.measure else IMPLYING
        request = self.request._replace(own=tuple(own), implying=implying)
        first = World(cwd, home, self.measure or Totals(self.host, share), ranks[0], mates)
        layers = bound_here(self.shipped.layers, request, first) if self.shipped else read_layers(request, first)
        measure = self.measure or Totals(self.host, share, final=True)
        worlds = tuple(World(cwd, home, measure, rank, mates) for rank in ranks)
        return Job(layers, worlds, planned, share, found=found)

    def _share(self, planned: int, inherited: Mapping[str, str], task: "Task | None") -> Share:
        local_ranks = planned or max(1, min(int(inherited["local_world_size"]), MOST_RANKS))
        bound = not planned and local_ranks > 1 and self.host.cpus.bound
        local_rank = 0 if planned else int(inherited["local_rank"])
        return Share(local_ranks, local_rank, 1 if bound else local_ranks, bool(task and task.own_device))


def _owned() -> Iterable[Assignment]:
    return (Assignment(name, text, Source.OWNED, "mgelaunch", template=True) for name, text in RANK_NAMES.items())


_MEETING_PLACE = (
    Assignment("MASTER_ADDR", "127.0.0.1", Source.DERIVED, "mgelaunch"),
    Assignment("MASTER_PORT", DEFERRED_PORT, Source.DERIVED, "mgelaunch", template=True),
)
"""Where the ranks of one host meet when nobody says otherwise."""
_UNBUFFERED = Assignment("PYTHONUNBUFFERED", "1", Source.DERIVED, "mgelaunch")


def _derived(host: Host, local_ranks: int) -> Iterable[Assignment]:
    if told := thread_share(host.cpus, local_ranks):
        threads, why = told
        return (Assignment(name, str(threads), Source.DERIVED, why) for name in THREAD_COUNTS)
    return ()


def _of_profile(layers: Layers) -> tuple[str, str]:
    said = [(str(key.value), key.place) for key in layers.launch if key.key == "nproc-per-node"]
    return said[-1] if said else ("", "")


def _number(word: str, place: str, job: Job, host: Host) -> tuple[int, tuple[Finding, ...]]:
    """How many ranks `word` asks for; 0 when it asks for none."""
    if word.isdecimal():
        return int(word), ()
    if not word:
        return 0, ()
    cards = _visible_cards(job, host) if word in {"gpu", "auto"} else 0
    if word == "gpu" and not cards:
        why = host.devices.problem or "no GPU is visible"
        return 1, (Finding("error", "dev.count", f"one rank per GPU was asked for, and {why}", (), "-n 1", place),)
    return min(cards or host.cpus.usable or 1, MOST_RANKS), ()


def _visible_cards(job: Job, host: Host) -> int:
    from mgelaunch.host.visible import visible  # noqa: PLC0415

    resolution = resolve(job.layers, job.worlds[0])
    list_, order = resolution.get("CUDA_VISIBLE_DEVICES"), resolution.get("CUDA_DEVICE_ORDER")
    return len(visible(host.devices, list_, order).units)
