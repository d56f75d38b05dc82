"""From options to layers: how many ranks are planned, what each of them is called, and what every layer says."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mgelaunch import __version__
from mgelaunch.catalogue.names import is_portable
from mgelaunch.cli.options import Options
from mgelaunch.cli.surroundings import home_directory, placeholders, places
from mgelaunch.environment.flags import IMPLYING, MEETING, THREAD_COUNTS, implied
from mgelaunch.environment.layers import Layers, Request, read_layers
from mgelaunch.environment.project import find_env_file, project_root
from mgelaunch.environment.resolve import resolve
from mgelaunch.environment.settle import DEFERRED_PORT, DEFERRED_RUN, World
from mgelaunch.environment.source import Assignment, Source
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding
from mgelaunch.host.cpus import thread_share
from mgelaunch.host.files import whole
from mgelaunch.host.measure import Host
from mgelaunch.host.totals import Share, Totals

RANK_NAMES = {
    "RANK": "{rank}",
    "LOCAL_RANK": "{local_rank}",
    "WORLD_SIZE": "{world_size}",
    "LOCAL_WORLD_SIZE": "{local_world_size}",
    "NODE_RANK": "{node_rank}",
    "GROUP_RANK": "{node_rank}",
}
"""What a rank that mgelaunch starts is told of itself, in torchrun's names."""
MOST_RANKS = 1024


class Job(NamedTuple):
    """What was asked for: ``worlds`` has one entry for each rank that is planned here. ``planned`` is the number
    that ``-n`` or a profile asks for, 0 when mgelaunch becomes the one process.
    """

    layers: Layers
    worlds: tuple[World, ...]
    planned: int
    share: Share
    findings: tuple[Finding, ...] = ()


def gather(
    options: Options, environ: Mapping[str, str], cwd: str, run_id: str, host: Host, *, alone: bool = False
) -> Job:
    """Reads every layer, twice when only the layers tell how many ranks there are. `alone`: there is but one process.

    Raises:
        UsageError: the options contradict each other or cannot be understood.
    """
    request = _request(options, environ, cwd)
    _usage(request, options)
    asked = "" if alone else options.ranks or ("1" if options.standalone else "")
    job = _read(request, environ, run_id, host, int(asked) if asked.isdecimal() else 0)
    if alone:
        return job
    word, place = (asked, "--nproc-per-node") if asked else _of_profile(job.layers)
    planned, findings = _number(word, place, job, host)
    if planned != job.planned:
        job = _read(request, environ, run_id, host, planned)
    return job._replace(findings=findings)


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
    for option, text in {**texts, "--master-addr": options.master_addr, "--master-port": options.master_port}.items():
        if text is not None and not text.strip():
            raise UsageError(f"{option} is empty; leave it out to say nothing")
    ranks = options.ranks or "1"
    if ranks.startswith("="):
        raise UsageError(f"write -n {ranks[1:]}, not -n{ranks}")
    number = whole(ranks)
    if ranks not in {"gpu", "cpu", "auto"} and (number is None or not 0 < number <= MOST_RANKS):
        raise UsageError(f"-n/--nproc-per-node takes a number of ranks from 1 to {MOST_RANKS}, or gpu, cpu or auto")


def _read(request: Request, environ: Mapping[str, str], run_id: str, host: Host, planned: int) -> Job:
    inherited = placeholders(environ)
    local_ranks = planned or max(1, min(int(inherited["local_world_size"]), MOST_RANKS))
    bound = not planned and local_ranks > 1 and host.cpus.bound
    share = Share(local_ranks, 0 if planned else int(inherited["local_rank"]), 1 if bound else local_ranks)
    deferred = {"run_id": run_id or DEFERRED_RUN, "restart_count": "0"}
    ranks = [_rank(number, planned) | deferred for number in range(planned)] or [inherited | deferred]
    home, cwd = home_directory(), request.places.cwd
    mates = tuple(ranks)
    own = [*_derived(host, share.cpu_ranks), *((*_owned(), *_MEETING_PLACE) if planned else ())]
    request = request._replace(own=tuple(own), implying=(*IMPLYING, *MEETING) if planned else IMPLYING)
    first = World(cwd, home, Totals(host, share), ranks[0], mates)
    layers = read_layers(request, first)
    measure = Totals(host, share, final=True)
    worlds = tuple(World(cwd, home, measure, rank, mates) for rank in ranks)
    return Job(layers, worlds, planned, share)


def _rank(number: int, ranks: int) -> dict[str, str]:
    """The placeholders of one of `ranks` on this host; the port is chosen at the start."""
    same = {"world_size": str(ranks), "local_world_size": str(ranks), "node_rank": "0", "master_addr": "127.0.0.1"}
    return {"rank": str(number), "local_rank": str(number), **same}


def _owned() -> Iterable[Assignment]:
    return (Assignment(name, text, Source.OWNED, "mgelaunch", template=True) for name, text in RANK_NAMES.items())


_MEETING_PLACE = (
    Assignment("MASTER_ADDR", "127.0.0.1", Source.DERIVED, "mgelaunch"),
    Assignment("MASTER_PORT", DEFERRED_PORT, Source.DERIVED, "mgelaunch", template=True),
    Assignment("PYTHONUNBUFFERED", "1", Source.DERIVED, "mgelaunch"),
)
"""What the ranks of one host get when nobody says otherwise."""


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
