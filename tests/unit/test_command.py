"""TARGET is a script, a module or any command; what is certain to fail is said before anything is started."""

import pytest

from mgelaunch.finding import Finding
from mgelaunch.launch.command import Target, find_command
from mgelaunch.target.interpreter import Interpreter

ARGS = ("-b", "64", "--", "--profile")


class Place:
    """A working directory, a PATH and the bin of the chosen environment."""

    def __init__(self, root):
        self.cwd, self.path = root / "cwd", str(root / "usr")
        self.python = Interpreter(str(root / "env/bin/python"), "--python")
        for folder in ("cwd", "usr", "env/bin"):
            (root / folder).mkdir(parents=True)
        (root / "env/pyvenv.cfg").touch()
        self.root = root

    def file(self, name, mode=0o644):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
        return str(path)

    def find(self, name, *, module=False, python=None):
        return find_command(Target(name, ARGS, module), python or self.python, str(self.cwd), self.path)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


# What runs under the interpreter.


@pytest.mark.parametrize("name", ["train.py", "app.pyz", "app.zip", "sub/train.py", "./train.py"])
def test_a_script_runs_under_the_interpreter_with_its_own_arguments(place, name):
    place.file(f"cwd/{name}")
    command = place.find(name)
    assert (command.program, command.findings) == (place.python.path, ())
    assert command.argv == (place.python.path, name, *ARGS)


def test_a_script_needs_no_permission_to_execute_and_its_first_line_does_not_count(place):
    place.file("cwd/train.py", 0o755)
    assert place.find("train.py").program == place.python.path


@pytest.mark.parametrize("name", ["app", "./app", "app.py"])
def test_a_directory_with_a_main_is_a_script(place, name):
    place.file(f"cwd/{name}/__main__.py")
    assert place.find(name).argv == (place.python.path, name, *ARGS)


def test_a_module_is_left_to_the_interpreter(place):
    command = place.find("pkg.train", module=True)
    assert (command.program, command.argv) == (place.python.path, (place.python.path, "-m", "pkg.train", *ARGS))


def test_a_dash_is_the_standard_input(place):
    assert place.find("-").argv == (place.python.path, "-", *ARGS)


# What does not.


def test_a_command_is_looked_up_in_the_environment_before_path_and_keeps_its_name(place):
    on_path = place.file("usr/tool", 0o755)
    assert (place.find("tool").program, place.find("tool").argv) == (on_path, ("tool", *ARGS))
    inside = place.file("env/bin/tool", 0o755)
    assert (place.find("tool").program, place.find("tool").argv) == (inside, ("tool", *ARGS))


@pytest.mark.parametrize("name", ["./tool", "sub/tool"])
def test_a_command_with_a_slash_is_a_path(place, name):
    program = place.file(f"cwd/{name}", 0o755)
    place.file("usr/tool", 0o755)
    command = place.find(name)
    assert (command.program.replace("/./", "/"), command.argv) == (program, (name, *ARGS))


@pytest.mark.parametrize("folder", ["usr", "env/bin"])
def test_a_directory_does_not_hide_a_command_of_its_name(place, folder):
    program = place.file(f"{folder}/tool", 0o755)
    (place.cwd / "tool").mkdir()
    assert place.find("tool").program == program


def test_a_script_whose_name_begins_with_a_dash_is_no_option_of_the_interpreter(place):
    place.file("cwd/-x.py")
    assert place.find("-x.py").argv == (place.python.path, "./-x.py", *ARGS)


@pytest.mark.parametrize(
    "content", [b"#!/bin/sh\n", b"#! /bin/sh -e\n", b"\x7fELF\x02\x01\x01\0"], ids=["script", "with a blank", "binary"]
)
@pytest.mark.parametrize("name", ["tool", "./tool"])
def test_a_program_is_a_binary_or_names_its_interpreter(place, name, content):
    for path in ("cwd/tool", "usr/tool"):
        place.file(path, 0o755)
        (place.root / path).write_bytes(content)
    assert place.find(name).findings == ()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(b"", "target.format", id="empty"),
        pytest.param(b"echo hello\n", "target.format", id="no first line"),
        pytest.param(b"#!/nowhere/python\n", "target.missing", id="an interpreter that is not there"),
    ],
)
@pytest.mark.parametrize("name", ["tool", "./tool"])
def test_a_text_that_the_kernel_would_not_execute_is_an_error(place, name, content, code):
    for path in ("cwd/tool", "usr/tool"):
        place.file(path, 0o755)
        (place.root / path).write_bytes(content)
    assert [(f.severity, f.code) for f in place.find(name).findings] == [("error", code)]
    assert place.find(name).program == ""


# What cannot be started.


def folder(place):
    (place.cwd / "thing").mkdir()


def script_folder(place):
    (place.cwd / "thing.py").mkdir()


def plain(place):
    place.file("cwd/thing")


@pytest.mark.parametrize(
    ("make", "name", "code", "remedy"),
    [
        pytest.param(None, "thing.py", "target.missing", "", id="no script"),
        pytest.param(None, "sub/thing.py", "target.missing", "", id="no script in a folder"),
        pytest.param(None, "thing", "target.missing", "", id="no command"),
        pytest.param(None, "./thing", "target.missing", "", id="no program"),
        pytest.param(folder, "thing", "target.directory", "", id="a directory"),
        pytest.param(folder, "./thing", "target.directory", "", id="a directory with a slash"),
        pytest.param(script_folder, "thing.py", "target.directory", "", id="a directory called as a script"),
        pytest.param(plain, "./thing", "target.permission", "chmod +x ./thing", id="not executable"),
        pytest.param(plain, "thing", "target.missing", "./thing", id="in the working directory only"),
    ],
)
def test_what_cannot_be_started_is_an_error_that_names_it(place, make, name, code, remedy):
    if make:
        make(place)
    command = place.find(name)
    assert (command.program, command.argv) == ("", ())
    (finding,) = command.findings
    assert (finding.severity, finding.code, finding.remedy) == ("error", code, remedy)
    assert name in finding.message


# Without a Python.

NO_PYTHON = Interpreter("", "", (), (Finding("error", "target.python", "no Python was found"),))
WRONG_PYTHON = Interpreter("", "--python", (), (Finding("error", "target.python", "it is not there"),))


@pytest.mark.parametrize("module", [False, True], ids=["script", "module"])
def test_without_a_python_no_script_can_run(place, module):
    place.file("cwd/train.py")
    command = place.find("train.py", module=module, python=NO_PYTHON)
    assert (command.program, command.findings) == ("", NO_PYTHON.findings)


def test_a_command_needs_no_python_unless_one_was_named(place):
    place.file("usr/tool", 0o755)
    assert place.find("tool", python=NO_PYTHON).findings == ()
    assert place.find("tool", python=WRONG_PYTHON).findings == WRONG_PYTHON.findings


def test_a_doubt_about_the_interpreter_is_told_with_whatever_it_runs(place):
    doubt = Finding("warning", "target.environment", "VIRTUAL_ENV names another Python than PATH")
    python = Interpreter(place.python.path, "PATH", (), (doubt,))
    place.file("cwd/train.py")
    assert place.find("train.py", python=python).findings == (doubt,)
