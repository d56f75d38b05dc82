"""Slurm's short texts for many hosts (``n[1-3,7]``) and for the tasks on each of them (``4(x3),2``).

Nothing here expands more than it is asked for: the texts of a thousand machines are short, their names are not.
"""

import re
from collections.abc import Iterator
from itertools import product
from math import prod

_ITEM = re.compile(r"\s*([^\[\],\s]*(?:\[[^\[\]]*\][^\[\],\s]*)*)\s*(,|$)")
_PART = re.compile(r"\[([^\[\]]*)\]|[^\[\]]+")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", re.ASCII)
_TASKS = re.compile(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?(,|$)", re.ASCII)
_MOST = 1_000_000


class NotAList(ValueError):
    """A text that does not follow the grammar; the message is one clause without the text."""


_Range = tuple[int, int, int]
"""First and last number, and with how many digits they are written at least."""


def hosts(text: str) -> tuple[str, ...]:
    """All names, in the order of `text` and as often as it has them; of ``a[1-2]b[3-4]`` the right part varies first.

    Raises:
        NotAList: `text` is no list of hosts, or of more than a million.
    """
    if host_count(text) > _MOST:
        raise NotAList(f"it names more than {_MOST} hosts")
    return tuple("".join(name) for item in _items(text) for name in product(*map(_names, _parts(item))))


def host_count(text: str) -> int:
    """How many names `text` has; none of them is made.

    Raises:
        NotAList: `text` is no list of hosts.
    """
    return sum(prod(map(_size, _parts(item))) if "[" in item else 1 for item in _items(text))


def first_host(text: str) -> str:
    """The first name; what follows its item is not read.

    Raises:
        NotAList: `text` does not start with a list of hosts, or is empty.
    """
    item = next(_items(text), None)
    if item is None:
        raise NotAList("it is empty")
    return "".join(next(iter(_names(part))) for part in _parts(item))


def task_counts(text: str) -> tuple[tuple[int, int], ...]:
    """For each entry the tasks on a host, and on how many hosts in a row: ``4(x3),2`` is ((4, 3), (2, 1)).

    Raises:
        NotAList: `text` does not have that form.
    """
    return tuple(_counts(text))


def tasks_on(text: str, index: int) -> int:
    """The tasks on the host with number `index`; what follows its entry is not read.

    Raises:
        NotAList: `text` does not have that form, or fewer hosts.
    """
    after = 0
    for tasks, times in _counts(text):
        after += times
        if index < after:
            return tasks
    raise NotAList(f"it ends before host {index}, counted from 0")


def _counts(text: str) -> Iterator[tuple[int, int]]:
    position, comma = 0, "," if text else ""
    while comma:
        entry = _TASKS.match(text, position)
        if entry is None:
            raise NotAList(f"it is no count, as 4 or 4(x3), at character {position + 1}")
        yield int(entry[1]), int(entry[2] or 1)
        position, comma = entry.end(), entry[3]


def _items(text: str) -> Iterator[str]:
    """What stands between the commas that are not in brackets."""
    position, comma = 0, "," if text.strip() else ""
    while comma:
        item = _ITEM.match(text, position)
        if item is None or not item[1]:
            raise NotAList(_complaint(text, position))
        yield item[1]
        position, comma = item.end(), item[2]


_Part = str | list[_Range]
"""A text, or what stands in brackets."""


def _parts(item: str) -> Iterator[_Part]:
    """The parts of a name, which is every combination of them."""
    for part in _PART.finditer(item):
        yield part[0] if part[1] is None else [_range(text) for text in part[1].split(",")]


def _size(part: _Part) -> int:
    return 1 if isinstance(part, str) else sum(last - first + 1 for first, last, _ in part)


def _names(part: _Part) -> Iterator[str]:
    if isinstance(part, str):
        yield part
        return
    for first, last, width in part:
        for number in range(first, last + 1):
            yield f"{number:0{width}d}"


def _range(text: str) -> _Range:
    numbers = _RANGE.fullmatch(text)
    if numbers is None:
        raise NotAList("between its brackets is more than numbers and ranges of numbers")
    first, last = int(numbers[1]), int(numbers[2] or numbers[1])
    if first > last:
        raise NotAList("it has a range that ends before its start")
    return first, last, len(numbers[1])


def _complaint(text: str, position: int) -> str:
    rest = text[position:].lstrip()
    if rest[:1] in {"", ","}:
        return f"it has no name at character {position + 1}"
    return "its brackets do not match" if "[" in rest or "]" in rest else "it has a blank within a name"
