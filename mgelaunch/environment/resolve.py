"""From layers to the resolution: for each name the winner, the beaten, the typed value, the problems."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.names import OUR_PREFIXES, is_portable, is_secret, near_miss
from mgelaunch.catalogue.variable import Variable
from mgelaunch.environment.layers import Layers
from mgelaunch.environment.settle import DEFERRED_PORT, DEFERRED_RUN, Settled, World, settle
from mgelaunch.environment.source import INHERITED, Assignment, Source
from mgelaunch.finding import Finding, Severity

_UNNAMED = INHERITED | {Source.DOTENV}
"""Layers whose strange names are warned of only: the user did not name them on the command line."""


_OURS = frozenset({Source.DERIVED, Source.OWNED})
"""Layers that are mgelaunch's own: nobody is told of problems with them."""


class Setting(NamedTuple):
    """One variable as it was resolved. ``text`` is what the job gets, None when it gets none (or when
    ``wrong``); ``base`` explains a percentage; ``beaten`` are the losers, highest first.
    """

    name: str
    winner: Assignment
    beaten: tuple[Assignment, ...]
    text: str | None
    base: str
    wrong: bool
    secret: bool
    variable: Variable | None

    @property
    def inherited(self) -> bool:
        """Whether the job gets it from the shell as it stands, so that nothing is to be exported."""
        return self.winner.source in INHERITED and not self.winner.template and self.text == self.winner.text

    @property
    def deferred(self) -> bool:
        """Whether a part of it is chosen only at the start: a port, or the run's own name."""
        return self.winner.template and any(mark in (self.text or "") for mark in (DEFERRED_PORT, DEFERRED_RUN))


class Resolution(NamedTuple):
    """All settings by name, sorted, and what is to be said about them."""

    settings: Mapping[str, Setting]
    layers: Layers
    findings: tuple[Finding, ...]

    def get(self, name: str) -> str | None:
        """The text that the job gets for `name`; None when it gets none."""
        setting = self.settings.get(name)
        return setting.text if setting else None

    @property
    def exported(self) -> dict[str, str | None]:
        """What mgelaunch sets (a text) or removes (None) in the inherited environment."""
        return {
            name: setting.text for name, setting in self.settings.items() if not setting.inherited and not setting.wrong
        }


def resolve(
    layers: Layers, world: World, *, allow_unknown: Iterable[str] = (), like: Resolution | None = None
) -> Resolution:
    """Judges every name by its winner. One value alone is judged here; several together are checks.

    `like` is the resolution of the same layers for another rank: what does not depend on the rank is taken from it,
    and of the findings only those are told that it may not have.
    """
    settled: dict[str, Settled] = {}

    def effective(name: str, placeholders: Mapping[str, str] | None = None, /) -> str | None:
        said = layers.assignments.get(name)
        if placeholders is not None and placeholders != world.placeholders:
            other = world._replace(placeholders=placeholders)
            return settle(said[-1], other, effective).text if said else None
        if name not in settled:
            settled[name] = settle(said[-1], world, effective) if said else Settled(None)
        return settled[name].text

    # What a profile with an error would have marked secret is not known, so all that is not ours is masked.
    opaque = any(finding.severity == "error" for file in layers.profiles for finding in file.findings)
    settings = dict(like.settings) if like else {}
    findings = [] if like else list(layers.findings)
    names = [name for name, setting in settings.items() if _of_rank(setting)] if like else sorted(layers.assignments)
    for name in names:
        said = layers.assignments[name]
        effective(name)
        winner, outcome = said[-1], settled[name]
        settings[name] = Setting(
            name=name,
            winner=winner,
            beaten=tuple(reversed(said[:-1])),
            text=outcome.text,
            base=outcome.base,
            wrong=outcome.wrong,
            secret=winner.secret or name in layers.secrets or is_secret(name) or (opaque and not _is_ours(winner)),
            variable=CATALOGUE.get(name),
        )
        if outcome.finding is not None and outcome.finding not in findings:
            findings.append(outcome.finding)
    if like and all(settings[name].winner.source in _OURS for name in names):
        return Resolution(settings, layers, tuple(findings))
    findings += _strange_names(layers, frozenset(allow_unknown))
    findings += _unmet_demands(layers, settings)
    findings += _owned_names(settings)
    findings += _beaten_shell(settings, lambda loser: settle(loser, world, effective).text)
    return Resolution(settings, layers, tuple(findings))


