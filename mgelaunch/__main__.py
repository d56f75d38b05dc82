"""``python -m mgelaunch``."""

from mgelaunch.cli import entry_point

entry_point()
