"""The totals that percentages refer to, measured on this host when a percentage asks for one."""

import os
from collections.abc import Callable

from mgelaunch.catalogue.kinds import Resource, Total

_DRIVERS = ("/proc/driver/nvidia/gpus", "/dev/dxg", "/dev/nvhost-gpu", "/dev/kfd", "/dev/davinci_manager")
"""What a host with an accelerator has: NVIDIA, WSL2, Jetson, AMD, Ascend."""


def measure(resource: Resource, effective: Callable[[str], str | None]) -> Total | None:
    """The total of `resource` in bytes or CPUs; None when it cannot be measured.

    The device memory of a job that runs on the CPU is the host's memory. `effective` tells the text that
    the job would get for a variable.
    """
    if resource == "cpus":
        count = len(os.sched_getaffinity(0))
        return Total(count, "1 CPU" if count == 1 else f"{count} CPUs")
    if resource == "shared-memory":
        return _shared_memory()
    if _runs_on_cpu(effective):
        return _host_memory()
    return None if (effective("CUDA_VISIBLE_DEVICES") or "").startswith("MIG-") else _card_memory()


def _runs_on_cpu(effective: Callable[[str], str | None]) -> bool:
    """Whether MegEngine's default device is a CPU: named so, or left open while no card is there or visible."""
    device = effective("MGE_DEFAULT_DEVICE") or "xpux"
    if not device.startswith("xpu"):
        return device.startswith(("cpu", "multithread"))
    return effective("CUDA_VISIBLE_DEVICES") in {"", "-1"} or not any(map(os.path.exists, _DRIVERS))


def _card_memory() -> Total | None:
    import subprocess  # noqa: PLC0415 - only a percentage of a card pays

    query = ["nvidia-smi", "--query-gpu=memory.total,mig.mode.current", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    amount = card_total(told)
    return _in_bytes(amount, "") if amount else None


def card_total(told: str) -> int:
    """The memory of a card in bytes, from nvidia-smi's lines of MiB and MIG mode, one a card.

    0 when the cards differ or one is divided: which of them the job gets only CUDA knows.
    """
    cards = {tuple(cell.strip() for cell in line.split(",")) for line in told.splitlines() if line.strip()}
    if len(cards) != 1:
        return 0
    (size, *mode) = cards.pop()
    return 0 if not size.isdecimal() or mode == ["Enabled"] else int(size) << 20


def _host_memory() -> Total:
    return _in_bytes(_memory_of_the_kernel() or _memory_of_psutil(), " of host memory")


def _memory_of_the_kernel() -> int:
    """What psutil reads on Linux, without the 15 ms of its import; 0 when it is not there."""
    try:
        with open("/proc/meminfo", "rb") as file:
            name, amount, unit = file.readline().split()
    except (OSError, ValueError):
        return 0
    return int(amount) * 1024 if (name, unit) == (b"MemTotal:", b"kB") else 0


def _memory_of_psutil() -> int:
    import psutil  # noqa: PLC0415

    return int(psutil.virtual_memory().total)


def _shared_memory() -> Total | None:
    try:
        mounted = os.statvfs("/dev/shm")  # noqa: S108 - the mount itself, no file in it
    except OSError:
        return None
    return _in_bytes(mounted.f_blocks * mounted.f_frsize, " of /dev/shm")


def _in_bytes(amount: int, what: str) -> Total:
    return Total(amount, f"{amount / (1 << 30):.1f} GiB{what}")
