"""``mgelaunch lint``: settings that scripts, profiles and ``.env`` files make too late, wrongly, or for nobody."""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Annotated, Any, Literal

import typer

from mgelaunch import __version__
from mgelaunch.cli.say import annotate, coloured
from mgelaunch.cli.surroundings import home_directory, inherited_environment, places, working_directory
from mgelaunch.environment.project import project_root
from mgelaunch.environment.relative import display
from mgelaunch.finding import Finding, Severity
from mgelaunch.host.amounts import counted
from mgelaunch.lint.linting import Outcome, Request, lint, position
from mgelaunch.lint.settings import a_world, faults, resolved
from mgelaunch.report.document import finding_document
from mgelaunch.report.text import escaped


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the command to `app`."""
    app.command("lint", context_settings=settings | {"allow_interspersed_args": True})(lint_files)


def lint_files(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files (.py, .toml, .env) and folders.")],
    profile: Annotated[
        list[str] | None,
        typer.Option("-p", "--profile", metavar="NAME", help="Look for what fights this profile, too; repeat it."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="CODE", help="Silence findings of this code.")
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show notes as well.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for errors.")] = False,
    output: Annotated[
        Literal["text", "json", "github"] | None,
        typer.Option("-f", "--format", help="How to print; in GitHub Actions github, else text."),
    ] = None,
) -> int:
    """Find settings that are made too late, wrongly, or for nobody. Reads the files, and runs none of them.

    The exit code is 1 when a finding is an error, else 0. A comment on its line silences a finding: # mgelaunch: ignore

    Examples:

      mgelaunch lint train.py

      mgelaunch lint .                          # every script, .env and profile of the project

      mgelaunch lint -p dtr train.py            # also what the script does against the profile
    """
    outcome = _lint(paths, profile or [])
    ignored = {code.strip() for text in ignore or () for code in text.split(",")}
    findings = [
        finding.as_error() if strict else finding for finding in outcome.findings if finding.code not in ignored
    ]
    shown = [finding for finding in findings if verbose or finding.severity != "info"]
    if output is None:
        output = "github" if os.environ.get("GITHUB_ACTIONS") == "true" else "text"
    if output == "json":
        print(json.dumps(_document(findings, outcome.files), indent=2))
    elif output == "github":
        with redirect_stderr(sys.stdout):  # here the annotations are what was asked for
            annotate(shown)
    else:
        _print(shown, findings, outcome.files)
    return int(any(finding.severity == "error" for finding in findings))


def _lint(paths: Sequence[str], profile: Sequence[str]) -> Outcome:
    cwd, home = working_directory(), home_directory()
    where, world = places(inherited_environment(), cwd), a_world(cwd, home)
    profiles = resolved(profile, where, __version__, world) if profile else None
    outcome = lint(
        Request(
            paths=paths,
            places=where,
            world=world,
            version=__version__,
            shown=lambda path: display(path, cwd),
            project_of=lambda folder: project_root(folder, home) or "",
            profiles=profiles,
        )
    )
    wrong = faults(profiles) if profiles else ()
    return outcome._replace(findings=tuple(dict.fromkeys((*wrong, *outcome.findings))))


def _document(findings: Sequence[Finding], files: int) -> dict[str, Any]:
    return {"version": 1, "files": files, "findings": [_finding(finding) for finding in findings]}


def _finding(finding: Finding) -> dict[str, Any]:
    file, line, column = position(finding)
    return {**finding_document(finding), "file": file, "line": line, "column": column}


_COLOURS: dict[Severity, str] = {"error": "31", "warning": "33", "info": "36"}
_WORDS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def _print(shown: Sequence[Finding], findings: Sequence[Finding], files: int) -> None:
    colour = coloured(sys.stdout.isatty())
    for finding in shown:
        word = _WORDS[finding.severity]
        painted = f"\x1b[{_COLOURS[finding.severity]}m{word}\x1b[0m" if colour else word
        print(f"{escaped(finding.place)}: {painted} {finding.code} {escaped(finding.message)}")
        if finding.remedy:
            print(f"    {escaped(finding.remedy)}")
    print(_summary(findings, files, hidden=len(findings) - len(shown)))


def _summary(findings: Sequence[Finding], files: int, *, hidden: int) -> str:
    numbers = Counter(finding.severity for finding in findings)
    said = [counted(numbers[severity], word) for severity, word in _WORDS.items() if numbers[severity]]
    hint = " (--verbose shows them)" if hidden else ""
    return f"{counted(files, 'file')}: {', '.join(said) or 'nothing to say'}{hint}"
