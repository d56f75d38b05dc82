"""Kinds of value that are words: switches, choices, free text."""

import re
from typing import NamedTuple

from mgelaunch.catalogue.kinds import Reading, Rejected, Resource, Value

_ON = frozenset({"1", "true", "t", "yes", "y", "on", "enable", "enabled"})
_OFF = frozenset({"0", "false", "f", "no", "n", "off", "disable", "disabled"})


class Switch(NamedTuple):
    """On or off. `off_text` None means that only an absent variable is off (presence variables).

    `lenient`: any other text is on as well, as the reader has it. `harm` is set for a switch that breaks
    every run when it is on; it is then refused.
    """

    name: str = "switch"
    on_text: str = "1"
    off_text: str | None = "0"
    harm: str = ""
    lenient: bool = False
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """One phrase, two languages."""
        return "on or off (1/0, true/false, yes/no)", "开或关（1/0、true/false、yes/no）"

    @property
    def off(self) -> str:
        """The off text, or ``unset``."""
        return "unset" if self.off_text is None else self.off_text

    def read(self, text: str) -> Reading:
        """Any usual word for on and off, whatever its case."""
        word = text.lower()
        if word in _OFF:
            return Value(self.off_text)
        if self.lenient and not word.strip("0"):
            return Value(self.off_text)
        if word not in _ON and not self.lenient:
            return Rejected("value.switch", "is neither on nor off", self.on_text)
        if self.harm:
            return Rejected("value.harmful", self.harm)
        return Value(self.on_text)


def presence() -> Switch:
    """On when set at all, even to ``0``: off means absent."""
    return Switch("presence", off_text=None)


def nonempty() -> Switch:
    """On when set to any text that is not empty, even ``0``: off means absent."""
    return Switch("nonempty", off_text=None)


def boolean_words() -> Switch:
    """Word lists that differ between Brevitas, torch.jit and NCCL; 1 and 0 are right for all of them."""
    return Switch("boolean_words")


class Choice(NamedTuple):
    """One of `values`, in any case; `aliases` maps other plain spellings (lower case) to a value. With
    `several`, a comma list of them is legal too.
    """

    values: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    off: str = ""
    name: str = "choice"
    several: bool = False
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """The values, joined."""
        return ", ".join(self.values), "、".join(self.values)

    def read(self, text: str) -> Reading:
        """The canonical spelling of the value that the text names."""
        if self.several and "," in text:
            readings = [self.read(item.strip()) for item in text.split(",")]
            wrong = next((reading for reading in readings if isinstance(reading, Rejected)), None)
            return wrong or Value(",".join(reading.text or "" for reading in readings if isinstance(reading, Value)))
        word = text.lower()
        spellings = {value.lower(): value for value in self.values} | dict(self.aliases)
        if word in spellings:
            return Value(spellings[word])
        from difflib import get_close_matches  # noqa: PLC0415 - only a wrong word pays

        close = get_close_matches(word, spellings, 1) if word.isalpha() else []
        guess = spellings[close[0]] if close else self.values[0]
        return Rejected("value.choice", f"must be one of {', '.join(self.values)}", guess)


class Text(NamedTuple):
    """Free text; with `pattern`, the whole of it must match, else `reason` says what is wrong."""

    pattern: str = ""
    reason: str = ""
    example: str = ""
    off: str = "unset"
    name: str = "text"
    spelling: tuple[str, str] = ("text", "文本")
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """One phrase, two languages."""
        return self.spelling

    def read(self, text: str) -> Reading:
        """The text itself."""
        if self.pattern and not re.fullmatch(self.pattern, text):
            return Rejected("value.text", self.reason, self.example)
        return Value(text)


def dead() -> Text:
    """No reader is left: any text passes through and a finding tells so."""
    return Text(name="dead")
