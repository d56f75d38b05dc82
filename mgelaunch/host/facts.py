"""What is known of a host: one frozen value, that JSON can carry to another machine and back.

None means *unknown* wherever a field admits it, and never *fine*. Sizes are bytes unless a name says otherwise.
"""

from typing import Literal, NamedTuple


class Limit(NamedTuple):
    """A bound and where it comes from: ``source`` is the file or variable (``memory.max``), ``level`` the
    cgroup that sets it (empty when none does).
    """

    amount: int
    source: str
    level: str = ""

    @property
    def origin(self) -> str:
        """Where it comes from, for a sentence: ``memory.max in /kubepods/pod1``."""
        return f"{self.source} in {self.level}" if self.level else self.source


class Quota(NamedTuple):
    """CPU time that a cgroup grants, in CPUs."""

    cpus: float
    source: str
    level: str = ""

    @property
    def origin(self) -> str:
        """Where it comes from, for a sentence: ``memory.max in /kubepods/pod1``."""
        return f"{self.source} in {self.level}" if self.level else self.source


def _amount(limit: Limit) -> int:
    return limit.amount


class Memory(NamedTuple):
    """Host memory. ``limit`` is the lowest hard bound below ``total`` (a cgroup's, or what Slurm granted), None
    when there is none; whether cgroups could be read at all, ``cgroups`` tells (empty: they could not).
    ``high`` is the lowest ``memory.high``, above which the kernel throttles. ``available`` takes the bounds
    into account. ``commit_left`` is what may still be promised when ``overcommit`` is 2.
    """

    total: int | None = None
    available: int | None = None
    limit: Limit | None = None
    high: Limit | None = None
    granted: Limit | None = None
    cgroups: Literal["", "none", "v1", "v2", "hybrid"] = ""
    v1_limit_file: bool | None = None
    swap: int | None = None
    overcommit: int | None = None
    commit_left: int | None = None

    @property
    def bound(self) -> Limit | None:
        """The most that a job can use and still make progress; None when it is unknown. ``memory.high`` counts: above
        it the kernel throttles a process until it looks hung (measured on Linux 6.1).
        """
        total = Limit(self.total, "") if self.total is not None else None
        return min((limit for limit in (total, self.limit, self.high) if limit), key=_amount, default=None)


class Node(NamedTuple):
    """A NUMA node and its CPUs."""

    number: int
    cpus: tuple[int, ...]


class Cpus(NamedTuple):
    """CPUs by the numbers of the kernel. ``allowed`` is this process's affinity (empty: unknown), ``cores`` the
    allowed CPUs by physical core, in the order of nodes and cores (empty: unknown). ``bound``: whoever started this
    process gave it fewer CPUs than it may use itself, so that they are not shared with the other ranks.
    """

    online: int | None = None
    allowed: tuple[int, ...] = ()
    cores: tuple[tuple[int, ...], ...] = ()
    quota: Quota | None = None
    nodes: tuple[Node, ...] = ()
    bound: bool | None = None

    @property
    def usable(self) -> int | None:
        """CPUs that threads can keep busy: the affinity, and no more than the whole CPUs of the quota."""
        if not self.allowed:
            return None
        granted = int(self.quota.cpus) if self.quota else len(self.allowed)
        return max(1, min(len(self.allowed), granted))


class SharedMemory(NamedTuple):
    """``/dev/shm``: file system type (empty: not mounted), size, free space."""

    kind: str = ""
    size: int | None = None
    free: int | None = None
    writable: bool | None = None


class Place(NamedTuple):
    """A directory that a setting names, which need not exist: ``obstacle`` is why it can be neither used nor
    created (empty: nothing known speaks against it). ``kind`` is the file system type of ``existing``, the
    nearest ancestor there is. ``stale_locks`` are lock files in it that are older than ten minutes.
    """

    path: str
    existing: str = ""
    obstacle: str = ""
    kind: str = ""
    read_only: bool | None = None
    writable: bool | None = None
    free: int | None = None
    inodes: int | None = None
    stale_locks: tuple[str, ...] = ()


class Rlimit(NamedTuple):
    """A limit of ``ulimit``; None is unlimited."""

    soft: int | None
    hard: int | None


class Limits(NamedTuple):
    """Kernel limits; None is unknown. ``pids`` is the lowest ``pids.max``, ``tasks`` what it counts now."""

    nofile: Rlimit | None = None
    nproc: Rlimit | None = None
    memlock: Rlimit | None = None
    core: Rlimit | None = None
    address_space: Rlimit | None = None
    data: Rlimit | None = None
    pids: Limit | None = None
    tasks: int | None = None
    threads_max: int | None = None
    map_count: int | None = None
    infiniband: bool = False


class CardProcess(NamedTuple):
    """A process on a card; ``memory`` is None when the driver does not tell."""

    pid: int
    memory: int | None = None


class Slice(NamedTuple):
    """A MIG instance."""

    uuid: str
    total: int | None = None
    free: int | None = None


ComputeMode = Literal["", "default", "exclusive-thread", "prohibited", "exclusive-process"]


class Card(NamedTuple):
    """A GPU. ``number`` is nvidia-smi's (bus order). ``processes`` is None when they cannot be seen, ``mig`` when the
    card or the source knows no MIG mode, ``accessible`` when it was not tried.
    """

    number: int
    uuid: str = ""
    name: str = ""
    bus: str = ""
    total: int | None = None
    free: int | None = None
    mode: ComputeMode = ""
    mig: bool | None = None
    slices: tuple[Slice, ...] = ()
    capability: str = ""
    processes: tuple[CardProcess, ...] | None = None
    node: int | None = None
    accessible: bool | None = None


class Devices(NamedTuple):
    """The cards of the host. ``source`` is who told; ``none`` is certain, ``unknown`` is not. ``problem`` says in
    a phrase why cards or parts of them are unknown, or that the driver is broken (``broken``). ``mps``: NVIDIA's
    MPS, through which several processes share an exclusive card, has its directory where it has it by default.
    """

    source: Literal["nvml", "nvidia-smi", "proc", "sysfs", "none", "unknown"] = "unknown"
    vendor: Literal["", "nvidia", "amd"] = ""
    cards: tuple[Card, ...] = ()
    driver: str = ""
    cuda: str = ""
    problem: str = ""
    broken: bool = False
    libcuda: bool | None = None
    mps: bool | None = None

    def __hash__(self) -> int:
        """Cheap for a thousand cards: equal facts have equal hashes, and few others meet in one run."""
        return hash((self.source, self.driver, len(self.cards)))


class Tool(NamedTuple):
    """A program or header that some setting needs; ``path`` is empty when it is not there."""

    name: str
    path: str = ""


class Store(NamedTuple):
    """An orphaned ``plasma-store-server`` of this user, and the shared memory that it holds."""

    pid: int
    held: int | None = None


class HostFacts(NamedTuple):
    """Everything about a host that a check may ask for; None is *unknown* or *not asked for*."""

    memory: Memory = Memory()
    cpus: Cpus = Cpus()
    shared_memory: SharedMemory | None = None
    limits: Limits = Limits()
    storage: tuple[Place, ...] = ()
    devices: Devices | None = None
    tools: tuple[Tool, ...] | None = None
    stores: tuple[Store, ...] | None = None
