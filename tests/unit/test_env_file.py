"""A `.env` file is read strictly: every doubt has its place, every error comes out in one run, no value is shown."""

import io
import json
from pathlib import Path

import pytest
from dotenv.parser import parse_stream
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.environment.env_file import _differences, _Statement, read_env_file
from mgelaunch.environment.env_values import Value
from mgelaunch.environment.source import Assignment, Reference, Source
from mgelaunch.environment.text import Positions, read_text

SHELL = {"SET": "fromenv", "EMPTY": ""}
CASES = json.loads((Path(__file__).parent / "env_file_cases.json").read_text("utf-8"))


def explicit(name, earlier):
    """What a file named on the command line sees: its own earlier lines hide the shell."""
    return Reference(earlier.text, earlier.secret) if earlier else Reference(SHELL.get(name))


def read(data, lookup=explicit, is_path=lambda name: name.endswith("_DIR")):
    data = data if isinstance(data, bytes) else data.encode()
    return read_env_file(
        data, path="a/.env", label=".env", folder="/a", source=Source.ENV_FILE, lookup=lookup, is_path=is_path
    )


def values(file):
    return {assignment.name: assignment.text for assignment in file.assignments}


def found(file):
    """Code and position of every finding, in order."""
    return [(finding.code, finding.place.removeprefix("a/.env:")) for finding in file.findings]


def codes(data):
    return [code for code, _ in found(read(data))]


def positions(file, severity):
    places = [f.place.removeprefix("a/.env:") for f in file.findings if f.severity == severity]
    return list(dict.fromkeys(places))


def agrees(data, case, lines=0, more=None, bom=False):
    """`data` is read as the case says, with `lines` lines and the variables `more` before it."""
    file = read(data)
    severities = {finding.severity for finding in file.findings if finding.code != "file.bom"}
    assert next((severity for severity in ("error", "warning") if severity in severities), "ok") == case["expect"]
    moved = [":".join((str(int(line) + lines), column)) for line, column in (p.split(":") for p in case["positions"])]
    if case["expect"] != "ok":
        expected = ["1:1", *moved] if bom and case["expect"] == "warning" else moved
        assert positions(file, case["expect"]) == expected
    if case["values"] is not None:
        assert values(file) == {**(more or {}), **case["values"]}


def cases(exclude=()):
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case["id"]) for case in CASES if case["id"] not in exclude]
    )


def content(case):
    return case["bytes"].encode("latin-1")


@cases()
def test_every_measured_case_has_its_severity_positions_and_values(case):
    expected = {**case, "expect": "ok", "positions": []} if case["id"] == "utf8-bom" else case
    agrees(content(case), expected)
    if case["id"] == "utf8-bom":
        assert found(read(content(case))) == [("file.bom", "1:1")]


# These two say something about the very first bytes of a file.
FIRST_BYTES = ("utf8-bom", "utf16-bom")


@cases(exclude=FIRST_BYTES)
def test_positions_hold_after_blank_lines(case):
    agrees(b"\n \t\n\n" + content(case), case, lines=3)


@cases(exclude=FIRST_BYTES)
def test_positions_hold_after_values_of_several_lines(case):
    agrees(b"M=\"x\n\ny\"\nN='\n' # note\n" + content(case), case, lines=5, more={"M": "x\n\ny", "N": "\n"})


@cases(exclude=(*FIRST_BYTES, "crlf", "lone-cr"))
def test_positions_hold_with_crlf(case):
    agrees(content(case).replace(b"\n", b"\r\n"), case)


@cases(exclude=FIRST_BYTES)
def test_positions_hold_after_a_byte_order_mark(case):
    agrees(b"\xef\xbb\xbf" + content(case), case, bom=True)


