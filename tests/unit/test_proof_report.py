"""A proof for people and as JSON: marks, columns, the line that counts, and no secret."""

import pytest

from mgelaunch.checks.proof import Proof, asked
from mgelaunch.finding import Finding
from mgelaunch.report.proof import proof_document, proof_lines, without_secrets
from mgelaunch.target.answers import Import

DROP, LEVEL, JIT, HOME = "MEGENGINE_ENABLE_DROP", "MEGENGINE_LOGGING_LEVEL", "BREVITAS_JIT", "MGE_HOME"
PYTHON = "/env/bin/python"


def setting(project, name, text=None, **more):
    said = {"unsets": (name,)} if text is None else {"sets": ((name, text),)}
    (found,) = [setting for setting in asked(project.resolve(**said, **more)) if setting.name == name]
    return found


def lines(*proofs, imports=(), findings=(), said=(), rank=""):
    return proof_lines(proofs, imports, findings, said, python=PYTHON, rank=rank)


def test_a_row_has_a_mark_the_wish_the_effect_and_the_moment(project):
    told = lines(
        Proof(setting(project, DROP, "on"), "proved", "1"),
        Proof(setting(project, LEVEL, "error"), "differs", "INFO"),
        Proof(setting(project, "MGE_PLASMA_MEMORY", "64MiB"), "unproved", why="it is read later"),
        Proof(setting(project, "OMP_NUM_THREADS", "8"), "capped", "2", "there are no more CPUs"),
        Proof(setting(project, JIT, "1"), "predicted", "0"),
        Proof(setting(project, "BREVITAS_VERBOSE", "1"), "predicted", "1"),
        Proof(setting(project, HOME), "shown", "/home/me/x"),
        Proof(setting(project, "OURS", "1"), "unproved", why="no catalogue has it"),
    )
    assert told[1:-1] == (
        "      NAME                     ASKED      IN EFFECT                          READ AT",
        "ok    MEGENGINE_ENABLE_DROP    1          1                                  import",
        "ERROR MEGENGINE_LOGGING_LEVEL  ERROR      INFO                               import",
        "?     MGE_PLASMA_MEMORY        67108864   not provable: it is read later     each use",
        "note  OMP_NUM_THREADS          8          2  there are no more CPUs          import",
        "warn  BREVITAS_JIT             1          0 is predicted                     import",
        "?     BREVITAS_VERBOSE         1          1 is predicted                     import",
        "note  MGE_HOME                 (removed)  /home/me/x                         import and exit",
        "?     OURS                     1          not provable: no catalogue has it  -",
    )


def test_the_first_line_says_what_was_imported_by_whom_and_as_which_rank():
    imports = (Import("torch", "2.13.0", 2.71), Import("brevitas", "0.13.4", 0.003))
    assert lines(imports=imports)[0] == f"proof   torch 2.13.0 in 2.7 s, brevitas 0.13.4 in 0.1 s, by {PYTHON}"
    assert lines(imports=(Import("brevitas", "", 1.0),))[0] == f"proof   brevitas in 1 s, by {PYTHON}"
    assert lines(rank="rank 0 of 4")[0] == f"proof   no framework was imported, by {PYTHON}, as rank 0 of 4"


def test_the_last_line_counts(project):
    drop = setting(project, DROP, "1")
    rows = [Proof(drop, state, "1") for state in ("proved", "proved", "unproved")]
    assert lines(*rows)[-1] == "3 asked, 2 in effect, 1 not provable, 0 wrong"
    rows += [Proof(drop, state, "1") for state in ("capped", "predicted", "shown", "differs")]
    expected = "7 asked, 2 in effect, 1 capped, 1 predicted, 1 shown, 1 not provable, 1 wrong"
    assert lines(*rows)[-1] == expected
    assert lines()[1:] == ("0 asked, 0 in effect, 0 not provable, 0 wrong",)


