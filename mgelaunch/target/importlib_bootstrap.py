"""Runs a script, a module, or what stdin has, as its Python would, and watches or repairs inside the process:

    python [OPTIONS OF PYTHON] importlib_bootstrap.py WORDS TARGET ARGS...

WORDS are joined by commas. ``guard`` tells each change of a variable that has been read already, with file and line;
``execution-strategy`` and ``dtr-allocator`` make true what MegEngine says of two settings and does not do;
``module`` says that TARGET is one. Nothing is passed on by the environment, which is the script's own.

TARGET runs in the module ``__main__`` of this very process, called from the one frame that this file keeps on the
stack and cuts off tracebacks. Where it can still be seen is told in docs/guard.md. It is also why the file has this
name: the warnings module counts no frame of a file with ``importlib`` and ``_bootstrap`` in its path, so that a warning
about the caller of the script is about nobody, as it is without us.

Whatever keeps TARGET from running (it is missing, or cannot be read or compiled) is left to Python to tell: nothing has
happened yet, and this process becomes the one that it would have been.

Only the standard library is here, and of it only what every Python has loaded at its start. The language is that of
Python 3.6, which can then say that it has no audit hooks: they came with 3.8.
"""

BARE = dict(globals())
"""What Python puts into ``__main__`` before a script begins."""

import os  # noqa: E402
import sys  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:  # a script may look whether typing is loaded
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType, TracebackType
    from typing import Any

GUARDED = {
    "": "LD_LIBRARY_PATH PYTHONFAULTHANDLER PYTHONHASHSEED PYTHONPATH PYTHONUNBUFFERED",
    "brevitas": "BREVITAS_IGNORE_MISSING_KEYS BREVITAS_JIT BREVITAS_LOGGING BREVITAS_NATIVE_STE_BACKEND "
    "BREVITAS_REINIT_ON_STATE_DICT_LOAD BREVITAS_VERBOSE FX_PATCH_GETITEM",
    "megengine": "ALREADY_CONFIG_CUDA_LOADING_MODE CUDA_TK_PATH MEGENGINE_ASYNC_QUEUE_SIZE MEGENGINE_CATCH_WORKER_EXEC "
    "MEGENGINE_DISABLE_MEMORY_FORWARDING MEGENGINE_DTR_AUTO_DROP MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE "
    "MEGENGINE_DTR_EVICTION_THRESHOLD MEGENGINE_DTR_SQRT_SAMPLING MEGENGINE_ENABLE_DROP MEGENGINE_HOST_COMPUTE "
    "MEGENGINE_INTERP_ASYNC_LEVEL MEGENGINE_LOGGING_LEVEL MEGENGINE_RECORD_COMPUTING_PATH "
    "MEGENGINE_USE_SYMBOLIC_SHAPE MGB_CONV_PROFILING_TIMEOUT MGB_REGISTER_SEGV_HANDLER MGB_THROW_ON_FORK "
    "MGE_DATA_MONITOR MGE_DATA_MONITOR_FREQUENCY MGE_DEFAULT_DEVICE MGE_FASTRUN_CACHE_DIR "
    "MGE_FASTRUN_CACHE_TYPE MGE_FASTRUN_CACHE_URL MGE_HOME OMP_NUM_THREADS XDG_CACHE_HOME",
    "numexpr": "NUMEXPR_NUM_THREADS",
    "numpy": "OMP_NUM_THREADS OPENBLAS_NUM_THREADS",
    "torch": "FX_PATCH_GETITEM GOMP_CPU_AFFINITY MKL_DYNAMIC MKL_NUM_THREADS OMP_NUM_THREADS OMP_PROC_BIND PYTORCH_JIT "
    "TORCH_CPP_LOG_LEVEL TORCH_DISTRIBUTED_DEBUG TORCH_LOGS TORCH_SHOW_CPP_STACKTRACES",
}
"""Which variables a module reads when it is imported; those of no module are read when the process starts. A test keeps
this in step with the catalogue."""

