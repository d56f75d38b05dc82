"""Lists of hosts mean to mgelaunch what they mean to Slurm's own scontrol."""

import random

import pytest

from mgelaunch.clusters.hostlist import hosts

LISTS = [
    "n1",
    "a,b,c",
    "n1.example.org,n2.example.org",
    "n[1-2]",
    "n[1-2,4]",
    "n[1-2],m3",
    "n[1-2], m3",
    "n[9-11]",
    "n[09-11]",
    "n[01-2]",
    "n[1-02]",
    "dgx[098-102]",
    "n[2,1]",
    "n[1,1]",
    "a[1],b[2]",
    "a[1-2]b[3-4]",
    "tux[0-1,5-7]-rack[01-02]",
    "n[0-9,010-012]",
    "n[5,3-4,3]",
    "a1b[2-3],c",
]
NO_LISTS = ["n[3-1]", "n[]", "n[a-b]", "n[1-2]]"]


@pytest.fixture(scope="module")
def names(slurm):
    """A function that asks scontrol for the names of a list; none when it is no list."""

    def ask(text):
        return tuple(slurm.cluster.run("hub", "scontrol", "show", "hostnames", text).stdout.split())

    return ask


@pytest.mark.parametrize("text", LISTS)
def test_names_and_their_order_are_those_of_scontrol(names, text):
    assert hosts(text) == names(text)


@pytest.mark.parametrize("text", NO_LISTS)
def test_what_scontrol_does_not_take_is_no_list(names, text):
    """It says so on stderr, prints nothing and ends with 0."""
    assert names(text) == ()
    with pytest.raises(ValueError, match=r"."):
        hosts(text)


def test_text_after_the_last_bracket_is_taken_though_slurm_22_does_not(names):
    """Newer ones write it."""
    assert names("gpu-[001-003,007]-ib") in ((), ("gpu-001-ib", "gpu-002-ib", "gpu-003-ib", "gpu-007-ib"))
    assert hosts("gpu-[001-003,007]-ib") == ("gpu-001-ib", "gpu-002-ib", "gpu-003-ib", "gpu-007-ib")


def test_a_bracket_that_is_never_closed_is_no_list():
    """Slurm 22 makes the name `n]` of it."""
    with pytest.raises(ValueError, match=r"."):
        hosts("n[1-2")


def test_lists_that_nobody_thought_of_mean_the_same(names):
    """The same two hundred at every run: joined, so that scontrol is started once."""
    dice = random.Random(5)

    def numbers():
        width, first = dice.choice((1, 1, 2, 3)), dice.randrange(0, 12)
        last = f"-{first + dice.randrange(0, 4):0{width}d}" if dice.random() < 0.6 else ""
        return f"{first:0{width}d}{last}"

    def brackets():
        return f"[{','.join(numbers() for _ in range(dice.randrange(1, 4)))}]"

    def item():
        return f"{dice.choice('abn')}{brackets()}" + (f"-r{brackets()}" if dice.random() < 0.3 else "")

    text = ",".join(item() if dice.random() < 0.8 else f"host{dice.randrange(9)}" for _ in range(200))
    assert hosts(text) == names(text)


def test_a_list_that_slurm_wrote_is_read_back(slurm):
    for text in ("n1,n2,n4", "rack1-n07,rack1-n08,rack2-n01", "n10,n9,n8"):
        written = slurm.tell("scontrol", "show", "hostlist", text)
        assert ",".join(hosts(written)) == text, written
