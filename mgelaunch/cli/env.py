"""``mgelaunch env``: the environment itself, for a shell, a file, a container, a program."""

import json
import os
import sys
from typing import Annotated, Any, Literal

import typer

from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.options import Options, with_options
from mgelaunch.cli.say import diagnosis, say
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding, Severity
from mgelaunch.launch.command import Target
from mgelaunch.report.document import document
from mgelaunch.report.formats import FORMATS, TRAVELLING, Unsayable


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the command to `app`."""
    app.command("env", context_settings=settings, options_metavar="[OPTIONS]")(with_options(env))


def env(
    options: Options,
    target: Annotated[str, typer.Argument(metavar="[TARGET]", help="Only chooses the interpreter.")] = "",
    args: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...")] = None,
    module: Annotated[bool, typer.Option("-m", "--module", help="TARGET is a module.")] = False,
    output: Annotated[
        Literal["sh", "fish", "dotenv", "docker", "json"], typer.Option("-f", "--format", help="For whom to print.")
    ] = "sh",
    bind_here: Annotated[
        bool, typer.Option("--bind-here", help="With dotenv and docker: write percentages as this host's numbers.")
    ] = False,
) -> int:
    """Print the variables that mgelaunch would set and remove, with their real values, secrets included.

    When a setting is wrong, stdout stays empty (but for json) and the exit code is 3 or 4, because the output is
    meant to be evaluated.

    Examples:

      eval "$(mgelaunch env -p dtr)"

      mgelaunch env -p dtr -f fish | source

      mgelaunch env -p dtr -f dotenv --bind-here > .env.train
    """
    if options.ranks:
        raise UsageError("env prints the environment of one process; -n belongs to run and check")
    decision = decide(options, Target(target, tuple(args or ()), module) if target else None, alone=True)
    findings = list(decision.findings)
    lines: list[str] = []
    if output != "json" and not decision.errors:
        lines, refused = _lines(decision, output, bound=bind_here or bool(options.facts))
        refused = [finding.as_error() for finding in refused] if options.strict else refused
        findings += refused
    say(findings)
    if output == "json":
        chosen = decision.interpreter if decision.target else None
        shown = document(decision.ranks, chosen, decision.plan, findings, mask=False)
        lines = [json.dumps(shown, indent=2)]
    code = diagnosis(findings)
    if output == "json" or not code:
        # Bytes: a value of the shell may be no text in any encoding.
        sys.stdout.buffer.write(os.fsencode("".join(f"{line}\n" for line in lines)))
    return code


def _lines(decision: Decision, output: str, *, bound: bool) -> tuple[list[str], list[Finding]]:
    lines, refused = [], []
    for name, text in decision.plan.processes[0].environment.items():
        setting = decision.resolution.settings.get(name)
        base = setting.base if setting else ""
        line = FORMATS[output](name, text)
        if base and output in TRAVELLING and not bound:
            message = f"{name} is {base}, which is another number elsewhere"
            refused.append(Finding("error", "format.bound", message, (name,), "--bind-here  or  --facts FILE"))
        elif isinstance(line, Unsayable):
            severity: Severity = "warning" if line.harmless else "error"
            remedy = "" if line.harmless else "-f sh"
            refused.append(Finding(severity, "format.unsayable", f"{name} {line.why}", (name,), remedy))
        else:
            lines.append(line)
    return lines, refused
