"""From the text of one assignment to what the framework must get."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Reading, Rejected, Relative, Resource, Total, Unmeasured, Unplaced, Value
from mgelaunch.catalogue.places import Path
from mgelaunch.catalogue.variable import Variable
from mgelaunch.environment.placeholders import fill
from mgelaunch.environment.relative import Effective, Measure, absolute, share
from mgelaunch.environment.source import INHERITED, Assignment
from mgelaunch.finding import Finding, either

DEFERRED_PORT = "{master_port}"
DEFERRED_RUN = "{run_id}"
"""What stands for a free port, and for the name of the run, until a start chooses them."""


UNMEASURED = "value.unmeasured"
"""The code of a percentage of something that nobody can measure here."""


class World(NamedTuple):
    """What values are bound to: directories (absolute), totals, the placeholders of the rank (``mates``: those of
    all ranks that are planned here, this one included; empty when it is alone).
    """

    cwd: str
    home: str
    measure: Measure
    placeholders: Mapping[str, str] = MappingProxyType({})
    mates: tuple[Mapping[str, str], ...] = ()


class Settled(NamedTuple):
    """The canonical text (None: the variable is absent), or ``wrong``. ``base`` explains a percentage;
    ``finding`` is the problem, or the note that an inherited text was replaced.
    """

    text: str | None
    wrong: bool = False
    base: str = ""
    finding: Finding | None = None


def settle(assignment: Assignment, world: World, effective: Effective) -> Settled:
    """What `assignment` comes to. Names outside the catalogue keep their text."""
    variable = CATALOGUE.get(assignment.name)
    text = assignment.text
    if assignment.broken:
        return Settled(None, wrong=True, finding=assignment.broken)
    if text is not None and assignment.template:
        text = fill(text, world.placeholders)
        if DEFERRED_PORT in text:
            return Settled(text)  # judged at the start, which chooses it
    if text is None or variable is None or variable.kind.name == "dead":
        return Settled(text)
    if assignment.source in INHERITED and isinstance(variable.kind, Path) and variable.kind.several:
        return Settled(text)  # a search path of the shell means what it says
    if not text.strip():
        return _empty(assignment, variable)
    reading = variable.kind.read(text.strip())
    settled = _bind(reading, assignment, variable, world, effective)
    if settled.wrong or assignment.source not in INHERITED or settled.text == text:
        return settled
    if isinstance(reading, Unplaced) and not text.startswith(("~", "$")):
        return Settled(text if text.startswith("/") else settled.text)  # it means what it says
    return Settled(settled.text, base=settled.base, finding=_replaced(assignment, settled.text, variable))


def _bind(reading: Reading, assignment: Assignment, variable: Variable, world: World, effective: Effective) -> Settled:
    match reading:
        case Value(text):
            return Settled(text)
        case Unplaced(paths) if any("://" in path for path in paths):  # placed, its password would not be masked
            return _wrong(assignment, "value.path", f"the value of {assignment.name} is a URL, and no path", "")
        case Unplaced(paths):
            folder = assignment.folder or world.cwd
            placed = [absolute(path, folder, world.home) for path in paths]
            if assignment.source not in INHERITED and (odd := _unplaceable(placed)):
                return _wrong(assignment, "value.path", f"the value of {assignment.name} {odd}", "")
            return Settled(":".join(placed))
        case Relative():
            return _relative(reading, assignment, variable, world, effective)
        case Rejected(code, reason, suggestion):
            return _wrong(assignment, code, f"the value of {assignment.name} {reason}", suggestion)


def _unplaceable(paths: list[str]) -> str:
    """Why one of the placed paths is no path yet; empty when all are."""
    if any("/~" in path for path in paths):
        return "begins with a ~ whose home directory is not known here; write the path out"
    if any("$" in path for path in paths):
        return "has a $ that nobody expands; in a file write ${NAME}"
    return ""


def _relative(
    relative: Relative, assignment: Assignment, variable: Variable, world: World, effective: Effective
) -> Settled:
    resource = variable.kind.resource
    total = _total(resource, world, effective)
    if isinstance(total, Unmeasured):
        return _unmeasured(assignment, resource, total)
    value = relative.render(share(relative.percent, total.amount, total.sharers))
    shared = f" / {total.sharers} ranks" if total.sharers > 1 else ""
    if value.text and isinstance(reading := variable.kind.read(value.text), Rejected):
        reason = f"the value of {assignment.name}, {relative.percent:g}% of {total.label}{shared}, {reading.reason}"
        return _wrong(assignment, reading.code, reason, "")
    return Settled(value.text, base=f"{relative.percent:g}% of {total.label}{shared}")


def _total(resource: Resource, world: World, effective: Effective) -> Total | Unmeasured:
    mates = world.mates or (world.placeholders,)
    views = [partial(_seen_by, effective, mate) for mate in mates]
    own = next((number for number, mate in enumerate(mates) if mate is world.placeholders), None)
    return world.measure(resource, views, mates.index(world.placeholders) if own is None else own)


def _seen_by(effective: Effective, mate: Mapping[str, str], name: str) -> str | None:
    return effective(name, mate)


_AMOUNTS = {"device-memory": "8GiB", "shared-memory": "1GiB", "cpus": "4", "": ""}
"""What to write in place of a percentage of something that cannot be measured."""


def _unmeasured(assignment: Assignment, resource: Resource, why: Unmeasured) -> Settled:
    known = f": {why.reason}" if why.reason else ""
    message = f"{assignment.name} is a percentage of {resource.replace('-', ' ')}, which cannot be measured here{known}"
    wrong = _wrong(assignment, UNMEASURED, message, _AMOUNTS[resource])
    if why.remedy and wrong.finding:
        return wrong._replace(finding=wrong.finding._replace(remedy=either((why.remedy, wrong.finding.remedy))))
    return wrong


def _empty(assignment: Assignment, variable: Variable) -> Settled:
    if variable.kind.name == "device_list":
        return Settled("")  # no device is visible
    if assignment.source in INHERITED:
        return Settled(None, finding=_replaced(assignment, None, variable))
    return _wrong(assignment, "value.empty", f"{assignment.name} is empty, which is not the same as unset", None)


def _wrong(assignment: Assignment, code: str, message: str, suggestion: str | None) -> Settled:
    remedy = f"--unset {assignment.name}" if suggestion is None else ""
    if suggestion:
        remedy = f"-e {assignment.name}={suggestion}"
    place = assignment.place or assignment.where
    return Settled(None, wrong=True, finding=Finding("error", code, message, (assignment.name,), remedy, place))


_WORDS_AND_NUMBERS = frozenset(
    {
        "switch",
        "presence",
        "nonempty",
        "boolean_words",
        "choice",
        "level",
        "integer",
        "float",
        "bytes",
        "reserve",
        "device",
    }
)
"""Kinds whose canonical texts can be shown to anybody."""


def _replaced(assignment: Assignment, text: str | None, variable: Variable) -> Finding:
    name = assignment.name
    shown = text if variable.kind.name in _WORDS_AND_NUMBERS else "another text"
    outcome = f"{name} is removed" if text is None else f"{name} is passed on as {shown}"
    message = f"{outcome}, which is what your shell's value means"
    return Finding("info", "shell.canonical", message, (name,), "", assignment.where)
