"""What has happened in a script up to one of its lines: readers loaded, devices started, variables set."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple


class Happening(NamedTuple):
    """Something that happened, in the words of the script (``import torch``), and where (``train.py:3``).

    ``sure`` is False when it happens on some ways to the line only.
    """

    text: str
    place: str
    sure: bool = True


class State(NamedTuple):
    """``happened``: by reader that was loaded (``torch``, ``openblas``) or by `CUDA`, `MAYBE_CUDA`, `TENSOR`, `AFRESH`,
    what was the first to do it. ``written``: by variable, where it was first set.
    """

    happened: Mapping[str, Happening] = MappingProxyType({})
    written: Mapping[str, str] = MappingProxyType({})

    def after(self, key: str, happening: Happening) -> "State":
        """The state when `happening` has come to pass as well."""
        before = self.happened.get(key)
        if before is not None and (before.sure or not happening.sure):
            return self
        return self._replace(happened={**self.happened, key: happening})

    def having_set(self, name: str, place: str) -> "State":
        """The state when `name` has been set as well."""
        return self if name in self.written else self._replace(written={**self.written, name: place})

    def in_a_child(self) -> "State":
        """The state in which a process of its own starts: no device is open there."""
        kept = {key: happening for key, happening in self.happened.items() if key not in DEVICES}
        return self._replace(happened=kept)

    def since(self, before: "State") -> "State":
        """What has been added to `before`."""
        happened = {key: found for key, found in self.happened.items() if before.happened.get(key) != found}
        return State(happened, {name: place for name, place in self.written.items() if name not in before.written})

    def joined(self, added: "State") -> "State":
        """The state when what was `added` elsewhere is added here."""
        if not (added.happened or added.written):
            return self
        return State({**self.happened, **added.happened}, {**added.written, **self.written})

    @property
    def key(self) -> tuple[frozenset[tuple[str, bool]], frozenset[str]]:
        """What makes a difference to a function that is called."""
        happened = frozenset((key, happening.sure) for key, happening in self.happened.items())
        return happened, frozenset(self.written)


CUDA, MAYBE_CUDA, TENSOR = "cuda started", "cuda may have started", "first tensor"
DEVICES = frozenset({CUDA, MAYBE_CUDA, TENSOR})
AFRESH = "processes start afresh"


def merged(states: Sequence[State]) -> State:
    """The state where several ways through a script meet (at least one)."""
    first, *others = states
    if not others or all(other == first for other in others):
        return first
    happened: dict[str, Happening] = {}
    for state in states:
        for key, happening in state.happened.items():
            known = happened.get(key)
            if known is None or (happening.sure and not known.sure):
                happened[key] = happening
    everywhere = {key for key in happened if all(key in s.happened and s.happened[key].sure for s in states)}
    happened = {key: found if key in everywhere else found._replace(sure=False) for key, found in happened.items()}
    written = {name: place for state in reversed(states) for name, place in state.written.items()}
    return State(happened, {name: place for name, place in written.items() if all(name in s.written for s in states)})
