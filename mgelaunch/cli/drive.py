"""``--cluster slurm|mpi``: resolves once, has the engine start the ranks, and gives the verdict on how they ended."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch import __version__
from mgelaunch.catalogue.kinds import Unmeasured
from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.options import Options
from mgelaunch.cli.say import coloured, complain, refuse, say_at_start
from mgelaunch.cli.standing import RANK_NAMES
from mgelaunch.clusters import mpirun, srun
from mgelaunch.clusters.engine import Wanted
from mgelaunch.clusters.hostlist import NotAList, hosts
from mgelaunch.clusters.ports import agreed_port
from mgelaunch.environment.layers import single
from mgelaunch.environment.project import project_root
from mgelaunch.environment.resolve import owned
from mgelaunch.environment.settle import UNMEASURED
from mgelaunch.environment.shipping import packed, to_document
from mgelaunch.environment.source import INHERITED
from mgelaunch.errors import Failure, UsageError
from mgelaunch.host.files import whole
from mgelaunch.launch.command import Target
from mgelaunch.launch.engine import ByCommand, Direct, Ended, Reins, run_engine
from mgelaunch.launch.plan import Process

if TYPE_CHECKING:  # a dry-run needs no more than the command
    from mgelaunch.cli.judgement import Watch

CARRIER = "MGELAUNCH_RANK"
"""The variable by which a rank gets what the driver has resolved."""
_MARGIN = 15.0
"""Seconds that the ranks have to record their end after the grace that they have themselves."""
_MOST_CARRIED = 120_000
"""Bytes of one variable; Linux takes 128 KiB (MAX_ARG_STRLEN)."""


class Engine(NamedTuple):
    """How this job is to be started: the word after ``--cluster``, and the hosts where mgelaunch names them."""

    word: str
    wanted: Wanted
    hosts: tuple[str, ...]
    allocation: str


def engine_of(decision: Decision, options: Options) -> Engine:
    """What options, or else the profiles, say of the engine.

    Raises:
        UsageError: they do not say enough.
    """
    layers = decision.resolution.layers
    word = options.cluster or single(layers, "cluster")
    per_node = whole(options.ranks or single(layers, "nproc-per-node") or "1")
    if not per_node:
        raise UsageError("with --cluster, -n takes a number: what the nodes have is not known here")
    said = options.nnodes or single(layers, "nnodes")
    allocation = decision.found.allocation if decision.found else ""
    if word == "mpi":
        named = _hosts(options.hosts or decision.environ.get("SLURM_JOB_NODELIST", ""))
        nodes = whole(said) if said else len(named) or 1
        places = named or (("localhost",) if nodes == 1 else ())
        if not nodes or len(places) < nodes:
            raise UsageError(f"--cluster mpi needs the names of {said or 'the'} hosts: --hosts n1,n2 or --hosts n[1-2]")
        return Engine(word, Wanted(nodes, per_node), places[:nodes], "")
    granted = decision.environ.get("SLURM_JOB_NUM_NODES", "") if allocation else ""
    nodes = whole(said or granted or "1")
    if not nodes:
        raise UsageError("--nnodes is a whole number from 1 on")
    return Engine(word, Wanted(nodes, per_node), (), allocation)


def _hosts(text: str) -> tuple[str, ...]:
    try:
        return hosts(text)
    except NotAList as error:
        raise UsageError(f"--hosts is no list of hosts: {error}") from None


def elsewhere(*_: object) -> Unmeasured:
    """What is measured of the hosts where the ranks will run: nothing, here."""
    return Unmeasured("it is measured where each rank runs")


def decided(options: Options, target: Target | None, run_id: str = "") -> Decision:
    """The decision as far as it is made once, for all ranks; what depends on the host is left open."""
    decision = decide(options._replace(no_check=True), target, run_id=run_id, alone=True, measure=elsewhere)
    kept = tuple(finding for finding in decision.findings if finding.code != UNMEASURED)
    settings = {
        name: setting._replace(text=setting.winner.text, base="on each host", wrong=False)
        if setting.wrong and (setting.winner.text or "").rstrip().endswith("%")
        else setting
        for name, setting in decision.resolution.settings.items()
    }
    said = [each for name in RANK_NAMES for each in decision.resolution.layers.assignments.get(name, ())]
    firm = [owned(each) for each in said if each.source not in INHERITED]
    resolution = decision.resolution._replace(settings=settings)
    return decision._replace(findings=(*kept, *firm), resolution=resolution, ranks=(resolution,))


def command_of(engine: Engine, decision: Decision, run_id: str, grace: float) -> tuple[str, ...]:
    """The engine's command line."""
    inner = (*ourselves(), "rank")
    if engine.word == "slurm":
        return srun.command(engine.wanted, f"mgelaunch-{run_id}", decision.environ, inner)
    names = mpirun.exported({**_clean(decision.environ), CARRIER: "", "MASTER_ADDR": "", "MASTER_PORT": ""})
    return mpirun.command(engine.wanted, engine.hosts, names, decision.cwd, grace, inner)


