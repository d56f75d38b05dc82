"""The bytes of a file that people edit, as text: what must hold before any line of it is read."""

import re
from bisect import bisect_right
from typing import NamedTuple

from mgelaunch.finding import Finding, Severity

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LONE_CR = re.compile(r"\r(?!\n)")
_SAVE = "save the file as UTF-8"


class Positions(NamedTuple):
    """Where an offset lies in a text whose lines end with LF. Lines and columns count from 1, columns in
    characters of the decoded line.
    """

    path: str
    starts: tuple[int, ...]

    @classmethod
    def of(cls, text: str, path: str) -> "Positions":
        """Find the positions in `text`; `path` is how findings name its file."""
        return cls(path, (0, *(match.end() for match in re.finditer("\n", text))))

    def line(self, offset: int) -> int:
        """Return the line that holds the character at `offset`."""
        return bisect_right(self.starts, offset)

    def place(self, offset: int) -> str:
        """Return the same as ``file:line:column``."""
        line = self.line(offset)
        return f"{self.path}:{line}:{offset - self.starts[line - 1] + 1}"


class _Fault(NamedTuple):
    """Why a file cannot be read from `at` on."""

    at: int
    code: str
    message: str
    remedy: str


def read_text(data: bytes, path: str) -> tuple[str, tuple[Finding, ...]]:
    """Return the text of a UTF-8 file, every CRLF turned into LF, and what there is to say about its bytes.

    An empty text comes with an error (``file.encoding``, ``file.nul``, ``file.newline``), because nothing
    after it can be trusted. A byte order mark is skipped with a warning (``file.bom``). `path` is the text
    for findings.
    """
    if data.startswith(_UTF16):
        return "", (_finding("error", "file.encoding", "the file is UTF-16, not UTF-8", f"{path}:1:1", _SAVE),)
    findings = []
    if data.startswith(b"\xef\xbb\xbf"):
        findings.append(
            _finding("warning", "file.bom", "a byte order mark is skipped", f"{path}:1:1", f"{_SAVE}, no BOM")
        )
        data = data[3:]
    text, invalid = _decoded(data)
    faults = [fault for fault in (_nul(text), _lone_return(text), invalid) if fault]
    if not faults:
        return text.replace("\r\n", "\n"), tuple(findings)
    first = min(faults, key=lambda fault: fault.at)
    place = Positions.of(text, path).place(first.at)
    return "", (*findings, _finding("error", first.code, first.message, place, first.remedy))


def _decoded(data: bytes) -> tuple[str, _Fault | None]:
    """Return the text up to the first byte that is not UTF-8, and that byte."""
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        text = data[: error.start].decode("utf-8")
        message = f"the byte 0x{data[error.start]:02x} is not valid UTF-8{_guess(data)}"
        return text, _Fault(len(text), "file.encoding", message, _SAVE)


def _guess(data: bytes) -> str:
    """Give a hint for files that a Chinese Windows editor saved in its own encoding."""
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    return "; the file looks like GBK"


def _nul(text: str) -> _Fault | None:
    at = text.find("\0")
    message = "a NUL character cannot be part of a setting; the file may be UTF-16"
    return _Fault(at, "file.nul", message, _SAVE) if at >= 0 else None


def _lone_return(text: str) -> _Fault | None:
    match = _LONE_CR.search(text)
    message = "a carriage return stands without a line feed"
    return _Fault(match.start(), "file.newline", message, "save the file with LF line ends") if match else None


def _finding(severity: Severity, code: str, message: str, place: str, remedy: str) -> Finding:
    return Finding(severity, code, message, remedy=remedy, place=place)
