"""Which Python runs the script: the first rule that names one wins, and every rule says its name."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def world(world, tmp_path):
    """A shell in which no variable names a Python, and whose PATH has a Python of the system (here: `system`)."""
    del world.environ["MGELAUNCH_PYTHON"]
    system = tmp_path / "system"
    system.mkdir()
    base = os.path.realpath(sys.executable)
    for name in ("python", "python3"):
        # A script, because a link would make the folder a home of its own.
        (system / name).write_text(f'#!/bin/sh\nexec {base} "$@"\n')
        (system / name).chmod(0o755)
    world.environ["PATH"] = f"{system}:/usr/bin:/bin"
    world.write("where.py", "import sys; print(sys.prefix)")
    return world


@pytest.fixture
def venv(tmp_path):
    """A function that makes a virtual environment without packages, in a folder below the test's own."""

    def make(name):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", tmp_path / name], check=True)
        return tmp_path / name

    return make


def prefix(done):
    """Where the Python that ran the script lives."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def chosen_by(world, *options, **environ):
    """The rule that a dry-run names for the script's Python."""
    done = world.run("run", "--dry-run", "-f", "json", *options, "where.py", **environ)
    return json.loads(done.stdout)["target"]["chosen_by"]


@pytest.mark.parametrize("way", ["path", "folder", "relative", "home", "name"])
def test_python_is_a_path_a_folder_or_a_name(world, venv, way):
    env = venv("home/env")
    named = {
        "path": env / "bin" / "python",
        "folder": env,
        "relative": "../home/env/bin/python3",
        "home": "~/env",
        "name": "python-of-env",
    }[way]
    (env / "bin" / "python-of-env").symlink_to("python")
    path = f"{env}/bin:{world.environ['PATH']}" if way == "name" else world.environ["PATH"]
    assert prefix(world.run("run", "--python", named, "where.py", PATH=path)) == str(env)
    assert chosen_by(world, "--python", named, PATH=path) == "--python"


def test_the_rules_from_the_flag_to_path_in_their_order(world, venv):
    """Each round takes the rule away that won the round before."""
    flag, profile, variable, active, project = map(venv, ("flag", "prof", "variable", "active", "project/.venv"))
    world.write(".mgelaunch/p.toml", f"[launch]\npython = '{profile}'\n")
    shell = {"MGELAUNCH_PYTHON": str(variable), "VIRTUAL_ENV": str(active)}
    on_path = {"PATH": f"{active}/bin:{world.environ['PATH']}"}
    rounds = [
        (["--python", flag, "-p", "p"], shell | on_path, flag, "--python"),
        (["-p", "p"], shell | on_path, profile, "profile"),
        ([], shell | on_path, variable, "MGELAUNCH_PYTHON"),
        ([], {"VIRTUAL_ENV": str(active)} | on_path, active, "VIRTUAL_ENV"),
        ([], {"CONDA_PREFIX": str(active)} | on_path, active, "CONDA_PREFIX"),
        ([], {}, project, ".venv"),
    ]
    for options, environ, expected, rule in rounds:
        assert prefix(world.run("run", *options, "where.py", **environ)) == str(expected)
        assert chosen_by(world, *options, **environ) == rule


def test_a_bare_path_is_the_last_resort(world):
    assert prefix(world.run("run", "where.py")) == os.path.realpath(sys.base_prefix)
    assert chosen_by(world) == "PATH"


def test_the_text_of_a_dry_run_says_which_python_and_why(world, venv):
    env = venv("env")
    done = world.run("run", "--dry-run", "--python", env, "where.py")
    version = ".".join(map(str, sys.version_info[:3]))
    assert done.stdout.splitlines()[0] == f"python  {env}/bin/python  {version}  by --python"


def test_a_python_of_a_profile_is_relative_to_its_file(world, venv):
    env = venv("project/envs/train")
    world.write(".mgelaunch/p.toml", "[launch]\npython = '../envs/train/bin/python'\n")
    below = world.project / "src"
    below.mkdir()
    assert prefix(world.run("run", "-p", "p", "../where.py", cwd=below)) == str(env)


