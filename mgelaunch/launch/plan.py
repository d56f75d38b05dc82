"""The decision, complete: what would be started. The dry-run prints it, `execute` carries it out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mgelaunch.launch.command import Command


class Process(NamedTuple):
    """One process to start; ``rank`` is its number in the whole job. ``environment`` is what differs from the
    inherited one: a text sets a variable, None removes it. ``program`` is empty and ``argv`` has no items when there is
    no TARGET. ``cpus`` is what it is bound to before it starts, empty: what it inherits.
    """

    rank: int
    program: str
    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str | None]
    cpus: tuple[int, ...] = ()


class Plan(NamedTuple):
    """The processes of a job on this host, all of its ``world``, some of them, or the one that is to be shown.
    ``supervised``: mgelaunch would start and watch them; else there is one, which it becomes.
    """

    processes: tuple[Process, ...]
    supervised: bool = False
    world: int = 1


def plan(
    command: Command | None,
    cwd: str,
    environments: Sequence[Mapping[str, str | None]],
    cpus: Sequence[tuple[int, ...]] = (),
    *,
    supervised: bool = False,
    first: int = 0,
    world: int = 0,
) -> Plan:
    """The plan of a job whose ranks get `environments`, and `cpus` each (empty: no rank is bound). They may be some of
    a larger one: the rank `first` and those after it, of `world` (0: there are no others).
    """
    program, argv = (command.program, command.argv) if command else ("", ())
    bound = cpus or ((),) * len(environments)
    return Plan(
        tuple(
            Process(rank, program, argv, cwd, environment, own)
            for rank, (environment, own) in enumerate(zip(environments, bound, strict=True), first)
        ),
        supervised,
        world or len(environments),
    )


def complete_environment(inherited: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The whole environment of a process: `inherited` with `changes` carried out."""
    kept = {name: text for name, text in inherited.items() if name not in changes}
    return kept | {name: text for name, text in changes.items() if text is not None}