# Every rule that refuses a file, with a secret planted where it looks.
ERRORS = {
    "file.encoding": [
        "A=hunter2".encode("utf-16"),
        b"A=hunter2\xff",
        "A=hunter2 口令".encode("gb18030"),
    ],
    "file.nul": [b"A=hunter2\0"],
    "file.newline": [b"A=hunter2\rB=1", b"A=hunter2\r\r\n"],
    "envfile.syntax": [
        "hunter2", "export hunter2", "hunter2: hunter2", "[hunter2]", "; hunter2", "// hunter2", "-- hunter2",
        "unset hunter2", "export ", "hunter2 hunter2", "hunter2 # hunter2",
    ],
    "envfile.name": [
        "hunter2-hunter2=hunter2", "2hunter2=hunter2", "=hunter2", "set hunter2=hunter2", "'hunter2'=hunter2",
        "hunter2é=hunter2", "\xa0hunter2=hunter2", "\ufeff\ufeffhunter2=hunter2", "// hunter2=hunter2", "hunter2+/hunter2=",
    ],
    "envfile.quote": ['A="hunter2', "A='hunter2", 'A="hunter2\\"'],
    "envfile.trailing": ['A="hunter2"hunter2', "A='hunter2'#hunter2", 'A="hunter2\nhunter2" hunter2'],
    "envfile.hash": ["A=#hunter2"],
    "envfile.continuation": ["A=hunter2\\"],
    "envfile.command": ["A=$(hunter2)", "A=`hunter2`", 'A="\\`hunter2`"'],
    "reference.malformed": ["A=${hunter2", "A=${A:=hunter2}", "A=${hunter2 }", "A=${A:-{hunter2}}", "KEY=${hunter2"],
    "reference.unset": ["A=hunter2${NOPE}hunter2", "A=${NOPE:+hunter2}${NOPE}", "A_TOKEN=x${hunter2}"],
    "reference.forward": ["A=hunter2${B}\nB=hunter2", "A=${A}hunter2", "A_TOKEN=x${hunter2}\nhunter2=1"],
    "reference.required": ["A=hunter2${NOPE:?need}", "A=x${A_TOKEN:?hunter2}", "A_TOKEN=${NOPE?hunter2}"],
    "envfile.typographic": ["A=“hunter2”", "A=＂hunter2＂", "A=«hunter2»"],
    "envfile.joined": ["A=hunter2; hunter2=hunter2", "A=hunter2;hunter2="],
    "envfile.conflict": ["<<<<<<< hunter2", "=======", ">>>>>>> hunter2", "||||||| hunter2"],
}  # fmt: skip
WARNINGS = {
    "file.bom": ["\ufeffA=hunter2"],
    "envfile.blanks": ["A = hunter2", "A =hunter2", "A= hunter2", "A ="],
    "envfile.comment": ["A= # hunter2", "A=\t#hunter2"],
    "envfile.duplicate": ["A=hunter2\nA=hunter2"],
    "envfile.dollar": ["A=$hunter2", "A=hunter2$$hunter2", 'A="hunter2$1"', "A_DIR=x$HOME/hunter2", "A=$HOME/hunter2"],
    "envfile.double-dollar": ["A=hunter2$${SET}", 'A="$${SET}hunter2"'],
    "envfile.literal-reference": ["A='${hunter2}'"],
    "envfile.backslash": ["A='hunter2\\n'", "A='hunter2\\'"],
    "envfile.escape": ['A="\\hunter2"', 'A="hunter2\\\n"', 'A="\\\'hunter2"', 'A="hunter2\\x41"'],
    "envfile.unquoted": ["A=hunter2's", "A=hunter2 hunter2", "A=C:\\hunter2", "A=hunter2#hunter2"],
    "envfile.tilde": ["A=~/hunter2", "A_DIR=~hunter2/x"],
    "envfile.invisible": ["A=hunter2\u200b", "A=\xa0hunter2", "A=hunter2\u3000", "A=\u2028hunter2", "A=hunter2\x0c"],
    "envfile.swallowed": ["A='\nhunter2=hunter2\n'", 'A="hunter2\n  export hunter2=\n"'],
}


def rules(table):
    return pytest.mark.parametrize(
        ("code", "data"), [pytest.param(c, d, id=f"{c}-{i}") for c, row in table.items() for i, d in enumerate(row)]
    )


@rules(ERRORS)
def test_every_rule_that_refuses_a_file_speaks_and_shows_no_value(code, data):
    file = read(data)
    assert (code, "error") in [(finding.code, finding.severity) for finding in file.findings]
    assert "hunter2" not in repr(file.findings)


@rules(WARNINGS)
def test_every_rule_that_warns_speaks_and_shows_no_value(code, data):
    file = read(data)
    assert {finding.severity for finding in file.findings} == {"warning"}
    assert code in [finding.code for finding in file.findings]
    assert "hunter2" not in repr(file.findings)
    assert len(file.assignments) == 1


