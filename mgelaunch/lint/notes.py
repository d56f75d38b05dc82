"""Takes down what a script does to its environment, in the order in which it does it."""

import ast
from collections.abc import Iterable
from typing import Literal

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.lint.bindings import Binding, Known, Scope, choices
from mgelaunch.lint.dead import meant
from mgelaunch.lint.evaluate import as_text, texts
from mgelaunch.lint.late import is_late
from mgelaunch.lint.observed import Action, Event, Heir, Reading, Replacement, Write
from mgelaunch.lint.packages import CARDS, CHOOSES_CARD, IMPLIES, IMPLIES_ARGUMENT
from mgelaunch.lint.source import dotted
from mgelaunch.lint.state import State


class Notes:
    """The notes on one entry script, or on one function that nobody calls (``reached`` False)."""

    def __init__(self, script: str, *, reached: bool = True) -> None:
        self._script = script
        self._reached = reached
        self._events: list[Event] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self._events)

    def since(self, number: int) -> tuple[Event, ...]:
        """Those behind the first `number`."""
        return tuple(self._events[number:])

    def reading(self) -> Reading:
        """All of them."""
        return Reading(self._script, self._reached, tuple(self._events))

    def repeat(self, events: Iterable[Event]) -> None:
        """Notes what has been noted before, in the same state."""
        self._events += events

    def wrote(
        self, name: str, action: Action, value: Binding, node: ast.expr | ast.keyword, scope: Scope, state: State
    ) -> State:
        """Notes a change of `name`; returns the state behind it. Names that are no concern of ours are left out."""
        source = scope.module.source
        if source is None or not (name in CATALOGUE or meant(name)):
            return state
        known = tuple(each.value for each in choices(value) if isinstance(each, Known))
        place = source.place(node)
        self._events.append(Write(name, action, known, place, state))
        in_time = action != "remove" and name in CATALOGUE and not is_late(CATALOGUE[name], state)
        return state.having_set(name, source.line(node)) if in_time else state

    def replaced(self, what: str, args: tuple[Binding, ...], node: ast.expr, scope: Scope) -> None:
        """Notes a call of (or an assignment to) `what`, if it overrules a variable."""
        source = scope.module.source
        said: dict[str, str | None] = dict(IMPLIES.get(what, {}))
        if name := IMPLIES_ARGUMENT.get(what):
            said[name] = _constant(args[0]) if args else None
        if what == CHOOSES_CARD and args:
            said[CARDS] = _constant(args[0])
        if source is not None and said:
            text = f"{dotted(node.func)}()" if isinstance(node, ast.Call) else dotted(node)
            place = source.place(node)
            self._events += [Replacement(name, text, value, place) for name, value in said.items()]

    def inherits(self, kind: Literal["self", "python", "child"]) -> None:
        """Notes that a program gets the environment as it is now."""
        self._events.append(Heir(kind))


def _constant(binding: Binding) -> str | None:
    """The text of a constant; None when it is not known, or one of several."""
    is_said = isinstance(binding, Known) and isinstance(binding.value, str | int)
    return next(iter(texts(as_text(binding))), None) if is_said else None
