"""The bytes of a Python file as text and as a syntax tree, or why they are neither."""

import ast
import io
import re
import tokenize
import warnings
from typing import NamedTuple

from mgelaunch.finding import Finding


class Parsed(NamedTuple):
    """The tree is empty when there is a ``finding``; ``lines`` are as Python counts them, without their ends."""

    tree: ast.Module
    lines: tuple[str, ...]
    finding: Finding | None = None


def parse(data: bytes, shown: str) -> Parsed:
    """Reads a file that findings call `shown`."""
    fault = None
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        text, fault = data.decode("utf-8", "replace"), _undecodable(data, error, shown)
    except (LookupError, UnicodeError):  # the codec "undefined" raises the second at any text
        text = data.decode("utf-8", "replace")
        fault = Finding("error", "lint.syntax", "the file names an encoding that Python lacks", place=f"{shown}:1:1")
    lines = tuple(re.split(r"\r\n|\r|\n", text))
    result = fault or _tree(data, shown)
    return Parsed(ast.Module([], []), lines, result) if isinstance(result, Finding) else Parsed(result, lines)


def _encoding(data: bytes) -> str:
    """As PEP 263 has it: a comment on one of the first two lines, or UTF-8.

    Raises:
        LookupError: Python has no such encoding.
    """
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError as error:  # or the first lines are not in UTF-8, which is told with its place
        if "unknown encoding" in str(error):
            raise LookupError from error
        return "utf-8-sig"


def _undecodable(data: bytes, error: UnicodeDecodeError, shown: str) -> Finding:
    lines = data[: error.start].split(b"\n")
    place = f"{shown}:{len(lines)}:{len(lines[-1]) + 1}"
    message = f"the byte 0x{data[error.start]:02x} is not valid {error.encoding.removesuffix('-sig').upper()}"
    return Finding("error", "lint.syntax", message, remedy="save the file as UTF-8", place=place)


def _tree(data: bytes, shown: str) -> ast.Module | Finding:
    place = f"{shown}:1:1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bad escapes: the interpreter tells them when it runs the file
            return ast.parse(data)
    except SyntaxError as error:
        message, place = error.msg, f"{shown}:{error.lineno or 1}:{max(error.offset or 1, 1)}"
    except ValueError:
        message = "it holds a NUL character"
    except (RecursionError, MemoryError):
        message = "an expression is nested too deep"
    return Finding("error", "lint.syntax", f"Python cannot read this file: {message}", place=place)
