"""The ways to change the environment of the own process: an item, a method, ``os.putenv``."""

import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mgelaunch.lint.bindings import Binding, External, Scope
from mgelaunch.lint.builtin import items
from mgelaunch.lint.evaluate import evaluate, texts
from mgelaunch.lint.given import Given
from mgelaunch.lint.observed import Action

if TYPE_CHECKING:
    from mgelaunch.lint.walk import Walk

_ENVIRON = "os.environ"
_ACTIONS: Mapping[str, Action] = {
    "os.environ.setdefault": "default",
    "os.environ.__setitem__": "set",
    "os.putenv": "set",
    "os.environ.pop": "remove",
    "os.environ.__delitem__": "remove",
    "os.unsetenv": "remove",
}


def is_environment(binding: Binding) -> bool:
    """Whether it is the environment of this process, under whatever name."""
    return isinstance(binding, External) and binding.name == _ENVIRON


def write(
    walk: "Walk", names: Sequence[str], action: Action, value: Binding, node: ast.expr | ast.keyword, scope: Scope
) -> None:
    """Notes that variables are changed."""
    if walk.state is not None:
        for name in names:
            walk.state = walk.notes.wrote(name, action, value, node, scope, walk.state)


def update(walk: "Walk", values: Binding, node: ast.expr | ast.keyword, scope: Scope) -> None:
    """``os.environ.update(values)`` and ``os.environ |= values``: each variable is noted at its key, if it has one."""
    spots = _spots(node)
    for name, binding in items(values).items():
        key, value = spots.get(name, (node, None))
        write(walk, [name], "set", scope.trusted(binding, value) if value is not None else binding, key, scope)


def _spots(node: ast.expr | ast.keyword) -> dict[object, tuple[ast.expr, ast.expr]]:
    """The keys of a dictionary, and of those that it takes in by ``**``, each with what stands for its value."""
    said = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
    spots: dict[object, tuple[ast.expr, ast.expr]] = {}
    for key, value in said:
        if isinstance(key, ast.Constant):
            spots[key.value] = (key, value)
        elif key is None:
            spots |= _spots(value)
    return spots


def call(walk: "Walk", name: str, given: Given, node: ast.Call, scope: Scope) -> None:
    """Notes what the call of `name`, a function of a package, changes; most change nothing."""
    args = given.args
    if name in _ACTIONS and args:
        value = scope.trusted(args[1], node.args[1]) if len(args) > 1 and len(node.args) > 1 else None
        write(walk, texts(args[0]), _ACTIONS[name], value, node, scope)
    elif name == "os.environ.update":
        for values, spot in zip(args, node.args, strict=False):
            update(walk, values, spot, scope)
        for keyword in node.keywords:
            if keyword.arg is None:
                update(walk, evaluate(keyword.value, scope, walk.results), keyword, scope)
            else:
                value = scope.trusted(given.keywords[keyword.arg], keyword.value)
                write(walk, [keyword.arg], "set", value, keyword, scope)
