"""Statements with blocks inside: which of them run, and what is sure where their ways meet."""

import ast
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mgelaunch.lint.bindings import Binding, External, Instance, Known, Scope
from mgelaunch.lint.evaluate import either, evaluate, texts
from mgelaunch.lint.state import State, merged
from mgelaunch.lint.writes import is_environment

if TYPE_CHECKING:
    from mgelaunch.lint.walk import Walk


class _Crossing:
    """Where ways part and meet again: each begins with what was known here, and the names that they bind differently
    may stand for any of it afterwards.
    """

    def __init__(self, walk: "Walk", scope: Scope) -> None:
        self.walk = walk
        self.scope = scope
        self._names = dict(scope.names)
        self._ends: list[tuple[State, dict[str, Binding]]] = []

    def way(self, before: State | None, statements: list[ast.stmt]) -> State | None:
        """Runs one of the ways, from `before` on, and returns the state at its end."""
        self.walk.state = before
        self.scope.names = dict(self._names)
        self.walk.block(statements, self.scope)
        if self.walk.state is not None:
            self._ends.append((self.walk.state, self.scope.names))
        return self.walk.state

    def meet(self, state: State | None = None) -> None:
        """Goes on behind the ways, in `state` if it is given."""
        names: dict[str, Binding] = {}
        ends = [names for _, names in self._ends] or [self._names]
        for end in ends:
            for name, binding in end.items():
                known = names.setdefault(name, binding)
                if known is not binding:
                    names[name] = either([known, binding])
        self.scope.names = names
        states = [state for state, _ in self._ends]
        self.walk.state = state or (merged(states) if states else None)


def _if(walk: "Walk", node: ast.If, scope: Scope) -> None:
    """A chain of ``elif`` is one node inside the other, and may be longer than calls can be nested."""
    crossing = _Crossing(walk, scope)
    part: ast.If | None = node
    while part is not None:
        walk.evaluate(part.test, scope)
        scope.test(part.test)
        truth, before = truth_of(part.test, walk, scope), walk.state
        if truth is not False:
            unset, walk.unset = walk.unset, walk.unset | _unset(part.test, walk, scope)
            crossing.way(before, part.body)
            walk.unset = unset
        if truth is True:
            break
        chained = part.orelse[0] if len(part.orelse) == 1 and isinstance(part.orelse[0], ast.If) else None
        if chained is None:
            crossing.way(before, part.orelse)
        walk.state = before
        part = chained
    crossing.meet()


def truth_of(test: ast.expr, walk: "Walk", scope: Scope) -> bool | None:
    """What a condition is known to be: whether this is the main script or something is loaded, TYPE_CHECKING, or a
    constant.
    """
    match test:
        case ast.Constant(value):
            return bool(value)
        case ast.Name("TYPE_CHECKING") | ast.Attribute(_, "TYPE_CHECKING"):
            return False
        case ast.Compare(left, [ast.Eq() | ast.NotEq() as operator], [right]) if _is_guard(left, right):
            return walk.is_main(scope.module.path) is isinstance(operator, ast.Eq)
        case ast.Compare(ast.Constant(str(name)), [ast.In() | ast.NotIn() as operator], [modules]):
            known = evaluate(modules, scope, walk.results) == External("sys.modules") and walk.has_loaded(name)
            return isinstance(operator, ast.In) if known else None
        case ast.UnaryOp(ast.Not(), operand):
            truth = truth_of(operand, walk, scope)
            return None if truth is None else not truth
        case ast.BoolOp(ast.And(), values):
            return False if any(truth_of(value, walk, scope) is False for value in values) else None
    return None


def _unset(test: ast.expr, walk: "Walk", scope: Scope) -> frozenset[str]:
    """The variables that are not there where a condition holds."""
    match test:
        case ast.Compare(name, [ast.NotIn()], [right]) | ast.UnaryOp(ast.Not(), ast.Compare(name, [ast.In()], [right])):
            there = is_environment(evaluate(right, scope, walk.results))
            return frozenset(texts(evaluate(name, scope, walk.results)) if there else ())
        case ast.Compare(ast.Call() as asked, [ast.Is() | ast.Eq()], [ast.Constant(None)]):
            return _asked_for(asked, walk, scope)
        case ast.UnaryOp(ast.Not(), ast.Call() as asked):
            return _asked_for(asked, walk, scope)
        case ast.BoolOp(ast.And(), values):
            return frozenset().union(*(_unset(value, walk, scope) for value in values))
    return frozenset()


