"""Values that are relative: percentages of a measured total, paths without a root."""

import os.path
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mgelaunch.catalogue.kinds import Resource, Total, Unmeasured

View = Callable[[str], str | None]
"""The text that one rank would get for a variable; None when the variable is not set."""


class Effective(Protocol):
    """The text that the rank in question would get for a variable, or the rank that `placeholders` describe."""

    def __call__(self, name: str, placeholders: Mapping[str, str] | None = None, /) -> str | None:
        """None when the variable is not set."""


Measure = Callable[[Resource, Sequence[View], int], Total | Unmeasured]
"""The total of a resource for one rank: that at the given place among the views of all ranks that are planned
here. It may ask for the settings that choose the device (``MGE_DEFAULT_DEVICE``, ``CUDA_VISIBLE_DEVICES``)."""


def share(percent: float, total: int, sharers: int = 1) -> int:
    """`percent` (above 0, up to 100) of `total`, divided by the local ranks that share it, rounded down."""
    return int(total * percent / 100) // sharers


def absolute(path: str, folder: str, home: str) -> str:
    """`path` with a leading ``~``, ``$HOME`` or ``${HOME}`` replaced by `home`, relative to `folder`.

    ``~user`` stays as it is: whose home that is would be a guess on a cluster.
    """
    for sign in ("~", "$HOME", "${HOME}"):
        if home and (path == sign or path.startswith(f"{sign}/")):
            path = home.rstrip("/") + path[len(sign) :] or "/"
            break
    return os.path.normpath(os.path.join(folder, path)) if path else path


def display(path: str, cwd: str) -> str:
    """`path` as a user would write it: relative when it lies below the working directory."""
    full = os.path.join(cwd, path)
    return os.path.relpath(full, cwd) if full.startswith(cwd.rstrip("/") + "/") else full
