"""The dry-run of a job that an engine is to start: its command, or the batch script that would run it."""

import json
from collections.abc import Sequence

from mgelaunch.cli.decide import Decision
from mgelaunch.cli.drive import Engine, command_of, decided, engine_of, ourselves
from mgelaunch.cli.options import Options
from mgelaunch.cli.say import diagnosis, say
from mgelaunch.cli.terms import described, terms
from mgelaunch.clusters import batch
from mgelaunch.errors import UsageError
from mgelaunch.launch.command import Target
from mgelaunch.report.document import document
from mgelaunch.report.table import driven_dry_run
from mgelaunch.report.text import masked_command

_RUN = "{run_id}"


def show(options: Options, target: Target | None, words: Sequence[str], output: str) -> int:
    """Prints what would be started, and starts nothing. `words` are those of our own command line."""
    decision = decided(options, target)
    kept = tuple(finding for finding in decision.findings if finding.code != "cluster.allocation")
    decision = decision._replace(findings=kept)
    engine = engine_of(decision, options)
    asked = terms(options, decision.resolution.layers, decision.cwd, several=True)
    say(decision.findings)
    limit, grace = asked.rules.time_limit, asked.rules.grace
    if engine.word == "slurm" and not engine.allocation:
        again = (*ourselves(), *_without_preview(words, target))
        script = batch.script(engine.wanted, "mgelaunch", limit, grace, _sayable(again))
        print(json.dumps({"version": 1, "batch_script": script}, indent=2) if output == "json" else script, end="")
        return diagnosis(decision.findings)
    command = masked_command(command_of(engine, decision, _RUN, grace))
    if output == "json":
        print(json.dumps(_document(decision, engine, command), indent=2))
    else:
        watched = described(asked)
        print(driven_dry_run(decision.resolution, decision.plan, decision.findings, command, engine.wanted, watched))
    return diagnosis(decision.findings)


def _document(decision: Decision, engine: Engine, command: Sequence[str]) -> dict[str, object]:
    cluster = {"engine": engine.word, "nodes": engine.wanted.nodes, "ranks": engine.wanted.world, "argv": list(command)}
    chosen = decision.interpreter if decision.target else None
    return document(decision.ranks, chosen, decision.plan, decision.findings, mask=True, cluster=cluster)


_OF_PREVIEW = ("-f", "--format", "--rank")


def _without_preview(words: Sequence[str], target: Target | None) -> list[str]:
    """The command line of a start; what stands behind TARGET is not ours."""
    tail = 1 + len(target.args) if target else 0
    head, rest = list(words[: len(words) - tail]), words[len(words) - tail :]
    kept: list[str] = []
    while head:
        word = head.pop(0)
        if word in _OF_PREVIEW:
            head.pop(0)
        elif word.replace("_", "-") != "--dry-run" and not word.startswith(("--format=", "--rank=")):
            kept.append(word)
    return [*kept, *rest]


def _sayable(words: Sequence[str]) -> Sequence[str]:
    """`words`, if a file may hold them.

    Raises:
        UsageError: they hold a secret, or what is no text.
    """
    if masked_command(words) != tuple(words):
        raise UsageError("the batch script would show a secret of the command line: export it in your shell instead")
    if any(not word.isprintable() and word.encode(errors="replace").decode() != word for word in words):
        raise UsageError("a word of the command line is no UTF-8, which a batch script cannot hold")
    return words
