"""Settings and requirements in bytes of device memory, held against the cards that the job uses."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.checks.cards import (
    DROP,
    ORDER,
    RESERVE,
    THRESHOLD,
    View,
    all_named,
    called,
    choose,
    needed,
    offered,
    place_on,
    used,
    views,
)
from mgelaunch.checks.situation import Check, Situation
from mgelaunch.finding import Finding, Severity
from mgelaunch.host.amounts import pasted, shown
from mgelaunch.host.facts import Devices
from mgelaunch.host.files import whole
from mgelaunch.host.visible import Unit, visible

if TYPE_CHECKING:  # profiles are read by few starts
    from mgelaunch.environment.profile import Requirement

_LEAST = 1 << 20
"""Bytes below which a size is refused as a forgotten unit, and not worth an option."""


class Use(NamedTuple):
    """What a rank wants of the card that it uses, alone or with others; ``amount`` in bytes."""

    view: View
    unit: Unit
    amount: int

    @property
    def sharers(self) -> int:
        """The ranks on the card."""
        return max(1, self.view.placement.sharers)

    def beyond(self, limit: int | None) -> bool:
        """Whether all sharers together want more than `limit`; False when that is unknown."""
        return limit is not None and self.amount * self.sharers > limit

    @property
    def who(self) -> str:
        """The ranks and what each wants."""
        return f"{self.sharers} ranks x {shown(self.amount)}" if self.sharers > 1 else shown(self.amount)

    def fitting(self, tenths: int) -> int:
        """So many tenths of what a rank can have."""
        return _part(self.unit, tenths, self.sharers)


def _part(unit: Unit, tenths: int, sharers: int) -> int:
    """So many tenths of a rank's share of the card, or of what is free of it when that is less; 0 when unknown."""
    total, free = unit.total or 0, unit.free
    base = total if free is None or 10 * free >= tenths * total else free
    return tenths * base // 10 // max(1, sharers)


def threshold(situation: Situation) -> Iterator[Finding]:
    """DTR that would begin only when the card is full already, or nearly."""
    uses = [use for view in used(situation) if (use := _use(view, _number(view.rank.get(THRESHOLD))))]
    late = [use for use in uses if use.unit.total is not None and use.amount * use.sharers >= use.unit.total]
    tight = [use for use in uses if use.beyond(use.unit.free)]
    if late or tight:
        use = min(late or tight, key=lambda use: use.unit.total or 0)
        have = f"{shown(use.unit.total or 0)}" if late else f"{shown(use.unit.free or 0)} free"
        message = f"{called(use.unit)} has {have} for {use.who}, so DTR never evicts before it is out of memory"
        yield _threshold("warning", situation, message, uses)
    elif near := [use for use in uses if use.unit.total and 10 * use.amount * use.sharers > 9 * use.unit.total]:
        use = min(near, key=lambda use: use.unit.total or 0)
        have = f"{called(use.unit)} has {shown(use.unit.total or 0)} for {use.who}"
        yield _threshold("info", situation, f"{have}, so DTR evicts late, with less than a tenth of it left", uses)
    else:
        yield from _threshold_on_cpu(situation)


def _threshold(severity: Severity, situation: Situation, message: str, uses: Sequence[Use]) -> Finding:
    remedy = _resize(THRESHOLD, min(use.fitting(8) for use in uses))
    return Finding(severity, "dtr.mem", message, (THRESHOLD,), remedy, situation.place(THRESHOLD))


