"""What the records of all ranks say together about how a job has ended. An engine's own exit code is never believed
alone: it can be 0 after the loss of a node.
"""

import signal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Ending(NamedTuple):
    """How one rank has ended, as its record says. ``end`` is the moment (ISO 8601), empty while it runs; ``code`` is
    None after a signal; ``told``: it was asked to.
    """

    rank: int
    host: str
    end: str
    code: int | None
    signal: int
    told: bool
    refused: tuple[str, ...] = ()
    last: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The exit code as a shell tells it."""
        return 128 + self.signal if self.signal else self.code or 0


class Verdict(NamedTuple):
    """The exit code of a job, and why. ``first`` is the rank that failed first by itself, ``missing`` are the ranks of
    which nobody knows how they ended, with their hosts where these are known.
    """

    code: int
    first: Ending | None
    well: int
    missing: tuple[tuple[int, str], ...]


def ending(record: Mapping[str, Any]) -> Ending:
    """One record in the words of this module.

    Raises:
        KeyError, TypeError, ValueError: it is no record.
    """
    if not isinstance(record.get("exit_code"), int | None):
        raise TypeError("an exit code is a number")
    return Ending(
        rank=int(record["rank"]),
        host=str(record["host"]),
        end=str(record.get("end") or ""),
        code=record.get("exit_code"),
        signal=int(record.get("signal") or 0),
        told=record.get("stopped_by") is not None,
        refused=tuple(record.get("refused") or ()),
        last=tuple(record.get("last") or ()),
    )


def judge(world: int, endings: Sequence[Ending], engine: int) -> Verdict:
    """The verdict on `world` ranks of which `endings` are known, when the engine itself ended with the code `engine`.

    The code is that of the rank that failed first by itself: the earliest of those that exited, else of those that were
    killed. Ranks that were told to end are followers. That all have ended with 0 by themselves is the only success.
    """
    hosts = {each.rank: each.host for each in endings}
    ended = [each for each in endings if each.end]
    gone = {each.rank for each in ended}
    missing = tuple((rank, hosts.get(rank, "")) for rank in range(world) if rank not in gone)
    failed = sorted((each for each in ended if each.status), key=lambda each: each.end)
    by_itself = [each for each in failed if not each.told]
    first = next((each for each in by_itself if not each.signal), None)
    if first is None and not missing:
        first = next(iter(by_itself), None)
    well = sum(not each.status for each in ended)
    if first:
        return Verdict(first.status, first, well, missing)
    if missing:
        return Verdict(engine or 1, next(iter(by_itself), None), well, missing)
    # Ranks that are told to end may end with 0: even so they have not done what they were started for.
    told = any(each.told for each in ended)
    return Verdict((engine or 128 + signal.SIGTERM) if told else 0, None, well, missing)
