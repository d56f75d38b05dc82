"""Which cards a process sees, and as which number: ``CUDA_VISIBLE_DEVICES`` read as CUDA reads it."""

import re
from functools import lru_cache
from typing import NamedTuple

from mgelaunch.host.facts import Card, Devices, Slice


class Unit(NamedTuple):
    """What CUDA counts as one device: a card, or one slice of a divided card."""

    card: Card
    slice: Slice | None = None

    @property
    def total(self) -> int | None:
        """Its memory in bytes; None when unknown."""
        return self.slice.total if self.slice else self.card.total

    @property
    def free(self) -> int | None:
        """Its free memory in bytes; None when unknown."""
        return self.slice.free if self.slice else self.card.free


class Visible(NamedTuple):
    """The devices that CUDA counts, ``gpu0`` first. ``ordered`` is False when it is not known which of them is which
    (CUDA puts the fastest first, and they differ). ``hidden``: the list hides every card, whatever the host has.
    ``dropped`` says in a phrase what CUDA ignores of the list, empty when nothing.
    """

    units: tuple[Unit, ...] = ()
    ordered: bool = True
    hidden: bool = False
    dropped: str = ""


@lru_cache(maxsize=64)  # ranks mostly share one list, and many rules ask
def visible(devices: Devices, text: str | None, order: str | None) -> Visible:
    """What CUDA makes of the list `text` (None: it is not set) and of ``CUDA_DEVICE_ORDER``.

    The rules are those of CUDA's programming guide (environment variables) and NVIDIA's MIG user guide; cards that
    this process may not open are none to CUDA. ROCm reads the list alike, and counts in bus order.
    """
    cards = [card for card in devices.cards if card.accessible is not False]
    ordered = devices.vendor == "amd" or order == "PCI_BUS_ID" or _alike(cards)
    if text is None:
        return _one_slice(Visible(tuple(map(_unit, cards)), ordered))._replace(dropped="")
    entries = [entry.strip() for entry in text.split(",")]
    keys, why = _keys(entries)
    if len(set(keys)) < len(keys):
        return Visible(hidden=True, dropped=_TWICE)
    if not keys:
        return Visible(hidden=True, dropped=_dropped(entries, 0, why))
    return _resolved(_Host(cards, devices.source == "nvml", ordered), entries, keys, why)


_TWICE = "all of the list, for a card is in it twice"
_NO_CARD, _SEVERAL = "there is no such card here", "it fits several cards"
_NO_ENTRY, _MIXED = "it is neither a number nor a UUID", "numbers, UUIDs of cards and UUIDs of slices do not mix"
_ONE_SLICE = "a process sees one slice only"
_END = "a negative number ends the list"

_ENTRY = re.compile(r"(?P<number>[+-]?[0-9]+)|(?P<card>gpu-)|(?P<slice>mig-)", re.IGNORECASE)
"""How an entry starts; what follows a number is ignored."""

_FAR = 10**9  # a number with more digits than any card's


class _Host(NamedTuple):
    """The cards that CUDA can open, whether their slices would be known, and whether numbers name them surely."""

    cards: list[Card]
    slices_known: bool
    ordered: bool


def _alike(cards: list[Card]) -> bool:
    return len(cards) < 2 or (len({card.name for card in cards}) == 1 and cards[0].name != "")


def _unit(card: Card) -> Unit:
    """What CUDA counts for `card`: of a divided one the first slice, unknown if need be."""
    return Unit(card, card.slices[0] if card.slices else Slice("")) if card.mig else Unit(card)


def _one_slice(seen: Visible) -> Visible:
    """A process sees one slice, the first, whatever else it is given."""
    first = next((unit for unit in seen.units if unit.slice), None)
    units = tuple(unit for unit in seen.units if unit.slice is None or unit is first)
    if len(units) == len(seen.units):
        return seen
    return seen._replace(units=units, dropped=f"all slices but the first, for {_ONE_SLICE}")


def _keys(entries: list[str]) -> tuple[list[int | str], str]:
    """The entries as far as CUDA reads them, UUIDs in lower case, and why it stops there (empty: at the end)."""
    keys: list[int | str] = []
    kind = None
    for entry in entries:
        match = _ENTRY.match(entry)
        if match is None:
            return keys, _NO_ENTRY
        if match.lastgroup != (kind := kind or match.lastgroup):
            return keys, _MIXED
        if match[0].startswith("-"):
            return keys, _END
        digits = match["number"]
        keys.append(entry.lower() if digits is None else int(digits) if len(digits) < 10 else _FAR)
    return keys, ""


def _dropped(entries: list[str], read: int, why: str) -> str:
    """The phrase for a list of which `read` entries count; a -1 or a comma at its very end drops nothing."""
    rest = entries[read:]
    ends = why == _END and len(rest) == 1
    return "" if ends or not any(rest) else f"entry {read + 1} and what follows it, for {why}"


def _resolved(host: _Host, entries: list[str], keys: list[int | str], why: str) -> Visible:
    units: list[Unit] = []
    ordered = host.ordered or isinstance(keys[0], str)
    if len(keys) > 1 and str(keys[0]).startswith("mig-"):
        keys, why = keys[:1], _ONE_SLICE
    for key in keys:
        fits, sure = _fits(host, key, units)
        if not fits or (len(fits) > 1 and sure):
            why = (_SEVERAL if fits else _NO_CARD) if host.cards else ""
            break
        if fits[0] in units:
            return Visible(dropped=_TWICE)
        units.append(fits[0])
        ordered = ordered and (sure or len(fits) == 1)
    dropped = _dropped(entries, len(units), why) if why else ""
    seen = _one_slice(Visible(tuple(units), ordered))
    return seen._replace(dropped=dropped) if dropped else seen


def _fits(host: _Host, key: int | str, taken: list[Unit]) -> tuple[list[Unit], bool]:
    """The units that `key` can mean, and whether that is known: a card whose UUID is unknown can have any."""
    if isinstance(key, int):
        return list(map(_unit, host.cards[key : key + 1])), True
    if key.startswith("gpu-"):
        fits = [_unit(card) for card in host.cards if card.uuid.lower().startswith(key)]
        unknown = [] if fits else [_unit(card) for card in host.cards if not card.uuid]
    else:
        fits = _slices(host.cards, key)
        unknown = [] if fits else [Unit(card, Slice("")) for card in host.cards if _may_hold(card, host)]
    return (fits, True) if fits else ([unit for unit in unknown if unit not in taken], False)


def _may_hold(card: Card, host: _Host) -> bool:
    """Whether `card` may be divided into slices that are not listed."""
    return not card.slices and (card.mig is True or (card.mig is None and not host.slices_known))


def _slices(cards: list[Card], key: str) -> list[Unit]:
    """The slices that ``mig-<uuid>`` means, or the older ``mig-gpu-<uuid>/<instance>/<compute instance>``."""
    fits = [Unit(card, part) for card in cards for part in card.slices if part.uuid.lower().startswith(key)]
    if fits or not (older := re.fullmatch("mig-(gpu-[^/]+)/[0-9]+/[0-9]+", key)):
        return fits
    owners = [card for card in cards if card.mig and card.uuid.lower().startswith(older[1])]
    return [Unit(card, card.slices[0] if len(card.slices) == 1 else Slice("")) for card in owners]
