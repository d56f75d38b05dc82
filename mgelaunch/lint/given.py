"""The arguments of a call, as far as they are known."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mgelaunch.lint.bindings import Binding, Either, External, Function, Instance, Known, choices
from mgelaunch.lint.packages import CONTEXTS

_IS_PYTHON = re.compile("python|torchrun$|accelerate$|deepspeed$|mpirun$|mpiexec$|srun$")


class Given(NamedTuple):
    """Positional arguments and those by keyword; what stands behind a ``*args`` is left out. ``more``: there may be
    others, so that a parameter for which nothing is here need not have its default.
    """

    args: tuple[Binding, ...] = ()
    keywords: Mapping[str, Binding] = {}
    more: bool = False

    def mark(self, *, rough: bool) -> object:
        """What tells two calls of a function apart; `rough` leaves constants out of it."""
        named = tuple((name, _mark(value, rough)) for name, value in self.keywords.items())
        return tuple(_mark(value, rough) for value in self.args), named, self.more

    def functions(self) -> list[Function]:
        """Those that can be called."""
        return [each for each in self._all() if isinstance(each, Function)]

    def names_python(self) -> bool:
        """Whether a program is given that is a Python or starts one: ``sys.executable``, ``"python3 -m ..."``,
        ``"torchrun"``; or a context of multiprocessing that does.
        """
        given = [each.name for each in self._all() if isinstance(each, External)]
        said = [each.value for each in self._all() if isinstance(each, Known) and isinstance(each.value, str)]
        words = [word.rpartition("/")[2] for text in said for word in text.split()]
        return not {"sys.executable", *CONTEXTS.values()}.isdisjoint(given) or any(map(_IS_PYTHON.match, words))

    def holds_environment(self) -> bool:
        """Whether the environment itself is given, or a function that changes it."""
        return any(isinstance(each, External) and each.name.startswith("os.") for each in self._all())

    def _all(self) -> Iterator[Binding]:
        """The arguments that are known, and what is inside of those that are tuples (``args=(main, 4)``)."""
        for binding in (*self.args, *self.keywords.values()):
            for each in choices(binding) if binding is not None else ():
                yield each
                if isinstance(each, Known) and isinstance(each.value, tuple):
                    yield from each.value


def _mark(binding: Binding, rough: bool) -> object:
    match binding:
        case None:
            return None
        case Function(node):
            return id(node)
        case Instance():
            return id(binding.of.node)
        case External(name):
            return name
        case Either(parts) | Known(tuple(parts)):
            marks = tuple(_mark(part, rough) for part in parts)
            return tuple(filter(None, marks)) or None if rough else marks
        case Known(dict(items)):
            return None if rough else tuple((key, _mark(value, rough)) for key, value in items.items())
        case Known(value):
            return None if rough else (type(value), value)
    return id(binding)
