"""What the statements of Python do to names and to the environment."""

import ast
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mgelaunch.lint.bindings import Binding, Class, External, Function, Instance, Known, Module, Scope, choices
from mgelaunch.lint.branching import BRANCHES
from mgelaunch.lint.evaluate import evaluate, texts, total
from mgelaunch.lint.packages import ENDS
from mgelaunch.lint.writes import is_environment, told, update, write

if TYPE_CHECKING:
    from mgelaunch.lint.walk import Walk


def _expression(walk: "Walk", node: ast.Expr, scope: Scope) -> None:
    walk.evaluate(node.value, scope)
    if isinstance(node.value, ast.Call):
        callee = evaluate(node.value.func, scope, walk.results)
        if isinstance(callee, External) and callee.name in ENDS:
            walk.state = None


def _assign(walk: "Walk", node: ast.Assign, scope: Scope) -> None:
    binding = walk.evaluate(node.value, scope)
    for target in node.targets:
        assign(walk, target, binding, scope, node.value)


def _annotated(walk: "Walk", node: ast.AnnAssign, scope: Scope) -> None:
    if node.value is not None:
        assign(walk, node.target, walk.evaluate(node.value, scope), scope, node.value)


def assign(walk: "Walk", target: ast.expr, binding: Binding, scope: Scope, value: ast.expr | None = None) -> None:
    """Lets `target` stand for `binding`, which `value` came to, or writes it to the environment."""
    match target:
        case ast.Name(name):
            scope.bind(name, binding)
            walk.library.learn(name, binding)
        case ast.Tuple(targets) | ast.List(targets):
            items = binding.value if isinstance(binding, Known) and isinstance(binding.value, tuple) else ()
            known = items if len(items) == len(targets) else (None,) * len(targets)
            for part, item in zip(targets, known, strict=True):
                assign(walk, part, item, scope, value)
        case ast.Starred(inner):
            assign(walk, inner, None, scope)
        case ast.Subscript(container, index):
            names = texts(walk.evaluate(index, scope))
            _store(walk, target, walk.evaluate(container, scope), names, told(binding, value, scope), scope)
        case ast.Attribute(owner, name):
            walk.library.learn(name, binding)
            for each in choices(walk.evaluate(owner, scope)):
                if isinstance(each, Instance):
                    each.names[name] = binding
                elif isinstance(each, Class | Module):
                    each.scope.names[name] = binding
                elif isinstance(each, External) and walk.state is not None:
                    walk.notes.replaced(f"{each.name}.{name}", (binding,), target, scope)


def _store(
    walk: "Walk", target: ast.Subscript, container: Binding, names: list[str], value: Binding, scope: Scope
) -> None:
    if is_environment(container):
        write(walk, names, "set", value, target, scope)
    elif not isinstance(container, Known):
        return
    elif isinstance(container.value, dict):
        # What has parts might have this dictionary among them.
        simple = not any(isinstance(each, Known) and isinstance(each.value, tuple | dict) for each in choices(value))
        container.value.update(dict.fromkeys(names or container.value, value if simple and names else None))
    elif isinstance(target.value, ast.Name):
        scope.bind(target.value.id, None)  # a list that has become another


def _augmented(walk: "Walk", node: ast.AugAssign, scope: Scope) -> None:
    value = walk.evaluate(node.value, scope)
    if is_environment(evaluate(node.target, scope, walk.results)):
        update(walk, value, node.value, scope)
    else:
        adds = isinstance(node.op, ast.Add) and isinstance(node.target, ast.Name)
        found = total(walk.evaluate(node.target, scope), value) if adds else None
        assign(walk, node.target, found, scope)


def _delete(walk: "Walk", node: ast.Delete, scope: Scope) -> None:
    for target in node.targets:
        if isinstance(target, ast.Subscript) and is_environment(walk.evaluate(target.value, scope)):
            write(walk, texts(walk.evaluate(target.slice, scope)), "remove", None, target, scope)


def _return(walk: "Walk", node: ast.Return, scope: Scope) -> None:
    binding = walk.evaluate(node.value, scope)
    if walk.state is not None:
        walk.functions.leave(binding, walk.state)
    walk.state = None


def _raise(walk: "Walk", node: ast.Raise, scope: Scope) -> None:
    walk.evaluate(node.exc, scope)
    walk.state = None


def _define(walk: "Walk", node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
    for expression in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
        walk.evaluate(expression, scope)
    function = Function(node, scope)
    scope.bind(node.name, function)
    if walk.state is not None:
        walk.library.define(walk, function, walk.state)


def _class(walk: "Walk", node: ast.ClassDef, scope: Scope) -> None:
    for decorator in node.decorator_list:
        walk.evaluate(decorator, scope)
    defined = Class(node, Scope(scope.module, scope), tuple(walk.evaluate(base, scope) for base in node.bases))
    walk.block(node.body, defined.scope)
    for name, member in defined.scope.names.items():
        if isinstance(member, Function) and member.scope is defined.scope:
            # Methods do not see the names of their class.
            defined.scope.names[name] = member._replace(scope=scope, owner=defined)
    scope.bind(node.name, defined)


def _assert(walk: "Walk", node: ast.Assert, scope: Scope) -> None:
    walk.evaluate(node.test, scope)


def _import(walk: "Walk", node: ast.Import, scope: Scope) -> None:
    walk.imports.modules_of(node, scope)


def _import_from(walk: "Walk", node: ast.ImportFrom, scope: Scope) -> None:
    walk.imports.names_of(node, scope)


def _global(_: "Walk", node: ast.Global, scope: Scope) -> None:
    scope.globals.update(node.names)


def _nonlocal(_: "Walk", node: ast.Nonlocal, scope: Scope) -> None:
    scope.nonlocals.update(node.names)


Handler = Callable[["Walk", Any, Scope], None]
HANDLERS: Mapping[type[ast.stmt], Handler] = {
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Delete: _delete,
    ast.Return: _return,
    ast.Raise: _raise,
    ast.FunctionDef: _define,
    ast.AsyncFunctionDef: _define,
    ast.ClassDef: _class,
    ast.Assert: _assert,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Global: _global,
    ast.Nonlocal: _nonlocal,
    **BRANCHES,
}
"""What each kind of statement does; the others do nothing that matters."""
