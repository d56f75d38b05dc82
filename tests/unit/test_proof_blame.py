"""Whom to blame: the rules that hold whatever fails, tried on starts that are sets of names."""

from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.launch.blame import Blame, blame

NAMES = tuple("ABCDEFGHIJKL")
NEEDED = ("P", "Q")
groups = st.lists(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3).map(frozenset), min_size=1, max_size=3)


def tried(guilty, names=NAMES, needed=(), most=1000):
    """What is found out about a start that fails as soon as one of the `guilty` sets is all there, and what was tried."""
    tries = []

    def fails(kept):
        tries.append(kept)
        return any(group <= kept for group in guilty)

    return blame(names, needed, fails, most), tries


def found(*guilty, **more):
    return tried([frozenset(group) for group in guilty], **more)[0]


@given(groups)
def test_each_group_fails_and_none_of_its_members_can_be_spared(guilty):
    for group in found(*guilty).guilty:
        assert any(fails <= set(group) for fails in guilty)
        for member in group:
            assert not any(fails <= set(group) - {member} for fails in guilty)


@given(groups)
def test_without_all_that_are_blamed_the_start_works(guilty):
    result = found(*guilty)
    left = set(NAMES) - {name for group in result.guilty for name in group}
    assert result.works
    assert not any(group <= left for group in guilty)


@given(groups)
def test_nothing_is_tried_twice_and_nothing_that_is_known(guilty):
    result, tries = tried(guilty)
    assert len(set(tries)) == len(tries) == result.tries
    assert frozenset(NAMES) not in tries or result.guilty == (NAMES,)


@given(groups, st.integers(0, 12))
def test_there_are_never_more_tries_than_allowed(guilty, most):
    result, tries = tried(guilty, most=most)
    assert len(tries) <= most
    assert not result.broken


def test_one_of_many_is_found_in_about_two_tries_for_each_halving():
    names = tuple(f"N{number}" for number in range(64))
    for name in names:
        result, tries = tried([frozenset({name})], names)
        assert result.guilty == ((name,),)
        assert len(tries) <= 2 * 6 + 3  # ... and none at all, it alone, all without it


def test_a_start_that_fails_with_none_of_them_is_broken():
    assert found(()) == Blame(broken=True, tries=1)
    assert found((), names=()) == Blame(broken=True)
    assert found((), needed=NEEDED) == Blame(broken=True, tries=4)


def test_what_the_target_needs_is_not_suspected_when_another_is_to_blame():
    result = found(("C", "P"), needed=NEEDED)
    assert (result.guilty, result.works) == ((("C",),), True)


def test_what_the_target_needs_is_blamed_when_it_fails_without_the_others():
    result = found(("Q",), needed=NEEDED)
    assert (result.guilty, result.works) == ((("Q",),), True)


def test_one_that_is_needed_is_blamed_although_nothing_works_without_another():
    result = blame(NAMES, NEEDED, lambda kept: "Q" in kept or "P" not in kept, 100)
    assert (result.guilty, result.works) == ((("Q",),), True)


def test_several_are_blamed_one_by_one():
    result = found(("B",), ("K", "L"), ("E",))
    assert {frozenset(group) for group in result.guilty} == {frozenset("B"), frozenset("KL"), frozenset("E")}


def test_a_failure_that_does_not_come_back_is_nobodys():
    assert found() == Blame(tries=found().tries)


def test_what_was_found_before_the_tries_ran_out_is_told():
    everything = [found(("A",), ("H",), most=most) for most in range(30)]
    assert everything[0] == Blame()
    assert (everything[-1].works, len(everything[-1].guilty)) == (True, 2)
    assert any(result.guilty == (("A",),) and not result.works for result in everything)