def test_findings_stand_below_with_their_remedy_and_then_the_last_words_of_an_interpreter():
    finding = Finding("error", "prove.died", "A: python died\x1b[2J", ("A",), "--unset A", "p.toml:1:1")
    told = lines(findings=(finding, Finding("warning", "prove.predicted", "B")), said=("  what():\x07 stod",))
    assert told[1:-1] == (
        "ERROR p.toml:1:1: A: python died\\x1b[2J  prove.died",
        "        --unset A",
        "warn  B  prove.predicted",
        "      |   what():\\x07 stod",
    )


def test_json_has_the_same_rows(project):
    rows = [Proof(setting(project, DROP, "1"), "proved", "1"), Proof(setting(project, HOME), "shown", "/x")]
    assert proof_document(rows) == [
        {"name": DROP, "asked": "1", "in_effect": "1", "state": "proved", "why": "", "moment": "import"},
        {"name": HOME, "asked": None, "in_effect": "/x", "state": "shown", "why": "", "moment": "exit_too"},
    ]


def test_secrets_are_masked_in_both(project):
    project.profile("p", '[env]\nMGE_HOME = { value = "/hunter2", secret = true }\n')
    (secret,) = asked(project.resolve("p"))
    row = Proof(secret, "proved", "/hunter2")
    assert "hunter2" not in "".join(lines(row))
    (shown,) = proof_document([row])
    assert (shown["asked"], shown["in_effect"]) == ("(secret)", "(secret)")


def test_what_a_framework_says_is_shown_without_the_secrets_of_the_environment():
    assert without_secrets("cannot connect to hunter2!", ["hunter2"]) == "cannot connect to (secret)!"
    assert without_secrets("abc and abcdef", ["abc", "abcdef"]) == "(secret) and (secret)"
    assert without_secrets("line two is here", ["one\nline two"]) == "(secret) is here"
    assert without_secrets("nothing is hidden", ["", " ", "\n"]) == "nothing is hidden"


def test_a_secret_of_a_few_characters_is_masked_where_it_stands_alone():
    assert without_secrets("token 1 after 120 s in 11:1", ["1"]) == "token (secret) after 120 s in 11:(secret)"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param("int('{}')", "back\\slash", id="as repr writes it"),
        pytest.param("{}!", "  blanks\tand a tab ", id="without blanks at its ends"),
        pytest.param("{}!", "no\udcfftext", id="bytes that are no text"),
    ],
)
def test_a_secret_is_masked_however_a_framework_writes_it(text, secret):
    stripped = secret.strip()
    for each in (stripped, repr(stripped)[1:-1], stripped.replace("\t", " "), stripped.replace("\udcff", "\ufffd")):
        assert without_secrets(text.format(each), [secret]) == text.format("(secret)")


@pytest.mark.parametrize("written", ["s3cr%20et/va%2Blue", "s3cr%20et%2Fva%2Blue", "s3cr+et%2Fva%2Blue"])
def test_a_secret_is_masked_as_urls_write_it(written):
    assert without_secrets(f"GET /?key={written} failed", ["s3cr et/va+lue"]) == "GET /?key=(secret) failed"


def test_what_a_framework_calls_its_version_moves_no_cursor():
    (head, *_) = lines(imports=[Import("megengine", "1\n\x1b[31m", 1.0)])
    assert head == rf"proof   megengine 1\n\x1b[31m in 1 s, by {PYTHON}"


def test_a_secret_that_was_cut_off_at_the_end_of_a_message_is_masked():
    secret = "".join(f"{number:03}" for number in range(300))
    assert without_secrets(f"failed: bad token {secret}"[:300], [secret]) == "failed: bad token (secret)"
    assert without_secrets(f"token {secret}"[:299] + "…", [secret]) == "token (secret)"
    assert without_secrets(secret[50:349] + "…", [secret]) == "(secret)"


def test_a_password_in_a_url_is_masked_in_what_a_framework_says():
    assert without_secrets("proxy http://me:hunter2@host:80", []) == "proxy http://me:(secret)@host:80"
