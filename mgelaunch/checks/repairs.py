"""What ``--fix`` would repair in the process of the script, and whether what it was asked for can be done."""

from collections.abc import Iterator

from mgelaunch.checks.situation import Check, Situation
from mgelaunch.finding import Finding

_STRATEGY, _SWITCH = "MEGENGINE_EXECUTION_STRATEGY", "MEGENGINE_DTR_AUTO_DROP"
_STRATEGIES = frozenset({"HEURISTIC", "PROFILE", "REPRODUCIBLE", "REPRODUCEABLE"})
"""What ``set_execution_strategy`` of 1.13.0 takes, and the official page's spelling of the last one."""


def strategy(situation: Situation) -> Iterator[Finding]:
    """A strategy that MegEngine's function would refuse."""
    if "execution-strategy" not in situation.fixes:
        return
    texts = [text for rank in situation.ranks if (text := rank.get(_STRATEGY)) is not None]
    if not texts:
        yield Finding("info", "fix.idle", f"--fix execution-strategy has nothing to do: {_STRATEGY} is not set")
    elif not all(set(text.upper().split("_")) <= _STRATEGIES for text in texts):
        message = (
            f"{_STRATEGY} names no strategy of set_execution_strategy: HEURISTIC, PROFILE, either with _REPRODUCIBLE, "
            "or REPRODUCIBLE (OPTIMIZED, which the official page lists, is none)"
        )
        yield Finding("error", "fix.value", message, (_STRATEGY,), f"-e {_STRATEGY}=PROFILE_REPRODUCIBLE")


def allocator(situation: Situation) -> Iterator[Finding]:
    """DTR by variables lacks the allocator that evicts, which on a CPU does harm (measured on 1.13.0)."""
    fix = "dtr-allocator" in situation.fixes
    dropping = [rank for rank in situation.ranks if rank.get(_SWITCH) not in {None, "0"}]
    kinds = {placement.kind for placement in situation.placements}
    if fix and not dropping:
        yield Finding("info", "fix.idle", f"--fix dtr-allocator has nothing to do: {_SWITCH} is not on")
    elif fix and kinds == {"cpu"}:
        message = "--fix dtr-allocator is left out on a CPU, where that allocator would evict at every allocation"
        yield Finding("info", "fix.cpu", message, (_SWITCH,))
    elif dropping and not fix and "card" in kinds:
        message = (
            "DTR by variables evicts above its threshold only: unlike megengine.dtr.enable() it makes no room when an "
            "allocation fails"
        )
        yield Finding("info", "dtr.allocator", message, (_SWITCH,), "--fix dtr-allocator")


REPAIRS: tuple[Check, ...] = (strategy, allocator)
