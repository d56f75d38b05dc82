"""Follows a script in the order in which Python would run it, without running it."""

import ast
from collections.abc import Iterable

from mgelaunch.lint.bindings import Binding, Function, Scope
from mgelaunch.lint.calling import Calls
from mgelaunch.lint.entering import Functions
from mgelaunch.lint.evaluate import evaluate
from mgelaunch.lint.given import Given
from mgelaunch.lint.imports import Imports
from mgelaunch.lint.library import Library
from mgelaunch.lint.locate import Finder
from mgelaunch.lint.notes import Notes
from mgelaunch.lint.observed import Reading
from mgelaunch.lint.source import Source
from mgelaunch.lint.state import State
from mgelaunch.lint.statements import HANDLERS, assign

DEEPEST = 400
"""Blocks inside of each other, over all calls and imports; what lies deeper is not followed."""


class Walk:
    """One entry script on its way; with `main` it is run as a script, else imported.

    ``state`` is None where the script has ended or a function has returned. ``results`` are what the calls of the
    statement at hand have returned, by the id of their nodes; ``repeated`` are the runs
    that it has done or repeated, and ``sensitive`` says that in the one at hand constants may make a difference.
    ``unset`` are the variables that conditions around have found to be missing.
    """

    def __init__(self, library: Library, entry: Source, finder: Finder, *, main: bool) -> None:
        self.library = library
        self.entry = entry
        self.main = main
        self.state: State | None = State()
        self.notes = Notes(entry.shown)
        self.imports = Imports(self, finder)
        self.calls = Calls(self)
        self.functions = Functions(self)
        self.results: dict[int, Binding] = {}
        self.repeated: set[int] = set()
        self.sensitive = False
        self.unset: frozenset[str] = frozenset()
        self.depth = 0
        self.unrolled = 0

    def run(self) -> Reading:
        """Reads the entry script and all that it reaches."""
        self.imports.load(self.entry.path)
        return self.notes.reading()

    def sweep(self, function: Function, state: State) -> Reading:
        """Reads a function that nobody was seen to call, as it was defined in `state`."""
        self.notes = Notes(self.entry.shown, reached=False)
        self.repeated = set()
        self.state = state
        self.functions.enter(function, Given(more=True))
        return self.notes.reading()

    @property
    def too_deep(self) -> bool:
        """Whether nothing more is to be entered from here."""
        return self.depth > DEEPEST

    def is_main(self, file: str) -> bool:
        """Whether ``__name__`` is ``"__main__"`` in `file`."""
        return self.main and file == self.entry.path

    def has_loaded(self, name: str) -> bool:
        """Whether a module that reads the environment has surely been imported."""
        return self.state is not None and name in self.state.happened and self.state.happened[name].sure

    def block(self, statements: Iterable[ast.stmt], scope: Scope) -> None:
        """Runs statements one after the other, up to one that leaves the block."""
        self.depth += 1
        for statement in statements:
            if self.state is None:
                break
            handler = HANDLERS.get(type(statement))
            if handler:
                handler(self, statement, scope)
        self.depth -= 1

    def assign(self, target: ast.expr, binding: Binding, scope: Scope) -> None:
        """Lets `target` stand for `binding`."""
        assign(self, target, binding, scope)

    def evaluate(self, expression: ast.expr | None, scope: Scope) -> Binding:
        """Makes the calls of `expression`, and returns what it comes to."""
        source = scope.module.source
        if expression is None or source is None:
            return None
        for step in source.steps(expression):
            if self.state is None:
                return None
            if isinstance(step.node, ast.NamedExpr):
                binding = evaluate(step.node.value, scope, self.results)
                scope.bind(step.node.target.id, binding)
            else:
                binding = self.calls.call(step.node, scope, conditional=step.conditional)
            self.results[id(step.node)] = binding
        return evaluate(expression, scope, self.results)