def _threshold_on_cpu(situation: Situation) -> Iterator[Finding]:
    """A percentage of host memory, more of which is taken by others than it leaves."""
    setting = situation.resolution.settings.get(THRESHOLD)
    available = situation.facts.memory.available
    on_cpu = bool(situation.placements) and situation.placements[0].kind == "cpu"
    amount = _number(situation.get(THRESHOLD))
    if setting is None or not setting.base or not on_cpu or available is None:
        return
    sharers = max(1, situation.placements[0].sharers)
    if amount * sharers > available:
        ranks = f"{sharers} ranks x " if sharers > 1 else ""
        message = f"{ranks}{shown(amount)} ({setting.base}) is above the {shown(available)} available"
        remedy = _resize(THRESHOLD, 8 * available // 10 // sharers)
        yield Finding("warning", "dtr.mem", message, (THRESHOLD,), remedy, situation.place(THRESHOLD))


def reserve_all(situation: Situation) -> Iterator[Finding]:
    """The first rank on a card takes nearly all that is free, the next nearly all of the rest (from source)."""
    shared = [view for view in used(situation) if view.rank.get(RESERVE) == "1" and view.placement.sharers > 1]
    certain = [view for view in shared if all_named(situation, view)]
    for view in (certain or shared)[:1]:
        sharers, unit = view.placement.sharers, view.placement.unit
        where = called(unit) if unit else "one card"
        message = f"{RESERVE} gives the first of {sharers} ranks on {where} nearly all of it, and the others nothing"
        remedy = _resize(RESERVE, _part(unit, 9, sharers) if unit else 0) or f"--unset {RESERVE}"
        severity: Severity = "error" if certain else "warning"
        yield Finding(severity, "resv.share", message, (RESERVE,), remedy, situation.place(RESERVE))


def reserve_size(situation: Situation) -> Iterator[Finding]:
    """Fixed amounts that a card does not have, or not free."""
    uses = [use for view in used(situation) if (use := _use(view, _reserved(view.rank.get(RESERVE) or "")))]
    lacking = [use for use in uses if use.beyond(use.unit.total)]
    short = [use for use in uses if use.beyond(use.unit.free)]
    if lacking or short:
        use = (lacking or short)[0]
        severity: Severity = "error" if lacking else "warning"
        have = shown(use.unit.total or 0) if lacking else f"{shown(use.unit.free or 0)} free"
        message = f"{RESERVE} reserves {use.who}, and {called(use.unit)} has {have}"
        size = min(use.fitting(9) for use in uses)
        remedy = _resize(RESERVE, size) or f"--unset {RESERVE}"
        yield Finding(severity, "resv.sum", message, (RESERVE,), remedy, situation.place(RESERVE))


def reserve_and_evict(situation: Situation) -> Iterator[Finding]:
    """DTR counts what tensors use, not what the allocator has reserved (from source)."""
    evicts = situation.get(DROP) == "1" or _number(situation.get(THRESHOLD)) > 0
    if evicts and situation.get(RESERVE) == "1" and used(situation):
        message = f"{THRESHOLD} counts the memory in use, not what {RESERVE} has reserved"
        yield Finding("info", "resv.dtr", message, (RESERVE, THRESHOLD), f"--unset {RESERVE}", situation.place(RESERVE))


def required(situation: Situation) -> Iterator[Finding]:
    """``[requires] device-memory``: the total of each card that a rank uses."""
    for requirement in situation.requires:
        if requirement.key == "device-memory" and isinstance(requirement.value, int):
            yield from _required(situation, requirement, requirement.value)


def _required(situation: Situation, requirement: "Requirement", wanted: int) -> Iterator[Finding]:
    asked = f"the profile requires {shown(wanted)} on each card"
    kinds = {placement.kind for placement in situation.placements}
    if kinds & {"cpu", "absent"}:
        remedy = (_onto_cards(situation, wanted) if kinds == {"cpu"} else "") or "--ignore requires.device-memory"
        message = f"{asked}, and this job uses no card"
        yield Finding("error", "requires.device-memory", message, (), remedy, requirement.place)
        return
    candidates = [_candidates(situation, view) for view in used(situation)]
    for units in candidates:
        if units and all(unit.total is not None and unit.total < wanted for unit in units):
            message = f"{asked}, and {called(units[0])} has {shown(units[0].total or 0)}"
            remedy = _larger(situation, wanted) or "--ignore requires.device-memory"
            yield Finding("error", "requires.device-memory", message, (), remedy, requirement.place)
            return
    totals = [unit.total for units in candidates for unit in units]
    if not totals or None in totals or "unknown" in kinds:
        why, remedy = "the memory of the cards cannot be measured here", "--ignore requires.unchecked"
    elif any(total is not None and total < wanted for total in totals):
        why, remedy = f"without {ORDER} nobody knows which of these unlike cards it gets", f"-e {ORDER}=PCI_BUS_ID"
    else:
        return
    yield Finding("warning", "requires.unchecked", f"{asked}, and {why}", (), remedy, requirement.place)


def _candidates(situation: Situation, view: View) -> tuple[Unit, ...]:
    """The card of the rank; all cards when nobody knows which of them it is."""
    devices = situation.facts.devices or Devices()
    return (view.placement.unit,) if view.placement.unit is not None else visible(devices, None, None).units


def _larger(situation: Situation, wanted: int) -> str:
    enough = [card for card in offered(situation) if (card.total or 0) >= wanted]
    count = needed(situation)
    return choose(situation, enough[:count]) if 0 < count <= len(enough) else ""


def _onto_cards(situation: Situation, wanted: int) -> str:
    """The option that moves a job from the CPU to the cards that it sees, if they are large enough."""
    seen = [unit for view in views(situation)[:1] for unit in view.seen.units]
    if not seen or any(unit.total is None or unit.total < wanted for unit in seen):
        return ""
    return place_on(situation, "gpu" if 1 < situation.local_ranks <= len(seen) else "gpu0")


def _use(view: View, amount: int) -> Use | None:
    unit = view.placement.unit or _largest(view.seen.units)
    return Use(view, unit, amount) if unit is not None and amount > 0 else None


def _largest(units: Sequence[Unit]) -> Unit | None:
    """Of cards of which only CUDA knows which is meant, the largest; what is free of it says nothing."""
    unit = max(units, key=_total, default=None)
    return unit and Unit(unit.card._replace(free=None), unit.slice and unit.slice._replace(free=None))


def _total(unit: Unit) -> int:
    return unit.total or 0


def _reserved(text: str) -> int:
    return _number(text.removeprefix("b:")) if text.startswith("b:") else 0


def _number(text: str | None) -> int:
    """The bytes of a canonical value; 0 for anything else."""
    return whole(text or "") or 0


def _resize(name: str, amount: int) -> str:
    return f"-e {name}={pasted(amount)}" if amount >= _LEAST else ""


DEVICE_MEMORY: tuple[Check, ...] = (threshold, reserve_all, reserve_size, reserve_and_evict, required)
