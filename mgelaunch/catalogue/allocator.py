"""The configuration of torch's caching allocator: ``key:value,key:value``."""

import re
from typing import NamedTuple

from mgelaunch.catalogue.kinds import Reading, Rejected, Resource, Value

_SWITCHES = ("expandable_segments", "pinned_use_background_threads")


def _complaint(key: str, value: str) -> tuple[str, str] | None:
    """What torch's parser would make of one pair: a reason and a pair to write instead."""
    if key == "max_split_size_mb" and not (re.fullmatch(r"[0-9]{1,18}", value) and int(value) >= 20):
        return "max_split_size_mb is a whole number of MB, 20 or more", f"{key}:128"
    if key == "garbage_collection_threshold" and not (re.fullmatch(r"0?\.[0-9]+", value) and 0 < float(value) < 1):
        return "garbage_collection_threshold lies between 0 and 1", f"{key}:0.8"
    if key in _SWITCHES and value not in {"True", "False"}:
        return f"{key} is exactly True or False", f"{key}:True"
    if key == "roundup_power2_divisions" and re.fullmatch(r"[0-9]{1,18}", value):
        number = int(value)
        if number == 0 or number & (number - 1):
            return "roundup_power2_divisions is a power of 2", f"{key}:4"
    return None


class AllocatorConfig(NamedTuple):
    """Pairs that torch can read. Its parser ends in an internal assertion on a wrong shape, so the
    shape and the keys with known rules are checked; unknown keys pass, as they do in torch.
    """

    off: str = "unset"
    name: str = "keyvalue"
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """The shape."""
        return "key:value,key:value", "key:value,key:value"

    def read(self, text: str) -> Reading:
        """The pairs without blanks."""
        compact = re.sub(r"\s+", "", text).strip(",")
        pairs = re.findall(r"([A-Za-z0-9_]+):(\[[^\]]*\]|[^,:\[\]=;]+)(?:,|$)", compact)
        if ",".join(f"{key}:{value}" for key, value in pairs) != compact or not pairs:
            return Rejected("value.pairs", "is not a list of key:value pairs", "max_split_size_mb:128")
        for key, value in pairs:
            if complaint := _complaint(key, value):
                return Rejected("value.pairs", f"cannot be read by torch: {complaint[0]}", complaint[1])
        return Value(compact)
