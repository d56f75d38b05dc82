"""What ``nvidia-smi`` tells of the cards, for hosts where NVML cannot be asked."""

import os
from collections.abc import Mapping

from mgelaunch.host.ask import Answer, ask, no_answer
from mgelaunch.host.cards import bus_address, identity, on_this_host, plain, refused, sizes
from mgelaunch.host.facts import Card, ComputeMode, Devices
from mgelaunch.host.files import Files, whole

_FIELDS = ("index", "uuid", "pci.bus_id", "name", "memory.total", "memory.free", "compute_mode")
_MIG = "mig.mode.current"

_INVALID_ARGUMENT = 2

_MODES: dict[str, ComputeMode] = {
    "Default": "default",
    "Exclusive_Thread": "exclusive-thread",
    "Prohibited": "prohibited",
    "Exclusive_Process": "exclusive-process",
}


def find_nvidia_smi(environ: Mapping[str, str]) -> str:
    """The program on ``PATH`` of `environ`; empty when there is none. Relative folders are passed over."""
    folders = (folder for folder in environ.get("PATH", "").split(":") if folder.startswith("/"))
    return next((path for folder in folders if _is_program(path := f"{folder}/nvidia-smi")), "")


def _is_program(path: str) -> bool:
    try:
        return os.path.isfile(path) and os.access(path, os.X_OK)
    except ValueError:  # a NUL, or a text that is no path
        return False


def ask_nvidia_smi(files: Files, program: str, environ: Mapping[str, str], until: float) -> Devices:
    """What `program` tells until then (of ``time.monotonic``)."""
    answer = _answer(program, environ, until)
    if answer is None or answer.code is None:
        return Devices(problem=no_answer("nvidia-smi", answer))
    if broken := refused("nvidia-smi", answer.code):
        return broken
    if (cards := read_cards(answer.text)) is None:
        problem = no_answer("nvidia-smi", answer) if answer.code else "the answer of nvidia-smi cannot be read"
        return Devices(problem=problem)
    nodes = frozenset(files.names("/dev"))
    return Devices("nvidia-smi", "nvidia", tuple(on_this_host(card, files, None, nodes) for card in cards))


def _answer(program: str, environ: Mapping[str, str], until: float) -> Answer | None:
    """A driver before 450 does not know of MIG, and refuses the whole query: a field that it knows fills the place."""
    answer = ask(_query(program, _MIG), environ, until)
    return ask(_query(program, _FIELDS[-1]), environ, until) if answer and answer.code == _INVALID_ARGUMENT else answer


def _query(program: str, last: str) -> list[str]:
    return [program, f"--query-gpu={','.join((*_FIELDS, last))}", "--format=csv,noheader,nounits"]


def read_cards(text: str) -> tuple[Card, ...] | None:
    """The cards in the lines of `text`, one a line; None when it is no answer to the query."""
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("No devices were found"):
        return ()
    cards = [card for line in lines if (card := _card(line))]
    return tuple(sorted(cards, key=lambda card: card.number)) if cards and len(cards) == len(lines) else None


def _card(line: str) -> Card | None:
    """A line. A name may hold commas, so that the fields after it are counted from the end."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) <= len(_FIELDS) or (number := whole(cells[0])) is None:
        return None
    uuid, bus, *name, total, free, mode, mig = cells[1:]
    total_bytes, free_bytes = sizes(_mebibytes(total), _mebibytes(free))
    return Card(
        number,
        uuid=identity(uuid),
        name=plain(", ".join(name)),
        bus=bus_address(bus),
        total=total_bytes,
        free=free_bytes,
        mode=_MODES.get(mode, ""),
        mig={"Enabled": True, "Disabled": False}.get(mig),
    )


def _mebibytes(cell: str) -> int | None:
    amount = whole(cell)
    return None if amount is None else amount << 20
