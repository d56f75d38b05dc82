"""``[requires]`` of a profile, held against the target. What it asks of the host stands with the checks of the host."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mgelaunch.checks.situation import Check, Situation
from mgelaunch.finding import Finding

if TYPE_CHECKING:  # profiles are read by few starts
    from mgelaunch.environment.profile import Requirement


def python(situation: Situation) -> Iterator[Finding]:
    """An error for a Python that the profile does not admit; what cannot be judged is said, never assumed."""
    for requirement in situation.requires:
        if requirement.key == "python":
            yield from _python(requirement, situation.python)


def packages(situation: Situation) -> Iterator[Finding]:
    """An error for each distribution that the target lacks, or has in another version."""
    for requirement in situation.requires:
        if requirement.key == "packages":
            yield from _package(requirement, situation.installed)


def _python(requirement: "Requirement", version: str) -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - only a profile with [requires] pays

    wanted = str(requirement.value)
    # Of an interpreter outside a virtual environment files tell 3.10, not 3.10.13.
    bounds = [version] if version.count(".") > 1 else [f"{version}.0", f"{version}.99"]
    fits = {SpecifierSet(wanted).contains(bound, prereleases=True) for bound in bounds} if version else {True, False}
    if len(fits) > 1:
        message = f"the profile requires Python {wanted}, and the target's exact version is unknown"
        remedy = "--ignore requires.unchecked"
        yield Finding("warning", "requires.unchecked", message, (), remedy, requirement.place)
    elif fits == {False}:
        message = f"the profile requires Python {wanted}, and the target is {version}"
        yield Finding("error", "requires.python", message, (), "--python /path/to/python", requirement.place)


def _package(requirement: "Requirement", installed: Callable[[frozenset[str]], dict[str, str]]) -> Iterator[Finding]:
    from packaging.requirements import Requirement as Package  # noqa: PLC0415
    from packaging.utils import canonicalize_name  # noqa: PLC0415

    package = Package(str(requirement.value))
    name = canonicalize_name(package.name)
    version = installed(frozenset({name})).get(name)
    if version is None:
        message = f"the profile requires {package.name}, which the target does not have"
    elif not package.specifier.contains(version, prereleases=True):
        message = f"the profile requires {package.name}{package.specifier}, and the target has {version}"
    else:
        return
    yield Finding("error", "requires.package", message, (), f"pip install '{package}'", requirement.place)


REQUIREMENTS: tuple[Check, ...] = (python, packages)
