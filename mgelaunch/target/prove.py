"""Reads back what the frameworks have made of the environment. Run by the training interpreter, by path:

    python prove.py FD REQUEST

REQUEST is JSON: ``{"imports": ["megengine"], "quick": false, "reads": {NAME: [FRAMEWORK, EXPRESSION]}}``. The modules
are imported in their order, then each expression is evaluated with the module of its framework at hand. Tells what
happens on the descriptor FD, one JSON object a line, so that whoever listens knows how far it came:

``{"at": "megengine"}`` before an import and ``{"imported": "megengine", "version": "1.13.0", "seconds": 0.8}`` after
it, or ``{"missing": "megengine", "why": "..."}``, or ``{"failed": "megengine", "error": "ValueError: ..."}`` as its
last word; ``{"reading": NAME}``, then ``{"read": NAME, "text": "2", "predicted": false}`` or ``{"read": NAME, "error":
"..."}``; ``{"end": true}``.

With ``quick`` Brevitas is not imported, which takes seconds and may compile for half a minute. Its ``config.py`` is
executed alone, with empty modules in the place of torch; a job that sets PYTORCH_JIT has torch imported before, and
then the real one is there. What torch could change is predicted, and so is whether the extension would load. The rules
are those of Brevitas 0.13.4 and of ``torch.utils.cpp_extension`` of torch 2.13.0.

Only the standard library and the frameworks are here, in the language of Python 3.7: mgelaunch is not installed there.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import time
import types
from collections.abc import Iterator
from typing import Any, NoReturn

EXTENSION = "autograd_ste_ops"
"""The name under which Brevitas has its C++ source built."""
LOADED = "NATIVE_STE_BACKEND_LOADED"
"""What tells, in Brevitas, whether it was loaded."""


class Failed(Exception):
    """A module cannot be imported, which has been told."""


class Lacking(Exception):
    """Something cannot be read; the text says why."""


class Teller:
    """Writes events, whole lines only."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # what the frameworks start cannot keep it open
        self._descriptor = descriptor

    def say(self, **event: object) -> None:
        """Writes one event; a listener that has gone hears nothing."""
        line = json.dumps(event).encode() + b"\n"
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._descriptor, line) :]


class Reader:
    """Imports, and evaluates with what it has imported. ``predicted`` are attributes that were not really read."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._modules: dict[str, Any] = {}
        self._predicted: frozenset[str] = frozenset()
        self._lacking = ""

    def load(self, name: str) -> None:
        """Imports a module, if it is there.

        Raises:
            Failed: it is, and cannot be imported.
        """
        if not present(name):
            self._teller.say(missing=name, why=f"{name} is not installed")
            return
        self._teller.say(at=name)
        began = time.monotonic()
        try:
            module = importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - whatever stops the import, and be it exit()
            self._fail(name, error)
        self._loaded(name, module, str(getattr(module, "__version__", "")), began)

    def configure(self) -> None:
        """Puts Brevitas' configuration in the place of its module, if it is there.

        Raises:
            Failed: an import of Brevitas would fail likewise.
        """
        lacking = [name for name in ("brevitas", "torch") if not present(name)]
        if lacking:
            self._teller.say(missing="brevitas", why=f"{lacking[0]} is not installed")
            return
        self._teller.say(at="brevitas")
        began = time.monotonic()
        try:
            module, self._predicted = configuration(real="torch" in self._modules)
        except Lacking as lack:
            self._lacking = str(lack)
            return
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail("brevitas", error)
        self._loaded("brevitas", module, version("brevitas"), began)

    def read(self, name: str, framework: str, expression: str) -> None:
        """Tells what `expression` says, or why it says nothing; nothing at all without its framework."""
        if framework and framework not in self._modules:
            if framework == "brevitas" and self._lacking:
                self._teller.say(read=name, error=self._lacking)
            return
        self._teller.say(reading=name)
        try:
            text = str(eval(expression, dict(self._modules)))  # noqa: S307 - it comes from the launcher's catalogue
        except Exception as error:  # noqa: BLE001 - another version of the framework may not have it
            self._teller.say(read=name, error=last_line(error))
            return
        predicted = framework == "brevitas" and any(attribute in expression for attribute in self._predicted)
        self._teller.say(read=name, text=text, predicted=predicted)

    def _loaded(self, name: str, module: Any, version: str, began: float) -> None:  # noqa: ANN401 - any module
        self._modules[name] = module
        self._teller.say(imported=name, version=version, seconds=round(time.monotonic() - began, 3))

    def _fail(self, name: str, error: BaseException) -> NoReturn:
        self._teller.say(failed=name, error=last_line(error))
        raise Failed


def main(descriptor: str, request: str) -> None:
    """Does what the module says, and ends this process at once: nothing that a framework left behind can hold it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where whoever started us had it ignored
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    ours = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if folder != ours]  # our modules are nobody else's
    teller, asked = Teller(int(descriptor)), json.loads(request)
    with contextlib.suppress(Failed), without_empty_folders():
        reader = Reader(teller)
        for name in asked["imports"]:
            reader.load(name)
        if asked["quick"]:
            reader.configure()
        for name, (framework, expression) in asked["reads"].items():
            reader.read(name, framework, expression)
        teller.say(end=True)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def present(name: str) -> bool:
    """Whether a module of this name could be imported; finding out imports nothing."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def last_line(error: BaseException) -> str:
    """``ValueError: Unknown level``: what a traceback says of the error itself, in one line."""
    if isinstance(error, Lacking):
        return str(error)
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])[:300]


def version(name: str) -> str:
    """The version of an installed distribution; empty when nobody tells."""
    try:
        return str(importlib.import_module("importlib.metadata").version(name))
    except Exception:  # noqa: BLE001 - Python 3.7 has no such module, or the files are not as they ought to be
        return ""


def configuration(*, real: bool) -> tuple[Any, frozenset[str]]:
    """What stands in the place of Brevitas, and which of its attributes are predicted: those on which torch has a say,
    unless the `real` one is there.

    Raises:
        Lacking: config.py needs more of torch than there is.
    """
    if real:
        found = other = executed()
    else:
        found, other = alone(jit=True), alone(jit=False)
    differing = frozenset(name for name in found if name.isupper() and bool(found[name]) != bool(other.get(name)))
    module = types.SimpleNamespace(config=types.SimpleNamespace(**found))
    setattr(module, LOADED, Extension(bool(found.get("JIT_ENABLED") or found.get("NATIVE_STE_BACKEND_ENABLED"))))
    return module, differing | {LOADED}


def alone(*, jit: bool) -> dict[str, Any]:
    """What stands in ``config.py``, while an empty torch says that its JIT is `jit`."""
    torch, its_jit = types.ModuleType("torch"), types.ModuleType("torch.jit")
    its_jit.__dict__["_enabled"], torch.__dict__["jit"] = jit, its_jit
    sys.modules.update({"torch": torch, "torch.jit": its_jit})
    try:
        return executed()
    except (ImportError, AttributeError) as error:
        if "torch" not in str(error):
            raise
        raise Lacking("its config.py needs more of torch than could be done without; --prove-full imports it") from None
    finally:
        for name in ("torch", "torch.jit"):
            sys.modules.pop(name, None)


def executed() -> dict[str, Any]:
    """What stands in Brevitas' ``config.py``."""
    path = beside("brevitas", "config.py")
    found: dict[str, Any] = {"__name__": "brevitas_config_alone", "__file__": path}
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec"), found)  # noqa: S102 - an import of Brevitas executes it as well
    return found


