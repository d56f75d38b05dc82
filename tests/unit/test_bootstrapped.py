"""A command that runs a script of Python is the same through the bootstrap; of any other it is said that it cannot be."""

import os

import pytest

from mgelaunch.launch.bootstrapped import bootstrapped
from mgelaunch.launch.command import Command

PYTHON = "/env/bin/python3.8"


def wrapped(command, guard=True, fixes=()):
    """The command line through the bootstrap, which is shown as B, in one text."""
    after = bootstrapped(command, guard=guard, fixes=frozenset(fixes))
    assert after.findings == ()
    return " ".join("B" if os.path.basename(word) == "importlib_bootstrap.py" else word for word in after.argv)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("train.py -x 1", "B guard train.py -x 1"),
        ("- a", "B guard - a"),
        ("folder", "B guard folder"),
        ("-m pkg.train -m x", "B guard,module pkg.train -m x"),
        ("-mpdb train.py", "B guard,module pdb train.py"),
        ("-u -OO train.py -u", "-u -OO B guard train.py -u"),
        ("-um pkg.train", "-u B guard,module pkg.train"),
        ("-i train.py", "-i B guard train.py"),
        ("-X dev -W error -Xutf8 -Wonce train.py", "-X dev -W error -Xutf8 -Wonce B guard train.py"),
        ("--check-hash-based-pycs never -I -m pkg", "--check-hash-based-pycs never -I B guard,module pkg"),
    ],
)
def test_the_bootstrap_stands_between_the_options_of_python_and_what_it_runs(argv, expected):
    command = Command(PYTHON, (PYTHON, *argv.split()))
    assert wrapped(command) == f"{PYTHON} {expected}"
    assert bootstrapped(command, guard=True, fixes=frozenset()).program == PYTHON


def test_one_word_tells_what_is_asked_for():
    command = Command(PYTHON, (PYTHON, "-m", "train"))
    assert wrapped(command, fixes=["execution-strategy", "dtr-allocator"]).split()[2:] == [
        "guard,dtr-allocator,execution-strategy,module",
        "train",
    ]
    assert wrapped(command, guard=False, fixes=["dtr-allocator"]).split()[2:] == ["dtr-allocator,module", "train"]


def test_a_python_by_its_name_on_path_keeps_that_name():
    after = bootstrapped(Command("/usr/bin/python3", ("python3", "train.py")), guard=True, fixes=frozenset())
    assert (after.program, after.argv[0]) == ("/usr/bin/python3", "python3")


def test_nothing_asked_for_is_nothing_changed():
    command = Command(PYTHON, (PYTHON, "train.py"))
    assert bootstrapped(command, guard=False, fixes=frozenset()) is command


def test_where_there_is_no_command_nothing_more_is_said():
    missing = Command("", ())
    assert bootstrapped(missing, guard=True, fixes=frozenset()) is missing


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("#!/env/bin/python", "/env/bin/python B guard {tool} -x"),
        ("#! /env/bin/python3 -u ", "/env/bin/python3 -u B guard {tool} -x"),
        ("#!/usr/bin/env python3", "/usr/bin/env python3 B guard {tool} -x"),
    ],
)
def test_a_file_whose_first_line_names_a_python_is_a_script_of_it(tmp_path, head, expected):
    tool = tmp_path / "tool"
    tool.write_text(f"{head}\nprint(1)\n")
    command = Command(str(tool), ("tool", "-x"))
    assert wrapped(command) == expected.format(tool=tool)
    assert bootstrapped(command, guard=True, fixes=frozenset()).program == expected.split()[0]


@pytest.mark.parametrize("head", ["#!/env/bin/python\r", "#!/usr/bin/env python3\r"])
def test_a_carriage_return_belongs_to_the_name_in_a_first_line_as_it_does_for_the_kernel(tmp_path, head):
    tool = tmp_path / "tool"
    tool.write_bytes(f"{head}\nprint(1)\n".encode())
    command = Command(str(tool), ("tool",))
    assert bootstrapped(command, guard=True, fixes=frozenset()).argv == ("tool",)


@pytest.mark.parametrize(
    "argv",
    [
        "bash train.sh",
        "python -c pass",
        "python -x train.py",
        "python",
        "python -V",
        "python -m",
        "python3-config --libs",
    ],
)
def test_what_runs_no_script_of_python_stays_as_it_is_and_a_warning_says_so(argv):
    command = Command(f"/usr/bin/{argv.split()[0]}", tuple(argv.split()))
    after = bootstrapped(command, guard=True, fixes=frozenset({"dtr-allocator"}))
    (warning,) = after.findings
    assert after._replace(findings=()) == command
    assert (warning.severity, warning.code) == ("warning", "guard.command")
    assert warning.message.startswith("--guard and --fix dtr-allocator can do nothing here")


@pytest.mark.parametrize("head", ["#!/bin/sh", "#!/usr/bin/env bash", "#!", "", "#!/usr/bin/env -S python3 -u"])
def test_a_file_of_another_language_stays_as_it_is(tmp_path, head):
    tool = tmp_path / "tool"
    tool.write_text(f"{head}\n")
    assert bootstrapped(Command(str(tool), ("tool",)), guard=True, fixes=frozenset()).argv == ("tool",)
