"""Functions of the script: what they are given, what they do, and with what they come back."""

import ast
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.lint.bindings import Binding, Function, Scope, Super, without_constants
from mgelaunch.lint.evaluate import either, evaluate, texts
from mgelaunch.lint.given import Given
from mgelaunch.lint.state import State, merged

if TYPE_CHECKING:
    from mgelaunch.lint.walk import Walk

_MOST_WAYS = 20
"""A function is entered so many times with different constants; after that its parameters are unknown."""

_MOST_CALLS = 20_000
"""Functions entered in one script; after that none is."""


class _Frame(NamedTuple):
    """A function that is being run: the states and the values with which it has returned so far."""

    function: Function
    ends: list[State]
    values: list[Binding]


class Functions:
    """The functions that one script has entered and not yet left."""

    def __init__(self, walk: "Walk") -> None:
        self._walk = walk
        self._frames: list[_Frame] = []
        self._ways: Counter[int] = Counter()
        self._entered = 0

    def leave(self, value: Binding, state: State) -> None:
        """A ``return``; at the level of a module it is a mistake."""
        if self._frames:
            self._frames[-1].ends.append(state)
            self._frames[-1].values.append(value)

    def superior(self) -> Binding:
        """What ``super()`` is here."""
        function = self._frames[-1].function if self._frames else None
        return Super(function.owner, function.first) if function and function.owner else None

    def enter(self, function: Function, given: Given) -> Binding:
        """Runs a function. One that was run in such a state with such arguments does the same again; if nothing in it
        has to do with the environment or a device, with other constants, too.
        """
        walk = self._walk
        walk.library.entered.add(id(function.node))
        running = any(frame.function.node is function.node for frame in self._frames)
        if walk.state is None or running or walk.too_deep:
            return None
        if function.partial:
            given = Given(more=True)
        if function.first is not None:
            given = given._replace(args=(function.first, *given.args))
        given = self._limited(function, given)
        state, memory = walk.state, walk.library.memory
        record = memory.find(_key(function, given, state, rough=True), walk)
        record = record or memory.find(_key(function, given, state, rough=False), walk)
        if record:
            return memory.repeat(record, walk, state, function.first)
        self._entered += 1
        return self._first_time(function, given, state) if self._entered <= _MOST_CALLS else None

    def _first_time(self, function: Function, given: Given, state: State) -> Binding:
        walk, memory = self._walk, self._walk.library.memory
        sensitive = given.holds_environment() or walk.library.is_sensitive(function.node, function.scope.module)
        outer, walk.sensitive = walk.sensitive, sensitive
        mark = memory.begin(walk, state)
        self._ways[id(function.node)] += 1
        value = self._run(function, given)
        constant = given.mark(rough=True) == given.mark(rough=False)  # there is nothing that another call may change
        rough = not walk.sensitive and (constant or not texts(value))
        kept = value if constant or not rough else without_constants(value)
        memory.end(_key(function, given, state, rough=rough), walk, mark, kept, function.first)
        walk.sensitive = walk.sensitive or outer
        return value

    def _limited(self, function: Function, given: Given) -> Given:
        """`given`, without its constants when the function has been called with many others."""
        if self._ways[id(function.node)] < _MOST_WAYS:
            return given
        return Given((function.first,) if function.first is not None else (), more=True)

    def _run(self, function: Function, given: Given) -> Binding:
        walk, scope = self._walk, Scope(function.scope.module, function.scope)
        scope.names.update(_parameters(function, given))
        frame = _Frame(function, [], [])
        self._frames.append(frame)
        if isinstance(function.node, ast.Lambda):
            frame.values.append(walk.evaluate(function.node.body, scope))
        else:
            walk.block(function.node.body, scope)
        self._frames.pop()
        ends = [*frame.ends, *([walk.state] if walk.state is not None else [])]
        walk.state = merged(ends) if ends else None
        return either(frame.values) if frame.values else None


def _key(function: Function, given: Given, state: State, *, rough: bool) -> object:
    """What a run is remembered by; `rough` is for those that do the same whatever the constants are."""
    return rough, id(function.node), given.mark(rough=rough), state.key


def _parameters(function: Function, given: Given) -> dict[str, Binding]:
    """The parameters of a function and what they stand for."""
    spec = function.node.args
    places = [*spec.posonlyargs, *spec.args]
    names: dict[str, Binding] = {each.arg: None for each in (*places, *spec.kwonlyargs)}
    if not given.more:
        behind = places[len(places) - len(spec.defaults) :]
        with_default = zip([*behind, *spec.kwonlyargs], [*spec.defaults, *spec.kw_defaults], strict=True)
        names |= {each.arg: evaluate(default, function.scope, {}) for each, default in with_default}
    names |= {each.arg: value for each, value in zip(places, given.args, strict=False)}
    names |= {name: value for name, value in given.keywords.items() if name in names}
    for rest in (spec.vararg, spec.kwarg):
        if rest is not None:
            names[rest.arg] = None
    return names
