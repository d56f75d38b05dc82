"""Kinds of value that are numbers: integers, decimals, sizes in bytes, reserved device memory."""

import re
from collections.abc import Callable
from typing import NamedTuple

from mgelaunch.catalogue.kinds import Reading, Rejected, Relative, Resource, Value

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"": 1, "b": 1} | {
    prefix + suffix: size
    for prefix, size in (("k", KIB), ("m", MIB), ("g", GIB), ("t", 1 << 40))
    for suffix in ("", "b", "ib")
}
# No reader holds more than 20 digits, and Python refuses to convert thousands of them.
_NUMBER = re.compile(r"\+?[0-9](?:_?[0-9]){0,29}")
_SIZE = re.compile(r"\+?([0-9](?:_?[0-9]){0,29}(?:\.[0-9]+)?)\s*([a-z]*)", re.IGNORECASE)
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")


def _percentage(text: str, resource: Resource, render: Callable[[int], Value]) -> Relative | Rejected | None:
    """The percentage in `text`; None when it is none."""
    match = _PERCENT.fullmatch(text)
    if not match:
        return None
    if not resource:
        return Rejected("value.percent", "is a percentage, which makes no sense here")
    percent = float(match[1])
    if not 0 < percent <= 100:
        return Rejected("value.percent", "is no percentage above 0% and up to 100%", "80%")
    return Relative(percent, render)


def _bytes(text: str) -> int | None:
    """The size in bytes; units are powers of 1024, as in MegEngine's own API. None when it is no size."""
    match = _SIZE.fullmatch(text)
    if not match:
        return None
    size = _UNITS.get(match[2].lower())
    if size is None or ("." in match[1] and size == 1):
        return None
    return int(float(match[1]) * size) if "." in match[1] else int(match[1]) * size


class Integer(NamedTuple):
    """A whole number from `minimum` to `maximum`, not in `holes`; `words` are legal texts beside it.

    With `several`, a comma list of numbers is legal too (nested thread counts).
    """

    minimum: int = 0
    maximum: int | None = None
    holes: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    several: bool = False
    off: str = "unset"
    resource: Resource = ""
    unit: str = ""
    name: str = "integer"

    @property
    def legal(self) -> tuple[str, str]:
        """The range, the exceptions, the words."""
        top = "" if self.maximum is None else f" to {self.maximum}"
        english = f"{self.minimum} or more" if self.maximum is None else f"{self.minimum}{top}"
        chinese = f"不小于 {self.minimum}" if self.maximum is None else f"{self.minimum} 到 {self.maximum}"
        if self.holes:
            listed = ", ".join(map(str, self.holes))
            english, chinese = f"{english}, not {listed}", f"{chinese}，但不能是 {listed}"
        if self.words:
            english, chinese = f"{english}, or {' '.join(self.words)}", f"{chinese}，或 {' '.join(self.words)}"
        if self.resource:
            english, chinese = f"{english}, or a percentage", f"{chinese}，或百分比"
        return english, chinese

    def read(self, text: str) -> Reading:
        """Plain digits, however the user grouped them."""
        if text.lower() in self.words:
            return Value(text.lower())
        if relative := _percentage(text, self.resource, self.render):
            return relative
        parts = [part.strip() for part in text.split(",")] if self.several else [text]
        numbers = []
        for part in parts:
            if not _NUMBER.fullmatch(part):
                return self._rejected(part)
            numbers.append(int(part))
        if not all(self._holds(number) for number in numbers):
            return Rejected("value.range", f"must be {self.legal[0]}", str(self._nearest(numbers[0])))
        return Value(",".join(map(str, numbers)))

    def _holds(self, number: int) -> bool:
        above = number >= self.minimum and number not in self.holes
        return above and (self.maximum is None or number <= self.maximum)

    def _nearest(self, number: int) -> int:
        if self.maximum is not None and number > self.maximum:
            return self.maximum
        number = max(number, self.minimum)
        while number in self.holes:
            number += 1
        return number

    def _rejected(self, part: str) -> Rejected:
        if re.fullmatch(r"-[0-9]+", part):
            return Rejected("value.range", f"must be {self.legal[0]}", str(self._nearest(self.minimum)))
        exponent = re.fullmatch(r"([0-9]{1,18})[eE]\+?([0-9]{1,2})", part)
        suggestion = str(int(exponent[1]) * 10 ** int(exponent[2])) if exponent else ""
        return Rejected("value.integer", "is not a whole number in plain digits", suggestion)

    def render(self, amount: int) -> Value:
        """The amount, at least the smallest legal number."""
        return Value(str(max(amount, self.minimum)))


