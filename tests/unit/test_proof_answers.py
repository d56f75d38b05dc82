"""What target/prove.py tells, as the launcher understands it."""

import ast
import json
import sys

import pytest

from mgelaunch.launch.events import Exit
from mgelaunch.launch.prove import SCRIPT, Failure, Told
from mgelaunch.target.answers import Answer, Import, Question, Read, answer

IMPORT = {"at": "megengine"}, {"imported": "megengine", "version": "1.13.0", "seconds": 0.8}


def told(*events, tail=b""):
    return answer(b"".join(json.dumps(event).encode() + b"\n" for event in events) + tail)


def test_the_file_that_the_target_runs_is_python_3_7_and_needs_nothing_but_its_library():
    with open(SCRIPT, encoding="utf-8") as file:
        tree = ast.parse(file.read(), feature_version=(3, 7))
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | {"__future__"}
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.NamedExpr, ast.Match))]


def test_a_question_is_a_request_in_json():
    question = Question(("megengine",), True, {"A": ("megengine", "megengine.x")})
    expected = {"imports": ["megengine"], "quick": True, "reads": {"A": ["megengine", "megengine.x"]}}
    assert json.loads(question.request) == expected


def test_imports_and_values_are_told_one_by_one():
    read = {"reading": "A"}, {"read": "A", "text": "1", "predicted": False}
    failed = {"reading": "B"}, {"read": "B", "error": "AttributeError: b"}
    heard = told(*IMPORT, *read, *failed, {"missing": "torch", "why": "torch is not installed"}, {"end": True})
    assert heard == Answer(
        (Import("megengine", "1.13.0", 0.8),),
        {"torch": "torch is not installed"},
        {"A": Read("1"), "B": Read(None, error="AttributeError: b")},
        "reading B back",
        "",
        True,
    )


def test_a_torn_last_line_is_left_out():
    assert told(*IMPORT, tail=b'{"reading": "A') == told(*IMPORT)


def test_a_line_of_somebody_else_is_left_out():
    begun, imported = IMPORT[0], IMPORT[1:]
    text = "".join(json.dumps(event) + "\n" for event in [begun]) + "hello\n\xff\n"
    assert answer(text.encode("latin-1") + "".join(json.dumps(event) + "\n" for event in imported).encode()) == told(
        *IMPORT
    )


def test_who_says_nothing_has_told_nothing():
    assert answer(b"") == Answer()


@pytest.mark.parametrize(
    ("events", "exit_", "failure"),
    [
        ((*IMPORT, {"end": True}), Exit(0), None),
        ((*IMPORT, {"end": True}), Exit(1, 6), None),  # what happens afterwards changes nothing
        (IMPORT[:1], Exit(1, 6), Failure("died", "python died while importing megengine (SIGABRT)")),
        (IMPORT[:1], Exit(3), Failure("died", "python ended while importing megengine (exit code 3)")),
        ((), Exit(1), Failure("died", "python ended while starting (exit code 1)")),
        ((*IMPORT, {"reading": "A"}), Exit(1, 11), Failure("died", "python died while reading A back (SIGSEGV)")),
        ((), Exit(1, 40), Failure("died", "python died while starting (signal 40)")),
        (IMPORT[:1], None, Failure("hang", "python had not finished importing megengine after 1.5 s")),
        (
            (*IMPORT[:1], {"failed": "megengine", "error": "ValueError: no"}),
            Exit(0),
            Failure("import", "importing megengine failed: ValueError: no"),
        ),
        # Being ended at the deadline, an import fails by KeyboardInterrupt.
        (
            (*IMPORT[:1], {"failed": "megengine", "error": "KeyboardInterrupt"}),
            None,
            Failure("hang", "python had not finished importing megengine after 1.5 s"),
        ),
    ],
)
def test_a_failure_says_how_and_with_what(events, exit_, failure):
    assert Told(told(*events), exit_).failure(1.5) == failure
