"""Templates of ``[rank.env]``: what stands in braces until the rank is known."""

import re
from collections.abc import Mapping

from mgelaunch.catalogue.kinds import Rejected

PLACEHOLDERS = (
    "rank",
    "local_rank",
    "world_size",
    "local_world_size",
    "node_rank",
    "run_id",
    "master_addr",
    "master_port",
)
"""What braces may hold in ``[rank.env]``."""

_SIGN = re.compile(
    r"(?P<dollar>\\+(?=\$))"  # ${...} behind a pair of backslashes is a reference, behind a single one it is not
    r"|(?P<reference>\$\{)"
    r"|\{\{|\}\}|\{(?P<name>[a-z_]+)\}"
    r"|(?P<stray>[{}])"
)


def misplaced(text: str) -> Rejected | None:
    """Why `text` is no template of ``[rank.env]``; None when it is one. ``${...}`` is left to interpolation."""
    at = 0
    while match := _SIGN.search(text, at):
        at = match.end()
        if match["dollar"]:
            at += len(match["dollar"]) % 2
        elif match["reference"]:
            at = _behind_reference(text, at)
        elif match["stray"]:
            return Rejected("profile.placeholder", "has a lone brace; a literal one is written {{ or }}")
        elif match["name"] and match["name"] not in PLACEHOLDERS:
            known = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            return Rejected("profile.placeholder", f"has a placeholder that is none of {known}")
    return None


def _behind_reference(text: str, at: int) -> int:
    depth = 1
    while depth and (match := re.compile(r"\$\{|\}").search(text, at)):
        depth += -1 if match[0] == "}" else 1
        at = match.end()
    return at if depth == 0 else len(text)


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each placeholder that `values` has replaced, and doubled braces halved."""

    def replacement(match: re.Match[str]) -> str:
        return values.get(match["name"], match[0]) if match["name"] else match[0][0]

    return re.sub(r"\{\{|\}\}|\{(?P<name>[a-z_]+)\}", replacement, text)
