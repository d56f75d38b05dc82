"""What ``--device``, ``--gpu-ids`` and ``--threads`` (or the same keys of ``[launch]``) say in variables."""

import re
from collections.abc import Iterator

from mgelaunch.environment.source import Assignment, Source

THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
IMPLYING = ("device", "gpu-ids", "threads")
MEETING = ("master-addr", "master-port")
"""Keys that stand for variables only where mgelaunch starts the ranks."""


def implied(key: str, value: str, where: str, place: str = "", source: Source = Source.FLAG) -> Iterator[Assignment]:
    """The assignments that one of the `IMPLYING` or `MEETING` keys stands for; the catalogue judges their values.

    ``gpu-ids`` numbers cards as nvidia-smi does, so CUDA is told to number them by their bus, too.
    """
    if key == "device":
        text = "gpu{local_device}" if value == "gpu" else value.replace("{", "{{").replace("}", "}}")
        yield Assignment("MGE_DEFAULT_DEVICE", text, source, where, place, template=True)
    elif key == "gpu-ids":
        yield Assignment("CUDA_VISIBLE_DEVICES", _card_list(value), source, where, place)
        yield Assignment("CUDA_DEVICE_ORDER", "PCI_BUS_ID", source, where, place)
    elif key == "threads":
        for name in THREAD_COUNTS:
            yield Assignment(name, value, source, where, place)
    elif key == "master-addr":
        yield Assignment("MASTER_ADDR", value, source, where, place)
    elif key == "master-port":
        free = value == "0"
        yield Assignment("MASTER_PORT", "{master_port}" if free else value, source, where, place, template=free)


def _card_list(value: str) -> str:
    """`value` with ranges such as ``4-7`` written out; ``none`` is -1. Anything else is left to the catalogue."""
    if value == "none":
        return "-1"
    items: list[str] = []
    for item in value.split(","):
        ends = re.fullmatch(r"\s*([0-9]{1,4})-([0-9]{1,4})\s*", item)
        cards = range(int(ends[1]), int(ends[2]) + 1) if ends else range(0)
        items += map(str, cards) if cards else [item]
    return ",".join(items)
