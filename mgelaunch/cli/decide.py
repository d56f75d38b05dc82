"""From options to a decision: gathers the world, resolves, checks, plans. Starts nothing."""

import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from mgelaunch import __version__
from mgelaunch.catalogue.names import is_portable
from mgelaunch.catalogue.variable import Framework
from mgelaunch.checks.caches import caches
from mgelaunch.checks.processors import processors
from mgelaunch.checks.readers import unread
from mgelaunch.checks.together import together
from mgelaunch.cli.options import Options
from mgelaunch.cli.surroundings import (
    home_directory,
    inherited_environment,
    own_packages,
    placeholders,
    places,
    working_directory,
)
from mgelaunch.environment.flags import implied
from mgelaunch.environment.layers import Layers, Request, read_layers
from mgelaunch.environment.library import project_root
from mgelaunch.environment.project import find_env_file
from mgelaunch.environment.resolve import Resolution, resolve
from mgelaunch.environment.settle import World
from mgelaunch.environment.source import Assignment
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding
from mgelaunch.host.totals import measure
from mgelaunch.launch.command import Command, Target, find_command
from mgelaunch.launch.plan import Plan, plan_one
from mgelaunch.target.installed import installed_versions, python_version
from mgelaunch.target.interpreter import Interpreter, Surroundings, choose


class Decision(NamedTuple):
    """All that a command needs to print or to act: nothing in it is changed any more."""

    environ: Mapping[str, str]
    cwd: str
    target: Target | None
    interpreter: Interpreter
    resolution: Resolution
    plan: Plan
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid a start."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def decide(options: Options, target: Target | None = None, *, run_id: str = "") -> Decision:
    """Resolves `options` in the surroundings of this process and plans the start of `target`.

    `run_id` is what ``{run_id}`` becomes; empty leaves the placeholder, because it is chosen at a start.
    """
    environ, cwd = inherited_environment(), working_directory()
    home = home_directory()
    layers, world = _read(options, environ, cwd, home, run_id)
    allowed = [*(options.allow_unknown or ()), *_listed(layers, "allow-unknown")]
    resolution = resolve(layers, world, allow_unknown=allowed)
    root = project_root(cwd, home)
    profile_python = _single(layers, "python")
    around = Surroundings(environ, cwd, root, sys.executable, own_packages(), options.python or "", profile_python)
    interpreter = choose(around)
    command = _command(target, interpreter, cwd, resolution, environ)
    findings = [*resolution.findings, *(command.findings if command else ())]
    if target:
        findings += _unavailable(layers)
    if not options.no_check:
        findings += _checks(resolution, interpreter, home)
    strict = options.strict or _single(layers, "strict") == "True"
    ignored = frozenset((*(options.ignore or ()), *_listed(layers, "ignore")))
    judged = _judge(findings, strict=strict, ignored=ignored)
    return Decision(environ, cwd, target, interpreter, resolution, plan_one(command, cwd, resolution.exported), judged)


def _read(options: Options, environ: Mapping[str, str], cwd: str, home: str, run_id: str) -> tuple[Layers, World]:
    found = find_env_file(cwd, project_root(cwd, home), home)
    from_environment = [name.strip() for name in environ.get("MGELAUNCH_PROFILE", "").split(",") if name.strip()]
    request = Request(
        environ=environ,
        places=places(environ, cwd),
        version=__version__,
        profiles=tuple(options.profile or from_environment),
        profiles_from="--profile" if options.profile else "MGELAUNCH_PROFILE",
        env_file="" if options.no_env_file else found,
        env_files=tuple(options.env_file or ()),
        keep_shell=tuple(options.keep_shell or ()),
        flags=tuple(_flags(options)),
        sets=tuple(_split(text) for text in options.assign or ()),
        unsets=tuple(options.unset or ()),
    )
    _usage(request, options)
    ranks = placeholders(environ) | {"run_id": run_id or "{run_id}"}
    world = World(cwd, home, measure, ranks, max(1, int(ranks["local_world_size"])))
    return read_layers(request, world), world


