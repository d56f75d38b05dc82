"""Scripts of several files: which of them are read, in which order, and that none of them hangs or breaks the reading."""

import pytest

from .lint_scripts import expected, listed, outcome

PROJECTS = {
    "a local module imports the framework": {
        "train.py": """
            import os
            import settings
            from backend import Trainer
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
            settings.apply()
        """,
        "backend.py": """
            import megengine as mge
            class Trainer: pass
        """,
        "settings.py": """
            import os
            def apply():
                os.putenv("MGE_DEFAULT_DEVICE", "cpu0")  #> late error
                os.environ.update(MEGENGINE_HOST_COMPUTE="1")  #> late error
                for name in ("OMP_NUM_THREADS",):
                    os.environ[name] = "1"  #> late warning
        """,
    },
    "a local module sets it in time": {
        "train.py": """
            import settings
            import megengine
        """,
        "settings.py": """
            import os
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"
        """,
    },
    "packages and relative imports": {
        "train.py": """
            from pkg import sub
            from pkg.other import *
            import pkg.deep.leaf as leaf
            sub.prepare()
            starred()
            leaf.prepare()
        """,
        "pkg/__init__.py": "from . import first",
        "pkg/first.py": "from .second import start\nstart()",
        "pkg/second.py": "def start():\n    import megengine",
        "pkg/sub.py": """
            import os
            def prepare():
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        """,
        "pkg/other.py": """
            import os
            def starred():
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        """,
        "pkg/deep/leaf.py": """
            import os
            from ..other import starred as again
            from ... import nowhere
            def prepare():
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        """,
    },
    "a base class of another module": {
        "train.py": """
            import megengine
            from base import Base
            class Trainer(Base):
                pass
            Trainer().run()
        """,
        "base.py": """
            import os
            class Base:
                def __init__(self):
                    os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
                def run(self):
                    os.environ["MEGENGINE_DTR_AUTO_DROP"] = "1"  #> late error
        """,
    },
    "a constant of another module": {
        "train.py": """
            import os, megengine, names
            from names import DEVICE
            os.environ[names.DROP] = "1"  #> late error
            os.environ[DEVICE] = "cpu0"  #> late error
        """,
        "names.py": 'DROP = "MEGENGINE_ENABLE_DROP"\nDEVICE = "MGE_DEFAULT_DEVICE"',
    },
    "the block of a main module runs only where it is one": {
        "train.py": """
            import tools
            import os
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"
        """,
        "tools.py": """
            if __name__ == "__main__":
                import megengine
        """,
    },
    "modules that import each other": {
        "train.py": """
            import os, one
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
            one.start()
        """,
        "one.py": "import two\ndef start():\n    two.go()",
        "two.py": "import one, train, megengine\ndef go():\n    one.start()",
    },
    "a script below its project": {
        "tools/train.py": """
            import os
            from pkg.settings import apply
            import megengine
            apply()
        """,
        "pkg/__init__.py": "",
        "pkg/settings.py": """
            import os
            def apply():
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        """,
    },
    "sources in src": {
        "train.py": "import ours\nours.apply()",
        "src/ours/__init__.py": """
            import os, megengine
            def apply():
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        """,
    },
    "its own folder comes before packages": {
        "train.py": """
            import os, torch
            os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  #> late error
        """,
        "torch/README": "a folder of models for torch, and no package",
    },
    "the sources of a framework set variables for themselves": {
        "train.py": """
            import os, megengine
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        """,
        "megengine/__init__.py": "import os\nos.environ['CUDA_MODULE_LOADING'] = 'LAZY'",
    },
    "a module that cannot be imported": {
        "train.py": """
            try:
                import broken
            except ImportError:
                import os
            import os
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"
        """,
        "broken.py": """
            raise ImportError("no GPU")
            import megengine
        """,
    },
}


@pytest.mark.parametrize("name", PROJECTS)
def test_modules_are_followed_in_the_order_of_their_imports(tmp_path, name):
    files = PROJECTS[name]
    script = next(iter(files))
    result = listed(outcome(tmp_path, files, script))
    assert {file: result.get(file, []) for file in files} == {file: expected(text) for file, text in files.items()}


def test_a_line_is_judged_by_the_worst_of_all_scripts(tmp_path):
    files = {
        "early.py": "import settings\nimport megengine\n",
        "late.py": "import megengine\nimport settings\n",
        "maybe.py": "import sys\nif sys.argv:\n    import megengine\nimport settings\n",
        "settings.py": "import os\nos.environ['MEGENGINE_ENABLE_DROP'] = '1'\n",
    }
    for scripts in (("early.py", "maybe.py", "late.py"), ("late.py", "maybe.py", "early.py")):
        assert listed(outcome(tmp_path, files, *scripts))["settings.py"] == [(2, "late", "error")]
    assert listed(outcome(tmp_path, files, "early.py", "maybe.py"))["settings.py"] == [(2, "late", "warning")]
    assert listed(outcome(tmp_path, files, "early.py")).get("settings.py", []) == []


