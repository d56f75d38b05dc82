"""``mgelaunch check``: everything about host, target and settings, and what ``run`` would say to it."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import typer

from mgelaunch.checks.caches import cache_directories
from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.options import Options, with_options
from mgelaunch.cli.say import annotate, diagnosis, say
from mgelaunch.cli.standing import described
from mgelaunch.errors import UsageError
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
    prove: Annotated[bool, typer.Option("--prove", help="Import the frameworks and read the values back.")] = False,
    prove_full: Annotated[
        bool, typer.Option("--prove-full", help="Likewise, with an import of Brevitas and torch.")
    ] = False,
    prove_timeout: Annotated[
        str | None, typer.Option("--prove-timeout", metavar="120s", help="How long an interpreter may take.")
    ] = None,
) -> int:
    """Show what this host has and everything that is to be said about the settings.

    Nothing is started, but with --prove the interpreter of the script, which imports what the settings are for.

    The exit code is 0 when run would start (even with warnings), 3 for a wrong setting, 4 for a failed check or proof.

    Examples:

      mgelaunch check

      mgelaunch check -p dtr -n 4 --device gpu train.py

      mgelaunch check -f json > facts.json      # elsewhere: mgelaunch check --facts facts.json

      mgelaunch check --prove -p dtr
    """
    wanted = Target(target, tuple(args or ()), module) if target else None
    limit = _deadline(options, prove_timeout, asked=prove or prove_full)
    decision = decide(options, wanted, run_id=f"proof-{os.getpid()}" if limit else "", thorough=True)
    findings = [_of_host(finding) for finding in decision.findings]
    _tell(findings, output)
    if output == "text":
        print("\n".join(_report(decision, options, findings)), flush=True)
    if not limit:
        proven = None
    else:
        from mgelaunch.cli.prove import prove as carry_out  # noqa: PLC0415 - only a proof pays

        proven = carry_out(decision, options, limit, full=prove_full)
        _tell(proven.findings, output)
        findings += proven.findings
        if output == "text":
            print("\n".join(["", *proven.lines]))
    if output == "json":
        host = to_document(decision.facts) if decision.facts else None
        document = {"version": 1, "host": host, "findings": [finding_document(finding) for finding in findings]}
        print(json.dumps(document | ({"proof": proven.document} if proven else {}), indent=2))
    return diagnosis([*decision.findings, *(proven.findings if proven else ())])


def _deadline(options: Options, text: str | None, *, asked: bool) -> float:
    """How many seconds a proof may take; 0 when none is asked for.

    Raises:
        UsageError: it cannot be made with these options.
    """
    if not asked:
        if text:
            raise UsageError("--prove-timeout belongs to --prove")
        return 0.0
    if options.facts:
        raise UsageError("--prove starts the interpreter of this host, and --facts is about another one")
    from mgelaunch.cli.prove import deadline  # noqa: PLC0415 - only a proof pays

    return deadline(text or "120s")


def _tell(findings: Sequence[Finding], output: str) -> None:
    """Findings on stderr, unless the report on stdout shows them in the same place."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        annotate(findings)
    elif output == "json" or not _same_file(sys.stdout.fileno(), sys.stderr.fileno()):
        say([finding for finding in findings if finding.severity != "info"])


def _report(decision: Decision, options: Options, findings: Sequence[Finding]) -> Iterable[str]:
    if options.facts:
        yield f"The host is the one of {shown(options.facts)}; the target is of this one."
    places = [path for rank in decision.ranks for path in cache_directories(rank, defaults=False)]
    ranks = len(decision.ranks) if decision.plan.supervised else 0
    parts = (_settings(decision), _target(decision), decision.facts, findings, places)
    yield from checkup(*parts, ranks=ranks, cluster=described(decision.found))


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
