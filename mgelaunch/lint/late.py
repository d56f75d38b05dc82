"""Is a variable set when it has been read already? Moments and readers are those of the catalogue."""

from collections.abc import Iterator
from typing import NamedTuple

from mgelaunch.catalogue.variable import Framework, Variable
from mgelaunch.checks.late import imports_of
from mgelaunch.finding import Severity
from mgelaunch.lint.state import CUDA, MAYBE_CUDA, TENSOR, Happening, State

_AT_IMPORT = frozenset({"import", "exit_too"})
_LESSER: dict[Severity, Severity] = {"error": "warning", "warning": "info", "info": "info"}


class Lateness(NamedTuple):
    """How bad it is, why (a phrase that follows the variable's name), and what has read it, if anything has. With
    ``in_time`` the reader is yet to come.
    """

    severity: Severity
    phrase: str
    by: Happening | None = None
    in_time: bool = False

    def lessened(self) -> "Lateness":
        """The same, one step less severe."""
        return self._replace(severity=_LESSER[self.severity])


def lateness(variable: Variable, state: State) -> Lateness | None:
    """What to say of a change of `variable` in `state`; None when nobody has read it, or it is read at each use."""
    if variable.moment == "start":
        return Lateness("error", "is read when the interpreter starts; set here it reaches child processes only")
    found = list(_readings(variable, state))
    order = ("error", "warning", "info")
    return min(found, key=lambda late: order.index(late.severity)) if found else None


def is_late(variable: Variable, state: State) -> bool:
    """Whether a reader has come first, on some way at least."""
    late = lateness(variable, state)
    return late is not None and not late.in_time


def _readings(variable: Variable, state: State) -> Iterator[Lateness]:
    """What each reader of the variable, in the order of the catalogue, has done so far."""
    if variable.moment in _AT_IMPORT:
        yield from _at_import(variable, state)
    for framework in [reader.framework for reader in variable.readers]:
        if variable.moment == "first_device" or (variable.moment == "import" and framework == "cuda"):
            yield from _at_start_of_device(framework, state)  # CUDA has no import of its own
        elif variable.moment == "first_tensor":
            yield from _at_first_tensor(framework, state)


def _at_import(variable: Variable, state: State) -> Iterator[Lateness]:
    severity: Severity = "warning" if variable.group == "threads" else "error"
    for module in imports_of(variable).read:
        if variable.moment == "exit_too" and module != "megengine":
            continue  # the import and the exit are MegEngine's; torch asks each time
        if by := state.happened.get(module):
            verb = "was already" if by.sure else "may have been"
            yield _graded(Lateness(severity, f'{verb} read by "{by.text}" at {by.place}', by))


def _at_start_of_device(framework: Framework, state: State) -> Iterator[Lateness]:
    """MegEngine opens its device with the first tensor; what others read, CUDA's start has read."""
    if framework == "megengine":
        yield from _at_first_tensor(framework, state, "a device is opened")
        return
    started, perhaps = state.happened.get(CUDA), state.happened.get(MAYBE_CUDA)
    if framework == "torch":
        perhaps = None  # its allocator waits for the first memory
    if started and (started.sure or not perhaps):
        yield _graded(Lateness("error", f"is read when CUDA starts, and {_done_by(started, 'started it')}", started))
    elif perhaps:
        phrase = f"is read when CUDA starts, and {_done_by(perhaps._replace(sure=False), 'started it')}"
        yield _graded(Lateness("warning", phrase, perhaps))
    elif by := state.happened.get("torch") or state.happened.get("megengine"):
        phrase = f'is read when CUDA starts; "{by.text}" at {by.place} does not start it'
        yield Lateness("info", phrase, by, in_time=True)


def _at_first_tensor(framework: Framework, state: State, when: str = "the first tensor is made") -> Iterator[Lateness]:
    if by := state.happened.get(TENSOR):
        yield _graded(Lateness("error", f"is read when {when}, and {_done_by(by, 'done so')}", by))
    elif by := state.happened.get(framework):
        yield Lateness("info", f'is read when {when}; "{by.text}" at {by.place} does not do it', by, in_time=True)


def _done_by(by: Happening, what: str) -> str:
    return f"{by.text} at {by.place} {'has' if by.sure else 'may have'} {what}"


def _graded(late: Lateness) -> Lateness:
    """What has happened on some ways only is one step less severe."""
    return late if late.by is None or late.by.sure else late.lessened()
