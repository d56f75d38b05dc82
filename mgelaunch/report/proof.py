"""What ``check --prove`` shows: each variable with what was asked for and what is in effect, and a line that counts."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from mgelaunch.checks.proof import Proof, State, foretold_as_asked
from mgelaunch.finding import Finding
from mgelaunch.report.docs import MOMENT_WORDS
from mgelaunch.report.table import columns
from mgelaunch.report.text import MASK, duration, escaped, masked, shown
from mgelaunch.target.answers import Import

_MARKS: dict[State, str] = {
    "proved": "ok",
    "capped": "note",
    "predicted": "?",
    "shown": "note",
    "unproved": "?",
    "differs": "ERROR",
}
_HEAD = ("NAME", "ASKED", "IN EFFECT", "READ AT")
_COUNTED: tuple[tuple[State, str, bool], ...] = (
    ("proved", "in effect", True),
    ("capped", "capped", False),
    ("predicted", "predicted", False),
    ("shown", "shown", False),
    ("unproved", "not provable", True),
    ("differs", "wrong", True),
)
"""The states in the order of the last line, their words, and whether none of them is said as well."""
_CUT = 300
"""The characters after which target/prove.py and launch/tail.py cut off what they are told."""
_SHORTEST = 4
"""A shorter beginning of a secret tells nothing of it."""


def proof_lines(
    proofs: Sequence[Proof],
    imports: Sequence[Import],
    findings: Sequence[Finding],
    said: Sequence[str],
    *,
    python: str,
    rank: str,
) -> tuple[str, ...]:
    """The whole report. `said` are the last lines of an interpreter that failed, `rank` is which one of several it was
    (empty: there is but one process).
    """
    done = [f"{escaped(f'{each.name} {each.version}'.rstrip())} in {duration(each.seconds)}" for each in imports]
    where = f"{shown(python)}{rank and f', as {rank}'}"
    head = f"proof   {', '.join(done) or 'no framework was imported'}, by {where}"
    rows = [("", *_HEAD), *(_row(proof) for proof in proofs)] if proofs else []
    told = [line for finding in findings for line in _told(finding)]
    return (head, *columns(rows), *told, *(f"      | {escaped(line)}" for line in said), counts(proofs))


def _row(proof: Proof) -> tuple[str, ...]:
    setting = proof.setting
    asked = "(removed)" if setting.text is None else shown(setting.text, secret=setting.secret)
    effect = "" if proof.effect is None else shown(proof.effect, secret=setting.secret)
    effect = {"predicted": f"{effect} is predicted", "unproved": f"not provable: {escaped(proof.why)}"}.get(
        proof.state, f"{effect}  {proof.why}".rstrip()
    )
    mark = "warn" if proof.state == "predicted" and not foretold_as_asked(proof) else _MARKS[proof.state]
    return f"{mark:5}", proof.name, asked, effect, MOMENT_WORDS[proof.moment][0] if proof.moment else "-"


def _told(finding: Finding) -> Iterable[str]:
    mark = {"error": "ERROR", "warning": "warn", "info": "note"}[finding.severity]
    place = f"{finding.place}: " if finding.place else ""
    yield f"{mark:5} {escaped(place + finding.message)}  {finding.code}"
    if finding.remedy:
        yield f"{'':8}{escaped(finding.remedy)}"


def counts(proofs: Sequence[Proof]) -> str:
    """The last line: ``5 asked, 4 in effect, 1 not provable, 0 wrong``."""
    numbers = {state: sum(proof.state == state for proof in proofs) for state, _, _ in _COUNTED}
    parts = [f"{numbers[state]} {word}" for state, word, always in _COUNTED if numbers[state] or always]
    return ", ".join([f"{len(proofs)} asked", *parts])


def proof_document(proofs: Iterable[Proof]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [
        {
            "name": proof.name,
            "asked": masked(proof.setting.text, secret=proof.setting.secret),
            "in_effect": masked(proof.effect, secret=proof.setting.secret),
            "state": proof.state,
            "why": proof.why,
            "moment": proof.moment,
        }
        for proof in proofs
    ]


def without_secrets(text: str, secrets: Collection[str]) -> str:
    """`text` of a framework with each of the `secrets` masked, and each of their lines, the longest first; also as
    ``repr`` and URLs write them, and where the text was cut off within one. Passwords in URLs are masked as everywhere.
    """
    pieces = sorted({piece for secret in secrets for piece in _written(secret)}, key=len, reverse=True)
    for piece in pieces:
        alone = len(piece) < _SHORTEST  # within a word or a number, so little is of something else
        text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", MASK, text) if alone else text.replace(piece, MASK)
    if len(text) >= _CUT:
        for piece in pieces:
            text = _without_beginning(text, piece)
    return masked(text, secret=False) or ""


def _written(secret: str) -> Iterator[str]:
    """What a message may have of a secret: blanks at its ends and tabs are lost, bytes that are no text replaced."""
    for piece in (secret, *secret.splitlines()):
        replaced = piece.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for text in (piece, replaced, repr(piece)[1:-1], quote(replaced), quote(replaced, ""), quote_plus(replaced)):
            yield from filter(None, (text.strip(), text.strip().replace("\t", " ")))


def _without_beginning(text: str, piece: str) -> str:
    """`text` without the beginning of `piece` at its end, and masked whole where it is nothing but a part of it."""
    body = text.removesuffix("…")
    if body in piece:
        return MASK
    lengths = range(min(len(body), len(piece)), _SHORTEST - 1, -1)
    begun = next((length for length in lengths if body.endswith(piece[:length])), 0)
    return f"{body[:-begun]}{MASK}" if begun else text
