"""From options to a decision: gathers the world, resolves, checks, plans. Starts nothing."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mgelaunch.cli.examine import examine, recorded_facts
from mgelaunch.cli.gather import gather
from mgelaunch.cli.job import Job
from mgelaunch.cli.judge import judge, only_of_host
from mgelaunch.cli.options import Options
from mgelaunch.cli.standing import as_task, driving, unready
from mgelaunch.cli.surroundings import home_directory, inherited_environment, own_packages, working_directory
from mgelaunch.environment.layers import Layers, listed, single
from mgelaunch.environment.project import project_root
from mgelaunch.environment.relative import Measure
from mgelaunch.environment.resolve import Resolution, resolve
from mgelaunch.environment.settle import World
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding
from mgelaunch.host.cpus import share
from mgelaunch.host.facts import HostFacts
from mgelaunch.host.files import Files
from mgelaunch.host.measure import Host
from mgelaunch.launch.command import Command, Target, find_command
from mgelaunch.launch.fixes import IN_PROCESS, apply
from mgelaunch.launch.plan import Plan, plan
from mgelaunch.target.interpreter import Interpreter, Surroundings, choose

if TYPE_CHECKING:  # only jobs of several ranks pay for these
    from mgelaunch.cli.meeting import Meeting
    from mgelaunch.cli.terms import Terms
    from mgelaunch.clusters.placement import Found, Task
    from mgelaunch.environment.shipping import Shipped


class Supervision(NamedTuple):
    """How ranks are to be watched and where they meet (None: nowhere that is known). ``again`` makes the plan anew for
    an attempt and a port. ``hosts``: MegEngine's server, if it is asked for, is kept on this machine.
    """

    terms: "Terms"
    meeting: "Meeting | None"
    again: Callable[[int, int], Plan]
    hosts: bool = True


class Decision(NamedTuple):
    """All that a command needs to print or to act: nothing in it is changed any more.

    ``ranks`` has the resolution of each process of the plan, ``resolution`` is the first; ``facts`` is what was
    measured of the host, None with ``--no-check``. ``supervision`` is there where ranks are planned, ``found``
    where an engine has left its variables. ``fixes`` are in force: asked for, and within reach.
    """

    environ: Mapping[str, str]
    cwd: str
    target: Target | None
    interpreter: Interpreter
    resolution: Resolution
    plan: Plan
    findings: tuple[Finding, ...]
    ranks: tuple[Resolution, ...] = ()
    facts: HostFacts | None = None
    supervision: Supervision | None = None
    found: "Found | None" = None
    fixes: frozenset[str] = frozenset()

    @property
    def task(self) -> "Task | None":
        """The rank that an engine has started as this very process."""
        return as_task(self.found.placement) if self.found else None

    @property
    def project(self) -> str:
        """The directory of the project, or the working directory where there is none."""
        return project_root(self.cwd, home_directory()) or self.cwd

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid a start."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def decide(
    options: Options,
    target: Target | None = None,
    *,
    run_id: str = "",
    alone: bool = False,
    thorough: bool = False,
    measure: Measure | None = None,
    shipped: "Shipped | None" = None,
    environ: Mapping[str, str] | None = None,
) -> Decision:
    """Resolves `options` in the surroundings of this process and plans the start of `target`.

    `run_id` is what ``{run_id}`` becomes; empty leaves the placeholder, because it is chosen at a start.
    `alone`: one process, however many ranks a profile asks for. `thorough` measures all of the host, not only what
    the settings ask for. `measure` takes the place of this host, `environ` that of our own environment; `shipped` is
    what another host has read.

    Raises:
        UsageError: the options contradict each other or cannot be understood.
    """
    environ = inherited_environment() if environ is None else environ
    cwd, home = working_directory(), home_directory()
    host = Host(Files(), environ, recorded_facts(options.facts, cwd) if options.facts else None)
    job = gather(options, environ, cwd, run_id, host, lone=alone, measure=measure, shipped=shipped)
    fixes, undone = _fixes(options, job.layers, environment_only=alone and target is None)
    asked = _terms(options, job, cwd, alone=alone, driven=shipped is not None)
    interpreter = _interpreter(options, environ, cwd, home, job.layers)
    if asked or job.task:
        from mgelaunch.cli.meeting import ready  # noqa: PLC0415 - few starts have ranks

        job = ready(job, asked, interpreter, home, starting=bool(run_id))
    allowed = [*(options.allow_unknown or ()), *listed(job.layers, "allow-unknown")]

    def resolved(worlds: Sequence[World]) -> tuple[Resolution, ...]:
        first, *others = worlds
        like = resolve(job.layers, first, allow_unknown=allowed)
        ranks = (like, *(resolve(job.layers, world, allow_unknown=allowed, like=like) for world in others))
        return tuple(apply(fixes, rank, _search_path(rank, environ)) for rank in ranks)

    ranks = resolved(job.worlds)
    path = _search_path(ranks[0], environ)
    command = _command(target, interpreter, cwd, path, options, job.layers, fixes) if target else None
    if command and any(finding.code == "guard.command" for finding in command.findings):
        fixes -= IN_PROCESS  # there is no process of a script in which to act
    cpus, unbound = _bindings(options, job, host)
    findings = [finding for rank in ranks for finding in rank.findings]
    findings += [*job.findings, *(command.findings if command else ()), *unbound]
    findings += [*unready(options, job.layers, job.found), *undone]
    place, problems = _place(ranks[0], job, asked, interpreter, home, recorded=bool(options.facts))
    findings += problems
    facts = None
    if not options.no_check:
        examined = examine(ranks, job, host, interpreter, home, path=path, fixes=fixes, thorough=thorough)
        facts, findings = examined.facts, [*findings, *examined.findings]
    if not thorough:
        findings = [finding for finding in findings if not only_of_host(finding)]
    judged = judge(findings, options, job.layers)

    def planned(ranks: Iterable[Resolution]) -> Plan:
        environments = [rank.exported for rank in ranks]
        return plan(command, cwd, environments, cpus, supervised=asked is not None, first=job.first, world=job.world)

    def again(attempt: int, port: int) -> Plan:
        from mgelaunch.cli.meeting import with_placeholders  # noqa: PLC0415

        moved = with_placeholders(job, restart_count=str(attempt), master_port=str(port))
        return planned(resolved(moved.worlds))

    supervision = Supervision(asked, place, again, job.hosts) if asked else None
    return Decision(
        *(environ, cwd, target, interpreter, ranks[0], planned(ranks), judged, ranks, facts, supervision, job.found),
        fixes=fixes,
    )


def _place(
    first: Resolution, job: Job, asked: "Terms | None", interpreter: Interpreter, home: str, *, recorded: bool
) -> "tuple[Meeting | None, Iterable[Finding]]":
    """Where the ranks meet, and why they cannot. Only the machine of the first of all ranks can tell, and it need not
    where other machines are to find something that is not ours. `recorded`: the facts are of another host.
    """
    if not asked:
        return None, ()
    from mgelaunch.cli.meeting import find_meeting  # noqa: PLC0415 - few starts have ranks

    ours = asked.rendezvous or job.world == len(job.worlds)
    return find_meeting(first, asked, interpreter, home, here=job.hosts and ours and not recorded)


def _terms(options: Options, job: Job, cwd: str, *, alone: bool, driven: bool) -> "Terms | None":
    """How the ranks are to be watched; None when there are none. `driven`: by a job of ours that an engine has started.

    Raises:
        UsageError: an option needs ranks and there are none, or it cannot be understood.
    """
    from mgelaunch.cli.terms import terms, without_ranks  # noqa: PLC0415 - few starts have ranks

    task = job.task
    if options.hosts and not driving(options, job.layers, task):
        raise UsageError("--hosts belongs to --cluster mpi")
    if job.planned or driven:
        return terms(options, job.layers, cwd, several=job.world > max(job.planned, 1))
    if alone or driving(options, job.layers, task):
        return None
    if option := without_ranks(options, is_rank=task is not None):
        why = "add -n 1, or more" if not task else f"this one is started by {task.engine}, and watched there"
        raise UsageError(f"{option} needs ranks that mgelaunch starts and watches: {why}")
    if task and task.rank == 0 and (options.rendezvous or single(job.layers, "rendezvous")):
        return terms(options, job.layers, cwd, several=True)  # a parent stays beside rank 0 for MegEngine's server
    return None


def _interpreter(options: Options, environ: Mapping[str, str], cwd: str, home: str, layers: Layers) -> Interpreter:
    root, named, of_profile = project_root(cwd, home), options.python or "", single(layers, "python")
    return choose(Surroundings(environ, cwd, root, sys.executable, own_packages(), named, of_profile))


def _search_path(resolution: Resolution, environ: Mapping[str, str]) -> str:
    path = resolution.get("PATH") if "PATH" in resolution.settings else environ.get("PATH")
    return path or os.defpath


def _fixes(options: Options, layers: Layers, *, environment_only: bool) -> tuple[frozenset[str], Iterable[Finding]]:
    """What is to be repaired, and what cannot be: an `environment_only` does nothing in the process of a script."""
    asked = frozenset({*(options.fix or ()), *listed(layers, "fix")})
    if options.fix:
        from mgelaunch.environment.profile_values import FIXES  # noqa: PLC0415 - few starts ask for one

        if unknown := sorted(set(options.fix) - set(FIXES)):
            raise UsageError(f"--fix knows {', '.join(FIXES)}, not {', '.join(unknown)}")
    guard = options.guard or single(layers, "guard") == "True"
    undone = [*(["--guard"] if guard else []), *(f"--fix {name}" for name in sorted(asked & IN_PROCESS))]
    if not environment_only or not undone:
        return asked, ()
    message = f"{' and '.join(undone)} can do nothing here: no environment does it, only a start by mgelaunch run"
    return asked - IN_PROCESS, [Finding("warning", "guard.command", message)]


def _command(
    target: Target,
    interpreter: Interpreter,
    cwd: str,
    path: str,
    options: Options,
    layers: Layers,
    fixes: frozenset[str],
) -> Command:
    """What runs `target`, with the bootstrap where something is to be done inside its process."""
    command = find_command(target, interpreter, cwd, path)
    guard = options.guard or single(layers, "guard") == "True"
    if not (guard or fixes & IN_PROCESS):
        return command
    from mgelaunch.launch.bootstrapped import bootstrapped  # noqa: PLC0415 - few starts ask for it

    return bootstrapped(command, guard=guard, fixes=fixes & IN_PROCESS)


def _bindings(options: Options, job: Job, host: Host) -> tuple[Sequence[tuple[int, ...]], Iterable[Finding]]:
    """The CPUs of each process, none when they are not bound."""
    asked = options.bind_cpus or single(job.layers, "bind-cpus")
    if asked != "cores":
        return (), ()
    ranks = job.share.cpu_ranks
    first = job.share.local_rank if ranks > 1 else 0
    shares = [share(host.cpus, first + number, ranks) for number in range(len(job.worlds))]
    if all(shares):
        return shares, ()
    usable = len(host.cpus.allowed)
    if first + len(job.worlds) > ranks:
        message = f"there is no share of the CPUs for LOCAL_RANK {first}, because LOCAL_WORLD_SIZE is {ranks}"
    elif not usable:
        message = "the CPUs that the job may use cannot be measured here"
    else:
        message = f"{ranks} local ranks cannot have a CPU each, because the job may use {usable}"
    return (), [Finding("error", "cpu.bind", message, (), "--bind-cpus none", "--bind-cpus")]
