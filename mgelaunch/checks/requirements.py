"""``[requires]`` of a profile, held against the target."""

from collections.abc import Callable, Iterator, Sequence

from mgelaunch.environment.profile import Requirement
from mgelaunch.finding import Finding


def requirements(
    requires: Sequence[Requirement], python: str, installed: Callable[[frozenset[str]], dict[str, str]]
) -> Iterator[Finding]:
    """An error for each requirement that the target does not meet; what cannot be judged is said, never assumed.

    `python` is the target's version (empty when unknown), `installed` gives the versions of distributions.
    """
    for requirement in requires:
        if requirement.key == "python":
            yield from _python(requirement, python)
        elif requirement.key == "packages":
            yield from _packages(requirement, installed)
        elif requirement.key != "mgelaunch":
            message = f"the profile requires {requirement.key}, which this version does not measure"
            yield Finding(
                "warning", "requires.unchecked", message, (), "--ignore requires.unchecked", requirement.place
            )


def _python(requirement: Requirement, python: str) -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - only a profile with [requires] pays

    wanted = str(requirement.value)
    # Of an interpreter outside a virtual environment files tell 3.10, not 3.10.13.
    bounds = [python] if python.count(".") > 1 else [f"{python}.0", f"{python}.99"]
    fits = {SpecifierSet(wanted).contains(bound, prereleases=True) for bound in bounds} if python else {True, False}
    if len(fits) > 1:
        message = f"the profile requires Python {wanted}, and the target's exact version is unknown"
        yield Finding("warning", "requires.unchecked", message, (), "", requirement.place)
    elif fits == {False}:
        message = f"the profile requires Python {wanted}, and the target is {python}"
        yield Finding("error", "requires.python", message, (), "--python /path/to/python", requirement.place)


def _packages(requirement: Requirement, installed: Callable[[frozenset[str]], dict[str, str]]) -> Iterator[Finding]:
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
