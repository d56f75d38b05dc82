"""The options that every command shares, said once: names, help, and how a command receives them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar

import typer

_LAYERS, _TARGET, _CHECKS = "Settings", "Target", "Findings"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Options:
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
            "--allow-unknown", metavar="NAME", help="Accept a name that no catalogue has.", rich_help_panel=_CHECKS
        ),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Make warnings errors.", rich_help_panel=_CHECKS)] = False
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="CODE", help="Silence warnings of this code.", rich_help_panel=_CHECKS),
    ] = None
    no_check: Annotated[
        bool,
        typer.Option("--no-check", help="Judge each value alone.", rich_help_panel=_CHECKS),
    ] = False
    ranks: Annotated[str | None, typer.Option("-n", "--nproc-per-node", hidden=True)] = None


def with_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Gives `command`, whose first parameter is an `Options`, all of its fields as options of its own."""
    own = list(inspect.signature(command).parameters.values())[1:]
    shared = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(Options)
    ]

    def wrapped(**given: Any) -> Result:  # noqa: ANN401 - whatever typer hands over
        options = Options(**{field.name: given.pop(field.name) for field in fields(Options)})
        return command(options, **given)

    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    wrapped.__signature__ = inspect.Signature([*keywords, *shared])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in [*keywords, *shared]}
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    return wrapped
