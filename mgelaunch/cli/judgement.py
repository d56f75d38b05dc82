"""The end of a job that an engine has run: what its records say, in lines and an exit code."""

import json
import os
import time
from contextlib import suppress

from mgelaunch.cli.say import complain
from mgelaunch.clusters.verdict import Ending, ending, judge
from mgelaunch.launch.engine import Ended
from mgelaunch.launch.events import Rules
from mgelaunch.launch.records import Records
from mgelaunch.report.driven import lines, reason

_LATE = 10.0
"""Seconds that records may take to appear on a shared disk after an engine that says that all is well."""
_SOON = 2.0
"""Seconds that they may take when the engine says that something has failed: some will never come."""


_USELESS = 3.0
"""Seconds for an engine whose ranks have all ended, one of them badly: Open MPI 4 sleeps through its own grace."""
_FLUSHING = 60.0
"""Seconds for an engine whose ranks have all ended well: it may still be writing what they said."""


class Watch:
    """Reads the records of the ranks, each again only when it has changed."""

    def __init__(self, folder: str, world: int, grace: float) -> None:
        """`grace` is how many seconds the other ranks have after one has failed."""
        self._folder = folder
        self._world = world
        self._grace = grace
        self._seen: dict[str, int] = {}
        self._endings: dict[str, Ending] = {}

    def endings(self) -> tuple[Ending, ...]:
        """What is known of every rank that has left a record; a disk that is away tells nothing new."""
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith("rank-") and entry.name.endswith(".json"):
                    self._read(entry)
        return tuple(self._endings.values())

    def _read(self, entry: "os.DirEntry[str]") -> None:
        try:
            changed = entry.stat().st_mtime_ns
            if self._seen.get(entry.name) == changed:
                return
            with open(entry.path, "rb") as file:
                told = ending(json.loads(file.read()))
            if entry.name == f"rank-{told.rank}.json" and told.rank < self._world:
                self._endings[entry.name] = told
            self._seen[entry.name] = changed
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # it is being replaced, or the disk is away: the next look tells

    def patience(self) -> float | None:
        """How many seconds the engine has left to end by itself; None while the ranks run."""
        ended = [each for each in self.endings() if each.end]
        are_all, failed = len(ended) >= self._world, any(each.status for each in ended)
        if are_all:
            return _USELESS if failed else _FLUSHING
        return self._grace if failed else None

    def are_running(self) -> bool:
        """Whether all ranks have been started, and not all have ended."""
        known = self.endings()
        return len(known) >= self._world and not all(each.end for each in known)

    def final(self, seconds: float) -> tuple[Ending, ...]:
        """The records when the engine has ended; late ones are waited for."""
        until = time.monotonic() + seconds
        while True:
            known = self.endings()
            if sum(bool(each.end) for each in known) >= self._world or time.monotonic() > until:
                return known
            time.sleep(0.1)


def conclude(records: Records, watch: Watch, ended: Ended, engine: str, rules: Rules) -> int:
    """Says how the job ended, writes its record, and returns its exit code."""
    cause = ended.cause if ended.cause and ended.cause.kind in {"signal", "time"} else None
    endings = watch.final(_SOON if ended.exit.status else _LATE)
    verdict = judge(records.world, endings, ended.exit.status)
    code = 124 if cause and cause.kind == "time" else cause.exit.status if cause else verdict.code
    said = reason(verdict, cause, ended, engine, records.world, rules)
    for line in lines(said, verdict, ended, engine, records.folder):
        complain(line)
    first = verdict.first.rank if verdict.first and not cause else None
    records.finished(code, first, said, 1)
    records.close()
    return code
