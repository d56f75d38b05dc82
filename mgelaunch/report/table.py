"""The dry-run for people."""

import shlex
from collections.abc import Iterable, Sequence

from mgelaunch.environment.resolve import Resolution, Setting
from mgelaunch.environment.source import Source
from mgelaunch.finding import Finding
from mgelaunch.launch.plan import Plan
from mgelaunch.report.docs import MOMENT_WORDS
from mgelaunch.report.document import worth_showing
from mgelaunch.report.text import masked_word, padded, shown, width
from mgelaunch.target.interpreter import Interpreter

_HEAD = ("NAME", "VALUE", "FROM", "READ AT", "BEATS")


def dry_run(
    resolution: Resolution, interpreter: Interpreter, versions: str, plan: Plan, findings: Sequence[Finding]
) -> str:
    """What would be started, in as few lines as it takes; ``-`` marks a removed variable, ``!`` a wrong one."""
    head = [
        f"python  {_python(interpreter, versions)}",
        f"layers  {' < '.join(_layers(resolution))}",
        "start   1 process, which mgelaunch becomes",
        "",
    ]
    rows = [_row(setting, findings) for setting in worth_showing(resolution)]
    process = plan.processes[0]
    command = shlex.join(map(masked_word, (process.program, *process.argv[1:]))) if process.argv else "(no TARGET)"
    return "\n".join([*head, *columns([("", *_HEAD), *rows]), "", f"command   {command}", "nothing was started"])


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


def _row(setting: Setting, findings: Sequence[Finding]) -> tuple[str, ...]:
    wrong = setting.wrong or any(finding.severity == "error" and setting.name in finding.names for finding in findings)
    mark = "!" if wrong else "-" if setting.text is None else " "
    value = "(wrong)" if setting.wrong else shown(setting.text, secret=setting.secret)
    value = "(removed)" if setting.text is None and not setting.wrong else value
    base = f"  {setting.base}" if setting.base and not setting.secret else ""
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
