"""Asks NVIDIA's management library about the cards, and prints one line of JSON.

This file is a program of its own, run by path with the folder of ``pynvml`` as its argument (`nvml_answer` starts it
and reads the answer): a driver that hangs or crashes does so here. Every call is guarded by itself, so that one
which fails costs its own field only (null). The calls and their codes are those of NVML's API reference.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

Foreign = Any
"""Whatever a binding without types hands out, its handles among it."""

_MOST_CARDS, _MOST_SLICES, _MOST_PROCESSES = 4096, 64, 100

_LIFETIME = 120
"""Seconds after which this program ends by itself, in case the one that started it is no more."""

_NOT_SUPPORTED, _NOT_FOUND, _FUNCTION_NOT_FOUND = 3, 6, 13


def _all(answer: Foreign) -> Foreign:
    return answer


class Library:
    """NVML by the names of its calls. ``failure`` is the first call that failed, and its error code if it has one."""

    def __init__(self, binding: Foreign) -> None:
        self._binding = binding
        self.failure: tuple[str, int | None] | None = None

    def ask(
        self, name: str, *arguments: Foreign, take: Callable[[Foreign], Foreign] = _all, fine: int = _NOT_SUPPORTED
    ) -> Foreign:
        """What `take` makes of the call's answer; None when either fails in whatever way. The code `fine` is an
        answer, not a failure, and so is a call that an old driver does not know.
        """
        try:
            return take(getattr(self._binding, name)(*arguments))
        except Exception as error:  # noqa: BLE001 - NVMLError, a text that is none, a binding without the call ...
            code = getattr(error, "value", None)
            if not isinstance(error, AttributeError) and code not in (fine, _FUNCTION_NOT_FOUND):
                self.failure = self.failure or (name, code)
            return None


def report(binding: Foreign) -> dict[str, Any]:
    """Everything that is told; ``cards`` is null when not even their number is."""
    try:
        binding.nvmlInit()
        count = int(binding.nvmlDeviceGetCount())
    except Exception as error:  # noqa: BLE001 - as above
        return {"cards": None, "failure": ("nvmlInit", getattr(error, "value", None))}
    if count > _MOST_CARDS:
        return {"cards": None, "failure": ("nvmlDeviceGetCount", None)}
    library = Library(binding)
    return {
        "cards": [_card(library, number) for number in range(count)],
        "driver": library.ask("nvmlSystemGetDriverVersion"),
        "cuda": library.ask("nvmlSystemGetCudaDriverVersion_v2") or library.ask("nvmlSystemGetCudaDriverVersion"),
        "failure": library.failure,
    }


def _card(library: Library, number: int) -> dict[str, Any]:
    handle = library.ask("nvmlDeviceGetHandleByIndex", number)
    if handle is None:
        return {}
    mig = library.ask("nvmlDeviceGetMigMode", handle, take=lambda modes: modes[0])  # now, not after a restart
    return {
        "uuid": library.ask("nvmlDeviceGetUUID", handle),
        "name": library.ask("nvmlDeviceGetName", handle),
        "bus": library.ask("nvmlDeviceGetPciInfo", handle, take=lambda address: address.busId),
        "minor": library.ask("nvmlDeviceGetMinorNumber", handle),
        "memory": _memory(library, handle),
        "mode": library.ask("nvmlDeviceGetComputeMode", handle),
        "mig": mig,
        "slices": list(_slices(library, handle)) if mig else [],
        "capability": library.ask("nvmlDeviceGetCudaComputeCapability", handle),
        "processes": _processes(library, handle),
    }


def _memory(library: Library, handle: Foreign) -> Foreign:
    return library.ask("nvmlDeviceGetMemoryInfo", handle, take=lambda memory: (memory.total, memory.free))


def _slices(library: Library, handle: Foreign) -> Iterator[dict[str, Any]]:
    """The instances of a divided card; they need not be numbered without gaps."""
    most = library.ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0
    for number in range(min(most, _MOST_SLICES)):
        part = library.ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, number, fine=_NOT_FOUND)
        if part is not None:
            yield {"uuid": library.ask("nvmlDeviceGetUUID", part), "memory": _memory(library, part)}


def _processes(library: Library, handle: Foreign) -> Foreign:
    def take(told: Foreign) -> list[tuple[Foreign, Foreign]]:
        return [(each.pid, each.usedGpuMemory) for each in told[:_MOST_PROCESSES]]

    newest = library.ask("nvmlDeviceGetComputeRunningProcesses_v3", handle, take=take)
    return newest if newest is not None else library.ask("nvmlDeviceGetComputeRunningProcesses_v2", handle, take=take)


def _text(value: object) -> str | None:
    """What JSON has no form for: texts, which some bindings leave as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def main(folder: str) -> None:
    """Prints the report, made with the ``pynvml`` of `folder`."""
    signal.alarm(_LIFETIME)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no file in the user's folder
    answer = os.dup(1)
    os.dup2(2, 1)  # what the driver itself prints is no part of it
    sys.path.append(folder)
    try:
        told = report(import_module("pynvml"))
    except ImportError:
        told = {"cards": None, "failure": ("import", None)}
    with open(answer, "w", encoding="ascii") as file:
        json.dump(told, file, default=_text)
    os._exit(0)  # without the last words of the driver


if __name__ == "__main__":
    main(sys.argv[1])