def _is_ours(winner: Assignment) -> bool:
    """Whether what it says is known to be no secret."""
    return winner.name in CATALOGUE or winner.source in _OURS


def _of_rank(setting: Setting) -> bool:
    """Whether another rank may get another value."""
    return setting.winner.template or bool(setting.base) or setting.wrong


@cache  # every rank asks again
def _meant(name: str) -> str | None:
    return near_miss(name, CATALOGUE)


def _strange_names(layers: Layers, allowed: frozenset[str]) -> Iterable[Finding]:
    for name, said in layers.assignments.items():
        if name in CATALOGUE or name in allowed:
            continue
        if said[-1].text is None:
            continue  # it is removed, and that is right for a name that nobody reads
        named = [assignment for assignment in said if assignment.source not in _UNNAMED]
        speaker = (named or said)[-1]
        place = speaker.place or speaker.where
        if named and not is_portable(name):
            yield Finding("error", "name.portable", "a variable's name has letters, digits and _ only", (), "", place)
            continue
        if meant := _meant(name):
            severity: Severity = "error" if named else "warning"
            message = f"{name} is read by nobody (--allow-unknown {name} accepts it); did you mean {meant}?"
            remedy = f"-e {meant}=..." if speaker.source is Source.SET else ""
            if speaker.source in INHERITED:
                remedy = f"--unset {name}"
            yield Finding(severity, "name.unknown", message, (name,), remedy, place)
        elif name.startswith(OUR_PREFIXES):
            yield Finding("info", "name.stranger", f"{name} is in no catalogue of ours", (name,), "", place)


def _unmet_demands(layers: Layers, settings: Mapping[str, Setting]) -> Iterable[Finding]:
    for demand in layers.demands:
        setting = settings.get(demand.name)
        if setting is None or (not setting.text and not setting.wrong):
            message = f"{demand.name} is required and not set: {demand.message}"
            yield Finding(
                "error", "profile.required", message, (demand.name,), f"export {demand.name}=...", demand.place
            )


def _owned_names(settings: Mapping[str, Setting]) -> Iterable[Finding]:
    """An error for each rank variable that a named layer sets although mgelaunch starts the ranks."""
    for setting in settings.values():
        named = [loser for loser in setting.beaten if loser.source not in _UNNAMED]
        if setting.winner.source is Source.OWNED and named:
            yield owned(named[0])


def owned(said: Assignment) -> Finding:
    """The error for `said`, a rank variable that nobody but mgelaunch, or the engine that started the rank, may set."""
    message = f"{said.name} is set by mgelaunch in each rank"
    return Finding("error", "name.owned", message, (said.name,), "", said.place or said.where)


def _beaten_shell(settings: Mapping[str, Setting], meaning: Callable[[Assignment], str | None]) -> Iterable[Finding]:
    """One line for all values of the shell that a named layer beats with another value."""
    beaten = [
        setting
        for setting in settings.values()
        if Source.SHELL < setting.winner.source < Source.FLAG
        and any(loser.source is Source.SHELL and meaning(loser) != setting.text for loser in setting.beaten)
    ]
    if beaten:
        names = tuple(setting.name for setting in beaten)
        winners = ", ".join(sorted({setting.winner.where.partition(":")[0] for setting in beaten}))
        message = f"your shell's {', '.join(names)} {'gives' if len(names) == 1 else 'give'} way to {winners}"
        yield Finding("info", "shell.beaten", message, names, " ".join(f"--keep-shell {name}" for name in names))
