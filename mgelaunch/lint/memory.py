"""What a function or a module did when it was run before, so that it need not be run again: not by the same script,
and not by another that comes to it in the same state.
"""

from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.lint.bindings import Binding, Instance, Known, Module
from mgelaunch.lint.observed import Event
from mgelaunch.lint.state import State

if TYPE_CHECKING:
    from mgelaunch.lint.walk import Walk


class Record(NamedTuple):
    """What a run has added: ``state`` is None when it did not come back, ``value`` what it returned. ``loaded`` are the
    modules that it imported, ``asked`` where it looked for modules by name, and what it found: it does the same only
    where that is found again.
    """

    state: State | None
    value: Binding
    noted: tuple[Event, ...]
    loaded: dict[str, Module]
    asked: dict[str, str]
    sensitive: bool
    first: Binding


class Mark(NamedTuple):
    """Where a run began."""

    state: State
    noted: int
    loaded: int
    asked: int


class Memory:
    """The runs of all scripts; a key names what is run, in which state, and with which arguments. Which variables
    are known to be missing makes a difference, too.
    """

    def __init__(self) -> None:
        self._records: dict[object, list[Record]] = {}

    def find(self, key: object, walk: "Walk") -> Record | None:
        """The run that `walk` would repeat."""
        for record in self._records.get((key, walk.unset), ()):
            if all(walk.imports.top(name) == path for name, path in record.asked.items()):
                return record
        return None

    def begin(self, walk: "Walk", state: State) -> Mark:
        """Before a run."""
        return Mark(state, len(walk.notes), len(walk.imports.loaded), len(walk.imports.asked))

    def end(self, key: object, walk: "Walk", mark: Mark, value: Binding, first: Binding = None) -> None:
        """After it."""
        state = walk.state.since(mark.state) if walk.state is not None else None
        loaded = dict(list(walk.imports.loaded.items())[mark.loaded :])
        asked = {name: walk.imports.top(name) for name in walk.imports.asked[mark.asked :]}
        record = Record(state, value, walk.notes.since(mark.noted), loaded, asked, walk.sensitive, first)
        self._records.setdefault((key, walk.unset), []).append(record)
        walk.repeated.add(id(record))

    def repeat(self, record: Record, walk: "Walk", state: State, first: Binding = None) -> Binding:
        """Does in `walk`, which is in `state`, what the run did; `first` is the object whose method it is."""
        if id(record) not in walk.repeated:
            walk.repeated.add(id(record))
            walk.notes.repeat(record.noted)
        for file, module in record.loaded.items():
            walk.imports.loaded.setdefault(file, module)
        if isinstance(first, Instance) and isinstance(record.first, Instance):
            for name, binding in record.first.names.items():
                if record.sensitive or not isinstance(binding, Known):
                    first.names.setdefault(name, binding)
        walk.sensitive = walk.sensitive or record.sensitive
        walk.state = state.joined(record.state) if record.state is not None else None
        return record.value
