"""What the values of a profile can be. Nothing here knows where a value stands: a wrong one is `Rejected`,
whose reason follows the name of the key and never repeats the value.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple

from mgelaunch.catalogue.kinds import Rejected, Value
from mgelaunch.catalogue.numbers import MIB, Bytes


class Saying(NamedTuple):
    """What one line of ``[env]`` says: a text (soft: it gives way), or unset, or only that a value is required."""

    text: str | None = None
    unset: bool = False
    soft: bool = False
    required: str = ""
    secret: bool = False


def read_saying(value: object, *, known: bool) -> Saying | Rejected:
    """What a value of ``[env]`` says. `known`: the catalogue knows the variable, so booleans can be typed."""
    if isinstance(value, dict):
        return _read_table(value, known=known)
    text = _read_text(value, known=known)
    return text if isinstance(text, Rejected) else Saying(text)


_VERBS = ("unset", "default", "value", "required")


def _read_table(table: Mapping[str, object], *, known: bool) -> Saying | Rejected:
    verbs = [key for key in _VERBS if key in table]
    if not table.keys() <= {*_VERBS, "secret"}:
        return Rejected("profile.key", f"knows {', '.join(_VERBS)} and secret in its table, and nothing else")
    if len(verbs) != 1:
        return Rejected("profile.type", f"needs exactly one of {', '.join(_VERBS)} in its table")
    if table.get("secret", True) is not True:
        return Rejected("profile.type", "is made secret by secret = true only", '{ value = "...", secret = true }')
    verb, secret = verbs[0], "secret" in table
    inner = table[verb]
    if verb == "unset":
        wrong = Rejected("profile.type", "is removed by unset = true, and by nothing else", "{ unset = true }")
        return Saying(unset=True, secret=secret) if inner is True else wrong
    if verb == "required":
        wrong = Rejected("profile.type", "needs a message for the user after required", '{ required = "..." }')
        return Saying(required=inner, secret=secret) if isinstance(inner, str) and inner.strip() else wrong
    text = _read_text(inner, known=known)
    return text if isinstance(text, Rejected) else Saying(text, soft=verb == "default", secret=secret)


def _read_text(value: object, *, known: bool) -> str | Rejected:
    if isinstance(value, bool):
        unknown = Rejected("profile.type", "is in no catalogue, so true and false have no spelling; quote a text")
        return str(value).lower() if known else unknown
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 64 else Rejected("profile.value", "is a number of more than 64 bits")
    if isinstance(value, str):
        return Rejected("profile.value", "holds a NUL character") if "\0" in value else value
    if isinstance(value, dict | list):
        return Rejected("profile.type", "is a list or a table; an environment variable has one text")
    return Rejected("profile.type", "is a decimal number, a date or a time; quote it to pass it on as written")


Place = Literal["", "path", "program"]
LaunchValue = bool | int | float | str | tuple[str, ...]


class Shape(NamedTuple):
    """What a key of ``[launch]`` may hold: `phrase` follows its name when a value is none of it, `example` is
    TOML to paste; `read` gives None for a wrong value. A ``path`` is relative to the file; so is a ``program``,
    unless it is a bare name.
    """

    phrase: str
    example: str
    read: Callable[[object], LaunchValue | None]
    place: Place = ""


def _whole(phrase: str, example: str, minimum: int, maximum: int = 1 << 31, words: str = r"(?!)") -> Shape:
    def read(value: object) -> int | str | None:
        if isinstance(value, str) and re.fullmatch(words, value):
            return value
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return value if is_number and isinstance(value, int) and minimum <= value <= maximum else None

    return Shape(phrase, example, read)


def _text(example: str, *, place: Place = "") -> Shape:
    def read(value: object) -> str | None:
        return value if isinstance(value, str) and value.strip() and "\0" not in value else None

    return Shape("is a text in quotes", example, read, place)


def _names(example: str, known: Collection[str] = (), phrase: str = "is a list of texts") -> Shape:
    """A list of any texts, or of `known` ones."""

    def read(value: object) -> tuple[str, ...] | None:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            return None
        return None if known and not set(value) <= set(known) else tuple(value)

    return Shape(phrase, example, read)


_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float | None:
    """The duration in seconds; None when `text` is not made of numbers with units (ms, s, min, h, d): ``1h30min``."""
    part = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]+)\s*"
    if not re.fullmatch(f"(?:{part})+", text.strip()):
        return None
    parts = [(float(number), _UNITS.get(unit)) for number, unit in re.findall(part, text)]
    return None if any(unit is None for _, unit in parts) else sum(number * (unit or 0) for number, unit in parts)


BINDINGS = ("none", "cores")
"""What a rank's CPUs can be: all that the job may use, or its share of the physical cores."""

