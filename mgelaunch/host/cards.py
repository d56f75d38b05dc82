"""What every source of cards needs: texts and numbers held to what they may be, and the kernel's part of a card."""

import os
import re
from typing import Literal

from mgelaunch.host.facts import Card, Devices
from mgelaunch.host.files import Files

_BUS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE)

_BROKEN = {
    4: "there is no permission to use the NVIDIA driver",
    9: "the NVIDIA driver is not loaded",
    18: "the NVIDIA driver and its library differ in version, as after an update without a restart",
}


def refused(source: Literal["nvml", "nvidia-smi"], code: int | None) -> Devices | None:
    """The devices when `source` failed with an error code by which CUDA will find none either; else None.

    The codes are NVML's, and nvidia-smi exits with them.
    """
    return Devices(source, "nvidia", problem=_BROKEN[code], broken=True) if code in _BROKEN else None


def plain(value: object) -> str:
    """`value` when it is a text that can be shown, of a length that a name has; else empty."""
    return value.strip() if isinstance(value, str) and value.isprintable() and len(value) <= 128 else ""


def identity(value: object) -> str:
    """`value` when it is a UUID of a card or slice; else empty (the kernel writes ``GPU-????...`` for some)."""
    return value if isinstance(value, str) and re.fullmatch(r"(GPU|MIG)-[\w/-]{1,100}", value, re.ASCII) else ""


def amount(value: object) -> int | None:
    """`value` when it is a number that memory, a pid or a version can have (NVML's "not available" is 2**64-1)."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else None


def sizes(total: object, free: object) -> tuple[int | None, int | None]:
    """Total and free memory in bytes, None for what is not known."""
    total, free = amount(total) or None, amount(free)
    return total, free if total and free is not None and free <= total else None


def bus_address(text: object) -> str:
    """The address on the PCI bus as the kernel writes it (NVML writes the domain with eight digits); else empty."""
    match = _BUS.fullmatch(text) if isinstance(text, str) and text.isascii() else None
    return f"{int(match[1], 16):04x}:{match[2].lower()}" if match else ""


def on_this_host(card: Card, files: Files, minor: int | None, nodes: frozenset[str]) -> Card:
    """`card` with its NUMA node, and whether ``/dev/nvidia<minor>`` lets this process in.

    `nodes` are the names of ``/dev``. While it has no card at all (WSL2, or a driver that makes them at first use)
    nothing follows from a missing one.
    """
    node = numa_node(files, f"/sys/bus/pci/devices/{card.bus}/numa_node") if card.bus else None
    if minor is None or not any(re.fullmatch("nvidia[0-9]+", name) for name in nodes):
        return card._replace(node=node)
    allowed = os.access(files.real(f"/dev/nvidia{minor}"), os.R_OK | os.W_OK)
    return card._replace(node=node, accessible=allowed)


def numa_node(files: Files, path: str) -> int | None:
    """The NUMA node in the kernel's file; its -1 (a host that has no nodes) is node 0."""
    return 0 if files.text(path).strip() == "-1" else files.number(path)