AT_EXIT = "MGE_FASTRUN_CACHE_DIR MGE_HOME XDG_CACHE_HOME"
"""Those of MegEngine's that it reads once more at exit, to find the lock file of its cache."""
EVENTS = frozenset(("os.putenv", "os.unsetenv"))
_NAME = "mgelaunch_bootstrap"
"""What this module calls itself where it is not ``__main__``."""
LATE, NO_HOOKS, NO_FILE, NOT_FIXED, ON_CPU = "guard.late", "guard.python", "guard.command", "fix.failed", "fix.cpu"


def say(message: str, code: str) -> None:
    """One line for stderr, as mgelaunch has it."""
    text = "".join(char if char.isprintable() else "?" for char in f"mgelaunch: warning: {message} [{code}]")
    if sys.__stderr__ is not None:  # else the descriptor was closed, and may be some file of the script's by now
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))


def _here() -> str:
    """The working directory; empty when it has gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


# -- where something happens -------------------------------------------------------------------------------------------


class Stack:
    """Finds in the stack the lines that a user would look at."""

    def __init__(self, folder: str) -> None:
        """Files below `folder` are named relative to it."""
        self._folder = os.path.join(folder, "")
        self._library = os.path.join(os.path.dirname(os.__file__), "")

    def shown(self, frame: "FrameType") -> str:
        """``train.py:4``: the line at which `frame` is."""
        path = frame.f_code.co_filename
        return f"{path[len(self._folder) :] if path.startswith(self._folder) else path}:{frame.f_lineno}"

    def importer(self) -> str:
        """Where the module is imported that is about to be executed."""
        frame = sys._getframe(1)  # type: FrameType | None
        while frame and self._whose(frame) != "user":
            frame = frame.f_back
        return self.shown(frame) if frame else "an installed package"

    def changer(self) -> "tuple[FrameType | None, FrameType | None, bool]":
        """Who changes a variable right now, on behalf of whom it does if that is somebody else, and whether a module is
        being imported in between. Python's own modules do it for their callers.
        """
        frame = sys._getframe(1)  # type: FrameType | None
        while frame and self._whose(frame) == "python":
            frame = frame.f_back
        site, importing = frame, False
        while frame and self._whose(frame) != "user":
            importing = importing or frame.f_code.co_filename == "<frozen importlib._bootstrap>"
            frame = frame.f_back
        return site, frame if frame is not site else None, importing

    def _whose(self, frame: "FrameType") -> str:
        """Whose code `frame` is in: of an installed ``package``, of ``python`` or this file, or the ``user``'s."""
        path = frame.f_code.co_filename
        if path == __file__:  # first: it may be installed itself
            return "python"
        if "/site-packages/" in path or "/dist-packages/" in path:
            return "package"
        return "python" if path.startswith(("<frozen ", self._library)) else "user"


# -- modules, when they have been imported ---------------------------------------------------------------------------


class Finder:
    """Has something done right after the import of a module. It is the first finder, and finds what others find."""

    def __init__(self) -> None:
        self._after = {}  # type: dict[str, list[Callable[[str], None]]]
        self._stack = Stack(_here())

    def after(self, name: str, action: "Callable[[str], None]") -> None:
        """`action` is called after each import of the module `name`, at once if it is there already, with the place of
        the import, or nothing when that is unknown.
        """
        self._after.setdefault(name, []).append(action)
        if name in sys.modules:
            _quietly(action, "")

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        """What the next finder finds; None lets the import go on without us."""
        if name not in self._after:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self:
                continue
            if find is None:  # of the kind that Python 3.12 does not know any more
                return None
            spec = find(name, path, target)
            if spec is not None:
                _quietly(self._watch, spec)
                return spec
        return None

    def _watch(self, spec: "Any") -> None:
        """The import machinery tells a spec when its module begins and ends to be executed: `spec` listens. Then it is
        an ordinary one again, and its loader was never another.
        """
        plain, places = type(spec), []  # type: type, list[str]

        def tell(spec: "Any", initializing: bool) -> None:
            spec.__dict__["_initializing"] = initializing
            if initializing:
                _quietly(lambda _: places.append(self._stack.importer()), spec)
                return
            spec.__class__ = plain
            if spec.name in sys.modules:  # else its import has failed
                for action in self._after[spec.name]:
                    _quietly(action, "".join(places[:1]))

        told = property(lambda spec: spec.__dict__.get("_initializing", False), tell)
        spec.__class__ = type(plain.__name__, (plain,), {"_initializing": told})


