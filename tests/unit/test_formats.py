"""The environment in the words of others: what is printed is read back as it was, or the format refuses by name."""

import re
import shlex

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.environment.env_file import read_env_file
from mgelaunch.environment.source import Reference, Source
from mgelaunch.report.formats import FORMATS, docker, dotenv, fish, sh

LIMITED = settings(max_examples=300, deadline=None, database=None)
TEXT = st.text(
    st.one_of(st.sampled_from("ab \t\n\r'\"\\$`{}!#;&|*~=é显\u2028\x1b"), st.characters(exclude_characters="\0"))
)
TRICKY = [
    "", "plain", "/a:b,c@d%e+f-g_h", "a b", " a ", "it's", 'say "x"', "$HOME", "${HOME}", "$(id)", "`id`", "a\\b", "a\\\\b",
    "a\\", "a\nb", "a\rb", "#a", "a #b", "a;b", "*", "!x", "~/x", "{}", "&&", "--", "显存", '{"a": [1, "b"]}', "x=y", "\x1b[1m",
]  # fmt: skip
tricky = pytest.mark.parametrize("text", TRICKY)


def test_the_five_lines():
    assert [form("X", "a b") for form in (sh, fish, dotenv, docker)] == [
        "export X='a b'",
        "set -gx X 'a b'",
        "X='a b'",
        "X=a b",
    ]
    assert (sh("X", None), fish("X", None)) == ("unset X", "set -e X")


# sh


def sh_reads(line):
    """The value that a POSIX shell would export."""
    command, assignment = shlex.split(line)
    assert command == "export"
    return assignment.removeprefix("X=")


@tricky
def test_a_posix_shell_reads_the_value_back(text):
    assert sh_reads(sh("X", text)) == text


@LIMITED
@given(TEXT)
def test_a_posix_shell_reads_any_value_back(text):
    assert sh_reads(sh("X", text)) == text


# fish


def fish_reads(line):
    r"""The value that fish would export: in its single quotes only ``\\`` and ``\'`` are escapes."""
    body = re.fullmatch(r"set -gx X '((?:[^'\\]|\\.)*)'", line, re.DOTALL)
    assert body, line
    return re.sub(r"\\([\\'])", r"\1", body[1])


@tricky
def test_fish_reads_the_value_back(text):
    assert fish_reads(fish("X", text)) == text


@LIMITED
@given(TEXT)
def test_fish_reads_any_value_back(text):
    assert fish_reads(fish("X", text)) == text


# dotenv


def dotenv_reads(line, tmp_path):
    """The value for python-dotenv and the one for mgelaunch itself."""
    path = tmp_path / "x.env"
    path.write_text(line, "utf-8", newline="")
    file = {"path": "x.env", "label": "x.env", "folder": "/", "source": Source.ENV_FILE}
    ours = read_env_file(path.read_bytes(), **file, lookup=lambda *_: Reference(None), is_path=lambda _: False)
    (assignment,) = ours.assignments
    return dotenv_values(path)["X"], assignment.text


REFUSED = ["it's", "${HOME}", "a\\\\b", "a\\", "a\nb", "a\rb", "a\udcff", None]


@pytest.mark.parametrize("text", [text for text in TRICKY if text not in REFUSED])
def test_readers_of_env_files_read_the_value_back(text, tmp_path):
    assert dotenv_reads(dotenv("X", text), tmp_path) == (text, text)


@pytest.mark.parametrize("text", REFUSED)
def test_what_they_would_read_differently_is_refused(text):
    assert not isinstance(dotenv("X", text), str)


@LIMITED
@given(text=TEXT)
def test_they_read_any_value_back_that_is_not_refused(text, tmp_path_factory):
    line = dotenv("X", text)
    if isinstance(line, str):
        assert dotenv_reads(line, tmp_path_factory.getbasetemp()) == (text, text)


# docker


@pytest.mark.parametrize("text", [text for text in TRICKY if "\n" not in text and "\r" not in text])
def test_docker_keeps_every_character_so_nothing_is_quoted(text):
    assert docker("X", text) == f"X={text}"


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\n", "a\udcff", None])
def test_what_docker_cannot_carry_is_refused(text):
    assert not isinstance(docker("X", text), str)


# All of them.


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", [f"hunter2{text}" for text in ("", "'", "${X}", "\\", "\n", "\udcff")])
def test_a_refusal_is_a_phrase_without_the_value(form, text):
    said = FORMATS[form]("X", text)
    assert isinstance(said, str) or "hunter2" not in repr(said)
