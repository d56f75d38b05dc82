"""``mgelaunch kernel install``: a Jupyter kernel that starts through ``mgelaunch run``."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from shlex import quote
from typing import Annotated, Any

import typer

from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.judge import judge
from mgelaunch.cli.kernelspec import (
    Place,
    Spec,
    document,
    forbidden,
    name_of,
    pinned,
    place_of,
    program,
    shelves,
    write,
)
from mgelaunch.cli.options import Options, with_options
from mgelaunch.cli.say import diagnosis, say
from mgelaunch.cli.standing import driving
from mgelaunch.cli.surroundings import home_directory, places
from mgelaunch.finding import Finding
from mgelaunch.launch.command import Target
from mgelaunch.report.text import shown

_OF_ONE_PROCESS = (
    *("profile", "assign", "unset", "env_file", "no_env_file", "keep_shell", "device", "gpu_ids", "threads", "python"),
    *("allow_unknown", "strict", "ignore", "no_check", "bind_cpus", "fix", "guard"),
)
"""The options of ``run`` that mean something to a kernel."""


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the subcommand to `app`."""
    about = "Jupyter kernels that start through mgelaunch."
    group = typer.Typer(help=about, no_args_is_help=True, context_settings=settings)
    group.command("install", context_settings=settings, options_metavar="[OPTIONS]")(_narrowed(install))
    app.add_typer(group, name="kernel")


def install(
    options: Options,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Its name for Jupyter; by default made of the profiles'.")
    ] = "",
    display_name: Annotated[
        str, typer.Option("--display-name", metavar="TEXT", help="What people see in the list of kernels.")
    ] = "",
    user: Annotated[bool, typer.Option("--user", help="For this user (the default).")] = False,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="DIR", help="Into DIR/share/jupyter/kernels, as other installers do.")
    ] = "",
    sys_prefix: Annotated[
        bool, typer.Option("--sys-prefix", help="Into the environment of the kernel's Python.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a kernel of the same name.")] = False,
) -> int:
    """Install a Jupyter kernel that starts through mgelaunch run with these options.

    The kernel resolves and checks its settings afresh at each start, before Python reads the first of them; no value
    is kept but those of -e. Profiles, files and the interpreter are written with their full paths, because Jupyter
    starts kernels elsewhere.

    Examples:

      mgelaunch kernel install -p dtr

      mgelaunch kernel install -p dtr -e MGE_DEFAULT_DEVICE=gpu1 --python .venv --display-name "MegEngine, DTR"

      mgelaunch kernel install -p debug --name debug --replace

      jupyter kernelspec remove mgelaunch-dtr       # takes it away again
    """
    decision = decide(options, Target("ipykernel_launcher", module=True))
    python = decision.interpreter.path
    found = places(decision.environ, decision.cwd)
    lasting = pinned(options, found, decision.environ, python)
    spec = Spec(
        (name or name_of(lasting.names)).lower(),  # Jupyter removes no other
        display_name or f"{', '.join(lasting.names) or 'Python'} (mgelaunch)",
        (*program(), "run", *lasting.words),
        shelves(decision.resolution.layers, found),
    )
    place = place_of(spec.name, decision.environ, decision.cwd, python, user=user, prefix=prefix, of_target=sys_prefix)
    unwritten = forbidden(options, lasting.words, decision.resolution, decision.cwd)
    own = (*unwritten, *_unfit(options, decision), *_taken(place, replace))
    findings = [*decision.findings, *judge(own, options, decision.resolution.layers)]
    if not any(finding.severity == "error" for finding in findings):
        findings += write(place, document(spec))
    say(findings)
    code = diagnosis(findings)
    if not code:
        print("\n".join(_installed(spec, place, decision)))
    return code


def _narrowed(command: Callable[..., int]) -> Callable[..., int]:
    """`command` with those of the shared options alone that mean something to it."""
    full = with_options(command)
    strange = {field: Options._field_defaults[field] for field in Options._fields if field not in _OF_ONE_PROCESS}

    def narrowed(**given: Any) -> int:  # noqa: ANN401 - whatever typer hands over
        return full(**strange, **given)

    offered = inspect.signature(full).parameters
    kept = [parameter for field, parameter in offered.items() if field not in strange]
    narrowed.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    narrowed.__annotations__ = {parameter.name: parameter.annotation for parameter in kept}
    narrowed.__doc__, narrowed.__name__ = command.__doc__, command.__name__
    return narrowed


def _unfit(options: Options, decision: Decision) -> Iterator[Finding]:
    """Why what would be started is no kernel."""
    if decision.plan.supervised or driving(options, decision.resolution.layers, decision.task):
        message = "a profile starts ranks ([launch]), and a kernel is one process"
        yield Finding("error", "kernel.ranks", message, (), "-p with a profile that does not")
    if not decision.interpreter.path:
        return
    from mgelaunch.target.installed import installed_versions  # noqa: PLC0415 - only where there is an interpreter

    python = decision.interpreter.path
    if "ipykernel" not in installed_versions(python, home_directory(), frozenset({"ipykernel"})):
        message = f"the Python of the kernel, {shown(python)}, has no ipykernel"
        yield Finding("error", "kernel.ipykernel", message, (), f"{quote(shown(python))} -m pip install ipykernel")


def _taken(place: Place, replace: bool) -> Iterator[Finding]:
    if place.is_taken and not replace:
        message = f"there is a kernel of this name in {shown(place.folder)}"
        yield Finding("error", "kernel.exists", message, (), "--replace  or  --name OTHER")


def _installed(spec: Spec, place: Place, decision: Decision) -> Sequence[str]:
    return (
        f"kernel  {spec.name}: {shown(place.file)}",
        f"python  {shown(decision.interpreter.path)}, by {decision.interpreter.chosen_by}",
        f'start   in Jupyter, choose "{shown(spec.display_name)}"; or jupyter console --kernel {spec.name}',
        f"remove  jupyter kernelspec remove {spec.name}",
    )
