"""Where the dynamic linker would find a library, looked up without loading anything."""

import re
from collections.abc import Iterator, Mapping

from mgelaunch.host.files import Files

_MACHINES = ("x86_64-linux-gnu", "aarch64-linux-gnu", "powerpc64le-linux-gnu")

_FOLDERS = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"),
    *(f"/usr/lib/{machine}" for machine in _MACHINES),
    "/usr/lib/wsl/lib",  # Windows' own driver
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/local/nvidia/lib64",  # where container engines mount the host's driver
    "/run/opengl-driver/lib",  # NixOS
)


def has_library(files: Files, environ: Mapping[str, str], name: str) -> bool:
    """Whether a library called `name` (``libcuda.so.1``) is in a place that the dynamic linker knows.

    These are ``LD_LIBRARY_PATH`` of `environ`, the usual folders, and the linker's cache (see ld.so(8)).
    """
    named = environ.get("LD_LIBRARY_PATH", "")
    folders = re.split("[:;]", named) if named else []
    paths = (f"{folder or '.'}/{name}" for folder in (*folders, *_FOLDERS))
    return any(map(files.exists, paths)) or any(map(files.exists, _cached(files, name)))


def _cached(files: Files, name: str) -> Iterator[str]:
    """The paths of `name` in the linker's cache, which may be out of date: a binary file whose texts end in NUL."""
    cache, end = files.text("/etc/ld.so.cache"), 0
    while (end := cache.find(f"/{name}\0", end + 1)) > 0:
        yield cache[cache.rfind("\0", 0, end) + 1 : end] + f"/{name}"
