"""Finds out which settings make a start fail, by trying it with fewer of them."""

from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from typing import NamedTuple

Fails = Callable[[frozenset[str]], bool]
"""Tries a start with these of the settings only; True when it fails."""


class Blame(NamedTuple):
    """The settings to blame: each group fails by itself, none of its members can be spared, and without all of the
    groups the start works (``works``). No group: ``broken`` says that it fails with none of the settings, too; else
    nothing was found out, be it that it does not always fail or that the tries were used up.
    """

    guilty: tuple[tuple[str, ...], ...] = ()
    broken: bool = False
    works: bool = False
    tries: int = 0


class _OutOfTries(Exception):
    pass


class _Trials:
    """Remembers what was tried."""

    def __init__(self, fails: Fails, most: int, failing: Collection[str]) -> None:
        """`failing` has failed once."""
        self._fails = fails
        self._most = most
        self._failing = frozenset(failing)
        self._known: dict[frozenset[str], bool] = {}

    @property
    def tries(self) -> int:
        return len(self._known)

    def fail(self, *groups: Collection[str]) -> bool:
        """Whether a start with all of these fails.

        Raises:
            _OutOfTries: nobody knows, and no more is to be tried.
        """
        names = frozenset().union(*groups)
        return names == self._failing or self.fail_again(names)

    def fail_again(self, *groups: Collection[str]) -> bool:
        """The same, also of what has failed before there were any trials.

        Raises:
            _OutOfTries: as above.
        """
        names = frozenset().union(*groups)
        if names not in self._known:
            if self.tries >= self._most:
                raise _OutOfTries
            self._known[names] = self._fails(names)
        return self._known[names]


def blame(names: Sequence[str], needed: Sequence[str], fails: Fails, most: int) -> Blame:
    """Whom to blame for a start that fails with all of `names` and `needed`, in at most so many tries.

    Without the few that are `needed`, such as PYTHONPATH, the target may not find its modules, so that the start fails
    as well. As many of them as possible stay where they are.
    """
    trials = _Trials(fails, most, (*names, *needed))
    guilty: list[tuple[str, ...]] = []
    try:
        bases = [base for size in range(len(needed), -1, -1) for base in combinations(needed, size)]
        base = next((base for base in bases if not trials.fail(base)), None)
        if base is None:
            return Blame(broken=True, tries=trials.tries)
        rest = tuple(name for name in (*needed, *names) if name not in base)
        while not guilty or trials.fail(base, rest):
            group = _smallest(base, rest, trials)
            if not trials.fail_again(base, group):  # it does not fail each time
                return Blame(tuple(guilty), tries=trials.tries)
            guilty.append(group)
            rest = tuple(name for name in rest if name not in group)
    except _OutOfTries:
        return Blame(tuple(guilty), tries=trials.tries)
    return Blame(tuple(guilty), works=True, tries=trials.tries)


def _smallest(base: Sequence[str], names: Sequence[str], trials: _Trials) -> tuple[str, ...]:
    """The smallest part of `names` that still fails beside `base`, which does not alone: QuickXplain (Junker 2004), in
    about two tries for each halving.
    """
    if len(names) == 1:
        return tuple(names)
    one, other = names[: len(names) // 2], names[len(names) // 2 :]
    of_other = () if trials.fail(base, one) else _smallest((*base, *one), other, trials)
    of_one = () if of_other and trials.fail(base, of_other) else _smallest((*base, *of_other), one, trials)
    return (*of_one, *of_other)
