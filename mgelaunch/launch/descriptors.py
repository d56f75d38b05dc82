"""The descriptors of this process, before and while it starts ranks."""

import os
import resource
from contextlib import suppress


def open_streams() -> None:
    """A standard stream that was closed leads to nowhere, and no pipe of ours takes its number."""
    while (null := os.open(os.devnull, os.O_RDWR)) < 3:
        pass  # the kernel gives the lowest number that is free
    os.close(null)


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