ENGINES = ("none", "slurm", "mpi")
"""Which engine starts the ranks; "none" asks no engine what this process is, either."""

FIXES = ("cgroup2-dataloader", "execution-strategy", "dtr-allocator")
"""What can be repaired that a framework does wrongly, or does not do: see docs/guard.md."""

_FLAG = Shape("is true or false", "true", lambda value: value if isinstance(value, bool) else None)
_DURATION = Shape(
    "is a text with a number and a unit (s, min, h)",
    '"10s"',
    lambda value: seconds(value) if isinstance(value, str) else None,
)

LAUNCH: Mapping[str, Shape] = {
    "nproc-per-node": _whole('is 1 to 1024, or "gpu", "cpu" or "auto"', '"gpu"', 1, 1024, words="gpu|cpu|auto"),
    "nnodes": _whole("is a whole number from 1 on", "1", 1),
    "node-rank": _whole("is a whole number from 0 on", "0", 0),
    "master-addr": _text('"node0"'),
    "master-port": _whole("is a port, 1 to 65535, or 0 for a free one", "29500", 0, 65535),
    "max-restarts": _whole("is a whole number from 0 on", "0", 0),
    "log-dir": _text('"logs"', place="path"),
    "quiet": _FLAG,
    "rendezvous": Shape('is "megengine"', '"megengine"', lambda value: "megengine" if value == "megengine" else None),
    "join-timeout": _DURATION,
    "grace": _DURATION,
    "time-limit": _DURATION,
    "bind-cpus": Shape('is "none" or "cores"', '"cores"', lambda value: str(value) if value in BINDINGS else None),
    "cluster": Shape('is "none", "slurm" or "mpi"', '"slurm"', lambda value: str(value) if value in ENGINES else None),
    "device": _text('"gpu0"'),
    "gpu-ids": _text('"0,1"'),
    "threads": _whole('is a whole number from 1 on, or a percentage such as "50%"', "4", 1, words=r"[0-9.]+\s*%"),
    "python": _text('"../.venv/bin/python"', place="program"),
    "keep-shell": _names('["NCCL_DEBUG"]'),
    "ignore": _names('["shm.size"]'),
    "allow-unknown": _names('["MGE_OURS"]'),
    "strict": _FLAG,
    "guard": _FLAG,
    "fix": _names('["execution-strategy"]', FIXES, f"is a list of {', '.join(FIXES)}"),
}
"""The keys of ``[launch]``, named as the flags. Durations are read to seconds, lists to tuples."""

REQUIRES = ("mgelaunch", "python", "packages", "host-memory", "device-memory", "shared-memory")


def read_need(key: str, value: object) -> tuple[str | int, ...] | Rejected:
    """What one of `REQUIRES` asks for: version specifiers and requirements as texts, sizes in bytes."""
    if key == "packages":
        wrong = Rejected("profile.type", "is a list of requirements without URLs", '["megengine>=1.13,<2"]')
        good = isinstance(value, list) and all(isinstance(item, str) and _is_requirement(item) for item in value)
        return tuple(value) if isinstance(value, list) and good else wrong
    if key in {"mgelaunch", "python"}:
        wrong = Rejected("profile.type", "is a version specifier (PEP 440) in quotes", '">=3.8"')
        return (value,) if isinstance(value, str) and value.strip() and specifies(value) is not None else wrong
    return _read_size(value)


def specifies(text: str) -> Callable[[str], bool] | None:
    """Whether the specifier `text` holds for a version; None when it is no specifier."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - only [requires] pays

    try:
        wanted = SpecifierSet(text)
    except InvalidSpecifier:
        return None
    return lambda version: wanted.contains(version, prereleases=True)


def _is_requirement(text: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - only [requires] pays

    try:
        return Requirement(text).url is None
    except InvalidRequirement:
        return False


def _read_size(value: object) -> tuple[int] | Rejected:
    text = str(value) if isinstance(value, str) or (type(value) is int and value < 1 << 64) else ""
    reading = Bytes(MIB, off="").read(text.strip())
    if isinstance(reading, Value) and reading.text:
        return (int(reading.text),)
    return Rejected("profile.value", "is a size of at least 1MiB, with its unit, in quotes", '"8GiB"')
