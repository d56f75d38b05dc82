"""The decision as JSON: versioned, in a stable order, without times."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mgelaunch.catalogue.names import is_secret
from mgelaunch.environment.resolve import Resolution, Setting
from mgelaunch.environment.source import INHERITED, Assignment, Source
from mgelaunch.finding import Finding
from mgelaunch.launch.plan import Plan
from mgelaunch.report.text import masked, masked_command
from mgelaunch.target.interpreter import Interpreter

VERSION = 1


def document(
    ranks: Sequence[Resolution],
    interpreter: Interpreter | None,
    plan: Plan,
    findings: Iterable[Finding],
    *,
    mask: bool,
    cluster: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole decision; the settings are those of the first of `ranks`, `cluster` is what an engine says. With `mask`
    secrets are masked (a diagnostic); without it the values are those that the job gets (``env -f json`` is the
    product).
    """
    problems = tuple(findings)
    return {
        "version": VERSION,
        "target": {"python": interpreter.path or None, "chosen_by": interpreter.chosen_by} if interpreter else None,
        **({"cluster": dict(cluster)} if cluster else {}),
        "processes": [
            {
                "rank": process.rank,
                "program": process.program,
                "argv": list(masked_command(process.argv) if mask else process.argv),
                "cwd": process.cwd,
                "environment": _environment(process.environment, resolution, mask=mask),
                "deferred": [setting.name for setting in resolution.settings.values() if setting.deferred],
                "cpus": list(process.cpus) or None,
            }
            for process, resolution in zip(plan.processes, ranks, strict=True)
        ],
        "settings": [setting_document(setting, problems, mask=mask) for setting in worth_showing(ranks[0])],
        "findings": [{**finding_document(finding), "place": finding.place} for finding in problems],
    }


def worth_showing(resolution: Resolution) -> list[Setting]:
    """The settings that some layer names, and those of the shell that the catalogue knows."""
    return [
        setting
        for setting in resolution.settings.values()
        if setting.variable is not None or setting.beaten or setting.winner.source not in INHERITED
    ]


def _environment(changes: Mapping[str, str | None], resolution: Resolution, *, mask: bool) -> dict[str, str | None]:
    return {
        name: masked(text, secret=name in resolution.settings and resolution.settings[name].secret) if mask else text
        for name, text in changes.items()
    }


def setting_document(setting: Setting, findings: Iterable[Finding], *, mask: bool = True) -> dict[str, Any]:
    """One setting; ``problems`` are the codes of the findings that name it."""
    variable = setting.variable
    return {
        "name": setting.name,
        "value": masked(setting.text, secret=setting.secret) if mask else setting.text,
        "unset": setting.text is None and not setting.wrong,
        "source": setting.winner.source.label,
        "where": setting.winner.where,
        "soft": setting.winner.source is Source.SOFT,
        "base": setting.base or None,
        "kind": variable.kind.name if variable else None,
        "moment": variable.moment if variable else None,
        "secret": setting.secret or is_secret(setting.name),
        "beaten": [_beaten(assignment) for assignment in setting.beaten],
        "problems": [
            finding.code for finding in findings if setting.name in finding.names and finding.severity != "info"
        ],
    }


def _beaten(assignment: Assignment) -> dict[str, str]:
    return {"source": assignment.source.label, "where": assignment.where}


def finding_document(finding: Finding) -> dict[str, Any]:
    """A finding, without its place."""
    return {
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
        "names": list(finding.names),
        "remedy": finding.remedy,
    }
