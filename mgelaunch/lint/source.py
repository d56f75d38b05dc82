"""One Python file as lint sees it: where its parts stand, and in which order its calls are made."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mgelaunch.lint.parsing import parse

_IGNORE = re.compile(r"#\s*mgelaunch:\s*ignore(?:\[([^\]]*)\])?")


class Source:
    """A file that was read; ``shown`` is how findings call it."""

    def __init__(self, data: bytes, path: str, shown: str) -> None:
        self.path = path
        self.shown = shown
        self.tree, self.lines, self.finding = parse(data, shown)
        self._ordered: dict[int, tuple[Step, ...]] = {}

    def place(self, node: ast.expr | ast.stmt | ast.keyword) -> str:
        """Where `node` begins, as ``file:line:column``; columns count characters from 1."""
        line = self.lines[node.lineno - 1] if node.lineno <= len(self.lines) else ""
        return f"{self.shown}:{node.lineno}:{len(line.encode()[: node.col_offset].decode(errors='replace')) + 1}"

    def line(self, node: ast.expr | ast.stmt | ast.keyword) -> str:
        """The same without the column."""
        return f"{self.shown}:{node.lineno}"

    def steps(self, expression: ast.expr) -> "tuple[Step, ...]":
        """The calls of `expression` in the order in which they are made."""
        if type(expression) in _LEAVES:
            return ()
        key = id(expression)
        if key not in self._ordered:
            self._ordered[key] = tuple(_steps(expression))
        return self._ordered[key]


class Step(NamedTuple):
    """A call, or an assignment inside of an expression; ``conditional`` when it is not always reached."""

    node: ast.Call | ast.NamedExpr
    conditional: bool


def _steps(expression: ast.expr) -> Iterator[Step]:
    stack: list[tuple[ast.AST, bool, bool]] = [(expression, False, False)]
    while stack:
        node, conditional, visited = stack.pop()
        kind = type(node)
        if kind in _CALLS:
            if visited:
                yield Step(node, conditional)  # type: ignore[arg-type]
                continue
            stack.append((node, conditional, True))
        if kind in _IN_PART:
            always, perhaps = _IN_PART[kind](node)
            stack += [(part, True, False) for part in reversed(perhaps)]
        else:
            always = _PARTS[kind](node) if kind in _PARTS else list(ast.iter_child_nodes(node))
        stack += [(part, conditional, False) for part in reversed(always) if type(part) not in _LEAVES]


_CALLS = frozenset({ast.Call, ast.NamedExpr})
_LEAVES = frozenset({ast.Constant, ast.Name, ast.Load, ast.Lambda})  # the body of a lambda runs when it is called

_PARTS: Mapping[type[ast.AST], Callable[[Any], Sequence[ast.AST]]] = {
    ast.Attribute: lambda node: (node.value,),
    ast.Call: lambda node: (node.func, *node.args, *(keyword.value for keyword in node.keywords)),
    ast.Subscript: lambda node: (node.value, node.slice),
    ast.BinOp: lambda node: (node.left, node.right),
    ast.Compare: lambda node: (node.left, *node.comparators),
    ast.UnaryOp: lambda node: (node.operand,),
    ast.JoinedStr: lambda node: node.values,
    ast.FormattedValue: lambda node: (node.value,),
    ast.Tuple: lambda node: node.elts,
    ast.List: lambda node: node.elts,
    ast.ListComp: lambda node: (*node.generators, node.elt),
    ast.SetComp: lambda node: (*node.generators, node.elt),
    ast.GeneratorExp: lambda node: (*node.generators, node.elt),
    ast.DictComp: lambda node: (*node.generators, node.key, node.value),
}
"""The parts of an expression in the order in which they are evaluated; of those that are not here all children, as
they are written.
"""

_IN_PART: Mapping[type[ast.AST], Callable[[Any], tuple[Sequence[ast.AST], Sequence[ast.AST]]]] = {
    ast.IfExp: lambda node: ((node.test,), (node.body, node.orelse)),
    ast.BoolOp: lambda node: (node.values[:1], node.values[1:]),
}
"""The parts that are always evaluated, and those that may be left out."""


def ignored(lines: Sequence[str]) -> Mapping[int, frozenset[str]]:
    """By number of a line (from 1), the codes that its comment ``# mgelaunch: ignore[...]`` silences; the empty set
    silences all.
    """
    comments: dict[int, frozenset[str]] = {}
    for number, line in enumerate(lines, 1):
        if "mgelaunch:" in line and (match := _IGNORE.search(line)):
            codes = (code.strip() for code in (match[1] or "").split(","))
            comments[number] = frozenset(filter(None, codes))
    return comments


def dotted(node: ast.expr) -> str:
    """A name with its dots, as it is written; what stands before them is left out when it is no name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "(...)")
    return ".".join(reversed(parts))
