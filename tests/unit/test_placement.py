"""On which device each rank computes, and with how many others."""

import pytest

from mgelaunch.host.facts import Card, Devices, Slice
from mgelaunch.host.placement import Placement, Wish, place
from mgelaunch.host.visible import Unit

ALIKE = Devices("nvml", "nvidia", tuple(Card(number, f"GPU-{number}", "A100") for number in range(4)))
UNLIKE = Devices("nvml", "nvidia", (Card(0, "GPU-0", "A100"), Card(1, "GPU-1", "GTX 1080")))
BROKEN = Devices("nvml", "nvidia", broken=True)


def ranks(count, **said):
    """What `count` ranks wish that say the same, but for {rank} in it."""
    texts = [{key: text.replace("{rank}", str(rank)) for key, text in said.items()} for rank in range(count)]
    return [Wish(rank, **texts[rank]) for rank in range(count)]


def cards(placements):
    return [placement.unit.card.number for placement in placements]


def sharers(placements):
    return [placement.sharers for placement in placements]


@pytest.mark.parametrize("device", ["cpu0", "cpux", "cpu1:2", "multithread0:4"])
@pytest.mark.parametrize("devices", [ALIKE, Devices(), Devices("none")], ids=["cards", "unknown", "none"])
def test_a_cpu_is_a_cpu_on_every_host(device, devices):
    assert place(ranks(2, device=device), 2, devices) == (Placement("cpu", sharers=2),) * 2


@pytest.mark.parametrize("device", [None, "xpux", "gpux"])
def test_ranks_that_name_no_number_take_the_card_of_their_local_rank_in_turn(device):
    placements = place([Wish(rank, device) for rank in range(6)], 6, ALIKE)
    assert cards(placements) == [0, 1, 2, 3, 0, 1]
    assert sharers(placements) == [2, 2, 1, 1, 2, 2]
    assert {placement.number for placement in placements} == {None}


@pytest.mark.parametrize("device", ["gpu{rank}", "xpu{rank}", "cuda{rank}", "gpu{rank}:1"])
def test_a_numbered_card_is_counted_among_those_that_are_visible(device):
    placements = place(ranks(2, device=device, visible="3,1"), 2, ALIKE)
    assert (cards(placements), sharers(placements)) == ([3, 1], [1, 1])
    assert [placement.number for placement in placements] == [0, 1]


def test_ranks_on_one_card_share_it():
    assert sharers(place(ranks(3, device="gpu0"), 3, ALIKE)) == [3, 3, 3]


def test_ranks_that_each_see_a_card_of_their_own_do_not_share_it():
    placements = place(ranks(4, device="gpu0", visible="{rank}"), 4, ALIKE)
    assert (cards(placements), sharers(placements)) == ([0, 1, 2, 3], [1, 1, 1, 1])


def test_ranks_of_different_devices_are_counted_by_device():
    wishes = [Wish(0, "cpu0"), Wish(1, "gpu0"), Wish(2, "gpu0"), Wish(3, "cpu0")]
    assert sharers(place(wishes, 4, ALIKE)) == [2, 2, 2, 2]


@pytest.mark.parametrize("device", ["gpu4", "xpu9", "gpu999999999999"])
def test_a_card_beyond_the_visible_ones_is_absent(device):
    (placement,) = place(ranks(1, device=device), 1, ALIKE)
    assert (placement.kind, placement.unit) == ("absent", None)


@pytest.mark.parametrize(
    ("devices", "visible", "device", "kind"),
    [
        (ALIKE, "", "gpu0", "absent"),
        (ALIKE, "-1", None, "cpu"),
        (ALIKE, "7", "xpu0", "cpu"),
        (Devices("none"), None, "gpu0", "absent"),
        (Devices("none"), None, "xpux", "cpu"),
        (BROKEN, None, "gpu0", "absent"),
        (BROKEN, None, None, "cpu"),
        (Devices(), None, "gpu0", "unknown"),
        (Devices(), None, None, "unknown"),
        (Devices(), "0", None, "unknown"),
        (Devices(), "-1", "gpu0", "absent"),
        (Devices(), "", None, "cpu"),
        (ALIKE, None, "rocm0", "absent"),
        (ALIKE._replace(vendor="amd"), None, "rocm0", "card"),
        (ALIKE, None, "cambricon0", "unknown"),
        (Devices("none"), None, "atlas0", "unknown"),
    ],
)
def test_without_a_card_that_fits_xpu_is_the_cpu_and_others_are_absent_unless_cards_are_unknown(
    devices, visible, device, kind
):
    (placement,) = place([Wish(0, device, visible)], 1, devices)
    assert placement.kind == kind


def test_which_of_differing_cards_a_number_means_is_unknown_but_not_that_two_ranks_differ():
    placements = place(ranks(2, device="gpu{rank}"), 2, UNLIKE)
    assert [(each.kind, each.unit, each.sharers) for each in placements] == [("card", None, 1)] * 2


def test_ranks_without_a_number_share_differing_cards_when_there_are_more_ranks_than_cards():
    assert sharers(place(ranks(4), 4, UNLIKE)) == [2, 2, 2, 2]


def test_ranks_that_each_see_another_of_differing_cards_do_not_share():
    assert sharers(place(ranks(2, device="gpu0", visible="{rank}"), 2, UNLIKE)) == [1, 1]


def test_in_bus_order_differing_cards_are_known():
    assert cards(place(ranks(2, device="gpu{rank}", order="PCI_BUS_ID"), 2, UNLIKE)) == [0, 1]


def test_a_slice_is_a_device_of_its_own():
    slices = (Slice("MIG-a", 5), Slice("MIG-b", 7))
    divided = Card(0, "GPU-0", "A100", mig=True, slices=slices)
    wishes = [Wish(0, "gpu0", "MIG-b"), Wish(1, "gpu0", "MIG-a")]
    placements = place(wishes, 2, Devices("nvml", "nvidia", (divided,)))
    assert [placement.unit for placement in placements] == [Unit(divided, slices[1]), Unit(divided, slices[0])]
    assert sharers(placements) == [1, 1]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish(2), 2),
        (Wish(5), 2),
        (Wish(2, "gpu2"), 2),
        (Wish(5, "gpu1"), 2),
        (Wish(0, "gpu0"), 2),
        (Wish(2, "gpu0"), 8),
        (Wish(0, "gpu0", "3"), 8),
        (Wish(1, "cpu0"), 8),
        (Wish(1, "gpu9"), 8),
    ],
    ids=[
        "no device", "in turn", "its own", "its own in turn", "the first", "another's", "one visible", "cpu", "absent",
    ],
)  # fmt: skip
def test_among_ranks_that_are_not_planned_here_those_that_follow_their_local_rank_are_spread_evenly(wish, expected):
    assert sharers(place([wish], 8, ALIKE)) == [expected]


def test_fewer_ranks_than_cards_do_not_share():
    assert sharers(place([Wish(1)], 3, ALIKE)) == [1]
