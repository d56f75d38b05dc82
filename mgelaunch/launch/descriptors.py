"""The descriptors of this process, before and while it starts ranks."""

import os
import resource
import select
import termios
from contextlib import suppress
from typing import Any


def allow_files(needed: int) -> tuple[int, int]:
    """Raises the number of files that this process may open; returns the limits that its children are to have."""
    soft, hard = former = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    return former


def may_read() -> bool:
    """Whether rank 0 gets our stdin: not when that is the terminal of somebody in front of us."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # no terminal
        return True


def may_write(descriptor: int) -> bool:
    """Whether a short line can be written without waiting for whoever reads it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


Terminal = list[Any]
"""What termios(3) knows of a terminal."""


def terminal_state() -> Terminal | None:
    """How the terminal that rank 0 may read from is set; None when there is none."""
    try:
        return termios.tcgetattr(0) if may_read() else None
    except termios.error:
        return None


def restore_terminal(state: Terminal | None) -> None:
    """Sets it as it was: a rank that asks for a password and is ended meanwhile leaves it without an echo."""
    if state is not None and may_read():
        with suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, state)
