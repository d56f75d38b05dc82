"""Another program that is asked, with a deadline: it may hang, crash or talk nonsense, and takes nobody along."""

import os
import select
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from subprocess import Popen

_MOST = 16 << 20
"""Bytes of an answer that are read; a thousand cards need less than one tenth."""

_MERCY = 1.0
"""Seconds that a killed program is waited for: one that is stuck inside a driver dies when the kernel lets it."""


class Answer(NamedTuple):
    """What a program wrote to stdout and how it ended: ``code`` is its exit code, the negative number of the signal
    that ended it, or None when it had not ended at the deadline.
    """

    text: str = ""
    code: int | None = None


def ask(argv: Sequence[str], environ: Mapping[str, str], until: float) -> Answer | None:
    """What `argv` answers before `until` (of ``time.monotonic``); None when it cannot be started.

    At the end neither it nor what it started in its session is left running.
    """
    import subprocess  # noqa: PLC0415 - only hosts with something to ask pay for it

    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            argv, env=dict(environ), stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, start_new_session=True
        )
    except (OSError, ValueError):  # no such program; a NUL in the environment
        return None
    try:
        text = _read(process, until)
        with suppress(subprocess.TimeoutExpired):
            return Answer() if text is None else Answer(text, process.wait(max(0.0, until - time.monotonic())))
        return Answer()
    finally:
        _end(process)


def no_answer(who: str, answer: Answer | None) -> str:
    """In a phrase, how `who` failed to answer."""
    if answer is None:
        return f"{who} cannot be started"
    if answer.code is None:
        return f"{who} gave no answer in time, as when a card hangs"
    return f"{who} was ended by signal {-answer.code}" if answer.code < 0 else f"{who} ended with {answer.code}"


def _read(process: "Popen[bytes]", until: float) -> str | None:
    """All of its stdout; None when the deadline comes first. Of an absurdly long one it sees the end by SIGPIPE."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    told, ready = bytearray(), select.poll()
    ready.register(process.stdout, select.POLLIN)
    with process.stdout:
        while len(told) <= _MOST:
            if (left := until - time.monotonic()) <= 0 or not ready.poll(min(left, 3600.0) * 1000):
                return None
            if not (chunk := os.read(process.stdout.fileno(), 1 << 16)):
                break
            told += chunk
    return told.decode("utf-8", "replace")


def _end(process: "Popen[bytes]") -> None:
    import signal  # noqa: PLC0415 - loaded by `ask`
    import subprocess  # noqa: PLC0415

    if process.poll() is None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_MERCY)
