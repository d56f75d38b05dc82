"""Calls and settings of a script that fight the profile with which it is to be run."""

from collections.abc import Iterator

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Value
from mgelaunch.environment.resolve import Resolution, Setting
from mgelaunch.environment.source import Source
from mgelaunch.finding import Finding, Severity
from mgelaunch.lint.observed import Replacement, Write
from mgelaunch.lint.packages import CARDS

_BY_PROFILES = frozenset({Source.SOFT, Source.PROFILE})

_DIGITS = 20
"""A text with more digits is no card, and Python refuses to convert thousands of them."""


def fights(replacement: Replacement, profiles: Resolution) -> Finding | None:
    """The finding when a call overrules what the profiles say; a value that is not known may be the same."""
    setting = _said(replacement.name, profiles)
    if setting is None:
        return None
    if replacement.name == CARDS:
        return _beyond(replacement, setting)
    verdict = _verdict(replacement.name, replacement.value, setting)
    return verdict and _finding(verdict, replacement.text, setting, replacement.place)


def overrules(write: Write, profiles: Resolution) -> Iterator[Finding]:
    """The findings when a script sets a variable to something else than the profiles do, and in time to be read."""
    setting = _said(write.name, profiles)
    if setting is None or write.action == "default":
        return
    values: list[str | None] = [value for value in write.values if isinstance(value, str)]
    verdicts = [_verdict(write.name, value, setting) for value in values or [None]]
    verdict: Severity | None = "warning" if write.action == "remove" or "warning" in verdicts else verdicts[0]
    if verdict is not None:
        yield _finding(verdict, "this line", setting, write.place)


def _said(name: str, profiles: Resolution) -> Setting | None:
    setting = profiles.settings.get(name)
    by_profile = setting is not None and setting.winner.source in _BY_PROFILES and setting.text is not None
    return setting if by_profile else None


def _verdict(name: str, value: str | None, setting: Setting) -> Severity | None:
    """How sure it is that a script's value is another than the profile's, which a percentage always is."""
    if value is None:
        return "info"
    reading = CATALOGUE[name].kind.read(value.strip()) if name in CATALOGUE and value.strip() else None
    same = not setting.base and setting.text == (reading.text if isinstance(reading, Value) else value)
    if same and not setting.winner.template:
        return None
    return "info" if setting.winner.source is Source.SOFT else "warning"


def _finding(severity: Severity, what: str, setting: Setting, place: str) -> Finding:
    verb = "overrules" if severity == "warning" else "may overrule"
    message = f"{what} {verb} {setting.name}, which {setting.winner.where} sets"
    return Finding(severity, "lint.conflict", message, (setting.name,), "", place)


def _beyond(replacement: Replacement, setting: Setting) -> Finding | None:
    """A card beyond the end of the list: torch counts inside of it."""
    number, cards = (
        replacement.value or "",
        [card for card in (setting.text or "").split(",") if card not in {"", "-1"}],
    )
    if not number.isdecimal() or len(number) > _DIGITS or int(number) < len(cards):
        return None
    message = f"{replacement.text} chooses card {number}, and {setting.winner.where} shows {len(cards)} (from 0 on)"
    return Finding("warning", "lint.conflict", message, (CARDS,), "", replacement.place)
