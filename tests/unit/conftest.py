"""A project with real files, and a shell, a home and totals that are arguments: what the rules are tried on."""

import json
import re

import pytest

from mgelaunch.catalogue.kinds import Total
from mgelaunch.checks.situation import Situation
from mgelaunch.environment.flags import implied
from mgelaunch.environment.layers import Request, read_layers
from mgelaunch.environment.project import Places, find_env_file, project_root
from mgelaunch.environment.resolve import resolve
from mgelaunch.environment.settle import World
from mgelaunch.environment.source import Assignment, Source
from mgelaunch.host.facts import HostFacts
from mgelaunch.host.files import Files
from mgelaunch.host.placement import Wish, place

TOTALS = {
    "device-memory": Total(24 << 30, "24.0 GiB"),
    "shared-memory": Total(16 << 30, "16.0 GiB of /dev/shm"),
    "cpus": Total(32, "32 CPUs"),
}


def measured(resource, *_):
    """What there is on the host of these tests."""
    return TOTALS[resource]


class Project:
    """A project folder, whose files `resolve` reads as mgelaunch does when it is called there."""

    def __init__(self, folder):
        self.folder, self.home = folder / "project", str(folder / "home")
        (self.folder / ".mgelaunch").mkdir(parents=True)

    def path(self, name):
        """The absolute path of a file of the project."""
        return str(self.folder / name)

    def write(self, name, text):
        """Writes a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def profile(self, name, text):
        """Writes a profile that is found by its name."""
        self.write(f".mgelaunch/{name}.toml", text)

    def resolve(
        self,
        *profiles,
        shell=None,
        cwd="",
        measure=measured,
        sharers=1,
        placeholders=None,
        mates=(),
        allow_unknown=(),
        like=None,
        **request,
    ):
        """The resolution of a shell, the profiles and what else a `Request` has; the .env is found as ever."""
        cwd = self.path(cwd) if cwd else str(self.folder)
        root = project_root(cwd, self.home)
        places = Places(cwd, root, config=tuple)
        env_file = find_env_file(cwd, root, self.home)
        request = Request(shell or {}, places, "1.0", profiles=profiles, env_file=env_file, **request)

        def shared(resource, views, own):
            total = measure(resource, views, own)
            return total._replace(sharers=sharers) if isinstance(total, Total) else total

        world = World(cwd, self.home, shared, placeholders or {}, mates)
        return resolve(read_layers(request, world), world, allow_unknown=allow_unknown, like=like)

    def stack(self, said, *profiles, shell=None, env_files=(), **more):
        """The resolution when each layer says the variables that `said` has for it (None: unset).

        `profiles` are read before those that `said` makes.
        """
        for source, file in ((Source.DOTENV, ".env"), (Source.ENV_FILE, "named.env")):
            if source in said:
                self.write(file, "".join(f'{name}="{text}"\n' for name, text in said[source].items()))
        for source, profile, form in ((Source.SOFT, "soft", "{{ default = {} }}"), (Source.PROFILE, "firm", "{}")):
            if source in said:
                texts = {
                    n: "{ unset = true }" if t is None else form.format(json.dumps(t)) for n, t in said[source].items()
                }
                self.profile(profile, "[env]\n" + "".join(f"{name} = {text}\n" for name, text in texts.items()))
                profiles += (profile,)
        spoken = said.get(Source.SET, {})
        return self.resolve(
            *profiles,
            shell={**(shell or {}), **said.get(Source.SHELL, {}), **said.get(Source.KEPT, {})},
            keep_shell=tuple(said.get(Source.KEPT, ())),
            env_files=("named.env",) if Source.ENV_FILE in said else env_files,
            own=tuple(Assignment(n, t, Source.DERIVED, "derived") for n, t in said.get(Source.DERIVED, {}).items()),
            flags=tuple(Assignment(n, t, Source.FLAG, "--flag") for n, t in said.get(Source.FLAG, {}).items()),
            sets=tuple((name, text) for name, text in spoken.items() if text is not None),
            unsets=tuple(name for name, text in spoken.items() if text is None),
            **more,
        )


@pytest.fixture
def project(tmp_path):
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def new_project(tmp_path_factory):
    """A maker of empty projects, for properties that are tried on many of them."""
    return lambda: Project(tmp_path_factory.mktemp("property"))


@pytest.fixture
def host_tree(tmp_path):
    """A function that writes the files of a host, by their paths on it, and returns what reads them."""

    def write(files):
        for path, content in files.items():
            place = tmp_path / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else str(content).encode())
        return Files(str(tmp_path))

    return write


DEVICE_NAMES = ("MGE_DEFAULT_DEVICE", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


class Situations:
    """A maker of situations: what is said in `project` for `ranks` local ranks, held against given facts."""

    def __init__(self, project):
        self.project = project

    def __call__(
        self,
        *profiles,
        ranks=1,
        local_ranks=None,
        facts=HostFacts(),  # noqa: B008 - a frozen value
        installed=None,
        python="3.10.13",
        options="",
        fixes=(),
        bound=False,
        thorough=False,
        **request,
    ):
        """The situation. `options` is text as pasted behind the command (``-e X=1 --gpu-ids 0``), and replaces what
        `sets` says of the same variable; `request` goes to `Project.resolve`. There are placements only when
        `facts` has devices.
        """
        pasted = self._read(options)
        ranks, local_ranks = pasted.pop("ranks", ranks), None if "-n " in options else local_ranks
        request["sets"] = tuple(said for said in request.get("sets", ()) if said[0] not in pasted.get("unsets", ()))
        for key, value in pasted.items():
            request[key] = (*request.get(key, ()), *value)
        count = local_ranks or ranks
        resolutions = tuple(
            self.project.resolve(*profiles, placeholders=self._placeholders(rank, count), **request)
            for rank in range(ranks)
        )
        placements = self._placements(resolutions, count, facts)
        told = dict(installed or {})
        return Situation(
            resolutions,
            count,
            facts,
            placements,
            lambda names: {name: told[name] for name in names if name in told},
            python,
            frozenset(fixes),
            bound,
            thorough,
        )

    def repaired(self, finding, **said):
        """The situation again, once for each alternative of the finding's remedy that is made of options."""
        remedies = [text.strip() for text in finding.remedy.split("  or  ")]
        return [self(**{**said, "options": text}) for text in remedies if text.startswith("-")]

    @staticmethod
    def _placeholders(rank, count):
        size = str(count)
        numbers = {"rank": str(rank), "local_rank": str(rank), "local_device": str(rank)}
        return {**numbers, "world_size": size, "local_world_size": size}

    @staticmethod
    def _placements(resolutions, count, facts):
        wishes = [Wish(rank, *map(said.get, DEVICE_NAMES)) for rank, said in enumerate(resolutions)]
        return place(wishes, count, facts.devices) if facts.devices else ()

    @staticmethod
    def _read(options):
        """The arguments that the options stand for."""
        read = {}
        for option, value in re.findall(r"(-e|-n|--unset|--gpu-ids|--device|--threads)[ =](\S+)", options):
            if option == "-e":
                read["sets"] = (*read.get("sets", ()), tuple(value.split("=", 1)))
            elif option == "--unset":
                read["unsets"] = (*read.get("unsets", ()), value)
            elif option == "-n":
                read["ranks"] = int(value)
            else:
                read["flags"] = (*read.get("flags", ()), *implied(option[2:], value, option))
        return read


@pytest.fixture
def situation(project):
    """A maker of situations in an empty project: ``situation(sets=..., ranks=2, facts=HostFacts(...))``."""
    return Situations(project)


@pytest.fixture(scope="session")
def new_situation(new_project):
    """A maker of makers of situations, for properties that are tried on many projects."""
    return lambda: Situations(new_project())
