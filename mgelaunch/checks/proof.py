"""What a job asks for, held against what its frameworks read back."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from mgelaunch.catalogue.kinds import Value
from mgelaunch.catalogue.variable import Moment, Variable
from mgelaunch.environment.resolve import Resolution, Setting
from mgelaunch.environment.source import Source
from mgelaunch.finding import Finding
from mgelaunch.host.amounts import counted
from mgelaunch.target.answers import Question, Read

State = Literal["proved", "capped", "predicted", "shown", "unproved", "differs"]
"""Read back as asked; less than asked because there are no more CPUs; not read back but foretold; read back where
nobody knows what to expect; not read back; read back, and something else.
"""
_FRAMEWORKS = ("megengine", "torch", "brevitas")
"""Those that can be asked, in the order in which they are imported."""
_OWN = frozenset({Source.DERIVED, Source.OWNED})
"""What mgelaunch adds by itself: of interest only where it can be proved."""


class Proof(NamedTuple):
    """One row: what was asked for, what is in effect (None: unknown), and why there is no more to say."""

    setting: Setting
    state: State
    effect: str | None = None
    why: str = ""

    @property
    def name(self) -> str:
        """The variable."""
        return self.setting.name

    @property
    def moment(self) -> Moment | None:
        """When it is read; None where no catalogue has it."""
        return self.setting.variable.moment if self.setting.variable else None


def asked(resolution: Resolution) -> tuple[Setting, ...]:
    """What is to be proved: all that the job sets or removes, and what it inherits and can be read back."""
    return tuple(setting for setting in resolution.settings.values() if not setting.wrong and _is_asked(setting))


def _is_asked(setting: Setting) -> bool:
    if setting.variable and setting.variable.readback:
        return True
    is_own = setting.winner.source in _OWN or (setting.variable is None and setting.winner.source is Source.FLAG)
    return not setting.inherited and not is_own


def questions(settings: Sequence[Setting], *, full: bool) -> tuple[Question, ...]:
    """What to ask, each question of an interpreter of its own: no script imports MegEngine beside torch, and they might
    not bear each other. Brevitas is imported, with all that this takes, only when it is to be `full`.
    """
    readings = {setting.name: reading for setting in settings if (reading := _reading(setting))}
    anywhere = {name: reading for name, reading in readings.items() if not reading[0]}
    found = []
    for mates in (("megengine",), ("torch", "brevitas")):
        wanted = [name for name in mates if any(_wants(setting, name, full=full) for setting in settings)]
        quick = "brevitas" in wanted and not full
        reads = {name: reading for name, reading in readings.items() if reading[0] in mates}
        if wanted:
            found.append(Question(tuple(name for name in wanted if full or name != "brevitas"), quick, reads))
    if anywhere:
        first = found[0] if found else Question()
        found[:1] = [first._replace(reads={**first.reads, **anywhere})]
    return tuple(found)


def _wants(setting: Setting, framework: str, *, full: bool) -> bool:
    """Whether the framework has to be there for this setting: to read it back, or because its import might fail. That
    of torch takes seconds, so it has to be worth it.
    """
    variable = setting.variable
    if variable is None or all(reader.framework != framework for reader in variable.readers):
        return False
    return bool(variable.readback) or (setting.text is not None and (full or framework != "torch"))


def _reading(setting: Setting) -> tuple[str, str] | None:
    """The framework that reads it back and the expression; None when there is none."""
    if setting.variable is None or not setting.variable.readback:
        return None
    readers = {reader.framework for reader in setting.variable.readers}
    return next((name for name in _FRAMEWORKS if name in readers), ""), setting.variable.readback


def _framework(setting: Setting) -> str:
    """The framework that reads it back; empty when none does."""
    reading = _reading(setting)
    return reading[0] if reading else ""


def judged(
    settings: Sequence[Setting], reads: Mapping[str, Read], missing: Mapping[str, str], cpus: Collection[int]
) -> tuple[Proof, ...]:
    """Each setting with what was read back. `missing` tells why a framework could not be asked, `cpus` are numbers of
    CPUs and of cores: libraries take no more threads than that.
    """
    return tuple(_judged(setting, reads.get(setting.name), missing, cpus) for setting in settings)


def _judged(setting: Setting, read: Read | None, missing: Mapping[str, str], cpus: Collection[int]) -> Proof:
    variable = setting.variable
    if variable is None:
        return Proof(setting, "unproved", why="no catalogue has it")
    if read is None or read.text is None:
        return Proof(setting, "unproved", why=_why(setting, variable, read, missing))
    row = Proof(setting, "proved", read.text)
    expected = _expected(setting)
    if read.predicted or variable.moment == "first_device":  # torch foretells, and no device is opened
        return row._replace(state="predicted")
    if _agree(variable, expected, read.text):
        return row
    if expected is None:
        return row._replace(state="shown")
    if variable.capped and (state := _of_threads(expected, read.text, cpus)):
        return row._replace(state=state, why="there are no more CPUs" if state == "capped" else "")
    return row._replace(state="differs")


def _of_threads(expected: str, text: str, cpus: Collection[int]) -> Literal["proved", "capped", ""]:
    """How far a number of threads is in effect; the first one is meant where there is one for each level of nesting."""
    wanted, given = int(expected.partition(",")[0]), int(text)
    if given == wanted:
        return "proved"
    return "capped" if given < wanted and given in cpus else ""


def _expected(setting: Setting) -> str | None:
    """What should be in effect: what was asked for, or else the framework's default as far as it is known."""
    return setting.text if setting.text is not None or setting.variable is None else setting.variable.default


