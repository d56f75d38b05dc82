"""Directories that settings name: whether they can be made and written, where they lie, how full they are."""

import os.path
from collections.abc import Iterator
from typing import NamedTuple

from mgelaunch.checks.situation import Check, Situation
from mgelaunch.environment.resolve import Resolution
from mgelaunch.finding import Finding, Severity, either
from mgelaunch.host.amounts import shown
from mgelaunch.host.facts import Place

_SHARED_CACHES, _HOME = "XDG_CACHE_HOME", "HOME"
_KERNELS = (
    ("MGE_FASTRUN_CACHE_DIR", ""),
    ("MGE_HOME", "persistent_cache"),
    (_SHARED_CACHES, "megengine/persistent_cache"),
    (_HOME, ".cache/megengine/persistent_cache"),
)
"""The first that is set holds MegEngine's cache of kernel selection, in this folder below it
(megengine/utils/persistent_cache.py, hub/hub.py of 1.13.0). It creates the directory with its parents while it is
imported, and the import fails when it cannot (measured)."""
_OTHERS = {
    "CUDA_CACHE_PATH": "the CUDA driver would compile its kernels again at each start, in silence",
    "TORCH_EXTENSIONS_DIR": "torch could not build C++ extensions there",
    "TORCHINDUCTOR_CACHE_DIR": "torch.compile could not keep its code there",
    "TRITON_CACHE_DIR": "Triton could not keep its kernels there",
    "MGE_CUSTOM_OP_DIR": "MegEngine could not compile your operators there",
}
"""Other caches, and what happens when they cannot be written."""
_WORKDIR = "MGB_JIT_WORKDIR"
_NETWORKS = frozenset(
    {
        *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "ceph", "9p", "afs", "virtiofs", "gfs2", "ocfs2"),
        *(f"fuse.{name}" for name in ("sshfs", "glusterfs", "gcsfuse", "s3fs", "ceph", "juicefs", "jfs")),
    }
)
_LEAST = 64 << 20


class _Cache(NamedTuple):
    """A variable, the directory that it leads to (absolute), what follows when that cannot be written."""

    name: str
    path: str
    loss: str

    @property
    def said(self) -> bool:
        """Whether a setting chose it, and not the framework."""
        return self.name != _HOME

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name if self.said else f"MegEngine's cache ({self.path})"

    @property
    def of_kernels(self) -> bool:
        """Whether it is MegEngine's cache of kernel selection."""
        return self.name not in _OTHERS


def cache_directories(resolution: Resolution, *, defaults: bool = True) -> tuple[str, ...]:
    """The absolute directories that ``HostFacts.storage`` must cover for the checks of `resolution`, without `defaults`
    only those that a setting names. Those of secret settings are left out: facts are shown and sent to others.
    """
    paths = [cache.path for cache in _caches(resolution) if defaults or cache.said]
    if (workdir := _path(resolution, _WORKDIR)) and os.path.isabs(workdir):
        paths.append(workdir)
    extensions = extension_directory(resolution)
    if extensions and (defaults or resolution.get("TORCH_EXTENSIONS_DIR")):
        paths.append(extensions)
    return tuple(dict.fromkeys(paths))


def extension_directory(resolution: Resolution) -> str:
    """Where torch builds the extension that Brevitas is told to use; empty when it is told nothing.

    ``torch.utils.cpp_extension`` of 2.13.0: TORCH_EXTENSIONS_DIR, else a directory of the user's cache.
    """
    if resolution.get("TORCH_EXTENSIONS_DIR"):
        return _path(resolution, "TORCH_EXTENSIONS_DIR") or ""
    jit = resolution.get("BREVITAS_JIT") == "1" and resolution.get("PYTORCH_JIT") != "0"
    if not jit and resolution.get("BREVITAS_NATIVE_STE_BACKEND") != "1":
        return ""
    name = "XDG_CACHE_HOME" if resolution.get("XDG_CACHE_HOME") else "HOME"
    cache = _path(resolution, name) or ""
    folder = os.path.join(cache, "torch_extensions" if name != "HOME" else ".cache/torch_extensions")
    return folder if os.path.isabs(folder) else ""


def blocked(situation: Situation) -> Iterator[Finding]:
    """A cache of MegEngine's that cannot be created: its import would fail."""
    for cache, place in _measured(situation):
        if cache.of_kernels and place.obstacle and _is_in_use(cache, situation):
            message = f"{cache.title} cannot be created: {place.obstacle}, and the import of MegEngine would fail"
            finding = _about(cache, situation, "warning", "cache.blocked", message)
            certain = "megengine" in situation.installed(frozenset({"megengine"}))
            yield finding._replace(severity="error", about="job") if certain else finding


def remote(situation: Situation) -> Iterator[Finding]:
    """MegEngine writes its cache under a file lock, which network file systems are slow or wrong at."""
    for cache, place in _measured(situation):
        if cache.of_kernels and place.kind in _NETWORKS and not place.obstacle and _is_in_use(cache, situation):
            message = f"{cache.title} is on a network file system ({place.kind}), where MegEngine's file lock may hang"
            yield _about(cache, situation, "warning", "cache.network", message)


def fleeting(situation: Situation) -> Iterator[Finding]:
    """A cache in memory is gone with the next start of the host."""
    for cache, place in _measured(situation):
        if cache.of_kernels and place.kind == "tmpfs" and not place.obstacle and _is_in_use(cache, situation):
            message = f"{cache.title} is in memory (tmpfs): it counts as used memory and goes with the host"
            yield _about(cache, situation, "info", "cache.memory", message)


