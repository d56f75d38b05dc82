"""Which Pythons have the frameworks, what the machine allows, and what to do when something is missing."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

FRAMEWORKS = ("megengine", "brevitas")
ENGINES = ("slurm", "openmpi", "torchrun")
MEANS = ("namespaces", "nvml", "oracle", "jupyter", "beside", "nodes", *ENGINES)
"""What else tests need: a mount namespace of their own, a stub of NVML under the real binding, proclimits, a kernel of
Jupyter and its client, mgelaunch beside the frameworks, virtual nodes, and engines that start ranks on them."""


def pytest_addoption(parser):
    parser.addoption(
        "--require",
        default="",
        metavar="NAME,...",
        help=f"fail, not skip, when one of these is missing ({', '.join((*FRAMEWORKS, *MEANS))})",
    )


def pytest_configure(config):
    required = [name for name in config.getoption("--require").split(",") if name]
    if unknown := set(required) - {*FRAMEWORKS, *MEANS}:
        raise pytest.UsageError(f"--require knows {', '.join((*FRAMEWORKS, *MEANS))}, not {', '.join(unknown)}")
    for name in required:
        if name in MEANS:
            if why := missing(name):
                raise pytest.UsageError(f"--require {name}: {why}")
        elif not framework_python(name):
            raise pytest.UsageError(
                f"no Python with {name} was found; name one with MGELAUNCH_TEST_{name.upper()}=/path/to/python"
            )


def missing(name):
    """Why one of the `MEANS` is not at hand; empty when it is."""
    if name == "namespaces":
        tried = shutil.which("unshare") and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False)
        return "" if tried and tried.returncode == 0 else "this user may not have a mount namespace (unshare -m)"
    if name == "nodes" or name in ENGINES:
        return lack_of_nodes() or (name in ENGINES and lack_of_engine(name)) or ""
    if name == "nvml" and not (shutil.which("gcc") or shutil.which("cc")):
        return "no C compiler for the stub of NVML"
    if name == "beside":
        return "" if os.environ.get("MGELAUNCH_TEST_BESIDE") else "MGELAUNCH_TEST_BESIDE names no folder with mgelaunch"
    modules = {"nvml": ("pynvml",), "oracle": ("proclimits",), "jupyter": ("jupyter_client", "ipykernel")}[name]
    lacking = [module for module in modules if not importlib.util.find_spec(module)]
    return f"no {' and no '.join(lacking)}: pip install 'mgelaunch[test]'" if lacking else ""


NODE = ["unshare", "--net", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
"""What starts a command in all namespaces of a virtual node (tests/clusters)."""

PROGRAMS = {"slurm": ("slurmctld", "slurmd", "munged", "srun", "salloc"), "openmpi": ("mpirun",)}
PACKAGES = {"slurm": "slurm-wlm munge", "openmpi": "openmpi-bin"}


def lack_of_nodes():
    """Why there can be no virtual nodes here; empty when there can."""
    if os.geteuid() != 0:
        return "virtual nodes can be made by root only"
    if lacking := [name for name in ("unshare", "nsenter", "setpriv", "ip", "hostname") if not program(name)]:
        return f"virtual nodes need {', '.join(lacking)}: apt-get install util-linux iproute2 hostname"
    tried = subprocess.run([*NODE, "ip", "link", "add", "eth0", "type", "veth"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "no namespaces of networks, host names, processes and mounts can be made"


def lack_of_engine(name):
    """Why an engine is not at hand; empty when it is."""
    if name == "torchrun":
        return "" if torchrun_path() else "no torchrun beside the Python that MGELAUNCH_TEST_BREVITAS names"
    lacking = [command for command in PROGRAMS[name] if not program(command)]
    return f"no {', '.join(lacking)}: apt-get install {PACKAGES[name]}" if lacking else ""


def program(name):
    """The path of a command, also of those that are on root's PATH only; None when there is none."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def torchrun_path():
    """The torchrun of the Python that has Brevitas; empty when there is none."""
    python = framework_python("brevitas")
    path = os.path.join(os.path.dirname(python), "torchrun")
    return path if python and os.access(path, os.X_OK) else ""


UNSHARE = ["unshare", "-m", "--propagation", "private"]
"""What starts a command in a mount namespace of its own."""


@pytest.fixture(scope="session")
def lack(request):
    """A function that ends the test because something is missing: a failure when --require names it, else a skip."""
    required = request.config.getoption("--require").split(",")

    def end(name, why):
        (pytest.fail if name in required else pytest.skip)(why)

    return end


@pytest.fixture(scope="session")
def need(lack):
    """A function that ends the test when one of the `MEANS` is missing."""

    def look(name):
        if why := missing(name):
            lack(name, why)

    return look


@pytest.fixture(scope="session")
def unshare(need):
    """The words before a command that give it a mount namespace of its own."""
    need("namespaces")
    return UNSHARE


def framework_python(name):
    """The interpreter that tests of a framework start: named by the environment, or this one; empty without it."""
    named = os.environ.get(f"MGELAUNCH_TEST_{name.upper()}", "")
    candidate = os.path.abspath(named) if named else sys.executable
    found = subprocess.run(
        [candidate, "-c", f"import importlib.util as u, sys; sys.exit(u.find_spec({name!r}) is None)"], check=False
    )
    return candidate if found.returncode == 0 else ""


def _framework(name):
    python = framework_python(name)
    if not python:
        pytest.skip(f"no Python with {name}: name one with MGELAUNCH_TEST_{name.upper()}=/path/to/python")
    return python


@pytest.fixture(scope="session")
def megengine_python():
    """A Python that has MegEngine."""
    return _framework("megengine")


@pytest.fixture(scope="session")
def brevitas_python():
    """A Python that has Brevitas on PyTorch."""
    return _framework("brevitas")


@pytest.fixture
def world(tmp_path):
    """An environment as a login shell would have it, a home and a project of its own, and nothing else."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    (project / ".mgelaunch").mkdir(parents=True)
    return World(project, {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"})


class World:
    """A project folder and a shell environment in which mgelaunch is run for real."""

    def __init__(self, project, environ):
        self.project = project
        self.environ = environ
        self.home = environ["HOME"]

    def write(self, name, text):
        """Writes a file of the project (text, or bytes) and returns its path."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def command(self, *args):
        return [sys.executable, "-m", "mgelaunch", *map(str, args)]

    def run(self, *args, cwd=None, stdin="", timeout=60, **environ):
        """Runs mgelaunch to its end; keyword arguments are more variables of the shell."""
        return subprocess.run(
            self.command(*args),
            cwd=cwd or self.project,
            env=self.environ | environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
