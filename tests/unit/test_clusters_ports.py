"""The port on which ranks agree without a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.clusters.ports import agreed_port, other_port


@pytest.mark.parametrize(
    ("key", "port"),
    [("1.0", 29765), ("42.0", 25556), ("42.1", 24002), ("3347185665", 22377), ("job129400", 23721)],
)
def test_p1_a_key_has_the_port_that_every_version_gives_it(key, port):
    assert agreed_port(key) == port


@given(st.text())
def test_p1_every_port_is_below_those_that_the_kernel_takes_by_itself(key):
    assert 20000 <= agreed_port(key) < 30000


def test_p1_a_key_that_is_no_text_has_a_port_too():
    assert 20000 <= agreed_port("job\udcff") < 30000


@given(st.text(), st.integers(0, 65535))
def test_the_other_port_is_never_the_one_that_is_taken(key, taken):
    assert 20000 <= other_port(key, taken) < 30000
    assert other_port(key, taken) != taken


def test_the_other_port_of_the_last_is_the_first():
    key = next(str(number) for number in range(10**6) if agreed_port(str(number)) == 29999)
    assert other_port(key, 29999) == 20000
