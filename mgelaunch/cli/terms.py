"""How ranks are to be watched: what options, or else the profiles, say of it."""

import os
from typing import NamedTuple

from mgelaunch.cli.options import Options
from mgelaunch.environment.layers import Layers, single
from mgelaunch.errors import UsageError
from mgelaunch.host.files import whole
from mgelaunch.launch.events import Rules

_JOIN_TIMEOUT = 600.0
_GRACE = 10.0


class Terms(NamedTuple):
    """What is asked of the supervision; ``log_dir`` is absolute, empty without one."""

    rules: Rules
    rendezvous: bool
    log_dir: str
    quiet: bool


def terms(options: Options, layers: Layers, cwd: str, *, several: bool = False) -> Terms:
    """What options, or else the profiles, say; `several`: of a job on several machines.

    Raises:
        UsageError: an option cannot be understood, or contradicts another one.
    """
    rendezvous = bool(options.rendezvous or single(layers, "rendezvous"))
    restarts = options.max_restarts if options.max_restarts is not None else single(layers, "max-restarts") or "0"
    if whole(restarts) is None:
        raise UsageError("--max-restarts takes a whole number from 0 on")
    if several and int(restarts):
        raise UsageError("--max-restarts is for one machine; on several, the engine's requeue starts all of them again")
    log_dir = options.log_dir or single(layers, "log-dir")
    quiet = options.quiet or single(layers, "quiet") == "True"
    if quiet and not log_dir:
        raise UsageError("--quiet needs --log-dir, or nobody would ever read what the ranks say")
    if options.join_timeout and not rendezvous:
        raise UsageError("--join-timeout belongs to --rendezvous megengine: nobody else tells who has joined")
    join = _seconds("--join-timeout", options.join_timeout, layers)
    rules = Rules(
        grace=_GRACE if (grace := _seconds("--grace", options.grace, layers)) is None else grace,
        time_limit=_seconds("--time-limit", options.time_limit, layers),
        join_timeout=(_JOIN_TIMEOUT if join is None else join) if rendezvous else None,
        max_restarts=int(restarts),
    )
    return Terms(rules, rendezvous, os.path.join(cwd, os.path.expanduser(log_dir)) if log_dir else "", quiet)


def _seconds(option: str, text: str | None, layers: Layers) -> float | None:
    if text is None:
        told = single(layers, option.removeprefix("--"))
        return float(told) if told else None
    from mgelaunch.environment.profile_values import seconds  # noqa: PLC0415 - few jobs say so

    duration = seconds(text)
    if duration is None:
        raise UsageError(f"{option} takes a duration with its unit, such as 90s, 10min or 1h30min")
    return duration


def described(asked: Terms) -> str:
    """What differs from the usual, for one line."""
    from mgelaunch.report.text import duration, shown  # noqa: PLC0415 - a start describes nothing

    rules = asked.rules
    parts = [f"grace {duration(rules.grace)}"] if rules.grace != _GRACE else []
    parts += [f"time limit {duration(rules.time_limit)}"] if rules.time_limit is not None else []
    parts += [f"{rules.max_restarts} restarts"] if rules.max_restarts else []
    parts += [f"MegEngine's server, {duration(rules.join_timeout)} to join"] if rules.join_timeout is not None else []
    parts += [f"logs in {shown(asked.log_dir)}"] if asked.log_dir else []
    return ", ".join([*parts, *(["quiet"] if asked.quiet else [])])


_OF_PLACE = (
    ("--rendezvous", "rendezvous"),
    ("--join-timeout", "join_timeout"),
    ("--grace", "grace"),
    ("--master-addr", "master_addr"),
    ("--master-port", "master_port"),
)
"""Options that mean something to a rank which an engine has started, too."""
_NEED_RANKS = (
    ("--max-restarts", "max_restarts"),
    ("--log-dir", "log_dir"),
    ("--quiet", "quiet"),
    ("--time-limit", "time_limit"),
    ("--nnodes", "nnodes"),
    ("--node-rank", "node_rank"),
    ("--hosts", "hosts"),
    ("--monitor-interval", "monitor_interval"),
)


def without_ranks(options: Options, *, is_rank: bool) -> str:
    """The first option that has no meaning without ranks of our own; empty when there is none. `is_rank`: this process
    is one that an engine has started.
    """
    unfit = _NEED_RANKS if is_rank else (*_NEED_RANKS, *_OF_PLACE)
    return next((option for option, field in unfit if getattr(options, field)), "")
