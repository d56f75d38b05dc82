"""The project's own .env: from the working directory up to the project root, never further, never the home's."""

import pytest

from mgelaunch.environment.project import find_env_file, project_root


@pytest.fixture
def tree(tmp_path):
    """``home/lab/project/src/deep`` with a .env in the home and one above the project."""
    deep = tmp_path / "home" / "lab" / "project" / "src" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "home" / ".env").touch()
    (tmp_path / "home" / "lab" / ".env").touch()
    return tmp_path / "home"


def found(tree, cwd):
    """What is found from `cwd`, as a path below the home."""
    folder, home = str(tree / cwd), str(tree)
    return find_env_file(folder, project_root(folder, home), home).removeprefix(f"{home}/")


@pytest.mark.parametrize("sign", [".mgelaunch", "pyproject.toml", ".git"])
def test_the_project_root_is_the_nearest_folder_with_a_sign(tree, sign):
    for folder in ("lab", "lab/project"):
        (tree / folder / sign).mkdir()
    assert project_root(str(tree / "lab/project/src/deep"), str(tree)) == str(tree / "lab/project")
    assert project_root(str(tree / "lab"), str(tree)) == str(tree / "lab")


def test_the_home_is_no_project_and_nothing_above_it_is(tree):
    for folder in (tree, tree.parent):
        (folder / ".git").mkdir()
    assert project_root(str(tree / "lab/project"), str(tree)) is None
    assert project_root(str(tree), str(tree)) is None


@pytest.mark.parametrize("where", ["lab/project/src/deep", "lab/project/src", "lab/project"])
def test_the_nearest_file_up_to_the_root_is_found(tree, where):
    (tree / "lab/project/.git").mkdir()
    (tree / where / ".env").touch()
    assert found(tree, "lab/project/src/deep") == f"{where}/.env"


def test_a_file_above_the_root_is_not(tree):
    (tree / "lab/project/.git").mkdir()
    assert found(tree, "lab/project/src/deep") == ""


def test_without_a_project_only_the_working_directory_counts(tree):
    assert found(tree, "lab/project") == ""
    assert found(tree, "lab") == "lab/.env"


def test_the_homes_file_is_never_read(tree):
    (tree / ".git").mkdir()
    assert found(tree, "") == ""
    assert find_env_file(str(tree), str(tree), str(tree)) == ""


def test_a_folder_called_env_is_no_file(tree):
    (tree / "lab/project/.git").mkdir()
    (tree / "lab/project/src/.env").mkdir()
    (tree / "lab/project/.env").touch()
    assert found(tree, "lab/project/src") == "lab/project/.env"


def test_a_link_to_nothing_is_found_so_that_it_is_told(tree):
    (tree / "lab/project/.git").mkdir()
    (tree / "lab/project/.env").symlink_to("gone")
    assert found(tree, "lab/project/src") == "lab/project/.env"
