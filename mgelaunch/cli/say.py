"""What mgelaunch says on stderr, and the exit code that goes with it."""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress

from mgelaunch.cli.judge import is_setting
from mgelaunch.errors import CANNOT_EXECUTE, CHECK_FAILED, NOT_FOUND, REFUSED, SETTING_WRONG
from mgelaunch.finding import Finding

_COLOURS = {"error": "31", "warning": "33", "info": "36"}
_WARNINGS_AT_A_START = 3
_NO_FILE = (OSError, ValueError, AttributeError)
"""What stderr may raise: it is full or gone, it was closed, or a script has put an object there that only has write."""
_TARGET_CODES = {
    "target.missing": NOT_FOUND,
    "target.python": NOT_FOUND,
    "target.directory": CANNOT_EXECUTE,
    "target.permission": CANNOT_EXECUTE,
    "target.format": CANNOT_EXECUTE,
    "target.size": CANNOT_EXECUTE,
}
"""What a shell would say of a program that is not there or cannot be executed."""


def say(findings: Sequence[Finding]) -> None:
    """All findings, errors first, those of a file in its order, one line each."""
    for finding in sorted(findings, key=_rank):
        _print(finding)


def _rank(finding: Finding) -> tuple[int, str, int, int]:
    file, line, column = re.fullmatch(r"(.*?)(?::([0-9]+):([0-9]+))?", finding.place, re.DOTALL).groups("0")  # type: ignore[union-attr]
    severity = ("error", "warning", "info").index(finding.severity)
    return severity, file, int(line), int(column)


def say_at_start(findings: Sequence[Finding]) -> None:
    """What a start is worth: every error, at most three warnings, and the notes about the shell."""
    say([finding for finding in findings if finding.severity == "error"])
    warnings = [finding for finding in findings if finding.severity == "warning"]
    say(warnings[:_WARNINGS_AT_A_START])
    if len(warnings) > _WARNINGS_AT_A_START:
        more = len(warnings) - _WARNINGS_AT_A_START
        complain(f"mgelaunch: {more} more: mgelaunch check with the same options shows them")
    say([finding for finding in findings if finding.severity == "info" and finding.code.startswith("shell.")])


def annotate(findings: Sequence[Finding]) -> None:
    """All findings as annotations of GitHub Actions; where a file is known, on its line.

    Form and escapes: the workflow commands of GitHub's documentation.
    """
    for finding in sorted(findings, key=_rank):
        _, file, line, column = _rank(finding)
        where = f"file={_property(file)},line={line},col={column}," if line else ""
        level = "notice" if finding.severity == "info" else finding.severity
        place = "" if where or not finding.place else f"{finding.place}: "
        remedy = f"; try {finding.remedy}" if finding.remedy else ""
        text = f"{place}{finding.message}{remedy}".replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        complain(f"::{level} {where}title={_property(finding.code)}::{text}")


def _property(text: str) -> str:
    for char, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(char, code)
    return text


def refuse(errors: Sequence[Finding]) -> int:
    """The last line of a refused start. The code is 126 or 127 when only the target itself is wrong."""
    first = next((error for error in errors if error.code not in _TARGET_CODES), errors[0])
    code = _TARGET_CODES.get(first.code, REFUSED)
    complain(f"mgelaunch: nothing was started (exit code {code}, {first.code})")
    return code


def diagnosis(findings: Sequence[Finding]) -> int:
    """The exit code of a command that only shows: a wrong setting comes before a failed check."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if any(is_setting(error.code) for error in errors):
        return SETTING_WRONG
    return CHECK_FAILED if errors else 0


def _print(finding: Finding) -> None:
    from mgelaunch.report.text import line  # noqa: PLC0415 - most starts have nothing to say

    text = line(finding)
    if coloured(_is_read_by_people()):
        word = text.split(": ", 2)[1]
        text = text.replace(f" {word}:", f" \x1b[{_COLOURS[finding.severity]}m{word}\x1b[0m:", 1)
    complain(text)


def _is_read_by_people() -> bool:
    with suppress(*_NO_FILE):
        return sys.stderr.isatty()
    return False


def complain(text: str) -> None:
    """One line on stderr. That nobody can read it changes nothing: the exit code tells the same."""
    with suppress(*_NO_FILE):
        sys.stderr.write(f"{text}\n")  # at once: many ranks may be talking
        sys.stderr.flush()


def coloured(terminal: bool) -> bool:
    """Whether to use colour, as NO_COLOR, FORCE_COLOR and TERM=dumb ask for."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (terminal and os.environ.get("TERM") != "dumb")
