"""The options that every command shares, said once: names, help, and how a command receives them."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import typer

_LAYERS, _TARGET, _RANKS, _CHECKS = "Settings", "Target", "Ranks", "Findings"
Result = TypeVar("Result")


class Options(NamedTuple):
    """What the user said before TARGET. The annotations are the options that typer offers."""

    profile: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--profile", metavar="NAME", help="Use a profile; repeat to combine.", rich_help_panel=_LAYERS
        ),
    ] = None
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "-e", "--set", metavar="NAME=VALUE", help="Set a variable; the last word.", rich_help_panel=_LAYERS
        ),
    ] = None
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="NAME", help="Remove a variable.", rich_help_panel=_LAYERS),
    ] = None
    env_file: Annotated[
        list[str] | None,
        typer.Option(
            "--env-file", metavar="FILE", help="Read this file, not the project's .env.", rich_help_panel=_LAYERS
        ),
    ] = None
    no_env_file: Annotated[
        bool, typer.Option("--no-env-file", help="Do not read the project's .env.", rich_help_panel=_LAYERS)
    ] = False
    keep_shell: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-shell",
            metavar="NAME",
            help="Let your shell's value win; * matches any.",
            rich_help_panel=_LAYERS,
        ),
    ] = None
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="cpu0|gpu1|gpu", help="MegEngine's device.", rich_help_panel=_TARGET),
    ] = None
    gpu_ids: Annotated[
        str | None,
        typer.Option("--gpu-ids", metavar="4,5|4-7|UUID|none", help="Cards the job may see.", rich_help_panel=_TARGET),
    ] = None
    threads: Annotated[
        str | None, typer.Option("--threads", metavar="N|50%", help="CPU threads per process.", rich_help_panel=_TARGET)
    ] = None
    python: Annotated[
        str | None,
        typer.Option(
            "--python", metavar="PATH", help="Interpreter or environment of the script.", rich_help_panel=_TARGET
        ),
    ] = None
    allow_unknown: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-unknown", metavar="NAME", help="Accept a name that looks mistyped.", rich_help_panel=_CHECKS
        ),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Make warnings errors.", rich_help_panel=_CHECKS)] = False
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="CODE", help="Silence findings of this code.", rich_help_panel=_CHECKS),
    ] = None
    no_check: Annotated[
        bool,
        typer.Option("--no-check", help="Judge each value alone.", rich_help_panel=_CHECKS),
    ] = False
    ranks: Annotated[
        str | None,
        typer.Option(
            "-n",
            "--nproc-per-node",
            metavar="N|gpu|cpu|auto",
            help="Start and watch this many ranks here.",
            rich_help_panel=_RANKS,
        ),
    ] = None
    standalone: Annotated[
        bool, typer.Option("--standalone", help="As torchrun has it: -n 1 when no -n is given.", rich_help_panel=_RANKS)
    ] = False
    nnodes: Annotated[
        str | None, typer.Option("--nnodes", metavar="N", help="Machines of the job.", rich_help_panel=_RANKS)
    ] = None
    node_rank: Annotated[
        str | None,
        typer.Option("--node-rank", metavar="K", help="Number of this machine, from 0 on.", rich_help_panel=_RANKS),
    ] = None
    master_addr: Annotated[
        str | None,
        typer.Option("--master-addr", metavar="ADDRESS", help="Where the ranks meet.", rich_help_panel=_RANKS),
    ] = None
    master_port: Annotated[
        str | None,
        typer.Option(
            "--master-port", metavar="PORT", help="Its port; 0, or nothing, is a free one.", rich_help_panel=_RANKS
        ),
    ] = None
    rendezvous: Annotated[
        Literal["megengine"] | None,
        typer.Option("--rendezvous", help="Host MegEngine's server there.", rich_help_panel=_RANKS),
    ] = None
    join_timeout: Annotated[
        str | None,
        typer.Option(
            "--join-timeout", metavar="10min", help="End the job if a rank has not joined.", rich_help_panel=_RANKS
        ),
    ] = None
    cluster: Annotated[
        Literal["none", "slurm", "mpi"] | None,
        typer.Option(
            "--cluster",
            help="Have srun or mpirun start the ranks; none: ask no engine what this process is.",
            rich_help_panel=_RANKS,
        ),
    ] = None
    hosts: Annotated[
        str | None,
        typer.Option("--hosts", metavar="n1,n2|n[1-8]", help="With --cluster mpi: where.", rich_help_panel=_RANKS),
    ] = None
    max_restarts: Annotated[
        str | None,
        typer.Option(
            "--max-restarts", metavar="N", help="Start all ranks again after a failure.", rich_help_panel=_RANKS
        ),
    ] = None
    grace: Annotated[
        str | None,
        typer.Option("--grace", metavar="10s", help="Time between TERM and KILL.", rich_help_panel=_RANKS),
    ] = None
    time_limit: Annotated[
        str | None,
        typer.Option("--time-limit", metavar="2h", help="Stop the job then; exit code 124.", rich_help_panel=_RANKS),
    ] = None
    log_dir: Annotated[
        str | None,
        typer.Option("--log-dir", metavar="DIR", help="Keep a log and a record of each rank.", rich_help_panel=_RANKS),
    ] = None
    quiet: Annotated[
        bool, typer.Option("--quiet", help="With --log-dir: show nothing of the ranks.", rich_help_panel=_RANKS)
    ] = False
    monitor_interval: Annotated[
        str | None,
        typer.Option("--monitor-interval", metavar="S", help="Accepted; nothing here polls.", hidden=True),
    ] = None
    bind_cpus: Annotated[
        Literal["none", "cores"] | None,
        typer.Option("--bind-cpus", help="Give each rank its share of the cores.", rich_help_panel=_RANKS),
    ] = None
    fix: Annotated[
        list[str] | None,
        typer.Option(
            "--fix",
            metavar="NAME",
            help="Repair cgroup2-dataloader, execution-strategy or dtr-allocator of MegEngine.",
            rich_help_panel=_TARGET,
        ),
    ] = None
    guard: Annotated[
        bool, typer.Option("--guard", help="Tell each variable that the script sets too late.", rich_help_panel=_TARGET)
    ] = False
    facts: Annotated[
        str | None,
        typer.Option(
            "--facts", metavar="FILE", help="Judge by facts that check -f json recorded.", rich_help_panel=_CHECKS
        ),
    ] = None


def with_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Gives `command`, whose first parameter is an `Options`, all of its fields as options of its own."""
    own = list(inspect.signature(command).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=Options._field_defaults[name], annotation=annotation
        )
        for name, annotation in Options.__annotations__.items()
    ]

    def wrapped(**given: Any) -> Result:  # noqa: ANN401 - whatever typer hands over
        options = Options(*map(given.pop, Options._fields))
        return command(options, **given)

    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    wrapped.__signature__ = inspect.Signature([*keywords, *shared])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in [*keywords, *shared]}
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    return wrapped
