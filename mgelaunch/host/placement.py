"""On which device each rank computes, and how many ranks share it."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from mgelaunch.host.facts import Devices
from mgelaunch.host.visible import Unit, visible


class Wish(NamedTuple):
    """What the environment of a rank says of devices; None where it says nothing."""

    local_rank: int = 0
    device: str | None = None
    visible: str | None = None
    order: str | None = None


class Placement(NamedTuple):
    """Where a rank computes: on the CPU, on a card or slice (``unit``), on a card that is not visible (``absent``),
    or nobody knows. ``number`` is MegEngine's number of the card (None: its default). ``sharers`` local ranks,
    this one included, use that device.
    """

    kind: Literal["cpu", "card", "absent", "unknown"]
    unit: Unit | None = None
    number: int | None = None
    sharers: int = 1


_OTHER_MAKERS = ("cambricon", "atlas")
"""Devices whose cards nobody lists here."""


class _Stand(NamedTuple):
    """A placement, with the card that is meant even where only CUDA knows which one that is, so that two ranks can
    be compared; ``cards`` are as many as the rank sees.
    """

    placement: Placement
    unit: Unit | None = None
    cards: int = 0


def place(wishes: Sequence[Wish], count: int, devices: Devices) -> tuple[Placement, ...]:
    """The device of each of `wishes`, when `count` local ranks (at least as many) share the host.

    Ranks that name no device are taken to use the card of their local rank, as scripts for several ranks do,
    in turn when there are fewer cards than ranks.
    """
    stands = [_stand(wish, devices) for wish in wishes]
    users: list[tuple[str, Unit | None]] = [(stand.placement.kind, stand.unit) for stand in stands]
    together = Counter(users) if len(stands) == count else None
    return tuple(
        stand.placement._replace(sharers=_sharers(stand, wish, together, count))
        for stand, wish in zip(stands, wishes, strict=True)
    )


def _stand(wish: Wish, devices: Devices) -> _Stand:
    device = wish.device or "xpux"
    if device.startswith(("cpu", "multithread")):
        return _Stand(Placement("cpu"))
    index = int(match[1]) if (match := re.match(r"[a-z]+([0-9]{1,9})", device)) else None
    if device.startswith(_OTHER_MAKERS):
        return _Stand(Placement("unknown", None, index))
    if device.startswith("rocm") and devices.vendor == "nvidia":
        return _Stand(Placement("absent", None, index))
    seen = visible(devices, wish.visible, wish.order)
    if not seen.units:
        if devices.source == "unknown" and not seen.hidden:
            return _Stand(Placement("unknown", None, index))
        return _Stand(Placement("cpu" if device.startswith("xpu") else "absent", None, index))
    ordinal = index if index is not None else wish.local_rank % len(seen.units)
    if ordinal >= len(seen.units):
        return _Stand(Placement("absent", None, index))
    unit = seen.units[ordinal]
    return _Stand(Placement("card", unit if seen.ordered else None, index), unit, len(seen.units))


def _sharers(own: _Stand, wish: Wish, together: Counter[tuple[str, Unit | None]] | None, count: int) -> int:
    """How many ranks use the device, counted in `together` when all are known. Of ranks that are not planned here,
    the most that can be: those that follow their local rank to the cards are spread evenly.
    """
    if together is not None and own.placement.kind in {"cpu", "card"}:
        return together[own.placement.kind, own.unit]
    if own.unit is None:
        return count
    number = own.placement.number
    spread = number is None or number == wish.local_rank % own.cards
    return -(-count // own.cards) if spread else count
