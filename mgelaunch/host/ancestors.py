"""The processes above this one, as far as they tell which engine has started it."""

import os
import re

from mgelaunch.host.files import Files, whole

_OUTERMOST = "pid:[4026531836]"
"""The first process namespace of a machine (PROC_PID_INIT_INO of Linux): nothing is above it that is not seen."""
_MOST = 1000
_DAEMON = re.compile(r"slurmstepd: \[([^\]]*)\]")
"""What slurmstepd, the parent of all tasks of a step, calls itself (measured with Slurm 22.05)."""


def slurm_step_above(parent: int, files: Files) -> str | None:
    """The step whose daemon is the nearest from the process `parent` upwards: ``42.0``, ``42.batch``. Empty where none
    is, None where nobody can tell, as in a container, whose first process has nobody above it.
    """
    pid = parent
    for _ in range(_MOST):
        if match := _DAEMON.match(files.text(f"/proc/{pid}/cmdline")):
            return match[1]
        if pid <= 1:
            return "" if pid == 1 and _is_outermost(files) else None
        pid = _parent(pid, files)
    return None


def _is_outermost(files: Files) -> bool:
    try:
        return os.readlink(files.real("/proc/self/ns/pid")) == _OUTERMOST
    except OSError:
        return False


def _parent(pid: int, files: Files) -> int:
    """The parent of a process; 0 where ``/proc`` does not tell."""
    fields = files.text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (whole(fields[1]) or 0) if len(fields) > 1 else 0
