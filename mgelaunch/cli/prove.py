"""``check --prove``: asks the frameworks of the target what they have made of the settings."""

import errno
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mgelaunch.catalogue.names import is_secret
from mgelaunch.checks.proof import Proof, asked, differing, judged, questions, unasked
from mgelaunch.cli.decide import Decision
from mgelaunch.cli.judge import is_setting, judge
from mgelaunch.cli.options import Options
from mgelaunch.cli.say import complain
from mgelaunch.environment.profile_values import seconds
from mgelaunch.environment.resolve import Resolution
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding
from mgelaunch.host.files import Files
from mgelaunch.host.measure import Host
from mgelaunch.launch.command import Command
from mgelaunch.launch.fixes import IN_PROCESS
from mgelaunch.launch.inquiry import MOST_TRIES, Fault, Inquired, inquire
from mgelaunch.launch.plan import Process, complete_environment
from mgelaunch.launch.prove import Failure, Start
from mgelaunch.report.proof import proof_document, proof_lines, without_secrets
from mgelaunch.report.text import duration
from mgelaunch.target.answers import Question

_REFUSED = "`mgelaunch run` would refuse"
_CODES = {"died": "prove.died", "hang": "prove.hang", "import": "prove.import"}
_HAPPENED = {"died": "python died", "hang": "python hung", "import": "an import failed"}


class Proven(NamedTuple):
    """What to print, for people and as JSON, and what there is to say."""

    lines: tuple[str, ...]
    document: list[dict[str, Any]]
    findings: tuple[Finding, ...]


def deadline(text: str) -> float:
    """The seconds of ``--prove-timeout``.

    Raises:
        UsageError: it is no duration.
    """
    told = seconds(text)
    if not told:
        raise UsageError("--prove-timeout takes a duration with its unit, such as 90s or 5min")
    return told


def prove(decision: Decision, options: Options, limit: float, *, full: bool) -> Proven:
    """Starts the target's interpreter as the first rank would be, each time for at most `limit` seconds, and holds what
    it reads back against what is asked.

    Raises:
        Interrupted: a signal ended it.
    """
    if not decision.interpreter.path:
        why = (finding for finding in decision.interpreter.findings if finding not in decision.findings)
        return _nothing("there is no Python", *why)
    if _is_refused(decision):
        return _nothing(_REFUSED, Finding("info", "prove.refused", f"nothing is proved, because {_REFUSED}"))
    layers, settings = decision.resolution.layers, asked(decision.resolution)
    environment = complete_environment(decision.environ, decision.plan.processes[0].environment)
    try:
        told = _inquire(
            questions(settings, full=full), _start(decision, decision.fixes & IN_PROCESS), environment, limit
        )
    except OSError as error:
        return _nothing("it could not be", _unstarted(decision.interpreter.path, error))
    told = _without_secrets(told, _secrets(environment, decision.resolution))
    missing = {name: f"{why} in {decision.interpreter.path}" for name, why in told.missing.items()}
    proofs = judged(settings, told.reads, missing, _cpus(decision))
    found = map(_accused, told.faults)
    absent = () if told.imports else unasked(proofs, missing)
    findings = judge([*found, *absent, *differing(proofs, decision.fixes)], options, layers)
    return Proven(_lines(decision, proofs, told, findings), proof_document(proofs), findings)


def _inquire(questions: Sequence[Question], start: Start, environment: Mapping[str, str], limit: float) -> Inquired:
    def searching(failure: Failure) -> None:
        most = f"{MOST_TRIES} starts at most, of {duration(limit)} each at most"
        complain(f"mgelaunch: {_HAPPENED[failure.kind]}; looking for the variable to blame, in {most}")

    return inquire(questions, start, environment, limit, searching)


