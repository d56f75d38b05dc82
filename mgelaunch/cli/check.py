"""``mgelaunch check``: everything about host, target and settings, and what ``run`` would say to it."""

import json
import os
import sys
from typing import Annotated, Any, Literal

import typer

from mgelaunch.checks.caches import cache_directories
from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.options import Options, with_options
from mgelaunch.cli.say import annotate, diagnosis, say
from mgelaunch.cli.standing import described
from mgelaunch.finding import Finding
from mgelaunch.host.recorded import to_document
from mgelaunch.launch.command import Target
from mgelaunch.report.checkup import checkup
from mgelaunch.report.document import finding_document
from mgelaunch.report.host import Measured
from mgelaunch.report.text import shown
from mgelaunch.target.installed import describe


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the command to `app`."""
    app.command("check", context_settings=settings, options_metavar="[OPTIONS]")(with_options(check))


def check(
    options: Options,
    target: Annotated[str, typer.Argument(metavar="[TARGET]", help="What run would start.")] = "",
    args: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...")] = None,
    module: Annotated[bool, typer.Option("-m", "--module", help="TARGET is a module.")] = False,
    output: Annotated[Literal["text", "json"], typer.Option("-f", "--format", help="How to print.")] = "text",
) -> int:
    """Show what this host has and everything that is to be said about the settings. Starts nothing.

    The exit code is 0 when run would start (warnings included), 3 when a setting is wrong, 4 when a check fails.

    Examples:

      mgelaunch check

      mgelaunch check -p dtr -n 4 --device gpu train.py

      mgelaunch check -f json > facts.json      # elsewhere: mgelaunch check --facts facts.json
    """
    wanted = Target(target, tuple(args or ()), module) if target else None
    decision = decide(options, wanted, thorough=True)
    findings = [_of_host(finding) for finding in decision.findings]
    if os.environ.get("GITHUB_ACTIONS") == "true":
        annotate(findings)
    elif output == "json" or not _same_file(sys.stdout.fileno(), sys.stderr.fileno()):
        say([finding for finding in findings if finding.severity != "info"])
    if output == "json":
        host = to_document(decision.facts) if decision.facts else None
        document = {"version": 1, "host": host, "findings": [finding_document(finding) for finding in findings]}
        print(json.dumps(document, indent=2))
    else:
        places = [path for rank in decision.ranks for path in cache_directories(rank, defaults=False)]
        ranks = len(decision.ranks) if decision.plan.supervised else 0
        if options.facts:
            print(f"The host is the one of {shown(options.facts)}; the target is of this one.")
        cluster = described(decision.found)
        parts = (_settings(decision), _target(decision), decision.facts, findings, places)
        lines = checkup(*parts, ranks=ranks, cluster=cluster)
        print("\n".join(lines))
    return diagnosis(decision.findings)


def _of_host(finding: Finding) -> Finding:
    """What is merely true of the host: a start keeps it to itself, here it is a warning."""
    return finding._replace(severity="warning") if finding.about == "host" else finding


def _same_file(one: int, other: int) -> bool:
    """Whether both descriptors lead to one terminal or file, where nobody wants to read everything twice."""
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _settings(decision: Decision) -> str:
    changes = decision.plan.processes[0].environment
    ranks = f" in each of {len(decision.ranks)} ranks" if len(decision.ranks) > 1 else ""
    removed = sum(text is None for text in changes.values())
    number = len(changes) - removed
    return f"{number} {'variable' if number == 1 else 'variables'} set, {removed} removed{ranks}"


def _target(decision: Decision) -> Measured:
    """The interpreter; one whose files do not tell its version (a shim, for example) is not known."""
    python = decision.interpreter.path
    if not python:
        return Measured("no interpreter was found", known=False)
    versions = describe(python, os.path.expanduser("~"))
    told = versions or "its version and packages are not known"
    return Measured(f"{python}  {told}  by {decision.interpreter.chosen_by}", known=bool(versions))
