"""The files that were read, and the functions in them that nobody was seen to call."""

import ast
import os
import re
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.finding import Finding
from mgelaunch.lint.bindings import Binding, External, Function, Module
from mgelaunch.lint.memory import Memory
from mgelaunch.lint.source import Source
from mgelaunch.lint.state import State

if TYPE_CHECKING:
    from mgelaunch.lint.walk import Walk


_TELLING = frozenset(
    {
        *("environ", "putenv", "unsetenv", "import_module", "__import__", "getattr", "subprocess", "system", "Popen"),
        *("to", "device", "set_device", "set_default_device", "dtr", "eviction_threshold", "evictee_minimum_size"),
    }
)


class Definition(NamedTuple):
    """A function, the walk that came upon it, and what had happened there."""

    walk: "Walk"
    function: Function
    state: State


class Library:
    """All entry scripts share the sources; ``shown`` turns a path into what findings call it. ``entered`` are the
    functions (by the id of their nodes) and ``reached`` the files that have been run; ``telling`` are the words that
    have to do with the environment, to which scripts add their own names for it.
    """

    def __init__(self, shown: Callable[[str], str]) -> None:
        self.shown = shown
        self.sources: dict[str, Source | None] = {}
        self.memory = Memory()
        self.unread: list[Finding] = []
        self.entered: set[int] = set()
        self.reached: set[str] = set()
        self.telling = set(_TELLING)
        self._words: dict[int, frozenset[str]] = {}
        self._yields: dict[int, bool] = {}
        self._spans: dict[tuple[int, int, int], frozenset[str]] = {}
        self._defined: dict[int, Definition] = {}

    def source(self, path: str) -> Source | None:
        """The file at `path`; None when there is none, or it cannot be read (with a finding)."""
        if path not in self.sources:
            self.sources[path] = self._read(path)
        return self.sources[path]

    def _read(self, path: str) -> Source | None:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return None  # to open a pipe is to wait for its writer
            with open(path, "rb") as file:
                return Source(file.read(), path, self.shown(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            message = f"the file cannot be read: {error.strerror}"
            self.unread.append(Finding("error", "file.unreadable", message, place=f"{self.shown(path)}:1:1"))
            return None

    def is_sensitive(self, node: ast.AST, module: Module) -> bool:
        """Whether the words of a function have to do with the environment or a device, so that a constant may make a
        difference.
        """
        if id(node) not in self._words:
            first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", 0)
            span = (id(module.source), first, last)  # thousands of functions may be on one line
            if span not in self._spans:
                lines = module.source.lines if module.source else ()
                self._spans[span] = frozenset(re.findall(r"\w+", "\n".join(lines[first - 1 : last])))
            self._words[id(node)] = self._spans[span]
        return not self.telling.isdisjoint(self._words[id(node)])

    def yields(self, function: ast.AST) -> bool:
        """Whether a function is a generator: to call it runs nothing of it."""
        if id(function) not in self._yields:
            parts, found = list(getattr(function, "body", ())) if not isinstance(function, ast.Lambda) else [], False
            while parts and not found:
                part = parts.pop()
                found = isinstance(part, ast.Yield | ast.YieldFrom)
                if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
                    parts += ast.iter_child_nodes(part)
            self._yields[id(function)] = found
        return self._yields[id(function)]

    def learn(self, name: str, binding: Binding) -> None:
        """Takes note that a script has a name of its own for the environment, or for what changes it."""
        if isinstance(binding, External) and binding.name.startswith("os."):
            self.telling.add(name)

    def define(self, walk: "Walk", function: Function, state: State) -> None:
        """Remembers the first definition of a function."""
        self._defined.setdefault(id(function.node), Definition(walk, function, state))

    def untouched(self) -> list[Definition]:
        """The functions that were defined and never entered, in the order of their definition."""
        return [found for key, found in self._defined.items() if key not in self.entered]