def _lines(decision: Decision, proofs: Sequence[Proof], told: Inquired, findings: Sequence[Finding]) -> tuple[str, ...]:
    process, world = decision.plan.processes[0], decision.plan.world
    rank = f"rank {process.rank} of {world}" if world > 1 else ""
    said = [line for fault in told.faults for line in fault.lines]
    return proof_lines(proofs, told.imports, findings, said, python=decision.interpreter.path, rank=rank)


def _secrets(environment: Mapping[str, str], resolution: Resolution) -> list[str]:
    """The values that nobody is to see."""
    marked = {setting.name for setting in resolution.settings.values() if setting.secret}
    return [text for name, text in environment.items() if name in marked or is_secret(name)]


def _nothing(why: str, *findings: Finding) -> Proven:
    """That no interpreter was started."""
    return Proven((f"proof   nothing was started, because {why}",), [], findings)


def _unstarted(python: str, error: OSError) -> Finding:
    """Why the kernel does not start it."""
    if error.errno == errno.E2BIG:
        return Finding("error", "target.size", f"the environment of {python} is too long for the kernel")
    return Finding("error", "target.permission", f"{python} cannot be started: {error.strerror}", (), "--python PATH")


def _is_refused(decision: Decision) -> bool:
    """Whether a setting or the target is wrong. That this host lacks something is no obstacle."""
    return any(is_setting(error.code) or error.code.startswith("target.") for error in decision.errors)


def _start(decision: Decision, fixes: frozenset[str]) -> Start:
    """What starts the interpreter as `run` would start the script of the first rank."""
    process, python = decision.plan.processes[0], decision.interpreter.path

    def start(words: tuple[str, ...]) -> Process:
        command = Command(python, (python, *words))
        if fixes:
            from mgelaunch.launch.bootstrapped import bootstrapped  # noqa: PLC0415 - few proofs ask for it

            command = bootstrapped(command, guard=False, fixes=fixes)
        return process._replace(program=command.program, argv=command.argv)

    return start


def _without_secrets(told: Inquired, secrets: Sequence[str]) -> Inquired:
    """What frameworks say themselves, without the secrets of the environment."""

    def hide(text: str) -> str:
        return without_secrets(text, secrets)

    reads = {name: read._replace(error=hide(read.error)) for name, read in told.reads.items()}
    faults = [
        fault._replace(
            failure=fault.failure._replace(sentence=hide(fault.failure.sentence)), lines=tuple(map(hide, fault.lines))
        )
        for fault in told.faults
    ]
    return told._replace(reads=reads, faults=tuple(faults))


def _cpus(decision: Decision) -> frozenset[int]:
    """How many CPUs, and how many cores, the first rank may use."""
    cpus = decision.facts.cpus if decision.facts else Host(Files(), decision.environ).cpus
    allowed = frozenset(decision.plan.processes[0].cpus or cpus.allowed)
    return frozenset({len(allowed), sum(not allowed.isdisjoint(core) for core in cpus.cores)})


def _accused(fault: Fault) -> Finding:
    """The finding about a failure."""
    code, sentence, blame, names = _CODES[fault.failure.kind], fault.failure.sentence, fault.blame, fault.guilty
    if blame.broken:
        remedy = "--prove-timeout 10min" if fault.failure.kind == "hang" else "--python PATH"
        alike = "it is so with none of the variables that mgelaunch knows, too"
        return Finding("error", code, f"{sentence}; {alike}", (), remedy)
    if not names:
        unknown = f"which variable is to blame was not found out in {blame.tries} starts"
        return Finding("error", code, f"{sentence}; {unknown}")
    every = [name for group in blame.guilty for name in group]
    who = names[0] if len(names) == 1 else f"{_listing(names)} together"
    without = "without it" if len(every) == 1 else f"without {_listing(every)}"
    works = f"; {without}, it works" if blame.works else ""
    remedy = " ".join(f"--unset {name}" for name in names)
    return Finding("error", code, f"{who}: {sentence}{works}", names, remedy)


def _listing(names: Sequence[str]) -> str:
    """``A``, ``A and B``, ``A, B and C``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
