"""Forks the processes of a job and holds them until all are there; then each becomes its program.

A fork and not a spawn: only the child itself can ask the kernel to be killed with its parent (prctl(2),
PR_SET_PDEATHSIG). Held, a process has run nothing of the user's yet, so a job that cannot be started whole is not
started at all.
"""

import errno
import os
import resource
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from mgelaunch.errors import CANNOT_EXECUTE, NOT_FOUND
from mgelaunch.launch.plan import Process
from mgelaunch.launch.signals import Signals

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_REPORT = struct.Struct("ii")


class Streams(NamedTuple):
    """The descriptors that a process gets as stdin, stdout and stderr, and those that it keeps beside them."""

    stdin: int
    stdout: int
    stderr: int
    kept: tuple[int, ...] = ()


class Refusal(NamedTuple):
    """A process that could not be started: the kernel's error number."""

    rank: int
    error: int


class NotForked(Exception):
    """The kernel gave no further process. Those that were held have been ended again."""

    def __init__(self, error: OSError, held: int) -> None:
        super().__init__(error.strerror)
        self.error = error
        self.held = held


class Kernel(NamedTuple):
    """Two calls of the kernel as the C library has them. `fork` is not that of Python, which makes locks anew in each
    child, for threads that no child here has, and thereby doubles what a child costs until it becomes its program.
    """

    prctl: Callable[..., int]
    fork: Callable[[], int]


def adopt() -> Kernel:
    """Makes this process the parent of every orphan below it. On a kernel or a C library without prctl(2) nothing is
    changed.
    """
    import ctypes  # noqa: PLC0415 - only jobs of several ranks pay

    try:
        library = ctypes.PyDLL(None, use_errno=True)
        prctl, fork = library.prctl, library.fork
    except (OSError, AttributeError):
        return Kernel(lambda *_: -1, os.fork)

    def checked() -> int:
        if (pid := fork()) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return int(pid)

    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return Kernel(prctl, checked)


class Gate:
    """Where the children of one start wait for each other, and where they tell what the kernel refuses. Signals to
    us wait until it is opened or given up.
    """

    def __init__(self, signals: Signals, kernel: Kernel, files: tuple[int, int]) -> None:
        """`files` is the RLIMIT_NOFILE that the processes get."""
        self._signals = signals
        self._kernel = kernel
        self._files = files
        self._open, self._wait = os.pipe()[::-1]
        self.report, self._tell = os.pipe()
        os.set_blocking(self.report, False)
        self._parent = os.getpid()
        self.pids: list[int] = []
        signals.hold()

    def hold(self, process: Process, environment: Mapping[str, str], streams: Streams) -> int:
        """Forks one process, which waits; returns its pid.

        Raises:
            NotForked: the kernel refuses.
        """
        try:
            pid = self._kernel.fork()
        except OSError as error:
            self.cancel()
            raise NotForked(error, len(self.pids)) from None
        if not pid:
            self._become(process, environment, streams)
        self.pids.append(pid)
        return pid

    def release(self) -> None:
        """Lets all that wait go on."""
        os.write(self._open, b"." * len(self.pids))
        self._close()

    def start(self, process: Process, environment: Mapping[str, str], streams: Streams) -> int:
        """Starts one process alone, and returns its pid when it has become its program.

        Raises:
            OSError: the kernel refuses it; nothing of it is left.
        """
        try:
            pid = self.hold(process, environment, streams)
        except NotForked as problem:
            raise problem.error from None
        self.release()
        os.set_blocking(self.report, True)
        refused = self.refusals()
        os.close(self.report)
        if refused:
            os.waitpid(pid, 0)
            raise OSError(refused[0].error, os.strerror(refused[0].error))
        return pid

    def cancel(self) -> None:
        """Ends all that wait, and waits for them."""
        self._close()
        os.close(self.report)
        for pid in self.pids:
            os.waitpid(pid, 0)

    def refusals(self) -> Sequence[Refusal] | None:
        """What was told since the last call; None when every process has become its program or ended."""
        try:
            data = os.read(self.report, _REPORT.size * 64)
        except BlockingIOError:
            return ()
        return [Refusal(*row) for row in _REPORT.iter_unpack(data)] if data else None

    def _close(self) -> None:
        for end in (self._open, self._wait, self._tell):
            os.close(end)
        self._signals.release()

    def _become(self, process: Process, environment: Mapping[str, str], streams: Streams) -> NoReturn:
        """In the child, which never returns from here."""
        status = 1
        try:
            self._kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self._parent:
                os._exit(status)
            os.setsid()
            _connect(streams)
            os.close(self._open)
            if process.cpus:
                os.sched_setaffinity(0, process.cpus)
            if resource.getrlimit(resource.RLIMIT_NOFILE) != self._files:
                resource.setrlimit(resource.RLIMIT_NOFILE, self._files)
            self._signals.restore()
            if os.read(self._wait, 1):
                os.chdir(process.cwd)
                os.execve(process.program, process.argv, environment)
        except OSError as error:
            os.write(self._tell, _REPORT.pack(process.rank, error.errno or 0))
            status = NOT_FOUND if error.errno == errno.ENOENT else CANNOT_EXECUTE
        finally:
            os._exit(status)


def _connect(streams: Streams) -> None:
    """Puts the three streams where a program expects them. None of them is below 3 unless it is there already."""
    for number, descriptor in enumerate(streams[:3]):
        if number == descriptor:
            os.set_inheritable(descriptor, True)
        else:
            os.dup2(descriptor, number)
    for descriptor in streams.kept:
        os.set_inheritable(descriptor, True)
