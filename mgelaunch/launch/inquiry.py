"""Asks the target's interpreter all questions of a proof, and finds out whom to blame when one has no answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.launch.blame import Blame, blame
from mgelaunch.launch.prove import Failure, Prover, Start, Told
from mgelaunch.target.answers import Import, Question, Read

MOST_TRIES = 20
"""How often an interpreter is started at most to find out whom to blame for one failure."""
_NEEDED = ("PYTHONPATH", "LD_LIBRARY_PATH")
"""Without them the target may not find what it is made of, so they are suspected last."""


class Fault(NamedTuple):
    """Why a question had no answer, the last lines that the interpreter wrote, and the variables that are to blame for
    it (none: nobody, or nobody knows). ``blame`` is all that was found out.
    """

    failure: Failure
    lines: tuple[str, ...]
    guilty: tuple[str, ...]
    blame: Blame


class Inquired(NamedTuple):
    """What was told to all questions; ``missing`` are frameworks that are not there, and why."""

    imports: tuple[Import, ...]
    missing: Mapping[str, str]
    reads: Mapping[str, Read]
    faults: tuple[Fault, ...]


def inquire(
    questions: Sequence[Question],
    start: Start,
    environment: Mapping[str, str],
    deadline: float,
    searching: Callable[[Failure], None],
) -> Inquired:
    """Asks each question in this whole `environment`, for at most so many seconds; `searching` is called before a
    search for whom to blame, which may take twenty times as long.

    Raises:
        OSError: the interpreter cannot be started.
        Interrupted: a signal ended it.
    """
    imports: list[Import] = []
    missing: dict[str, str] = {}
    reads: dict[str, Read] = {}
    faults: list[Fault] = []
    prover = Prover(deadline)
    try:
        for question in questions:
            told = prover.ask(start, question, environment)
            imports += told.answer.imports
            missing |= told.answer.missing
            reads |= told.answer.reads
            if failure := told.failure(deadline):
                searching(failure)
                faults += _faults(prover, start, question, environment, told)
    finally:
        prover.close()
    return Inquired(tuple(imports), missing, reads, tuple(faults))


def _faults(
    prover: Prover, start: Start, question: Question, environment: Mapping[str, str], told: Told
) -> Iterator[Fault]:
    """What is wrong with a question that was answered by `told`, found by asking again without some of the variables
    that the catalogue knows. Several of them may be to blame, each for a failure of its own.
    """
    lean = question if told.answer.doing.startswith("reading") else question._replace(reads={})
    suspects = [name for name in environment if name in CATALOGUE]
    needed = frozenset(suspects).intersection(_NEEDED)
    known = {frozenset(suspects): told}

    def fails(kept: frozenset[str]) -> bool:
        left = {name: text for name, text in environment.items() if name not in CATALOGUE or name in kept}
        known[kept] = answer = prover.ask(start, lean, left)
        lost = answer.answer.missing.keys() - told.answer.missing.keys()  # by a PYTHONPATH that is not there
        return bool(lost) or answer.failure(prover.deadline) is not None

    found = blame([name for name in suspects if name not in needed], sorted(needed), fails, MOST_TRIES)
    for group in found.guilty or ((),):
        alone = known.get(needed.union(group)) or known.get(frozenset(group), told)
        for witness in (alone, told):
            if failure := witness.failure(prover.deadline):
                yield Fault(failure, witness.lines, group, found)
                break
