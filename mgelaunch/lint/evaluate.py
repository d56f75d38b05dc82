"""What an expression comes to, as far as constants and names of modules tell."""

import ast
from collections.abc import Callable, Iterable, Mapping

from mgelaunch.lint.bindings import (
    Binding,
    Class,
    Either,
    External,
    Function,
    Instance,
    Known,
    Module,
    Scope,
    Super,
    as_method,
    choices,
    together,
)

_DEEPEST = 60
"""Expressions nested deeper than this are taken for unknown."""

_MOST_CHOICES = 8

_PYTHON = External("sys.executable")

_LARGEST, _LONGEST = 64, 10_000
"""Items of a list or a dictionary, characters of a text; what is larger is data, not a setting."""


Results = Mapping[int, Binding]
"""What calls have returned, by the id of their nodes."""

_Inner = Callable[[ast.AST | None], Binding]
"""What a part of an expression comes to."""


def evaluate(node: ast.AST | None, scope: Scope, results: Results, depth: int = 0) -> Binding:
    """What `node` comes to in `scope`; `results` holds what its calls have returned."""
    if isinstance(node, ast.Name):
        return scope.find(node.id)
    if isinstance(node, ast.Constant):
        return Known(node.value)
    if isinstance(node, ast.Call | ast.NamedExpr):
        return results.get(id(node))
    if isinstance(node, ast.Lambda):
        return Function(node, scope)
    if depth > _DEEPEST:
        return None
    return _composed(node, lambda part: evaluate(part, scope, results, depth + 1))


def _composed(node: ast.AST | None, inner: _Inner) -> Binding:
    """What an expression with parts comes to."""
    match node:
        case ast.Attribute(value, name):
            return attribute(inner(value), name)
        case ast.Subscript(value, index):
            return _item(inner(value), inner(index))
        case ast.Await(value) | ast.Starred(value):
            return inner(value)
        case ast.IfExp(_, body, orelse):
            return either([inner(body), inner(orelse)])
        case ast.BoolOp(_, values):
            return either(map(inner, values))
        case ast.Tuple(elements) | ast.List(elements) | ast.Set(elements) if len(elements) <= _LARGEST:
            return together(tuple(map(inner, elements)))
    return _constant(node, inner)


def _constant(node: ast.AST | None, inner: _Inner) -> Binding:
    """What an expression comes to that is made of constants."""
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return total(inner(left), inner(right))
        case ast.UnaryOp(ast.USub(), ast.Constant(int(number))):
            return Known(-number)
        case ast.JoinedStr(values):
            return _joined([_formatted(part, inner) for part in values])
        case ast.Dict(keys, values) if len(keys) <= _LARGEST:
            pairs = zip(keys, values, strict=True)
            return _dictionary((inner(key) if key else None, inner(value)) for key, value in pairs)
    return None


def attribute(binding: Binding, name: str) -> Binding:
    """The attribute `name` of what `binding` stands for."""
    match binding:
        case External(owner):
            return External(f"{owner}.{name}")
        case Module():
            return binding.scope.names.get(name)
        case Class():
            found = binding.find(name)
            return as_method(found, binding) if isinstance(found, Function) else found
        case Instance() | Super():
            return binding.find(name)
        case Either(several):
            return either(attribute(each, name) for each in several)
    return None


def either(bindings: Iterable[Binding]) -> Binding:
    """One of `bindings`; None when there is none, or too many are possible."""
    several: list[Binding] = []
    for each in (choice for binding in bindings for choice in choices(binding)):
        if not any(type(each) is type(other) and each == other for other in several):
            several.append(each)
    if not 0 < len(several) <= _MOST_CHOICES:
        return None
    return several[0] if len(several) == 1 else Either(tuple(several))


def texts(binding: Binding) -> list[str]:
    """The texts that `binding` may be, as far as they are known."""
    return [each.value for each in choices(binding) if isinstance(each, Known) and isinstance(each.value, str)]


def total(left: Binding, right: Binding) -> Binding:
    """The sum of texts or lists; in place of a list of which nothing is known there is one item of that kind."""
    match left, right:
        case Known(str(one)), Known(str(other)) if len(one) + len(other) <= _LONGEST:
            return Known(one + other)
        case Known(tuple(one)), Known(tuple(other)):
            return together(one + other)
        case Known(tuple(one)), (None | External()):
            return together((*one, None))
        case ((None | External()), Known(tuple(other))):
            return together((None, *other))
    return None


def _formatted(part: ast.expr, inner: _Inner) -> Binding:
    match part:
        case ast.Constant(str(text)):
            return Known(text)
        case ast.FormattedValue(value, -1, None):
            formatted = inner(value)
            return formatted if formatted == _PYTHON else as_text(formatted)
    return None


def _joined(parts: list[Binding]) -> Binding:
    if parts[:1] == [_PYTHON]:
        return _PYTHON  # a command line of it
    known = [part.value for part in parts if isinstance(part, Known)]
    text = "".join(map(str, known))
    return Known(text) if len(known) == len(parts) and len(text) <= _LONGEST else None


def as_text(binding: Binding) -> Binding:
    """What ``str()`` makes of a constant; of None nothing, as hardly anybody means the text."""
    match binding:
        case Known(int(number)) if abs(number) >= 1 << 64:
            return None  # Python refuses to write out numbers of thousands of digits
        case Known(str() | int() | float() as value):
            return Known(str(value))
    return None


def _dictionary(items: Iterable[tuple[Binding, Binding]]) -> Binding:
    """The items whose keys are known texts; a key None is ``**value``."""
    known: dict[str, Binding] = {}
    for key, value in items:
        match key, value:
            case Known(str(text)), _:
                known[text] = value
            case None, Known(dict(others)):
                known |= others
            case None, _:  # it may have anything
                known = dict.fromkeys(known)
    return together(known)


def _item(container: Binding, index: Binding) -> Binding:
    match container, index:
        case Known(tuple(items)), Known(int(number)) if -len(items) <= number < len(items):
            found: Binding = items[number]
            return found
        case Known(dict(items)), Known(str(key)):
            return items.get(key)
    return None
