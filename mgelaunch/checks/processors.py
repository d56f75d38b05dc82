"""Settings held against CPUs: how many there are, how many are granted, and how far they are from the cards."""

from collections.abc import Iterable, Iterator

from mgelaunch.checks.situation import Check, Situation
from mgelaunch.environment.flags import THREAD_COUNTS
from mgelaunch.environment.source import Source
from mgelaunch.finding import Finding
from mgelaunch.host.cpus import listed
from mgelaunch.host.facts import Card, Cpus

_WORKERS = "MGB_SUBLINEAR_MEMORY_WORKERS"


def sublinear(situation: Situation) -> Iterator[Finding]:
    """MegEngine's planner refuses more workers than four times the host's CPUs (measured on 1.13.0)."""
    workers = _number(situation.get(_WORKERS))
    if workers is None:
        return
    cpus, ranks, place = situation.facts.cpus, situation.cpu_ranks, situation.place(_WORKERS)
    remedy = f"-e {_WORKERS}={max(1, (cpus.usable or cpus.online or 1) // ranks)}"
    if cpus.online is not None and workers > 4 * cpus.online:
        message = f"{_WORKERS} is above {4 * cpus.online}, four times the CPUs of this host, which MegEngine refuses"
        yield Finding("error", "cpu.sublinear", message, (_WORKERS,), remedy, place)
    elif cpus.usable is not None and workers > 1 and ranks * workers > cpus.usable:
        message = f"{_times(ranks)}{workers} threads ({_WORKERS}) are more than {_granted(cpus)}"
        yield Finding("warning", "cpu.sublinear", message, (_WORKERS,), remedy, place)


def threads(situation: Situation) -> Iterator[Finding]:
    """Threads above the CPUs wait for each other, and above a quota the kernel stops them all in turn."""
    cpus, ranks = situation.facts.cpus, situation.cpu_ranks
    usable = cpus.usable
    if usable is None:
        return
    counts = {name: _number((situation.get(name) or "").partition(",")[0]) for name in THREAD_COUNTS}
    # A rank cannot do with less than one thread, so one each is never too many.
    many = {name: count for name, count in counts.items() if count and count > 1 and ranks * count > usable}
    if not many:
        return
    most, names = max(many.values()), tuple(many)
    message = f"{_times(ranks)}{most} threads ({', '.join(names)}) are more than {_granted(cpus)}"
    share = max(1, usable // ranks)
    said_last = any(situation.resolution.settings[name].winner.source is Source.SET for name in names)
    remedy = " ".join(f"-e {name}={share}" for name in names) if said_last else f"--threads {share}"
    yield Finding("warning", "cpu.threads", message, names, remedy, situation.place(names[0]))


def quota(situation: Situation) -> Iterator[Finding]:
    """A quota that no count of CPUs shows: Docker's ``--cpus``, a limit of Kubernetes."""
    cpus = situation.facts.cpus
    if cpus.quota and cpus.quota.cpus < len(cpus.allowed):
        message = f"{_granted(cpus)} is below the {len(cpus.allowed)} CPUs that programs see"
        yield Finding("info", "cpu.quota", message)


def nodes(situation: Situation) -> Iterator[Finding]:
    """A card is best fed by the CPUs of its NUMA node; one finding when some card has none of them."""
    cpus = situation.facts.cpus
    allowed = frozenset(cpus.allowed)
    cpus_of = {node.number: node.cpus for node in cpus.nodes}
    far = [card for card in _cards(situation) if allowed and _is_far(cpus_of.get(_node(card), ()), allowed)]
    if not far:
        return
    cards = ", ".join(f"card {card.number} at NUMA node {_node(card)}" for card in far)
    message = f"this process may use no CPU of the node of {cards}, and memory of another node is slower to reach"
    near = allowed.union(*(cpus_of[_node(card)] for card in far))
    yield Finding("warning", "numa.node", message, (), f"taskset -c {listed(near)} mgelaunch run")


def _cards(situation: Situation) -> list[Card]:
    """The cards of the ranks whose node is known, each once."""
    units = (placement.unit for placement in situation.placements if placement.kind == "card")
    return list({unit.card.number: unit.card for unit in units if unit and unit.card.node is not None}.values())


def _node(card: Card) -> int:
    return card.node or 0


def _is_far(cpus: Iterable[int], allowed: frozenset[int]) -> bool:
    there = frozenset(cpus)
    return bool(there) and not there & allowed


def _times(ranks: int) -> str:
    return f"{ranks} ranks x " if ranks > 1 else ""


def _granted(cpus: Cpus) -> str:
    """What `Cpus.usable` comes from: the quota, or the affinity."""
    if cpus.quota and cpus.quota.cpus < len(cpus.allowed):
        return f"the quota of {cpus.quota.cpus:g} CPUs ({cpus.quota.origin})"
    return f"the {len(cpus.allowed)} CPUs that this process may use"


def _number(text: str | None) -> int | None:
    """The catalogue admits counts of up to 30 digits."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 30 else None


PROCESSORS: tuple[Check, ...] = (sublinear, threads, quota, nodes)
