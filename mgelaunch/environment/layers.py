"""Reads every layer in the order of precedence, so that each file sees the layers below it."""

import os
import stat
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.names import is_secret
from mgelaunch.catalogue.places import Path
from mgelaunch.environment.flags import IMPLYING, THREAD_COUNTS, implied
from mgelaunch.environment.project import Places
from mgelaunch.environment.relative import display
from mgelaunch.environment.settle import World, settle
from mgelaunch.environment.source import Assignment, Reference, Source
from mgelaunch.finding import Finding

if TYPE_CHECKING:  # a start without a profile reads none
    from mgelaunch.environment.library import Chain, Found
    from mgelaunch.environment.profile import Entry, LaunchKey, ProfileFile, Requirement


class Request(NamedTuple):
    """What the command line and the surroundings ask for, before any file is read.

    ``flags`` are the assignments that other options imply; ``own`` is what mgelaunch itself says: what it proposes
    (`Source.DERIVED`), and the rank variables of ranks that it starts (`Source.OWNED`). ``implying`` are the keys of
    ``[launch]`` that stand for variables.
    ``env_file`` is the project's ``.env`` (absolute, empty when there is none or it is not wanted).
    """

    environ: Mapping[str, str]
    places: Places
    version: str
    profiles: tuple[str, ...] = ()
    profiles_from: str = "--profile"
    env_file: str = ""
    env_files: tuple[str, ...] = ()
    keep_shell: tuple[str, ...] = ()
    flags: tuple[Assignment, ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    unsets: tuple[str, ...] = ()
    own: tuple[Assignment, ...] = ()
    implying: tuple[str, ...] = IMPLYING


class Demand(NamedTuple):
    """A profile's ``required``: the variable must come from another layer."""

    name: str
    message: str
    place: str
    where: str


class Layers(NamedTuple):
    """Everything that was said, low to high within each name, and what the profiles ask for beside it."""

    assignments: Mapping[str, tuple[Assignment, ...]]
    demands: tuple[Demand, ...]
    secrets: frozenset[str]
    launch: "tuple[LaunchKey, ...]"
    requires: "tuple[Requirement, ...]"
    profiles: "tuple[ProfileFile, ...]"
    found: "tuple[Found, ...]"
    env_files: tuple[tuple[str, Source], ...]
    findings: tuple[Finding, ...]


def single(layers: Layers, key: str) -> str:
    """What the last profile says of a key of ``[launch]`` that holds one value; empty when none says anything."""
    values = [str(entry.value) for entry in layers.launch if entry.key == key]
    return values[-1] if values else ""


def listed(layers: Layers, key: str) -> list[str]:
    """What all profiles together list under a key of ``[launch]``."""
    return [item for entry in layers.launch if entry.key == key for item in entry.items]


class _Gathering:
    """The one mutable thing of this module: what has been said so far."""

    def __init__(self, request: Request, world: World, keep_shell: tuple[str, ...], secrets: frozenset[str]) -> None:
        self.request = request
        self.world = world
        self.keep_shell = keep_shell
        self.secrets = secrets
        self.said: dict[str, list[Assignment]] = {}
        self.findings: list[Finding] = []
        self.env_files: list[tuple[str, Source]] = []

    def add(self, assignment: Assignment) -> None:
        self.said.setdefault(assignment.name, []).append(assignment)

    def heard(self, name: str) -> list[Assignment]:
        """What is said of `name` so far, low to high, the shell included."""
        said = list(self.said.get(name, ()))
        text = self.request.environ.get(name)
        if text is not None:
            said.append(self._inherited(name, text))
        return sorted(said, key=lambda assignment: assignment.source)

    def _inherited(self, name: str, text: str) -> Assignment:
        kept = any(fnmatchcase(name, pattern) for pattern in self.keep_shell)
        return Assignment(name, text, Source.KEPT if kept else Source.SHELL, "shell")

    def refer(
        self, name: str, earlier: Assignment | None = None, placeholders: Mapping[str, str] | None = None
    ) -> Reference:
        """What ``${NAME}`` stands for: the value that the job would get from what is known so far."""
        said = self.heard(name)
        if earlier is not None:
            said = sorted([*said, earlier], key=lambda assignment: assignment.source)
        if not said:
            return Reference(None)
        winner = said[-1]
        world = self.world if placeholders is None else self.world._replace(placeholders=placeholders)
        settled = settle(winner, world, self.effective)
        text = winner.text if settled.wrong else settled.text
        return Reference(text, winner.secret or name in self.secrets or is_secret(name))

    def effective(self, name: str, placeholders: Mapping[str, str] | None = None, /) -> str | None:
        return self.refer(name, None, placeholders).text


def read_layers(request: Request, world: World) -> Layers:
    """Reads the files that `request` names and says what each layer sets. Problems become findings."""
    chained = _profiles(request)
    files = chained.files if chained else ()
    launch = tuple(key for file in files for key in file.launch)
    kept = tuple(pattern for key in launch if key.key == "keep-shell" for pattern in key.items)
    secrets = frozenset(e.name for file in files for e in (*file.env, *file.rank_env) if e.secret)
    gathering = _Gathering(request, world, (*request.keep_shell, *kept), secrets)
    for assignment in request.own:
        gathering.add(assignment)
    if request.env_file and not request.env_files:
        _read_env_file(gathering, request.env_file, Source.DOTENV)
    for path in request.env_files:
        _read_env_file(gathering, path, Source.ENV_FILE)
    demands = _read_profiles(gathering, files)
    _read_command_line(gathering, request)
    _leave_threads_to_the_user(gathering)
    names = [*gathering.said, *(name for name in request.environ if name not in gathering.said)]
    of_files = (*(chained.findings if chained else ()), *(finding for file in files for finding in file.findings))
    return Layers(
        assignments={name: tuple(gathering.heard(name)) for name in names},
        demands=tuple(demands),
        secrets=secrets,
        launch=launch,
        requires=tuple(need for file in files for need in file.requires),
        profiles=files,
        found=chained.found if chained else (),
        env_files=tuple(gathering.env_files),
        findings=(*gathering.findings, *of_files),
    )


def bound_here(shipped: Layers, request: Request, world: World) -> Layers:
    """`shipped`, which another host has read, with what mgelaunch itself and the environment say here."""
    kept = tuple(pattern for key in shipped.launch if key.key == "keep-shell" for pattern in key.items)
    gathering = _Gathering(request, world, (*request.keep_shell, *kept), shipped.secrets)
    for assignment in (*request.own, *(each for said in shipped.assignments.values() for each in said)):
        gathering.add(assignment)
    _leave_threads_to_the_user(gathering)
    names = dict.fromkeys((*gathering.said, *request.environ))
    return shipped._replace(assignments={name: tuple(gathering.heard(name)) for name in names})


def _profiles(request: Request) -> "Chain | None":
    if not request.profiles:
        return None
    from mgelaunch.environment.library import chain  # noqa: PLC0415

    return chain(request.profiles, request.places, request.version, origin=request.profiles_from)


def _leave_threads_to_the_user(gathering: _Gathering) -> None:
    """None is derived beside an OMP_NUM_THREADS that a user said: the others follow it, unless they are set."""
    if any(assignment.source is not Source.DERIVED for assignment in gathering.heard(THREAD_COUNTS[0])):
        for name in THREAD_COUNTS:
            kept = [assignment for assignment in gathering.said.pop(name, ()) if assignment.source > Source.DERIVED]
            if kept:
                gathering.said[name] = kept


_READ_ONCE: dict[str, bytes] = {}
"""What pipes have said (``--env-file <(sops -d .env)``): layers may be read more than once, a pipe may not."""


def _content(path: str) -> bytes:
    if path in _READ_ONCE:
        return _READ_ONCE[path]
    with open(path, "rb") as file:
        data = file.read()
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            _READ_ONCE[path] = data
    return data


def _read_env_file(gathering: _Gathering, path: str, source: Source) -> None:
    from mgelaunch.environment.env_file import read_env_file  # noqa: PLC0415 - 8 ms that only a file pays

    shown = display(path, gathering.world.cwd)
    full = os.path.join(gathering.world.cwd, path)
    gathering.env_files.append((shown, source))
    try:
        data = _content(full)
    except OSError as error:
        code, verb = (
            ("file.missing", "is not there")
            if isinstance(error, FileNotFoundError)
            else ("file.unreadable", f"cannot be read: {error.strerror}")
        )
        gathering.findings.append(Finding("error", code, f"the env file {verb}", (), "", shown))
        return
    read = read_env_file(
        data,
        path=shown,
        label=shown,
        folder=os.path.dirname(full),
        source=source,
        lookup=gathering.refer,
        is_path=lambda name: name in CATALOGUE and isinstance(CATALOGUE[name].kind, Path),
    )
    gathering.findings.extend(read.findings)
    for assignment in read.assignments:
        gathering.add(assignment)


def _read_profiles(gathering: _Gathering, files: "Sequence[ProfileFile]") -> list[Demand]:
    """Adds the entries of all files; each file sees its bases and the layers below, never itself."""
    demands: list[Demand] = []
    for file in files:
        said = [
            assignment
            for key in file.launch
            if key.key in gathering.request.implying
            for assignment in implied(key.key, str(key.value), key.where, key.place, Source.PROFILE)
        ]
        soft_ranks = {entry.name for entry in file.rank_env if entry.soft}
        for entries, template in ((file.env, False), (file.rank_env, True)):
            for entry in entries:
                if entry.required:
                    demands.append(Demand(entry.name, entry.required, entry.place, entry.where))
                    continue
                assignment = _from_entry(gathering, entry, file, template=template)
                if not template and entry.name in soft_ranks:
                    assignment = assignment._replace(source=Source.SOFT)  # [rank.env] beats its own file's [env]
                said.append(assignment)
        for assignment in said:
            gathering.add(assignment)
    return demands


def _from_entry(gathering: _Gathering, entry: "Entry", file: "ProfileFile", *, template: bool) -> Assignment:
    source = Source.SOFT if entry.soft else Source.PROFILE
    said = Assignment(entry.name, None, source, entry.where, entry.place, file.folder, entry.secret, template)
    if entry.unset or entry.text is None:
        return said
    if "$" not in entry.text:
        return said._replace(text=entry.text)
    from mgelaunch.environment.interpolate import Unexpanded, expand  # noqa: PLC0415 - 3 ms that references pay

    protect = _doubled_braces if template else None
    expanded = expand(entry.text, gathering.refer, escapes=True, protect=protect)
    if isinstance(expanded, Unexpanded):
        hidden = entry.secret or is_secret(entry.name)
        message = "a reference in the value cannot be followed" if hidden else expanded.message
        finding = Finding("error", expanded.code, message, (entry.name,), "", entry.place)
        if not entry.soft:  # a soft value may lose, and then nobody needs it
            gathering.findings.append(finding)
        return said._replace(broken=finding)
    return said._replace(text=expanded.text, secret=entry.secret or expanded.secret)


def _doubled_braces(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _read_command_line(gathering: _Gathering, request: Request) -> None:
    for assignment in request.flags:
        gathering.add(assignment)
    for name, text in request.sets:
        gathering.add(Assignment(name, text, Source.SET, "--set"))
    for name in request.unsets:
        gathering.add(Assignment(name, None, Source.SET, "--unset"))
