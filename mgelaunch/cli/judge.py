"""Which findings count: what the user ignores, what --strict makes of warnings, what a start keeps to itself."""

from collections.abc import Iterable, Sequence

from mgelaunch.cli.options import Options
from mgelaunch.environment.layers import Layers, listed, single
from mgelaunch.finding import Finding, alternatives, either


def judge(findings: Iterable[Finding], options: Options, layers: Layers) -> tuple[Finding, ...]:
    """Leaves out what the user ignores (never a wrong setting) and makes warnings errors when strict."""
    strict = options.strict or single(layers, "strict") == "True"
    named = (*(options.ignore or ()), *listed(layers, "ignore"))
    ignored = frozenset(code.strip() for text in named for code in text.split(","))
    kept = [
        finding
        for finding in dict.fromkeys(findings)
        if finding.code not in ignored or (finding.severity == "error" and not _can_be_ignored(finding.code))
    ]
    kept = [_possible(finding, [text.partition("=")[0] for text in options.assign or ()]) for finding in kept]
    return tuple(finding.as_error() for finding in kept) if strict else tuple(kept)


def _possible(finding: Finding, assigned: Sequence[str]) -> Finding:
    """The finding without the advice to unset what --set sets: both together are a usage error."""
    remedies = alternatives(finding.remedy)
    possible = [text for text in remedies if not (text.startswith("--unset ") and text.split()[1] in assigned)]
    if len(possible) == len(remedies):
        return finding
    name = next(text for text in remedies if text not in possible).split()[1]
    return finding._replace(remedy=either(possible) or f"without -e {name}")


def only_of_host(finding: Finding) -> bool:
    """What is merely true of the host, and notes that concern no setting: they are for ``check``."""
    return finding.severity == "info" and (finding.about == "host" or not finding.names)


def _can_be_ignored(code: str) -> bool:
    return not is_setting(code) and not code.startswith("target.")


_SETTING_AREAS = frozenset({"value", "name", "file", "envfile", "profile", "reference", "launch", "format"})


def is_setting(code: str) -> bool:
    """Whether a finding of this code says that a setting itself is wrong (exit code 3, not 4)."""
    return code.partition(".")[0] in _SETTING_AREAS
