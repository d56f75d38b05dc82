"""The totals that percentages refer to: of the card that a rank computes on, of memory within its limits, never a guess."""

import pytest

from mgelaunch.catalogue.kinds import Total, Unmeasured
from mgelaunch.host.facts import Card, Cpus, Devices, HostFacts, Limit, Memory, Quota, SharedMemory, Slice
from mgelaunch.host.files import Files
from mgelaunch.host.measure import Host
from mgelaunch.host.totals import Share, Totals

GIB = 1 << 30
A100 = Card(0, "GPU-aa", "A100", total=40 * GIB)
GTX = Card(1, "GPU-bb", "GTX 1080", total=8 * GIB)
DIVIDED = A100._replace(mig=True, slices=(Slice("MIG-1", 5 * GIB), Slice("MIG-2", 10 * GIB)))
NO_CARD = Devices("none")


def cards(*found):
    return Devices("nvml", "nvidia", found)


ALIKE = cards(A100, A100._replace(number=1, uuid="GPU-cc"))


def told(resource, *environments, own=0, local_ranks=None, local_rank=0, **facts):
    """The total for one of the ranks that get `environments`, on a host of which `facts` are known."""
    host = Host(Files(), {}, HostFacts(**facts))
    views = [environment.get for environment in environments or ({},)]
    ranks = local_ranks or len(views)
    return Totals(host, Share(ranks, local_rank, ranks))(resource, views, own)


def on(device, **more):
    return {"MGE_DEFAULT_DEVICE": device, **more}


# Device memory.


@pytest.mark.parametrize(
    ("devices", "environment", "amount"),
    [
        pytest.param(ALIKE, on("gpu1"), 40 * GIB, id="a card"),
        pytest.param(ALIKE, {}, 40 * GIB, id="no device named"),
        pytest.param(ALIKE, on("xpux"), 40 * GIB, id="any device"),
        pytest.param(cards(A100, GTX), on("gpu1", CUDA_DEVICE_ORDER="PCI_BUS_ID"), 8 * GIB, id="cards that differ"),
        pytest.param(cards(A100, GTX), on("gpu0", CUDA_VISIBLE_DEVICES="GPU-bb"), 8 * GIB, id="a card by its id"),
        pytest.param(cards(DIVIDED), {"CUDA_VISIBLE_DEVICES": "MIG-2"}, 10 * GIB, id="a slice of a card"),
    ],
)
def test_device_memory_is_that_of_the_card_which_the_rank_uses(devices, environment, amount):
    assert told("device-memory", environment, devices=devices) == Total(amount, f"{amount >> 30}.0 GiB", 1)


@pytest.mark.parametrize(
    ("devices", "environment", "reason"),
    [
        pytest.param(cards(A100, GTX), on("gpu0"), "the cards differ", id="cards that differ"),
        pytest.param(NO_CARD, on("gpu0"), "no card is visible", id="no card"),
        pytest.param(ALIKE, on("gpu0", CUDA_VISIBLE_DEVICES="-1"), "no card is visible", id="hidden cards"),
        pytest.param(cards(Card(0, "GPU-aa")), {}, "does not tell", id="a card that does not tell"),
        pytest.param(Devices("unknown", problem="NVML hung"), on("gpu0"), "NVML hung", id="a driver that hangs"),
        pytest.param(Devices("unknown", problem="NVML hung"), {}, "NVML hung", id="... and no device named"),
    ],
)
def test_what_is_not_known_for_certain_is_not_measured(devices, environment, reason):
    assert reason in told("device-memory", environment, devices=devices).reason


def test_a_card_that_is_not_there_is_taken_to_be_like_the_others():
    """That it is not there is another finding, and no fault of the percentage."""
    assert told("device-memory", on("gpu2"), devices=ALIKE).amount == 40 * GIB


def test_which_of_differing_cards_is_used_can_be_made_certain():
    assert told("device-memory", devices=cards(A100, GTX)).remedy == "-e CUDA_DEVICE_ORDER=PCI_BUS_ID"


