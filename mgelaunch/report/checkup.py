"""``mgelaunch check`` for people: each topic with a mark, its findings with remedies, a last line that counts."""

from collections.abc import Iterable, Sequence

from mgelaunch.finding import Finding
from mgelaunch.host.amounts import counted
from mgelaunch.host.facts import HostFacts
from mgelaunch.report.host import Measured, host_lines
from mgelaunch.report.text import escaped, padded

_MARKS = {"error": "ERROR", "warning": "warn", "info": "note"}
_COLUMN = max(map(len, _MARKS.values())) + 1
_TOPIC_OF = {
    "dev": "devices",
    "dtr": "devices",
    "resv": "devices",
    "mem": "memory",
    "shm": "shm",
    "plasma": "shm",
    "cgroup2": "shm",
    "cpu": "cpus",
    "numa": "cpus",
    "cache": "storage",
    "jit": "storage",
    "limit": "limits",
    "brevitas": "tools",
    "cuda": "tools",
    "requires.device-memory": "devices",
    "requires.host-memory": "memory",
    "requires.shared-memory": "shm",
    "requires": "target",
    "target": "target",
    "cluster": "cluster",
}
"""The topic of a code, or of all codes of an area; all others are about settings."""


def topic(code: str) -> str:
    """Under which topic a finding of this code is shown."""
    return _TOPIC_OF.get(code) or _TOPIC_OF.get(code.partition(".")[0]) or "settings"


def checkup(
    settings: str,
    target: Measured,
    facts: HostFacts | None,
    findings: Sequence[Finding],
    places: Sequence[str] = (),
    *,
    ranks: int = 0,
    cluster: str = "",
) -> tuple[str, ...]:
    """The lines of the whole report. `settings` is a sentence, `facts` is None when nothing was measured, `places` are
    the directories that settings name, `ranks` is how many are planned (0: mgelaunch becomes the one process),
    `cluster` is what an engine says of this process, empty when none does.
    """
    told = [("settings", Measured(settings)), ("target", target)]
    if cluster or any(topic(finding.code) == "cluster" for finding in findings):
        told.append(("cluster", Measured(cluster or "no rank of any engine")))
    told += (
        list(host_lines(facts, places)) if facts else [("host", Measured("not looked at (--no-check)", known=False))]
    )
    by_topic = {name: [finding for finding in findings if topic(finding.code) == name] for name, _ in told}
    columns = max(len(name) for name, _ in told) + 2
    lines: list[str] = []
    for name, measured in told:
        lines += _topic_lines(name, measured, by_topic[name], columns)
    return (*lines, f"{_counts(told, by_topic, findings)}. {_outcome(findings, ranks)}")


def _topic_lines(name: str, measured: Measured, findings: Sequence[Finding], columns: int) -> Iterable[str]:
    """The errors and warnings of a topic, then what was measured, then notes; the mark stands on the first line."""
    first = name
    for severity in ("error", "warning"):
        for finding in findings:
            if finding.severity == severity:
                yield from _finding_lines(_MARKS[severity], first, finding, columns)
                first = ""
    mark = "" if not first else "ok" if measured.known else "?"
    yield f"{mark:{_COLUMN}}{padded(first, columns)}{escaped(measured.text)}".rstrip()
    for finding in findings:
        if finding.severity == "info":
            yield from _finding_lines(_MARKS["info"], "", finding, columns)


def _finding_lines(mark: str, name: str, finding: Finding, columns: int) -> Iterable[str]:
    place = f"{finding.place}: " if finding.place else ""
    sentence = escaped(f"{place}{finding.message}")
    yield f"{mark:{_COLUMN}}{padded(name, columns)}{sentence}  {finding.code}"
    if finding.remedy:
        yield f"{'':{_COLUMN + columns + 2}}{escaped(finding.remedy)}"


def _judged(findings: Iterable[Finding]) -> bool:
    return any(finding.severity != "info" for finding in findings)


def _counts(
    told: Sequence[tuple[str, Measured]], by_topic: dict[str, list[Finding]], findings: Sequence[Finding]
) -> str:
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = sum(finding.severity == "warning" for finding in findings)
    quiet = [measured for name, measured in told if not _judged(by_topic[name])]
    fine = sum(measured.known for measured in quiet)
    counts = (counted(errors, "error"), counted(warnings, "warning"), f"{fine} ok", f"{len(quiet) - fine} not checked")
    return ", ".join(counts)


def _outcome(findings: Sequence[Finding], ranks: int) -> str:
    """What a start would do."""
    if any(finding.severity == "error" for finding in findings):
        return "`mgelaunch run` with these options would refuse."
    if ranks:
        return f"`mgelaunch run` with these options would start {counted(ranks, 'rank')}."
    return "`mgelaunch run` with these options would start."
