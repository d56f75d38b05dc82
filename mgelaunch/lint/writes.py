"""The ways to change the environment of the own process: an item, a method, ``os.putenv``."""

import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mgelaunch.lint.bindings import Binding, Either, External, Known, Scope, choices
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


def told(binding: Binding, expression: ast.expr | None, scope: Scope) -> Binding:
    """What is written by `expression`, which comes to `binding`. None is believed only where it stands in the write
    itself: elsewhere it is what a name begins with, until something that is not seen here gives it a meaning.
    """
    trusted = scope.trusted(binding, expression) if expression is not None else binding
    if isinstance(expression, ast.Constant):
        return trusted
    kept = tuple(each for each in choices(trusted) if each != Known(None))
    return Either(kept) if len(kept) > 1 else next(iter(kept), None)


def write(
    walk: "Walk", names: Sequence[str], action: Action, value: Binding, node: ast.expr | ast.keyword, scope: Scope
) -> None:
    """Notes that variables are changed."""
    if walk.state is not None:
        for name in names:
            done: Action = "default" if action == "set" and name in walk.unset else action
            walk.state = walk.notes.wrote(name, done, value, node, scope, walk.state)


def update(walk: "Walk", values: Binding, node: ast.expr | ast.keyword, scope: Scope) -> None:
    """``os.environ.update(values)`` and ``os.environ |= values``: each variable is noted at its key, if it has one."""
    spots = _spots(node)
    for name, binding in items(values).items():
        key, value = spots.get(name, (node, None))
        write(walk, [name], "set", told(binding, value, scope), key, scope)


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
        value = told(args[1], node.args[1], scope) if len(args) > 1 and len(node.args) > 1 else None
        write(walk, texts(args[0]), _ACTIONS[name], value, node, scope)
    elif name == "os.environ.update":
        for values, spot in zip(args, node.args, strict=False):
            update(walk, values, spot, scope)
        for keyword in node.keywords:
            if keyword.arg is None:
                update(walk, evaluate(keyword.value, scope, walk.results), keyword, scope)
            else:
                value = told(given.keywords[keyword.arg], keyword.value, scope)
                write(walk, [keyword.arg], "set", value, keyword, scope)
