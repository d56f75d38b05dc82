"""Settings in bytes of device memory are held against the cards that the ranks use."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.checks.device_memory import DEVICE_MEMORY
from mgelaunch.host.facts import Card, Devices, HostFacts, Memory

MIB, GIB = 1 << 20, 1 << 30
THRESHOLD, RESERVE = "MEGENGINE_DTR_EVICTION_THRESHOLD", "MGB_CUDA_RESERVE_MEMORY"
DROP, DEVICE = "MEGENGINE_DTR_AUTO_DROP", "MGE_DEFAULT_DEVICE"


def host(*memories, source="nvml", available=None):
    """A host with a card for each total, or pair of total and free."""
    pairs = [memory if isinstance(memory, tuple) else (memory, None) for memory in memories]
    cards = tuple(Card(n, uuid=f"GPU-{n}", name="A", total=total, free=free) for n, (total, free) in enumerate(pairs))
    source = source if cards or source != "nvml" else "none"
    return HostFacts(memory=Memory(total=64 * GIB, available=available), devices=Devices(source, "nvidia", cards))


def findings(situation):
    return [finding for check in DEVICE_MEMORY for finding in check(situation)]


def told(situation):
    return [(finding.severity, finding.code) for finding in findings(situation)]


def gone(situation, code, **said):
    """Whether each alternative of the remedy for `code`, pasted, makes that finding go; False without any."""
    (finding,) = [finding for finding in findings(situation(**said)) if finding.code == code]
    again = situation.repaired(finding, **said)
    return bool(again) and all(code not in {finding.code for finding in findings(each)} for each in again)


# The threshold of DTR.


@pytest.mark.parametrize(
    ("threshold", "ranks", "facts", "expected"),
    [
        pytest.param(8 * GIB, 1, host(8 * GIB), "warning", id="all of the card"),
        pytest.param(8 * GIB - 1, 1, host(8 * GIB), "info", id="a byte less"),
        pytest.param(9 * GIB, 1, host(10 * GIB), None, id="nine tenths of it"),
        pytest.param(9 * GIB + 1, 1, host(10 * GIB), "info", id="a byte more than nine tenths"),
        pytest.param(9 * GIB + 1, 1, host((10 * GIB, 9 * GIB)), "warning", id="a byte more, and that is not free"),
        pytest.param(4 * GIB, 2, host(8 * GIB), "warning", id="all of half a card"),
        pytest.param(4 * GIB - 1, 2, host(8 * GIB), "info", id="a byte less than half a card"),
        pytest.param(3 * GIB, 2, host(8 * GIB), None, id="less than half a card"),
        pytest.param(6 * GIB, 1, host((8 * GIB, 6 * GIB)), None, id="all that is free"),
        pytest.param(6 * GIB + 1, 1, host((8 * GIB, 6 * GIB)), "warning", id="a byte more than is free"),
        pytest.param(3 * GIB + 1, 2, host((8 * GIB, 6 * GIB)), "warning", id="more than a rank's part of what is free"),
        pytest.param(8 * GIB, 2, host(24 * GIB, 8 * GIB), "warning", id="the second rank's card is too small"),
        pytest.param(8 * GIB, 1, host(None), None, id="a card of unknown size"),
        pytest.param(8 * GIB, 1, host(), None, id="no card"),
    ],
)
def test_a_threshold_that_the_card_does_not_have_is_a_warning_and_a_high_one_a_note(
    situation, threshold, ranks, facts, expected
):
    said = {"sets": ((THRESHOLD, str(threshold)),), "ranks": ranks, "facts": facts}
    found = findings(situation(**said))
    assert [(f.severity, f.code, f.names, f.about) for f in found] == (
        [(expected, "dtr.mem", (THRESHOLD,), "job")] if expected else []
    )
    if expected:
        assert gone(situation, "dtr.mem", **said)


@pytest.mark.parametrize("free", [None, 8 * GIB, 3 * GIB])
@pytest.mark.parametrize("ranks", [1, 3])
def test_the_threshold_that_is_offered_fits(situation, free, ranks):
    assert gone(situation, "dtr.mem", sets=((THRESHOLD, "9GiB"),), ranks=ranks, facts=host((8 * GIB, free)))


def test_where_nothing_is_free_no_threshold_is_offered(situation):
    (finding,) = findings(situation(sets=((THRESHOLD, "1GiB"),), facts=host((8 * GIB, 1000))))
    assert (finding.code, finding.remedy) == ("dtr.mem", "")


def test_the_numbers_and_the_card_are_named(situation):
    (finding,) = findings(situation(sets=((THRESHOLD, "5GiB"),), ranks=2, facts=host(8 * GIB)))
    assert finding.message.startswith("card 0 (A) has 8.0 GiB for 2 ranks x 5.0 GiB")
    assert (finding.remedy, finding.place) == (f"-e {THRESHOLD}=3276MiB", "--set")


@pytest.mark.parametrize(
    ("threshold", "available", "expected"),
    [
        pytest.param("50%", 12 * GIB, False, id="half of it is available"),
        pytest.param("50%", 12 * GIB - 1, True, id="half of it is not"),
        pytest.param("12GiB", 1 * GIB, False, id="no percentage"),
        pytest.param("100GiB", 1 * GIB, False, id="no percentage, and more than the host has"),
        pytest.param("50%", None, False, id="unknown"),
    ],
)
def test_a_percentage_of_host_memory_that_is_not_available_is_a_warning(situation, threshold, available, expected):
    said = {"sets": ((THRESHOLD, threshold), (DEVICE, "cpu0")), "facts": host(8 * GIB, available=available)}
    assert told(situation(**said)) == ([("warning", "dtr.mem")] if expected else [])
    if expected:
        assert gone(situation, "dtr.mem", **said)


# Reserved memory.


@pytest.mark.parametrize(
    ("ranks", "device", "facts", "expected"),
    [
        pytest.param(1, None, host(16 * GIB), None, id="one rank, one card"),
        pytest.param(2, None, host(16 * GIB), "warning", id="two ranks, one card"),
        pytest.param(2, None, host(16 * GIB, 16 * GIB), None, id="two ranks, two cards"),
        pytest.param(3, None, host(16 * GIB, 16 * GIB), "warning", id="three ranks, two cards"),
        pytest.param(2, "gpu0", host(16 * GIB, 16 * GIB), "error", id="two ranks on the same of two cards"),
        pytest.param(2, "gpux", host(16 * GIB), "warning", id="two ranks on any card"),
        pytest.param(2, "cpu0", host(16 * GIB), None, id="two ranks on the CPU"),
        pytest.param(2, None, host(None), "warning", id="a card of unknown size"),
        pytest.param(2, None, HostFacts(), None, id="unknown cards"),
    ],
)
def test_two_ranks_that_name_a_card_cannot_both_reserve_nearly_all_of_it(situation, ranks, device, facts, expected):
    sets = ((RESERVE, "1"), *(((DEVICE, device),) if device else ()))
    said = {"sets": sets, "ranks": ranks, "facts": facts}
    assert told(situation(**said)) == ([(expected, "resv.share")] if expected else [])
    if expected:
        assert gone(situation, "resv.share", **said)


def test_a_size_that_all_ranks_can_reserve_is_offered(situation):
    (finding,) = findings(situation(sets=((RESERVE, "1"),), ranks=2, facts=host(16 * GIB)))
    assert finding.remedy == f"-e {RESERVE}=7372MiB"


def test_it_is_a_size_that_is_free(situation):
    (finding,) = findings(situation(sets=((RESERVE, "1"),), ranks=2, facts=host((16 * GIB, 8 * GIB))))
    assert finding.remedy == f"-e {RESERVE}=3686MiB"


def test_of_two_ranks_that_share_a_card_one_that_names_none_leaves_it_open(situation):
    facts = host(16 * GIB)
    silent = situation(sets=((RESERVE, "1"),), ranks=2, facts=facts)
    named = situation(sets=((RESERVE, "1"), (DEVICE, "gpu0")), ranks=2, facts=facts)
    mixed = named._replace(
        ranks=(named.ranks[0], silent.ranks[1]), placements=(named.placements[0], silent.placements[1])
    )
    assert (told(named), told(mixed)) == ([("error", "resv.share")], [("warning", "resv.share")])


@pytest.mark.parametrize(
    ("size", "ranks", "facts", "severity"),
    [
        pytest.param(8 * GIB, 2, host(16 * GIB), None, id="all of the card"),
        pytest.param(8 * GIB + MIB, 2, host(16 * GIB), "error", id="more than the card"),
        pytest.param(8 * GIB + MIB, 2, host(16 * GIB, 16 * GIB), None, id="a card each"),
        pytest.param(10 * GIB, 1, host((16 * GIB, 10 * GIB)), None, id="all that is free"),
        pytest.param(10 * GIB + MIB, 1, host((16 * GIB, 10 * GIB)), "warning", id="more than is free"),
        pytest.param(17 * GIB, 1, host(None), None, id="a card of unknown size"),
        pytest.param(17 * GIB, 1, HostFacts(), None, id="unknown cards"),
    ],
)
def test_more_than_a_card_has_cannot_be_reserved(situation, size, ranks, facts, severity):
    said = {"sets": ((RESERVE, f"b:{size}"),), "ranks": ranks, "facts": facts}
    assert told(situation(**said)) == ([(severity, "resv.sum")] if severity else [])
    if severity:
        assert gone(situation, "resv.sum", **said)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        pytest.param(((RESERVE, "1"), (DROP, "1")), True, id="DTR on"),
        pytest.param(((RESERVE, "1"), (THRESHOLD, "1GiB")), True, id="a threshold"),
        pytest.param(((RESERVE, "1"), (THRESHOLD, "0")), False, id="no threshold"),
        pytest.param(((RESERVE, "1"),), False, id="no DTR"),
        pytest.param(((RESERVE, "1GiB"), (DROP, "1")), False, id="a size"),
        pytest.param(((RESERVE, "1"), (DROP, "1"), (DEVICE, "cpu0")), False, id="on the CPU"),
    ],
)
def test_what_dtr_counts_beside_a_reserve_is_a_note(situation, sets, expected):
    said = {"sets": sets, "facts": host(16 * GIB)}
    assert told(situation(**said)) == ([("info", "resv.dtr")] if expected else [])
    if expected:
        assert gone(situation, "resv.dtr", **said)


# Unlike cards, of which only CUDA knows which one the job gets.

ORDER = "CUDA_DEVICE_ORDER"
UNLIKE = HostFacts(
    devices=Devices("nvml", "nvidia", (Card(0, name="A", total=8 * GIB), Card(1, name="B", total=24 * GIB)))
)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        pytest.param(RESERVE, 8 * GIB + MIB, None, id="a reservation above the smaller one"),
        pytest.param(RESERVE, 24 * GIB, None, id="a reservation of all of the larger one"),
        pytest.param(RESERVE, 24 * GIB + MIB, ("error", "resv.sum"), id="a reservation above the larger one"),
        pytest.param(THRESHOLD, 8 * GIB + MIB, None, id="a threshold above the smaller one"),
        pytest.param(THRESHOLD, 24 * GIB - MIB, ("info", "dtr.mem"), id="a threshold of nearly all of the larger one"),
        pytest.param(THRESHOLD, 24 * GIB, ("warning", "dtr.mem"), id="a threshold of all of the larger one"),
    ],
)
def test_what_is_beyond_the_largest_of_unlike_cards_is_beyond_whichever_it_is(situation, name, size, expected):
    said = {"sets": ((name, f"b:{size}" if name == RESERVE else str(size)),), "facts": UNLIKE}
    found = findings(situation(**said))
    assert [(finding.severity, finding.code) for finding in found] == ([expected] if expected else [])
    if expected:
        assert "card 1 (B) has 24.0 GiB" in found[0].message
        assert gone(situation, expected[1], **said)


@pytest.mark.parametrize(
    ("name", "expected"), [(RESERVE, ("error", "resv.sum")), (THRESHOLD, ("warning", "dtr.mem"))], ids=["size", "DTR"]
)
def test_only_the_largest_of_those_that_are_visible_counts(situation, name, expected):
    size = 9 * GIB
    said = {"sets": ((name, f"b:{size}" if name == RESERVE else str(size)),), "facts": UNLIKE}
    assert told(situation(shell={"CUDA_VISIBLE_DEVICES": "0,1"}, **said)) == []
    assert told(situation(shell={"CUDA_VISIBLE_DEVICES": "0", ORDER: "PCI_BUS_ID"}, **said)) == [expected]


# What profiles require.


@pytest.mark.parametrize(
    ("facts", "more", "expected"),
    [
        pytest.param(host(6 * GIB), {}, None, id="exactly as much"),
        pytest.param(host(6 * GIB - 1), {}, ("error", "requires.device-memory"), id="a byte less"),
        pytest.param(host(8 * GIB, 4 * GIB), {}, None, id="a small card that is not used"),
        pytest.param(host(8 * GIB, 4 * GIB), {"ranks": 2}, ("error", "requires.device-memory"), id="one that is"),
        pytest.param(host((8 * GIB, GIB)), {}, None, id="little of it free"),
        pytest.param(host(8 * GIB), {"ranks": 2}, None, id="the total counts, not a rank's part"),
        pytest.param(host(None), {}, ("warning", "requires.unchecked"), id="a card of unknown size"),
        pytest.param(host(source="unknown"), {}, ("warning", "requires.unchecked"), id="unknown cards"),
        pytest.param(HostFacts(), {}, ("warning", "requires.unchecked"), id="nothing measured"),
        pytest.param(host(), {}, ("error", "requires.device-memory"), id="no card"),
        pytest.param(host(8 * GIB), {"options": f"-e {DEVICE}=cpu0"}, ("error", "requires.device-memory"), id="a CPU"),
        pytest.param(host(8 * GIB), {"options": "--gpu-ids none"}, ("error", "requires.device-memory"), id="hidden"),
    ],
)
def test_device_memory_is_required_of_each_card_in_use(situation, facts, more, expected):
    situation.project.profile("p", '[requires]\ndevice-memory = "6GiB"')
    found = findings(situation("p", facts=facts, **more))
    assert [(finding.severity, finding.code) for finding in found] == ([expected] if expected else [])
    assert all(finding.place.startswith(".mgelaunch/p.toml:2:") for finding in found)


@pytest.mark.parametrize(
    ("facts", "more"),
    [
        pytest.param(host(4 * GIB, 8 * GIB), {}, id="another card is larger"),
        pytest.param(host(8 * GIB, 4 * GIB, 8 * GIB), {"ranks": 2}, id="two others are"),
        pytest.param(host(8 * GIB), {"options": "--device cpu0"}, id="the job is on the CPU"),
        pytest.param(host(8 * GIB, 8 * GIB), {"options": "--device cpu0", "ranks": 2}, id="two ranks are"),
    ],
)
def test_a_card_that_is_large_enough_is_offered(situation, facts, more):
    situation.project.profile("p", '[requires]\ndevice-memory = "6GiB"')
    (finding,) = findings(situation("p", facts=facts, **more))
    options = f"{more.pop('options', '')} {finding.remedy}"
    assert finding.remedy
    assert findings(situation("p", facts=facts, options=options, **more)) == []


def test_where_no_card_is_large_enough_none_is_offered(situation):
    situation.project.profile("p", '[requires]\ndevice-memory = "6GiB"')
    (finding,) = findings(situation("p", facts=host(4 * GIB, 4 * GIB)))
    assert finding.remedy == "--ignore requires.device-memory"
    assert "requires 6.0 GiB on each card, and card 0 (A) has 4.0 GiB" in finding.message


@pytest.mark.parametrize(
    ("large", "small", "shell", "expected"),
    [
        pytest.param(8 * GIB, 6 * GIB, {}, None, id="both are large enough"),
        pytest.param(5 * GIB, 4 * GIB, {}, ("error", "requires.device-memory"), id="neither is"),
        pytest.param(8 * GIB, 4 * GIB, {}, ("warning", "requires.unchecked"), id="one is"),
        pytest.param(8 * GIB, 4 * GIB, {"CUDA_VISIBLE_DEVICES": "0"}, ("warning", "requires.unchecked"), id="a number"),
    ],
)
def test_which_of_unlike_cards_a_job_gets_must_be_known(situation, large, small, shell, expected):
    situation.project.profile("p", '[requires]\ndevice-memory = "6GiB"')
    cards = (Card(0, name="A", total=large), Card(1, name="B", total=small))
    said = {"shell": shell, "facts": HostFacts(devices=Devices("nvml", "nvidia", cards))}
    found = findings(situation("p", **said))
    assert [(finding.severity, finding.code) for finding in found] == ([expected] if expected else [])
    if expected and expected[0] == "warning":
        assert findings(situation("p", options=found[0].remedy, **said)) == []


# Whatever is said and measured.

AMOUNTS = st.none() | st.integers(0, 1 << 64)
SIZES = st.sampled_from(["1", "0", "80%", "b:1", "8GiB", "b:8GiB", "9999999999999", "x", "1MiB", "-1"])


@settings(max_examples=60, deadline=None)
@given(
    memories=st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=3),
    source=st.sampled_from(["nvml", "proc", "unknown", "none", "sysfs"]),
    said=st.dictionaries(st.sampled_from([THRESHOLD, RESERVE, "MGB_ROCM_RESERVE_MEMORY", DROP]), SIZES),
    device=st.sampled_from(["gpu0", "gpu1", "xpux", "cpu0", "rocm0", "gpux", ""]),
    cards=st.sampled_from(["0", "1,0", "7", "-1", "", "GPU-0", "GPU-9", "MIG-1"]),
    ranks=st.integers(1, 4),
    available=AMOUNTS,
)
def test_no_check_ever_raises(new_situation, memories, source, said, device, cards, ranks, available):
    facts = host(*memories, source=source, available=available)
    shell = {**said, DEVICE: device, "CUDA_VISIBLE_DEVICES": cards}
    situation = new_situation()
    situation.project.profile("p", '[requires]\ndevice-memory = "6GiB"')
    findings(situation("p", shell=shell, ranks=ranks, facts=facts))


@pytest.mark.parametrize("text", ["1", "8GiB", "80%"])
def test_nothing_is_said_where_nothing_is_known(situation, text):
    assert findings(situation(sets=((RESERVE, text), (THRESHOLD, text), (DROP, "1")), ranks=2)) == []
