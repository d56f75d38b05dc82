"""What --guard tells: each line that changes a variable too late, once, and nothing else."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mgelaunch.target

BOOTSTRAP = Path(mgelaunch.target.__file__).with_name("importlib_bootstrap.py")
LINE = re.compile(
    r"^mgelaunch: warning: (?P<place>.*?): (?P<name>[A-Z_]+) is (?P<verb>set|removed) (?P<rest>.*) \[guard\.late\]$"
)
FRAMEWORK = """
import os
def configure():
    os.environ["BREVITAS_JIT"] = "0"
"""
"""Takes the place of Brevitas, of which only the name counts here: tests/frameworks has the real ones."""


@pytest.fixture
def guarded(world):
    """A function that runs a script with --guard and returns the place, name and verb of each line that was told."""
    world.write("brevitas.py", FRAMEWORK)

    def run(script, *options, told=(), code=0, **environ):
        world.write("train.py", script)
        done = world.run("run", "--guard", *options, "train.py", **environ)
        assert done.returncode == code, done.stderr
        lines = done.stderr.splitlines()
        found = [LINE.match(line) for line in lines]
        assert all(found), lines
        assert [(each["place"], each["name"], each["verb"]) for each in found] == list(told)
        return lines

    return run


def test_a_change_after_the_import_that_has_read_it_is_told_with_both_lines(guarded):
    (line,) = guarded(
        "import os\nimport brevitas\nos.environ['BREVITAS_JIT'] = '1'\n", told=[("train.py:3", "BREVITAS_JIT", "set")]
    )
    assert line == (
        "mgelaunch: warning: train.py:3: BREVITAS_JIT is set after the import of brevitas (train.py:2), which has read it: "
        "no effect on brevitas in this process; try -e BREVITAS_JIT=VALUE [guard.late]"
    )


def test_an_installed_bootstrap_tells_the_same_lines(world):
    """Its own file is then below site-packages, where all others are those of packages."""
    installed = world.project / "lib/site-packages/mgelaunch/target" / BOOTSTRAP.name
    installed.parent.mkdir(parents=True)
    shutil.copy(BOOTSTRAP, installed)
    world.write("brevitas.py", FRAMEWORK)
    world.write("train.py", "import os\nimport brevitas\nbrevitas.configure()\nos.environ['BREVITAS_JIT'] = '1'\n")
    command = [sys.executable, str(installed), "guard", "train.py"]
    done = subprocess.run(command, cwd=world.project, capture_output=True, text=True, timeout=30, check=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "mgelaunch: warning: train.py:4: BREVITAS_JIT is set after the import of brevitas (train.py:2)"
    )


@pytest.mark.parametrize(
    "script",
    [
        "import os\nos.environ['BREVITAS_JIT'] = '1'\nimport brevitas",
        "import os, brevitas\nos.environ['BREVITAS_NO_SUCH'] = '1'",
        "import os, brevitas\nos.environ['MGE_DEFAULT_DEVICE'] = 'cpu0'",
        "import os, brevitas\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'",
        "import os, brevitas\nbrevitas.configure()",
        "import os, brevitas\nos.environ.pop('BREVITAS_JIT', None)",
        "import os\ntry: import nowhere\nexcept ImportError: pass\nos.environ['BREVITAS_JIT'] = '1'",
        "import importlib.util, os\nimportlib.util.find_spec('brevitas')\nos.environ['BREVITAS_JIT'] = '1'",
        "import os\nos.environ['BREVITAS_JIT'] = '1'\nimport brevitas\nfor _ in range(2): os.environ['BREVITAS_JIT'] = '1'",
    ],
    ids=[
        "before the import",
        "a stranger",
        "of another framework",
        "read later",
        "by the framework itself",
        "what was not there",
        "an import that fails",
        "a look whether it is installed",
        "the same value again",
    ],
)
def test_what_has_its_effect_or_is_no_change_is_not_told(guarded, script):
    assert guarded(script) == []


def test_a_value_that_the_framework_has_read_may_be_put_back(guarded):
    guarded(
        "import os, brevitas\nos.environ['BREVITAS_JIT'] = '1'\ndel os.environ['BREVITAS_JIT']\n",
        told=[("train.py:2", "BREVITAS_JIT", "set")],
    )


@pytest.mark.parametrize(
    "change",
    [
        "os.environ['BREVITAS_JIT'] = '1'",
        "os.environ.setdefault('BREVITAS_JIT', '1')",
        "os.environ.update({'BREVITAS_JIT': '1'})",
        "os.environ.update(BREVITAS_JIT='1')",
        "os.environb[b'BREVITAS_JIT'] = b'1'",
        "os.putenv('BREVITAS_JIT', '1')",
        "exec(\"os.environ['BREVITAS_JIT'] = '1'\")",
        "exec(\"import os; os.environ['BREVITAS_JIT'] = '1'\", {})",
        "exec(\"import os; os.environ['BREVITAS_JIT'] = '1'\", {'__name__': None})",
        "(lambda: os.environ.__setitem__('BREVITAS_JIT', '1'))()",
        "threading.Thread(target=lambda: os.environ.__setitem__('BREVITAS_JIT', '1')).start()",
    ],
)
def test_every_way_to_change_a_variable_is_seen(guarded, change):
    place = "<string>:1" if change.startswith("exec") else "train.py:2"
    guarded(f"import os, threading, brevitas\n{change}", told=[(place, "BREVITAS_JIT", "set")])


@pytest.mark.parametrize(
    "change",
    [
        "del os.environ['BREVITAS_JIT']",
        "os.environ.pop('BREVITAS_JIT')",
        "os.environ.clear()",
        "os.unsetenv('BREVITAS_JIT')",
    ],
)
def test_to_remove_a_variable_is_a_change(guarded, change):
    (line,) = guarded(
        f"import os, brevitas\n{change}",
        "-e",
        "BREVITAS_JIT=1",
        "--unset",
        "LD_LIBRARY_PATH",
        told=[("train.py:2", "BREVITAS_JIT", "removed")],
    )
    assert "; try --unset BREVITAS_JIT [" in line


def test_each_line_is_told_once_however_often_it_runs(guarded):
    guarded(
        "import os, brevitas\nfor n in range(5):\n    os.environ['BREVITAS_JIT'] = str(n)\nos.environ['BREVITAS_JIT'] = '9'\n",
        told=[("train.py:3", "BREVITAS_JIT", "set"), ("train.py:4", "BREVITAS_JIT", "set")],
    )


def test_what_python_reads_at_its_start_is_too_late_in_any_line(guarded):
    (line,) = guarded("import os\nos.environ['PYTHONHASHSEED'] = '7'", told=[("train.py:2", "PYTHONHASHSEED", "set")])
    assert "after the start of this process, the only time that it is read: no effect in this process" in line


def test_no_value_is_ever_told(guarded):
    lines = guarded(
        "import os, brevitas\nos.environ['BREVITAS_JIT'] = 'geheim'\nos.environ['BREVITAS_JIT'] = 'secreto'",
        "-e",
        "BREVITAS_JIT=1",
        told=[("train.py:2", "BREVITAS_JIT", "set"), ("train.py:3", "BREVITAS_JIT", "set")],
    )
    assert not re.search("geheim|secreto", " ".join(lines))


# -- who does it -----------------------------------------------------------------------------------


def test_a_module_of_the_users_is_named_where_it_does_it(guarded, world):
    world.write("pkg/settings.py", "import os\ndef late():\n    os.environ['BREVITAS_JIT'] = '1'\n")
    guarded(
        "import brevitas\nfrom pkg import settings\nsettings.late()",
        told=[("pkg/settings.py:3", "BREVITAS_JIT", "set")],
    )


def test_an_installed_package_is_named_and_the_users_line_that_calls_it(guarded, world):
    world.write("lib/site-packages/loader.py", "import os\ndef load():\n    os.environ['BREVITAS_JIT'] = '1'\n")
    guarded(
        "import sys, brevitas\nsys.path.append('lib/site-packages')\nimport loader\nloader.load()",
        told=[("lib/site-packages/loader.py:3, called from train.py:4", "BREVITAS_JIT", "set")],
    )


def test_what_a_package_sets_for_its_children_when_it_is_imported_is_not_told(guarded, world):
    world.write("lib/site-packages/loader.py", "import os\nos.environ['LD_LIBRARY_PATH'] = '/lib'\n")
    assert guarded("import sys\nsys.path.append('lib/site-packages')\nimport loader") == []


def test_an_import_is_named_where_the_user_makes_it(guarded, world):
    world.write("lib/site-packages/helper.py", "import brevitas\n")
    (line,) = guarded(
        "import os, sys\nsys.path.append('lib/site-packages')\nimport helper\nos.environ['BREVITAS_JIT'] = '1'",
        told=[("train.py:4", "BREVITAS_JIT", "set")],
    )
    assert "after the import of brevitas (train.py:3), which" in line


def test_all_modules_that_have_read_it_are_named_and_no_others(guarded, world):
    for name in ("numpy.py", "torch.py", "megengine.py"):
        world.write(name, "")
    lines = guarded(
        "import os, numpy\nos.environ['OMP_NUM_THREADS'] = '2'\nimport torch\nos.environ['OMP_NUM_THREADS'] = '3'",
        told=[("train.py:2", "OMP_NUM_THREADS", "set"), ("train.py:4", "OMP_NUM_THREADS", "set")],
    )
    assert "after the import of numpy (train.py:1), which has read it: no effect on numpy in" in lines[0]
    assert "after the import of numpy (train.py:1) and torch (train.py:3), which have read it" in lines[1]


# -- where it does it ------------------------------------------------------------------------------

LATE = "import multiprocessing as mp, os, sys, brevitas\ndef work(n):\n    os.environ['BREVITAS_JIT'] = str(n)\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_are_guarded_too(guarded, method):
    guarded(
        f"{LATE}if __name__ == '__main__':\n    p = mp.get_context('{method}').Process(target=work, args=(1,))\n    p.start(); p.join()\n",
        told=[("train.py:3", "BREVITAS_JIT", "set")],
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_the_parent_has_told_its_children_do_not_tell_again(guarded, method):
    guarded(
        f"{LATE}if __name__ == '__main__':\n    work(0)\n    p = mp.get_context('{method}').Process(target=work, args=(1,))\n    p.start(); p.join()\n",
        told=[("train.py:3", "BREVITAS_JIT", "set")],
    )


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_spawned_process_is_guarded_also_when_the_file_of_the_guard_has_gone(world, method):
    copy = world.write(BOOTSTRAP.name, BOOTSTRAP.read_text())
    world.write("brevitas.py", FRAMEWORK)
    world.write(
        "train.py",
        "import multiprocessing as mp, os\n"
        "def work():\n    import brevitas\n    os.environ['BREVITAS_JIT'] = '1'\n"
        f"if __name__ == '__main__':\n    os.remove({BOOTSTRAP.name!r})\n"
        f"    p = mp.get_context({method!r}).Process(target=work)\n    p.start(); p.join(); print(p.exitcode)\n",
    )
    done = subprocess.run(
        [sys.executable, copy, "guard", "train.py"],
        cwd=world.project,
        env=world.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    (line,) = done.stderr.splitlines()
    assert LINE.match(line)["place"] == "train.py:4"


def test_a_process_that_a_spawned_one_spawns_is_guarded(guarded):
    guarded(
        f"{LATE}def start(f, *a):\n    p = mp.get_context('spawn').Process(target=f, args=a)\n    p.start(); p.join()\n"
        "if __name__ == '__main__':\n    start(start, work, 1)\n",
        told=[("train.py:3", "BREVITAS_JIT", "set")],
    )


def test_a_module_is_guarded(world):
    world.write("brevitas.py", FRAMEWORK)
    world.write("pkg/late.py", "import os, brevitas\nos.environ['BREVITAS_JIT'] = '1'\n")
    done = world.run("run", "--guard", "-m", "pkg.late")
    assert done.stderr.startswith(
        "mgelaunch: warning: pkg/late.py:2: BREVITAS_JIT is set after the import of brevitas (pkg/late.py:1)"
    )


def test_each_rank_is_guarded(world):
    world.write("brevitas.py", FRAMEWORK)
    world.write("train.py", "import os, brevitas\nos.environ['BREVITAS_JIT'] = '1'\nprint(os.environ['RANK'])")
    done = world.run("run", "-n", "2", "--guard", "train.py")
    assert (done.returncode, sorted(done.stdout.split())) == (0, ["0", "1", "[0]", "[1]"])
    assert sorted(line[:45] for line in done.stderr.splitlines()) == [
        "[0] mgelaunch: warning: train.py:2: BREVITAS_JI"[:45],
        "[1] mgelaunch: warning: train.py:2: BREVITAS_JI"[:45],
    ]


def test_a_profile_can_ask_for_it(world):
    world.write("brevitas.py", FRAMEWORK)
    world.write(".mgelaunch/p.toml", "[launch]\nguard = true\n")
    world.write("train.py", "import os, brevitas\nos.environ['BREVITAS_JIT'] = '1'\n")
    assert "train.py:2: BREVITAS_JIT is set after" in world.run("run", "-p", "p", "train.py").stderr


def test_a_closed_stderr_is_no_reason_to_fail(world, start):
    world.write("brevitas.py", FRAMEWORK)
    world.write(
        "train.py",
        "import os, brevitas\nfile = open('file', 'w')\nos.environ['BREVITAS_JIT'] = '1'\nprint(file.fileno())",
    )
    process = start("run", "--guard", "train.py", wrapper=["sh", "-c", 'exec "$@" 2>&-', "sh"])
    assert process.communicate(timeout=30)[0] == b"2\n"
    assert (world.project / "file").read_text() == ""


def test_a_signal_that_comes_meanwhile_is_not_lost(world):
    world.write(
        "train.py",
        "import os, signal\ndef alarm(*_): raise TimeoutError\nsignal.signal(signal.SIGALRM, alarm)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.2)\nn = 0\n"
        "try:\n    while True:\n        n += 1\n        os.environ['SOME'] = str(n)\nexcept TimeoutError: print('heard')\n",
    )
    assert world.run("run", "--guard", "train.py").stdout == "heard\n"


# -- what is shown, and what cannot be guarded --------------------------------------------------------


def test_a_dry_run_shows_the_command_as_it_would_be(world):
    world.write("train.py", "")
    done = world.run("run", "--guard", "--dry-run", "train.py", "-x")
    command = next(line for line in done.stdout.splitlines() if line.startswith("command"))
    assert command.split()[1:] == [sys.executable, command.split()[2], "guard", "train.py", "-x"]
    assert os.path.basename(command.split()[2]) == "importlib_bootstrap.py"


def test_the_environment_of_the_script_is_the_planned_one(world, out):
    world.write("train.py", "import os; print(sorted(os.environ.items()))")
    assert out("run", "--guard", "train.py") == out("run", "train.py")


@pytest.mark.parametrize(
    "command", [["true"], ["sh", "-c", ":"], [sys.executable, "-c", "pass"]], ids=["program", "shell", "-c"]
)
def test_what_is_no_script_of_python_is_run_and_the_user_is_told(world, command):
    done = world.run("run", "--guard", *command)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("mgelaunch: warning: --guard can do nothing here")
    assert done.stderr.endswith(" [guard.command]\n")
    assert world.run("run", "--guard", "--strict", *command).returncode == 125


def test_a_command_whose_first_line_names_a_python_is_guarded_as_a_script_is(world):
    world.write("brevitas.py", FRAMEWORK)
    tool = world.write(
        "bin/tool",
        f"#!{sys.executable} -u\nimport os, sys\nsys.path.insert(0, '.')\nimport brevitas\nos.environ['BREVITAS_JIT'] = '1'\nprint(sys.argv)\n",
    )
    tool.chmod(0o755)
    plain, guarded = world.run("run", "bin/tool", "a"), world.run("run", "--guard", "bin/tool", "a")
    assert (guarded.returncode, guarded.stdout) == (0, plain.stdout)
    assert guarded.stderr.startswith("mgelaunch: warning: bin/tool:5: BREVITAS_JIT is set after")


def test_a_python_that_is_named_as_a_command_is_guarded(world):
    world.write("brevitas.py", FRAMEWORK)
    world.write("train.py", "import os, brevitas\nos.environ['BREVITAS_JIT'] = '1'\n")
    done = world.run("run", "--guard", sys.executable, "-u", "-X", "dev", "train.py")
    assert done.stderr.startswith("mgelaunch: warning: train.py:2: BREVITAS_JIT is set after")


def test_an_environment_alone_carries_neither_guard_nor_fix_and_says_so(world):
    options = ["--guard", "--fix", "execution-strategy", "-e", "MEGENGINE_EXECUTION_STRATEGY=PROFILE"]
    done = world.run("env", *options)
    assert done.returncode == 0
    assert "--guard and --fix execution-strategy can do nothing here" in done.stderr
    assert "[name.dead]" in done.stderr


def test_a_fix_that_is_unknown_is_told_where_it_stands(world):
    world.write(".mgelaunch/p.toml", "[launch]\nfix = ['everything']\n")
    world.write("train.py", "")
    typed, of_profile = world.run("run", "--fix", "everything", "train.py"), world.run("run", "-p", "p", "train.py")
    assert (typed.returncode, of_profile.returncode) == (2, 125)
    assert "--fix knows cgroup2-dataloader, execution-strategy, dtr-allocator, not everything" in typed.stderr
    assert "p.toml:2" in of_profile.stderr
    assert "everything" not in of_profile.stderr


def test_a_fix_that_cannot_act_in_a_command_silences_no_warning(world):
    setting = ("-e", "MEGENGINE_EXECUTION_STRATEGY=PROFILE")
    told = [world.run("run", *fix, *setting, "true").stderr for fix in ((), ("--fix", "execution-strategy"))]
    assert ["[name.dead]" in stderr for stderr in told] == [True, True]
    assert ["[guard.command]" in stderr for stderr in told] == [False, True]


def test_a_profile_can_ask_for_a_fix(world):
    world.write(".mgelaunch/p.toml", "[launch]\nfix = ['execution-strategy']\n")
    world.write("train.py", "")
    done = world.run("run", "-p", "p", "--dry-run", "train.py")
    assert " execution-strategy train.py" in done.stdout


def old_pythons():
    """Pythons without audit hooks that pyenv has."""
    versions = os.path.join(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "versions")
    names = os.listdir(versions) if os.path.isdir(versions) else ()
    return [os.path.join(versions, name, "bin", "python") for name in names if re.match(r"3\.[67]\.", name)]


@pytest.mark.parametrize(
    "python", old_pythons() or [pytest.param("", marks=pytest.mark.skip(reason="no Python 3.6 or 3.7"))]
)
def test_a_python_without_audit_hooks_runs_the_script_and_says_so(world, python):
    world.write("train.py", "import os, sys\nos.environ['PYTHONHASHSEED'] = '1'\nprint(sys.argv)\nraise KeyError(1)\n")
    done = world.run("run", "--python", python, "--guard", "train.py", "a")
    alone = subprocess.run([python, "train.py", "a"], cwd=world.project, capture_output=True, text=True, check=False)
    first, _, rest = done.stderr.partition("\n")
    assert (done.returncode, done.stdout, rest) == (1, alone.stdout, alone.stderr)
    assert re.fullmatch(
        r"mgelaunch: warning: --guard needs Python 3\.8, and this is 3\.[67]\.\d+: .* \[guard\.python\]", first
    )
