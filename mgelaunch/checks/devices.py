"""Devices that a job names, held against the cards that it will see."""

import re
from collections.abc import Iterator

from mgelaunch.checks.card_state import CARD_STATE
from mgelaunch.checks.cards import (
    DEVICE,
    LIST,
    ORDER,
    View,
    asks_for_card,
    because,
    choose,
    is_confined,
    offered,
    place_on,
    scheduler,
    used,
    views,
)
from mgelaunch.checks.situation import Check, Situation
from mgelaunch.environment.source import INHERITED, Source
from mgelaunch.finding import Finding, Severity, either
from mgelaunch.host.amounts import counted
from mgelaunch.host.facts import Devices
from mgelaunch.host.visible import visible


def default_device(situation: Situation) -> Iterator[Finding]:
    """MegEngine looks at the number of its device only at the first tensor; any ``cpuN`` is accepted (measured)."""
    for device in dict.fromkeys(rank.get(DEVICE) or "" for rank in situation.ranks):
        yield from _processor(situation, device)
        yield from _other_maker(situation, device)
    absent = {
        view.device: view
        for view in reversed(views(situation))
        if view.placement.kind == "absent" and view.device.startswith(("gpu", "xpu"))
    }
    for view in reversed(absent.values()):
        ignored = view.seen.dropped and not view.seen.units  # `visible_list` says it
        if not (_broken(situation) or ignored or _outnumbered(situation, view)):
            yield _absent(situation, view)
            if not (situation.facts.devices or Devices()).cards:
                return  # the same is true of every other rank


def _processor(situation: Situation, device: str) -> Iterator[Finding]:
    online = situation.facts.cpus.online
    match = re.match(r"cpu([0-9]{1,9})", device)
    if match and online is not None and int(match[1]) >= online:
        message = f"{DEVICE} is {device}, and this host has {counted(online, 'CPU')}; MegEngine takes any number"
        yield _unfit(situation, "info", message, "cpu0")


def _other_maker(situation: Situation, device: str) -> Iterator[Finding]:
    """Devices that are not CUDA's are left to builds that nobody publishes: without ROCm the wheels fail at the first
    tensor, and up to 1.13.0 they refuse the names of the others at import (measured).
    """
    devices = situation.facts.devices
    if device.startswith("rocm"):
        yield _unfit(situation, "warning", f"{DEVICE} is {device}, and MegEngine's public wheels have no ROCm")
    elif device.startswith("gpu") and devices is not None and devices.vendor == "amd":
        yield _unfit(
            situation, "warning", f"{DEVICE} is {device}, a card of CUDA's, and the cards of this host are AMD's"
        )
    elif device.startswith(("cambricon", "atlas")):
        version = situation.installed(frozenset({"megengine"})).get("megengine")
        if version is not None and _up_to_1_13_0(version):
            message = f"{DEVICE} is {device}, which MegEngine {version} refuses at import (AssertionError)"
            yield _unfit(situation, "error", message)
        elif version is not None:
            message = f"{DEVICE} is {device}, and MegEngine's public wheels have no such devices"
            yield _unfit(situation, "warning", message)


def _up_to_1_13_0(version: str) -> bool:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - only rare devices pay

    try:
        return Version(Version(version).base_version) <= Version("1.13.0")
    except InvalidVersion:
        return False


def _unfit(situation: Situation, severity: Severity, message: str, instead: str = "") -> Finding:
    """A device that is no use here; what is offered is `instead`, or else a card that the job sees, and the CPU."""
    seen = any(view.seen.units for view in views(situation))
    others = (instead,) if instead else ("gpu0", "cpu0") if seen else ("cpu0",)
    remedy = either(place_on(situation, other) for other in others)
    return Finding(severity, "dev.default", message, (DEVICE,), remedy, situation.place(DEVICE))


