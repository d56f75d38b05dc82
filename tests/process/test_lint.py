"""``mgelaunch lint`` as a command: what it prints in which form, how it ends, and that it runs nothing."""

import json
import os

import pytest

LATE = """\
import os
import megengine
os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MGB_CUDA_RESERVE_MEMORY"] = "1"
"""

SAID = """\
train.py:3:1: error lint.late MEGENGINE_LOGGING_LEVEL was already read by "import megengine" at train.py:2
    mgelaunch run -e MEGENGINE_LOGGING_LEVEL=ERROR train.py
train.py:4:1: warning lint.late OMP_NUM_THREADS was already read by "import megengine" at train.py:2
    mgelaunch run -e OMP_NUM_THREADS=1 train.py
"""

NOTE = (
    'train.py:5:1: note lint.late MGB_CUDA_RESERVE_MEMORY is read when a device is opened; "import megengine" at '
    "train.py:2 does not do it\n"
)


@pytest.fixture
def project(world):
    """A project with a script that sets three variables behind the import."""
    world.write("train.py", LATE)
    return world


def said(done):
    """All that a command has said, its exit code first."""
    return done.returncode, done.stdout, done.stderr


def test_findings_have_place_severity_code_and_sentence_and_the_remedy_a_line_of_its_own(project):
    summary = "1 file: 1 error, 1 warning, 1 note (--verbose shows them)\n"
    assert said(project.run("lint", "train.py")) == (1, SAID + summary, "")


def test_notes_are_for_those_who_ask(project):
    summary = "1 file: 1 error, 1 warning, 1 note\n"
    assert said(project.run("lint", "-v", "train.py")) == (1, SAID + NOTE + summary, "")
    assert said(project.run("lint", "train.py", "--verbose")) == (1, SAID + NOTE + summary, "")


def test_a_file_without_findings(world):
    world.write("train.py", "import os\nos.environ['OMP_NUM_THREADS'] = '1'\nimport torch\n")
    assert said(world.run("lint", "train.py")) == (0, "1 file: nothing to say\n", "")


def test_warnings_and_notes_are_no_failure_but_with_strict_warnings_are(world):
    world.write("train.py", "import os, torch\nos.environ['OMP_NUM_THREADS'] = '1'\n")
    world.write("note.py", "import os, torch\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'\n")
    assert world.run("lint", "train.py").returncode == 0
    strict = world.run("lint", "--strict", "train.py")
    assert (strict.returncode, strict.stdout.splitlines()[-1]) == (1, "1 file: 1 error")
    assert world.run("lint", "--strict", "note.py").returncode == 0


def test_codes_can_be_ignored_for_a_call_and_lines_by_a_comment(project):
    assert said(project.run("lint", "--ignore", "lint.late", "train.py")) == (0, "1 file: nothing to say\n", "")
    assert said(project.run("lint", "--ignore", "lint.value,lint.late", "train.py"))[0] == 0
    assert project.run("lint", "--ignore", "lint.value", "train.py").returncode == 1
    project.write("train.py", LATE.replace('"ERROR"', '"ERROR"  # mgelaunch: ignore[lint.late]'))
    assert project.run("lint", "train.py").returncode == 0


def test_json_is_versioned_complete_and_the_same_each_time(project):
    project.write("sub/.env", "MGE_DEFAULT_DEVICE=tpu\n")
    first, second = (project.run("lint", "-f", "json", ".") for _ in range(2))
    assert said(first) == said(second)
    document = json.loads(first.stdout)
    assert (first.returncode, first.stderr, document["version"], document["files"]) == (1, "", 1, 2)
    places = [
        (found["file"], found["line"], found["column"], found["code"], found["severity"])
        for found in document["findings"]
    ]
    assert places == [
        ("sub/.env", 1, 20, "value.device", "error"),
        ("train.py", 3, 1, "lint.late", "error"),
        ("train.py", 4, 1, "lint.late", "warning"),
        ("train.py", 5, 1, "lint.late", "info"),
    ]
    assert document["findings"][1] == {
        "severity": "error",
        "code": "lint.late",
        "message": 'MEGENGINE_LOGGING_LEVEL was already read by "import megengine" at train.py:2',
        "names": ["MEGENGINE_LOGGING_LEVEL"],
        "remedy": "mgelaunch run -e MEGENGINE_LOGGING_LEVEL=ERROR train.py",
        "file": "train.py",
        "line": 3,
        "column": 1,
    }


