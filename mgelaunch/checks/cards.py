"""Which cards a job sees and computes on, whether anybody asked for them, and options that choose others."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from mgelaunch.checks.situation import Situation
from mgelaunch.environment.resolve import Resolution, Setting
from mgelaunch.environment.source import INHERITED, Source
from mgelaunch.host.facts import Card, Devices
from mgelaunch.host.placement import Placement
from mgelaunch.host.totals import DEVICE_NAMES
from mgelaunch.host.visible import Unit, Visible, visible

DEVICE, LIST, ORDER = DEVICE_NAMES
THRESHOLD = "MEGENGINE_DTR_EVICTION_THRESHOLD"
DROP = "MEGENGINE_DTR_AUTO_DROP"
RESERVE = "MGB_CUDA_RESERVE_MEMORY"
_SCHEDULERS = (("SLURM_JOB_ID", "Slurm"), ("PBS_JOBID", "PBS"), ("LSB_JOBID", "LSF"))
"""Variables that tell of an allocation, and whose it is."""


class View(NamedTuple):
    """A planned rank: what it is told, where it computes, and which cards it sees."""

    rank: Resolution
    placement: Placement
    seen: Visible

    @property
    def device(self) -> str:
        """The device that the rank names; empty when it names none."""
        return self.rank.get(DEVICE) or ""


def views(situation: Situation) -> tuple[View, ...]:
    """One a planned rank. None at all where nobody knows the cards, or they are not CUDA's."""
    devices = situation.facts.devices
    if devices is None or devices.vendor == "amd":
        return ()
    return tuple(
        View(rank, placement, visible(devices, rank.get(LIST), rank.get(ORDER)))
        for rank, placement in zip(situation.ranks, situation.placements, strict=False)
    )


def used(situation: Situation) -> tuple[View, ...]:
    """The views of ranks that compute on a card, one for each card that is known, and all others."""
    on_cards = [view for view in views(situation) if view.placement.kind == "card"]
    known = {view.placement.unit: view for view in reversed(on_cards) if view.placement.unit is not None}
    return (*reversed(known.values()), *(view for view in on_cards if view.placement.unit is None))


def all_named(situation: Situation, view: View) -> bool:
    """Whether all ranks that may share the card of `view` name it. Of those that name none, only their script knows."""
    on_cards = [other for other in views(situation) if other.placement.kind == "card"]
    mates = [other for other in on_cards if other.placement.unit == view.placement.unit]
    return all(mate.placement.number is not None for mate in mates)


def asks_for_card(situation: Situation) -> bool:
    """Whether a rank names a GPU as its device: without one it fails at its first tensor."""
    return any((rank.get(DEVICE) or "").startswith("gpu") for rank in situation.ranks)


def on_purpose(situation: Situation) -> bool:
    """Whether any setting or option of the job means cards, so that their state concerns it."""
    rank = situation.resolution
    cards = rank.settings.get(LIST)
    chosen = cards is not None and cards.winner.source not in INHERITED and cards.text not in _HIDDEN
    return chosen or asks_for_card(situation) or _counts_memory(rank)


def asks_about_cards(resolution: Resolution) -> bool:
    """Whether anything that is said to a rank concerns cards, so that they must be measured.

    It holds wherever `on_purpose` does, and wherever a check of cards can find an error.
    """
    device = resolution.get(DEVICE)
    named = device is not None and not device.startswith(("cpu", "multithread"))
    listed = resolution.get(LIST) not in _HIDDEN or resolution.get(ORDER) is not None
    required = any(requirement.key == "device-memory" for requirement in resolution.layers.requires)
    return named or listed or required or _counts_memory(resolution)


_HIDDEN = (None, "", "-1")


def _counts_memory(resolution: Resolution) -> bool:
    evicts = any(resolution.get(name) not in {None, "0"} for name in (THRESHOLD, DROP))
    return evicts or resolution.get(RESERVE) is not None


