"""Values and findings on one line each: secrets masked, nothing invisible, columns counted as a terminal does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.finding import Finding
from mgelaunch.report.text import MASK, line, masked, padded, shown, width


@pytest.mark.parametrize(
    ("text", "gets"),
    [
        pytest.param("5368709120", "5368709120", id="plain"),
        pytest.param("a b", "a b", id="blank inside"),
        pytest.param("显存", "显存", id="chinese"),
        pytest.param(None, "-", id="nothing"),
        pytest.param("", '""', id="empty"),
        pytest.param(" a", '" a"', id="blank before"),
        pytest.param("a ", '"a "', id="blank behind"),
        pytest.param("a\nb\tc\x1b[1m", r"a\nb\tc\x1b[1m", id="control characters"),
        pytest.param("a\u200bb\xa0", r"a\u200bb\xa0", id="invisible characters"),
        pytest.param("a\udcff", r"a\udcff", id="a byte that is no text"),
    ],
)
def test_a_value_is_shown_on_one_line_with_nothing_invisible(text, gets):
    assert shown(text) == gets


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(st.characters(exclude_categories=())))
def test_whatever_is_shown_is_printable(text):
    assert shown(text).isprintable()


ADDRESSES = [
    ("redis://:hunter2@localhost:6379", f"redis://:{MASK}@localhost:6379"),
    ("https://me:hunter2@host/path?x=y", f"https://me:{MASK}@host/path?x=y"),
    ("a,https://me:hunter2@one,git+ssh://u:hunter2@two", f"a,https://me:{MASK}@one,git+ssh://u:{MASK}@two"),
    ("redis://:hun@ter2@localhost", f"redis://:{MASK}@localhost"),
    ("http://host:8080/a@b", "http://host:8080/a@b"),
    ("me:you@host", "me:you@host"),
]


@pytest.mark.parametrize(("text", "gets"), ADDRESSES, ids=[text for text, _ in ADDRESSES])
def test_the_password_of_an_address_is_masked(text, gets):
    assert shown(text) == gets
    assert masked(text, secret=False) == gets


@pytest.mark.parametrize("text", ["hunter2", "", "a\nhunter2"])
def test_a_secret_is_masked_as_a_whole(text):
    assert shown(text, secret=True) == masked(text, secret=True) == MASK


def test_a_secret_that_is_not_set_is_nothing_to_mask():
    assert (shown(None, secret=True), masked(None, secret=True)) == ("-", None)


def test_json_gets_other_texts_as_they_are():
    assert masked(" a\n", secret=False) == " a\n"


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("显存", 4), ("ａ", 2), ("e\u0301", 1), ("é", 1), ("🙂", 2), ("a显b", 4)],
)
def test_wide_characters_take_two_columns_and_combining_ones_none(text, columns):
    assert width(text) == columns
    assert width(padded(text, 10)) == 10


def test_a_finding_is_one_line_with_its_place_remedy_and_code():
    finding = Finding("error", "value.unit", "X is not a size", ("X",), "-e X=8GiB", ".env:3:5")
    assert line(finding) == "mgelaunch: error: .env:3:5: X is not a size; try -e X=8GiB [value.unit]"


def test_what_a_finding_lacks_leaves_no_trace_and_information_is_a_note():
    assert line(Finding("info", "shell.beaten", "it gives way")) == "mgelaunch: note: it gives way [shell.beaten]"
    assert line(Finding("warning", "a.b", "c", place="--set")) == "mgelaunch: warning: --set: c [a.b]"
