"""Layers on their way to other hosts: read once, where the job is started, and bound where each rank runs.

What stays behind: the shell, which travels by itself, and what mgelaunch derives, which is derived anew.
"""

import base64
import json
import zlib
from typing import Any, NamedTuple

from mgelaunch.environment.layers import Demand, Layers
from mgelaunch.environment.profile_sections import LaunchKey, Requirement
from mgelaunch.environment.source import INHERITED, Assignment, Source
from mgelaunch.finding import Finding

_STAY = INHERITED | {Source.DERIVED, Source.OWNED}


class Shipped(NamedTuple):
    """What one host has read for the ranks of all of them; ``per_node`` neighbouring ranks share a host."""

    layers: Layers
    per_node: int


def packed(document: dict[str, Any]) -> str:
    """`document` as one word without any sign that an engine or a shell could change."""
    return base64.b64encode(zlib.compress(json.dumps(document).encode())).decode()


def unpacked(word: str) -> dict[str, Any]:
    """What `packed` has packed.

    Raises:
        ValueError: it is something else.
    """
    try:
        document = json.loads(zlib.decompress(base64.b64decode(word, validate=True)))
    except (zlib.error, RecursionError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(document, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - the text is wrong, not the caller
    return document


def to_document(layers: Layers) -> dict[str, Any]:
    """All of `layers` that another host needs to know."""
    said = [each for assignments in layers.assignments.values() for each in assignments if each.source not in _STAY]
    return {
        "assignments": said,
        "demands": layers.demands,
        "secrets": sorted(layers.secrets),
        "launch": layers.launch,
        "requires": layers.requires,
    }


def from_document(document: dict[str, Any]) -> Layers:
    """The layers that `to_document` has told of."""
    said: dict[str, tuple[Assignment, ...]] = {}
    for fields in document["assignments"]:
        told = dict(zip(Assignment._fields, fields, strict=True))
        assignment = Assignment(**{**told, "source": Source(told["source"]), "broken": _finding(told["broken"])})
        said[assignment.name] = (*said.get(assignment.name, ()), assignment)
    return Layers(
        assignments=said,
        demands=tuple(Demand(*fields) for fields in document["demands"]),
        secrets=frozenset(document["secrets"]),
        launch=tuple(LaunchKey(name, _value(value), *rest) for name, value, *rest in document["launch"]),
        requires=tuple(Requirement(*fields) for fields in document["requires"]),
        profiles=(),
        found=(),
        env_files=(),
        findings=(),
    )


def _finding(fields: list[Any] | None) -> Finding | None:
    if not fields:
        return None
    told = dict(zip(Finding._fields, fields, strict=True))
    return Finding._make(tuple(value) if name == "names" else value for name, value in told.items())


def _value(value: Any) -> Any:  # noqa: ANN401 - what a key of [launch] may hold
    return tuple(value) if isinstance(value, list) else value
