"""Every key and every item of a TOML document has a line and a column."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.environment.toml_positions import NotTomlError, parse, positions


def places(text):
    return {path: (position.line, position.column) for path, position in positions(text).items()}


def paths(value, above=()):
    """The paths of all keys and items of a parsed document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*above, key)
        yield from paths(inner, (*above, key))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a = 1\n  b = 2\n", {("a",): (1, 1), ("b",): (2, 3)}, id="keys"),
        pytest.param("[env]\nA = 1\n", {("env",): (1, 2), ("env", "A"): (2, 1)}, id="table"),
        pytest.param(
            "[rank.env]\nA = 1\n",
            {("rank",): (1, 2), ("rank", "env"): (1, 7), ("rank", "env", "A"): (2, 1)},
            id="header",
        ),
        pytest.param("a . b = 1\n", {("a",): (1, 1), ("a", "b"): (1, 5)}, id="dotted key"),
        pytest.param("'a.b' = 1\n", {("a.b",): (1, 1)}, id="key in single quotes"),
        pytest.param('"\\u0041 \\"" = 1\nb = 2', {('A "',): (1, 1), ("b",): (2, 1)}, id="key with escapes"),
        pytest.param(
            "A = { default = 1, secret = true }",
            {("A",): (1, 1), ("A", "default"): (1, 7), ("A", "secret"): (1, 20)},
            id="inline table",
        ),
        pytest.param(
            "a = [ # one\n  'x', # two ]\n\n  'y',\n]\nb = 1",
            {("a",): (1, 1), ("a", 0): (2, 3), ("a", 1): (4, 3), ("b",): (6, 1)},
            id="list over lines",
        ),
        pytest.param(
            "[[a]]\nb = 1\n[[a]]\n[a.c]\n",
            {
                ("a",): (1, 3),
                ("a", 0): (1, 3),
                ("a", 0, "b"): (2, 1),
                ("a", 1): (3, 3),
                ("a", 1, "c"): (4, 4),
            },
            id="array of tables",
        ),
        pytest.param('a = """\nb = 1\n""""" # c = 2\nd = 3', {("a",): (1, 1), ("d",): (4, 1)}, id="text over lines"),
        pytest.param(
            "a = '''b = \"''''\nd = 3", {("a",): (1, 1), ("d",): (2, 1)}, id="literal text that ends in a quote"
        ),
        pytest.param('a = "#]}\\"" # "\nb = 1', {("a",): (1, 1), ("b",): (2, 1)}, id="signs inside a text"),
        pytest.param("显存 = 1", None, id="not TOML"),
        pytest.param("a = '显存'\r\nb = {c = '显', d = 1}\r\n", {("b", "d"): (2, 15)}, id="columns count characters"),
        pytest.param("[a.b]\n[a]\n", {("a",): (1, 2), ("a", "b"): (1, 4)}, id="the first mention counts"),
    ],
)
def test_a_key_stands_where_it_is_written_first(text, expected):
    if expected is None:
        with pytest.raises(NotTomlError):
            parse(text)
    else:
        found = places(text)
        assert expected.items() <= found.items()
        assert found.keys() == set(paths(parse(text)))


KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,3}", fullmatch=True),
    st.sampled_from(['"a b"', '"\\u00e9"', "'#['", '""', '"x]\\""', '"="']),
)
BLANKS = st.sampled_from(["", " ", "\n", ' # ] } , "\n', "\n\n\t"])
ATOMS = st.sampled_from(
    [
        "0",
        "-1.5e3",
        "true",
        "1979-05-27 07:32:00",
        "12:30:45",
        '"a # b"',
        '"\\\\"',
        "'\\'",
        '"""x\n[y]\nz = 1"""',
        '"""\\"""a""""',
        '""""""',
        "'''\n'x''''",
    ]
)


def lists(values):
    items = st.lists(st.tuples(BLANKS, values, BLANKS).map("".join), max_size=3)
    return st.tuples(items, st.sampled_from(["", ","])).map(
        lambda both: f"[{','.join(both[0])}{both[1] if both[0] else ''}]"
    )


def inline_tables(values):
    pairs = st.lists(st.tuples(KEYS, values).map(" = ".join), max_size=3)
    return pairs.map(lambda items: f"{{ {' , '.join(items)} }}")


VALUES = st.recursive(ATOMS, lambda inner: lists(inner) | inline_tables(inner), max_leaves=8)
DOTTED = st.lists(KEYS, min_size=1, max_size=3).map(" . ".join)
STATEMENTS = st.one_of(
    st.tuples(DOTTED, st.just(" = "), VALUES).map("".join),
    DOTTED.map(lambda key: f"[ {key} ]"),
    DOTTED.map(lambda key: f"[[{key}]] # {key}"),
    st.sampled_from(["", "# [a] b = 1", "\t"]),
)
NEWLINE = st.sampled_from(["\n", "\r\n"])


@given(st.lists(STATEMENTS, max_size=8), NEWLINE)
def test_the_keys_with_a_position_are_the_keys_of_the_document(statements, newline):
    text = newline.join(statements)
    try:
        document = parse(text)
    except NotTomlError:
        return
    found = positions(text)
    assert found.keys() == set(paths(document))
    lines = text.split("\n")
    for path, position in found.items():
        if isinstance(path[-1], str):
            written = re.match(
                r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""", lines[position.line - 1][position.column - 1 :]
            )
            assert parse(f"{written[0]} = 0") == {path[-1]: 0}


@pytest.mark.parametrize(
    ("text", "position"),
    [
        pytest.param("a = hunter2", (1, 5), id="text without quotes"),
        pytest.param("a = 1\nb = 4GB", (2, 6), id="size without quotes"),
        pytest.param("a = 1\na = 2\nb = 3", (2, 6), id="key set twice"),
        pytest.param("[hunter2]\n[hunter2]", (2, 9), id="table declared twice"),
        pytest.param("a = { hunter2 = 1, hunter2 = 2 }", (1, 31), id="key set twice in a table"),
        pytest.param('a = "hunter2', (1, 5), id="text without its end"),
        pytest.param("a = [1,\n2", (2, 2), id="list without its end, in the last line"),
        pytest.param("a = [1,\n2\n", (3, 1), id="list without its end, behind the last line"),
        pytest.param("a = '\x07'", (1, 6), id="control character"),
        pytest.param("hunter2", (1, 8), id="no key"),
        pytest.param(f"a = {'9' * 5000}", None, id="number that no computer reads"),
        pytest.param(f"a = {'[' * 5000}{']' * 5000}", None, id="absurd nesting"),
    ],
)
def test_an_error_has_the_position_that_the_parser_tells_and_none_of_its_words(text, position):
    with pytest.raises(NotTomlError) as raised:
        parse(text)
    at = raised.value.position
    assert (at and (at.line, at.column)) == position
    assert "hunter2" not in raised.value.message


def test_nesting_that_the_parser_bears_does_not_end_in_a_traceback():
    for depth in range(100, 1000, 7):
        text = f"a = {'[' * depth}{']' * depth}"
        try:
            parse(text)
            assert len(positions(text)) == depth
        except NotTomlError:
            continue