def beside(package: str, name: str) -> str:
    """The path of a file of an installed package."""
    spec = importlib.util.find_spec(package)
    return os.path.join(os.path.dirname(str(spec.origin if spec else "")), name)


class Extension:
    """Brevitas' C++ part, as ``int`` sees it: whether an import would load it. Measured: a lock file is waited for even
    when all is built, ninja is needed at every import, a compiler only where nothing is built or by another one.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def __int__(self) -> int:
        folder, compiler = build_folder(), os.environ.get("CXX", "c++")  # noqa: TID251 - the job's environment
        if self._wanted and os.path.exists(os.path.join(folder, "lock")):
            raise Lacking("the import would wait for the file lock in the folder of the extension")
        can_load = is_built(folder, compiler) or shutil.which(compiler.partition(" ")[0]) is not None
        return int(self._wanted and shutil.which("ninja") is not None and can_load)


def build_folder() -> str:
    """Where torch would build the extension."""
    said = os.environ.get("TORCH_EXTENSIONS_DIR")  # noqa: TID251 - the job's environment
    if said is not None:
        return os.path.join(said, EXTENSION)
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: TID251
    build = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}_{accelerator()}"
    return os.path.join(caches, "torch_extensions", build, EXTENSION)


def accelerator() -> str:
    """``cpu``, ``cu128`` or ``rocm62``: for what torch was built, from the file that tells its version."""
    found: dict[str, Any] = {}
    path = beside("torch", "version.py")
    with contextlib.suppress(Exception), open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec"), found)  # noqa: S102 - a few assignments
    for name, prefix in (("hip", "rocm"), ("cuda", "cu")):
        if found.get(name) is not None:
            return prefix + str(found[name]).replace(".", "")
    return "cpu"


def is_built(folder: str, compiler: str) -> bool:
    """Whether the extension lies there, made by this compiler."""
    with contextlib.suppress(OSError), open(os.path.join(folder, "build.ninja"), encoding="utf-8") as file:
        return os.path.exists(os.path.join(folder, f"{EXTENSION}.so")) and f"cxx = {compiler}\n" in file.read()
    return False


@contextlib.contextmanager
def without_empty_folders() -> Iterator[None]:
    """Takes away the empty folder that each import of Brevitas leaves with the temporary files (measured)."""
    names = map(os.environ.get, ("TMPDIR", "TEMP", "TMP"))  # noqa: TID251 - the job's environment
    pattern = os.path.join(glob.escape(next(filter(None, names), "/tmp")), "torchinductor_*")
    before = set(glob.glob(pattern))
    try:
        yield
    finally:
        for folder in set(glob.glob(pattern)) - before:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])  # noqa: TID251 - there is no cli/ in the target