@pytest.mark.parametrize(
    "data",
    [
        "", "\n\n", "# only a comment", "A=1", "A=", 'A=""', "A=''", "A=\t", "A=x=y", "\texport A=1 \t# note", "export=1",
        "A='$5 `x` $(y)'", 'A="\\$(x) \\${y}"', "A=日本語", "A=1 #", 'A="x" ', "A='x'\t# note", "A=a;b", "A=${EMPTY}",
        "A_DIR=~", "A_DIR=~/x", "A_DIR=$HOME/x", "A_DIR=$HOME", 'A_DIR="$HOME/x"', "A_DIR=/x:$HOME/y",
        "A=1\nB=${A}", "M='\nx\n'", "M='\n=======\n'",
    ],
)  # fmt: skip
def test_what_all_tools_read_alike_passes_in_silence(data):
    assert read(data).findings == ()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        pytest.param(r'A="\\ \" \n \r \t \$"', '\\ " \n \r \t $', id="escapes"),
        pytest.param(r'A="\a\x\'"', r"\a\x\'", id="unknown escapes"),
        pytest.param(r'A="\\${SET}"', "\\fromenv", id="backslash, reference"),
        pytest.param(r'A="\\\${SET}"', "\\${SET}", id="backslash, literal reference"),
        pytest.param(r'A="\\n"', r"\n", id="backslash, letter"),
        pytest.param('A="x\r\ny"', "x\ny", id="crlf in quotes"),
        pytest.param("A='\"${SET}'", '"${SET}', id="single quotes"),
        pytest.param("A=\\${SET}", "\\fromenv", id="no escapes without quotes"),
        pytest.param("A=x\t # note", "x", id="blanks before a comment"),
        pytest.param("A=${NOPE:-a b}", "a b", id="default with a blank"),
    ],
)
def test_what_a_value_says(data, value):
    assert values(read(data)) == {"A": value}


def test_an_assignment_knows_its_line_its_place_and_what_it_is_relative_to():
    file = read('\n export A= "x"\nB="${B:-1}\n2"\nC=${A}\n')
    assert file.assignments == (
        Assignment("A", "x", Source.ENV_FILE, ".env:2", "a/.env:2:12", "/a"),
        Assignment("B", "1\n2", Source.ENV_FILE, ".env:3", "a/.env:3:3", "/a"),
        Assignment("C", "x", Source.ENV_FILE, ".env:5", "a/.env:5:3", "/a"),
    )


def test_a_value_that_refers_to_a_secret_is_secret_and_hands_that_on():
    file = read("A=${API_KEY:-x}\nB=${A}\nC=${SET}\n")
    assert [assignment.secret for assignment in file.assignments] == [True, True, False]


def test_a_lookup_is_given_the_files_own_earlier_line():
    asked = []

    def lookup(name, earlier):
        asked.append((name, earlier and (earlier.text, earlier.where)))
        return Reference("below")

    assert values(read("A=${A}1\nA=${A}2\nB=${C}\n", lookup)) == {"A": "below2", "B": "below"}
    assert asked == [("A", None), ("A", ("below1", ".env:1")), ("C", None)]


def test_a_lookup_may_prefer_the_shell_to_an_earlier_line():
    assert values(read("SET=1\nA=${SET}\n", lambda name, _: Reference(SHELL.get(name)))) == {
        "SET": "1",
        "A": "fromenv",
    }


def test_all_errors_of_a_file_come_out_in_one_run_in_the_order_of_the_file():
    file = read('A\nB="x\nC=${NOPE}\nD=$(x)\nE=1\n1F=2\nG = 3\nA=${H}\nH=4\n')
    assert found(file) == [
        ("envfile.syntax", "1:1"),
        ("envfile.quote", "2:3"),
        ("reference.unset", "3:3"),
        ("envfile.command", "4:3"),
        ("envfile.name", "6:1"),
        ("envfile.blanks", "7:2"),
        ("reference.forward", "8:3"),
    ]
    assert values(file) == {"E": "1", "G": "3", "H": "4"}


def test_a_reference_to_a_line_that_is_already_an_error_is_not_told_again():
    assert found(read('A="x\nB=${A}\nC=${B}\n')) == [("envfile.quote", "1:3")]


def test_after_an_unterminated_quote_reading_goes_on_with_the_next_line():
    assert found(read("A='x\nB\nC=1")) == [("envfile.quote", "1:3"), ("envfile.syntax", "2:1")]


def test_text_after_a_closing_quote_is_placed_on_the_line_of_that_quote():
    assert found(read('A="x\ny"z\nB\n')) == [("envfile.trailing", "2:3"), ("envfile.syntax", "3:1")]


