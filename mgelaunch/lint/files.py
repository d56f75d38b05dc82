"""Which files are to be looked at, and as what."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
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


class Collection(NamedTuple):
    """The files to look at, and why some folders (``filename``) could not be listed."""

    files: tuple[Found, ...]
    unlisted: tuple[OSError, ...]


def collect(paths: Sequence[str], cwd: str) -> Collection:
    """All files that `paths` (files and folders) stand for, each once, sorted within each folder.

    Raises:
        UsageError: some of the paths stand for nothing that can be looked at.
    """
    _all_there(paths, cwd)
    found: dict[str, Found] = {}
    unlisted: list[OSError] = []
    for path in paths:
        full = os.path.normpath(os.path.join(cwd, path))
        if os.path.isdir(full):
            for file in _below(full, unlisted.append):
                found.setdefault(file.path, file)
        elif sort := sort_of(full, named=True):
            found[full] = Found(full, sort, named=True)
        else:
            raise UsageError(f"{path} is no .py, .toml or .env file")
    return Collection(tuple(found.values()), tuple(unlisted))


def _all_there(paths: Sequence[str], cwd: str) -> None:
    """Raises UsageError unless each path is a file or a folder, or a link to one."""
    if "" in paths:
        raise UsageError("a PATH is empty: so may be the variable of your shell that stands for it")
    full = {path: os.path.join(cwd, path) for path in paths}
    if missing := [path for path in full if not os.path.exists(full[path])]:
        raise UsageError(f"there is no file or folder {', '.join(missing)}")
    full = {path: os.path.normpath(place) for path, place in full.items()}
    if special := [path for path in full if not os.path.isfile(full[path]) and not os.path.isdir(full[path])]:
        raise UsageError(f"neither a file nor a folder: {', '.join(special)}")


def _below(folder: str, failed: Callable[[OSError], None]) -> Iterator[Found]:
    """The files below `folder`; `failed` gets why a folder cannot be listed."""
    for current, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _LEFT_OUT and not os.path.exists(os.path.join(current, name, "pyvenv.cfg"))
        )
        for name in sorted(names):
            path = os.path.join(current, name)
            if (sort := sort_of(path, named=False)) and _is_file(path):
                yield Found(path, sort, named=False)


def _is_file(path: str) -> bool:
    """Whether `path` can be read without waiting for a writer; so is one that is locked away, as reading it tells."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False  # a link to nowhere
