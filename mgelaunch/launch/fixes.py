"""Work-arounds for faults of a framework. All are off unless asked for."""

import os

import mgelaunch.target
from mgelaunch.environment.resolve import Resolution, Setting
from mgelaunch.environment.source import Assignment, Source

IN_PROCESS = frozenset({"execution-strategy", "dtr-allocator"})
"""Those that are done in the script's process (target/importlib_bootstrap.py); the environment is enough for others."""


def apply(fixes: frozenset[str], resolution: Resolution, path: str) -> Resolution:
    """`resolution` with what `fixes` add to it; `path` is the search path that the job has without them.

    MegEngine 1.13.0 asks ``cat`` for cgroup v1's memory limit before it starts DataLoader workers, and raises
    ValueError where cgroup v1 is not there (``DataLoader.check_memory_rationality``; measured). The ``cat`` in
    front answers that one question and leaves every other to the real one.
    """
    if "cgroup2-dataloader" not in fixes:
        return resolution
    folder = os.path.join(os.path.dirname(mgelaunch.target.__file__), "cgroup2_dataloader")
    text = os.pathsep.join((folder, path))
    winner = Assignment("PATH", text, Source.FLAG, "--fix")
    old = resolution.settings.get("PATH")
    beaten = (old.winner, *old.beaten) if old else ()
    secret = old.secret if old else False
    setting = Setting("PATH", winner, beaten, text, "(a cat in front)", wrong=False, secret=secret, variable=None)
    return resolution._replace(settings=dict(sorted({**resolution.settings, "PATH": setting}.items())))
