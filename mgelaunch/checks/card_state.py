"""The state of the driver and of the cards that a job computes on: whether they work and let it in, what else runs on
them, whether they are divided.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from mgelaunch.checks.cards import (
    DEVICE,
    LIST,
    View,
    all_named,
    asks_for_card,
    called,
    choose,
    needed,
    offered,
    on_purpose,
    place_on,
    scheduler,
    used,
)
from mgelaunch.checks.situation import Check, Situation
from mgelaunch.finding import Finding, Severity, either
from mgelaunch.host.amounts import counted, shown
from mgelaunch.host.facts import Card, Devices
from mgelaunch.host.placement import Placement
from mgelaunch.host.visible import Unit

_PIPES = "CUDA_MPS_PIPE_DIRECTORY"


def driver(situation: Situation) -> Iterator[Finding]:
    """A driver that is installed and does not answer (updated without a restart, or not loaded)."""
    devices = situation.facts.devices
    if devices is not None and devices.broken:
        why = f": {devices.problem}" if devices.problem else ""
        severity: Severity = "error" if asks_for_card(situation) else "warning" if on_purpose(situation) else "info"
        remedy = place_on(situation, "cpu0") if severity == "error" else ""
        message = f"the driver of the cards does not work{why}"
        yield Finding(severity, "dev.driver", message, (), remedy, about="host" if severity == "info" else "job")


def unknown(situation: Situation) -> Iterator[Finding]:
    """Cards that are meant and that nobody could look at: nothing that is said of them was checked."""
    devices = situation.facts.devices
    if devices is not None and devices.source == "unknown" and not devices.broken and on_purpose(situation):
        why = f": {devices.problem}" if devices.problem else ""
        message = f"the cards could not be looked at{why}, so what the job wants of them is not checked"
        yield Finding("warning", "dev.unknown", message, (), "--ignore dev.unknown")


def libcuda(situation: Situation) -> Iterator[Finding]:
    """Without libcuda MegEngine computes on the CPU, in silence unless a GPU is named (from source)."""
    devices = situation.facts.devices
    if devices is not None and devices.libcuda is False and used(situation):
        outcome = "fails at its first tensor" if asks_for_card(situation) else "computes on the CPU without a word"
        there = counted(len(devices.cards), "GPU")
        message = f"libcuda.so.1 is not found though this host has {there}, so MegEngine {outcome}"
        yield Finding("warning", "dev.libcuda", message, (), place_on(situation, "cpu0"))


def no_card(situation: Situation) -> Iterator[Finding]:
    """That there is no GPU, which is no fault unless somebody asks for one."""
    devices = situation.facts.devices
    on_cpu = all((rank.get(DEVICE) or "").startswith(("cpu", "multithread")) for rank in situation.ranks)
    certain = devices is not None and not devices.cards and devices.source != "unknown" and not devices.broken
    if certain and not on_cpu and not asks_for_card(situation):
        yield Finding("info", "dev.none", "this host has no GPU", about="host")


class _State(NamedTuple):
    """What there is to say of a card that a rank uses."""

    view: View
    unit: Unit
    what: str


def mode(situation: Situation) -> Iterator[Finding]:
    """Compute modes that let nobody in, or only one process."""
    shut = [
        _State(view, unit, f"is in mode {unit.card.mode}, {why}")
        for view in used(situation)
        if (unit := view.placement.unit) is not None and (why := _refusal(situation, unit, view.placement))
    ]
    if shut:
        certain = on_purpose(situation) and any(_is_certain(situation, state) for state in shut)
        pids = _others(situation, shut[0].unit, shut[0].view.placement) if len(shut) == 1 else ()
        message = _listed(shut) + (f" (process {pids[0]})" if pids and shut[0].what.endswith(_TAKEN) else "")
        numbers = ",".join(dict.fromkeys(str(state.unit.card.number) for state in shut))
        fewer = (_fewer(situation, state.view) for state in shut)
        remedy = either(
            (_elsewhere(situation), next(filter(None, fewer), ""), f"sudo nvidia-smi -i {numbers} -c DEFAULT")
        )
        severity: Severity = "error" if certain else "warning"
        yield Finding(severity, "dev.busy", message, _names(situation), remedy, situation.place(LIST))


_TAKEN = "which admits one process, and another one has it"


def _is_certain(situation: Situation, state: _State) -> bool:
    """Whether the ranks will meet that state; that they share a card is a guess where some of them name none."""
    alone = state.view.placement.sharers == 1 or state.unit.card.mode == "prohibited"
    return alone or all_named(situation, state.view)


def _refusal(situation: Situation, unit: Unit, placement: Placement) -> str:
    """Why the card will refuse the job; empty when nothing known says so."""
    if unit.card.mode == "prohibited":
        return "which refuses every process"
    if not unit.card.mode.startswith("exclusive") or _has_mps(situation):
        return ""
    if placement.sharers > 1:
        return f"which admits one process, and {placement.sharers} ranks are to share it"
    return _TAKEN if _others(situation, unit, placement) else ""


def _has_mps(situation: Situation) -> bool:
    """Whether MPS lets several processes onto an exclusive card, for which it is one (NVIDIA's guide; not measured)."""
    devices = situation.facts.devices
    return bool(situation.get(_PIPES)) or (devices is not None and devices.mps is True)


def _others(situation: Situation, unit: Unit, placement: Placement) -> tuple[int, ...]:
    """The processes of others. Of ranks that somebody else starts, some may run already; those of a slice cannot
    be told from those of its neighbours, and on an exclusive card those of MPS are no strangers.
    """
    own_may_run = placement.sharers > 1 and len(situation.ranks) < situation.local_ranks
    through_mps = unit.card.mode.startswith("exclusive") and _has_mps(situation)
    if own_may_run or through_mps or unit.slice is not None:
        return ()
    return tuple(process.pid for process in unit.card.processes or ())


def busy(situation: Situation) -> Iterator[Finding]:
    """Memory that is gone already, and processes that take turns with the job."""
    taken = [
        _State(view, unit, f"has {what}")
        for view in used(situation)
        if (unit := view.placement.unit) is not None and (what := _load(situation, unit, view.placement))
    ]
    if taken:
        severity, about = _weight(situation)
        remedy = _elsewhere(situation)
        yield Finding(severity, "dev.busy", _listed(taken), _names(situation), remedy, situation.place(LIST), about)


def _load(situation: Situation, unit: Unit, placement: Placement) -> str:
    """What somebody else has of the card; nothing to say when it will refuse the job anyway."""
    if _refusal(situation, unit, placement):
        return ""
    others, total, free = _others(situation, unit, placement), unit.total, unit.free
    short = bool(total) and free is not None and 10 * free < 9 * (total or 0)
    memory = f"{shown(free or 0)} of {shown(total or 0)} free" if short else ""
    company = "another process on it" if len(others) == 1 else f"{len(others)} other processes on it" if others else ""
    return " and ".join(filter(None, (memory, company)))


def _listed(states: Sequence[_State]) -> str:
    """All cards in one sentence, those together of which the same is to be said."""
    clauses: dict[str, list[Unit]] = {}
    for state in states:
        clauses.setdefault(state.what, []).append(state.unit)
    return "; ".join(f"{_called(units)} {what}" for what, units in clauses.items())


def _called(units: Sequence[Unit]) -> str:
    if len(units) == 1:
        return called(units[0])
    if len({unit.card.name for unit in units}) > 1 or any(unit.slice for unit in units):
        return f"each of {', '.join(map(called, units))}"
    name = f" ({units[0].card.name})" if units[0].card.name else ""
    return f"each of cards {', '.join(str(unit.card.number) for unit in units)}{name}"


def _weight(situation: Situation) -> tuple[Severity, Literal["job", "host"]]:
    """How much the state of a card matters: to a job that does not mean cards it is merely true of the host."""
    return ("warning", "job") if on_purpose(situation) else ("info", "host")


def divided(situation: Situation) -> Iterator[Finding]:
    """A card with MIG on is no device by its number: a process gets one slice of it (CUDA guide; not measured)."""
    devices = situation.facts.devices or Devices()
    if sum(len(card.slices) or 1 for card in devices.cards) == 1:
        return  # the one slice that a container was given is what CUDA finds
    for view in used(situation):
        card = view.placement.unit.card if view.placement.unit else None
        if card is None or not card.mig or (view.rank.get(LIST) or "").startswith("MIG-"):
            continue
        told = f"card {card.number}{f' ({card.name})' if card.name else ''} is divided by MIG"
        message = f"{told}, of which a process gets one slice, whatever number it asks for"
        own = card.slices and not scheduler(situation.resolution)  # of an allocated card some may be others'
        remedy = f"-e {LIST}={card.slices[0].uuid}" if own else "nvidia-smi -L"
        severity, about = _weight(situation)
        yield Finding(severity, "dev.mig", message, (LIST,), remedy, situation.place(LIST), about)
        return


def _idle(card: Card) -> bool:
    """Whether the card is known to be free; a card of which nothing is known is not offered."""
    roomy = card.total is not None and card.free is not None and 10 * card.free >= 9 * card.total
    return roomy and not card.processes


def _elsewhere(situation: Situation) -> str:
    """The option that moves the job to idle cards; empty when there are too few."""
    alone = all(view.placement.sharers == 1 for view in used(situation))
    cards = [card for card in offered(situation) if _idle(card)]
    cards = [card for card in cards if alone or not card.mode.startswith("exclusive")]
    wanted = needed(situation)
    return choose(situation, cards[:wanted]) if 0 < wanted <= len(cards) else ""


def _fewer(situation: Situation, view: View) -> str:
    """As many ranks as there are cards, when sharing is the trouble and ranks choose by themselves."""
    ours = len(situation.ranks) == situation.local_ranks
    shut = view.placement.unit is None or view.placement.unit.card.mode == "prohibited"
    if view.placement.sharers == 1 or not ours or shut:
        return ""
    return "-n 1" if view.placement.number is not None else f"-n {len(view.seen.units)}"


def _names(situation: Situation) -> tuple[str, ...]:
    return (LIST,) if situation.get(LIST) is not None else ()


CARD_STATE: tuple[Check, ...] = (driver, unknown, libcuda, no_card, mode, busy, divided)
