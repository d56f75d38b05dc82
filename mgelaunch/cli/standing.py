"""Where this process stands: alone, a rank that an engine has started, or a node of which ``-n`` starts the ranks."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mgelaunch.cli.options import Options
from mgelaunch.cli.surroundings import placeholders
from mgelaunch.environment.layers import Layers, single
from mgelaunch.environment.source import Assignment, Source
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding, either
from mgelaunch.host.files import Files, whole

if TYPE_CHECKING:  # only where an engine has left its variables
    from mgelaunch.clusters.placement import Found, Node, Placement, Task

_MARKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_JOB_ID", "PET_NODE_RANK", "JOB_COMPLETION_INDEX")
"""Variables of which every engine sets one: without any of them nobody need look further."""

ENGINES = ("slurm", "mpi")
"""Engines that start ranks when they are asked to."""
RANK_NAMES = {
    "RANK": "{rank}",
    "LOCAL_RANK": "{local_rank}",
    "WORLD_SIZE": "{world_size}",
    "LOCAL_WORLD_SIZE": "{local_world_size}",
    "NODE_RANK": "{node_rank}",
    "GROUP_RANK": "{node_rank}",
}
"""What a rank is told of itself, in torchrun's names."""


def standing(options: Options, environ: Mapping[str, str], layers: Layers | None = None) -> "Found | None":
    """What the environment says, or else the options for several machines; None when this process stands alone.

    Raises:
        UsageError: the options do not say enough, or contradict the environment.
    """
    word = options.cluster or (single(layers, "cluster") if layers else "")
    server = bool(options.rendezvous or (layers and single(layers, "rendezvous")))
    found = None
    if word != "none" and any(name in environ for name in _MARKS):
        from mgelaunch.clusters.detect import detect  # noqa: PLC0415
        from mgelaunch.host.ancestors import slurm_step_above  # noqa: PLC0415

        above = slurm_step_above(os.getppid(), Files()) if "SLURM_STEP_ID" in environ else None
        found = detect(environ, megengine_server=server, above=above)
    if found and word in ENGINES and as_node(found.placement):
        found = found._replace(placement=None)  # the engine numbers the machines, too
    is_early = layers is None and bool(options.profile) and not options.cluster  # a profile may name the engine
    if word in ENGINES or is_early or (found and as_task(found.placement)):
        return found  # the engine knows how many machines there are
    return _of_options(options, layers, found)


def machines(said: str) -> int | None:
    """The number of machines in the text of ``--nnodes``; None when there is none.

    Raises:
        UsageError: it is none, or torchrun's range, by which machines may come and go.
    """
    low, colon, high = said.partition(":")
    if colon and low != high:
        raise UsageError(f"--nnodes {said}, a range, is not supported: the number of machines is fixed")
    nodes = whole(low) if said else None
    if said and not nodes:
        raise UsageError("--nnodes is a whole number from 1 on")
    return nodes


def driving(options: Options, layers: Layers, task: "Task | None") -> bool:
    """Whether an engine is to start the ranks: never by a rank that one has started already."""
    return task is None and (options.cluster or single(layers, "cluster")) in ENGINES


