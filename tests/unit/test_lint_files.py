"""Paths that cannot be looked at: said when they are named or hold something, passed over below a folder."""

import os

import pytest

from mgelaunch.errors import UsageError

from .lint_scripts import outcome

WRONG = "import os\nos.environ['MGB_COMP_GRAPH_OPT'] = ''\n"


@pytest.fixture
def places(tmp_path):
    """A folder with a pipe, a link to nowhere, and a link to a script, all of them called scripts."""
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "nowhere.py").symlink_to("nothing")
    (tmp_path / "other").write_text(WRONG)
    (tmp_path / "link.py").symlink_to("other")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["link.py", "nowhere.py", "missing.py"], "there is no file or folder nowhere.py, missing.py"),
        (["pipe.py", "link.py"], "neither a file nor a folder: pipe.py"),
        (["link.py", ""], "a PATH is empty"),
    ],
)
def test_a_named_path_is_a_file_or_a_folder(places, names, complaint):
    with pytest.raises(UsageError, match=complaint):
        outcome(places, {}, *names)


def test_below_a_folder_what_is_no_file_is_passed_over(places):
    result = outcome(places, {}, ".")
    assert ([finding.place for finding in result.findings], result.files) == (["link.py:2:1"], 1)


def test_a_module_that_is_a_pipe_is_passed_over(tmp_path):
    (tmp_path / "pkg").mkdir()
    os.mkfifo(tmp_path / "pkg" / "__init__.py")
    result = outcome(tmp_path, {"script.py": f"import pkg\n{WRONG}"}, "script.py")
    assert [finding.place for finding in result.findings] == ["script.py:3:1"]


def too_deep(folder):
    """Makes folders in `folder` until their path is longer than the kernel takes (PATH_MAX, 4096 bytes)."""
    current = os.open(folder, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=current)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(current)


def test_a_folder_that_cannot_be_listed_is_a_finding_beside_the_others(tmp_path):
    too_deep(tmp_path)
    result = outcome(tmp_path, {"script.py": WRONG}, ".")
    unlisted, dead = result.findings
    assert (unlisted.severity, unlisted.code) == ("error", "file.unreadable")
    assert unlisted.message == "the folder cannot be read: File name too long"
    assert unlisted.place.startswith("dddd")
    assert (dead.place, result.files) == ("script.py:2:1", 1)
