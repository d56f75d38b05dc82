"""Cache directories that the framework cannot create, which ends its import."""

import os
from collections.abc import Iterator

from mgelaunch.environment.resolve import Resolution
from mgelaunch.finding import Finding

_PLACES = ("MGE_FASTRUN_CACHE_DIR", "MGE_HOME")
"""The first that is set is where MegEngine keeps its cache. It creates the directory with its parents while
it is imported, and the import fails when it cannot (measured on 1.13.0)."""


def caches(resolution: Resolution) -> Iterator[Finding]:
    """An error when the cache directory is certain to fail."""
    name = next((name for name in _PLACES if resolution.get(name)), "")
    path = resolution.get(name) if name and resolution.get("MGE_FASTRUN_CACHE_TYPE") != "MEMORY" else None
    if path and (why := _obstacle(path)):
        winner = resolution.settings[name].winner
        message = f"{name} cannot be created: {why}, and the import of MegEngine would fail"
        yield Finding("error", "cache.blocked", message, (name,), f"--unset {name}", winner.place or winner.where)


def _obstacle(path: str) -> str:
    """Why `path` can be neither used nor created as a directory; empty when it can."""
    existing = path
    while not os.path.lexists(existing) and existing != os.path.dirname(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        return f"{existing} is not a directory"
    if existing != path and not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} is not writable"
    return ""
