"""The decision, complete: what would be started. The dry-run prints it, `execute` carries it out."""

from collections.abc import Mapping
from typing import NamedTuple

from mgelaunch.launch.command import Command


class Process(NamedTuple):
    """One process to start. ``environment`` is what differs from the inherited one: a text sets a
    variable, None removes it. ``program`` is empty and ``argv`` has no items when there is no TARGET.
    """

    rank: int
    program: str
    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str | None]


class Plan(NamedTuple):
    """All processes of a job on this host."""

    processes: tuple[Process, ...]


def plan_one(command: Command | None, cwd: str, environment: Mapping[str, str | None]) -> Plan:
    """The plan of a job of one process, which mgelaunch becomes."""
    program, argv = (command.program, command.argv) if command else ("", ())
    return Plan((Process(0, program, argv, cwd, environment),))


def complete_environment(inherited: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The whole environment of a process: `inherited` with `changes` carried out."""
    kept = {name: text for name, text in inherited.items() if name not in changes}
    return kept | {name: text for name, text in changes.items() if text is not None}
