"""From TARGET to the program to execute: a script, a module, or any command."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from mgelaunch.finding import Finding
from mgelaunch.target.interpreter import Interpreter, search

_SCRIPT_ENDINGS = (".py", ".pyz", ".zip")


class Target(NamedTuple):
    """What the user wants to run: a script or a command, or with ``module`` a module, and its arguments. With
    ``program`` it is a command whatever its name ends in.
    """

    name: str
    args: tuple[str, ...] = ()
    module: bool = False
    program: bool = False


class Command(NamedTuple):
    """The file to execute (empty when there is none) and the arguments it gets, its own name first."""

    program: str
    argv: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def find_command(target: Target, interpreter: Interpreter, cwd: str, path: str) -> Command:
    """The command line of `target`; `path` is the ``PATH`` that the job gets.

    A script's existence is checked here, so that nothing is started for a slip of the pen; whether a
    module can be found only its interpreter knows.
    """
    if target.module:
        return _python(interpreter, ("-m", target.name, *target.args))
    full = os.path.join(cwd, target.name)
    is_folder = os.path.isdir(full)
    if target.name == "-" and not target.program:
        return _python(interpreter, ("-", *target.args))
    if not target.program and _is_script(target.name, full, is_folder=is_folder):
        return _script(target, interpreter, full)
    if _is_environment(interpreter.path):
        path = os.pathsep.join((os.path.dirname(interpreter.path), path))  # its own commands come first
    if is_folder and (os.sep in target.name or not search(target.name, path)):
        return _nothing("target.directory", f"{target.name} is a directory without __main__.py")
    return _program(target, interpreter, full, path)


def _is_script(name: str, full: str, *, is_folder: bool) -> bool:
    return name.endswith(_SCRIPT_ENDINGS) or (is_folder and os.path.isfile(os.path.join(full, "__main__.py")))


def _python(interpreter: Interpreter, arguments: Sequence[str]) -> Command:
    if not interpreter.path:
        return Command("", (), interpreter.findings)
    return Command(interpreter.path, (interpreter.path, *arguments), interpreter.findings)


def _script(target: Target, interpreter: Interpreter, full: str) -> Command:
    if not os.path.exists(full):
        return _nothing("target.missing", f"there is no script {os.path.normpath(full)}")
    if os.path.isdir(full) and not os.path.isfile(os.path.join(full, "__main__.py")):
        return _nothing("target.directory", f"{target.name} is a directory without __main__.py")
    if not os.access(full, os.R_OK):
        return _nothing("target.permission", f"{target.name} cannot be read", f"chmod +r {target.name}")
    name = f"./{target.name}" if target.name.startswith("-") else target.name  # no option of Python's
    return _python(interpreter, (name, *target.args))


def _program(target: Target, interpreter: Interpreter, full: str, path: str) -> Command:
    """A command: with a slash it is a path, else the first of its name on `path`."""
    argv = (target.name, *target.args)
    about_python = interpreter.findings if interpreter.chosen_by else ()  # no Python at all is no obstacle
    if os.sep in target.name:
        if not os.path.exists(full):
            return _nothing("target.missing", f"there is no command {target.name}")
        if not os.access(full, os.X_OK):
            return _nothing("target.permission", f"{target.name} is not executable", f"chmod +x {target.name}")
        return _first_line(target.name, full) or Command(full, argv, about_python)
    if found := search(target.name, path):
        return _first_line(found, found) or Command(found, argv, about_python)
    remedy = f"./{target.name}" if os.path.exists(full) else ""
    return _nothing("target.missing", f"there is no command {target.name} on PATH", remedy)


def _is_environment(python: str) -> bool:
    """Whether `python` belongs to a virtual or conda environment. A system's ``bin`` must not come before PATH."""
    prefix = os.path.dirname(os.path.dirname(python))
    return bool(python) and (
        os.path.isfile(os.path.join(prefix, "pyvenv.cfg")) or os.path.isdir(os.path.join(prefix, "conda-meta"))
    )


def _first_line(name: str, full: str) -> Command | None:
    """Why the kernel would not execute the file: a text needs a ``#!`` line that names an interpreter."""
    try:
        with open(full, "rb") as file:
            head = file.read(256)
    except OSError:
        return None  # executable, though not readable: the kernel will tell
    if head.startswith(b"#!"):
        words = os.fsdecode(head[2:].partition(b"\n")[0]).split()
        if words and os.path.exists(words[0]):
            return None
        return _nothing("target.missing", f"the interpreter in the first line of {name} is not there")
    if b"\0" in head:
        return None
    return _nothing("target.format", f"{name} is a text without a #! line", f"bash {name}")


def _nothing(code: str, message: str, remedy: str = "") -> Command:
    return Command("", (), (Finding("error", code, message, (), remedy),))
