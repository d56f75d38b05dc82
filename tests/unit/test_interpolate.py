"""References in values mean what they mean in a POSIX shell, and nothing else is expanded."""

import pytest

from mgelaunch.environment.interpolate import Expanded, Unexpanded, expand
from mgelaunch.environment.source import Reference

KNOWN = {"SET": "value", "EMPTY": "", "BRACED": "a{b}", "API_KEY": "k"}


def lookup(name):
    return Reference(KNOWN.get(name), secret=name == "BRACED")


def text(raw, **options):
    result = expand(raw, lookup, **options)
    assert isinstance(result, Expanded), result
    return result.text


def failure(raw, **options):
    result = expand(raw, lookup, **options)
    assert isinstance(result, Unexpanded), result
    return result


POSIX = [
    # the table "parameter set and not null | set but null | unset" of POSIX.1-2017, 2.6.2
    ("${X}", "value", "", None),
    ("${X:-word}", "value", "word", "word"),
    ("${X-word}", "value", "", "word"),
    ("${X:?word}", "value", None, None),
    ("${X?word}", "value", "", None),
    ("${X:+word}", "word", "", ""),
    ("${X+word}", "word", "word", ""),
]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(form.replace("X", name), result, id=f"{form}-{name}")
        for form, *row in POSIX
        for name, result in zip(("SET", "EMPTY", "NOPE"), row, strict=True)
    ],
)
def test_the_forms_follow_the_posix_table(raw, expected):
    result = expand(raw, lookup)
    assert (result.text if isinstance(result, Expanded) else None) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("", "", id="empty text"),
        pytest.param("plain", "plain", id="no reference"),
        pytest.param("a${SET}b${SET}", "avaluebvalue", id="text around references"),
        pytest.param("$SET $1 $$ $", "$SET $1 $$ $", id="a dollar without brace is text"),
        pytest.param("$${SET}", "$value", id="a doubled dollar is no escape"),
        pytest.param("{SET} }{", "{SET} }{", id="braces outside references are text"),
        pytest.param("${SET}}", "value}", id="a closing brace after a reference is text"),
        pytest.param("${NOPE:-}", "", id="empty default"),
        pytest.param("${NOPE:-a:b-c?d+e=f}", "a:b-c?d+e=f", id="operators in a default are text"),
        pytest.param("${NOPE:-a${SET}b}", "avalueb", id="reference in a default"),
        pytest.param("${NOPE:-${NOPE-${EMPTY:-${SET}}}}", "value", id="nested defaults"),
        pytest.param("${SET:+${SET}/x}", "value/x", id="reference in an alternative"),
        pytest.param("\\${SET}", "\\value", id="a backslash is text"),
    ],
)
def test_what_a_text_expands_to(raw, expected):
    assert text(raw) == expected


@pytest.mark.parametrize("raw", ["${SET:-${NOPE}}", "${NOPE:+${NOPE}}", "${SET:?${NOPE}}", "${EMPTY-${NOPE?no}}"])
def test_text_after_an_operator_is_looked_up_only_if_it_is_used(raw):
    asked = []

    def remember(name):
        asked.append(name)
        return lookup(name)

    assert isinstance(expand(raw, remember), Expanded)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("\\${SET}", "${SET}", id="escaped"),
        pytest.param("\\\\${SET}", "\\value", id="escaped backslash"),
        pytest.param("\\\\\\${SET}", "\\${SET}", id="escaped backslash, escaped dollar"),
        pytest.param("\\$SET", "$SET", id="escaped dollar before a name"),
        pytest.param("$\\${SET}", "$${SET}", id="dollar, escaped dollar"),
        pytest.param("\\n\\\\x", "\\n\\\\x", id="other backslashes are text"),
        pytest.param("${NOPE:-\\$5}", "$5", id="in a default"),
    ],
)
def test_with_escapes_a_backslash_makes_a_dollar_literal(raw, expected):
    assert text(raw, escapes=True) == expected


@pytest.mark.parametrize(
    "raw",
    ["${", "${}", "${SET", "x${SET:-", "${SET:-${SET}", "${1}", "${A B}", "${SET:=d}", "${SET=d}", "${SET%x}", "${#SET}",
     "${!SET}", "${SET:}", "${SET:1:2}", "${ SET}", "${SÉT}", "${NOPE:-{}}", "${SET:-{}", "${SET?a{b}", "${NOPE}${"],
)  # fmt: skip
def test_any_other_form_is_malformed_whatever_is_set(raw):
    result = failure(raw)
    assert (result.code, result.name) == ("reference.malformed", "")


def test_absurd_nesting_is_malformed_not_a_crash():
    assert failure("${A:-" * 5000 + "}" * 5000).code == "reference.malformed"
    assert text("${A:-" * 90 + "x" + "}" * 90) == "x"


def test_an_unset_reference_names_the_variable():
    assert failure("a${NOPE}") == Unexpanded("reference.unset", "${NOPE} is not set", "NOPE")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param("${NOPE?say where}", "${NOPE} is required: say where", id="message"),
        pytest.param("${EMPTY:?say where.}", "${EMPTY} is required: say where", id="final stop"),
        pytest.param("${NOPE:?}", "${NOPE} is required", id="no message"),
        pytest.param("${NOPE:?see ${SET}}", "${NOPE} is required: see ${SET}", id="unexpanded"),
        pytest.param("${NOPE:?see ${SET:-hunter2}}", "${NOPE} is required: see ${SET}", id="a default is not shown"),
        pytest.param("${NOPE:?two\n\x1b[1mlines}", "${NOPE} is required: two [1mlines", id="one printable line"),
        pytest.param("${NO_TOKEN:?like hunter2}", "${NO_TOKEN} is required", id="secret name"),
    ],
)
def test_a_required_reference_carries_the_authors_message(raw, message):
    result = failure(raw)
    assert (result.code, result.message) == ("reference.required", message)


@pytest.mark.parametrize(
    ("raw", "secret"),
    [
        pytest.param("${SET}", False, id="plain"),
        pytest.param("${BRACED}", True, id="marked by the lookup"),
        pytest.param("x${API_KEY}", True, id="by its name"),
        pytest.param("${NOPE:-${API_KEY}}", True, id="in a default that is used"),
        pytest.param("${SET:-${API_KEY}}", False, id="in a default that is not used"),
        pytest.param("${DB_PASSWORD:-stand-in}", True, id="the default of a secret"),
        pytest.param("API_KEY", False, id="a name in plain text"),
    ],
)
def test_a_text_that_used_a_secret_is_secret(raw, secret):
    assert expand(raw, lookup).secret is secret


def test_what_comes_out_of_a_lookup_is_protected_and_what_the_author_wrote_is_not():
    def double(found):
        return found.replace("{", "{{").replace("}", "}}")

    assert text("{rank}-${BRACED}-${NOPE:-${BRACED}x}", protect=double) == "{rank}-a{{b}}-a{{b}}x"
    assert failure("${NOPE}", protect=double).code == "reference.unset"
