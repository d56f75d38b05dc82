"""Calls: functions of the script are entered, those of packages do what is known of them."""

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mgelaunch.lint import writes
from mgelaunch.lint.bindings import (
    Binding,
    Class,
    External,
    Function,
    Instance,
    Known,
    Scope,
    as_method,
    choices,
)
from mgelaunch.lint.builtin import CHANGING, change, method, outcome
from mgelaunch.lint.devices import opened
from mgelaunch.lint.evaluate import either, evaluate, texts
from mgelaunch.lint.given import Given
from mgelaunch.lint.packages import BY_START_METHOD, CHILDREN, EXECUTES, IN_A_CHILD, INTERPRETERS
from mgelaunch.lint.source import dotted
from mgelaunch.lint.state import AFRESH, Happening, merged

if TYPE_CHECKING:
    from mgelaunch.lint.walk import Walk

_IMPORTS = frozenset({"importlib.import_module", "__import__"})


def _set_attribute(args: Sequence[Binding]) -> None:
    """``setattr(object, name, value)``; one whose name is not known may be any of those that are."""
    for each in choices(args[0]):
        if isinstance(each, Instance):
            names = texts(args[1]) if len(args) > 1 else []
            value = args[2] if names and len(args) > 2 else None
            each.names |= dict.fromkeys(names or (*each.names, *each.of.fields()), value)


class Calls:
    """The calls of one run of a script."""

    def __init__(self, walk: "Walk") -> None:
        self.walk = walk

    def call(self, node: ast.Call, scope: Scope, *, conditional: bool) -> Binding:
        """Makes a call of the script; `conditional`: it may be left out."""
        walk = self.walk
        before = walk.state
        callee = evaluate(node.func, scope, walk.results)
        values = [self._one(each, node, scope) for each in choices(callee)]
        value = values[0] if len(values) == 1 else either(values)
        if conditional and before is not None:
            walk.state = merged([before, walk.state]) if walk.state is not None else before
        return value

    def _given(self, node: ast.Call, scope: Scope, *, wary: bool) -> Given:
        """The arguments of a call; `wary` leaves out constants that a condition may have kept from coming here."""
        results, more = self.walk.results, False
        args: list[Binding] = []
        for arg in node.args:
            binding = evaluate(arg, scope, results)
            if not isinstance(arg, ast.Starred):
                args.append(scope.trusted(binding, arg) if wary else binding)
            elif isinstance(binding, Known) and isinstance(binding.value, tuple):
                args += binding.value
            else:
                more = True
                break  # where the others stand is not known
        named = {each.arg: evaluate(each.value, scope, results) for each in node.keywords if each.arg}
        if wary:
            named |= {each.arg: scope.trusted(named[each.arg], each.value) for each in node.keywords if each.arg}
        return Given(tuple(args), named, more or any(each.arg is None for each in node.keywords))

    def _one(self, callee: Binding, node: ast.Call, scope: Scope) -> Binding:
        match callee:
            case Function() | Class() | Instance():
                given = self._given(node, scope, wary=True)
                value = self.call_any(callee, given)
                self._pass(given, new_only=True)
                return value
            case External(name):
                return self._external(name, self._given(node, scope, wary=False), node, scope)
        return self._unknown(self._given(node, scope, wary=False), node, scope)

    def call_any(self, callee: Binding, given: Given = Given()) -> Binding:  # noqa: B008 - it is immutable
        """Calls a function, a class or an object of the script."""
        match callee:
            case Function(node) if self.walk.library.yields(node) and not getattr(node, "decorator_list", ()):
                self._run([callee])  # when somebody asks for its items
                return None
            case Function():
                return self.walk.functions.enter(callee, given)
            case Class():
                instance = Instance(callee)
                if not isinstance(callee.find("__init__"), Function):  # Python makes one, of a dataclass
                    instance.names |= dict.fromkeys(callee.fields() if given.args or given.more else ())
                    instance.names |= given.keywords
                for name in ("__init__", "__post_init__"):
                    if isinstance(maker := callee.find(name), Function):
                        self.walk.functions.enter(as_method(maker, instance), given)
                return instance
            case Instance():
                called = callee.find("__call__") or callee.find("forward")
                return self.walk.functions.enter(called, given) if isinstance(called, Function) else None
        return None

    # -- what is not of the script ---------------------------------------------------------------

    def _external(self, name: str, given: Given, node: ast.Call, scope: Scope) -> Binding:
        walk = self.walk
        if name == "super":
            return walk.functions.superior()
        if name == "setattr" and given.args:
            _set_attribute(given.args)
        if name in _IMPORTS and given.args and (named := texts(given.args[0])):
            return walk.imports.named(named[0], node, scope)
        writes.call(walk, name, given, node, scope)
        walk.notes.replaced(name, given.args, node, scope)
        if name in EXECUTES:
            walk.notes.inherits("self")
        if name.startswith(CHILDREN):
            afresh = walk.state is not None and AFRESH in walk.state.happened and name.startswith(BY_START_METHOD)
            is_python = afresh or name.startswith(INTERPRETERS) or given.names_python()
            walk.notes.inherits("python" if is_python else "child")
        self._open(name, given, node, scope)
        self._pass(given, child=name.rpartition(".")[2] in IN_A_CHILD)
        return outcome(name, given.args, given.keywords)

    def _unknown(self, given: Given, node: ast.Call, scope: Scope) -> Binding:
        """A call of something that nobody knows: a method of a constant, or of an object of a package."""
        self._open("", given, node, scope)
        if not isinstance(node.func, ast.Attribute):
            self._pass(given)
            return None
        owner = evaluate(node.func.value, scope, self.walk.results)
        if isinstance(owner, Instance) and node.func.attr == "start":  # of a process or a thread
            self._run([run] if isinstance(run := owner.find("run"), Function) else [], child=True)
        self._pass(given, child=node.func.attr in IN_A_CHILD)
        if isinstance(owner, Known) and node.func.attr in CHANGING:
            changed = change(owner, node.func.attr, given.args)
            if isinstance(node.func.value, ast.Name):
                scope.bind(node.func.value.id, changed)
        return method(owner, node.func.attr, given.args)

    def _open(self, name: str, given: Given, node: ast.Call, scope: Scope) -> None:
        source, state = scope.module.source, self.walk.state
        if source is None or state is None:
            return
        for key, sure in opened(node, name, given.args, given.keywords):
            state = state.after(key, Happening(f"{dotted(node.func)}()", source.line(node), sure))
        self.walk.state = state

    def _pass(self, given: Given, *, child: bool = False, new_only: bool = False) -> None:
        """Whoever is given a function may call it. With `new_only` those that have been entered are left out."""
        entered = self.walk.library.entered if new_only else ()
        self._run([each for each in given.functions() if id(each.node) not in entered], child=child)

    def _run(self, functions: Sequence[Function], *, child: bool = False) -> None:
        """Enters `functions` that somebody else will call, who knows when: what happens in them is not sure, and in a
        child of this process it stays there.
        """
        for function in functions:
            before = self.walk.state
            if before is None:
                return
            self.walk.state = before.in_a_child() if child else before
            self.walk.functions.enter(function, Given(more=True))
            after = self.walk.state
            self.walk.state = before if child or after is None else merged([before, after])
