"""Kinds of value that name devices."""

import re
from typing import NamedTuple

from mgelaunch.catalogue.kinds import Reading, Rejected, Resource, Value


class Device(NamedTuple):
    """A device of MegEngine: ``cpu0``, ``gpu1``, ``xpux``, ``multithread2`` with an optional stream."""

    off: str = "unset"
    name: str = "device"
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """Examples."""
        return "xpux, cpu0, gpu0, gpu1:0, multithread2", "xpux、cpu0、gpu0、gpu1:0、multithread2"

    def read(self, text: str) -> Reading:
        """The name in lower case; torch's spellings are refused with MegEngine's own beside them."""
        word = text.lower()
        if re.fullmatch(r"([cxg]pu|rocm|cambricon|atlas)(x|[0-9]+)(:[0-9]+)?", word):
            return Value(word)
        if re.fullmatch(r"multithread[1-9][0-9]*(:[0-9]+)?", word):
            return Value(word)
        other = re.fullmatch(r"(cuda|gpu|cpu|xpu):?([0-9]+|x)?(:default)?", word)
        kind = {"cuda": "gpu"}.get(other[1], other[1]) if other else "gpu"
        index = (other[2] if other else None) or ("x" if kind == "xpu" else "0")
        return Rejected("value.device", "is not a device that MegEngine knows", f"{kind}{index}")


class DeviceList(NamedTuple):
    """Visible devices: indices, or UUIDs of cards, or MIG ids; an empty text or -1 hides them all.

    CUDA stops at the first item it cannot read and empties the list at a repeated one, both in
    silence; such lists are refused.
    """

    off: str = "-1"
    name: str = "device_list"
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """The forms."""
        return (
            "indices such as 0,1, or GPU- or MIG- ids; -1 hides all",
            "序号（如 0,1）、GPU- 或 MIG- 编号；-1 表示全部隐藏",
        )

    def read(self, text: str) -> Reading:
        """The list without blanks."""
        if text.lower() in {"", "-1", "none", "void", "nodevfiles"}:
            return Value("-1")
        if text.lower() == "all":
            return Rejected("value.devices", "hides every card when it says all; leave it unset to see all cards")
        items = [item.strip() for item in text.rstrip(", ").split(",")]
        for pattern in (r"[0-9]{1,9}", r"GPU-[0-9A-Za-z-]+", r"MIG-[0-9A-Za-z/-]+"):
            if all(re.fullmatch(pattern, item) for item in items):
                break
        else:
            return Rejected("value.devices", "is not a list of indices, GPU- ids or MIG- ids", "0,1")
        if items[0].isdigit():
            items = [str(int(item)) for item in items]
        if len(set(items)) < len(items):
            once = ",".join(dict.fromkeys(items)) if items[0].isdigit() else ""
            return Rejected("value.devices", "names a card twice, which hides them all", once)
        return Value(",".join(items))
