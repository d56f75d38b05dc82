"""The processes below this one, whatever session or group they have put themselves in.

A process keeps its parent when it calls setsid(2). One whose parent ends gets the nearest subreaper above it as its
parent (prctl(2), PR_SET_CHILD_SUBREAPER), so a subreaper loses none of those that it or its children have forked.
"""

import os
import signal
from typing import NamedTuple

_STATE, _PARENT, _GROUP, _SESSION, _THREADS, _START = 0, 1, 2, 3, 17, 19
"""Where proc(5) has them, counted from the first field after the name (its third)."""

_LONGEST = 4096
"""Bytes of ``/proc/PID/stat`` at most: 52 numbers and a name of up to 64 bytes."""


class Descendant(NamedTuple):
    """A process: ``start`` is when it began, in clock ticks since the host was started, and tells it from a later
    process of the same number; ``session`` and ``group`` are the numbers of those who lead them; ``state`` is the
    letter of proc(5).
    """

    pid: int
    parent: int
    start: int
    session: int
    group: int
    state: str


def descendants() -> tuple[Descendant, ...]:
    """All that live below this process, parents before their children; none when ``/proc`` is not its own.

    One look at a world that moves: what is forked or loses its parent meanwhile may be missing. Whoever must have
    all looks again until nothing is left.
    """
    if not _own_table():
        return ()
    # On a host with thousands of processes the time goes here, so nothing is made of those that are not ours.
    children: dict[bytes, list[tuple[bytes, list[bytes]]]] = {}
    for pid in os.listdir(b"/proc"):
        if pid.isdigit() and (fields := _fields(pid)):
            children.setdefault(fields[_PARENT], []).append((pid, fields))
    found = children.pop(b"%d" % os.getpid(), [])
    for pid, _ in found:  # which grows meanwhile
        found += children.pop(pid, [])
    return tuple(_descendant(pid, fields) for pid, fields in found if _lives(fields))


def tell(descendant: Descendant, number: int) -> bool:
    """Sends signal `number` to `descendant` and to nobody else; False when it has ended or may not be told."""
    try:
        handle = os.pidfd_open(descendant.pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):  # Linux before 5.3, a sandbox, or a Python that was built for older ones
        return _same(descendant) and _kill(descendant.pid, number)
    try:
        # Looked at while it is held: from here on its number can pass to nobody unnoticed.
        if not _same(descendant):
            return False
        signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(handle)
    return True


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # it ended meanwhile, or has become another user
        return False
    return True


def _same(descendant: Descendant) -> bool:
    fields = _fields(b"%d" % descendant.pid)
    return fields is not None and _lives(fields) and int(fields[_START]) == descendant.start


def _descendant(pid: bytes, fields: list[bytes]) -> Descendant:
    parent, start, session, group = (int(fields[index]) for index in (_PARENT, _START, _SESSION, _GROUP))
    return Descendant(int(pid), parent, start, session, group, fields[_STATE].decode())


def _lives(fields: list[bytes]) -> bool:
    """Whether any thread of it runs: a main thread that has ended before the others leaves the state of a zombie."""
    return fields[_STATE] not in (b"Z", b"X") or int(fields[_THREADS]) > 1


def _own_table() -> bool:
    """Whether ``/proc`` numbers processes as this process does: in a new PID namespace it may be the old one's."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _fields(pid: bytes) -> list[bytes] | None:
    """What follows the name in ``/proc/PID/stat``; None when the process has gone."""
    try:
        descriptor = os.open(b"/proc/%s/stat" % pid, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(descriptor, _LONGEST)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # A name may hold blanks and parentheses, but only numbers follow its last one.
    fields = line[line.rfind(b")") + 1 :].split(None, _START + 1)
    return fields if len(fields) > _START else None
