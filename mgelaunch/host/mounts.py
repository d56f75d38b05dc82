"""What is mounted where, from ``/proc/self/mountinfo``."""

import re
from functools import lru_cache
from typing import NamedTuple

from mgelaunch.host.files import Files


class Mount(NamedTuple):
    """One line: the part of the file system that is shown (``root``), where (``point``), its type, the options of
    the mount and of the file system itself.
    """

    root: str
    point: str
    kind: str
    options: tuple[str, ...]
    of_file_system: tuple[str, ...]


def mounts(files: Files) -> tuple[Mount, ...]:
    """All mounts, later ones last: of several at one point the last is seen. Lines that are none are left out."""
    return _parsed(files.text("/proc/self/mountinfo"))


@lru_cache(maxsize=1)  # memory, CPUs and storage all look
def _parsed(text: str) -> tuple[Mount, ...]:
    found = (_mount(line) for line in text.split("\n"))
    return tuple(mount for mount in found if mount)


def _mount(line: str) -> Mount | None:
    """Fields of proc(5): id, parent, device, root, point, options, optional ones, ``-``, type, source, options."""
    before, dash, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if not dash or len(fields) < 6 or len(rest) < 3:
        return None
    return Mount(_plain(fields[3]), _plain(fields[4]), rest[0], tuple(fields[5].split(",")), tuple(rest[2].split(",")))


def _plain(text: str) -> str:
    """`text` with the kernel's octal escapes (blank, tab, newline, backslash) undone."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)
