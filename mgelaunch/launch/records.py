"""What stays of a job in its directory: one log and one record for each rank, and one record of the whole."""

import errno
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from mgelaunch.environment.project import RECORDS
from mgelaunch.launch.events import Exit

VERSION = 1
_OF_ATTEMPT = ("attempt", "pid", "start", "end", "exit_code", "signal", "stopped_by", "peak_rss")
"""What is kept of a start when the rank is started again."""


class Subject(NamedTuple):
    """What a job is called in its records. No secret is in ``command``. ``world`` counts the ranks of the whole job;
    the first of those here has the number ``first`` in it and ``local_rank`` on this host, whose own is ``node_rank``.
    """

    run_id: str
    host: str
    command: tuple[str, ...]
    world: int
    first: int = 0
    local_rank: int = 0
    node_rank: int = 0


class Records:
    """Writes below ``folder``. A disk that is full stops no job: ``lost`` says what is missing. Those of a `project`
    have no folder, and cost no start anything, before the first rank has ended.

    ``rank-N.json`` has ``version``, ``rank``, ``local_rank``, ``node_rank``, ``host``, and of the last start
    ``attempt``, ``pid``, ``start`` and, once the rank has ended, ``end``, ``exit_code`` (null after a signal),
    ``signal`` (null without one), ``stopped_by`` and ``peak_rss`` in bytes; ``earlier`` has what was before a restart.
    ``stopped_by`` is the name of the last signal to end that the rank had from us while it ran (``"SIGTERM"``,
    ``"SIGKILL"``), null when it ended by itself: of many ranks the first with null and a failure is the culprit.
    Of a job that an engine has started, ``last`` has the last lines of a rank that failed, and ``refused`` the reasons
    for which one was not started.
    """

    def __init__(self, folder: str, subject: Subject, *, logs: bool = True, project: str = "") -> None:
        """`folder` is there already, and the ranks of other hosts may write to it, too. Without `logs` only records are
        kept. In place of a folder, `project` is the directory whose default one is to be made.
        """
        self.folder = folder
        self.lost: OSError | None = None
        self.logging = logs
        self._subject = subject
        self._project = project
        self._began = time.time()
        self._ranks: dict[int, dict[str, Any]] = {}
        self._logs: dict[int, int] = {}

    @classmethod
    def below(cls, parent: str, subject: Subject) -> "Records":
        """Makes the directory, named after the run, with a number behind its name where there is one already.

        Raises:
            OSError: it cannot be made.
        """
        os.makedirs(parent, exist_ok=True)
        return cls(_new_folder(os.path.join(parent, subject.run_id)), subject)

    @property
    def world(self) -> int:
        """How many ranks the whole job has."""
        return self._subject.world

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
        if self.logging:
            self.log(rank, b"")
        subject = self._subject
        place = {"local_rank": rank - subject.first + subject.local_rank, "node_rank": subject.node_rank}
        told = {"rank": rank, **place, "host": subject.host, "pid": pid}
        former = self._ranks.get(rank, {})
        earlier = [*former.get("earlier", ()), {key: former[key] for key in _OF_ATTEMPT if key in former}]
        self._ranks[rank] = {"version": VERSION, **told, "attempt": attempt, "start": _shown(time.time())}
        if former:
            self._ranks[rank]["earlier"] = earlier
        if self.folder:
            self._write(f"rank-{rank}.json", self._ranks[rank])

    def ended(self, rank: int, exit_: Exit, peak: int, stopped: int = 0) -> None:
        """A rank has ended; `peak` is the largest resident set of it or of a child that it waited for, in bytes, and
        `stopped` the signal by which it was told to, 0 when it was not.

        The peak is never below that of the launcher, of which a rank is a copy before it becomes its program.
        """
        how = {"exit_code": None if exit_.signal else exit_.code, "signal": exit_.signal or None}
        by = {"stopped_by": signal.Signals(stopped).name if stopped else None}
        self._ranks[rank] |= {"end": _shown(time.time()), **how, **by, "peak_rss": peak}
        self._write(f"rank-{rank}.json", self._ranks[rank])

    def heard(self, rank: int, last: Sequence[str]) -> None:
        """Keeps the last lines of a rank that has failed, for whoever gives the verdict on all of them."""
        if last and rank in self._ranks:
            self._ranks[rank] |= {"last": list(last)}
            self._write(f"rank-{rank}.json", self._ranks[rank])

    def refused(self, rank: int, code: int, reasons: Sequence[str]) -> None:
        """A rank was not started at all, and why: one line each."""
        now, subject = _shown(time.time()), self._subject
        place = {"rank": rank, "local_rank": subject.local_rank, "node_rank": subject.node_rank, "host": subject.host}
        told = {"start": now, "end": now, "exit_code": code, "signal": None, "stopped_by": None}
        self._write(f"rank-{rank}.json", {"version": VERSION, **place, **told, "refused": list(reasons)})

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
        import json  # noqa: PLC0415 - no start waits for it

        if not self._has_folder():
            return
        path = os.path.join(self.folder, name)
        try:
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                file.write(json.dumps(document, indent=2) + "\n")
            os.replace(f"{path}.new", path)
        except OSError as error:
            self.lost = self.lost or error
            with suppress(OSError):
                os.unlink(f"{path}.new")

    def _has_folder(self) -> bool:
        """Makes the folder of a project when there is something to keep; a project that cannot be written to has none,
        which is known after the first try.
        """
        if not self.folder and not self.lost:
            try:
                self.folder = _new_folder(os.path.join(runs_of(self._project), self._subject.run_id))
            except OSError as error:
                self.lost = error
        return bool(self.folder)


def runs_of(project: str) -> str:
    """The directory, made when it is not there, below which the records of jobs go when nobody says where. git is told
    to leave it alone, from within it; but an empty ``.mgelaunch`` that somebody made marks a project, and gets more
    than records alone, which mark none.
    """
    folder = os.path.join(project, *RECORDS)
    outer = os.path.dirname(folder)
    place, ignored = (outer, "/runs/\n") if os.path.isdir(outer) and not os.listdir(outer) else (folder, "*\n")
    os.makedirs(folder, exist_ok=True)
    with suppress(FileExistsError), open(os.path.join(place, ".gitignore"), "x", encoding="utf-8") as file:
        file.write(ignored)
    return folder


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
