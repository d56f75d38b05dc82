"""``mgelaunch.activate()``: what ``run`` decides, carried out in the process that asks for it."""

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import ModuleType, TracebackType
from typing import NamedTuple

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.checks.late import late
from mgelaunch.cli.api import settings_of
from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.judge import judge
from mgelaunch.cli.options import Options
from mgelaunch.cli.say import say_at_start
from mgelaunch.cli.surroundings import inherited_environment
from mgelaunch.environment.source import INHERITED, Source
from mgelaunch.errors import Failure
from mgelaunch.finding import Finding
from mgelaunch.launch.plan import complete_environment
from mgelaunch.report.text import line, shown

_changed: dict[str, tuple[str | None, str | None]] = {}
"""What calls have changed in this process: for each variable what the shell had said, and what stands there since."""

_WRITTEN_BY = {"CUDA_MODULE_LOADING": "megengine", "TORCHINDUCTOR_CACHE_DIR": "torch", "LD_LIBRARY_PATH": "cv2"}
"""Variables that the import of a module writes (measured): nobody has said what stands there then."""


class NotActivated(Failure):
    """`activate` has refused, and has changed nothing. The message has a line for each error; ``findings`` are all."""

    __module__ = "mgelaunch"

    def __init__(self, findings: Sequence[Finding]) -> None:
        errors = [finding for finding in findings if finding.severity == "error"]
        lines = [line(error).removeprefix("mgelaunch: error: ") for error in errors]
        super().__init__("\n  ".join(("nothing was changed:", *lines)), errors[0].code)
        self.findings = tuple(findings)


class Activation(NamedTuple):
    """What a call of `activate` has changed in ``os.environ``: in ``changes`` a text for each variable that it set and
    None for each that it removed, in ``former`` what stood there before. ``decision`` tells where each value comes
    from, and ``earlier`` is what calls before this one had changed. As a context manager it is undone at the end.
    """

    changes: Mapping[str, str | None]
    former: Mapping[str, str | None]
    decision: Decision
    earlier: Mapping[str, tuple[str | None, str | None]]

    def undo(self) -> None:
        """Puts back into ``os.environ`` what stood there before. What a framework has read it keeps."""
        _write(self.former)
        _remember(self.earlier)

    def __enter__(self) -> "Activation":  # noqa: PYI034 - Self is in typing from Python 3.11 on
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.undo()

    def __repr__(self) -> str:
        """One line for each change, with secrets masked: a notebook shows the value of a cell."""
        if not self.changes:
            return "activate: there was nothing to change"
        return "\n".join(["activate:", *(f"  {self._described(name, text)}" for name, text in self.changes.items())])

    def _described(self, name: str, text: str | None) -> str:
        if text is None:
            return f"{name} removed"
        setting = self.decision.resolution.settings[name]
        return f"{name}={shown(text, secret=setting.secret)}  ({setting.winner.where})"


def activate(
    profile: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    *,
    settings: Mapping[str, str] | None = None,
    unset: Iterable[str] = (),
    env_files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    device: str = "",
    gpu_ids: str = "",
    threads: str = "",
    ignore: Iterable[str] = (),
) -> Activation:
    """Does to ``os.environ`` of this process what ``mgelaunch run`` with these options does to that of a script.

    The arguments are the options of the same name; `profile` is a name or a path, or several. The interpreter is the
    running one, and there is one process, whatever a profile says of ranks. What there is to say goes to stderr, as
    at a start. A variable of which this call says nothing stays as an earlier call has left it; what it speaks of is
    decided as if that call had not been.

    A variable that was read before this call is an error (``late.start``, ``late.import``), unless its value is
    there already; one that may have been read is a warning (``late.unknown``). `ignore` takes their codes, too.

    Raises:
        NotActivated: there is an error, and nothing was changed.
        UsageError: the arguments contradict each other.
    """
    options = settings_of(profile, settings, unset, env_files)._replace(
        device=_option(device),
        gpu_ids=_option(gpu_ids),
        threads=_option(threads),
        ignore=[ignore] if isinstance(ignore, str) else list(ignore),
        python=sys.executable or None,
    )
    loaded = _loaded()
    seen = _seen(loaded)
    decision = _decided(options, seen)
    changes, told = _in_time(_changes(decision, seen), loaded, decision)
    findings = (*decision.findings, *judge((*told, *_left_out(decision)), options, decision.resolution.layers))
    if any(finding.severity == "error" for finding in findings):
        raise NotActivated(findings)
    if sys.stderr is not None and not (decision.task and decision.task.rank):
        say_at_start(findings)
    return _carry_out(changes, decision)


