"""A script that is guarded behaves as it does alone: each is started twice, and nobody can tell the difference."""

import os
import re
import subprocess
import sys
import zipfile

import pytest

from mgelaunch.launch.bootstrapped import bootstrapped
from mgelaunch.launch.command import Command

PATIENCE = 60


class Pair:
    """Starts commands of a Python twice in the same folder: bare, and through the bootstrap."""

    def __init__(self, python, folder):
        self.python = python
        self.folder = folder
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        self.environ["PYTHONDONTWRITEBYTECODE"] = "1"

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def command(self, *argv):
        return Command(self.python, (self.python, *argv))

    def guarded(self, *argv, fixes=()):
        return bootstrapped(self.command(*argv), guard=True, fixes=frozenset(fixes))

    def run(self, command, stdin=b"", **environ):
        done = subprocess.run(
            command.argv,
            executable=command.program,
            cwd=self.folder,
            env=self.environ | environ,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        varying = r"0x[0-9a-f]+|(?<=test in )[0-9.]+s|(?<=tests in )[0-9.]+s"  # addresses, and how long unittest took
        said = (re.sub(varying, "_", text.decode(errors="replace")) for text in (done.stdout, done.stderr))
        return done.returncode, *said

    def same(self, *argv, stdin=b"", **environ):
        """How both have ended, after it was made sure that it is the same."""
        guarded = self.guarded(*argv)
        assert not guarded.findings
        bare = self.run(self.command(*argv), stdin, **environ)
        assert self.run(guarded, stdin, **environ) == bare
        return bare


def pythons():
    """This Python, and those that the environment names."""
    yield pytest.param(sys.executable, id="this")
    named = [path for path in os.environ.get("MGELAUNCH_TEST_PYTHONS", "").split(os.pathsep) if path]
    for path in named:
        yield pytest.param(path, id=os.path.basename(os.path.dirname(os.path.dirname(path))))


@pytest.fixture(params=pythons())
def pair(request, tmp_path):
    (tmp_path / "job").mkdir()
    return Pair(request.param, tmp_path / "job")


MAIN_MODULE = """
import sys
main = sys.modules["__main__"]
print({name: value for name, value in list(globals().items()) if name not in ("__loader__", "__builtins__")})
print(__builtins__.__name__, type(__loader__), vars(__loader__), main.__dict__ is globals(), main)
"""
SCRIPTS = {
    "an exception": (1, "def f():\n    raise KeyError('loss')\nf()\n"),
    "an exception of an exception": (
        1,
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError from e\n",
    ),
    "an exception whose class has no name": (1, "class A(Exception):\n    def __str__(self): 1 / 0\nraise A\n"),
    "exit": (0, "import sys; sys.exit()"),
    "exit 3": (3, "import sys; sys.exit(3)"),
    "exit with a text": (1, "import sys; sys.exit('so long')"),
    "exit with -1": (255, "import sys; sys.exit(-1)"),
    "exit with 256": (0, "import sys; sys.exit(256)"),
    "exit with an object": (1, "import sys; sys.exit((1, 2))"),
    "SystemExit by hand": (4, "raise SystemExit(4)"),
    "_exit": (5, "import os; os._exit(5)"),
    "KILL": (-9, "import os; os.kill(os.getpid(), 9)"),
    "ABRT": (-6, "import os; os.abort()"),
    "KeyboardInterrupt": (-2, "raise KeyboardInterrupt"),
    "Ctrl-C": (-2, "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"),
    "an exit in atexit": (0, "import atexit, sys; atexit.register(sys.exit, 3)"),
    "an exception in atexit": (0, "import atexit, operator; atexit.register(operator.truediv, 1, 0)"),
    "the order of atexit": (1, "import atexit\nfor i in range(3): atexit.register(print, i)\n1 / 0"),
    "a hook for exceptions": (
        1,
        "import sys\nsys.excepthook = lambda *a: print(a[:2], a[2].tb_frame.f_code.co_name)\n1 / 0",
    ),
    "a hook that fails": (1, "import sys\ndef h(*a): return 1 / 0\nsys.excepthook = h\nraise KeyError(1)"),
    "a hook that exits": (6, "import sys\nsys.excepthook = lambda *a: sys.exit(6)\n1 / 0"),
    "no hook": (1, "import sys\ndel sys.excepthook\n1 / 0"),
    "a hook that is none": (1, "import sys\nsys.excepthook = None\n1 / 0"),
    "exceptions in a circle": (1, "a = KeyError(1); b = KeyError(2); a.__context__ = b; b.__context__ = a\nraise a"),
    "an exit in a circle": (7, "a = SystemExit(7); a.__context__ = a\nraise a"),
    "an exception to which nothing can be assigned": (
        1,
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass E(Exception):\n    code: int\nraise E(7)",
    ),
    "no environment": (1, "import os\ndel os.environ\n1 / 0"),
    "an exit without an environment": (3, "import os, sys\ndel os.environ\nsys.exit(3)"),
    "what is last": (
        1,
        "import atexit, sys\natexit.register(lambda: print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno))\n1 / 0",
    ),
    "the hook": (0, "import sys; print(sys.excepthook is sys.__excepthook__)"),
    "an exception in a thread": (
        0,
        "import threading\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()",
    ),
    "an exit in a thread": (
        0,
        "import sys, threading\nt = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()",
    ),
    "a thread that goes on": (
        0,
        "import threading, time\ndef f(): time.sleep(.1); print('done')\nthreading.Thread(target=f).start()",
    ),
    "an exception that nobody raises": (0, "class A:\n    def __del__(self): 1 / 0\nA()\nprint('on')"),
    "an error in the syntax": (1, "x = 1\nif x\n    pass\n"),
    "an error in a module's syntax": (1, "import broken"),
    "an indent": (1, "if 1:\npass\n"),
    "a byte of no encoding": (1, b"x = 1\n# \xe9\n"),
    "an encoding": (0, "# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))".encode("latin-1")),
    "an encoding that is none": (1, "# coding: klingon\nprint(1)"),
    "a BOM": (0, b"\xef\xbb\xbfprint('\xc3\xa9')"),
    "a NUL": (None, b"print(1)\n\0\n"),
    "nothing": (0, ""),
    "a DeprecationWarning": (0, "import warnings\nfor i in range(2): warnings.warn('old', DeprecationWarning)"),
    "a warning about the caller": (
        0,
        "import warnings\nwarnings.warn('caller', stacklevel=2)\nwarnings.warn('gone', DeprecationWarning, stacklevel=2)",
    ),
    "a warning of the compiler": (0, "print(1 is 1)\nassert (1, 'x')\nprint('\\d')"),
    "a warning and an error of the compiler": (1, "x = '\\d'\nprint(1 is 1)\nreturn\n"),
    "warnings as errors": (1, "import warnings\nwarnings.simplefilter('error')\nwarnings.warn('x')"),
    "the registry of warnings": (
        0,
        "import warnings\nwarnings.warn('x')\nprint(sorted(map(str, __warningregistry__)))",
    ),
    "the main module": (0, MAIN_MODULE),
    "what is loaded": (0, "import sys; print(sorted(sys.modules), sorted(sys.path_importer_cache))"),
    "the process": (
        0,
        "import os, sys; print(sys.argv, sys.path, sys.flags, sys.warnoptions, sys.executable, getattr(sys, 'orig_argv', 0), dict(os.environ), os.listdir('/proc/self/fd'))",
    ),
    "names of ours": (0, "import sys; print([n for n in (*vars(sys), *globals()) if 'launch' in n])"),
    "the source": (
        0,
        "import inspect\nclass A:\n    pass\ndef f(): return 1\nprint(inspect.getsource(A), inspect.getsource(f))",
    ),
    "a pickle at exit": (
        0,
        "import atexit, pickle\nclass A: pass\natexit.register(lambda: print(pickle.loads(pickle.dumps(A())).__class__))",
    ),
    "annotations": (0, "from __future__ import annotations\nx: nowhere = 1\nprint(__annotations__)"),
    "no future of ours": (0, "x: int = 1\ndef f(a: list): pass\nprint(__annotations__, f.__annotations__)"),
    "a main module that is replaced": (1, "import sys, types\nsys.modules['__main__'] = types.ModuleType('x')\n1 / 0"),
    "a dictionary that is emptied": (0, "import sys\nprint(1)\nglobals().clear()"),
    "stdin": (0, "import sys; print(sys.stdin.read())"),
    "fork": (0, "import os, sys\npid = os.fork()\nif pid: os.waitpid(pid, 0); print('parent')\nelse: print('child')"),
    "an exception in a fork": (0, "import os\npid = os.fork()\nif not pid: 1 / 0\nprint(os.waitpid(pid, 0)[1] >> 8)"),
    "tracemalloc": (
        0,
        "import tracemalloc\ntracemalloc.start()\nx = [0] * 100\nprint(tracemalloc.get_object_traceback(x))",
    ),
    "garbage": (0, "import gc\nprint(gc.get_threshold(), gc.isenabled())"),
    "a flush that fails": (120, "import os, sys\nos.close(1)\nprint('x')"),
    "a generator at exit": (0, "def g():\n    try: yield\n    finally: print('closed')\nx = g(); next(x)"),
    "asyncio": (1, "import asyncio\nasync def f(): 1 / 0\nasyncio.run(f())"),
    "a tracer": (
        0,
        "import sys\nseen = []\ndef t(f, e, a):\n    seen.append((f.f_code.co_name, e))\n    return t\nsys.settrace(t)\ndef f():\n    import os\n    os.environ['PYTHONHASHSEED'] = '0'\n    open('/dev/null').close()\nf()\nsys.settrace(None)\nprint([s for s in seen if s[0] in ('f', 'hook')])",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_ends_and_says_what_it_does_alone(pair, name):
    code, text = SCRIPTS[name]
    pair.write("train.py", text)
    pair.write("broken.py", "def f(:\n")
    ended = pair.same("train.py", "-x", "a b", "", stdin=b"some\ninput\n")
    assert code in {None, ended[0]}, ended


SHOW = (
    "import os, sys\n"
    "print(sys.argv, sys.path, sys.modules['__main__'], getattr(sys, 'orig_argv', 0))\n"
    "print({k: v for k, v in list(globals().items()) if k != '__builtins__'})\n"
)


def shown(pair, name="train.py"):
    pair.write(name, SHOW)
    pair.write("sub/nothing.txt", "")
    if not os.path.islink(pair.folder / "link.py"):
        os.symlink(name, pair.folder / "link.py")
        os.symlink("sub/..", pair.folder / "away")


@pytest.mark.parametrize(
    "name",
    ["train.py", "./train.py", "sub/../train.py", ".//train.py", "././train.py", "link.py", "away/train.py", "ABS"],
)
def test_a_script_has_the_name_and_the_path_that_it_has_alone(pair, name):
    shown(pair)
    assert pair.same(str(pair.folder / "train.py") if name == "ABS" else name, "a")[0] == 0


@pytest.mark.parametrize("name", ["训练.py", "with blank.py", "it's.py", "-x.py"])
def test_a_script_may_have_any_name(pair, name):
    shown(pair, name)
    assert pair.same(f"./{name}" if name.startswith("-") else name)[0] == 0


TARGETS = [["train.py"], ["-m", "train"], ["folder"], ["-"]]
OPTIONS = [["-I"], ["-S"], ["-u"], ["-OO"], ["-X", "dev"], ["-W", "error"], ["-X", "tracemalloc"], ["-uB"], ["-Es"]]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("target", TARGETS, ids=" ".join)
def test_options_of_python_mean_what_they_mean_alone(pair, options, target):
    shown(pair)
    pair.write("folder/__main__.py", SHOW)
    pair.same(*options, *target, "a", stdin=SHOW.encode())


@pytest.mark.parametrize("target", TARGETS, ids=" ".join)
@pytest.mark.parametrize("variable", ["PYTHONSAFEPATH=1", "PYTHONPATH=sub", "PYTHONDEVMODE=1", "PYTHONWARNINGS=error"])
def test_variables_of_python_mean_what_they_mean_alone(pair, variable, target):
    shown(pair)
    pair.write("folder/__main__.py", SHOW)
    pair.same(*target, "a", stdin=SHOW.encode(), **dict([variable.split("=")]))


def test_without_a_safe_path_no_folder_is_first(pair):
    shown(pair)
    if pair.run(pair.command("-P", "train.py"))[0] == 2:
        pytest.skip("-P came with Python 3.11")
    assert pair.same("-P", "train.py")[0] == 0


MODULES = {
    "a module": (["-m", "mod", "a", "-b"], {"mod.py": SHOW}),
    "a module of a package": (["-m", "pkg.mod", "a"], {"pkg/__init__.py": "print(__name__)", "pkg/mod.py": SHOW}),
    "a package": (["-m", "pkg"], {"pkg/__init__.py": "", "pkg/__main__.py": SHOW + "raise KeyError(1)"}),
    "a package that is none": (["-m", "pkg"], {"pkg/__init__.py": ""}),
    "a namespace": (["-m", "space"], {"space/mod.py": ""}),
    "a module that is missing": (["-m", "nowhere.to.be", "a"], {}),
    "a script as a module": (["-m", "train.py"], {"train.py": SHOW}),
    "an exception": (["-m", "mod"], {"mod.py": "def f(): 1 / 0\nf()"}),
    "an exit": (["-m", "mod"], {"mod.py": "import sys; sys.exit(7)"}),
    "an error in the syntax": (["-m", "mod"], {"mod.py": "if x\n"}),
    "an import that fails": (["-m", "pkg.mod"], {"pkg/__init__.py": "import nowhere", "pkg/mod.py": SHOW}),
    "a module that is imported already": (["-m", "pkg.mod"], {"pkg/__init__.py": "import pkg.mod", "pkg/mod.py": SHOW}),
    "unittest": (
        ["-m", "unittest", "-q", "mod.T.test_a"],
        {"mod.py": "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 1)\n"},
    ),
    "timeit": (["-m", "timeit", "-n1", "-r1", "raise KeyError"], {}),
    "json.tool": (["-m", "json.tool"], {}),
    "runpy": (["-m", "runpy", "mod"], {"mod.py": SHOW}),
    "cProfile": (["-m", "cProfile", "-o", "/dev/null", "train.py"], {"train.py": SHOW}),
    "trace": (["-m", "trace", "-l", "train.py"], {"train.py": "print(__name__)"}),
    "a folder": (["folder", "a"], {"folder/__main__.py": SHOW + "import mod", "folder/mod.py": "print(__file__)"}),
    "a folder with a slash": (["folder/"], {"folder/__main__.py": SHOW}),
    "this folder": (["."], {"__main__.py": SHOW}),
    "a folder, an exception": (["folder"], {"folder/__main__.py": "1 / 0"}),
    "an archive": (
        ["job.zip", "a"],
        {"job.zip": {"__main__.py": SHOW + "import mod; 1 / 0", "mod.py": "print(__file__)"}},
    ),
    "an archive without a main": (["job.zip"], {"job.zip": {"mod.py": ""}}),
    "an archive of another name": (["job.pyz"], {"job.pyz": {"__main__.py": SHOW}}),
    "nothing of the name": (["nowhere.py"], {}),
    "a script that cannot be read": (["folder/x.py/y.py"], {"folder/x.py": ""}),
    "stdin": (["-", "a", "b"], {}),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_target_of_any_kind_is_run_as_it_is_alone(pair, name):
    argv, files = MODULES[name]
    for path, text in files.items():
        if isinstance(text, dict):
            with zipfile.ZipFile(pair.folder / path, "w") as archive:
                for inner, source in text.items():
                    archive.writestr(inner, source)
        else:
            pair.write(path, text)
    pair.same(*argv, stdin=(SHOW + "def f(): return 1 / 0\nf()\n").encode() if name == "stdin" else b'{"a": 1}')


@pytest.mark.parametrize(
    "text", ["if x\n", "# \xe9\n", "import sys; sys.exit(3)", "import sys; print(repr(sys.stdin.read()))", "", "\0"]
)
def test_what_comes_by_stdin_is_run_as_it_is_alone(pair, text):
    pair.same("-", stdin=text.encode("latin-1"))


def test_a_session_on_stdin_is_left_to_python_with_a_line_about_it(pair):
    code, out, err = pair.run(pair.command("-i", "-"), b"x = 1\nprint(x)\n")
    guarded = pair.run(pair.guarded("-i", "-"), b"x = 1\nprint(x)\n")
    told, _, rest = guarded[2].partition("\n")
    assert told.endswith("[guard.command]")
    assert (*guarded[:2], rest) == (code, out, err)


SPAWN = """
import atexit, multiprocessing as mp, os, sys, pickle
class A:
    pass
def work(n):
    if n == 2:
        raise ValueError(n)
    return n, __name__, A.__module__, sys.argv, sys.path[0], sorted(m for m in sys.modules if "launch" in m)
if __name__ == "__main__":
    print(mp.current_process().name, os.path.basename(__file__))
    context = mp.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(sorted(pool.map(work, [0, 1])), pool.map(type, [A()]))
    process = context.Process(target=work, args=(2,), name="p")
    process.start(), process.join()
    print(process.exitcode)
    process = context.Process(target=sys.exit, args=(3,))
    process.start(), process.join()
    print(process.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("target", [["train.py"], ["-m", "pkg.mod"]], ids=" ".join)
def test_processes_of_multiprocessing_are_what_they_are_alone(pair, method, target):
    for name in ("train.py", "pkg/mod.py"):
        pair.write(name, SPAWN)
    code, out, _ = pair.same(*target, method)
    assert (code, out.splitlines()[-1]) == (0, "3")


def test_concurrent_futures_are_what_they_are_alone(pair):
    pair.write(
        "train.py",
        "from concurrent.futures import ProcessPoolExecutor as P\nimport multiprocessing as mp\n"
        "def f(n): return n * n\n"
        "if __name__ == '__main__':\n    with P(2, mp.get_context('spawn')) as p: print(list(p.map(f, range(5))))\n",
    )
    assert pair.same("train.py") == (0, "[0, 1, 4, 9, 16]\n", "")


@pytest.mark.parametrize("target", [["train.py"], ["-m", "train"]], ids=" ".join)
@pytest.mark.parametrize(
    "commands",
    ["b 3\nc\np x\nargs\nq\n", "n\nn\nl\np __name__, __file__\nc\nq\n", "c\np x\nq\n"],
    ids=["break", "next", "post mortem"],
)
def test_a_debugger_does_what_it_does_alone(pair, target, commands):
    pair.write("train.py", "x = 1\ndef f(x):\n    return x / 0\nf(x)\n")
    code, out, _ = pair.same("-m", "pdb", *target, stdin=commands.encode())
    assert (code, "(Pdb) " in out) == (0, True)


@pytest.mark.parametrize("text", ["x = 5", "x = 5\n1 / 0", "import sys; x = 5; sys.exit(3)"])
def test_a_look_afterwards_shows_what_it_shows_alone(pair, text):
    pair.write("train.py", text)
    pair.same("train.py", stdin=b"print(x, __name__, __file__)\n", PYTHONINSPECT="1")
    pair.same("-i", "train.py", stdin=b"print(x)\n")


def test_a_script_that_asks_for_a_look_afterwards_gets_it(pair):
    pair.write("train.py", "import os; os.environ['PYTHONINSPECT'] = '1'; x = 7")
    pair.same("train.py", stdin=b"print(x)\n")


def test_a_script_in_a_folder_that_has_gone_is_told_as_alone(pair):
    pair.write("train.py", "print(__file__)")
    shell = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    script = str(pair.folder / "train.py")
    plain, guarded = pair.command(script), pair.guarded(script)
    ended = [pair.run(Command("/bin/sh", ("sh", "-c", shell, "sh", *command.argv))) for command in (plain, guarded)]
    assert ended[0] == ended[1]


def test_a_process_that_is_spawned_too_early_is_told_as_alone(pair):
    pair.write("train.py", "import multiprocessing as mp\nmp.get_context('spawn').Process(target=print).start()\n")
    assert "bootstrapping phase" in pair.same("train.py")[2]


def test_what_multiprocessing_remembers_is_what_it_remembers_alone(pair):
    pair.write(
        "train.py",
        "import multiprocessing.process as p, multiprocessing.spawn as s, pickle\n"
        "print(repr(p.ORIGINAL_DIR), p.ORIGINAL_DIR == str(p.ORIGINAL_DIR), s.get_preparation_data.__module__)\n",
    )
    assert pair.same("train.py")[0] == 0
