"""Which Python runs the script, and why."""

import os.path
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mgelaunch.finding import Finding

_FRAMEWORKS = ("megengine", "brevitas", "torch")
_Candidate = tuple[str, str]
"""A path and the rule that proposes it."""


class Surroundings(NamedTuple):
    """What the choice depends on. ``flag`` and ``profile`` are what ``--python`` and the profile's
    ``[launch] python`` say (empty: nothing; the profile's is absolute or a bare name). ``own`` is
    mgelaunch's own interpreter, ``own_path`` its ``sys.path``.
    """

    environ: Mapping[str, str]
    cwd: str
    project_root: str | None
    own: str
    own_path: tuple[str, ...]
    flag: str = ""
    profile: str = ""


class Interpreter(NamedTuple):
    """The interpreter (absolute path, symbolic links kept; empty when none was found), the rule that
    chose it, the places looked at, and a warning when two rules disagree.
    """

    path: str
    chosen_by: str
    tried: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def choose(around: Surroundings) -> Interpreter:
    """The first rule that names an interpreter wins; a named one that is not there is an error."""
    for value, rule in (
        (around.flag, "--python"),
        (around.profile, "profile"),
        (around.environ.get("MGELAUNCH_PYTHON", ""), "MGELAUNCH_PYTHON"),
    ):
        if value:
            return _named(value, rule, around)
    tried: list[str] = []
    warnings: list[Finding] = []
    for find in _RULES:
        for path, rule in find(around, warnings):
            tried.append(f"{path} ({rule})")
            if _is_program(path):
                return Interpreter(path, rule, tuple(tried), tuple(warnings))
    message = f"no Python was found; looked at {', '.join(tried) or 'an empty PATH'}"
    finding = Finding("error", "target.python", message, (), "--python /path/to/python")
    return Interpreter("", "", tuple(tried), (*warnings, finding))


def _named(value: str, rule: str, around: Surroundings) -> Interpreter:
    """`value` as a program, an environment's folder, or a name on ``PATH``."""
    for name in (value, f"python{value}"):  # a command, or a version such as 3.10
        if os.sep not in value and (on_path := search(name, around.environ.get("PATH", os.defpath))):
            return Interpreter(on_path, rule, (on_path,))
    if value.startswith("~/"):
        value = around.environ.get("HOME", "~") + value[1:]
    path = os.path.join(around.cwd, value)
    if os.path.isdir(path):
        path = os.path.join(path, "bin", "python")
    if _is_program(path):
        return Interpreter(os.path.abspath(path), rule, (path,))
    why = "is not executable" if os.path.exists(path) else "is not there"
    code = "target.permission" if os.path.exists(path) else "target.python"
    finding = Finding("error", code, f"the Python that {rule} names {why}", (), "--python /path/to/python", path)
    return Interpreter("", rule, (path,), (finding,))


def _virtual_env(around: Surroundings, warnings: list[Finding]) -> Iterator[_Candidate]:
    yield from _active(around.environ.get("VIRTUAL_ENV", ""), "VIRTUAL_ENV", around, warnings)


def _conda_env(around: Surroundings, warnings: list[Finding]) -> Iterator[_Candidate]:
    prefix = around.environ.get("CONDA_PREFIX", "")
    if prefix and not _is_conda_base(prefix, around.environ):
        yield from _active(prefix, "CONDA_PREFIX", around, warnings)


def _active(prefix: str, name: str, around: Surroundings, warnings: list[Finding]) -> Iterator[_Candidate]:
    """The environment's python, if it is the one that ``python`` on PATH means."""
    if not prefix:
        return
    path = os.path.join(prefix, "bin", "python")
    first = search("python", around.environ.get("PATH", os.defpath))
    elsewhere = first and os.path.realpath(os.path.dirname(first)) != os.path.realpath(os.path.dirname(path))
    if not (elsewhere and _is_program(path)):
        yield path, name
    elif first:
        message = f"{name} names another Python than PATH, whose {first} is used"
        warnings.append(Finding("warning", "target.environment", message, (name,), f"--python {prefix}"))
        yield first, "PATH"


def _own(around: Surroundings, _: list[Finding]) -> Iterator[_Candidate]:
    """The interpreter of mgelaunch itself, when a framework is installed beside it."""
    for folder in around.own_path:
        if folder and any(os.path.isfile(os.path.join(folder, name, "__init__.py")) for name in _FRAMEWORKS):
            yield around.own, "mgelaunch's own"
            return


def _project_env(around: Surroundings, _: list[Finding]) -> Iterator[_Candidate]:
    """``.venv`` in the working directory or above it, up to the project root."""
    folder = around.cwd
    while True:
        candidate = os.path.join(folder, ".venv")
        if os.path.isdir(candidate):
            yield os.path.join(candidate, "bin", "python"), ".venv"
        parent = os.path.dirname(folder)
        if around.project_root is None or folder in {around.project_root, parent}:
            return
        folder = parent


def _conda_base(around: Surroundings, _: list[Finding]) -> Iterator[_Candidate]:
    prefix = around.environ.get("CONDA_PREFIX", "")
    if prefix and _is_conda_base(prefix, around.environ):
        yield os.path.join(prefix, "bin", "python"), "conda base"


def _on_path(around: Surroundings, _: list[Finding]) -> Iterator[_Candidate]:
    folders = [folder for folder in around.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    for name in ("python3", "python"):
        yield from ((os.path.abspath(os.path.join(folder, name)), "PATH") for folder in folders)


_RULES: tuple[Callable[[Surroundings, list[Finding]], Iterator[_Candidate]], ...] = (
    _virtual_env,
    _conda_env,
    _own,
    _project_env,
    _conda_base,
    _on_path,
)


def _is_conda_base(prefix: str, environ: Mapping[str, str]) -> bool:
    return environ.get("CONDA_DEFAULT_ENV") == "base" or os.path.isdir(os.path.join(prefix, "condabin"))


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def search(name: str, path: str) -> str | None:
    """The first executable file called `name` in the folders of `path` (a ``PATH``); None when there is none.

    Empty entries are skipped: what they mean (the working directory) is never meant.
    """
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder, name)
        if folder and _is_program(candidate):
            return os.path.abspath(candidate)
    return None
