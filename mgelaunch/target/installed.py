"""What the target interpreter has installed, read from its dist-info folders without starting it."""

import os
import re
from collections.abc import Iterator

_DIST_INFO = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[0-9][^-]*)\.dist-info")


def site_folders(python: str, home: str) -> Iterator[str]:
    """The folders in which `python` (a path, links kept) looks for packages, nearest first."""
    prefix = os.path.dirname(os.path.dirname(python))
    minor = ".".join(python_version(python).split(".")[:2])
    names = {"python3", f"python{minor}"} if minor else None
    config = _read_config(os.path.join(prefix, "pyvenv.cfg"))
    folders = [os.path.join(prefix, lib) for lib in ("lib", "lib64")] if config is not None else []
    if config is None or config.get("include-system-site-packages") == "true":
        system = os.path.dirname(os.path.dirname(os.path.realpath(python)))
        folders.append(os.path.join(home, ".local", "lib"))
        # Of a link such as /usr/bin/python the packages may lie beside the link or beside the real file.
        for place in dict.fromkeys((prefix, system)):
            folders += [os.path.join(place, lib) for lib in ("local/lib", "lib", "lib64")]
    for folder in dict.fromkeys(folders):
        yield from _packages(folder, names)


def _packages(lib: str, wanted: set[str] | None) -> Iterator[str]:
    try:
        entries = sorted(os.listdir(lib))
    except OSError:
        return
    for entry in entries:
        if entry in wanted if wanted else entry.startswith("python3"):
            for name in ("site-packages", "dist-packages"):
                folder = os.path.join(lib, entry, name)
                if os.path.isdir(folder):
                    yield folder


def _read_config(path: str) -> dict[str, str] | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip().lower() for key, _, value in pairs}


def installed_versions(python: str, home: str, names: frozenset[str]) -> dict[str, str]:
    """The versions of the distributions `names` (normalised, lower case) that `python` has.

    A distribution that is not found, or installed without a dist-info folder, is absent.
    """
    found: dict[str, str] = {}
    for folder in site_folders(python, home):
        try:
            entries = os.listdir(folder)
        except OSError:
            continue  # another user's, say
        for entry in entries:
            match = _DIST_INFO.fullmatch(entry)
            if match and (name := match["name"].lower().replace("_", "-").replace(".", "-")) in names:
                found.setdefault(name, match["version"])
    return found


def python_version(python: str) -> str:
    """The version of `python` as far as files tell it (``3.10.13`` in a venv, else ``3.10``); empty when unknown."""
    prefix = os.path.dirname(os.path.dirname(python))
    config = _read_config(os.path.join(prefix, "pyvenv.cfg")) or {}
    version = config.get("version", "") or config.get("version_info", "")
    if version:
        return ".".join(version.split(".")[:3])
    match = re.search(r"python(3\.[0-9]+)$", os.path.basename(os.path.realpath(python)))
    return match[1] if match else ""


def describe(python: str, home: str) -> str:
    """``3.10.13, megengine 1.13.0``: the version of `python` and of the frameworks it has."""
    frameworks = installed_versions(python, home, frozenset({"megengine", "brevitas", "torch"}))
    parts = [python_version(python), *(f"{name} {frameworks[name]}" for name in sorted(frameworks))]
    return ", ".join(part for part in parts if part)
