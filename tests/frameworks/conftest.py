"""Scripts started twice: bare, as a user without mgelaunch would, and by mgelaunch."""

import json
import os
import subprocess
from dataclasses import dataclass

import pytest

PATIENCE = 180  # seconds: imports of torch take a dozen on a busy machine


@dataclass(frozen=True)
class Ran:
    """How a script ended and what it wrote."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def report(self):
        """The JSON of the last line: native code writes to stdout as well, but before."""
        assert self.stdout, self.stderr
        return json.loads(self.stdout.splitlines()[-1])


class Job:
    """One script in a project of its own."""

    def __init__(self, world):
        self.world = world

    def write(self, script):
        return str(self.world.write("script.py", script))

    def bare(self, python, script, *args, environ=None):
        """Runs `script` with `python` alone; `environ` is what the shell exports beside the usual."""
        ended = subprocess.run(
            [python, self.write(script), *args],
            cwd=self.world.project,
            env=self.world.environ | (environ or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=PATIENCE,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def launched(self, python, script, *args, options=(), sets=None, environ=None):
        """Runs `script` by ``mgelaunch run``; `sets` are given by ``-e``, `environ` by the shell."""
        settings = [word for name, text in (sets or {}).items() for word in ("-e", f"{name}={text}")]
        where = ("--python", python) if python else ()
        ended = self.world.run(
            "run", *where, *options, *settings, self.write(script), *args, timeout=PATIENCE, **(environ or {})
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def world(world):
    """The usual world, with its own place for temporary files: torch leaves a folder there."""
    folder = os.path.join(world.home, "tmp")
    os.mkdir(folder)
    world.environ["TMPDIR"] = folder
    return world


@pytest.fixture
def job(world):
    """Runs scripts in the world of this test."""
    return Job(world)


@pytest.fixture(scope="module")
def kept():
    """What one test of the module found out by an expensive run, for the others that look at the same run."""
    return {}
