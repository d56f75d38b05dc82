"""Turns a command into the same command through the bootstrap, which guards and repairs inside the script's process."""

import os
import re

import mgelaunch.target
from mgelaunch.finding import Finding
from mgelaunch.launch.command import Command

_BOOTSTRAP = os.path.join(os.path.dirname(mgelaunch.target.__file__), "importlib_bootstrap.py")
_WITH_VALUE = frozenset({"-W", "-X", "--check-hash-based-pycs"})
"""Options of Python that take the next word."""


def bootstrapped(command: Command, *, guard: bool, fixes: frozenset[str]) -> Command:
    """`command` with the bootstrap between Python and the script, as target/importlib_bootstrap.py describes; `fixes`
    are names of those that it knows.

    What no Python is, or no script of one, stays as it is, and a finding says so.
    """
    wanted = ("guard",) * guard + tuple(sorted(fixes))
    if not wanted or not command.program:
        return command
    argv = _argv_of_python(command)
    split = _options(argv)
    if not split:
        asked = " and ".join((*(("--guard",) if guard else ()), *(f"--fix {name}" for name in sorted(fixes))))
        message = f"{asked} can do nothing here: only the script, module or - that a Python is to run can be helped"
        return command._replace(findings=(*command.findings, Finding("warning", "guard.command", message)))
    options, module, target = split
    word = ",".join((*wanted, *(("module",) if module else ())))
    return command._replace(
        program=argv[0] if argv is not command.argv else command.program,
        argv=(argv[0], *options, _BOOTSTRAP, word, *target),
    )


def _argv_of_python(command: Command) -> tuple[str, ...]:
    """The command line that the kernel makes of a file whose first line names a Python; else what `command` has."""
    try:
        with open(command.program, "rb") as file:
            head = file.read(256)
    except OSError:
        return command.argv
    # A carriage return is a part of the name for the kernel, and there is no such Python.
    line = os.fsdecode(head[2:].partition(b"\n")[0]).strip(" \t")
    words = re.split(r"[ \t]+", line, maxsplit=1) if head.startswith(b"#!") else []
    if words and _is_python(words[0] if os.path.basename(words[0]) != "env" else words[-1]):
        return (*words, command.program, *command.argv[1:])
    return command.argv


def _is_python(program: str) -> bool:
    return re.fullmatch(r"(python|pypy)[0-9.]*[dt]*(-dbg|-intel64)?", os.path.basename(program)) is not None


def _options(argv: tuple[str, ...]) -> tuple[tuple[str, ...], bool, tuple[str, ...]] | None:
    """The options for Python itself, whether a module is to run, and it or the script with its arguments; None where
    there is nothing that the bootstrap could run.
    """
    at = 2 if os.path.basename(argv[0]) == "env" and len(argv) > 1 else 1
    if not _is_python(argv[at - 1]):
        return None
    while at < len(argv):
        word = argv[at]
        if word == "-" or not word.startswith("-"):
            return argv[1:at], False, argv[at:]
        if word in _WITH_VALUE:
            at += 1
        elif module := re.fullmatch(r"-([bBdEiIOPqsSuv]*)m(.*)", word):
            options = (*argv[1:at], *((f"-{module[1]}",) if module[1] else ()))
            name = (module[2],) if module[2] else ()
            target = (*name, *argv[at + 1 :])
            return (options, True, target) if target else None
        elif not re.fullmatch(r"-([bBdEiIOPqsSuv]+|[WX].+)", word):
            return None  # -c, -V and what this Python may know
        at += 1
    return None
