"""Programs and headers that frameworks compile with: what is missing, and what a killed build left behind."""

from collections.abc import Iterator

from mgelaunch.checks.caches import extension_directory
from mgelaunch.checks.situation import Check, Situation
from mgelaunch.environment.resolve import Resolution
from mgelaunch.finding import Finding

_JIT, _NATIVE = "BREVITAS_JIT", "BREVITAS_NATIVE_STE_BACKEND"
_EXTENSIONS, _HEADERS = "TORCH_EXTENSIONS_DIR", "CUDA_BIN_PATH"
SEARCHED_BY = ("CXX", _HEADERS)
"""Variables of the job that say where the programs and headers are."""
_FALLBACK = "Brevitas falls back to its Python estimators, in silence unless BREVITAS_VERBOSE=1"


def brevitas_tools(situation: Situation) -> Iterator[Finding]:
    """The C++ estimators need ninja at every import and a compiler for the build (measured on Brevitas 0.13.4)."""
    names = _building(situation)
    if not names:
        return
    off = " ".join(f"-e {name}=0" for name in names)
    if _missing(situation, "ninja"):
        known = situation.installed(frozenset({"ninja"}))
        where = "is in the target, but its folder is not on the job's PATH" if known else "is not on the job's PATH"
        remedy = off if known else f"pip install ninja  or  {off}"
        message = f"ninja {where}, and without it {_FALLBACK}"
        yield Finding("warning", "brevitas.cxx", message, names, remedy, situation.place(names[0]))
    if _missing(situation, "c++"):
        said = situation.get("CXX") is not None
        what = "the compiler of CXX" if said else "the compiler c++"
        message = f"{what} is not on the job's PATH; if the extension is not built already, {_FALLBACK}"
        remedy = f"{'-e CXX=c++' if said else 'apt-get install g++'}  or  {off}"
        concerned = (*names, "CXX") if said else names
        yield Finding("warning", "brevitas.cxx", message, concerned, remedy, situation.place(names[0]))


def stale_locks(situation: Situation) -> Iterator[Finding]:
    """A lock file makes torch wait without end and in silence, even when the build is complete (measured on 2.13.0)."""
    path = extension_directory(situation.resolution)
    locks = [lock for place in situation.facts.storage if place.path == path for lock in place.stale_locks]
    if locks:
        import shlex  # noqa: PLC0415 - only a lock pays

        many = f"{len(locks)} lock files" if len(locks) > 1 else "a lock file"
        where = _EXTENSIONS if situation.get(_EXTENSIONS) else path
        message = (
            f"{many} in {where}, older than ten minutes, may be left from a build that was killed; "
            "the import that needs the extension, as Brevitas' does, then hangs"
        )
        names = (_EXTENSIONS,) if situation.get(_EXTENSIONS) else _building(situation)
        place = situation.place(names[0]) if names else ""
        yield Finding("warning", "brevitas.lock", message, names, f"rm {shlex.join(locks)}", place)


def cuda_headers(situation: Situation) -> Iterator[Finding]:
    """MegEngine's JIT looks for headers in ``include`` below and beside ``CUDA_BIN_PATH`` (from source)."""
    if not situation.get(_HEADERS) or not _missing(situation, "cuda_runtime.h"):
        return
    message = (
        f"there is no cuda_runtime.h in include below or beside {_HEADERS}, so the JIT finds no CUDA headers there"
    )
    yield Finding("warning", "cuda.headers", message, (_HEADERS,), f"--unset {_HEADERS}", situation.place(_HEADERS))


def _building(situation: Situation) -> tuple[str, ...]:
    """The settings that have Brevitas load its extension. ``PYTORCH_JIT=0`` cancels the first of them (measured)."""
    jit = situation.get(_JIT) == "1" and situation.get("PYTORCH_JIT") != "0"
    return tuple(name for name, on in ((_JIT, jit), (_NATIVE, situation.get(_NATIVE) == "1")) if on)


def building(resolution: Resolution) -> bool:
    """Whether anything of the job may be compiled, so that what it takes must be looked for."""
    return any(resolution.get(name) not in {None, "0"} for name in (_JIT, _NATIVE, _HEADERS))


def _missing(situation: Situation, name: str) -> bool:
    """Whether the tool was looked for and not found."""
    return any(tool.name == name and not tool.path for tool in situation.facts.tools or ())


BUILDS: tuple[Check, ...] = (brevitas_tools, stale_locks, cuda_headers)
