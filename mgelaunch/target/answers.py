"""What is asked of target/prove.py, and what it has told: the launcher's side of that file, without the process."""

import json
from collections.abc import Mapping
from typing import NamedTuple


class Question(NamedTuple):
    """Modules to import in this order, whether Brevitas is to be looked at without an import, and what to read: for
    each variable the framework that must be there (empty: none) and an expression.
    """

    imports: tuple[str, ...] = ()
    quick: bool = False
    reads: Mapping[str, tuple[str, str]] = {}

    @property
    def request(self) -> str:
        """The question as prove.py takes it."""
        return json.dumps({"imports": self.imports, "quick": self.quick, "reads": dict(self.reads)})


class Read(NamedTuple):
    """What an expression said; None when it raised, and then `error` is the last line of that."""

    text: str | None
    predicted: bool = False
    error: str = ""


class Import(NamedTuple):
    """A framework that was imported (or Brevitas, looked at), and how many seconds that took."""

    name: str
    version: str
    seconds: float


class Answer(NamedTuple):
    """What was told. ``missing`` are modules that are not there, and why; ``doing`` is what it had begun last, as
    ``importing megengine`` or ``reading NAME back``; ``failed`` is the last line of what stopped an import, empty when
    nothing did; ``ended``: it came to its end.
    """

    imports: tuple[Import, ...] = ()
    missing: Mapping[str, str] = {}
    reads: Mapping[str, Read] = {}
    doing: str = ""
    failed: str = ""
    ended: bool = False


def answer(told: bytes) -> Answer:
    """What the lines say. The last one of a process that has died may be torn; it is left out, and so is what an import
    has written to a descriptor that is none of its.
    """
    imports, missing, reads, doing, failed, ended = [], {}, {}, "", "", False
    for line in told.split(b"\n")[:-1]:
        match _event(line):
            case {"at": name}:
                doing = f"importing {name}"
            case {"imported": name, "version": version, "seconds": seconds}:
                imports.append(Import(name, version, seconds))
            case {"missing": name, "why": why}:
                missing[name] = why
            case {"failed": _, "error": error}:
                failed = error
            case {"reading": name}:
                doing = f"reading {name} back"
            case {"read": name, "text": text, "predicted": predicted}:
                reads[name] = Read(text, predicted)
            case {"read": name, "error": error}:
                reads[name] = Read(None, error=error)
            case {"end": _}:
                ended = True
    return Answer(tuple(imports), missing, reads, doing, failed, ended)


def _event(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