def _of_options(options: Options, layers: Layers | None, found: "Found | None") -> "Found | None":
    """`found`, unless options say which of several machines this is, as those of torchrun do."""

    def heard(option: str | None, key: str) -> str:
        return option or (single(layers, key) if layers else "")

    said = heard(options.nnodes, "nnodes")
    nodes = machines(said)
    is_one = options.standalone or nodes == 1
    if options.standalone and nodes not in {None, 1}:
        raise UsageError(f"--standalone is one machine, and --nnodes says {nodes}")
    node = as_node(found.placement) if found else None
    if node and options.nnodes and nodes not in {1, node.nodes}:
        raise UsageError(f"--nnodes says {nodes}, and {node.engine} says {node.nodes}; --cluster none ignores that")
    if found and found.placement and not is_one:
        return found
    if (is_one or nodes is None) and (options.node_rank or "0") != "0":
        raise UsageError("--node-rank is 0: there is one machine")
    if is_one or nodes is None:
        return None if is_one else found
    number = whole(heard(options.node_rank, "node-rank"))
    address, port = heard(options.master_addr, "master-addr"), whole(heard(options.master_port, "master-port"))
    lacking = [
        name
        for name, is_said in (
            (f"--node-rank K, below {nodes}", number is not None and 0 <= number < nodes),
            ("--master-addr HOST", bool(address)),
            ("--master-port PORT, other than 0", bool(port)),
        )
        if not is_said
    ]
    if number is None or lacking:
        raise UsageError(
            f"--nnodes {nodes} needs {' and '.join(lacking)}; or let an engine start the ranks: srun, mpirun, or "
            "--cluster slurm|mpi"
        )
    from mgelaunch.clusters.placement import Found, Node  # noqa: PLC0415

    return Found(Node("--nnodes", number, nodes, master_addr=address, master_port=port or 0), ())


def as_task(placement: "Placement | None") -> "Task | None":
    """The rank that an engine has started as this very process; None when it is none."""
    if placement is None:
        return None
    from mgelaunch.clusters.placement import Task  # noqa: PLC0415 - it is loaded already

    return placement if isinstance(placement, Task) else None


def as_node(placement: "Placement | None") -> "Node | None":
    """The machine of several on which this process is; None when it is none, or a rank already."""
    if placement is None:
        return None
    from mgelaunch.clusters.placement import Node  # noqa: PLC0415 - it is loaded already

    return placement if isinstance(placement, Node) else None


def alone(placement: "Placement | None", environ: Mapping[str, str]) -> dict[str, str]:
    """The placeholders of the one process that mgelaunch becomes."""
    task = as_task(placement)
    if task is None and placement is None:
        inherited = placeholders(environ)
        return inherited | {"local_device": inherited["local_rank"]}
    if task is None:
        return seat(as_node(placement), 0, 1)
    numbers = {"rank": task.rank, "world_size": task.world_size}
    numbers |= {"local_rank": task.local_rank, "local_world_size": task.local_world_size}
    numbers |= {} if task.node_rank is None else {"node_rank": task.node_rank}
    numbers |= {"local_device": task.local_rank % (_cards(environ) or task.local_world_size)}
    place = {"master_addr": task.master_addr or "127.0.0.1", "master_port": str(task.master_port)}
    return {name: str(number) for name, number in numbers.items()} | place


def _cards(environ: Mapping[str, str]) -> int:
    """How many cards the engine lets this rank see; 0 when it does not say. Of a single one, whichever it is, each rank
    uses number 0 (measured with ``srun --gpus-per-task=1``).
    """
    return len([item for item in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if item.strip()])


def seat(node: "Node | None", number: int, ranks: int) -> dict[str, str]:
    """The placeholders of the `number`-th of `ranks` that are started on this machine."""
    index, nodes = (node.node_rank, node.nodes) if node else (0, 1)
    numbers = {"rank": index * ranks + number, "local_rank": number, "local_device": number}
    numbers |= {"world_size": nodes * ranks}
    numbers |= {"local_world_size": ranks, "node_rank": index}
    address = node.master_addr if node and node.master_addr else "127.0.0.1"
    return {name: str(value) for name, value in numbers.items()} | {"master_addr": address}


def told(placement: "Placement", environ: Mapping[str, str]) -> Iterable[Assignment]:
    """What a rank that an engine has started is told, in torchrun's names."""
    for name, text in RANK_NAMES.items():
        if text != "{node_rank}" or placement.node_rank is not None:
            yield Assignment(name, text, Source.OWNED, placement.engine, template=True)
    yield from place_of(placement, environ)
    if placement.engine == "torchrun" and environ.get("MASTER_PORT") != str(placement.master_port):
        # The agent holds its own port, so MegEngine's server has another one.
        yield Assignment("MASTER_PORT", str(placement.master_port), Source.FLAG, "--rendezvous")


