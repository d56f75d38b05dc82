"""Becomes the script: same process, same terminal, same stdin; nothing of mgelaunch stays behind."""

import errno
import os
import signal
from collections.abc import Collection, Mapping
from typing import NoReturn

from mgelaunch.errors import CannotExecute, Failure, NotFound
from mgelaunch.launch.plan import Process, complete_environment


def execute(process: Process, inherited: Mapping[str, str]) -> NoReturn:
    """Replaces this process by `process`.

    Raises:
        NotFound: the file, or the interpreter that its first line names, is not there.
        CannotExecute: the kernel refuses it.
        Failure: the CPUs that it is to be bound to are not there any more.
    """
    environment = complete_environment(inherited, process.environment)
    # Python ignores these two for its own sake; a program that is not Python would inherit that.
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    if process.cpus:
        _bind(process.cpus)
    try:
        os.execve(process.program, process.argv, environment)
    except OSError as error:
        raise _failure(error, process) from None


def _bind(cpus: Collection[int]) -> None:
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise Failure(f"the CPUs of --bind-cpus cannot be used any more: {error.strerror}", "cpu.bind") from None


def _failure(error: OSError, process: Process) -> Failure:
    name = process.argv[0]
    if error.errno == errno.ENOENT:
        return NotFound(f"{name} or the interpreter in its first line is not there", "target.missing")
    if error.errno == errno.ENOEXEC:
        return CannotExecute(f"{name} is no program and has no #! line; try: bash {name}", "target.format")
    if error.errno == errno.E2BIG:
        return CannotExecute(f"arguments and environment of {name} are too long for the kernel", "target.size")
    return CannotExecute(f"{name} cannot be executed: {error.strerror}", "target.permission")
