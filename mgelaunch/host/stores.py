"""Plasma stores that outlived the job that started them."""

import os
from typing import TYPE_CHECKING

from mgelaunch.host.facts import Store
from mgelaunch.host.files import Files

if TYPE_CHECKING:
    from psutil import Process

_SOCKET = "/tmp/mge_plasma_"  # MegEngine 1.13.0 writes it there, whatever TMPDIR says

_NAME = "plasma-store-se"
"""What the kernel keeps of ``plasma-store-server``: fifteen characters."""


def orphaned_stores(files: Files, uid: int) -> tuple[Store, ...] | None:
    """The stores of user `uid` whose job has ended, and the bytes they hold; None when processes cannot be seen.

    A rank that ends by a signal leaves its store behind, and the store keeps its shared memory until somebody
    ends it (measured on MegEngine 1.13.0 with pyarrow 11). While nothing listens on a store's socket, no process
    is looked at; the sockets themselves are left behind by clean runs too.
    """
    if not _listening(files):
        return ()
    import psutil  # noqa: PLC0415 - its import takes longer than all other facts, and few hosts have a store

    try:
        stores = [process for process in psutil.process_iter(["name"]) if _is_store(process)]
    except (psutil.Error, OSError, IndexError, ValueError):  # psutil's own on a /proc that is empty or odd
        return None
    return tuple(Store(store.pid, _held(files, store.pid)) for store in stores if _orphaned(store, uid))


def _listening(files: Files) -> bool:
    """Whether a store's socket is there, and in use as far as the kernel's table of sockets can be read."""
    folder, name = os.path.split(_SOCKET)
    if not any(entry.startswith(name) for entry in files.names(folder)):
        return False
    table = files.text("/proc/net/unix")
    return not table or f" {files.real(_SOCKET)}" in table


def _is_store(process: "Process") -> bool:
    return (process.info["name"] or "").startswith(_NAME)


def _orphaned(store: "Process", uid: int) -> bool:
    """Whether `store` belongs to `uid` and its parent has only adopted it.

    A store stays in the process group of the rank that started it, so a parent in another group is not that rank,
    be it process 1 or a reaper below it. In a container all may be in one group: there the parent is the rank
    only if it is a Python.
    """
    import psutil  # noqa: PLC0415

    try:
        parent = store.ppid()
        if store.uids().real != uid or store.status() == psutil.STATUS_ZOMBIE or parent == 0:
            return False
        if os.getpgid(store.pid) != os.getpgid(parent):
            return True
        return parent == 1 and not os.path.basename(psutil.Process(parent).exe()).startswith(("python", "pypy"))
    except (psutil.Error, OSError):  # it, or its parent, has ended meanwhile or is hidden from us
        return False


def _held(files: Files, pid: int) -> int | None:
    """Bytes of the unlinked files in ``/dev/shm`` that the process has open; None when that cannot be seen.

    The store's file has no name and holes where nothing was written, so its blocks are counted.
    """
    numbers = files.names(f"/proc/{pid}/fd")
    sizes: dict[tuple[int, int], int] = {}
    for number in numbers:
        descriptor = files.real(f"/proc/{pid}/fd/{number}")
        try:
            name = os.readlink(descriptor)
            if name.startswith("/dev/shm/") and name.endswith(" (deleted)"):
                status = os.stat(descriptor)
                sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
        except OSError:  # closed meanwhile
            continue
    return sum(sizes.values()) if numbers else None
