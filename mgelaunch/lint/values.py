"""Would the framework misread a text that a script gives it? Nobody stands between a script and its framework, so what
``mgelaunch run`` would put right is wrong here.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from mgelaunch.catalogue.kinds import Kind, Rejected, Relative, Unplaced, Value
from mgelaunch.catalogue.places import Path
from mgelaunch.catalogue.variable import Variable
from mgelaunch.lint.bindings import Known
from mgelaunch.lint.evaluate import as_text, texts


class Misread(NamedTuple):
    """Why a value is wrong, as a phrase that follows the variable's name, and what to write: a text, None for "leave
    it unset", empty for no advice.
    """

    phrase: str
    instead: str | None = ""


def misread(variable: Variable, value: object) -> Misread | None:
    """What is wrong with a constant that a script assigns to `variable`; None when the framework reads it rightly."""
    if not isinstance(value, str):
        return _no_text(variable, value)
    kind = variable.kind
    if kind.name == "dead" or (isinstance(kind, Path) and kind.several):
        return None
    if not value.strip():
        return None if _may_be_empty(variable) else Misread("is empty, which is not the same as unset", None)
    match kind.read(value.strip()):
        case Rejected(_, reason, suggestion):
            return Misread(reason, _canonical(kind, suggestion))
        case Relative():
            return Misread("is a percentage, which only mgelaunch can read", "")
        case Unplaced(paths):
            return _path(variable, paths[0])
        case Value(None):
            return Misread("is switched on by any text, by this one, too; off means unset", None)
        case Value(str(canonical)) if not _same(variable, value, canonical):
            return Misread(_why(variable), canonical)
    return None


def _no_text(variable: Variable, value: object) -> Misread:
    """What to write for a number is its text, or what would be written for that."""
    number = isinstance(value, int) and not isinstance(value, bool)
    given = "None" if value is None else f"{'an' if number else 'a'} {type(value).__name__}"
    phrase = f"is given {given}, and os.environ takes texts only (TypeError)"
    text = next(iter(texts(as_text(Known(value)))), "") if number else ""
    wrong = misread(variable, text) if text else None
    return Misread(phrase, wrong.instead if wrong else text)


def _canonical(kind: Kind, suggestion: str) -> str | None:
    """What the reader must get for a suggestion, which is made for users of ``mgelaunch run``: 8GiB, 80%."""
    reading = kind.read(suggestion) if suggestion else None
    return reading.text if isinstance(reading, Value) else ""


def _may_be_empty(variable: Variable) -> bool:
    """Whether an empty text is off, or as good as unset."""
    kind = variable.kind
    return kind.name in {"nonempty", "device_list", "path", "url"} or (
        kind.name == "text" and isinstance(kind.read(""), Value)
    )


_EXPANDED = frozenset({"MGE_HOME", "XDG_CACHE_HOME"})
"""Paths whose reader expands a leading ~ itself (megengine/hub/hub.py:40, measured on 1.13.0)."""


def _path(variable: Variable, path: str) -> Misread | None:
    if "$" in path:
        return Misread("has a $ that nobody expands; os.path.expandvars does", "")
    if path.startswith("~") and variable.name not in _EXPANDED:
        return Misread("begins with a ~ that nobody expands; os.path.expanduser does", "")
    return None


_READ_BY_TORCH = frozenset({"1", "true", "yes", "0", "false", "no"})
_READ_BY_BREVITAS = _READ_BY_TORCH | {"y", "t", "on", "n", "f", "off"}
"""The words of torch/jit/_state.py and of brevitas/config.py (measured on 2.13 and 0.13)."""


def _same(variable: Variable, text: str, canonical: str) -> bool:
    """Whether the reader takes `text` for what `canonical` says."""
    word, frameworks = text.strip(), {reader.framework for reader in variable.readers}
    match variable.kind.name:
        case "device":
            return text == canonical
        case "switch" | "presence" | "nonempty":
            return word == canonical or variable.kind.off == "unset" or getattr(variable.kind, "lenient", False)
        case "boolean_words":
            return word.lower() in (_READ_BY_BREVITAS if "brevitas" in frameworks else _READ_BY_TORCH)
        case "integer" | "bytes":
            return word == canonical or re.fullmatch(r"\+?[0-9]+(\s*,\s*[0-9]+)*", word) is not None
        case "reserve":
            return canonical in {"1", word}
        case "choice" | "level":
            return _same_word(variable, word, canonical, frameworks)
    return True  # the other kinds only drop blanks


def _same_word(variable: Variable, word: str, canonical: str, frameworks: Collection[str]) -> bool:
    if "brevitas" in frameworks or ("megengine" in frameworks and variable.kind.name == "choice"):
        return word == canonical  # both compare exactly; MegEngine's log levels it reads in any case
    if word.lower() == canonical.lower():
        return True
    # Beside its own words torch takes the numbers of a level, and MegEngine takes what Python's logging has.
    return not canonical.isdigit() and (word.isdigit() if "torch" in frameworks else "megengine" in frameworks)


_WHY = {
    "device": "is not spelled as its reader has it",
    "switch": "is a word that its reader does not know; on and off are 1 and 0",
    "boolean_words": "is a word that its reader does not know; on and off are 1 and 0",
    "integer": "is not a whole number in plain digits",
    "reserve": "means nearly all free memory when it is not b: and plain bytes",
    "choice": "is not spelled as its reader has it",
    "level": "is not spelled as its reader has it",
}


def _why(variable: Variable) -> str:
    unit = getattr(variable.kind, "unit", "") or "bytes"
    return _WHY.get(variable.kind.name, f"has a unit that its reader does not know: it takes plain {unit}")