@pytest.mark.parametrize(
    ("environments", "sharers"),
    [
        pytest.param([on("gpu0"), on("gpu1")], [1, 1], id="a card each"),
        pytest.param([on("gpu0"), on("gpu0"), on("gpu1")], [2, 2, 1], id="two on one card"),
        pytest.param([{}, {}], [1, 1], id="the card of the local rank"),
        pytest.param([{}, {}, {}], [2, 1, 2], id="more ranks than cards, in turn"),
        pytest.param([on("gpu0", CUDA_VISIBLE_DEVICES=card) for card in "01"], [1, 1], id="one visible card each"),
    ],
)
def test_a_card_is_shared_by_the_ranks_that_compute_on_it(environments, sharers):
    found = [told("device-memory", *environments, own=own, devices=ALIKE) for own in range(len(environments))]
    assert [total.sharers for total in found] == sharers


@pytest.mark.parametrize(
    ("environment", "sharers"), [({}, 2), (on("gpu0"), 4)], ids=["no device named", "one card for all"]
)
def test_ranks_that_another_launcher_started_share_as_their_number_tells(environment, sharers):
    assert told("device-memory", environment, local_ranks=4, local_rank=3, devices=ALIKE).sharers == sharers


# Host memory.

MEMORY = Memory(total=64 * GIB)


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        pytest.param(on("cpu0"), ALIKE, id="a CPU is named"),
        pytest.param(on("multithread2"), ALIKE, id="several threads are named"),
        pytest.param({"CUDA_VISIBLE_DEVICES": "-1"}, ALIKE, id="cards are hidden"),
        pytest.param({"CUDA_VISIBLE_DEVICES": ""}, ALIKE, id="no card is listed"),
        pytest.param({}, NO_CARD, id="there is no card"),
    ],
)
def test_the_device_memory_of_a_job_on_the_cpu_is_the_hosts(environment, devices):
    total = told("device-memory", environment, memory=MEMORY, devices=devices)
    assert total == Total(64 * GIB, "64.0 GiB of host memory", 1)


def test_a_limit_below_the_hosts_memory_counts_and_says_where_it_comes_from():
    memory = MEMORY._replace(limit=Limit(16 * GIB, "memory.max", "/kubepods/pod1"))
    label = "16.0 GiB of host memory (memory.max in /kubepods/pod1)"
    assert told("device-memory", on("cpu0"), on("cpu0"), memory=memory) == Total(16 * GIB, label, 2)


def test_memory_above_which_the_kernel_throttles_does_not_count():
    """A job that needs it looks hung, and never comes to the point where it would drop tensors."""
    memory = MEMORY._replace(limit=Limit(16 * GIB, "memory.max", "/j"), high=Limit(12 * GIB, "memory.high", "/j"))
    label = "12.0 GiB of host memory (memory.high in /j)"
    assert told("device-memory", on("cpu0"), memory=memory) == Total(12 * GIB, label, 1)


def test_memory_that_nobody_tells_is_not_measured():
    assert "host memory is not known" in told("device-memory", on("cpu0")).reason


# CPUs and shared memory.


@pytest.mark.parametrize(
    ("cpus", "amount", "label"),
    [
        pytest.param(Cpus(64, allowed=tuple(range(32))), 32, "32 CPUs", id="by affinity"),
        pytest.param(Cpus(64, allowed=(5,)), 1, "1 CPU", id="one"),
        pytest.param(Cpus(8, tuple(range(8)), quota=Quota(3.5, "cpu.max")), 3, "3 CPUs (quota of 3.5)", id="by quota"),
        pytest.param(
            Cpus(8, tuple(range(8)), quota=Quota(0.5, "cpu.max")), 1, "1 CPU (quota of 0.5)", id="at least one"
        ),
        pytest.param(Cpus(2, (0, 1), quota=Quota(16, "cpu.max")), 2, "2 CPUs", id="a quota beyond the affinity"),
    ],
)
def test_the_cpus_are_those_that_the_job_may_keep_busy(cpus, amount, label):
    assert told("cpus", {}, {}, cpus=cpus) == Total(amount, label, 2)


def test_the_shared_memory_is_the_size_of_its_mount_not_what_is_free():
    mounted = SharedMemory("tmpfs", 16 * GIB, free=1 * GIB)
    assert told("shared-memory", {}, {}, shared_memory=mounted) == Total(16 * GIB, "16.0 GiB of /dev/shm", 2)


@pytest.mark.parametrize("resource", ["cpus", "shared-memory"])
def test_cpus_and_shared_memory_that_cannot_be_read_are_not_measured(resource):
    assert told(resource) == Unmeasured()