def test_a_virtual_env_that_path_does_not_mean_gives_way_to_path_with_a_warning(world, venv):
    stale = venv("stale")
    done = world.run("run", "where.py", VIRTUAL_ENV=str(stale))
    assert (done.returncode, done.stdout.strip()) == (0, os.path.realpath(sys.base_prefix))
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("mgelaunch: warning: VIRTUAL_ENV ")
    assert f"--python {stale}" in done.stderr


def test_a_conda_base_comes_only_before_path(world, venv):
    base, project = venv("conda"), venv("project/.venv")
    conda = {"CONDA_PREFIX": str(base), "CONDA_DEFAULT_ENV": "base", "PATH": f"{base}/bin:{world.environ['PATH']}"}
    assert prefix(world.run("run", "where.py", **conda)) == str(project)
    (project / "bin" / "python").unlink()
    assert prefix(world.run("run", "where.py", **conda)) == str(base)
    assert chosen_by(world, **conda) == "conda base"


@pytest.mark.parametrize("where", [".", "src", "src/deep/er"])
def test_a_venv_of_the_project_is_found_from_every_folder_below_it(world, venv, where):
    env = venv("project/.venv")
    below = world.project / where
    below.mkdir(parents=True, exist_ok=True)
    assert prefix(world.run("run", world.project / "where.py", cwd=below)) == str(env)


def test_the_nearest_venv_wins(world, venv):
    venv("project/.venv")
    near = venv("project/part/.venv")
    assert prefix(world.run("run", "../where.py", cwd=world.project / "part")) == str(near)


def test_a_venv_above_the_project_is_not_looked_at(world, venv):
    venv(".venv")
    assert prefix(world.run("run", "where.py")) == os.path.realpath(sys.base_prefix)


def test_without_a_project_only_the_working_directory_is_looked_at(world, venv, tmp_path):
    loose = tmp_path / "loose" / "sub"
    loose.mkdir(parents=True)
    venv("loose/.venv")
    script = world.project / "where.py"
    assert prefix(world.run("run", script, cwd=loose)) == os.path.realpath(sys.base_prefix)
    assert prefix(world.run("run", script, cwd=loose.parent)) == str(loose.parent / ".venv")


def test_when_no_python_is_found_every_place_that_was_looked_at_is_named(world, tmp_path):
    (world.project / ".venv").mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    done = world.run("run", "where.py", PATH=f"{tools}:/nonexistent/bin")
    assert (done.returncode, done.stdout) == (127, "")
    error, last = done.stderr.splitlines()
    assert last == "mgelaunch: nothing was started (exit code 127, target.python)"
    for place in (f"{world.project}/.venv", str(tools), "/nonexistent/bin"):
        assert place in error


@pytest.mark.parametrize(
    ("named", "code"), [("/nonexistent/python", 127), ("no-such-python", 127), ("empty", 127), ("plain", 126)]
)
@pytest.mark.parametrize("rule", ["--python", "profile", "MGELAUNCH_PYTHON"])
def test_a_python_that_is_named_and_cannot_be_used_is_an_error_and_no_other_is_taken(world, venv, named, code, rule):
    venv("project/.venv")
    (world.project / "empty").mkdir()
    world.write("plain", "no program")
    if rule == "profile":
        world.write(
            ".mgelaunch/p.toml", f"[launch]\npython = '{named if '-' in named or '/' in named else f'../{named}'}'"
        )
    options = {"--python": ["--python", named], "profile": ["-p", "p"]}.get(rule, [])
    environ = {rule: named} if rule == "MGELAUNCH_PYTHON" else {}
    done = world.run("run", *options, "where.py", **environ)
    assert (done.returncode, done.stdout) == (code, "")
    error, last = done.stderr.splitlines()
    assert rule in error
    assert last.startswith(f"mgelaunch: nothing was started (exit code {code}, target.")


def test_pythonpath_is_left_to_the_script(world, tmp_path):
    world.write("where.py", "import os; print(os.environ['PYTHONPATH'])")
    assert world.run("run", "where.py", PYTHONPATH=f"{tmp_path}/a:b").stdout == f"{tmp_path}/a:b\n"
