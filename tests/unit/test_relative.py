"""Relative values: a share of a total, a path from a folder; and the totals that this host can tell."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.environment.relative import absolute, share


@pytest.mark.parametrize(
    ("percent", "total", "sharers", "amount"),
    [
        pytest.param(50, 32, 1, 16, id="half"),
        pytest.param(100, 32, 1, 32, id="all"),
        pytest.param(33.3, 1000, 1, 333, id="a decimal"),
        pytest.param(50, 5, 1, 2, id="rounded down"),
        pytest.param(50, 32, 5, 3, id="shared, rounded down"),
        pytest.param(1, 10, 1, 0, id="less than one"),
        pytest.param(100, (1 << 40) - 1, 1, (1 << 40) - 1, id="a large total, exactly"),
    ],
)
def test_a_share_is_a_percentage_of_the_total_divided_by_those_who_share_it(percent, total, sharers, amount):
    assert share(percent, total, sharers) == amount


@settings(max_examples=100, deadline=None, database=None)
@given(st.floats(0.1, 100), st.integers(0, 1 << 44), st.integers(1, 64))
def test_the_ranks_together_never_get_more_than_the_total(percent, total, sharers):
    assert 0 <= share(percent, total, sharers) * sharers <= total


@pytest.mark.parametrize(
    ("written", "gets"),
    [
        ("/a/b", "/a/b"),
        ("b", "/project/b"),
        ("./b", "/project/b"),
        ("../b", "/b"),
        (".", "/project"),
        ("~", "/home/me"),
        ("~/b", "/home/me/b"),
        ("$HOME", "/home/me"),
        ("$HOME/b", "/home/me/b"),
        ("${HOME}/b", "/home/me/b"),
        ("~/../b", "/home/b"),
        # Whose home these are would be a guess.
        ("~you/b", "/project/~you/b"),
        ("$HOMES/b", "/project/$HOMES/b"),
        ("a/~", "/project/a/~"),
        ("", ""),
    ],
)
def test_a_path_is_made_absolute_from_its_folder_and_home_is_written_out(written, gets):
    assert absolute(written, "/project", "/home/me") == gets