def _agree(variable: Variable, expected: str | None, text: str) -> bool:
    """Whether the framework's `text` means what was expected (None: that the variable is absent)."""
    if text == expected or (variable.spelled and expected and text == _spelled(variable, expected.upper())):
        return True
    reading = variable.kind.read(text) if text.strip() == text != "" else None
    return isinstance(reading, Value) and reading.text == expected


def _spelled(variable: Variable, text: str) -> str:
    return dict(variable.spelled).get(text, text)


def _why(setting: Setting, variable: Variable, read: Read | None, missing: Mapping[str, str]) -> str:
    if read:
        return read.error
    if not variable.readback:
        return {"never": "nobody reads it", "import": "nothing shows it", "start": "nothing shows it"}.get(
            variable.moment, "it is read later"
        )
    return missing.get(_framework(setting), "the interpreter did not come so far")


def unasked(proofs: Sequence[Proof], missing: Mapping[str, str]) -> Iterator[Finding]:
    """A finding when no framework was there to be asked: all is well then, as far as the rows say. `missing` tells why,
    of each that was looked for.
    """
    theirs = [row for row in proofs if not row.setting.inherited and _framework(row.setting) in missing]
    if theirs:
        reasons = "; ".join(dict.fromkeys(missing[_framework(row.setting)] for row in theirs))
        message = f"{reasons}: nothing is proved of {counted(len(theirs), 'setting')}"
        yield Finding("warning", "prove.missing", message, tuple(row.name for row in theirs), "--python PATH")


def differing(proofs: Sequence[Proof], fixes: Collection[str]) -> Iterator[Finding]:
    """A finding for each value that is not in effect; `fixes` are those of ``--fix`` that are at work."""
    for proof in proofs:
        place = proof.setting.winner.place or proof.setting.winner.where
        if proof.state == "differs":
            message = _difference(proof, "in effect")
            fix = proof.setting.variable.fix if proof.setting.variable else ""
            remedy = f"--fix {fix}" if fix and fix not in fixes else ""
            yield Finding("error", "prove.differs", message, (proof.name,), remedy, place)
        elif proof.state == "predicted" and not foretold_as_asked(proof):
            message = _difference(proof, "to be expected is")
            remedy = "" if proof.moment == "first_device" else "--prove-full"
            yield Finding("warning", "prove.predicted", message, (proof.name,), remedy, place)


def foretold_as_asked(proof: Proof) -> bool:
    """Whether a value that is predicted is the one that was asked for."""
    variable, effect = proof.setting.variable, proof.effect
    return variable is None or effect is None or _agree(variable, _expected(proof.setting), effect)


def _difference(proof: Proof, verb: str) -> str:
    setting, variable = proof.setting, proof.setting.variable
    if setting.secret:
        return f"{proof.name}: what is in effect is not what was asked for"
    wish = setting.text if setting.text is not None else f"the default, {_expected(setting)}"
    instead = f"; instead: {variable.instead}" if variable and variable.instead else ""
    return f"{proof.name}: asked {wish}, {verb} {proof.effect}{instead}"
