"""A project with real files, and a shell, a home and totals that are arguments: what the rules are tried on."""

import json

import pytest

from mgelaunch.catalogue.kinds import Total
from mgelaunch.environment.layers import Request, read_layers
from mgelaunch.environment.library import Places, project_root
from mgelaunch.environment.project import find_env_file
from mgelaunch.environment.resolve import resolve
from mgelaunch.environment.settle import World
from mgelaunch.environment.source import Assignment, Source

TOTALS = {
    "device-memory": Total(24 << 30, "24.0 GiB"),
    "shared-memory": Total(16 << 30, "16.0 GiB of /dev/shm"),
    "cpus": Total(32, "32 CPUs"),
}


def measured(resource, _):
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
        self, *profiles, shell=None, cwd="", measure=measured, sharers=1, placeholders=None, allow_unknown=(), **request
    ):
        """The resolution of a shell, the profiles and what else a `Request` has; the .env is found as ever."""
        cwd = self.path(cwd) if cwd else str(self.folder)
        root = project_root(cwd, self.home)
        places = Places(cwd, root, config=tuple)
        env_file = find_env_file(cwd, root, self.home)
        request = Request(shell or {}, places, "1.0", profiles=profiles, env_file=env_file, **request)
        world = World(cwd, self.home, measure, placeholders or {}, sharers)
        return resolve(read_layers(request, world), world, allow_unknown=allow_unknown)

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
            derived=tuple(Assignment(n, t, Source.DERIVED, "derived") for n, t in said.get(Source.DERIVED, {}).items()),
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