def drive(options: Options, target: Target, run_id: str) -> int:
    """Starts the ranks by the engine and waits for their end. Returns the exit code of the job."""
    from mgelaunch.cli.terms import terms  # noqa: PLC0415 - options of ranks are read late

    decision = decided(options, target, run_id)
    engine = engine_of(decision, options)
    asked = terms(options, decision.resolution.layers, decision.cwd, several=True)
    say_at_start(decision.findings)
    if decision.errors:
        return refuse(decision.errors)
    from mgelaunch.cli.judgement import Watch, conclude  # noqa: PLC0415
    from mgelaunch.launch.records import Records, Subject  # noqa: PLC0415
    from mgelaunch.report.text import masked_command  # noqa: PLC0415

    folder = asked.log_dir or _runs(decision)
    subject = Subject(run_id, os.uname().nodename, masked_command(decision.plan.processes[0].argv), engine.wanted.world)
    try:
        records = Records.below(folder, subject)
    except OSError as error:
        raise Failure(f"{folder}, where the records go, cannot be made: {error.strerror}", "log.directory") from None
    command = command_of(engine, decision, run_id, asked.rules.grace)
    environment = _environment(engine, decision, options, run_id, records.folder, logs=bool(asked.log_dir))
    watch = Watch(records.folder, engine.wanted.world, asked.rules.grace + _MARGIN)
    ended = _run(command, environment, decision, asked.rules.grace, asked.rules.time_limit, watch)
    return conclude(records, watch, ended, engine.word, asked.rules)


def _run(
    command: tuple[str, ...],
    environment: Mapping[str, str],
    decision: Decision,
    grace: float,
    time_limit: float | None,
    watch: "Watch",
) -> Ended:
    from mgelaunch.launch.events import Rules  # noqa: PLC0415

    program = shutil.which(command[0], path=decision.environ.get("PATH"))
    if program is None:
        raise Failure(f"{command[0]} is not there: --cluster needs the engine's own command", "cluster.command")
    process = Process(0, program, command, decision.cwd, {})
    rules = Rules(grace=grace + _MARGIN, time_limit=time_limit)
    sys.stdout.flush()
    try:
        return run_engine(process, environment, _reins(command, environment), rules, watch.patience, complain)
    except OSError as error:
        raise Failure(f"{command[0]} cannot be started: {error.strerror}", "cluster.command") from None


def _reins(command: Sequence[str], environment: Mapping[str, str]) -> Reins:
    if command[0] != "srun":
        return Direct()
    name = next(word.partition("=")[2] for word in command if word.startswith("--job-name="))
    step = srun.Step(environment["SLURM_JOB_ID"], name)
    return ByCommand(environment, step.find(), step.identity, srun.tell)


def _environment(
    engine: Engine, decision: Decision, options: Options, run_id: str, folder: str, *, logs: bool
) -> dict[str, str]:
    """What the engine gets: our own environment, and what was resolved, as one word."""
    said = decision.resolution.layers
    target = decision.target
    document = {
        "version": __version__,
        "run_id": run_id,
        "folder": folder,
        "logs": logs,
        "world": engine.wanted.world,
        "per_node": engine.wanted.per_node,
        "colour": coloured(os.isatty(1)),
        "layers": to_document(said),
        "options": _travelling(options, decision)._asdict(),
        "target": list(target) if target else None,
        "said": [[finding.code, finding.message] for finding in decision.findings],
    }
    word = packed(document)
    if len(word) > _MOST_CARRIED:
        raise Failure("the settings are too long for one variable of an environment", "cluster.size")
    environment = {**_clean(decision.environ), CARRIER: word}
    if engine.word == "slurm":
        return srun.environment(environment)
    port = {"MASTER_PORT": str(agreed_port(run_id))} if "MASTER_PORT" not in environment else {}
    first = {"MASTER_ADDR": engine.hosts[0]} if "MASTER_ADDR" not in environment else {}
    return {**environment, **port, **first}


def _travelling(options: Options, decision: Decision) -> Options:
    """The options that a rank has to know; what layers say of them has been read already."""
    kept = ("allow_unknown", "strict", "ignore", "no_check", "rendezvous", "join_timeout", "grace", "bind_cpus", "fix")
    said = {name: getattr(options, name) for name in (*kept, "keep_shell")}
    return Options(**said, python=decision.interpreter.path or options.python)


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what another launcher may have left: a rank would believe it."""
    stale = {*RANK_NAMES, "TORCHELASTIC_RUN_ID"}
    return {name: text for name, text in environ.items() if name not in stale}


def _runs(decision: Decision) -> str:
    """Where records go when nobody says; git is told to leave them alone."""
    root = project_root(decision.cwd, os.path.expanduser("~")) or decision.cwd
    folder = os.path.join(root, ".mgelaunch", "runs")
    with suppress(OSError):  # the records tell, which go to the same place
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, ".gitignore"), "x", encoding="utf-8") as file:
            file.write("*\n")
    return folder


def ourselves() -> tuple[str, ...]:
    """The words that start mgelaunch, as this process was started, from any directory of any node."""
    program = os.path.abspath(sys.argv[0])
    is_script = os.path.basename(program) == "mgelaunch" and os.access(program, os.X_OK)
    return (program,) if is_script else (sys.executable, "-m", "mgelaunch")
