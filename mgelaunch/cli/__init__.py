"""The face: parses the command line, runs one command, turns failures into a line and an exit code."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from mgelaunch.errors import REFUSED, Failure


def entry_point() -> None:
    """The console script. Signals that Python handles for its own sake act on us as on any program."""
    _open_streams()
    gc.disable()  # a tenth of the start, and this process is soon another or gone
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: nobody is to read it
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open to the end
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        os._exit(code or _unwritten(error))  # Python would try again, and complain itself
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)  # what Python would tidy up takes it 10 ms, and ends with us anyway


def _open_streams() -> None:
    """A standard stream that was closed leads to nowhere, so that no file of ours takes its number. What is executed
    finds it closed again.
    """
    while (null := os.open(os.devnull, os.O_RDWR)) < 3:
        pass  # the kernel gives the lowest number that is free
    os.close(null)


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code. Never raises, but for a command that becomes another program."""
    from mgelaunch.cli.app import invoke  # noqa: PLC0415 - typer comes with it
    from mgelaunch.cli.say import complain  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return invoke(argv)
    except Failure as failure:
        complain(f"mgelaunch: error: {failure.message} [{failure.code}]")
        return failure.exit_code
    except UnicodeEncodeError as error:
        complain(
            f"mgelaunch: error: a text has characters that {error.encoding} lacks; try LC_ALL=C.UTF-8 [text.encoding]"
        )
        complain(f"mgelaunch: nothing was started (exit code {REFUSED}, text.encoding)")
        return REFUSED
    except OSError as error:  # every other one is handled where it happens
        return _unwritten(error)


def _unwritten(error: OSError) -> int:
    """Says that the output is lost, a full disk for example; a zero would deny it."""
    from mgelaunch.cli.say import complain  # noqa: PLC0415

    complain(f"mgelaunch: error: the output cannot be written: {error.strerror} [output.lost]")
    return 1
