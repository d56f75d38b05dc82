"""CUDA_VISIBLE_DEVICES, read as CUDA reads it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.host.facts import Card, Devices, Slice
from mgelaunch.host.visible import Unit, Visible, visible


def host(*cards, source="nvml", vendor="nvidia"):
    return Devices(source, vendor, cards)


def card(number, uuid="", name="A100", **more):
    return Card(number, uuid, name, **more)


THREE = host(card(0, "GPU-11111111-a"), card(1, "GPU-22222222-b"), card(2, "GPU-2233-c"))

SMALL, LARGE = Slice("MIG-aaaa-1", 5 << 30, 4 << 30), Slice("MIG-bbbb-2", 20 << 30, 20 << 30)
DIVIDED = card(0, "GPU-1111-d", total=40 << 30, mig=True, slices=(SMALL, LARGE))
WHOLE = card(1, "GPU-2222-w", total=40 << 30, mig=False)

HIDES_ALL = ["", " ", "-1", "-7", "-1,0", "all", "none", "NoDevFiles", "0,0", "+", "-", ",0", "GPU", "٣", "x0"]


def numbers(seen):
    return [unit.card.number for unit in seen.units]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        (" ", []),
        ("-1", []),
        ("2,1", [2, 1]),
        ("0,2,-1,1", [0, 2]),
        (" 1 , 0", [1, 0]),
        ("7", []),
        ("+1", [1]),
        ("1gpu2,2ampere", [1, 2]),
        ("0,", [0]),
        ("0,,1", [0]),
        ("GPU-111", [0]),
        ("gpu-111", [0]),
        ("GPU-22222222-B", [1]),
        ("GPU-22", []),
        ("GPU-2222,GPU-1", [1, 0]),
        ("GPU-9", []),
        ("GPU-1,GPU-9,GPU-2222", [0]),
        ("GPU-1,GPU-22,GPU-2222", [0]),
        ("GPU-22222222-bb", []),
        ("0,GPU-1", [0]),
        ("GPU-1,0", [0]),
        ("GPU-1,MIG-1", [0]),
        ("0,0", []),
        ("0,1,0", []),
        ("0,-1,0", [0]),
        ("GPU-111,GPU-1111", []),
        ("1,7,0", [1]),
        ("99999999999999999999", []),
        ("9" * 5000, []),
        ("all", []),
        ("none", []),
        ("NoDevFiles", []),
    ],
    ids=lambda value: repr(value)[:24] if not isinstance(value, list) else "",
)
def test_the_list_is_read_as_cuda_reads_it(text, expected):
    assert numbers(visible(THREE, text, "PCI_BUS_ID")) == expected


@pytest.mark.parametrize("devices", [THREE, Devices(), Devices("none")], ids=["cards", "unknown", "none"])
@pytest.mark.parametrize("text", HIDES_ALL, ids=repr)
def test_a_list_that_no_host_has_a_card_for_hides_every_card(devices, text):
    seen = visible(devices, text, None)
    assert (seen.units, seen.hidden) == ((), True)


@pytest.mark.parametrize("text", [None, "0", "7", "GPU-9", "MIG-1"], ids=repr)
def test_a_list_that_some_host_has_a_card_for_hides_none(text):
    assert not visible(Devices(), text, None).hidden
    assert not visible(THREE, text, None).hidden


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("1,7,0", "entry 2 and what follows it, for there is no such card here"),
        ("7", "entry 1 and what follows it, for there is no such card here"),
        ("0,GPU-1", "entry 2 and what follows it, for numbers, UUIDs of cards and UUIDs of slices do not mix"),
        ("GPU-22", "entry 1 and what follows it, for it fits several cards"),
        ("all", "entry 1 and what follows it, for it is neither a number nor a UUID"),
        ("0,,1", "entry 2 and what follows it, for it is neither a number nor a UUID"),
        ("0,-1,1", "entry 2 and what follows it, for a negative number ends the list"),
        ("0,0", "all of the list, for a card is in it twice"),
        ("GPU-111,GPU-1111", "all of the list, for a card is in it twice"),
        ("MIG-9", "entry 1 and what follows it, for there is no such card here"),
    ],
)
def test_what_cuda_ignores_of_the_list_is_told(text, phrase):
    assert visible(THREE, text, None).dropped == phrase


def test_of_several_slices_all_but_the_first_are_ignored():
    seen = visible(host(DIVIDED, WHOLE), "MIG-bbbb-2,MIG-aaaa-1", None)
    assert seen.dropped == "entry 2 and what follows it, for a process sees one slice only"


@pytest.mark.parametrize("text", [None, "", "-1", "0,1", "0,-1", "0,", "0, ", "GPU-1,GPU-2233"], ids=repr)
def test_of_a_list_that_is_read_to_its_end_nothing_is_dropped(text):
    assert visible(THREE, text, None).dropped == ""


def test_what_is_not_known_of_the_host_is_not_held_against_the_list():
    assert visible(Devices(), "7", None) == Visible()


UNLIKE = host(card(0, "GPU-1", "A100"), card(1, "GPU-2", "GTX 1080"))


@pytest.mark.parametrize("text", [None, "0", "1,0"], ids=repr)
@pytest.mark.parametrize(
    ("devices", "order", "ordered"),
    [
        (UNLIKE, None, False),
        (UNLIKE, "FASTEST_FIRST", False),
        (UNLIKE, "PCI_BUS_ID", True),
        (THREE, None, True),
        (host(card(0, name=""), card(1, name="")), None, False),
        (host(card(0, name="a"), card(1, name="b"), vendor="amd"), None, True),
    ],
    ids=["unlike", "fastest first", "bus order", "alike", "names unknown", "AMD"],
)
def test_numbers_name_cards_surely_in_bus_order_or_when_all_are_alike(text, devices, order, ordered):
    assert visible(devices, text, order).ordered is ordered


def test_uuids_name_cards_surely_whatever_the_order():
    seen = visible(UNLIKE, "GPU-2,GPU-1", None)
    assert (numbers(seen), seen.ordered) == ([1, 0], True)


def test_an_only_card_is_the_first_in_any_order():
    assert visible(host(card(0, name="")), None, None).ordered


def test_a_card_that_may_not_be_opened_is_none_to_cuda():
    devices = host(card(0, "GPU-1", accessible=False), card(1, "GPU-2", accessible=True), card(2, "GPU-3"))
    assert numbers(visible(devices, None, None)) == [1, 2]
    assert numbers(visible(devices, "0", None)) == [1]
    assert numbers(visible(devices, "GPU-1", None)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, [SMALL, None]),
        ("0", [SMALL]),
        ("1", [None]),
        ("1,0", [None, SMALL]),
        ("GPU-1111", [SMALL]),
        ("MIG-aaaa-1", [SMALL]),
        ("MIG-B", [LARGE]),
        ("MIG-", []),
        ("MIG-c", []),
        ("MIG-bbbb-2,MIG-aaaa-1", [LARGE]),
        ("MIG-bbbb-2,MIG-bbbb-2", []),
        ("MIG-bbbb-2,0", [LARGE]),
    ],
    ids=repr,
)
def test_of_divided_cards_a_process_sees_one_slice(text, expected):
    assert [unit.slice for unit in visible(host(DIVIDED, WHOLE), text, None).units] == expected


def test_of_two_divided_cards_the_first_gives_the_slice():
    devices = host(DIVIDED, card(1, "GPU-3", mig=True, slices=(Slice("MIG-cccc"),)))
    assert visible(devices, None, None).units == (Unit(DIVIDED, SMALL),)
    seen = visible(devices, "1,0", None)
    assert seen.units[0].slice.uuid == "MIG-cccc"
    assert (len(seen.units), seen.dropped) == (1, "all slices but the first, for a process sees one slice only")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIG-GPU-1111-d/1/0", [Slice("")]),
        ("mig-gpu-1111-d/13/0", [Slice("")]),
        ("MIG-GPU-1111-d/1/0,MIG-GPU-1111-d/2/0", [Slice("")]),
        ("MIG-GPU-2222-w/1/0", []),
        ("MIG-GPU-1111-d", []),
        ("MIG-GPU-1111-d/x/0", []),
    ],
)
def test_the_older_name_of_a_slice_tells_the_card_but_not_which_slice(text, expected):
    seen = visible(host(DIVIDED, WHOLE), text, None)
    assert [unit.slice for unit in seen.units] == expected
    assert all(unit.total is None for unit in seen.units)


def test_the_older_name_of_a_slice_is_exact_when_the_card_has_one_or_names_it_so():
    old = Slice("MIG-GPU-1111-d/1/0", 7)
    for slices in ((old,), (old, Slice("MIG-GPU-1111-d/2/0", 8))):
        assert visible(host(DIVIDED._replace(slices=slices)), "MIG-GPU-1111-d/1/0", None).units[0].total == 7


@pytest.mark.parametrize(
    ("source", "mig", "units"),
    [("nvml", True, 1), ("nvml", None, 0), ("nvml", False, 0), ("nvidia-smi", True, 1), ("nvidia-smi", None, 1)],
)
def test_a_slice_that_the_source_cannot_list_is_visible_with_unknown_memory(source, mig, units):
    seen = visible(host(card(0, "GPU-1", total=5, mig=mig), source=source), "MIG-1234", None)
    assert len(seen.units) == units
    assert all(unit.slice == Slice("") and unit.total is None for unit in seen.units)


def test_a_divided_card_without_a_known_slice_has_unknown_memory():
    (unit,) = visible(host(card(0, total=5, mig=True)), "0", None).units
    assert (unit.total, unit.free) == (None, None)


@pytest.mark.parametrize(
    ("cards", "units", "ordered"),
    [
        ((card(0),), [0], True),
        ((card(0), card(1)), [0], False),
        ((card(0), card(1, "GPU-1234")), [1], True),
        ((card(0), card(1, "GPU-9")), [0], True),
    ],
    ids=["an only card", "one of two", "another one fits", "the other one does not fit"],
)
def test_a_card_whose_uuid_is_unknown_may_have_any(cards, units, ordered):
    seen = visible(host(*cards, source="proc"), "GPU-1234", None)
    assert (numbers(seen), seen.ordered) == (units, ordered)


def test_two_uuids_are_two_cards_even_where_none_is_known():
    seen = visible(host(card(0), card(1), source="proc"), "GPU-1,GPU-2", None)
    assert sorted(numbers(seen)) == [0, 1]


def test_a_thousand_cards_take_no_time():
    devices = host(*(card(number, f"GPU-{number:04}") for number in range(1000)))
    start = time.monotonic()
    assert len(visible(devices, ",".join(f"GPU-{number:04}" for number in range(1000)), None).units) == 1000
    assert len(visible(devices, None, None).units) == 1000
    assert time.monotonic() - start < 2


ENTRIES = st.sampled_from(
    ["0", "1", "2", "-1", "7", "GPU-1", "GPU-1111-d", "GPU-2", "MIG-a", "MIG-", "MIG-GPU-1111-d/1/0", "", "x"]
)
HOSTS = st.sampled_from(
    [Devices(), Devices("none"), THREE, UNLIKE, host(DIVIDED, WHOLE), host(WHOLE, DIVIDED, source="nvidia-smi")]
)


@given(HOSTS, st.text() | st.lists(ENTRIES).map(",".join), st.none() | st.text())
def test_any_list_gives_different_cards_of_the_host_and_at_most_one_slice(devices, text, order):
    seen = visible(devices, text, order)
    assert all(unit.card in devices.cards for unit in seen.units)
    assert len(set(seen.units)) == len(seen.units)
    assert sum(unit.slice is not None for unit in seen.units) <= 1
    assert not (seen.hidden and seen.units)


@given(st.lists(ENTRIES), st.lists(ENTRIES))
def test_what_stands_after_the_entry_where_reading_stops_changes_nothing(start, rest):
    devices = host(DIVIDED, WHOLE)
    stopped = visible(devices, ",".join([*start, "-1"]), None)
    assert visible(devices, ",".join([*start, "-1", *rest]), None).units == stopped.units
