"""``mgelaunch run``: resolve, check, plan, and become the script."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import typer

from mgelaunch.cli import standing
from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.judge import is_setting
from mgelaunch.cli.options import Options, with_options
from mgelaunch.cli.say import diagnosis, refuse, say, say_at_start
from mgelaunch.errors import Failure, UsageError
from mgelaunch.finding import Finding
from mgelaunch.launch.command import Target
from mgelaunch.launch.execute import execute


def register(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Adds the command to `app`."""
    app.command("run", context_settings=settings, options_metavar="[OPTIONS]")(with_options(run))


def run(
    options: Options,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="script.py, a command, or with -m a module.")] = "",
    args: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Its own arguments.")] = None,
    module: Annotated[bool, typer.Option("-m", "--module", help="TARGET is a module.")] = False,
    no_python: Annotated[bool, typer.Option("--no-python", help="TARGET is a command, whatever it ends in.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and start nothing.")] = False,
    rank: Annotated[
        int | None, typer.Option("--rank", metavar="K", min=0, help="Of --dry-run: this rank alone, whole.")
    ] = None,
    output: Annotated[
        Literal["text", "json"], typer.Option("-f", "--format", help="How --dry-run prints the plan.")
    ] = "text",
) -> int:
    """Resolve and check the settings, then become TARGET: same process, terminal and exit code.

    With -n, start that many ranks of TARGET and watch them: one exit code, one Ctrl-C, nothing left behind. Started by
    srun, mpirun or torchrun, become the rank that they say; with --cluster, have srun or mpirun start the ranks.

    Options of mgelaunch come before TARGET; everything after TARGET is passed on untouched.

    Examples:

      mgelaunch run -p dtr train.py -b 64

      mgelaunch run -p debug -e MGE_DEFAULT_DEVICE=cpu0 -m pkg.train --lr 0.1

      mgelaunch run --dry-run -p dtr train.py

      mgelaunch run -n 4 -p dtr --log-dir logs train.py

      srun -N2 --ntasks-per-node=4 mgelaunch run -p dtr train.py

      mgelaunch run --cluster mpi --hosts n1,n2 -n 4 -p dtr train.py
    """
    if module and no_python:
        raise UsageError("-m names a module of Python, and --no-python says that TARGET is none")
    wanted = Target(target, tuple(args or ()), module, program=no_python) if target else None
    if rank is not None and not dry_run:
        raise UsageError("--rank belongs to --dry-run")
    if options.facts and not dry_run:
        raise UsageError("--facts belongs to --dry-run and to check: a start is judged by the host it happens on")
    if dry_run:
        decision = decide(options, wanted)
        if standing.driving(options, decision.resolution.layers, decision.task):
            from mgelaunch.cli.preview import show  # noqa: PLC0415

            return show(options, wanted, sys.argv[1:], output)
        return _show(_of_rank(decision, rank), output)
    if wanted is None:
        raise UsageError("TARGET is missing: a script, a command, or -m and a module; see mgelaunch run --help")
    if output != "text":
        raise UsageError("--format belongs to --dry-run")
    run_id = _run_id()
    decision = decide(options, wanted, run_id=run_id)
    if standing.driving(options, decision.resolution.layers, decision.task):
        from mgelaunch.cli.drive import drive  # noqa: PLC0415

        return _guarded(lambda: drive(options, wanted, run_id))
    return _guarded(lambda: _start(decision, run_id))


def _start(decision: Decision, run_id: str) -> int:
    say_at_start(_heard(decision))
    if decision.errors:
        return refuse(decision.errors)
    if decision.supervision:
        from mgelaunch.cli.supervision import run_ranks  # noqa: PLC0415 - only jobs of several ranks pay

        return run_ranks(decision, decision.supervision, run_id)
    return execute(decision.plan.processes[0], decision.environ)


def _guarded(start: Callable[[], int]) -> int:
    """What `start` returns, or the code of a start that has failed."""
    try:
        return start()
    except UsageError:
        raise
    except Failure as failure:
        finding = Finding("error", failure.code, failure.message)
        say([finding])
        return refuse([finding])


def _heard(decision: Decision) -> Sequence[Finding]:
    """What this process says: all errors, and of the rest what no other rank of the job says as well. Rank 0 speaks of
    the settings, the first rank of each machine of its host.
    """
    task = decision.task
    if task is None or task.rank == 0:
        return decision.findings
    return [
        finding
        for finding in decision.findings
        if finding.severity == "error" or (task.local_rank == 0 and _is_of_host(finding))
    ]


def _is_of_host(finding: Finding) -> bool:
    """Whether another machine may have something else to say."""
    return finding.severity != "info" and not is_setting(finding.code) and not finding.code.startswith("cluster.")


def _show(decision: Decision, output: str) -> int:
    import json  # noqa: PLC0415 - a start prints no plan

    from mgelaunch.cli.terms import described  # noqa: PLC0415 - a start prints no plan
    from mgelaunch.report.document import document  # noqa: PLC0415
    from mgelaunch.report.table import dry_run  # noqa: PLC0415
    from mgelaunch.target.installed import describe  # noqa: PLC0415

    say(decision.findings)
    if output == "json":
        chosen = decision.interpreter if decision.target else None
        cluster = standing.document_of(decision.found)
        shown = document(decision.ranks, chosen, decision.plan, decision.findings, mask=True, cluster=cluster)
        print(json.dumps(shown, indent=2))
    else:
        versions = describe(decision.interpreter.path, os.path.expanduser("~")) if decision.interpreter.path else ""
        watched = described(decision.supervision.terms) if decision.supervision else ""
        parts = (decision.ranks, decision.interpreter, versions, decision.plan, decision.findings)
        print(dry_run(*parts, watched, standing.described(decision.found)))
    return diagnosis(decision.findings)


def _of_rank(decision: Decision, rank: int | None) -> Decision:
    """The decision as far as it is about one rank."""
    if rank is None:
        return decision
    if rank >= len(decision.ranks):
        raise UsageError(f"--rank is below the number of ranks, which is {len(decision.ranks)}")
    plan = decision.plan._replace(processes=(decision.plan.processes[rank],))
    return decision._replace(plan=plan, ranks=(decision.ranks[rank],), resolution=decision.ranks[rank])


def _run_id() -> str:
    """Unique on this host while its clock goes forward: what ``{run_id}`` becomes."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
