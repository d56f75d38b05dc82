"""What is said about a fix: where it would help, where it has nothing to do, and where it cannot be done."""

import pytest

from mgelaunch.checks.repairs import REPAIRS
from mgelaunch.host.facts import Card, Devices, HostFacts

STRATEGY, AUTO, DEVICE = "MEGENGINE_EXECUTION_STRATEGY", "MEGENGINE_DTR_AUTO_DROP", "MGE_DEFAULT_DEVICE"


def host(cards):
    devices = Devices("nvml" if cards else "none", "nvidia", tuple(Card(n, uuid=f"GPU-{n}") for n in range(cards)))
    return HostFacts(devices=devices)


@pytest.mark.parametrize(
    ("fixes", "said", "cards", "expected"),
    [
        pytest.param(["execution-strategy"], {STRATEGY: "PROFILE"}, 0, [], id="a strategy"),
        pytest.param(["execution-strategy"], {STRATEGY: "PROFILE_REPRODUCIBLE"}, 0, [], id="two strategies"),
        pytest.param(["execution-strategy"], {STRATEGY: "heuristic_reproduceable"}, 0, [], id="the page's spelling"),
        pytest.param(
            ["execution-strategy"], {STRATEGY: "OPTIMIZED"}, 0, ["error fix.value"], id="no strategy any more"
        ),
        pytest.param(["execution-strategy"], {STRATEGY: "PROFIL"}, 0, ["error fix.value"], id="no strategy"),
        pytest.param(["execution-strategy"], {}, 0, ["info fix.idle"], id="no variable"),
        pytest.param([], {STRATEGY: "PROFIL"}, 0, [], id="nobody reads it"),
        pytest.param(["dtr-allocator"], {AUTO: "1"}, 1, [], id="an allocator on a card"),
        pytest.param(["dtr-allocator"], {AUTO: "1"}, 0, ["info fix.cpu"], id="an allocator without a card"),
        pytest.param(["dtr-allocator"], {AUTO: "1", DEVICE: "cpu0"}, 1, ["info fix.cpu"], id="an allocator on the CPU"),
        pytest.param(["dtr-allocator"], {AUTO: "0"}, 1, ["info fix.idle"], id="DTR is off"),
        pytest.param(["dtr-allocator"], {}, 1, ["info fix.idle"], id="no DTR"),
        pytest.param([], {AUTO: "1"}, 1, ["info dtr.allocator"], id="no allocator on a card"),
        pytest.param([], {AUTO: "1"}, 0, [], id="no allocator without a card"),
        pytest.param([], {}, 1, [], id="nothing of all this"),
    ],
)
def test_a_fix_is_offered_where_it_helps_and_questioned_where_it_does_not(situation, fixes, said, cards, expected):
    found = situation(sets=tuple(said.items()), facts=host(cards), fixes=fixes)
    assert [f"{each.severity} {each.code}" for check in REPAIRS for each in check(found)] == expected


def test_the_allocator_is_offered_by_the_option_that_installs_it(situation):
    found = situation(sets=((AUTO, "1"),), facts=host(1))
    assert [each.remedy for check in REPAIRS for each in check(found)] == ["--fix dtr-allocator"]


def test_no_value_is_repeated(situation):
    found = situation(sets=((STRATEGY, "geheim"),), fixes=["execution-strategy"])
    assert "geheim" not in " ".join(map(str, (each for check in REPAIRS for each in check(found))))
