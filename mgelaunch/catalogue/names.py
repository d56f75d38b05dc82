"""Names of variables: which are portable, which hide a secret, which are a slip of the pen."""

import re
from collections.abc import Collection

_SHORTEST = 5
"""Shorter names are one edit away from too much."""

OUR_PREFIXES = ("MEGENGINE_", "MGE_", "MGB_", "BREVITAS_")
_SECRET_WORDS = frozenset({"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS"})


def is_portable(name: str) -> bool:
    """Letters, digits and underscores, not beginning with a digit: what every shell can carry."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None


def is_secret(name: str) -> bool:
    """Whether the value must be masked, judged by the name alone (never by the value)."""
    upper = name.upper()
    if upper.startswith("TOKENIZERS_"):
        return False
    return upper.endswith("KEY") or not _SECRET_WORDS.isdisjoint(upper.split("_"))


def _within(one: str, other: str, edits: int) -> bool:
    """Whether at most `edits` insertions, deletions, replacements or swaps lead from `one` to `other`."""
    if abs(len(one) - len(other)) > edits:
        return False
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    one, other = one[same:], other[same:]
    if not one and not other:
        return True
    if edits == 0:
        return False
    swapped = one[:2] == other[1::-1] and len(one) > 1
    return (
        _within(one[1:], other, edits - 1)
        or _within(one, other[1:], edits - 1)
        or _within(one[1:], other[1:], edits - 1)
        or (swapped and _within(one[2:], other[2:], edits - 1))
    )


def _relatives(one: str, other: str) -> bool:
    """Whether the two names belong to sister tools (HCCL and NCCL), or differ by a number at the end."""
    sisters = "CCL_" in one and one.partition("CCL_")[0] != other.partition("CCL_")[0]
    return sisters or one[0] != other[0] or one.rstrip("0123456789") == other


def _own_part(name: str) -> str:
    prefix = next((prefix for prefix in OUR_PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix)


def _words(name: str) -> tuple[str, ...]:
    return tuple(sorted(_own_part(name).split("_")))


def near_miss(name: str, known: Collection[str]) -> str | None:
    """The catalogue name that `name` was probably meant to be; None when it is in the catalogue or far from it.

    Under our own prefixes two edits count, or the same words in another order or under another of our
    prefixes; elsewhere one edit, because other tools own those names.
    """
    ours = name.startswith(OUR_PREFIXES)
    if name in known or len(name) < _SHORTEST:
        return None
    if not ours:
        # One edit in a name this long leaves its first two characters alone, or its last two.
        head, tail = name[:2], name[-2:]
        alike = (other for other in known if other[:2] == head or other[-2:] == tail)
        return next((other for other in alike if _within(name, other, 1) and not _relatives(name, other)), None)
    short = len(_own_part(name)) < _SHORTEST + 1
    for edits in (1,) if short else (1, 2):
        if close := next((other for other in known if _within(name, other, edits)), None):
            return close
    words = _words(name)
    return next((other for other in known if other.startswith(OUR_PREFIXES) and _words(other) == words), None)