def _quietly(action: "Callable[[Any], Any]", about: "Any") -> None:
    """What goes wrong here is none of the script's concern."""
    try:
        action(about)
    except Exception:  # noqa: BLE001, S110
        pass


# -- the guard -------------------------------------------------------------------------------------------------------


class Guard:
    """Tells each line that changes a variable too late, once."""

    def __init__(self, guarded: "dict[str, str]", told: "Iterable[tuple[str, str]]") -> None:
        """`told` are places and names of which another process has spoken."""
        self.guarded = {module: names.split() for module, names in guarded.items()}
        self.names = {os.fsencode(name) for names in self.guarded.values() for name in names}
        self.told = set(told)
        self._stack = Stack(_here())
        self._read = {}  # type: dict[str, tuple[str, dict[str, str | None]]]

    def has_read(self, module: str, place: str) -> None:
        """`module` was imported at `place`; the empty one is the start of the process."""
        self._read[module] = place, {name: os.environ.get(name) for name in self.guarded[module]}

    def change(self, name: str, text: "str | None" = None) -> None:
        """The variable is being set to `text`, or removed."""
        if os.environ.get(name) == text:
            return
        late = [module for module, (_, read) in self._read.items() if name in read and read[name] != text]
        site, user, importing = self._stack.changer() if late else (None, None, False)
        owner = site and str(site.f_globals.get("__name__") or "").partition(".")[0]
        if site is None or (owner and owner in self.guarded):
            return  # a framework knows what it does
        if late == [""] and importing:
            return  # what a package sets for its children when it is imported
        place = self._stack.shown(site)
        if (place, name) not in self.told:
            self.told.add((place, name))
            caller = f", called from {self._stack.shown(user)}" if user else ""
            say(f"{place}{caller}: {self._sentence(name, text, late)}", LATE)

    def _sentence(self, name: str, text: "str | None", late: "list[str]") -> str:
        verb, remedy = ("removed", f"--unset {name}") if text is None else ("set", f"-e {name}=VALUE")
        modules = [module for module in late if module]
        if not modules:
            why = "after the start of this process, the only time that it is read"
        else:
            places = (f"{module} ({self._read[module][0] or 'at its start'})" for module in modules)
            have = "has" if len(modules) == 1 else "have"
            why = f"after the import of {' and '.join(places)}, which {have} read it"
        on = f" on {' and '.join(modules)}" if modules else ""
        lock = ", but for its lock file at exit" if name in AT_EXIT.split() else ""
        return f"{name} is {verb} {why}: no effect{on} in this process{lock}; try {remedy}"


# -- the fixes -------------------------------------------------------------------------------------------------------


def set_strategy(_: str) -> None:
    """MegEngine has not read the variable since 1.10, though its page and its docstring say so."""
    text = os.environ.get("MEGENGINE_EXECUTION_STRATEGY")
    if text is not None:
        module = __import__("megengine.functional.debug_param", fromlist=["set_execution_strategy"])  # type: Any
        module.set_execution_strategy(text.upper().replace("REPRODUCEABLE", "REPRODUCIBLE"))  # the page's spelling


def complete_dtr(place: str) -> None:
    """Lets DTR that the environment has switched on make room when memory is short, unless that would do harm."""
    megengine = sys.modules["megengine"]  # type: Any
    if not megengine.core.get_option("enable_dtr_auto_drop"):
        return
    if megengine.get_default_device().startswith(("cpu", "multithread")) or not _has_card():
        say("--fix dtr-allocator is left out: on a CPU that allocator would evict at every allocation", ON_CPU)
    else:
        install_allocator(place)


def install_allocator(_: str) -> None:
    """Not the variable but only the option that is set in code installs the allocator, so it is set to what it is. No
    other one is touched (``ChannelImpl::set_option`` in interpreter_impl.cpp).

    Before each allocation it evicts until the largest free block is large enough, and the size of that is always 0 on a
    CPU: a net of 24 layers took four times the memory and six times the time (measured on 1.13.0).
    """
    core = sys.modules["megengine"].core
    core.set_option("enable_dtr_auto_drop", core.get_option("enable_dtr_auto_drop"))


