"""The totals that percentages refer to, for one rank of a job on a host."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mgelaunch.catalogue.kinds import Resource, Total, Unmeasured
from mgelaunch.host.amounts import counted, shown
from mgelaunch.host.facts import Cpus, Devices, Memory, SharedMemory
from mgelaunch.host.measure import Host
from mgelaunch.host.placement import Placement, Wish, place
from mgelaunch.host.visible import Unit, visible

View = Callable[[str], str | None]
"""The text that one rank gets for a variable."""
DEVICE_NAMES = ("MGE_DEFAULT_DEVICE", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


class Share(NamedTuple):
    """How the ranks of a job share a host: ``local_ranks`` in all, of which number ``local_rank`` is the first that is
    known here, ``cpu_ranks`` that share the CPUs of this process, and whether each has the visible cards to
    itself (``own_device``).
    """

    local_ranks: int = 1
    local_rank: int = 0
    cpu_ranks: int = 1
    own_device: bool = False

    @property
    def device_ranks(self) -> int:
        """How many local ranks may use the same cards."""
        return 1 if self.own_device else self.local_ranks


class Totals:
    """What measures a resource for each rank of a job. `final`: all layers are read, so that what the ranks want of
    devices is asked once.
    """

    def __init__(self, host: Host, share: Share, *, final: bool = False) -> None:
        self._host = host
        self._share = share
        self._final = final
        self._placed: tuple[tuple[Wish, Placement], ...] = ()

    def __call__(self, resource: Resource, views: Sequence[View], own: int) -> Total | Unmeasured:
        """The total for the rank whose view is `views[own]`."""
        if resource == "cpus":
            return _cpus(self._host.cpus, self._share.cpu_ranks)
        if resource == "shared-memory":
            return _shared_memory(self._host.shared_memory, self._share.local_ranks)
        if _on_cpu(views[own]):
            return _host_memory(self._host.memory, self._share.local_ranks)
        wish, placement = self._place(views)[own]
        if placement.kind == "cpu":
            return _host_memory(self._host.memory, self._share.local_ranks)
        return _device_memory(placement, wish, self._host.devices)

    def _place(self, views: Sequence[View]) -> tuple[tuple[Wish, Placement], ...]:
        if self._placed:
            return self._placed
        wished = wishes(views, self._share.local_rank)
        placed = tuple(zip(wished, place(wished, self._share.device_ranks, self._host.devices), strict=True))
        if self._final:
            self._placed = placed
        return placed


def wishes(views: Sequence[View], local_rank: int = 0) -> tuple[Wish, ...]:
    """What each rank's environment says of devices; the first rank is number `local_rank`."""
    return tuple(Wish(local_rank + number, *map(view, DEVICE_NAMES)) for number, view in enumerate(views))


def _on_cpu(view: View) -> bool:
    """Whether a rank computes on the CPU whatever cards there are, so that nobody need look at them."""
    device = view("MGE_DEFAULT_DEVICE") or "xpux"
    hidden = view("CUDA_VISIBLE_DEVICES") in {"", "-1"}
    return device.startswith(("cpu", "multithread")) or (device.startswith("xpu") and hidden)


def _cpus(cpus: Cpus, ranks: int) -> Total | Unmeasured:
    if cpus.usable is None:
        return Unmeasured()
    quota = f" (quota of {cpus.quota.cpus:g})" if cpus.quota and cpus.usable < len(cpus.allowed) else ""
    return Total(cpus.usable, f"{counted(cpus.usable, 'CPU')}{quota}", ranks)


def _shared_memory(mounted: SharedMemory | None, local_ranks: int) -> Total | Unmeasured:
    if mounted is None or mounted.size is None:
        return Unmeasured()
    return Total(mounted.size, f"{shown(mounted.size)} of /dev/shm", local_ranks)


def _host_memory(memory: Memory, local_ranks: int) -> Total | Unmeasured:
    bound = memory.bound
    if bound is None:
        return Unmeasured("the device is a CPU, and host memory is not known")
    origin = f" ({bound.origin})" if bound.source else ""
    return Total(bound.amount, f"{shown(bound.amount)} of host memory{origin}", local_ranks)


def _device_memory(placement: Placement, wish: Wish, devices: Devices) -> Total | Unmeasured:
    if placement.kind == "unknown":
        return Unmeasured(devices.problem)
    units = (placement.unit,) if placement.unit else visible(devices, wish.visible, wish.order).units
    if not units:
        return Unmeasured("no card is visible")
    if placement.kind == "absent" and len({unit.total for unit in units}) > 1:
        return Unmeasured("its card is not there")
    return _same_total(units, placement.sharers)  # that a card is not there is no fault of the value


def _same_total(units: Sequence[Unit], sharers: int) -> Total | Unmeasured:
    sizes = {unit.total for unit in units}
    if len(sizes) > 1:
        why = "the cards differ, and which of them is gpu0 only CUDA knows"
        return Unmeasured(why, "-e CUDA_DEVICE_ORDER=PCI_BUS_ID")
    size = sizes.pop() if sizes else None
    return Total(size, shown(size), sharers) if size else Unmeasured("the driver does not tell the card's memory")