def _absent(situation: Situation, view: View) -> Finding:
    devices, count = situation.facts.devices or Devices(), len(view.seen.units)
    names = (DEVICE, LIST) if because(view.rank) else (DEVICE,)
    if count:
        there = f"{counted(count, 'GPU')} {'is' if count == 1 else 'are'} visible, {_span(count)}{because(view.rank)}"
        remedy = place_on(situation, "gpu0")
    else:
        none = "this host has no GPU" if not devices.cards and devices.source != "unknown" else "no GPU is visible"
        there = f"{none}{because(view.rank)}"
        number = view.placement.number or 0
        cards = offered(situation)
        others = choose(situation, cards) if number < len(cards) else ""
        remedy = either((others, place_on(situation, "cpu0")))
    message = f"{DEVICE} is {view.device}, and {there}"
    return Finding("error", "dev.default", message, names, remedy, situation.place(DEVICE))


def rank_count(situation: Situation) -> Iterator[Finding]:
    """Ranks that take the card of their local rank need as many cards as there are ranks."""
    for view in views(situation):
        if not _outnumbered(situation, view):
            continue
        cards, ranks = len(view.seen.units), situation.local_ranks
        several = len(situation.ranks) == ranks
        enough = offered(situation)[:ranks]
        remedy = either(
            (f"-n {cards}" if several else "", choose(situation, enough) if len(enough) == ranks else ""),
        ) or place_on(situation, "gpu0")
        severity: Severity = "error" if _by_rank(view) else "warning"
        message = f"{ranks} ranks, {counted(cards, 'visible GPU')}{because(view.rank)}"
        names = tuple(name for name in (DEVICE, LIST) if view.rank.get(name) is not None)
        place = situation.place(LIST) or situation.place(DEVICE)
        yield Finding(severity, "dev.count", message, names, remedy, place)
        return


def _outnumbered(situation: Situation, view: View) -> bool:
    """Whether the trouble of this rank is that there are more ranks than cards: it takes the card of its local rank
    and that is not there, or it names no device, so that its script chooses.
    """
    ranks, cards = situation.local_ranks, len(view.seen.units)
    if not 0 < cards < ranks or _broken(situation) or len({rank.get(LIST) for rank in situation.ranks}) > 1:
        return False
    setting = view.rank.settings.get(DEVICE)
    if setting is None or view.device in {"", "xpux"}:
        return setting is None or not setting.wrong
    unseen = len(situation.ranks) < ranks  # another launcher's ranks: what this one lacks not, a later one will
    return _by_rank(view) and (view.placement.kind == "absent" or unseen)


def _by_rank(view: View) -> bool:
    """Whether the device is said as the card of the local rank."""
    setting = view.rank.settings.get(DEVICE)
    return setting is not None and setting.winner.template and "{" in (setting.winner.text or "")


def visible_list(situation: Situation) -> Iterator[Finding]:
    """CUDA stops reading its list at the first card that is not there, in silence."""
    devices = situation.facts.devices or Devices()
    told = set()
    for view in views(situation):
        text = view.rank.get(LIST)
        if not text or text in told or _broken(situation) or devices.source in {"unknown", "sysfs"}:
            continue
        told.add(text)
        if not devices.cards:
            yield from _no_card_for_list(situation, view)
        elif view.seen.dropped and (_missing(view, text, devices) or not text[0].isdigit()):
            left = len(view.seen.units)
            sees = counted(left, "card") if left else "none"
            message = f"CUDA ignores {view.seen.dropped}{because(view.rank)}, and sees {sees}"
            severity = _severity(situation, view, missing=bool(_missing(view, text, devices)) or not left)
            remedy = _kept(situation, view, text, devices)
            yield Finding(severity, "dev.visible", message, (LIST,), remedy, situation.place(LIST))