ANNOTATION = (
    "::error file=train.py,line=3,col=1,title=lint.late::MEGENGINE_LOGGING_LEVEL was already read by "
    '"import megengine" at train.py:2; try mgelaunch run -e MEGENGINE_LOGGING_LEVEL=ERROR train.py\n'
)


def test_github_gets_annotations_when_asked_for_or_when_it_runs_the_job(project):
    asked, there = project.run("lint", "-f", "github", "."), project.run("lint", ".", GITHUB_ACTIONS="true")
    assert said(asked) == said(there)
    assert (asked.returncode, asked.stderr) == (1, "")
    assert asked.stdout.startswith(ANNOTATION)
    assert asked.stdout.count("::warning ") == 1
    assert project.run("lint", "-f", "text", ".", GITHUB_ACTIONS="true").stdout.startswith(SAID)


def test_a_folder_with_its_scripts_modules_profiles_and_env_files(project):
    project.write("tools/run.py", "import pkg.settings\nif __name__ == '__main__':\n    pkg.settings.apply()\n")
    project.write("pkg/__init__.py", "import torch\n")
    project.write("pkg/settings.py", "import os\ndef apply():\n    os.environ['TORCH_LOGS'] = '+dynamo'\n")
    project.write(".mgelaunch/ours.toml", '[env]\nMGE_DEFAULT_DEVICE = "tpu"\n')
    project.write(".env", "MGB_COMP_GRAPH_OPT=1\n")
    done = project.run("lint", ".")
    lines = [line.partition(" ")[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    places = [".env:1:20:", ".mgelaunch/ours.toml:2:1:", "pkg/settings.py:3:5:", "train.py:3:1:", "train.py:4:1:", "6"]
    assert (done.returncode, lines, done.stderr) == (1, places, "")
    assert 'TORCH_LOGS was already read by "import torch" at pkg/__init__.py:1' in done.stdout
    assert "mgelaunch run -e TORCH_LOGS=+dynamo tools/run.py" in done.stdout


def test_what_fights_the_profile(world):
    world.write("train.py", "import megengine as mge\nmge.dtr.disable()\nmge.set_default_device('cpu0')\n")
    world.write(".mgelaunch/ours.toml", '[env]\nMGE_DEFAULT_DEVICE = "gpu0"\n')
    assert said(world.run("lint", "train.py")) == (0, "1 file: nothing to say\n", "")
    done = world.run("lint", "-p", "dtr", "--profile", "ours", "train.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("train.py:2:1: warning lint.conflict mge.dtr.disable() overrules MEGENGINE_") == 3
    assert (
        "train.py:3:1: warning lint.conflict mge.set_default_device() overrules MGE_DEFAULT_DEVICE, which ours:2 sets\n"
        in done.stdout
    )


def test_a_profile_that_is_not_there_or_wrong(world):
    world.write("train.py", "")
    world.write(".mgelaunch/ours.toml", "[env]\nMGE_DEFAULT_DEVICE = 'tpu'\n[launc]\n")
    unknown, wrong = world.run("lint", "-p", "nowhere", "train.py"), world.run("lint", "-p", "ours", "train.py")
    assert unknown.stdout.startswith("--profile: error profile.unknown there is no profile nowhere in ")
    assert wrong.stdout.startswith(".mgelaunch/ours.toml:3:2: error profile.key ")
    assert ".mgelaunch/ours.toml:2:1: error value.device" in wrong.stdout
    assert (unknown.returncode, wrong.returncode) == (1, 1)


def test_a_shipped_profile_has_no_finding(world):
    folder = os.path.join(os.path.dirname(__file__), "..", "..", "profiles")
    files = sorted(name for name in os.listdir(folder) if name.endswith(".toml"))
    done = world.run("lint", *(os.path.join(os.path.abspath(folder), name) for name in files))
    assert said(done) == (0, f"{len(files)} files: nothing to say\n", "")


def test_a_script_that_cannot_be_read_is_an_error_on_its_line(world):
    world.write("old.py", "import os\nprint os.environ\n")
    world.write("gbk.py", "import os\nx = '显存'\n".encode("gbk"))
    done = world.run("lint", "old.py", "gbk.py")
    assert (done.returncode, done.stderr) == (1, "")
    assert "old.py:2:1: error lint.syntax Python cannot read this file: " in done.stdout
    assert "gbk.py:2:6: error lint.syntax the byte 0xcf is not valid UTF-8\n    save the file as UTF-8\n" in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every folder")
@pytest.mark.parametrize(("mode", "place"), [(0, "locked:"), (0o444, "locked/a.py:1:1:")], ids=["listed", "entered"])
def test_a_folder_that_must_not_be_read_is_an_error(world, mode, place):
    folder = world.write("locked/a.py", "import os\n").parent
    folder.chmod(mode)
    done = world.run("lint", ".")
    folder.chmod(0o755)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"{place} error file.unreadable the f")
    assert "Permission denied\n" in done.stdout


def test_nothing_is_run(world):
    for name in ("train.py", "megengine.py", "helper.py"):
        world.write(name, "open('was-run', 'w')\nimport megengine, helper\n")
    assert world.run("lint", "train.py").returncode == 0
    assert not (world.project / "was-run").exists()


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ((), "PATH... is missing or wrong"),
        (("nowhere.py",), "there is no file or folder nowhere.py"),
        (("lost.py",), "there is no file or folder lost.py"),
        (("pipe.py",), "neither a file nor a folder: pipe.py"),
        (("README",), "README is no .py, .toml or .env file"),
        (("--frob", "train.py"), "there is no option --frob"),
        (("-f", "xml", "train.py"), "-f / --format is missing or wrong; it is one of text, json, github"),
    ],
    ids=[
        *("no path", "a path that is not there", "a link to nowhere", "a pipe", "another kind of file"),
        *("no such option", "no such format"),
    ],
)
def test_a_wrong_command_line(project, args, complaint):
    project.write("README", "")
    (project.project / "lost.py").symlink_to("nothing")
    os.mkfifo(project.project / "pipe.py")
    done = project.run("lint", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"mgelaunch: error: {complaint}")