def test_nothing_is_read_of_a_file_whose_bytes_are_wrong():
    file = read(b"A\nB=1\nC=\xff\n\0\n")
    assert found(file) == [("file.encoding", "3:3")]
    assert file.assignments == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"A=\xff", "0xff", id="the byte"),
        pytest.param("A=显存".encode("gb18030"), "GBK", id="gbk"),
        pytest.param("A", "no =", id="bare name"),
        pytest.param("A: 1", "YAML", id="yaml"),
        pytest.param("[dtr]", "TOML", id="section"),
        pytest.param("// x", "begin with #", id="other comment"),
        pytest.param("// x = 1", "begin with #", id="other comment with ="),
        pytest.param("set A=1", "leave out set", id="set"),
        pytest.param("=1", "missing", id="no name"),
        pytest.param("A-B=1", "cannot hold -", id="dash"),
        pytest.param("\xa0A=1", "U+00A0", id="invisible in a name"),
        pytest.param("\ufeff\ufeffA=1", "U+FEFF", id="second byte order mark"),
        pytest.param("A=x\u200b", "U+200B", id="invisible in a value"),
        pytest.param("A=“1”", "U+201C", id="typographic quote"),
        pytest.param("A=1\n\nA=2", "line 1 and again on line 3", id="duplicate"),
        pytest.param("A=${B}\n\nB=2\nB=3", "${B} is not set before line 3", id="forward"),
        pytest.param("A='\n\nB=1\n'", "line 3", id="swallowed line"),
        pytest.param("A=${NOPE:?export it first}", "${NOPE} is required: export it first", id="author's message"),
        pytest.param("A=a'b c", "quotes and blanks", id="unquoted"),
    ],
)
def test_a_message_says_what_is_wrong(data, words):
    assert any(words in finding.message for finding in read(data).findings)


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        pytest.param("A", "NAME=", id="bare name"),
        pytest.param("unset A", "--unset NAME", id="unset"),
        pytest.param("A=${NOPE}", "${NOPE:-default}", id="unset reference"),
        pytest.param("A=~/x", "A=${HOME}...", id="tilde"),
        pytest.param("A=it's", 'A="..."', id="apostrophe"),
        pytest.param("A=x y", "A='...'", id="blank"),
        pytest.param(b"\xff\xfeA", "save the file as UTF-8", id="utf-16"),
    ],
)
def test_a_remedy_can_be_pasted(data, remedy):
    assert read(data).findings[0].remedy == remedy


def test_text_is_handed_on_without_its_mark_and_with_plain_line_ends():
    text, findings = read_text(b"\xef\xbb\xbfa\r\nb\n", "p.toml")
    assert text == "a\nb\n"
    assert [finding.place for finding in findings] == ["p.toml:1:1"]


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        pytest.param("a\r\nbé\0\r".encode(), "file.nul", "f:2:3", id="nul before a lone return"),
        pytest.param(b"a\r\0", "file.newline", "f:1:2", id="lone return before nul"),
        pytest.param(b"\xef\xbb\xbf\xc3\xa9\xff\0", "file.encoding", "f:1:2", id="columns count characters"),
        pytest.param(b"# \xff", "file.encoding", "f:1:3", id="in a comment"),
    ],
)
def test_the_first_fault_of_a_file_is_told(data, code, place):
    text, findings = read_text(data, "f")
    assert (text, findings[-1].code, findings[-1].place) == ("", code, place)


def test_only_line_feeds_end_a_line():
    places = Positions.of("a\u2028b\x0c\nc\n", "f")
    assert [places.place(offset) for offset in (0, 4, 5, 7)] == ["f:1:1", "f:1:5", "f:2:1", "f:3:1"]


def test_a_line_that_python_dotenv_reads_differently_is_told_when_no_rule_has_spoken():
    text = "A=1\nB=2\n"
    statements = (_Statement(0, 3, "A", Value("1", "1", "", 2, 3)), _Statement(4, 7, "B", Value("x", "x", "", 6, 7)))
    assert [(complaint.code, complaint.at) for complaint in _differences(text, statements)] == [("envfile.differs", 4)]


def test_lines_that_python_dotenv_loses_after_an_error_are_not_told_again():
    assert found(read('A+="x\nB="\'\n"\nC=1\n')) == [("envfile.name", "1:2")]


TRICKY = st.lists(
    st.sampled_from(
        [
            *"AB=1#'\"\\${}:-?+ \t\n;~`(é\xa0\u2028\x0c\x1c\u200b\ufeff",
            "export ",
            "A=",
            '="',
            "='",
            "\nB=",
            "${A}",
            "\r\n",
        ]
    ),
    max_size=24,
).map("".join)
PLAIN = st.lists(st.sampled_from([*"AB=1#'\"\\ \t\n;~é\xa0", "A=", "\nB=", "export "]), max_size=20).map("".join)
LIMITED = settings(max_examples=400, deadline=None, database=None)


@LIMITED
@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(data):
    assert all(finding.place.startswith("a/.env:") for finding in read(data).findings)


@LIMITED
@given(TRICKY)
def test_the_net_below_the_rules_stays_empty(text):
    assert "envfile.differs" not in codes(text)


@LIMITED
@given(PLAIN)
def test_what_passes_in_silence_is_read_alike_by_python_dotenv(text):
    file = read(text)
    if not file.findings:
        theirs = parse_stream(io.StringIO(text))
        assert values(file) == {binding.key: binding.value for binding in theirs if binding.key or binding.error}
