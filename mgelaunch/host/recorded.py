"""Facts as JSON and back: what one machine was found to be, for another to look at."""

import types
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mgelaunch.host.facts import HostFacts

Fact = TypeVar("Fact")
_LARGEST = 1 << 64


class NoFacts(Exception):
    """The document does not hold facts; the text says where, never what."""


def to_document(fact: object) -> Any:  # noqa: ANN401 - JSON
    """Named tuples as objects, tuples as lists, everything else as it is."""
    if isinstance(fact, tuple) and hasattr(fact, "_asdict"):
        return {name: to_document(value) for name, value in fact._asdict().items()}
    if isinstance(fact, tuple):
        return [to_document(item) for item in fact]
    return fact


def from_document(document: object) -> HostFacts:
    """The facts in what ``check --format json`` printed, or in its ``host`` alone. What is missing is unknown, and
    keys of a newer version are left out.

    Raises:
        NoFacts: a value is not of the kind that its key needs.
    """
    if isinstance(document, dict) and isinstance(document.get("host"), dict):
        document = document["host"]
    if not isinstance(document, dict) or not document.keys() & set(HostFacts._fields):
        raise NoFacts("it has none of the keys of recorded facts (memory, cpus, devices, ...)")
    return _named(HostFacts, document, "host")


def _named(kind: type[Fact], document: object, where: str) -> Fact:
    if not isinstance(document, dict):
        raise NoFacts(f"{where} is not an object")
    hints = get_type_hints(kind)
    known = {name: _read(hint, document[name], f"{where}.{name}") for name, hint in hints.items() if name in document}
    missing = [name for name in hints if name not in known and name not in kind._field_defaults]  # type: ignore[attr-defined]
    if missing:
        raise NoFacts(f"{where}.{missing[0]} is missing")
    return kind(**known)


def _read(hint: Any, value: object, where: str) -> Any:  # noqa: ANN401 - any type of a field
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, Union}:
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _read(inner, value, where)
    if origin is Literal:
        if value not in arguments:
            raise NoFacts(f"{where} is none of its words")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise NoFacts(f"{where} is not a list")
        return tuple(_read(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(value))
    if hasattr(hint, "_fields"):
        return _named(cast("type[Any]", hint), value, where)
    return _plain(hint, value, where)


def _plain(hint: type[object], value: object, where: str) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST
    if hint is float and (is_number or (isinstance(value, float) and 0 <= value < _LARGEST)):
        return value
    if hint is not float and type(value) is hint and (hint is not int or is_number):
        return value
    raise NoFacts(f"{where} is not {'a number from 0 on' if hint in {int, float} else 'of its type'}")