def _asked_for(call: ast.Call, walk: "Walk", scope: Scope) -> frozenset[str]:
    """The variable for which ``os.environ.get(name)`` asks."""
    asks = evaluate(call.func, scope, walk.results) in {External("os.environ.get"), External("os.getenv")}
    return frozenset(texts(evaluate(call.args[0], scope, walk.results)) if asks and len(call.args) == 1 else ())


def _is_guard(*sides: ast.expr) -> bool:
    name = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
    return name and any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)


def has_main_block(tree: ast.Module) -> bool:
    """Whether the file is written to be run: it has a block for ``__main__``."""
    return any(
        isinstance(part, ast.Compare) and _is_guard(part.left, *part.comparators)
        for statement in tree.body
        if isinstance(statement, ast.If)
        for part in ast.walk(statement.test)
    )


def _for(walk: "Walk", node: ast.For | ast.AsyncFor, scope: Scope) -> None:
    iterated = walk.evaluate(node.iter, scope)
    items = iterated.value if isinstance(iterated, Known) else ()
    if isinstance(items, dict):
        items = tuple(map(Known, items))
    if not (isinstance(items, tuple) and items and walk.unrolled < 2):
        items = (None,)
    repeats = len(items) > 1
    walk.unrolled += repeats
    for item in items:
        walk.assign(node.target, item, scope)
        _round(walk, node.body, scope)
    walk.unrolled -= repeats
    walk.block(node.orelse, scope)


def _while(walk: "Walk", node: ast.While, scope: Scope) -> None:
    walk.evaluate(node.test, scope)
    _round(walk, node.body, scope)
    walk.block(node.orelse, scope)


def _round(walk: "Walk", statements: list[ast.stmt], scope: Scope) -> None:
    """One round of a loop. A round that returns is not the only way on."""
    before = walk.state
    walk.block(statements, scope)
    walk.state = before if walk.state is None else walk.state


def _try(walk: "Walk", node: ast.Try, scope: Scope) -> None:
    """What a ``try`` does is taken for done; what happens in its handlers is not sure."""
    before = walk.state
    walk.block([*node.body, *node.orelse], scope)
    tried, names = walk.state, scope.names
    crossing = _Crossing(walk, scope)
    ends = []
    for handler in node.handlers:
        if handler.name:
            scope.bind(handler.name, None)
        ends.append(crossing.way(before, handler.body))
    crossing.meet(tried and _with_doubts(tried, ends))
    if tried is not None:  # what a handler binds counts for names that have no meaning yet: not ``torch = None``
        scope.names |= {name: binding for name, binding in names.items() if binding is not None}
    over, walk.state = walk.state is None, walk.state or before
    walk.block(node.finalbody, scope)
    walk.state = None if over else walk.state


def _with_doubts(tried: State, ends: list[State | None]) -> State:
    for end in ends:
        for key, happening in end.happened.items() if end else ():
            tried = tried.after(key, happening._replace(sure=False))
    return tried


def _with(walk: "Walk", node: ast.With | ast.AsyncWith, scope: Scope) -> None:
    for item in node.items:
        entered = walk.evaluate(item.context_expr, scope)
        if isinstance(entered, Instance):
            entered = walk.calls.call_any(entered.find("__enter__"))
        if item.optional_vars is not None:
            walk.assign(item.optional_vars, entered, scope)
    walk.block(node.body, scope)


def _match(walk: "Walk", node: ast.Match, scope: Scope) -> None:
    walk.evaluate(node.subject, scope)
    scope.test(node.subject)
    before, crossing = walk.state, _Crossing(walk, scope)
    for case in node.cases:
        crossing.way(before, case.body)
    crossing.way(before, [])  # none of them matches
    crossing.meet()


BRANCHES: Mapping[type[ast.stmt], Callable[["Walk", Any, Scope], None]] = {
    ast.If: _if,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.Try: _try,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Match: _match,
}
if trystar := getattr(ast, "TryStar", None):  # from Python 3.11 on
    BRANCHES = {**BRANCHES, trystar: _try}
