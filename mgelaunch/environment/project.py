"""The project: its root, where its profiles and others lie, and its own ``.env``, which is found without being named,
hence never far away and never by chance.
"""

import os
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

Shelf = Literal["path", "project", "search path", "user", "site", "shipped"]
"""The kind of place where a profile lies."""
RECORDS = (".mgelaunch", "runs")
"""Where jobs of a project leave their records when nobody says where."""


def shipped_folder() -> str:
    """Where the shipped profiles lie: in the package, or beside it in a checkout that is installed editable."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(package, "profiles")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), "profiles")


def config_folders() -> tuple[tuple[Shelf, str], ...]:
    """The profiles of the user and of the site, where the system keeps such files."""
    from platformdirs import site_config_path, user_config_path  # noqa: PLC0415 - only strange names pay

    try:
        user, site = user_config_path("mgelaunch"), site_config_path("mgelaunch")
    except RuntimeError:  # nobody knows the home directory of this user
        return ()
    return ("user", str(user / "profiles")), ("site", str(site / "profiles"))


class Places(NamedTuple):
    """Where names are looked up, besides being paths.

    ``cwd`` is absolute; ``project_root`` None: there is no project. ``search_path`` holds the folders of
    ``$MGELAUNCH_PROFILE_PATH``. ``config`` is called when no earlier place has the name.
    """

    cwd: str
    project_root: str | None = None
    search_path: tuple[str, ...] = ()
    config: Callable[[], tuple[tuple[Shelf, str], ...]] = config_folders
    shipped: str = shipped_folder()

    def shelves(self) -> Iterator[tuple[Shelf, str]]:
        """The folders, first looked at first."""
        if self.project_root is not None:
            yield "project", os.path.join(self.project_root, ".mgelaunch")
        for folder in self.search_path:
            yield "search path", os.path.join(self.cwd, folder)
        yield from self.config()
        yield "shipped", self.shipped


def project_root(cwd: str, home: str) -> str | None:
    """The nearest folder from `cwd` upwards with ``.mgelaunch/``, ``pyproject.toml`` or ``.git``; None if none has.

    The home directory is no project, whatever lies in it, and nothing above it is looked at. Nor is a folder one for
    the records that a job has left there.
    """
    folder, end = cwd, os.path.realpath(home) if home else ""
    while os.path.realpath(folder) != end:
        if any(os.path.exists(os.path.join(folder, sign)) for sign in ("pyproject.toml", ".git")) or _is_ours(folder):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return None


def _is_ours(folder: str) -> bool:
    """Whether somebody has put something into ``.mgelaunch/``, or has made it for that."""
    ours, records = os.path.join(folder, RECORDS[0]), RECORDS[1]
    try:
        return os.listdir(ours) != [records]
    except OSError:
        return os.path.exists(ours)


def find_env_file(cwd: str, root: str | None, home: str) -> str:
    """The nearest ``.env`` from `cwd` up to the project root (absolute); empty when there is none.

    A link to nothing counts, so that it is told; a folder of that name (an environment) does not.
    Without a project root only `cwd` is looked at. The home directory's is never read: it would
    reach every job of the user.
    """
    folder = cwd
    while True:
        candidate = os.path.join(folder, ".env")
        there = os.path.lexists(candidate) and not os.path.isdir(candidate)
        if there and os.path.realpath(folder) != os.path.realpath(home):
            return candidate
        parent = os.path.dirname(folder)
        if root is None or folder in {root, parent}:
            return ""
        folder = parent
