"""From what was found in scripts to findings: each line of a script is judged by the worst way that leads to it."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Value
from mgelaunch.catalogue.places import Path
from mgelaunch.catalogue.variable import Variable
from mgelaunch.environment.resolve import Resolution
from mgelaunch.finding import Finding, Severity
from mgelaunch.lint.conflict import fights, overrules
from mgelaunch.lint.dead import unread
from mgelaunch.lint.late import Lateness, is_late, lateness
from mgelaunch.lint.observed import Event, Heir, Reading, Replacement, Write
from mgelaunch.lint.values import misread

_ORDER = ("error", "warning", "info")


def judged(readings: Iterable[Reading], profiles: Resolution | None) -> list[Finding]:
    """One finding for each place, code and variable: the worst of all scripts and of all calls."""
    worst: dict[tuple[str, str, tuple[str, ...]], Finding] = {}
    for finding in (finding for reading in readings for finding in _of_reading(reading, profiles)):
        key = (finding.place, finding.code, finding.names)
        known = worst.get(key)
        if known is None or _ORDER.index(finding.severity) < _ORDER.index(known.severity):
            worst[key] = finding
    return list(worst.values())


def _of_reading(reading: Reading, profiles: Resolution | None) -> Iterator[Finding]:
    heirs = _heirs(reading.events)
    settled: set[tuple[str, str]] = set()
    for event, inheriting in zip(reading.events, heirs, strict=True):
        if isinstance(event, Write):
            yield from _of_write(event, _Context(reading, inheriting, profiles), settled)
        elif isinstance(event, Replacement) and profiles is not None and (found := fights(event, profiles)):
            yield found


class _Context(NamedTuple):
    """What else there is to know of a line: the kinds of programs that get the environment later."""

    reading: Reading
    heirs: frozenset[str]
    profiles: Resolution | None


def _heirs(events: Sequence[Event]) -> list[frozenset[str]]:
    """For each event, which kinds of programs get the environment after it."""
    later: frozenset[str] = frozenset()
    behind = []
    for event in reversed(events):
        behind.append(later)
        if isinstance(event, Heir):
            later |= {event.kind}
    return behind[::-1]


def _of_write(write: Write, context: _Context, settled: set[tuple[str, str]]) -> Iterator[Finding]:
    """`settled` are the lines, each with a variable, that have been run in time before."""
    variable = CATALOGUE.get(write.name)
    if write.action != "remove":
        if dead := unread(write.name, write.place):
            yield dead
        if variable is not None:
            yield from _values(variable, write)
    if variable is None:
        return
    spot = (write.place, write.name)
    if not is_late(variable, write.state):
        settled.add(spot)
        if context.profiles is not None:
            yield from overrules(write, context.profiles)
    yield from _late(variable, write, context, again=spot in settled)


def _values(variable: Variable, write: Write) -> Iterator[Finding]:
    for value in write.values:
        if wrong := misread(variable, value):
            target = f'os.environ["{write.name}"]'
            remedy = f'{target} = "{wrong.instead}"' if wrong.instead else ""
            if wrong.instead is None:
                remedy = f'os.environ.pop("{write.name}", None)'
            yield Finding("error", "lint.value", f"{write.name} {wrong.phrase}", (write.name,), remedy, write.place)
            return


def _late(variable: Variable, write: Write, context: _Context, *, again: bool) -> Iterator[Finding]:
    """`again`: the line has been run before, and then it was in time."""
    late = lateness(variable, write.state)
    if late is None:
        return
    severity, remedy, aside = _severity(late, variable, write, context), "", ""
    if not late.in_time:
        earlier = write.state.written.get(write.name, "this line" if again else "")
        if earlier:
            severity, aside = "info", f"; {earlier} has set it in time"
        elif _reaches_workers(variable, context):
            aside = "; a Python that is started later has it from its start"
        remedy = _remedy(variable, write, context.reading.script)
    yield Finding(severity, "lint.late", f"{write.name} {late.phrase}{aside}", (write.name,), remedy, write.place)


def _severity(late: Lateness, variable: Variable, write: Write, context: _Context) -> Severity:
    """A line is let off when a program that is executed later reads what it sets, or a child for which it is meant: a
    search path is for any of them, what else Python reads at its start only for a Python.
    """
    if not context.reading.reached or "self" in context.heirs:
        return "info"
    if variable.moment == "start":
        for_children = context.heirs if isinstance(variable.kind, Path) else context.heirs & {"python"}
        if write.action == "remove" or for_children:
            return "info"
    lesser = (write.action == "remove") + (not late.in_time and _reaches_workers(variable, context))
    for _ in range(lesser):
        late = late.lessened()
    return late.severity


def _reaches_workers(variable: Variable, context: _Context) -> bool:
    """Whether a Python that is started later, such as the ranks of ``mp.spawn``, will import the reader afresh."""
    return variable.moment != "start" and "python" in context.heirs


def _remedy(variable: Variable, write: Write, script: str) -> str:
    """The command that sets the variable in time, with the value where it can be shown and means what it says."""
    if write.action == "remove":
        return f"mgelaunch run --unset {write.name} {shlex.quote(script)}"
    texts = [value for value in write.values if isinstance(value, str)]
    shown = len(texts) == 1 and variable.kind.name != "url" and isinstance(variable.kind.read(texts[0]), Value)
    value = shlex.quote(f"{write.name}={texts[0]}") if shown else f"{write.name}=..."
    return f"mgelaunch run -e {value} {shlex.quote(script)}"