def place_of(placement: "Placement", environ: Mapping[str, str]) -> Iterable[Assignment]:
    """Where the ranks meet, as far as the engine tells more than the environment says in so many words."""
    port = str(placement.master_port) if placement.master_port else ""
    for name, text in (("MASTER_ADDR", placement.master_addr), ("MASTER_PORT", port)):
        if text and environ.get(name) != text:
            yield Assignment(name, text, Source.DERIVED, placement.engine)


def unready(options: Options, layers: Layers, found: "Found | None") -> Iterable[Finding]:
    """Why srun cannot be asked for ranks here."""
    is_granted = found is not None and bool(found.placement or found.allocation)
    if (options.cluster or single(layers, "cluster")) == "slurm" and not is_granted:
        message = "--cluster slurm starts ranks inside an allocation of Slurm, and this is none"
        nodes, ranks = options.nnodes or "1", options.ranks or "1"
        remedy = either((f"salloc --nodes={nodes} --ntasks-per-node={ranks}", "--dry-run, which prints a batch script"))
        yield Finding("error", "cluster.allocation", message, (), remedy, "--cluster")


def problems(placement: "Placement | None", layers: Layers, *, planned: int) -> Iterable[Finding]:
    """What the engine leaves open although somebody needs it."""
    task, node = as_task(placement), as_node(placement)
    if task:
        yield from _without_node(task, layers)
        yield from _without_place(task.engine, task.why_no_address, layers, task.world_size)
    elif node:
        yield from _without_place(node.engine, "", layers, node.nodes)
        if not planned and node.nproc not in {"", "1"}:
            message = f"{node.nproc} ranks on each node are asked for ({node.engine}), and without -n there is one"
            yield Finding("warning", "cluster.nproc", message, (), f"-n {node.nproc}")


def _without_node(task: "Task", layers: Layers) -> Iterable[Finding]:
    """An error for each template that would need the number of a node that nobody knows."""
    for said in layers.assignments.values() if task.node_rank is None else ():
        if said[-1].template and "{node_rank}" in (said[-1].text or ""):
            message = f"{said[-1].name} needs the number of the node, which {task.engine} does not tell"
            place = said[-1].place or said[-1].where
            yield Finding("error", "cluster.node", message, (said[-1].name,), "without {node_rank}", place)


def _without_place(engine: str, why: str, layers: Layers, ranks: int) -> Iterable[Finding]:
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in layers.assignments]
    if missing and ranks > 1:
        message = f"{' and '.join(missing)} cannot be derived: {why or f'{engine} does not tell where the ranks meet'}"
        remedy = " ".join(f"-e {name}={'HOST' if name == 'MASTER_ADDR' else '29500'}" for name in missing)
        yield Finding("warning", "cluster.address", message, tuple(missing), remedy)


def described(found: "Found | None") -> str:
    """What was found and in which variables, for one line; empty when there is nothing to say."""
    if found is None or (found.placement is None and not found.allocation):
        return ""
    task, node = as_task(found.placement), as_node(found.placement)
    if task:
        where = f", {task.local_rank} of {task.local_world_size} on this host"
        return f"rank {task.rank} of {task.world_size}{where}, by {task.engine} ({' '.join(task.variables)})"
    if node:
        told = f" ({' '.join(node.variables)})" if node.variables else ""
        return f"machine {node.node_rank} of {node.nodes}, by {node.engine}{told}"
    from mgelaunch.report.text import shown  # noqa: PLC0415 - a start describes nothing

    why = "SLURM_JOB_ID without SLURM_STEP_ID"
    return f"in Slurm's allocation {shown(found.allocation)}, and no rank of a step ({why})"


def document_of(found: "Found | None") -> dict[str, Any] | None:
    """The same for JSON."""
    if found is None or (found.placement is None and not found.allocation):
        return None
    if found.placement is None:
        return {"engine": "Slurm", "allocation": found.allocation}
    said = found.placement._asdict()
    kind = "rank" if as_task(found.placement) else "node"
    return {"kind": kind, **{name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}}
