"""Which files are to be looked at, and as what."""

import os
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from mgelaunch.errors import UsageError

Sort = Literal["script", "profile", "env"]

_LEFT_OUT = frozenset(
    {
        *(".bzr", ".direnv", ".eggs", ".git", ".hg", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pants.d", ".pyenv"),
        *(
            ".pytest_cache",
            ".ruff_cache",
            ".svn",
            ".tox",
            ".venv",
            ".vscode",
            "__pycache__",
            "__pypackages__",
            "_build",
        ),
        *("buck-out", "build", "dist", "node_modules", "site-packages", "venv"),
    }
)
"""Folders that are not looked into unless they are named: the defaults of ruff. So is every virtual environment."""

_SAMPLES = (".example", ".sample", ".template", ".dist")
"""Endings of ``.env`` files that are forms to fill in."""

PROFILES = ".mgelaunch"


class Found(NamedTuple):
    """A file to look at (absolute). ``named``: it was given by name, not found in a folder."""

    path: str
    sort: Sort
    named: bool


def sort_of(path: str, *, named: bool) -> Sort | None:
    """What kind of file it is; None when it is none of ours. In a folder only the profiles of a project are, since any
    tool may have a TOML file of its own.
    """
    name = os.path.basename(path)
    if name.endswith((".py", ".pyw")):
        return "script"
    if name.endswith(".toml") and (named or os.path.basename(os.path.dirname(path)) == PROFILES):
        return "profile"
    is_env = name == ".env" or name.endswith(".env") or (name.startswith(".env.") and not name.endswith(_SAMPLES))
    return "env" if is_env else None


def collect(paths: Sequence[str], cwd: str) -> list[Found]:
    """All files that `paths` (files and folders) stand for, each once, sorted within each folder.

    Raises:
        UsageError: some of the paths stand for nothing.
    """
    found: dict[str, Found] = {}
    missing = [path for path in paths if not os.path.lexists(os.path.join(cwd, path))]
    if missing:
        raise UsageError(f"there is no file or folder {', '.join(missing)}")
    for path in paths:
        full = os.path.normpath(os.path.join(cwd, path))
        if os.path.isdir(full):
            for file in _below(full):
                found.setdefault(file.path, file)
        elif sort := sort_of(full, named=True):
            found[full] = Found(full, sort, named=True)
        else:
            raise UsageError(f"{path} is no .py, .toml or .env file")
    return list(found.values())


def _below(folder: str) -> Iterator[Found]:
    for current, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _LEFT_OUT and not os.path.exists(os.path.join(current, name, "pyvenv.cfg"))
        )
        for name in sorted(names):
            path = os.path.join(current, name)
            if (sort := sort_of(path, named=False)) and os.path.isfile(path):
                yield Found(path, sort, named=False)
