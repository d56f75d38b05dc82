"""Where the local modules of a script lie."""

import os
import sys
from collections.abc import Sequence

from mgelaunch.lint.packages import LOADS

_BEFORE_ALL = frozenset({*sys.builtin_module_names, "os", "site", "codecs", "io", "abc", "stat", "types"})
"""Modules that the interpreter has loaded before a script begins, so that no file can stand in for them."""


class Finder:
    """Finds modules below the folders that the entry script sees. ``roots[0]`` is its own folder, which comes before
    everything, as for Python; the others are where it is probably started from, and give way to known packages.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = tuple(dict.fromkeys(roots))
        self._found: dict[str, str] = {}

    def top(self, name: str) -> str:
        """The path of the module `name`, which has no dot: a file, or the folder of a package; empty when it is not
        local.
        """
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def _search(self, name: str) -> str:
        if name in _BEFORE_ALL:
            return ""
        known = name in LOADS or name in sys.stdlib_module_names
        if own := inside(self.roots[0], name, regular=known):
            return own
        if name in sys.stdlib_module_names:
            return ""
        return next((found for root in self.roots[1:] if (found := inside(root, name, regular=known))), "")


def inside(folder: str, name: str, *, regular: bool = False) -> str:
    """The path of the module `name` in `folder`; with `regular` a folder without ``__init__.py`` does not count."""
    package = os.path.join(folder, name)
    if os.path.isfile(os.path.join(package, "__init__.py")):
        return package
    if os.path.isfile(f"{package}.py"):
        return f"{package}.py"
    return package if not regular and os.path.isdir(package) else ""


def roots(script: str, tops: Sequence[str]) -> list[str]:
    """The folders from which the modules of `script` may be imported: its own, those above it up to the first of `tops`
    that holds it (an empty one is none), and ``src`` in each of these.
    """
    own = os.path.dirname(script)
    top = next((folder for folder in tops if folder and _holds(folder, own)), own)
    folders = [own]
    while folders[-1] != top:
        folders.append(os.path.dirname(folders[-1]))
    sources = [source for folder in folders if os.path.isdir(source := os.path.join(folder, "src"))]
    return [*folders, *sources]


def _holds(folder: str, inner: str) -> bool:
    return f"{inner}/".startswith(f"{folder.rstrip('/')}/")
