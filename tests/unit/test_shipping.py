"""Layers that travel to another host arrive as they were read."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.environment.layers import Demand, Layers
from mgelaunch.environment.profile_sections import LaunchKey, Requirement
from mgelaunch.environment.shipping import from_document, packed, to_document, unpacked
from mgelaunch.environment.source import INHERITED, Assignment, Source
from mgelaunch.finding import Finding

STAYING = INHERITED | {Source.DERIVED, Source.OWNED}
TEXT = st.text(st.characters(exclude_characters="\0"), max_size=12)
"""Lone surrogates among it: so Python keeps bytes that are no UTF-8."""
FINDINGS = st.builds(
    Finding,
    st.sampled_from(("error", "warning", "info")),
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=2).map(tuple),
    TEXT,
    TEXT,
    st.sampled_from(("job", "host")),
)
NAMES = st.sampled_from(("A", "B", "MGE_DEFAULT_DEVICE"))


def assignments(sources):
    fields = (NAMES, st.none() | TEXT, st.sampled_from(sorted(sources)), TEXT, TEXT, TEXT)
    return st.builds(Assignment, *fields, st.booleans(), st.booleans(), st.none() | FINDINGS)


def layers_of(sources):
    """Layers with every field that travels."""
    values = st.booleans() | st.integers() | st.floats(0, 1e6) | TEXT | st.lists(TEXT, max_size=3).map(tuple)
    return st.builds(
        Layers,
        st.lists(assignments(sources), max_size=8).map(_by_name),
        st.lists(st.builds(Demand, TEXT, TEXT, TEXT, TEXT), max_size=2).map(tuple),
        st.frozensets(TEXT, max_size=3),
        st.lists(st.builds(LaunchKey, TEXT, values, TEXT, TEXT), max_size=3).map(tuple),
        st.lists(st.builds(Requirement, TEXT, TEXT | st.integers(0), TEXT, TEXT), max_size=2).map(tuple),
        *[st.just(())] * 4,
    )


def _by_name(said):
    found = {}
    for assignment in said:
        found[assignment.name] = (*found.get(assignment.name, ()), assignment)
    return found


def sent(layers):
    return from_document(unpacked(packed({"layers": to_document(layers)}))["layers"])


@given(layers_of(set(Source) - STAYING))
def test_what_files_and_flags_say_arrives_with_every_field(layers):
    arrived = sent(layers)
    assert arrived == layers
    for said in arrived.assignments.values():
        assert all(type(each.source) is Source for each in said)
        assert all(each.broken is None or type(each.broken) is Finding for each in said)


@given(layers_of(set(Source)))
def test_what_the_shell_says_or_mgelaunch_derives_stays(layers):
    """The one travels by itself, the other is derived anew where a rank runs."""
    expected = [each for said in layers.assignments.values() for each in said if each.source not in STAYING]
    assert [each for said in sent(layers).assignments.values() for each in said] == expected


@given(st.dictionaries(TEXT, TEXT))
def test_a_packed_document_is_one_word_that_no_shell_or_engine_changes(document):
    word = packed(document)
    assert set(word) <= set(string.ascii_letters + string.digits + "+/=")
    assert unpacked(word) == document


@pytest.mark.parametrize("word", ["", "no base64", "ä", "AAAA", base64.b64encode(b"x").decode(), packed([1])])
def test_what_was_not_packed_is_told(word):
    with pytest.raises(ValueError):  # noqa: PT011 - which one it is depends on where it breaks
        unpacked(word)


def test_a_packed_document_that_was_cut_is_told():
    with pytest.raises(ValueError):  # noqa: PT011
        unpacked(packed({"a": list(range(100))})[:40])
