"""``--cluster slurm|mpi``: resolves once, has the engine start the ranks, and gives the verdict on how they ended."""

import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from mgelaunch import __version__
from mgelaunch.catalogue.kinds import Unmeasured
from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.judgement import Watch, conclude
from mgelaunch.cli.options import Options
from mgelaunch.cli.say import coloured, complain, refuse, say_at_start
from mgelaunch.cli.standing import RANK_NAMES, machines
from mgelaunch.cli.terms import Terms, terms
from mgelaunch.clusters import mpirun, srun
from mgelaunch.clusters.engine import Wanted
from mgelaunch.clusters.hostlist import NotAList, hosts
from mgelaunch.clusters.ports import agreed_port
from mgelaunch.environment.layers import single
from mgelaunch.environment.resolve import owned
from mgelaunch.environment.settle import UNMEASURED
from mgelaunch.environment.shipping import packed, to_document
from mgelaunch.environment.source import INHERITED
from mgelaunch.errors import Failure, UsageError
from mgelaunch.host.files import whole
from mgelaunch.launch.command import Target
from mgelaunch.launch.engine import ByCommand, Direct, Ended, Reins, run_engine
from mgelaunch.launch.events import Rules
from mgelaunch.launch.plan import Process
from mgelaunch.launch.records import Records, Subject, runs_of
from mgelaunch.report.text import escaped, masked_command

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
    if options.node_rank or options.standalone:
        raise UsageError("--node-rank and --standalone are for ranks that mgelaunch starts itself, without --cluster")
    said = options.nnodes or single(layers, "nnodes")
    number = machines(said)
    allocation = decision.found.allocation if decision.found else ""
    if word == "mpi":
        named = _hosts(options.hosts or decision.environ.get("SLURM_JOB_NODELIST", ""))
        nodes = number or len(named) or 1
        places = named or (("localhost",) if nodes == 1 else ())
        if len(places) < nodes:
            raise UsageError(f"--cluster mpi needs the names of {said or 'the'} hosts: --hosts n1,n2 or --hosts n[1-2]")
        return Engine(word, Wanted(nodes, per_node), places[:nodes], "")
    granted = decision.environ.get("SLURM_JOB_NUM_NODES", "") if allocation else ""
    return Engine(word, Wanted(number or whole(granted) or 1, per_node), (), allocation)


def _hosts(text: str) -> tuple[str, ...]:
    try:
        named = hosts(text)
    except NotAList as error:
        raise UsageError(f"--hosts is no list of hosts: {error}") from None
    if not all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in named) or len(set(named)) < len(named):
        raise UsageError("--hosts takes names or IPv4 addresses, each once; -n says how many ranks each has")
    return named


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
    decision = decided(options, target, run_id)
    engine = engine_of(decision, options)
    asked = terms(options, decision.resolution.layers, decision.cwd, several=True)
    say_at_start(decision.findings)
    if decision.errors:
        return refuse(decision.errors)
    records = _records(decision, engine, asked, run_id)
    try:
        command = command_of(engine, decision, run_id, asked.rules.grace)
        environment = _environment(engine, decision, options, records.folder, asked)
        watch = Watch(records.folder, engine.wanted.world, asked.rules.grace + _MARGIN)
        ended = _run(command, environment, decision, asked, watch)
    except Failure:
        with suppress(OSError):
            os.rmdir(records.folder)  # nothing was started, and nothing is to tell of it
        raise
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # all has ended, and the last word takes seconds at the most
    return conclude(records, watch, ended, engine.word, asked.rules)


def _records(decision: Decision, engine: Engine, asked: Terms, run_id: str) -> Records:
    subject = Subject(run_id, os.uname().nodename, masked_command(decision.plan.processes[0].argv), engine.wanted.world)
    folder = asked.log_dir
    try:
        folder = folder or runs_of(decision.project)
        records = Records.below(folder, subject)
    except OSError as error:
        where = folder or error.filename
        raise Failure(f"{where}, where the records go, cannot be made: {error.strerror}", "log.directory") from None
    if asked.log_dir:
        complain(f"mgelaunch: logs and records are in {escaped(records.folder)}")
    return records


def _run(
    command: tuple[str, ...],
    environment: Mapping[str, str],
    decision: Decision,
    asked: Terms,
    watch: Watch,
) -> Ended:
    program = shutil.which(command[0], path=decision.environ.get("PATH"))
    if program is None:
        raise Failure(f"{command[0]} is not there: --cluster needs the engine's own command", "cluster.command")
    process = Process(0, program, command, decision.cwd, {})
    rules = Rules(grace=asked.rules.grace + _MARGIN, time_limit=asked.rules.time_limit)
    sys.stdout.flush()
    try:
        return run_engine(process, environment, _reins(command, environment, watch), rules, watch.patience, complain)
    except OSError as error:
        raise Failure(f"{command[0]} cannot be started: {error.strerror}", "cluster.command") from None


def _reins(command: Sequence[str], environment: Mapping[str, str], watch: Watch) -> Reins:
    if command[0] != "srun":
        return Direct(watch.are_running)
    name = next(word.partition("=")[2] for word in command if word.startswith("--job-name="))
    step = srun.Step(environment["SLURM_JOB_ID"], name)
    return ByCommand(environment, step.find(), step.identity, srun.tell)


def _environment(engine: Engine, decision: Decision, options: Options, folder: str, asked: Terms) -> dict[str, str]:
    """What the engine gets: our own environment, and what was resolved, as one word."""
    said = decision.resolution.layers
    target = decision.target
    document = {
        "version": __version__,
        "run_id": os.path.basename(folder),
        "folder": folder,
        "logs": bool(asked.log_dir),
        "world": engine.wanted.world,
        "per_node": engine.wanted.per_node,
        "colour": coloured(os.isatty(1)),
        "quiet": asked.quiet,
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
    port = {"MASTER_PORT": str(agreed_port(folder))} if "MASTER_PORT" not in environment else {}
    first = {"MASTER_ADDR": engine.hosts[0]} if "MASTER_ADDR" not in environment else {}
    return {**environment, **port, **first}


def _travelling(options: Options, decision: Decision) -> Options:
    """The options that a rank has to know; what layers say of them has been read already."""
    kept = ("allow_unknown", "strict", "ignore", "no_check", "rendezvous", "join_timeout", "grace", "bind_cpus", "fix")
    said = {name: getattr(options, name) for name in (*kept, "guard", "keep_shell")}
    return Options(**said, python=decision.interpreter.path or options.python)


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what another launcher may have left: a rank would believe it."""
    stale = {*RANK_NAMES, "TORCHELASTIC_RUN_ID"}
    return {name: text for name, text in environ.items() if name not in stale}


def ourselves() -> tuple[str, ...]:
    """The words that start mgelaunch, as this process was started, from any directory of any node."""
    program = os.path.abspath(sys.argv[0])
    is_script = os.path.basename(program) == "mgelaunch" and os.access(program, os.X_OK)
    return (program,) if is_script else (sys.executable, "-m", "mgelaunch")
