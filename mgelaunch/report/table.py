"""The dry-run for people."""

import shlex
from collections.abc import Iterable, Sequence

from mgelaunch.clusters.engine import Wanted
from mgelaunch.environment.resolve import Resolution, Setting
from mgelaunch.environment.settle import DEFERRED_PORT
from mgelaunch.environment.source import Source
from mgelaunch.finding import Finding
from mgelaunch.host.amounts import counted
from mgelaunch.host.cpus import listed
from mgelaunch.launch.plan import Plan
from mgelaunch.report.docs import MOMENT_WORDS
from mgelaunch.report.document import worth_showing
from mgelaunch.report.text import masked_command, padded, shown, width
from mgelaunch.target.interpreter import Interpreter

_MOST_SHOWN = 4
"""Ranks of which a line shows the values; JSON has them all."""
_HEAD = ("NAME", "VALUE", "FROM", "READ AT", "BEATS")


def dry_run(
    ranks: Sequence[Resolution],
    interpreter: Interpreter,
    versions: str,
    plan: Plan,
    findings: Sequence[Finding],
    supervision: str = "",
    cluster: str = "",
) -> str:
    """What would be started, in as few lines as it takes; `supervision` says how ranks are watched, `cluster` what an
    engine says of this process. ``-`` marks a removed variable, ``!`` a wrong one, ``*`` one that differs between the
    ranks.
    """
    head = [
        f"python  {_python(interpreter, versions)}",
        f"layers  {' < '.join(_layers(ranks[0]))}",
        *([f"cluster {cluster}"] if cluster else []),
        f"start   {_start(plan)}{supervision and f'; {supervision}'}",
        "",
    ]
    named = worth_showing(ranks[0])
    own = [setting for setting in named if setting.winner.source is Source.OWNED]
    together = plan.world > 1 and len(ranks) == plan.world and not any(setting.beaten for setting in own)
    rows = [
        _row(setting, [rank.settings[setting.name] for rank in ranks[1:]], findings)
        for setting in named
        if not (together and setting in own)
    ]
    rows += [_own_row(plan.world, len(own))] if together and own else []
    return "\n".join([*head, *columns([("", *_HEAD), *rows]), "", _command(plan), "nothing was started"])


def driven_dry_run(
    resolution: Resolution,
    plan: Plan,
    findings: Sequence[Finding],
    command: Sequence[str],
    wanted: Wanted,
    watched: str,
) -> str:
    """What an engine would be asked to start: `command`, which becomes `wanted` ranks of the plan's only process."""
    how = f"{counted(wanted.world, 'rank')}, {wanted.per_node} on each of {counted(wanted.nodes, 'node')}"
    head = [f"layers  {' < '.join(_layers(resolution))}", f"start   {how}{watched and f'; {watched}'}", ""]
    rows = [_row(setting, (), findings) for setting in worth_showing(resolution)]
    engine = f"engine    {shlex.join(command)}"
    return "\n".join([*head, *columns([("", *_HEAD), *rows]), "", engine, _command(plan), "nothing was started"])


def _command(plan: Plan) -> str:
    process = plan.processes[0]
    words = (process.program, *process.argv[1:])
    return f"command   {shlex.join(masked_command(words)) if process.argv else '(nothing to start)'}"


def _start(plan: Plan) -> str:
    ranks = len(plan.processes)
    first = plan.processes[0].rank
    some = f"rank {first} of {plan.world}" if ranks == 1 else f"ranks {first} to {first + ranks - 1} of {plan.world}"
    how = f"{some if ranks < plan.world else counted(ranks, 'rank')} here, supervised"
    bound = " | ".join(listed(process.cpus) for process in plan.processes[:_MOST_SHOWN] if process.cpus)
    more = " | ..." if bound and ranks > _MOST_SHOWN else ""
    return f"{how if plan.supervised else '1 process, which mgelaunch becomes'}{bound and f'; on CPUs {bound}{more}'}"


def _own_row(world: int, names: int) -> tuple[str, ...]:
    """One row for the names that every rank gets and that are no surprise."""
    numbers = " | ".join([*map(str, range(min(world, _MOST_SHOWN))), *(["..."] if world > _MOST_SHOWN else [])])
    return "*", f"RANK LOCAL_RANK ({names} names)", f"{numbers} of {world}", Source.OWNED.label, "-", ""


def _python(interpreter: Interpreter, versions: str) -> str:
    if not interpreter.path:
        return "(not found)"
    return "  ".join(part for part in (interpreter.path, versions, f"by {interpreter.chosen_by}") if part)


def _layers(resolution: Resolution) -> Iterable[str]:
    """The layers that take part, low to high."""
    layers = resolution.layers
    yield from (file for file, source in layers.env_files if source is Source.DOTENV)
    yield "shell"
    yield from (file for file, source in layers.env_files if source is Source.ENV_FILE)
    for file, found in zip(layers.profiles, layers.found, strict=True):
        yield f"{file.name} [{'shipped' if found.shelf == 'shipped' else file.path}]"
    yield "--set"


def _row(setting: Setting, others: Sequence[Setting], findings: Sequence[Finding]) -> tuple[str, ...]:
    wrong = setting.wrong or any(finding.severity == "error" and setting.name in finding.names for finding in findings)
    differs = any(other.text != setting.text for other in others)
    mark = "!" if wrong else "*" if differs else "-" if setting.text is None else " "
    value = "(wrong)" if setting.wrong else shown(setting.text, secret=setting.secret)
    value = "(removed)" if setting.text is None and not setting.wrong else value
    value = "(chosen at the start)" if setting.text == DEFERRED_PORT else value
    if differs:
        value = " | ".join(
            [value, *(shown(other.text, secret=other.secret) for other in others[: _MOST_SHOWN - 1])]
            + ["..."] * (len(others) >= _MOST_SHOWN)
        )
    base = f"  {setting.base}" if setting.base and not setting.secret else ""
    if setting.name == "PATH" and base:
        value, base = setting.base, ""  # it is long, and only its head is new
    soft = " default" if setting.winner.source is Source.SOFT else ""
    moment = MOMENT_WORDS[setting.variable.moment][0] if setting.variable else ""
    beaten = ", ".join(dict.fromkeys(loser.where for loser in setting.beaten))
    return mark, setting.name, value + base, setting.winner.where + soft, moment, beaten


def columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """The rows as lines whose columns stand below each other, two blanks apart."""
    widths = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        mark, *cells = (padded(cell, wide) for cell, wide in zip(row, widths, strict=True))
        yield f"{mark} {'  '.join(cells)}".rstrip()
