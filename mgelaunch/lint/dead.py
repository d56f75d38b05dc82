"""Variables that nobody reads: dead ones, those of other builds, slips of the pen."""

from functools import cache

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.names import OUR_PREFIXES, near_miss
from mgelaunch.finding import Finding


@cache
def meant(name: str) -> str | None:
    """The variable that was probably meant by `name`, which is in no catalogue; None when it is a stranger."""
    return near_miss(name, CATALOGUE) if name.startswith(OUR_PREFIXES) else None


def unread(name: str, place: str) -> Finding | None:
    """The finding when nobody reads `name`; its severity is that of a script or a ``.env``."""
    variable = CATALOGUE.get(name)
    if variable is None:
        if near := meant(name):
            message = f"{name} is read by nobody; did you mean {near}?"
            return Finding("warning", "lint.dead", message, (name,), near, place)
        return None
    last = max((reader.until for reader in variable.readers if reader.until), default="")
    if not all(reader.until for reader in variable.readers):
        builds = {reader.builds for reader in variable.readers}
        if "" in builds:
            return None
        message = f"{name} is read by {', '.join(sorted(builds))} builds only"
        return Finding("info", "lint.dead", message, (name,), "", place)
    since = f"not read since {variable.readers[0].framework} {last}" if last else "read by nobody"
    if variable.fix:
        message = f"{name} is {since}; instead: {variable.instead}"
        return Finding("warning", "lint.dead", message, (name,), f"mgelaunch run --fix {variable.fix}", place)
    return Finding("warning", "lint.dead", f"{name} is {since}", (name,), variable.instead, place)
