"""Prints the lowest versions that the installed mgelaunch declares, as requirements for pip."""

from importlib.metadata import requires

from packaging.requirements import Requirement

for text in requires("mgelaunch") or ():
    requirement = Requirement(text)
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        lowest = next(part.version for part in requirement.specifier if part.operator == ">=")
        print(f"{requirement.name}=={lowest}")