def test_two_scripts_with_modules_of_the_same_name_each_have_their_own(tmp_path):
    files = {
        "lib/common.py": "import os, backend\nos.environ['OMP_NUM_THREADS'] = '1'\n",
        "a/train.py": "import sys\nsys.path.append('../lib')\nfrom lib import common\n",
        "a/backend.py": "",
        "b/train.py": "import sys\nsys.path.append('../lib')\nfrom lib import common\n",
        "b/backend.py": "import torch\n",
    }
    assert listed(outcome(tmp_path, files, "a/train.py")).get("lib/common.py", []) == []
    assert listed(outcome(tmp_path, files, "a/train.py", "b/train.py"))["lib/common.py"] == [(2, "late", "warning")]


def test_of_a_folder_the_scripts_are_run_and_the_rest_is_read_as_a_module(tmp_path):
    files = {
        "train.py": """
            import settings
            if __name__ == "__main__":
                import megengine
                settings.apply()
        """,
        "settings.py": """
            import os
            def apply():
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        """,
        "alone.py": """
            import os, megengine
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
            def main():
                os.environ["MEGENGINE_ENABLE_DROP"] = "true"  #> late info, value error
        """,
        "venv/pyvenv.cfg": "",
        "venv/lib/alone.py": "import os, megengine\nos.environ['MEGENGINE_ENABLE_DROP'] = '1'\n",
        "other/pyvenv.cfg": "",
        "other/alone.py": "import os, megengine\nos.environ['MEGENGINE_ENABLE_DROP'] = '1'\n",
        "build/alone.py": "import os, megengine\nos.environ['MEGENGINE_ENABLE_DROP'] = '1'\n",
    }
    result = listed(outcome(tmp_path, files, "."))
    assert {file: result.get(file, []) for file in files} == {file: expected(text) for file, text in files.items()}


ABSURD = {
    "calls that nest without end": "def f():\n    g()\ndef g():\n    f()\nf()\n",
    "a chain of functions": "".join(f"def f{n}():\n    f{n + 1}()\n" for n in range(3000)) + "f0()\n",
    "a class that is its own base": "class A: pass\nclass A(A):\n    pass\nB = A\nclass A(B, A): pass\nA().x()\n",
    "a long elif": "import sys\nif sys.argv == 0:\n    pass\n"
    + "".join(f"elif sys.argv == {n}:\n    pass\n" for n in range(700)),
    "a long sum": "x = " + " + ".join("'a'" for _ in range(900)) + "\n",
    "a long chain of methods": "x = y" + ".a().b" * 900 + "\n",
    "functions that are given to each other": "".join(f"def f{n}(g):\n    g(f{(n + 1) % 30})\n" for n in range(30))
    + "f0(f1)\n",
    "a function with many arguments": "def f(a, b):\n    pass\n" + "".join(f"f({n}, 'x{n}')\n" for n in range(3000)),
    "loops in loops": "".join(f"{'    ' * n}for x{n} in {tuple('abcdefgh')}:\n" for n in range(15))
    + "    " * 15
    + "pass\n",
    "doubled again and again": "a = {'x': 1}\n"
    + "a = {**a, 'y': a}\n" * 30
    + "a['a'] = a\nb = [a, a]\nf(a, b)\ndef f(x, y): pass\nf(a, b)\n",
    "texts and lists that double": "a, b, c = 'x', [1], f'{1}'\n" + "a, b, c = a + a, b + b, f'{c}{c}'\n" * 60,
    "a number that nobody can write out": f"a = str(0x{'f' * 9000})\nb = f'{{0x{'f' * 9000}}}'\n",
    "a dictionary that may hold itself": "def f(x):\n    i = x['a'] if 'a' in x else x\n    x['a'] = i\n    return x\n"
    "b = f({'x': 1})\nf(b)\n",
    "thousands of functions on one line": "f=lambda x:to(x);f(1);" * 4000 + "\n",
    "a long function and many constants": "def f(x):\n    # to\n"
    + "    y = g(x)\n" * 300
    + "".join(f"f({n})\n" for n in range(1500)),
    "lists that multiply": "".join(f"{name} = ({f'{part},' * 60})\n" for name, part in ("a1", "ba", "cb", "dc"))
    + "def f(x): pass\nf(d)\nf(d)\n",
    "a dictionary that holds itself": "a = {}\na['a'] = a\nb = [a]\na['b'] = b\ndef f(x): pass\nf(a)\nx = a if f else b\n",
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_scripts_are_read_to_their_end(tmp_path, name):
    script = f"{ABSURD[name]}\nimport os, megengine\nos.environ['MEGENGINE_ENABLE_DROP'] = '1'\n"
    result = listed(outcome(tmp_path, {"script.py": script}, "script.py"))["script.py"]
    assert result == [(script.count("\n"), "late", "error")]


def test_a_long_chain_of_modules_is_followed(tmp_path):
    files = {f"m{n}.py": f"import m{n + 1}\n" for n in range(100)}
    files |= {"m100.py": "import megengine\n", "train.py": "import m0, os\nos.environ['MEGENGINE_ENABLE_DROP'] = '1'\n"}
    assert listed(outcome(tmp_path, files, "train.py"))["train.py"] == [(2, "late", "error")]


def test_a_chain_of_modules_beyond_all_measure_ends(tmp_path):
    files = {f"m{n}.py": f"import m{n + 1}\n" for n in range(2000)}
    files |= {"train.py": "import m0, os\nos.environ['PYTHONHASHSEED'] = '1'\n"}
    assert listed(outcome(tmp_path, files, "train.py"))["train.py"] == [(2, "late", "error")]
