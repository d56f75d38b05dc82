"""The commands. Each lives in a module of its own, and only the one that is asked for is loaded."""

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, cast

import typer

from mgelaunch import __version__
from mgelaunch.errors import USAGE, UsageError

_COMMANDS = ("run", "env", "explain", "check", "profiles", "vars", "lint", "kernel", "rank")
_SETTINGS = {
    "allow_interspersed_args": False,
    # torchrun's spelling of long options, with underscores, is as good as ours.
    "token_normalize_func": lambda token: token.replace("_", "-"),
    "help_option_names": ["-h", "--help"],
}


# typer's own parser raises these; their base class has no public name.
_PARSER_ERROR = cast("type[Exception]", typer.BadParameter.__mro__[2])


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mgelaunch {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Settings for MegEngine, Brevitas and PyTorch jobs: resolved, typed and checked before the script starts."""


def _build(only: str | None) -> typer.Typer:
    app = typer.Typer(
        add_completion=only is None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings=_SETTINGS,
    )
    app.callback()(_root)
    for name in _COMMANDS if only is None else (only,):
        import_module(f"mgelaunch.cli.{name}").register(app, _SETTINGS)
    return app


def invoke(argv: Sequence[str]) -> int:
    """Runs the command that `argv` names.

    Raises:
        UsageError: the command line cannot be understood.
    """
    only = argv[0] if argv and argv[0] in _COMMANDS else None
    if only in {"run", "env", "check"}:
        _refuse_glued_module(argv[1:])
    command = typer.main.get_command(_build(only))
    try:
        outcome = command.main(list(argv), prog_name="mgelaunch", standalone_mode=False)
    except _PARSER_ERROR as error:
        if not argv or list(argv) in (["profiles"], ["kernel"]):
            return USAGE  # the help was shown
        raise _usage(error) from None
    except typer.Abort:
        return 130
    return outcome if isinstance(outcome, int) else 0


def _usage(error: Exception) -> UsageError:
    """The parser's complaint in one line. It names options, never what stands for their values."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "mgelaunch"
    return UsageError(f"{_complaint(error)}; see {path} --help")


_MEETS = "leave it out: on one machine the ranks meet at a free port; on several, srun or mpirun starts mgelaunch run"
_STREAMS = "--log-dir DIR keeps what each rank says and shows it, with --quiet it only keeps it"
_FILTERS = "the lines of each rank begin with its number, and grep takes them apart"
_OF_TORCHRUN = {
    **dict.fromkeys(("--rdzv-backend", "--rdzv-endpoint", "--rdzv-id", "--rdzv-conf", "--local-addr"), _MEETS),
    **dict.fromkeys(("-r", "--redirects", "-t", "--tee", "--logs-specs"), _STREAMS),
    **dict.fromkeys(("--local-ranks-filter", "--duplicate-stdout-filters", "--duplicate-stderr-filters"), _FILTERS),
    "--use-env": "leave it out: ranks are always told by the environment",
    "--start-method": "each rank is an interpreter of its own, started afresh",
    "--run-path": "each rank is an interpreter of its own, and TARGET is what it runs",
    "--role": "all ranks have the same role",
    "--event-log-handler": "--log-dir DIR writes a record of each rank and of the job",
    "--numa-binding": "--bind-cpus cores gives each rank its share of the cores",
    "--signals-to-handle": "INT, TERM, HUP and QUIT end the ranks, USR1 and USR2 are passed on",
    "--shutdown-timeout": "--grace 30s is the time between TERM and KILL",
    "--virtual-local-rank": "--device gpu gives each rank the card of its local rank",
}
"""Options of torchrun 2.13 that have no counterpart of the same name, and what to do without them."""


def _complaint(error: Exception) -> str:
    option = getattr(error, "option_name", None)
    parameter = getattr(error, "param", None)
    if option in _OF_TORCHRUN:
        return f"torchrun's {option} is not supported: {_OF_TORCHRUN[option]}"
    if hasattr(error, "possibilities"):  # an option that does not exist
        near = " or ".join(sorted(error.possibilities or ()))
        return f"there is no option {option}" + (f"; did you mean {near}?" if near else "")
    message = " ".join(str(getattr(error, "message", "") or "the command line is wrong").split()).rstrip(".")
    if option:
        return message
    if parameter is not None:
        named = " / ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.human_readable_name
        choices = ", ".join(map(str, getattr(parameter.type, "choices", ())))
        return f"{named} is missing or wrong" + (f"; it is one of {choices}" if choices else "")
    return "there is no such command" if message.startswith("No such command") else message.partition(" (")[0]


_WITH_VALUE = frozenset(
    {
        *("-p", "--profile", "-e", "--set", "--unset", "--env-file", "--keep-shell", "--device", "--gpu-ids"),
        *("--threads", "--python", "--allow-unknown", "--ignore", "-f", "--format", "-n", "--nproc-per-node"),
        *("--bind-cpus", "--fix", "--facts", "--nnodes", "--node-rank", "--master-addr", "--master-port"),
        *("--rendezvous", "--join-timeout", "--max-restarts", "--grace", "--time-limit", "--log-dir", "--rank"),
        *("--monitor-interval", "--cluster", "--hosts", "--prove-timeout"),
    }
)


def _refuse_glued_module(argv: Sequence[str]) -> None:
    """``-mpdb`` would be read as ``-m -p db``: a profile called db."""
    tokens = iter(argv)
    for token in tokens:
        if token in _WITH_VALUE:
            next(tokens, None)
            continue
        if match := re.fullmatch(r"-m([A-Za-z_][\w.]*)", token):
            raise UsageError(f"write -m {match[1]}, not -m{match[1]}")
        if not token.startswith("-"):
            return
