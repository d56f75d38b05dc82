"""Variables that the target's framework does not read: dead ones, newer ones, those of other builds."""

from collections.abc import Callable, Iterator

from mgelaunch.catalogue.variable import Framework, Reader, Variable
from mgelaunch.environment.resolve import Resolution
from mgelaunch.finding import Finding, either

Versions = Callable[[Framework], str]
"""The version of a framework in the target; empty when it is unknown, which counts as the newest."""


def unread(resolution: Resolution, versions: Versions) -> Iterator[Finding]:
    """A warning for each variable that the job sets and nobody will read."""
    for name, setting in resolution.settings.items():
        variable = setting.variable
        if setting.text is None or variable is None:
            continue
        reasons = [_why_unread(reader, versions) for reader in variable.readers]
        if all(reasons):
            place = setting.winner.place or setting.winner.where
            code, why = next(filter(None, reasons), ("name.dead", "is heeded by no version"))
            remedy = either((f"--fix {variable.fix}" if variable.fix else "", f"--unset {name}"))
            yield Finding("warning", code, _sentence(variable, why), (name,), remedy, place)


def _sentence(variable: Variable, why: str) -> str:
    return f"{variable.name} {why}; instead: {variable.instead}" if variable.instead else f"{variable.name} {why}"


def _why_unread(reader: Reader, versions: Versions) -> tuple[str, str] | None:
    """Why this reader does not read it, as a code and a phrase; None when it does."""
    if reader.builds:
        return "name.build", f"is read by {reader.builds} builds of {reader.framework} only"
    if not reader.since and not reader.until:
        return None
    version = versions(reader.framework)
    if reader.until and not (version and _below(version, reader.until)):
        return "name.dead", f"is not read since {reader.framework} {reader.until}"
    if reader.since and version and _below(version, reader.since):
        return "name.newer", f"is read from {reader.framework} {reader.since} on, and the target has {version}"
    return None


def _below(version: str, bound: str) -> bool:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - only version-bound variables pay

    try:
        return Version(version) < Version(bound)
    except InvalidVersion:
        return False
