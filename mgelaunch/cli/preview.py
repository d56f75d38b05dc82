"""The dry-run of a job that an engine is to start: its command, or the batch script that would run it."""

import json
from collections.abc import Sequence

from mgelaunch.cli.decide import Decision
from mgelaunch.cli.drive import Engine, command_of, decided, engine_of, ourselves
from mgelaunch.cli.options import Options
from mgelaunch.cli.say import diagnosis, say
from mgelaunch.cli.terms import described, terms
from mgelaunch.clusters import batch
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
        again = [word for word in words if word != "--dry-run"]
        script = batch.script(engine.wanted, "mgelaunch", limit, grace, [*ourselves(), *again])
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