def _no_card_for_list(situation: Situation, view: View) -> Iterator[Finding]:
    """Cards that were asked for on a host without any. A list that a file brings may be meant for other hosts, and the
    job then computes on the CPU; that a shell has one is no fault of the job.
    """
    source = view.rank.settings[LIST].winner.source
    if source not in INHERITED and not view.seen.hidden and not view.seen.dropped:
        message = f"the job lists cards, and this host has no GPU{because(view.rank)}"
        remedy = either((f"-e {LIST}=-1" if source >= Source.SET else "--gpu-ids none", f"--unset {LIST}"))
        severity: Severity = "error" if source >= Source.FLAG else "warning"
        yield Finding(severity, "dev.visible", message, (LIST,), remedy, situation.place(LIST))


def _missing(view: View, text: str, devices: Devices) -> list[str]:
    """The items of the list that are no card, taken alone. (Slices too many are left out of the list, and there.)"""
    return [item for item in text.split(",") if not visible(devices, item, view.rank.get(ORDER)).units]


def _severity(situation: Situation, view: View, *, missing: bool) -> Severity:
    if not view.seen.units and asks_for_card(situation):
        return "error"
    inherited = view.rank.settings[LIST].winner.source in INHERITED
    return "error" if missing and not inherited else "warning"


def _kept(situation: Situation, view: View, text: str, devices: Devices) -> str:
    """What there is of the list, down to its first card; else the cards that the job may use."""
    missing = _missing(view, text, devices)
    items = [item for item in text.split(",") if item not in missing]
    confined = is_confined(situation.resolution)
    own = not confined or view.rank.settings[LIST].winner.source in INHERITED
    for kept in (",".join(items), *items[:1]) if own else ():
        if kept and not visible(devices, kept, view.rank.get(ORDER)).dropped:
            return f"-e {LIST}={kept}"
    others = choose(situation, offered(situation))
    return others or ("" if confined else f"--unset {LIST}")


def grant(situation: Situation) -> Iterator[Finding]:
    """Cards of other jobs: a scheduler says in the environment which ones it gave to this one."""
    setting = situation.resolution.settings.get(LIST)
    grantor = scheduler(situation.resolution)
    if not grantor or setting is None or not setting.text or setting.text == "-1":
        return
    given = next((loser.text for loser in setting.beaten if loser.source is Source.SHELL), None)
    granted = [item.strip() for item in (given or "").split(",") if item.strip()]
    taken = [item for item in setting.text.split(",") if item not in granted]
    if taken and granted and taken[0].isdigit() == granted[0].isdigit():
        message = f"{', '.join(taken)} {'is' if len(taken) == 1 else 'are'} not among the cards that {grantor} granted"
        remedy = f"-e {LIST}={','.join(granted)}"
        yield Finding("error", "dev.grant", f"{message} ({','.join(granted)})", (LIST,), remedy, situation.place(LIST))


def card_order(situation: Situation) -> Iterator[Finding]:
    """CUDA numbers unlike cards by speed, nvidia-smi by their bus, unless it is told otherwise."""
    mixed = [view for view in used(situation) if not view.seen.ordered and view.rank.get(ORDER) is None]
    by_number = any((view.rank.get(LIST) or "")[:1].isdigit() or view.placement.number for view in mixed)
    if mixed and (by_number or len({view.placement.number for view in mixed}) > 1 or situation.local_ranks > 1):
        message = f"the cards of this host differ, and without {ORDER} CUDA numbers the fastest first"
        names = (ORDER, LIST) if mixed[0].rank.get(LIST) else (ORDER,)
        yield Finding("warning", "dev.order", message, names, f"-e {ORDER}=PCI_BUS_ID")


def _broken(situation: Situation) -> bool:
    return situation.facts.devices is not None and situation.facts.devices.broken


def _span(number: int) -> str:
    return "gpu0" if number == 1 else f"gpu0 to gpu{number - 1}"


DEVICES: tuple[Check, ...] = (
    default_device,
    rank_count,
    visible_list,
    grant,
    card_order,
    *CARD_STATE,
)