def _has_card() -> bool:
    """Whether there is a driver of some card. MegEngine would open the cards to count them, and no process could be
    forked any more that uses one.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1"}
    drivers = ("/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg", "/dev/kfd")
    return not hidden and any(map(os.path.exists, drivers))


FIXES = {"execution-strategy": set_strategy, "dtr-allocator": complete_dtr}  # type: dict[str, Callable[[str], None]]


def fixing(name: str) -> "Callable[[str], None]":
    """The fix `name`, which says in one line that it has failed."""

    def fix(place: str) -> None:
        try:
            FIXES[name](place)
        except Exception as error:  # noqa: BLE001 - an API may be missing, a value may be none
            say(f"--fix {name} was of no avail: this MegEngine raises {type(error).__name__}", NOT_FIXED)

    return fix


# -- both, in this process and in those that multiprocessing spawns --------------------------------------------------


def begin(words: "list[str]", told: "Iterable[tuple[str, str]]" = (), source: str = "") -> None:
    """Installs what `words` ask for. `source` is the text of this file."""
    if "guard" in words and not hasattr(sys, "addaudithook"):
        say(f"--guard needs Python 3.8, and this is {sys.version.split()[0]}: nothing is guarded", NO_HOOKS)
        words = [word for word in words if word != "guard"]
    finder, guarded = Finder(), dict(GUARDED)
    for name in filter(FIXES.__contains__, words):
        finder.after("megengine", fixing(name))
    if "execution-strategy" in words:
        guarded["megengine"] += " MEGENGINE_EXECUTION_STRATEGY"
    guard = Guard(guarded, told)
    if "guard" in words:
        watch(guard, finder)
    if not source:
        with open(__file__, encoding="utf-8") as file:
            source = file.read()
    finder.after("multiprocessing.process", lambda _: hand_on(words, guard, source))
    sys.meta_path.insert(0, finder)


def watch(guard: Guard, finder: Finder) -> None:
    """Lets `guard` see all changes from now on."""
    names = guard.names

    # A method would not do: of one, Python 3.8 looks for __cantrace__ in a way that raises, at each event, and while an
    # exception is handled whose contexts are a circle it never comes back from that.
    def hook(event: str, arguments: "tuple[Any, ...]") -> None:
        """Hears of everything that happens in the process, and has to be quick."""
        if event in EVENTS and arguments[0] in names:
            try:
                guard.change(*map(os.fsdecode, arguments))
            except Exception:  # noqa: BLE001, S110 - the change itself must not fail
                pass

    guard.has_read("", "")
    for module in filter(None, guard.guarded):
        finder.after(module, lambda place, module=module: guard.has_read(module, place))  # type: ignore[misc]
    sys.addaudithook(hook)


class Origin(str):
    """``multiprocessing.process.ORIGINAL_DIR``: what every process is told that is spawned, before it imports the main
    module. When it is unpickled there, the same begins that began here; no function of Python's is in between.
    """

    __slots__ = ("guard", "source", "words")
    words: "tuple[str, ...]"
    guard: Guard
    source: str

    def __new__(cls, folder: str, words: "tuple[str, ...]", guard: Guard, source: str) -> "Origin":
        """The text `folder`, with `words` and `guard` beside it, and the text of this file: by the time that it is
        needed the file may be gone, another one, or unreadable for who the process is by then.
        """
        origin = super().__new__(cls, folder)
        origin.words, origin.guard, origin.source = words, guard, source
        return origin

    def __reduce__(self) -> "Any":
        told = sorted(self.guard.told)
        names = {"AGAIN": (str(self), self.words, told, self.source), "__file__": __file__, "__name__": _NAME}
        return eval, ("exec(compile(AGAIN[-1], __file__, 'exec'), globals()) or ORIGIN", names)


def hand_on(words: "Iterable[str]", guard: Guard, source: str) -> None:
    """Lets processes that are spawned begin the same."""
    process = sys.modules["multiprocessing.process"]  # type: Any
    if process.ORIGINAL_DIR is not None:  # the directory was there
        process.ORIGINAL_DIR = Origin(process.ORIGINAL_DIR, tuple(words), guard, source)


def again(folder: str, words: "tuple[str, ...]", told: "list[tuple[str, str]]", source: str) -> str:
    """Begins in a process that was spawned, and gives the ``ORIGINAL_DIR`` that it is to have."""
    _quietly(lambda words: begin(words, told, source), list(words))
    own = sys.modules["multiprocessing.process"].ORIGINAL_DIR
    return Origin(folder, own.words, own.guard, source) if isinstance(own, Origin) else folder


# -- the script ------------------------------------------------------------------------------------------------------


class Unseen(Exception):
    """TARGET is a terminal or a pipe, which can be read once only, or a session on stdin (``python -i -``)."""


class Script:
    """TARGET, ready to be run: `run` is to be called with what `ready` returns, inside a ``with``."""

    def __init__(self) -> None:
        if len(sys.argv) < 3:
            sys.exit(__doc__)
        self._words, self._name = sys.argv[1].split(","), sys.argv[2]
        self._bare = _bare_command(is_module="module" in self._words)
        # A script may put anything in the place of os.environ.
        self._texts = os.environ._data  # type: ignore[attr-defined]
        self._shows_exits, self._puts_back = bool(sys.flags.inspect), sys.version_info < (3, 11)
        try:
            self._find()
        except Exception as error:  # noqa: BLE001 - Python says better what is wrong
            if isinstance(error, Unseen):
                say("what comes line by line cannot be guarded or repaired, only a file", NO_FILE)
            self._become_bare()

    def _find(self) -> None:
        """Where and what TARGET is: the rules of ``pymain_run_python`` in CPython's main.c."""
        self.run, self._kind = exec, "script"  # type: Callable[..., Any], str
        self._path, self._code = self._name, None  # type: str, CodeType | None
        self._stdin = None  # type: bytes | None
        if "module" in self._words:
            self._kind = "module"
        elif self._name == "-":
            self._kind = "stdin"
            if os.isatty(0) or sys.flags.interactive or not hasattr(os, "memfd_create"):
                raise Unseen
            with open(0, "rb", closefd=False) as file:
                self._stdin = file.read()
            self._code = _compiled(self._stdin, "<stdin>")
        else:
            if sys.version_info >= (3, 9) and not os.path.isabs(self._path):
                is_here = self._path == "." and sys.version_info >= (3, 11)
                self._path = os.getcwd() if is_here else os.path.join(os.getcwd(), self._path)
            if _is_importable(self._path):
                self._kind = "folder"
        if self._kind in {"module", "folder"}:
            import runpy  # noqa: PLC0415 - Python has it loaded in this case only

            self.run = runpy._run_module_as_main  # type: ignore[attr-defined]
        elif self._kind == "script":
            if os.path.exists(self._path) and not os.path.isfile(self._path):
                raise Unseen
            with open(self._path, "rb") as file:
                self._code = _compiled(file.read(), self._path)

    def ready(self, main: "dict[str, Any]", bare: "dict[str, Any]") -> "tuple[Any, ...]":
        """Makes the process, and `main`, the dictionary of ``__main__``, what TARGET would find without us. `bare` was
        there before us.
        """
        arguments = sys.argv[3:]
        sys.argv[:] = ["-m" if self._kind == "module" else self._name, *arguments]
        if hasattr(sys, "orig_argv"):
            sys.orig_argv[:] = self._bare
        self._set_path()
        _quietly(begin, self._words)
        main.clear()
        main.update(bare, __doc__=None)
        for name in ("__file__", "__cached__"):
            if self._kind in {"module", "folder"}:
                main.pop(name, None)
        if self._kind == "script":
            main.update(__file__=self._path, __loader__=type(bare["__loader__"])("__main__", self._path))
            return self._code, main
        main["__loader__"] = sys.__spec__.loader  # that of built-in modules
        if self._kind == "stdin":
            main["__file__"] = "<stdin>"
            return self._code, main
        return (self._name, True) if self._kind == "module" else ("__main__", False)

    def _set_path(self) -> None:
        """Puts into the first place of ``sys.path`` what belongs there, not our own folder."""
        for ours in (__file__, os.path.dirname(__file__)):
            sys.path_importer_cache.pop(ours, None)
        safe = sys.flags.isolated or getattr(sys.flags, "safe_path", False)
        if not safe:
            del sys.path[0]
        if self._kind == "folder":
            sys.path.insert(0, self._path)
        elif self._kind == "script" and not safe:
            sys.path.insert(0, os.path.dirname(os.path.realpath(self._path)))
        elif not safe and (self._kind == "stdin" or _here()):
            sys.path.insert(0, _here() if self._kind == "module" else "")

    def _become_bare(self) -> None:
        if self._stdin is not None:  # give back what was read
            copy = os.memfd_create("stdin")
            with open(copy, "wb", closefd=False) as file:
                file.write(self._stdin)
            os.lseek(copy, 0, os.SEEK_SET)
            os.dup2(copy, 0)
        os.execv(sys.executable or "/proc/self/exe", self._bare)

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, _: object, error: "BaseException | None", trace: "TracebackType | None") -> None:
        """Cuts our frames off the traceback of what TARGET has raised; Python itself does the rest."""
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        if error is not None:
            BaseException.with_traceback(error, trace)  # its class may have a say in what is assigned to it
            # Nothing may be raised here, and be it the end of a generator: Python 3.8 would look through the contexts
            # of `error`, which may be a circle.
            looks = self._shows_exits or self._texts.get(b"PYTHONINSPECT")
            if self._puts_back and (looks or not isinstance(error, SystemExit)):
                _cut_when_shown(trace)