def _flags(options: Options) -> Iterable[Assignment]:
    for key, value in (("device", options.device), ("gpu-ids", options.gpu_ids), ("threads", options.threads)):
        if value:
            yield from implied(key, value, f"--{key}")


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError("--set takes NAME=VALUE, and one of them has no '='; to remove a variable: --unset NAME")
    return name, value


def _usage(request: Request, options: Options) -> None:
    names = [name for name, _ in request.sets]
    for name in (*names, *request.unsets):
        if not is_portable(name):
            raise UsageError("a variable's name has letters, digits and _ only, and does not begin with a digit")
    if both := sorted(set(names) & set(request.unsets)):
        raise UsageError(f"{', '.join(both)} cannot be both --set and --unset")
    texts = {"--device": options.device, "--gpu-ids": options.gpu_ids, "--threads": options.threads}
    for option, text in {**texts, "--python": options.python, "-n": options.ranks}.items():
        if text is not None and not text.strip():
            raise UsageError(f"{option} is empty; leave it out to say nothing")
    if options.ranks is not None and options.ranks.startswith("="):
        raise UsageError(f"write -n {options.ranks[1:]}, not -n{options.ranks}")
    if options.ranks is not None:
        raise UsageError(
            "-n is not available yet: this version starts one process; torchrun or your own launcher "
            "can start ranks, each through mgelaunch run"
        )


def _command(
    target: Target | None, interpreter: Interpreter, cwd: str, resolution: Resolution, environ: Mapping[str, str]
) -> Command | None:
    if target is None:
        return None
    path = resolution.get("PATH") if "PATH" in resolution.settings else environ.get("PATH")
    return find_command(target, interpreter, cwd, path or os.defpath)


def _checks(resolution: Resolution, interpreter: Interpreter, home: str) -> Iterable[Finding]:
    @cache
    def installed(names: frozenset[str]) -> dict[str, str]:
        return installed_versions(interpreter.path, home, names) if interpreter.path else {}

    def version(framework: Framework) -> str:
        return installed(frozenset({"megengine", "brevitas", "torch"})).get(framework, "")

    yield from unread(resolution, version)
    yield from together(resolution)
    yield from caches(resolution)
    yield from processors(resolution)
    if resolution.layers.requires and interpreter.path:
        from mgelaunch.checks.requirements import requirements  # noqa: PLC0415 - only [requires] pays

        yield from requirements(resolution.layers.requires, python_version(interpreter.path), installed)


_HONOURED = frozenset({"device", "gpu-ids", "threads", "python", "keep-shell", "ignore", "allow-unknown", "strict"})


def _unavailable(layers: Layers) -> Iterable[Finding]:
    """An error for each key of ``[launch]`` that a start would have to honour and this version cannot."""
    for key in layers.launch:
        if key.key not in _HONOURED:
            message = f"[launch] {key.key} needs a supervisor of ranks, which this version does not have"
            yield Finding("error", "launch.ranks", message, (), "", key.place)


def _judge(findings: Iterable[Finding], *, strict: bool, ignored: frozenset[str]) -> tuple[Finding, ...]:
    """Leaves out what the user ignores (never a wrong setting) and makes warnings errors when strict."""
    kept = [
        finding
        for finding in dict.fromkeys(findings)
        if finding.code not in ignored or (finding.severity == "error" and not _can_be_ignored(finding.code))
    ]
    return tuple(finding.as_error() for finding in kept) if strict else tuple(kept)


def _can_be_ignored(code: str) -> bool:
    return not is_setting(code) and not code.startswith("target.")


_SETTING_AREAS = frozenset({"value", "name", "file", "envfile", "profile", "reference", "launch", "format"})


def is_setting(code: str) -> bool:
    """Whether a finding of this code says that a setting itself is wrong (exit code 3, not 4)."""
    return code.partition(".")[0] in _SETTING_AREAS


def _listed(layers: Layers, key: str) -> list[str]:
    return [item for entry in layers.launch if entry.key == key for item in entry.items]


def _single(layers: Layers, key: str) -> str:
    values = [str(entry.value) for entry in layers.launch if entry.key == key]
    return values[-1] if values else ""
