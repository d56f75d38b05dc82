"""The project's own ``.env``: found without being named, hence never far away and never by chance."""

import os


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
