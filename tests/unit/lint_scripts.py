"""Small scripts with what is to be found in them written on their lines."""

import re
import textwrap

from mgelaunch.environment.project import Places
from mgelaunch.lint.linting import Request, lint, position
from mgelaunch.lint.settings import a_world


def outcome(folder, files, *paths, profiles=None):
    """What lint finds when it is started in `folder`, which gets the `files` (texts or bytes), by name."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).lstrip("\n").encode())
    places = Places(str(folder), str(folder), config=tuple)
    return lint(
        Request(
            paths=paths or ["."],
            places=places,
            world=a_world(str(folder), "/home/user"),
            version="1.0",
            shown=lambda path: path.removeprefix(f"{folder}/"),
            project_of=lambda _: str(folder),
            profiles=profiles,
        )
    )


def found(folder, script):
    """The findings in one script: line, code without its area, severity."""
    return listed(outcome(folder, {"script.py": script}, "script.py"))["script.py"]


def listed(result):
    """By file, the findings as line, code without its area, severity."""
    files = {"script.py": []}
    for finding in result.findings:
        file, line, _ = position(finding)
        files.setdefault(file, []).append((line, finding.code.removeprefix("lint."), finding.severity))
    return {file: sorted(lines) for file, lines in files.items()}


def expected(script):
    """What the comments ``#> CODE SEVERITY, ...`` of a script announce."""
    lines = textwrap.dedent(script).lstrip("\n").split("\n")
    said = [
        (number, re.findall(r"([a-z.]+) ([a-z]+)", line.partition("#>")[2])) for number, line in enumerate(lines, 1)
    ]
    return sorted((number, code, severity) for number, pairs in said for code, severity in pairs)