def called(unit: Unit) -> str:
    """A card or slice as messages name it: by nvidia-smi's number."""
    name = f" ({unit.card.name})" if unit.card.name else ""
    return f"{'a slice of ' if unit.slice else ''}card {unit.card.number}{name}"


def because(rank: Resolution) -> str:
    """Which list of cards the rank has and where it comes from, in brackets; empty when it has none."""
    setting = rank.settings.get(LIST)
    if setting is None or setting.text is None:
        return ""
    listed = "a list" if setting.secret or len(setting.text) > 40 else f"{LIST}={setting.text}"
    return f" ({listed}, from {origin(setting)})"


def origin(setting: Setting) -> str:
    """Where a value comes from, as a sentence says it."""
    return "your shell" if setting.winner.source in INHERITED else setting.winner.where


def scheduler(resolution: Resolution) -> str:
    """Who allocated this host to the job (Slurm, PBS, LSF); empty when nobody says so."""
    return next((name for job, name in _SCHEDULERS if resolution.get(job)), "")


def inherited_list(resolution: Resolution) -> str | None:
    """The list of cards as the shell has it, in force or not; None when the shell has none."""
    setting = resolution.settings.get(LIST)
    said = (setting.winner, *setting.beaten) if setting else ()
    return next((assignment.text for assignment in said if assignment.source in INHERITED), None)


def is_confined(resolution: Resolution) -> bool:
    """Whether some cards of the host may be other people's: a scheduler gave the job its own."""
    return bool(scheduler(resolution))


def offered(situation: Situation) -> list[Card]:
    """The cards that a job can use by number, and may: under a scheduler no others than it was given."""
    devices, rank = situation.facts.devices or Devices(), situation.resolution
    usable = [
        card
        for card in devices.cards
        if card.accessible is not False and card.mig is not True and card.mode != "prohibited"
    ]
    if not is_confined(rank):
        return usable
    given = visible(devices, inherited_list(rank) or "", "PCI_BUS_ID")  # schedulers count by the bus
    own = [unit.card for unit in given.units if unit.slice is None] if given.ordered else []
    return [card for card in usable if card in own]


def needed(situation: Situation) -> int:
    """How many cards a list must have for every rank to find its own."""
    views_here = used(situation)
    numbers = [view.placement.number for view in views_here if view.placement.number is not None]
    unseen = situation.local_ranks if len(situation.ranks) < situation.local_ranks else 0
    return max([number + 1 for number in numbers] + [len(views_here), unseen])


def choose(situation: Situation, cards: Sequence[Card]) -> str:
    """The option that makes `cards`, some of those `offered`, the visible ones; empty when there are none.

    Their numbers are counted as CUDA does in bus order: over the cards that this process may open.
    """
    if situation.facts.devices is None:
        return ""
    counted = [card for card in situation.facts.devices.cards if card.accessible is not False]
    numbers = [number for number, card in enumerate(counted) if card in cards]
    if not numbers:
        return ""
    listed = ",".join(map(str, numbers))
    if _has_last_word(situation, LIST, ORDER):
        return f"-e {LIST}={listed} -e {ORDER}=PCI_BUS_ID"
    in_a_row = len(numbers) > 1 and all(after == before + 1 for before, after in pairwise(numbers))
    return f"--gpu-ids {numbers[0]}-{numbers[-1]}" if in_a_row else f"--gpu-ids {listed}"


def place_on(situation: Situation, device: str) -> str:
    """The option that makes `device` the default one; ``gpu`` is the card of the local rank, if it can be said."""
    if device == "gpu" and _has_last_word(situation, DEVICE):
        device = "gpu0"
    return f"-e {DEVICE}={device}" if _has_last_word(situation, DEVICE) else f"--device {device}"


def _has_last_word(situation: Situation, *names: str) -> bool:
    settings = [situation.resolution.settings.get(name) for name in names]
    return any(setting is not None and setting.winner.source >= Source.SET for setting in settings)