def test_colour_is_for_terminals_and_those_who_ask(project):
    assert "\x1b[31merror\x1b[0m" in project.run("lint", "train.py", FORCE_COLOR="1").stdout
    assert "\x1b" not in project.run("lint", "train.py", FORCE_COLOR="1", NO_COLOR="1").stdout


def test_names_and_texts_of_any_kind_do_not_break_the_output(world):
    world.write("显存.py", "import os, megengine\nos.environ['MGE_DEFAULT_DEVICE'] = '\\n\\x1b[31m'\n")
    world.write("two\nlines.py", "import os, megengine\nos.environ['MEGENGINE_ENABLE_DROP'] = '1'\n")
    done = world.run("lint", ".", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "two\\nlines.py:2:1: error lint.late MEGENGINE_ENABLE_DROP" in done.stdout
    assert len(done.stdout.splitlines()) == 7


def test_the_value_of_an_address_with_a_password_is_not_shown(world):
    world.write("train.py", "import os, megengine\nos.environ['MGE_FASTRUN_CACHE_URL'] = 'redis://:hunter2@host:1'\n")
    for form in ("text", "json", "github"):
        done = world.run("lint", "-f", form, "train.py")
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr


def test_only_what_it_needs_is_loaded(project, bare):
    command = project.command("lint", "train.py")
    done = bare(command[0], "-X", "importtime", *command[1:])
    modules = {line.split("|")[-1].strip() for line in done.stderr.decode().splitlines()}
    assert not modules & {
        "psutil",
        "dotenv",
        "tomllib",
        "mgelaunch.launch.supervise",
        "mgelaunch.cli.run",
    }
