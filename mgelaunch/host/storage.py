"""File systems: ``/dev/shm``, and the directories that settings name."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from stat import S_ISREG

from mgelaunch.host.facts import Place, SharedMemory
from mgelaunch.host.files import Files
from mgelaunch.host.mounts import Mount, mounts

_SHARED = "/dev/shm"

_STALE = 600
"""Seconds after which nobody still builds under a lock."""
TORCH_EXTENSIONS = "torch_extensions"
"""The directory in the user's cache where torch builds when TORCH_EXTENSIONS_DIR does not say otherwise."""

_LOOKED_AT = 1000
"""Entries of a directory that are searched for locks: a cache may hold a hundred thousand."""


def read_shared_memory(files: Files) -> SharedMemory | None:
    """``/dev/shm`` in bytes, by statvfs(3); None when it is not known what is mounted.

    Where it is no mount of its own, ``kind`` is that of the file system it is a directory of; without such a
    directory it is empty. A size that the kernel gives as 0 is no size: that tmpfs has no bound.
    """
    mounted = mounts(files)
    if not mounted:
        return None
    if not os.path.isdir(files.real(_SHARED)):
        return SharedMemory()
    mount, numbers = _mount_of(mounted, _without_links(files, _SHARED)), _numbers(files, _SHARED)
    size, free = (numbers.f_blocks * numbers.f_frsize, numbers.f_bavail * numbers.f_frsize) if numbers else (0, 0)
    writable = not _read_only(mount, numbers) and os.access(files.real(_SHARED), os.W_OK | os.X_OK)
    return SharedMemory(mount.kind if mount else "", size or None, free if size else None, writable)


def read_places(files: Files, paths: Iterable[str], now: float) -> tuple[Place, ...]:
    """Each of the absolute `paths`, which need not exist; locks are compared with the time `now` (seconds)."""
    mounted = mounts(files)
    return tuple(_place(files, path, mounted, now) for path in paths)


def _place(files: Files, path: str, mounted: Sequence[Mount], now: float) -> Place:
    existing = _existing(files, path)
    if not existing:
        return Place(path)
    if not os.path.isdir(files.real(existing)):
        return Place(path, existing, f"{existing} is not a directory")
    mount, numbers = _mount_of(mounted, _without_links(files, existing)), _numbers(files, existing)
    read_only = _read_only(mount, numbers)
    writable = not read_only and os.access(files.real(existing), os.W_OK | os.X_OK)
    reached = existing == (path.rstrip("/") or "/")
    return Place(
        path,
        existing,
        obstacle=_obstacle(existing, mount, read_only=read_only, writable=writable),
        kind=mount.kind if mount else "",
        read_only=read_only if mount or numbers else None,
        writable=writable,
        free=numbers.f_bavail * numbers.f_frsize if numbers and numbers.f_blocks else None,
        inodes=numbers.f_favail if numbers and numbers.f_files else None,  # some file systems count none
        stale_locks=tuple(sorted(_stale_locks(files, existing, now))) if reached else (),
    )


_OF_THE_KERNEL = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "devpts", "debugfs", "tracefs", "securityfs", "bpf"})
"""File systems in which nobody can make a directory of files, though root seems to be allowed to."""


def _obstacle(existing: str, mount: Mount | None, *, read_only: bool, writable: bool) -> str:
    if mount and mount.kind in _OF_THE_KERNEL:
        return f"{existing} is the kernel's own ({mount.kind})"
    if read_only:
        return f"{existing} is on a read-only file system"
    return "" if writable else f"{existing} is not writable"


def _existing(files: Files, path: str) -> str:
    """The last part of `path` that is there, if only as a link to nothing; empty when that cannot be said.

    The search goes down from the root: a path may have thousands of parts that are not there.
    """
    if not path.startswith("/") or not os.path.isdir(files.real("/")):
        return ""
    existing = "/"
    for part in re.finditer(r"[^/]+", path):
        if not os.path.lexists(files.real(path[: part.end()])):
            break
        existing = path[: part.end()]
    return existing


def _without_links(files: Files, path: str) -> str:
    """`path` as mountinfo names it: without symbolic links, and without the root of `files`."""
    root, real = os.path.realpath(files.real("/")), os.path.realpath(files.real(path))
    return (real[len(root.rstrip("/")) :] or "/") if _below(real, root) else path


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _mount_of(mounted: Sequence[Mount], path: str) -> Mount | None:
    """The mount that `path` lies on: the deepest of those above it, and of several at one point the last."""
    above = [mount for mount in mounted if _below(path, mount.point)]
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def _numbers(files: Files, path: str) -> os.statvfs_result | None:
    try:
        return os.statvfs(files.real(path))
    except (OSError, ValueError):
        return None


def _read_only(mount: Mount | None, numbers: os.statvfs_result | None) -> bool:
    """access(2) is not asked for this: it says yes to root on some read-only mounts."""
    mounted = mount is not None and ("ro" in mount.options or "ro" in mount.of_file_system)
    return mounted or (numbers is not None and bool(numbers.f_flag & os.ST_RDONLY))


def _stale_locks(files: Files, path: str, now: float) -> Iterator[str]:
    """Files called ``lock`` in the directory `path` and in those directly in it; in torch's own ``torch_extensions``,
    which has a directory for each Python, one level deeper.

    A build that was killed leaves one, and the next waits for it without end or word (torch's extension loader does).
    """
    folders = list(_folders(files.real(path)))
    if os.path.basename(path.rstrip("/")) == TORCH_EXTENSIONS:
        folders += [f"{outer}/{inner}" for outer in folders for inner in _folders(files.real(f"{path}/{outer}"))]
    for folder in ("", *folders[:_LOOKED_AT]):
        lock = os.path.join(path, folder, "lock")
        try:
            status = os.lstat(files.real(lock))
        except (OSError, ValueError):
            continue
        if S_ISREG(status.st_mode) and now - status.st_mtime > _STALE:
            yield lock


def _folders(path: str) -> Iterator[str]:
    try:
        with os.scandir(path) as entries:
            yield from (entry.name for entry in islice(entries, _LOOKED_AT) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
