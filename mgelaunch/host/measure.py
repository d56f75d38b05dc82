"""Measures a host: each part on first demand, and only once."""

import os
import time
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from mgelaunch.host.cpus import read_cpus
from mgelaunch.host.facts import Cpus, Devices, HostFacts, Memory, Place, SharedMemory, Store, Tool
from mgelaunch.host.files import Files
from mgelaunch.host.memory import read_memory


class Host:
    """This host, or with `recorded` the one that was measured before, of which nothing more can be learnt."""

    def __init__(self, files: Files, environ: Mapping[str, str], recorded: HostFacts | None = None) -> None:
        self._files = files
        self._environ = environ
        self._recorded = recorded

    @cached_property
    def memory(self) -> Memory:
        """Host memory and its limits."""
        return self._recorded.memory if self._recorded else read_memory(self._files, self._environ)

    @cached_property
    def cpus(self) -> Cpus:
        """The CPUs that this process may use."""
        if self._recorded:
            return self._recorded.cpus
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 0)
        return read_cpus(self._files, allowed)._replace(bound=_bound(allowed))

    @cached_property
    def shared_memory(self) -> SharedMemory | None:
        """The mount at ``/dev/shm``."""
        from mgelaunch.host.storage import read_shared_memory  # noqa: PLC0415

        return self._recorded.shared_memory if self._recorded else read_shared_memory(self._files)

    @cached_property
    def devices(self) -> Devices:
        """The cards. With a driver this takes a process and tens of milliseconds."""
        if self._recorded:
            return self._recorded.devices or Devices()
        from mgelaunch.host.devices import read_devices  # noqa: PLC0415 - only jobs that ask for cards pay

        return read_devices(self._files, self._environ)

    def facts(
        self,
        *,
        devices: bool = True,
        places: Iterable[str] = (),
        tools: tuple[str, Mapping[str, str]] | None = None,
        stores: bool = True,
    ) -> HostFacts:
        """All facts. Cards, orphaned processes, and the tools on a search path that the job's variables lead to, only
        if they are asked for.
        """
        if self._recorded:
            return self._recorded
        from mgelaunch.host.limits import read_limits  # noqa: PLC0415

        return HostFacts(
            memory=self.memory,
            cpus=self.cpus,
            shared_memory=self.shared_memory,
            limits=read_limits(self._files),
            storage=self._places(tuple(places)),
            devices=self.devices if devices else None,
            tools=self._tools(tools),
            stores=self._stores() if stores else None,
        )

    def _places(self, paths: tuple[str, ...]) -> tuple[Place, ...]:
        from mgelaunch.host.storage import read_places  # noqa: PLC0415

        return read_places(self._files, paths, time.time()) if paths else ()

    def _tools(self, search: tuple[str, Mapping[str, str]] | None) -> tuple[Tool, ...] | None:
        if search is None:
            return None
        from mgelaunch.host.tools import find_tools  # noqa: PLC0415 - only what is to be compiled pays

        return find_tools(*search)

    def _stores(self) -> tuple[Store, ...] | None:
        from mgelaunch.host.stores import orphaned_stores  # noqa: PLC0415

        return orphaned_stores(self._files, os.getuid())


def _bound(allowed: Collection[int]) -> bool | None:
    """Whether the parent may use these CPUs and more; None when that is not known."""
    try:
        return set(allowed) < os.sched_getaffinity(os.getppid())
    except (OSError, AttributeError):  # it has ended meanwhile, or this is not Linux
        return None
