"""How values and findings are shown: masked, escaped, one line each."""

import re
import unicodedata
from collections.abc import Sequence

from mgelaunch.catalogue.names import is_secret
from mgelaunch.finding import Finding

MASK = "(secret)"
# A password behind a name, or a token in place of the name. A scheme of any length would cost seconds on a long text.
_PASSWORD = re.compile(
    r"(?P<head>[A-Za-z][A-Za-z0-9+.-]{,20}://[^/@\s:]*:)(?![0-9]+/)(?:(?!://).)+(?=@)|(?P<scheme>https?://)[^/\s@]+(?=@)"
)


def shown(text: str | None, *, secret: bool = False) -> str:
    """`text` for a table: masked when secret, ``-`` when there is none, empty and blank ends made
    visible by quotes, control characters escaped, passwords in URLs masked.
    """
    if text is None:
        return "-"
    if secret:
        return MASK
    printable = escaped(_without_password(text))
    return f'"{printable}"' if not printable or printable != printable.strip() else printable


def escaped(text: str) -> str:
    """`text` without characters that would move the cursor or end the line."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )


def _without_password(text: str) -> str:
    return _PASSWORD.sub(lambda match: f"{match['head'] or match['scheme']}{MASK}", text)


def masked_word(word: str) -> str:
    """A word of a command line: passwords in URLs masked, and the value of a ``NAME=VALUE`` that is secret."""
    name, equals, _ = word.partition("=")
    return f"{name}={MASK}" if equals and is_secret(name.lstrip("-").replace("-", "_")) else _without_password(word)


def masked_command(words: Sequence[str]) -> tuple[str, ...]:
    """The words of a command line, masked; also the one behind an option that names a secret (``--api-key``)."""
    names = ["", *(word.lstrip("-") if word.startswith("-") and "=" not in word else "" for word in words)]
    hidden = [bool(name) and is_secret(name.replace("-", "_")) for name in names]
    return tuple(
        MASK if secret and not word.startswith("-") else masked_word(word)
        for word, secret in zip(words, hidden, strict=False)
    )


def masked(text: str | None, *, secret: bool) -> str | None:
    """`text` for JSON: masked when secret, passwords in URLs masked, otherwise as it is."""
    if text is None:
        return None
    return MASK if secret else _without_password(text)


def width(text: str) -> int:
    """Columns that `text` takes on a terminal: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    marks = sum(unicodedata.combining(char) != 0 for char in text)
    return len(text) + wide - marks


def padded(text: str, columns: int) -> str:
    """`text` with blanks to `columns` columns."""
    return text + " " * (columns - width(text))


def line(finding: Finding) -> str:
    """A finding in one line: severity, place, sentence, remedy, code."""
    word = "note" if finding.severity == "info" else finding.severity
    place = f"{finding.place}: " if finding.place else ""
    remedy = f"; try {finding.remedy}" if finding.remedy else ""
    return escaped(f"mgelaunch: {word}: {place}{finding.message}{remedy} [{finding.code}]")


def duration(seconds: float) -> str:
    """A duration for a sentence: ``0.3 s``, ``12 s``, ``5 min``, ``2 h 30 min``."""
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f} s".replace(".0 s", " s")
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {left} s" if left else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