def _compiled(source: bytes, path: str) -> "CodeType":
    """The code of a script.

    Raises:
        ValueError: it is no UTF-8 and names no other encoding, which Python refuses, and ``compile`` not always.
        SyntaxError: it is wrong.
    """
    try:
        source.decode()
    except ValueError:
        head = b"".join(source.splitlines()[:2])
        if b"coding" not in head or b"utf" in head.lower():
            raise
    held, stderr = Held(), sys.stderr
    sys.stderr = held
    try:
        code = compile(source, path, "exec", 0, dont_inherit=True)
    finally:
        sys.stderr = stderr
    if held.texts:
        stderr.write("".join(held.texts))
    return code


class Held:
    """Keeps warnings of the compiler until it has succeeded: else Python gives them itself."""

    def __init__(self) -> None:
        self.texts = []  # type: list[str]
        self.write = self.texts.append

    def flush(self) -> None:
        """As files have it."""


def _bare_command(*, is_module: bool) -> "list[str]":
    """The command line of this process without us."""
    words = getattr(sys, "orig_argv", None)
    if words is None:  # it came with Python 3.10
        with open("/proc/self/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read()[:-1].split(b"\0")]
    at = len(words) - len(sys.argv)
    return [*words[:at], *(["-m"] if is_module else []), *words[at + 2 :]]


def _is_importable(path: str) -> bool:
    """Whether `path` is a folder or an archive that may hold a ``__main__``; remembers it, as Python does."""
    sys.path_importer_cache.setdefault(path, None)
    for hook in sys.path_hooks:
        try:
            sys.path_importer_cache[path] = hook(path)
        except ImportError:
            continue
        return True
    return False


def _cut_when_shown(trace: "TracebackType | None") -> None:
    """Up to 3.10 Python puts our frame back onto the traceback, so it is cut off again before anyone looks at it."""
    is_there = hasattr(sys, "excepthook")
    hook = sys.excepthook if is_there else None  # type: Any

    def show(kind: "type[BaseException]", error: BaseException, _: object) -> None:
        sys.last_traceback = BaseException.with_traceback(error, trace).__traceback__
        if not is_there:
            sys.stderr.write("sys.excepthook is missing\n")
            sys.__excepthook__(kind, error, trace)
            return
        sys.excepthook = hook
        try:
            hook(kind, error, trace)
        except SystemExit:
            raise
        except BaseException as failure:  # noqa: BLE001 - said as Python says it
            failure.__traceback__ = failure.__traceback__ and failure.__traceback__.tb_next
            sys.stderr.write("Error in sys.excepthook:\n")
            sys.__excepthook__(type(failure), failure, failure.__traceback__)
            sys.stderr.write("\nOriginal exception was:\n")
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = show


if "AGAIN" in globals():
    ORIGIN = again(*globals()["AGAIN"])
elif __name__ == "__main__":
    # The functions get a dictionary of their own: this one is the script's. What follows needs no name in it.
    _ours = dict(BARE, __name__=_NAME)
    exec(sys._getframe().f_code, _ours)
    with _ours["Script"]() as _script:
        _script.run(*_script.ready(globals(), BARE))
