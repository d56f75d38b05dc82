"""TARGET is started as Python or the shell would start it: same interpreter state, same path, same name."""

import json
import sys
import zipfile

import pytest

STATE = """import json, sys
print(json.dumps({
    "file": globals().get("__file__"),
    "name": __name__,
    "package": __package__,
    "argv": sys.argv,
    "path": sys.path,
    "executable": sys.executable,
    "flags": list(sys.flags),
    "warnings": sys.warnoptions,
    "command line": sys.orig_argv[1:],
}))
"""


@pytest.fixture
def programs(world):
    """One program in every shape that Python starts."""
    world.write("train.py", STATE)
    world.write("sub dir/train.py", STATE)
    world.write("pkg/__init__.py", "")
    world.write("pkg/mod.py", STATE)
    world.write("pkg/__main__.py", STATE)
    world.write("folder/__main__.py", STATE)
    for name in ("app.pyz", "app.zip"):
        with zipfile.ZipFile(world.project / name, "w") as archive:
            archive.writestr("__main__.py", STATE)


@pytest.mark.parametrize(
    "target",
    [
        ["train.py"],
        ["./train.py"],
        ["sub dir/train.py"],
        ["sub dir/../train.py"],
        ["-m", "pkg.mod"],
        ["-m", "pkg"],
        ["pkg"],
        ["folder"],
        ["./folder/"],
        ["app.pyz"],
        ["./app.zip"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("programs")
def test_a_target_finds_the_interpreter_as_bare_python_has_it(world, bare, target):
    done, alone = world.run("run", *target, "--lr", "1"), bare(sys.executable, *target, "--lr", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(alone.stdout)


@pytest.mark.usefixtures("programs")
def test_a_script_by_its_absolute_path_is_started_from_anywhere(world, bare, tmp_path):
    script = str(world.project / "train.py")
    done, alone = world.run("run", script, cwd=tmp_path), bare(sys.executable, script, cwd=tmp_path)
    assert json.loads(done.stdout) == json.loads(alone.stdout)


def test_a_dash_is_the_script_on_stdin(world, bare):
    done, alone = (
        world.run("run", "-", "a", "-n", stdin=STATE),
        bare(sys.executable, "-", "a", "-n", input=STATE.encode()),
    )
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads(alone.stdout)


def test_a_script_whose_name_begins_with_a_dash_is_still_a_script(world):
    world.write("-c.py", "import sys; print(sys.argv)")
    done = world.run("run", "--", "-c.py", "x")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("c.py', 'x']\n")


def test_a_module_that_is_missing_is_pythons_own_error(world, bare):
    done, alone = world.run("run", "-m", "no_such_module"), bare(sys.executable, "-m", "no_such_module")
    assert (done.returncode, done.stderr.encode()) == (alone.returncode, alone.stderr)


def test_a_module_can_be_one_of_pythons_tools(world):
    world.write("train.py", "print('trained')")
    done = world.run("run", "-m", "pdb", "-c", "continue", "train.py", stdin="quit\n")
    assert "trained\n" in done.stdout
    done = world.run("run", "-m", "cProfile", "-o", "profile.out", "train.py")
    assert (done.returncode, done.stdout) == (0, "trained\n")


# -- commands ------------------------------------------------------------------------------------


@pytest.fixture
def tool(tmp_path):
    """A function that makes a command of this name in a folder; it prints the folder."""

    def make(folder, name="tool"):
        command = tmp_path / folder / name
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(f'#!/bin/sh\necho {folder} "$0" "$@"\n')
        command.chmod(0o755)
        return command

    return make


def test_a_command_is_looked_up_on_path_in_its_order(world, tool, tmp_path):
    first, _ = tool("first"), tool("second")
    done = world.run("run", "tool", "-n", "2", PATH=f"{tmp_path}/first:{tmp_path}/second:{world.environ['PATH']}")
    assert done.stdout == f"first {first} -n 2\n"


def test_a_command_of_the_target_environment_comes_before_path(world, tool, tmp_path):
    tool("elsewhere")
    tool("environment/bin")
    (tmp_path / "environment/bin/python").symlink_to(sys.executable)
    (tmp_path / "environment/pyvenv.cfg").touch()
    path = f"{tmp_path}/elsewhere:{world.environ['PATH']}"
    done = world.run("run", "--python", tmp_path / "environment", "tool", PATH=path)
    assert done.stdout.startswith("environment/bin ")


def test_a_command_is_looked_up_on_the_path_that_the_settings_make(world, tool, tmp_path):
    tool("added")
    done = world.run("run", "-e", f"PATH={tmp_path}/added:{world.environ['PATH']}", "tool")
    assert done.stdout.startswith("added ")


def test_a_command_with_a_slash_is_a_path(world, tool, tmp_path):
    tool("first")
    here = tool("project/bin")
    done = world.run("run", "bin/tool", "x", PATH=f"{tmp_path}/first:{world.environ['PATH']}")
    assert done.stdout == f"project/bin {here} x\n"


def test_a_command_in_the_working_directory_needs_its_slash(world, tool):
    tool("project")
    done = world.run("run", "tool")
    assert done.returncode == 127
    assert "./tool" in done.stderr


def test_a_file_that_cannot_be_executed_does_not_hide_a_command_behind_it(world, tool, tmp_path):
    tool("first").chmod(0o644)
    tool("second")
    done = world.run("run", "tool", PATH=f"{tmp_path}/first:{tmp_path}/second:{world.environ['PATH']}")
    assert done.stdout.startswith("second ")


def test_a_command_has_its_own_name_as_its_first_argument(world):
    done = world.run("run", "sh", "-c", 'tr "\\0" " " < /proc/$$/cmdline')
    assert done.stdout.startswith("sh -c ")


def test_a_command_needs_no_python(world):
    del world.environ["MGELAUNCH_PYTHON"]
    done = world.run("run", "/bin/echo", "here", PATH="/nonexistent")
    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")


def test_an_executable_python_script_is_run_by_the_target_interpreter_not_by_its_first_line(world):
    world.write("train.py", "#!/nonexistent/python\nimport sys; print(sys.executable)").chmod(0o755)
    assert world.run("run", "./train.py").stdout == f"{sys.executable}\n"
