"""Variables whose moment has passed in a process that is running already."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.variable import Framework, Moment, Variable
from mgelaunch.finding import Finding


class Imports(NamedTuple):
    """Modules whose import reads a variable, and modules after whose import some call of theirs, or a library that
    only some of their builds have, may have read it.
    """

    read: Collection[str] = ()
    may_read: Collection[str] = ()


_COMPUTING = ("megengine", "torch", "numpy")
_OPENMP = Imports(("torch",), ("megengine", "numpy"))
_OF_LIBRARIES: Mapping[str, Imports] = {
    "OMP_NUM_THREADS": Imports(_COMPUTING),
    "OPENBLAS_NUM_THREADS": Imports(("numpy",)),
    "MKL_NUM_THREADS": _OPENMP,
    "MKL_DYNAMIC": _OPENMP,
    "OMP_PROC_BIND": _OPENMP,
    "GOMP_CPU_AFFINITY": _OPENMP,
    "KMP_AFFINITY": Imports((), _COMPUTING),
    "NUMEXPR_NUM_THREADS": Imports(("numexpr",)),
    "OPENCV_OPENCL_RUNTIME": Imports((), ("cv2",)),
    "HIP_VISIBLE_DEVICES": Imports((), ("torch",)),
    "ROCR_VISIBLE_DEVICES": Imports((), ("torch",)),
}
"""Variables that libraries read (calls of getenv measured with MegEngine 1.13.0, torch 2.13.0, NumPy 1.26 and 2.4)."""

_DRIVEN: Mapping[Framework, tuple[str, ...]] = {"cuda": ("megengine", "torch"), "nccl": ("megengine", "torch")}
"""Modules that load what is no module itself, at some call after their import."""

_PERHAPS: Mapping[Moment, str] = {
    "import": "may have loaded what reads {}",
    "exit_too": "may have loaded what reads {}",
    "first_device": "may have opened its first device, when {} is read",
    "first_tensor": "may have made its first tensor, when {} is read",
    "first_use": "may have read {}, at the first use of what it is for",
}


def imports_of(variable: Variable) -> Imports:
    """Which modules read `variable`, and which may have done so once they are imported."""
    if variable.name in _OF_LIBRARIES:
        return _OF_LIBRARIES[variable.name]
    frameworks = [reader.framework for reader in variable.readers if not reader.builds]
    modules = [name for name in frameworks if name in {"megengine", "brevitas", "torch"}]
    driving = [module for name in frameworks for module in _DRIVEN.get(name, ())]
    if variable.moment in {"import", "exit_too"}:
        return Imports(modules, [module for module in driving if module not in modules])
    return Imports((), [*modules, *driving])


def late(changed: Iterable[str], loaded: Iterable[str]) -> Iterator[Finding]:
    """What there is to say about variables that a running process is about to change.

    `loaded` are the modules that it has imported, without their submodules, first imported first. An error says that
    nobody would notice the change, a warning that nobody can tell. A variable that is read at each use, or by
    nobody, is none of our business.
    """
    known = tuple(loaded)
    for name in changed:
        variable = CATALOGUE.get(name)
        if variable is None or variable.moment in {"each_use", "never"}:
            continue
        if variable.moment == "start":
            yield Finding("error", "late.start", f"{name} is read when Python starts, {_STARTING}", (name,))
            continue
        imports = imports_of(variable)
        reader = next((module for module in known if module in imports.read), "")
        perhaps = next((module for module in known if module in imports.may_read), "")
        if reader:
            yield Finding("error", "late.import", f'{name} is read by "import {reader}", {_IMPORTED}', (name,))
        elif perhaps:
            message = f"{perhaps} is imported already, and {_PERHAPS[variable.moment].format(name)}"
            yield Finding("warning", "late.unknown", message, (name,))


_STARTING = (
    'which has happened: mgelaunch kernel install and mgelaunch run set it in time, ignore="late.start" leaves it to '
    "child processes"
)
_IMPORTED = "which has happened: restart the kernel and call activate() first"
