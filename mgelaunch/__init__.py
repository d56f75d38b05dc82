"""Make the environment of a training job mean what its author wrote."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Activation", "Decision", "Finding", "NotActivated", "Plan", "__version__", "activate", "resolve"]

if TYPE_CHECKING:
    from mgelaunch.cli.activation import Activation, NotActivated, activate
    from mgelaunch.cli.api import resolve
    from mgelaunch.cli.decide import Decision
    from mgelaunch.finding import Finding
    from mgelaunch.launch.plan import Plan

_HOMES = {
    "Finding": "mgelaunch.finding",
    "Plan": "mgelaunch.launch.plan",
    "Decision": "mgelaunch.cli.decide",
    "Activation": "mgelaunch.cli.activation",
    "NotActivated": "mgelaunch.cli.activation",
    "activate": "mgelaunch.cli.activation",
    "resolve": "mgelaunch.cli.api",
}


def __getattr__(name: str) -> object:
    """The public names, loaded when they are asked for: the command line does without them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_HOMES[name]), name)