class Decimal(NamedTuple):
    """A decimal number that is at least `minimum`."""

    minimum: float = 0
    off: str = "unset"
    unit: str = ""
    name: str = "float"
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """The lower bound."""
        return f"a number, {self.minimum:g} or more", f"不小于 {self.minimum:g} 的数"

    def read(self, text: str) -> Reading:
        """Digits with at most one point; no exponent, no infinity, no unit."""
        if not re.fullmatch(r"\+?[0-9]+(\.[0-9]*)?|\+?\.[0-9]+", text):
            return Rejected("value.float", f"is not {self.legal[0]}", f"{self.minimum:g}")
        if float(text) < self.minimum:
            return Rejected("value.range", f"must be {self.legal[0]}", f"{self.minimum:g}")
        return Value(text.removeprefix("+"))


class Bytes(NamedTuple):
    """A size; the reader gets it as a plain number of `scale` bytes.

    Sizes below `least` bytes are refused as a forgotten unit; 0 is legal only with ``off="0"``.
    """

    least: int = 1
    off: str = "0"
    resource: Resource = ""
    scale: int = 1
    name: str = "bytes"

    @property
    def unit(self) -> str:
        """The unit of the plain number that the reader gets."""
        return {1: "bytes", MIB: "MiB"}[self.scale]

    @property
    def legal(self) -> tuple[str, str]:
        """Sizes, off, percentages."""
        english, chinese = "a size such as 5GiB or 512MB", "容量，如 5GiB、512MB"
        if self.resource:
            english, chinese = f"{english}, or a percentage", f"{chinese}，或百分比"
        return (f"{english}; 0 is off", f"{chinese}；0 表示关闭") if self.off == "0" else (english, chinese)

    def read(self, text: str) -> Reading:
        """A number with a unit; a bare number counts in the reader's own unit."""
        if relative := _percentage(text, self.resource, self.render):
            return relative
        bare = _NUMBER.fullmatch(text)
        amount = int(text) * self.scale if bare else _bytes(text)
        if amount is None:
            return Rejected("value.unit", "is not a size", "8GiB")
        if amount >= 1 << 63:
            return Rejected("value.unit", "is more than any machine has")
        if amount == 0 and self.off == "0":
            return Value("0")
        if amount < max(self.least, self.scale):
            guess = f"{int(text)}GiB" if bare and 0 < int(text) < KIB else _size(max(self.least, self.scale))
            return Rejected("value.unit", f"is {amount} bytes, below {_size(max(self.least, self.scale))}", guess)
        return self.render(amount)

    def render(self, amount: int) -> Value:
        """The plain number in the reader's unit."""
        return Value(str(amount // self.scale))


class Reserve(NamedTuple):
    """Device memory taken at once: on (nearly all that is free), a size (``b:BYTES``), or absent."""

    off: str = "unset"
    resource: Resource = "device-memory"
    name: str = "reserve"

    @property
    def legal(self) -> tuple[str, str]:
        """On, off, sizes."""
        return "1 (nearly all free memory), a size such as 8GiB, a percentage, or 0 for off", (
            "1（几乎全部空闲显存）、容量（如 8GiB）、百分比，或 0 表示关闭"
        )

    def read(self, text: str) -> Reading:
        """The two words of a switch, or a size with or without the reader's own ``b:``."""
        if text.lower() in {"1", "true", "on", "yes"}:
            return Value("1")
        if text.lower() in {"0", "false", "off", "no", "b:0"}:
            return Value(None)
        sized = text[2:].strip() if text[:2].lower() == "b:" else text
        if relative := _percentage(text, self.resource, self.render):
            return relative
        reading = Bytes(MIB, off="").read(sized)
        if isinstance(reading, Value):
            return self.render(int(reading.text or 0))
        return reading

    def render(self, amount: int) -> Value:
        """``b:`` and plain bytes."""
        return Value(f"b:{amount}")


def _size(amount: int) -> str:
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if amount >= size and amount % size == 0:
            return f"{amount // size}{unit}"
    return f"{amount}B"