def _option(said: object) -> str | None:
    """The text of an argument, also of a number; None where nothing was said."""
    return None if said is None else str(said) or None


def _decided(options: Options, seen: Mapping[str, str]) -> Decision:
    """The decision, to which a variable that an earlier call has set is no shell's if this one speaks of it, too: a
    profile's default would give way to itself. What somebody has changed since is theirs.
    """
    decision = decide(options, run_id=_run_id(), alone=True, environ=seen)
    said = decision.resolution.layers.assignments
    spoken = [name for name in _changed if any(each.source not in INHERITED for each in said.get(name, ()))]
    ours = {name: _changed[name][0] for name in spoken if _changed[name][1] == seen.get(name)}
    if not ours:
        return decision
    return decide(options, run_id=_run_id(), alone=True, environ=complete_environment(seen, ours))


def _loaded() -> tuple[str, ...]:
    """The modules that are imported, without submodules, in their order. A part left of a failed import counts."""
    modules: list[tuple[str, ModuleType | None]] = list(sys.modules.items())
    return tuple(dict.fromkeys(name.partition(".")[0] for name, module in modules if module is not None))


def _given() -> dict[str, str]:
    """The environment that this process was started with, as far as the kernel still tells."""
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = [os.fsdecode(entry).partition("=") for entry in file.read().split(b"\0")]
    except OSError:
        return {}
    return {name: text for name, equals, text in entries if equals}


def _seen(loaded: Sequence[str]) -> dict[str, str]:
    """The environment without what imports have written there on their own account."""
    given, seen = _given(), inherited_environment()
    for name, module in _WRITTEN_BY.items():
        if module in loaded and name not in _changed:
            seen.pop(name, None)
            seen |= {name: given[name]} if name in given else {}
    return seen


def _changes(decision: Decision, seen: Mapping[str, str]) -> dict[str, str | None]:
    """What is to be changed for all that is wanted to be there: nothing that is there already."""
    exported = decision.plan.processes[0].environment
    wanted = complete_environment(decision.environ, exported)
    taken_back = [name for name in _changed if decision.environ.get(name) != seen.get(name)]
    names = dict.fromkeys((*exported, *taken_back))
    there = {name: (os.environ.get(name), seen.get(name)) for name in names}
    return {name: wanted.get(name) for name in names if wanted.get(name) not in there[name]}


def _in_time(
    changes: Mapping[str, str | None], loaded: Sequence[str], decision: Decision
) -> tuple[dict[str, str | None], list[Finding]]:
    """The changes, without those that are too late and that nobody but mgelaunch has asked for, and what there is to
    say about the others.
    """
    told = list(late(_judged(changes), loaded))
    errors = {name for finding in told if finding.severity == "error" for name in finding.names}
    settings = decision.resolution.settings
    left = {name for name in errors if name in settings and settings[name].winner.source is Source.DERIVED}
    kept = {name: text for name, text in changes.items() if name not in left}
    return kept, [finding for finding in told if left.isdisjoint(finding.names)]


def _judged(changes: Mapping[str, str | None]) -> list[str]:
    """The changes that may come too late. This interpreter may have been started with the very value."""
    given = _given()
    at_start = {name for name in changes if (known := CATALOGUE.get(name)) and known.moment == "start"}
    return [name for name, text in changes.items() if name not in at_start or given.get(name) != text]


def _left_out(decision: Decision) -> Iterable[Finding]:
    """What a profile asks of a start that is more than a variable."""
    if decision.plan.processes[0].cpus:
        rest = "activate() changes variables only, mgelaunch run does the rest"
        yield Finding("warning", "activate.launch", f"left out of [launch]: bind-cpus; {rest}")


@cache
def _run_id() -> str:
    """What ``{run_id}`` becomes, the same in every call of this process."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def _carry_out(changes: Mapping[str, str | None], decision: Decision) -> Activation:
    former, earlier = {name: os.environ.get(name) for name in changes}, dict(_changed)
    _write(changes)
    names = (*decision.plan.processes[0].environment, *changes)
    _remember(earlier | {name: (decision.environ.get(name), os.environ.get(name)) for name in names})
    return Activation(changes, former, decision, earlier)


def _write(changes: Mapping[str, str | None]) -> None:
    """All of `changes`, or none when a text cannot be written in the encoding of the file system."""
    for text in changes.values():
        os.fsencode(text or "")
    for name, text in changes.items():
        if text is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = text


def _remember(what: Mapping[str, tuple[str | None, str | None]]) -> None:
    _changed.clear()
    _changed.update({name: both for name, both in what.items() if both[0] != both[1]})