def unwritable(situation: Situation) -> Iterator[Finding]:
    """Caches that are there, or nearly, and cannot be written."""
    for cache, place in _measured(situation):
        if cache.of_kernels and place.obstacle:
            continue  # `blocked` says it
        if place.obstacle and _is_in_use(cache, situation):
            message = f"{cache.title} cannot be written: {place.obstacle}, so {cache.loss}"
            yield _about(cache, situation, "warning", "cache.readonly", message)


def full(situation: Situation) -> Iterator[Finding]:
    """Caches without room for what is written into them."""
    for cache, place in _measured(situation):
        why = _why_full(place)
        if why and not place.obstacle and _is_in_use(cache, situation):
            message = f"the file system of {cache.title} has {why}, so {cache.loss}"
            yield _about(cache, situation, "warning", "cache.full", message)


def jit_workdir(situation: Situation) -> Iterator[Finding]:
    """MegEngine's JIT creates one level only, else it ends in a SystemError (from source)."""
    paths = dict.fromkeys(path for resolution in situation.ranks if (path := resolution.get(_WORKDIR)))
    places = (place for path in paths if (place := _find(situation, path)))
    why = next((why for place in places if (why := _why_not_created(place))), "")
    if why:
        message = f"{_WORKDIR} cannot be created: {why}, and a script that uses the JIT fails with a SystemError"
        yield Finding(
            "warning", "jit.workdir", message, (_WORKDIR,), _own_workdir(situation), situation.place(_WORKDIR)
        )


def shared_workdir(situation: Situation) -> Iterator[Finding]:
    """The rank that created the JIT's directory removes it when it ends, whoever else is using it (from source)."""
    paths = [path for resolution in situation.ranks if (path := resolution.get(_WORKDIR))]
    if not paths:
        return
    # Of ranks that are not planned here, only the form of the value tells whether it differs.
    unseen = situation.local_ranks > len(situation.ranks)
    fixed = not situation.resolution.settings[_WORKDIR].winner.template
    if len(set(paths)) < len(paths) or (unseen and fixed):
        message = f"the ranks have the same {_WORKDIR}, and the rank that made the directory removes it at its end"
        remedy = _own_workdir(situation)
        yield Finding("warning", "jit.workdir", message, (_WORKDIR,), remedy, situation.place(_WORKDIR))


def _kernel_cache(resolution: Resolution) -> _Cache | None:
    """Where MegEngine's cache is said to be; None when nobody says it, or it stays in memory."""
    if resolution.get("MGE_FASTRUN_CACHE_TYPE") == "MEMORY":
        return None
    for name, below in _KERNELS:
        if resolution.get(name):
            path = _path(resolution, name) or ""
            loss = "MegEngine could not keep its choice of kernels, and its import may fail"
            return _Cache(name, os.path.join(path, below) if below else path, loss) if os.path.isabs(path) else None
    return None


def _path(resolution: Resolution, name: str) -> str | None:
    """The directory that a setting names; None when it is secret."""
    setting = resolution.settings.get(name)
    return setting.text if setting and not setting.secret else None


def _caches(resolution: Resolution) -> Iterator[_Cache]:
    if cache := _kernel_cache(resolution):
        yield cache
    for name, loss in _OTHERS.items():
        if (path := _path(resolution, name)) and os.path.isabs(path):
            yield _Cache(name, path, loss)


def _find(situation: Situation, path: str) -> Place | None:
    return next((place for place in situation.facts.storage if place.path == path), None)


def _measured(situation: Situation) -> Iterator[tuple[_Cache, Place]]:
    """Every cache of the ranks that was measured, each once."""
    for cache in dict.fromkeys(cache for rank in situation.ranks for cache in _caches(rank)):
        if place := _find(situation, cache.path):
            yield cache, place


def _is_in_use(cache: _Cache, situation: Situation) -> bool:
    """``XDG_CACHE_HOME`` and the home are for many programs, and concern MegEngine only where that is installed."""
    if cache.name == "CUDA_CACHE_PATH":
        return situation.get("CUDA_CACHE_DISABLE") != "1"
    return cache.name not in {_SHARED_CACHES, _HOME} or "megengine" in situation.installed(frozenset({"megengine"}))


def _why_full(place: Place) -> str:
    if place.free is not None and place.free < _LEAST:
        return f"{shown(place.free)} free"
    return "no free inode" if place.inodes == 0 else ""


def _why_not_created(place: Place) -> str:
    path, existing = os.path.normpath(place.path), os.path.normpath(place.existing)
    missing = place.existing and existing not in {path, os.path.dirname(path)}
    return place.obstacle or ("its parent is not there" if missing else "")


def _about(cache: _Cache, situation: Situation, severity: Severity, code: str, message: str) -> Finding:
    """The finding; its remedy is a directory of the user's own on this host."""
    name = _KERNELS[0][0] if cache.of_kernels else cache.name
    own = f"-e {name}=/var/tmp/$USER-{name.lower().replace('_', '-')}"
    if not cache.said:
        return Finding("info", code, message, (), own, about="job" if severity == "info" else "host")
    unset = "" if cache.name == _SHARED_CACHES else f"--unset {cache.name}"
    remedy = "" if severity == "info" else either((unset, own))
    return Finding(severity, code, message, (cache.name,), remedy, situation.place(cache.name))


def _own_workdir(situation: Situation) -> str:
    """The remedy: MegEngine's default, a new directory for each process, or else one that can be created."""
    options = [f"--unset {_WORKDIR}"]
    if situation.local_ranks > 1:
        options.append(f'in [rank.env]: {_WORKDIR} = "/var/tmp/mgbjit-{{run_id}}-{{rank}}"')
    else:
        options.append(f"-e {_WORKDIR}=/var/tmp/$USER-mgbjit")
    return either(options)


CACHES: tuple[Check, ...] = (blocked, remote, fleeting, unwritable, full, jit_workdir, shared_workdir)
