"""What stays of a job in its directory: one log and one record for each rank, and one record of the whole."""

import errno
import json
import os
import time
from contextlib import suppress
from typing import Any, NamedTuple

from mgelaunch.launch.events import Exit

VERSION = 1
_OF_ATTEMPT = ("attempt", "pid", "start", "end", "exit_code", "signal", "peak_rss")
"""What is kept of a start when the rank is started again."""


class Subject(NamedTuple):
    """What a job is called in its records. No secret is in ``command``."""

    run_id: str
    host: str
    command: tuple[str, ...]
    world: int


class Records:
    """Writes below ``folder``, which is new. A disk that is full stops no job: ``lost`` says what is missing."""

    def __init__(self, parent: str, subject: Subject) -> None:
        """Makes the directory, with a number behind its name where there is one already.

        Raises:
            OSError: it cannot be made.
        """
        os.makedirs(parent, exist_ok=True)
        self.folder = _new_folder(os.path.join(parent, subject.run_id))
        self.lost: OSError | None = None
        self._subject = subject
        self._began = time.time()
        self._ranks: dict[int, dict[str, Any]] = {}
        self._logs: dict[int, int] = {}

    def _log_of(self, rank: int) -> int:
        if rank not in self._logs:
            path = os.path.join(self.folder, f"rank-{rank}.log")
            self._logs[rank] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode=0o666)
        return self._logs[rank]

    def log(self, rank: int, data: bytes) -> None:
        """Adds to the log of `rank`."""
        view = memoryview(data)
        try:
            self._log_of(rank)
            while view:
                view = view[os.write(self._log_of(rank), view) :]
        except OSError as error:
            self.lost = self.lost or error

    def started(self, rank: int, pid: int, attempt: int) -> None:
        """A rank has been started, for the first time or again."""
        self.log(rank, b"")
        told = {"rank": rank, "local_rank": rank, "node_rank": 0, "host": self._subject.host, "pid": pid}
        former = self._ranks.get(rank, {})
        earlier = [*former.get("earlier", ()), {key: former[key] for key in _OF_ATTEMPT if key in former}]
        self._ranks[rank] = {"version": VERSION, **told, "attempt": attempt, "start": _shown(time.time())}
        if former:
            self._ranks[rank]["earlier"] = earlier
        self._write(f"rank-{rank}.json", self._ranks[rank])

    def ended(self, rank: int, exit_: Exit, peak: int) -> None:
        """A rank has ended; `peak` is the largest resident set of it or of a child that it waited for, in bytes.

        It is never below that of the launcher, of which a rank is a copy before it becomes its program.
        """
        how = {"exit_code": None if exit_.signal else exit_.code, "signal": exit_.signal or None}
        self._ranks[rank] |= {"end": _shown(time.time()), **how, "peak_rss": peak}
        self._write(f"rank-{rank}.json", self._ranks[rank])

    def finished(self, code: int, first: int | None, reason: str, attempts: int) -> None:
        """The job is over. `first` is the rank that failed first, `reason` is empty when all went well."""
        subject = self._subject
        told = {"run_id": subject.run_id, "host": subject.host, "command": list(subject.command)}
        times = {"start": _shown(self._began), "end": _shown(time.time())}
        counts = {"world_size": subject.world, "attempts": attempts}
        outcome = {"exit_code": code, "first_failed_rank": first, "reason": reason or None}
        self._write("job.json", {"version": VERSION, **told, **counts, **times, **outcome})

    def close(self) -> None:
        """Closes the logs."""
        for log in self._logs.values():
            os.close(log)

    def _write(self, name: str, document: dict[str, Any]) -> None:
        """The whole file or none of it: whoever reads it meanwhile sees the old one."""
        path = os.path.join(self.folder, name)
        try:
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                file.write(json.dumps(document, indent=2) + "\n")
            os.replace(f"{path}.new", path)
        except OSError as error:
            self.lost = self.lost or error
            with suppress(OSError):
                os.unlink(f"{path}.new")


def _new_folder(path: str) -> str:
    """Jobs of several containers that share a disk may have the same name."""
    for name in (path, *(f"{path}-{number}" for number in range(2, 1000))):
        with suppress(FileExistsError):
            os.mkdir(name)
            return name
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def _shown(moment: float) -> str:
    """A moment of the wall clock in UTC, to the millisecond (ISO 8601)."""
    whole = int(moment)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((moment - whole) * 1000):03d}Z"
