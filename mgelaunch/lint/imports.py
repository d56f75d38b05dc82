"""Imports: local modules are followed, packages load the readers that they are known to load."""

import ast
import os
from typing import TYPE_CHECKING

from mgelaunch.lint.bindings import Binding, External, Module, Scope
from mgelaunch.lint.locate import Finder, inside
from mgelaunch.lint.packages import LOADS
from mgelaunch.lint.state import Happening

if TYPE_CHECKING:
    from mgelaunch.lint.walk import Walk

_INIT = "__init__.py"


class Imports:
    """The modules that one run of a script has loaded."""

    def __init__(self, walk: "Walk", finder: Finder) -> None:
        self.walk = walk
        self._finder = finder
        self.loaded: dict[str, Module] = {}
        self.asked: list[str] = []

    def top(self, name: str) -> str:
        """Where the module `name`, which has no dot, lies; empty when it is not local."""
        return self._finder.top(name)

    def load(self, path: str) -> Module:
        """The module at `path` (a file, or the folder of a package), which is run when it is met first."""
        walk, file = self.walk, path if path.endswith(".py") else os.path.join(path, _INIT)
        if file in self.loaded:
            return self.loaded[file]
        if walk.state is None or walk.too_deep:
            return Module(file, None)
        memory, key = walk.library.memory, (file, walk.state.key, walk.is_main(file))
        if record := memory.find(key, walk):
            memory.repeat(record, walk, walk.state)
            return self.loaded[file]
        mark = memory.begin(walk, walk.state)
        module = self.loaded[file] = Module(file, walk.library.source(file))
        if module.source is not None:
            walk.library.reached.add(file)
            walk.block(module.source.tree.body, module.scope)
        memory.end(key, walk, mark, None)
        return module

    def modules_of(self, node: ast.Import, scope: Scope) -> None:
        """``import a.b``, ``import a.b as c``."""
        for alias in node.names:
            first, last = self._chain(alias.name)
            self._read(alias.name, f"import {alias.name}", node, scope)
            if alias.asname:
                scope.bind(alias.asname, last)
            else:
                scope.bind(alias.name.partition(".")[0], first)

    def names_of(self, node: ast.ImportFrom, scope: Scope) -> None:
        """``from a.b import c``, ``from . import c``."""
        name = node.module or ""
        if node.level:
            origin = self._relative(scope.module, node.level, name)
        else:
            origin = self._chain(name)[1]
            self._read(name, f"from {name} import {node.names[0].name}", node, scope)
        for alias in node.names:
            if alias.name != "*":
                member = self._member(origin, alias.name)
                scope.bind(alias.asname or alias.name, member)
                self.walk.library.learn(alias.asname or alias.name, member)
            elif isinstance(origin, Module):
                public = {name: found for name, found in origin.scope.names.items() if not name.startswith("_")}
                scope.names.update(public)

    def named(self, name: str, node: ast.Call, scope: Scope) -> Binding:
        """``importlib.import_module("a.b")``."""
        if name.startswith("."):
            return None
        module = self._chain(name)[1]
        self._read(name, f"import {name}", node, scope)
        return module

    def _read(self, name: str, text: str, node: ast.stmt | ast.expr, scope: Scope) -> None:
        """Notes what an import has loaded, behind it: a framework whose own sources are followed may set variables for
        itself.
        """
        state, source = self.walk.state, scope.module.source
        if state is not None and source is not None:
            for reader in sorted(LOADS.get(name.partition(".")[0], ())):
                state = state.after(reader, Happening(text, source.line(node)))
            self.walk.state = state

    def _chain(self, name: str) -> tuple[Binding, Binding]:
        """The first and the last module of a dotted name."""
        top, *rest = name.split(".")
        path = self.top(top)
        self.asked.append(top)
        if not path:
            return External(top), External(name)
        first = last = self.load(path)
        for part in rest:
            below = self._below(last, part)
            if below is None:
                return first, None
            last = below
        return first, last

    def _relative(self, module: Module, level: int, name: str) -> Binding:
        folder = os.path.dirname(module.path)
        for _ in range(level - 1):
            folder = os.path.dirname(folder)
        found: Module | None = self.load(folder)
        for part in filter(None, name.split(".")):
            found = self._below(found, part) if found is not None else None
        return found

    def _below(self, package: Module, name: str) -> Module | None:
        """The module `name` of a package, which Python then also binds in it."""
        if os.path.basename(package.path) != _INIT:
            return None
        path = inside(os.path.dirname(package.path), name)
        if not path:
            return None
        module = self.load(path)
        package.scope.names[name] = module
        return module

    def _member(self, origin: Binding, name: str) -> Binding:
        if isinstance(origin, External):
            return External(f"{origin.name}.{name}")
        if not isinstance(origin, Module):
            return None
        known = origin.scope.names.get(name)
        if known is None or isinstance(known, Module):  # which another script may have bound
            return self._below(origin, name) or known
        return known
