"""Profiles and ``.env`` files. mgelaunch reads them itself, so a value is wrong only where a start would refuse it."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Resource, Total
from mgelaunch.catalogue.places import Path
from mgelaunch.environment.flags import IMPLYING, implied
from mgelaunch.environment.layers import Request, read_layers
from mgelaunch.environment.project import Places
from mgelaunch.environment.resolve import Resolution, resolve
from mgelaunch.environment.settle import World, settle
from mgelaunch.environment.source import Assignment, Reference, Source
from mgelaunch.finding import Finding
from mgelaunch.lint.dead import unread

if TYPE_CHECKING:
    from mgelaunch.environment.profile import Entry, ProfileFile

_TOTALS: dict[Resource, Total] = {
    "device-memory": Total(24 << 30, "a card"),
    "shared-memory": Total(16 << 30, "/dev/shm"),
    "cpus": Total(32, "the CPUs"),
}
"""A host on which every percentage can be had: what it comes to where the job runs is for ``mgelaunch check``."""

_ALONE = {"rank": "0", "local_rank": "0", "local_device": "0", "world_size": "1", "local_world_size": "1"}
_RANK = {**_ALONE, "node_rank": "0", "run_id": "run", "master_addr": "127.0.0.1", "master_port": "29500"}


def a_world(cwd: str, home: str) -> World:
    """A host for values whose own is not known."""
    return World(cwd, home, lambda resource, _, __: _TOTALS[resource], _RANK)


def resolved(names: Sequence[str], places: Places, version: str, world: World) -> Resolution:
    """What the profiles `names` say by themselves: in a shell without variables."""
    return resolve(read_layers(Request({}, places, version, profiles=tuple(names)), world), world)


def faults(profiles: Resolution) -> list[Finding]:
    """What is wrong with the profiles themselves, not with the shell that this is not."""
    errors = [finding for finding in profiles.findings if finding.severity == "error"]
    areas = {"profile", "file", "value"}
    return [each for each in errors if each.code.partition(".")[0] in areas and each.code != "profile.required"]


def env_file_findings(data: bytes, path: str, shown: str, world: World) -> list[Finding]:
    """What is wrong with the lines of a ``.env`` file, and which of them nobody reads."""
    from mgelaunch.environment.env_file import read_env_file  # noqa: PLC0415 - only such a file pays

    read = read_env_file(
        data,
        path=shown,
        label=os.path.basename(path),
        folder=os.path.dirname(path),
        source=Source.ENV_FILE,
        lookup=_anything,
        is_path=lambda name: name in CATALOGUE and isinstance(CATALOGUE[name].kind, Path),
    )
    judged = (finding for assignment in read.assignments for finding in _of_value(assignment, world))
    return [*read.findings, *judged]


def profile_findings(path: str, places: Places, version: str, world: World) -> list[Finding]:
    """What is wrong with a profile, with the names of its bases, and what in it nobody reads."""
    from mgelaunch.environment.library import chain  # noqa: PLC0415 - only such a file pays

    read = chain((path,), places, version, origin=path)
    if not read.files:
        return list(read.findings)
    file = read.files[-1]
    return [*read.findings, *file.findings, *_of_entries(file, world)]


def _anything(_: str, earlier: Assignment | None) -> Reference:
    """What ``${NAME}`` stands for: only the shell of the job knows; ``secret`` marks what depends on it."""
    return (
        Reference(earlier.text, earlier.secret) if earlier and earlier.text is not None else Reference("1", secret=True)
    )


def _of_entries(file: "ProfileFile", world: World) -> Iterator[Finding]:
    allowed = {name for key in file.launch if key.key == "allow-unknown" for name in key.items}
    for entries, template in ((file.env, False), (file.rank_env, True)):
        for said in (_assignment(entry, file.folder, template=template) for entry in entries):
            found = [said] if isinstance(said, Finding) else _of_value(said, world) if said else ()
            yield from (each for each in found if not (each.code == "lint.dead" and allowed.issuperset(each.names)))
    for key in file.launch:
        if key.key in IMPLYING:
            for assignment in implied(key.key, str(key.value), key.where, key.place, Source.PROFILE):
                yield from _of_value(assignment, world, key.key)


def _assignment(entry: "Entry", folder: str, *, template: bool) -> Assignment | Finding | None:
    """What an entry sets; None when it sets nothing."""
    from mgelaunch.environment.interpolate import Unexpanded, expand  # noqa: PLC0415 - only such a file pays

    if entry.text is None:
        return None
    expanded = expand(entry.text, lambda name: _anything(name, None), escapes=True)
    if isinstance(expanded, Unexpanded):
        return Finding("error", expanded.code, f"{entry.name}: {expanded.message}", (entry.name,), "", entry.place)
    secret = entry.secret or expanded.secret
    return Assignment(
        entry.name, expanded.text, Source.PROFILE, entry.where, entry.place, folder, secret, template=template
    )


def _of_value(assignment: Assignment, world: World, key: str = "") -> Iterator[Finding]:
    """`key` is the one of ``[launch]`` that stands for the variable in the file."""
    if dead := unread(assignment.name, assignment.place):
        # A start refuses the slip of a pen in a profile, and warns of it in a .env.
        refused = assignment.source is Source.PROFILE and assignment.name not in CATALOGUE
        yield dead._replace(severity="error") if refused else dead
    if not assignment.secret and (wrong := settle(assignment, world, lambda *_: None).finding):
        yield wrong._replace(remedy=_in_place(wrong.remedy, assignment, key or assignment.name))


def _in_place(remedy: str, assignment: Assignment, key: str) -> str:
    """What to write in the file behind `key`, where the remedy is an option that sets the variable."""
    option = f"-e {assignment.name}="
    if not remedy.startswith(option):
        return remedy
    value = remedy.removeprefix(option)
    return f"{key}={value}" if assignment.source is Source.ENV_FILE else f'{key} = "{value}"'
