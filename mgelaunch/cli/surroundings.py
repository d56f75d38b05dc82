"""What surrounds this process: environment, directories, inherited ranks. Read here and nowhere else."""

import os
import sys
from collections.abc import Mapping

from mgelaunch.environment.project import Places, project_root
from mgelaunch.errors import UsageError


def inherited_environment() -> dict[str, str]:
    """The environment as it was handed to this process: without the LC_CTYPE that Python itself adds
    to it under the C locale (PEP 538), which the job would otherwise inherit as if the user had set it.
    """
    environ = {name: text for name, text in os.environ.items() if name}  # no program can be given an empty name
    if environ.get("LC_CTYPE") in {"C.UTF-8", "C.utf8", "UTF-8"}:
        try:
            with open("/proc/self/environ", "rb") as file:
                given = file.read().split(b"\0")
        except OSError:
            return environ
        said = [os.fsdecode(entry).partition("=")[2] for entry in given if entry.startswith(b"LC_CTYPE=")]
        environ = environ | {"LC_CTYPE": said[0]} if said else {n: t for n, t in environ.items() if n != "LC_CTYPE"}
    return environ


def home_directory() -> str:
    """The home directory (absolute), empty when nobody knows it."""
    home = os.path.expanduser("~")
    return home if os.path.isabs(home) else ""


def working_directory() -> str:
    """The working directory, which every relative path refers to."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise UsageError("the working directory does not exist any more; cd to one that does") from None


def own_packages() -> tuple[str, ...]:
    """Where mgelaunch's own interpreter keeps packages: not what PYTHONPATH or the working directory add."""
    return tuple(
        path for path in sys.path if path.startswith(sys.prefix) and path.endswith(("site-packages", "dist-packages"))
    )


def places(environ: Mapping[str, str], cwd: str) -> Places:
    """Where profiles are looked for."""
    search_path = tuple(folder for folder in environ.get("MGELAUNCH_PROFILE_PATH", "").split(":") if folder)
    return Places(cwd=cwd, project_root=project_root(cwd, home_directory()), search_path=search_path)


_ALONE = {
    "rank": "0",
    "local_rank": "0",
    "node_rank": "0",
    "world_size": "1",
    "local_world_size": "1",
    "master_addr": "127.0.0.1",
    "master_port": "0",
}


def placeholders(environ: Mapping[str, str]) -> dict[str, str]:
    """What ``{rank}`` and its kin mean: the inherited RANK and its kin under a launcher of ranks, else rank 0 of 1."""
    inherited = {name: environ.get(name.upper(), "") for name in _ALONE}
    usable = {name: text for name, text in inherited.items() if _is_number(text) or (text and name == "master_addr")}
    return _ALONE | usable


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
