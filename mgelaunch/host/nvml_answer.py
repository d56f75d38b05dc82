"""What NVML tells of the cards: `nvml` is run as a program of its own, and its answer is taken field by field."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from mgelaunch.host.ask import ask, no_answer
from mgelaunch.host.cards import amount, bus_address, identity, on_this_host, plain, refused, sizes
from mgelaunch.host.facts import Card, CardProcess, ComputeMode, Devices, Slice
from mgelaunch.host.files import Files

_MODES: tuple[ComputeMode, ...] = ("default", "exclusive-thread", "prohibited", "exclusive-process")
"""By NVML's numbers."""


def find_binding() -> str:
    """The folder that holds ``pynvml``; empty when it is not installed. Nothing is imported."""
    from importlib.util import find_spec  # noqa: PLC0415 - only where there is a library to ask

    try:
        spec = find_spec("pynvml")
    except (ImportError, ValueError):
        return ""
    if spec is None or not spec.origin:
        return ""
    folder = os.path.dirname(spec.origin)
    return os.path.dirname(folder) if spec.submodule_search_locations else folder


def ask_nvml(files: Files, environ: Mapping[str, str], binding: str, until: float) -> Devices:
    """The cards by the ``pynvml`` in the folder `binding`, asked until then (of ``time.monotonic``)."""
    script = os.path.join(os.path.dirname(__file__), "nvml.py")
    answer = ask([sys.executable, "-I", script, binding], environ, until)
    if answer is None or answer.code != 0:
        return Devices(problem=no_answer("NVML", answer))
    return read_report(answer.text, files)


def read_report(text: str, files: Files) -> Devices:
    """The cards in what `nvml` printed; what is not as it should be is unknown."""
    document = _document(text)
    if document is None:
        return Devices(problem="the answer of NVML cannot be read")
    call, code = _failure(document)
    if isinstance(document.get("cards"), list):
        return _read(document, files, f"{call} failed{_number(code)}" if call else "")
    return refused("nvml", code) or Devices(problem=f"NVML cannot be used{_number(code)}")


def _document(text: str) -> dict[str, Any] | None:
    """The JSON of the last line: what a preloaded library prints at its start stands before it."""
    import json  # noqa: PLC0415 - only an answer pays for it

    try:
        told = json.loads(text.rpartition("\n")[2])
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _failure(document: dict[str, Any]) -> tuple[str, int | None]:
    call, code = _pair(document.get("failure"))
    return (call, amount(code)) if isinstance(call, str) and call.isidentifier() else ("", None)


def _number(code: int | None) -> str:
    return "" if code is None else f" (NVML's error {code})"


def _read(document: dict[str, Any], files: Files, problem: str) -> Devices:
    nodes = frozenset(files.names("/dev"))
    cards = tuple(_card(number, told, files, nodes) for number, told in enumerate(document["cards"]))
    return Devices("nvml", "nvidia", cards, plain(document.get("driver")), _cuda(document.get("cuda")), problem)


def _cuda(value: object) -> str:
    """12040 is 12.4."""
    number = amount(value)
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""


def _card(number: int, told: object, files: Files, nodes: frozenset[str]) -> Card:
    fields: dict[str, Any] = told if isinstance(told, dict) else {}
    total, free = sizes(*_pair(fields.get("memory")))
    major, minor = map(amount, _pair(fields.get("capability")))
    mode, mig = amount(fields.get("mode")), amount(fields.get("mig"))
    card = Card(
        number,
        uuid=identity(fields.get("uuid")),
        name=plain(fields.get("name")),
        bus=bus_address(fields.get("bus")),
        total=total,
        free=free,
        mode=_MODES[mode] if mode is not None and mode < len(_MODES) else "",
        mig=None if mig is None else mig > 0,
        slices=tuple(map(_slice, _list(fields.get("slices")))),
        capability="" if major is None or minor is None else f"{major}.{minor}",
        processes=_processes(fields.get("processes")),
    )
    return on_this_host(card, files, amount(fields.get("minor")), nodes)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _pair(value: object) -> tuple[object, object]:
    return (value[0], value[1]) if isinstance(value, list) and len(value) == 2 else (None, None)


def _slice(told: object) -> Slice:
    fields: dict[str, Any] = told if isinstance(told, dict) else {}
    return Slice(identity(fields.get("uuid")), *sizes(*_pair(fields.get("memory"))))


def _processes(value: object) -> tuple[CardProcess, ...] | None:
    if not isinstance(value, list):
        return None
    pairs = ((amount(pid), amount(memory)) for pid, memory in map(_pair, value))
    return tuple(CardProcess(pid, memory) for pid, memory in pairs if pid is not None)
