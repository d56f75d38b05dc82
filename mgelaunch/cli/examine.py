"""Holds a job against target and host: measures what the settings ask for, and runs every check."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from mgelaunch.catalogue.variable import Framework
from mgelaunch.checks.builds import BUILDS, SEARCHED_BY, building
from mgelaunch.checks.caches import CACHES, cache_directories
from mgelaunch.checks.cards import asks_about_cards
from mgelaunch.checks.device_memory import DEVICE_MEMORY
from mgelaunch.checks.devices import DEVICES
from mgelaunch.checks.host_memory import HOST_MEMORY
from mgelaunch.checks.kernel_limits import KERNEL_LIMITS
from mgelaunch.checks.processors import PROCESSORS
from mgelaunch.checks.readers import unread
from mgelaunch.checks.repairs import REPAIRS
from mgelaunch.checks.shared_memory import SHARED_MEMORY
from mgelaunch.checks.situation import Check, Situation
from mgelaunch.checks.together import together
from mgelaunch.cli.job import Job
from mgelaunch.environment.resolve import Resolution
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding, alternatives
from mgelaunch.host.facts import HostFacts
from mgelaunch.host.measure import Host
from mgelaunch.host.placement import place
from mgelaunch.host.totals import wishes
from mgelaunch.target.interpreter import Interpreter

_CHECKS: tuple[Check, ...] = (
    *DEVICES,
    *DEVICE_MEMORY,
    *HOST_MEMORY,
    *SHARED_MEMORY,
    *PROCESSORS,
    *CACHES,
    *KERNEL_LIMITS,
    *BUILDS,
    *REPAIRS,
)


class Examined(NamedTuple):
    """What was measured, and what there is to say."""

    facts: HostFacts
    findings: tuple[Finding, ...]


def examine(
    ranks: tuple[Resolution, ...],
    job: Job,
    host: Host,
    interpreter: Interpreter,
    home: str,
    *,
    path: str,
    fixes: frozenset[str],
    thorough: bool,
) -> Examined:
    """All findings about the whole of `ranks`. `thorough` measures also what no setting asks for; `path` is where
    the job looks for programs.
    """

    @cache
    def installed(names: frozenset[str]) -> dict[str, str]:
        from mgelaunch.target.installed import installed_versions  # noqa: PLC0415 - few settings ask for it

        return installed_versions(interpreter.path, home, names) if interpreter.path else {}

    asks = job.planned > 0 or any(map(asks_about_cards, ranks))
    builds = any(map(building, ranks))
    search = (path, {name: text for name in SEARCHED_BY if (text := ranks[0].get(name))})
    places = dict.fromkeys(place for rank in ranks for place in cache_directories(rank))
    facts = host.facts(devices=thorough or asks, places=places, tools=search if thorough or builds else None)
    of_target, python = _requirements(job, interpreter)

    def situation(known: HostFacts) -> Situation:
        wished = wishes([rank.get for rank in ranks], job.share.local_rank)
        placements = place(wished, job.share.device_ranks, known.devices) if known.devices else ()
        bound = job.share.cpu_ranks < job.share.local_ranks
        return Situation(
            ranks, job.share.local_ranks, known, placements, installed, python, fixes, bound=bound, thorough=thorough
        )

    # A start judges by what it measures, which is what its settings ask for.
    asked_for = facts._replace(devices=facts.devices if asks else None, tools=facts.tools if builds else None)
    findings = list(_findings(situation(asked_for), (*of_target, *_CHECKS)))
    if thorough and not asks:
        findings += [_of_host(finding) for check in DEVICES for finding in check(situation(facts))]
    return Examined(facts, tuple(findings))


def _requirements(job: Job, interpreter: Interpreter) -> tuple[tuple[Check, ...], str]:
    """What holds ``[requires]`` against the target, and its Python's version; nothing where neither is known."""
    if not (job.layers.requires and interpreter.path):
        return (), ""
    from mgelaunch.checks.requirements import REQUIREMENTS  # noqa: PLC0415 - only a profile with [requires] pays
    from mgelaunch.target.installed import python_version  # noqa: PLC0415

    return REQUIREMENTS, python_version(interpreter.path)


def _of_host(finding: Finding) -> Finding:
    """A finding about cards that the job does not ask for."""
    return finding._replace(severity="info", about="host")


def _findings(situation: Situation, checks: Sequence[Check]) -> Iterator[Finding]:
    def version(framework: Framework) -> str:
        return situation.installed(frozenset({"megengine", "brevitas", "torch"})).get(framework, "")

    done = {f"--fix {name}" for name in situation.fixes}
    told = [unread(resolution, version) for resolution in situation.ranks]
    told += [together(resolution) for resolution in situation.ranks]
    for finding in chain.from_iterable((*told, *(check(situation) for check in checks))):
        if done.isdisjoint(alternatives(finding.remedy)):
            yield finding


def recorded_facts(path: str, cwd: str) -> HostFacts:
    """The facts in a file that ``check --format json`` wrote on some machine.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    import json  # noqa: PLC0415 - only --facts pays

    from mgelaunch.host.recorded import NoFacts, from_document  # noqa: PLC0415 - only --facts pays

    try:
        with open(os.path.join(cwd, path), "rb") as file:
            return from_document(json.loads(file.read(1 << 24)))
    except OSError as error:
        raise UsageError(f"the facts of --facts cannot be read: {path}: {error.strerror}") from None
    except NoFacts as error:
        raise UsageError(f"the file of --facts holds no facts of a host: {error}") from None
    except (ValueError, RecursionError):
        raise UsageError("the file of --facts is no JSON, or not all of it") from None
