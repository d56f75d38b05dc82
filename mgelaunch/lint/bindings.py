"""What a name in a script can stand for, as far as it is known without running it."""

import ast
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mgelaunch.lint.source import Source


class External(NamedTuple):
    """Something of a package that is not followed, by its full name: ``os.environ``, ``torch.cuda.is_available``.

    The result of a call ends in ``()``. A name that nobody has bound is one too: ``print``.
    """

    name: str


class Known(NamedTuple):
    """A constant: a text, a number, a truth value, None, a tuple of bindings, or a dictionary of texts to bindings.

    ``depth`` is how many of these lie inside of each other, ``size`` how many constants there are in all; `together`
    makes those that have any.
    """

    value: object
    depth: int = 0
    size: int = 1


class Either(NamedTuple):
    """One of several, by a condition that is not known."""

    choices: tuple["Binding", ...]


class Scope:
    """The names of a module, a class or a call of a function; ``parent`` is where to look next."""

    def __init__(self, module: "Module", parent: "Scope | None" = None) -> None:
        self.module = module
        self.parent = parent
        self.names: dict[str, Binding] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self._tested: set[str] = set()

    def find(self, name: str) -> "Binding":
        """What `name` stands for here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return External(name)

    def bind(self, name: str, binding: "Binding") -> None:
        """Lets `name` stand for `binding` from now on."""
        home: Scope | None = self.module.scope if name in self.globals else self
        if name in self.nonlocals:
            home = self.parent
            while home is not None and name not in home.names:
                home = home.parent
        (home or self).names[name] = binding

    def test(self, condition: ast.expr) -> None:
        """Takes note that a condition has looked at names: from here on not all that they stand for comes along."""
        self._tested |= _names(condition)

    def trusted(self, binding: "Binding", expression: ast.expr) -> "Binding":
        """What `expression` comes to, without constants when a condition has looked at a name in it: they may be those
        that do not come here.
        """
        if not self._tested or self._tested.isdisjoint(_names(expression)):
            return binding
        return without_constants(binding)


def _names(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


class Module:
    """A local module of one run of a script; a package without ``__init__.py`` has no ``source``."""

    def __init__(self, path: str, source: "Source | None") -> None:
        self.path = path
        self.source = source
        self.scope = Scope(self)


class Function(NamedTuple):
    """A function or lambda; ``first`` is bound to its first parameter when it is a method of an object. ``partial``: it
    has got arguments already, which are not known any more.
    """

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope
    owner: "Class | None" = None
    first: "Binding" = None
    partial: bool = False


class Class:
    """A class of the script, with its bases in their order."""

    def __init__(self, node: ast.ClassDef, scope: Scope, bases: tuple["Binding", ...]) -> None:
        self.node = node
        self.scope = scope
        self.bases = bases

    def fields(self) -> set[str]:
        """The names of all that is no function in the class and its bases."""
        classes: dict[int, Class] = {}
        todo = [self]
        while todo:
            each = todo.pop()
            if id(each) not in classes:
                classes[id(each)] = each
                todo += [base for base in each.bases if isinstance(base, Class)]
        members = (item for each in classes.values() for item in each.scope.names.items())
        return {name for name, member in members if not isinstance(member, Function)}

    def find(self, name: str, depth: int = 0) -> "Binding":
        """The attribute `name` of the class or of the first base that has it; None when nobody knows."""
        if name in self.scope.names:
            return self.scope.names[name]
        for base in self.bases if depth < _DEEPEST else ():
            if isinstance(base, Class) and (found := base.find(name, depth + 1)) is not None:
                return found
        return None


_DEEPEST = 20
"""Bases of bases; a class can be its own base only by mistake, and then this ends it."""


class Instance:
    """An object of a class of the script, with what its methods have assigned to it."""

    def __init__(self, of: Class) -> None:
        self.of = of
        self.names: dict[str, Binding] = {}

    def find(self, name: str) -> "Binding":
        """The attribute `name`: a method comes with its object."""
        if name in self.names:
            return self.names[name]
        found = self.of.find(name)
        return as_method(found, self) if isinstance(found, Function) else found


class Super(NamedTuple):
    """``super()`` inside a method of ``owner``."""

    owner: Class
    first: "Binding"

    def find(self, name: str) -> "Binding":
        """The attribute `name` of the first base that has it."""
        for base in self.owner.bases:
            if isinstance(base, Class) and (found := base.find(name)) is not None:
                return found._replace(first=self.first) if isinstance(found, Function) else found
        return None


Binding = External | Known | Either | Module | Function | Class | Instance | Super | None
"""None: nothing is known of it."""


def without_constants(binding: Binding) -> Binding:
    """`binding` without the constants that it may be."""
    kept = tuple(each for each in choices(binding) if not isinstance(each, Known))
    return Either(kept) if len(kept) > 1 else next(iter(kept), None)


_MOST_DEPTH, _MOST_ITEMS, _MOST_CONSTANTS = 4, 64, 1000
"""What is larger is data, not settings, and taken for unknown."""


def together(value: tuple[Binding, ...] | dict[str, Binding]) -> Binding:
    """The constant that is made of these parts."""
    parts = value.values() if isinstance(value, dict) else value
    known = [each for part in parts for each in choices(part) if isinstance(each, Known)]
    depth, size = 1 + max((each.depth for each in known), default=0), 1 + sum(each.size for each in known)
    large = depth > _MOST_DEPTH or len(value) > _MOST_ITEMS or size > _MOST_CONSTANTS
    return None if large else Known(value, depth, size)


def as_method(function: Function, instance: "Instance | Class") -> Function:
    """`function` as it is found in an object, or in a class that is asked for it."""
    decorators = {node.id for node in getattr(function.node, "decorator_list", ()) if isinstance(node, ast.Name)}
    if "staticmethod" in decorators:
        return function
    if "classmethod" in decorators:
        return function._replace(first=instance.of if isinstance(instance, Instance) else instance)
    return function._replace(first=instance) if isinstance(instance, Instance) else function


def choices(binding: Binding) -> tuple[Binding, ...]:
    """All that `binding` may stand for."""
    return binding.choices if isinstance(binding, Either) else (binding,)
