"""The variables of an engine, read strictly; which of them counted is kept."""

from collections.abc import Mapping

from mgelaunch.clusters.placement import Inconsistent

_PORTS = 65536
_DIGITS = 10  # as many as the largest number of a Slurm step has
_HERE = ("localhost", "127.", "::1")


class Reading:
    """An environment, and the names that a rule has used of it. An empty variable is as good as none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._used: dict[str, None] = {}

    @property
    def used(self) -> tuple[str, ...]:
        """The names that had something to say, in the order they were asked."""
        return tuple(self._used)

    def has(self, *names: str) -> bool:
        """Whether all of `names` are set."""
        return all(self._environ.get(name) for name in names)

    def text(self, *names: str) -> str:
        """The first of `names` that is set; empty when none is."""
        for name in names:
            if text := self._environ.get(name):
                self._used[name] = None
                return text
        return ""

    def count(self, name: str) -> int | None:
        """The number in `name`; None when it is not set.

        Raises:
            Inconsistent: it is no number from 0 on.
        """
        text = self.text(name)
        return number(name, text) if text else None

    def needed(self, name: str) -> int:
        """The number in `name`.

        Raises:
            Inconsistent: it is not set, or no number from 0 on.
        """
        self.needed_text(name)
        return self.count(name) or 0

    def needed_text(self, name: str) -> str:
        """What is in `name`.

        Raises:
            Inconsistent: it is not set.
        """
        text = self.text(name)
        if not text:
            mark = next(iter(self._used), "")
            raise Inconsistent(f"{mark} is set, but {name} is not" if mark else f"{name} is not set", (name,))
        return text

    def place(self, name: str, size_name: str) -> tuple[int, int]:
        """The rank in `name` among as many as `size_name` says.

        Raises:
            Inconsistent: one of them is missing or no number, or there is no such rank.
        """
        rank, size = self.needed(name), self.needed(size_name)
        within(name, rank, size_name, size)
        return rank, size

    def port(self, *names: str) -> int:
        """The port in the first of `names` that is set; 0 when none is, or when it is to be chosen.

        Raises:
            Inconsistent: it is no port.
        """
        name = next((name for name in names if self.has(name)), "")
        port = self.count(name) or 0 if name else 0
        if port >= _PORTS:
            raise Inconsistent(f"{name} is no port: they end at {_PORTS - 1}", (name,))
        return port


def number(name: str, text: str) -> int:
    """The number that `text` is, which `name` has.

    Raises:
        Inconsistent: it is no number from 0 on.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise Inconsistent(f"{name} is not a number from 0 on", (name,))
    return int(text)


def within(name: str, rank: int, size_name: str, size: int) -> None:
    """Counts start from 0.

    Raises:
        Inconsistent: there is no such rank.
    """
    if rank >= size:
        message = f"{name} is {rank} where {size_name} is {size}, and ranks count from 0"
        raise Inconsistent(message, (name, size_name))


def part_of(name: str, part: int, whole_name: str, whole: int) -> None:
    """A part is not larger than the whole.

    Raises:
        Inconsistent: it is.
    """
    if part > whole:
        raise Inconsistent(f"{name} is {part}, more than {whole_name}, which is {whole}", (name, whole_name))


def is_here(address: str) -> bool:
    """Whether `address` is every machine's name for itself, so that ranks that meet there are all on one."""
    return address.startswith(_HERE)
