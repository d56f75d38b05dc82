"""Which Python: the first rule that hits wins and says its name; a named one that is not there is an error."""

import os
from pathlib import Path

import pytest

from mgelaunch.target.interpreter import Surroundings, choose, search


def program(path):
    """Makes an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o755)
    return str(path)


class Tree:
    """Pythons wherever a rule looks for one, and the surroundings that lead to them."""

    def __init__(self, root):
        self.root, self.cwd = root, root / "project" / "src"
        self.cwd.mkdir(parents=True)
        self.paths = []
        self.environ = {}
        self.facts = {"project_root": str(root / "project"), "own": program(root / "own/bin/python"), "own_path": ()}

    def python(self, folder, *names):
        """The first of the Pythons (``python`` unless named) made in the bin of an environment."""
        made = [program(self.root / folder / "bin" / name) for name in names or ("python",)]
        return made[0]

    def activate(self, variable, folder):
        """What a script called activate does: names the environment and puts its bin first on PATH."""
        self.environ[variable] = str(self.root / folder)
        self.paths.insert(0, str(self.root / folder / "bin"))
        return self.python(folder)

    def choose(self):
        environ = self.environ | {"PATH": ":".join(self.paths)}
        return choose(Surroundings(environ=environ, cwd=str(self.cwd), **self.facts))


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def framework(folder, name="megengine"):
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    return str(folder)


def by_flag(tree):
    tree.facts["flag"] = tree.python("flag")


def by_profile(tree):
    tree.facts["profile"] = tree.python("profile")


def by_variable(tree):
    tree.environ["MGELAUNCH_PYTHON"] = tree.python("variable")


def by_virtual_env(tree):
    tree.activate("VIRTUAL_ENV", "venv")


def by_conda_env(tree):
    tree.activate("CONDA_PREFIX", "conda/envs/lab")
    tree.environ["CONDA_DEFAULT_ENV"] = "lab"


def by_own(tree):
    tree.facts["own_path"] = ("", framework(tree.root / "own/site-packages"))


def by_project_env(tree):
    tree.python("project/.venv")


def by_conda_base(tree):
    tree.environ |= {"CONDA_PREFIX": str(tree.root / "conda"), "CONDA_DEFAULT_ENV": "base"}
    tree.python("conda")


def by_python3(tree):
    tree.paths.append(str(tree.root / "usr/bin"))
    tree.python("usr", "python3")


def by_python(tree):
    tree.paths.append(str(tree.root / "opt/bin"))
    tree.python("opt", "python")


RULES = [
    (by_flag, "--python", "flag/bin/python"),
    (by_profile, "profile", "profile/bin/python"),
    (by_variable, "MGELAUNCH_PYTHON", "variable/bin/python"),
    (by_virtual_env, "VIRTUAL_ENV", "venv/bin/python"),
    (by_conda_env, "CONDA_PREFIX", "conda/envs/lab/bin/python"),
    (by_own, "mgelaunch's own", "own/bin/python"),
    (by_project_env, ".venv", "project/.venv/bin/python"),
    (by_conda_base, "conda base", "conda/bin/python"),
    (by_python3, "PATH", "usr/bin/python3"),
    (by_python, "PATH", "opt/bin/python"),
]


@pytest.mark.parametrize("first", range(len(RULES)), ids=[path for _, _, path in RULES])
def test_the_first_rule_that_hits_wins_and_is_named(tree, first):
    _, rule, path = RULES[first]
    # What names an environment is said last: it puts itself before what is on PATH already.
    for make, *_ in reversed(RULES[first:]):
        make(tree)
    chosen = tree.choose()
    assert (chosen.path, chosen.chosen_by, chosen.findings) == (str(tree.root / path), rule, ())


# A Python that is named.


@pytest.mark.parametrize(
    ("value", "path"),
    [
        pytest.param("../env/bin/python3", "project/env/bin/python3", id="a program, relative"),
        pytest.param("../env", "project/env/bin/python", id="the folder of an environment"),
        pytest.param("here", "project/src/here/bin/python", id="a folder without a slash"),
        pytest.param("python3.8", "usr/bin/python3.8", id="a name on PATH"),
    ],
)
@pytest.mark.parametrize("rule", ["flag", "profile", "variable"])
def test_a_python_can_be_named_in_four_ways(tree, rule, value, path):
    tree.python("project/env", "python", "python3")
    tree.python("project/src/here")
    tree.python("usr", "python3.8")
    tree.paths.append(str(tree.root / "usr/bin"))
    if rule == "variable":
        tree.environ["MGELAUNCH_PYTHON"] = value
    else:
        tree.facts[rule] = value
    assert tree.choose().path == str(tree.root / path)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(str, "target.python", id="not there"),
        pytest.param(Path.touch, "target.permission", id="not executable"),
        pytest.param(Path.mkdir, "target.python", id="a folder without a Python"),
    ],
)
def test_a_named_python_that_cannot_run_is_an_error_and_nothing_takes_its_place(tree, make, code):
    make(tree.root / "named")
    tree.facts["flag"] = str(tree.root / "named")
    by_python(tree)
    chosen = tree.choose()
    assert (chosen.path, chosen.chosen_by) == ("", "--python")
    assert [(f.severity, f.code) for f in chosen.findings] == [("error", code)]
    assert "--python" in chosen.findings[0].message


# An environment that is named but not in front.


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_environment_that_path_does_not_lead_to_gives_way_to_path_with_a_warning(tree, variable):
    by_python(tree)
    tree.environ[variable] = str(tree.root / "venv")
    inside = tree.python("venv")
    chosen = tree.choose()
    assert (chosen.path, chosen.chosen_by) == (str(tree.root / "opt/bin/python"), "PATH")
    (warning,) = chosen.findings
    assert (warning.severity, warning.code, warning.names) == ("warning", "target.environment", (variable,))
    # The remedy is the other way to resolve the doubt.
    option, value = warning.remedy.split()
    assert option == "--python"
    tree.facts["flag"] = value
    assert (tree.choose().path, tree.choose().findings) == (inside, ())


def test_an_environment_counts_as_in_front_when_path_reaches_it_by_a_link(tree):
    inside = tree.activate("VIRTUAL_ENV", "venv")
    (tree.root / "link").symlink_to(tree.root / "venv")
    tree.paths[0] = str(tree.root / "link/bin")
    assert (tree.choose().path, tree.choose().findings) == (inside, ())


def test_the_path_of_an_environment_keeps_its_links(tree):
    """A virtual environment's python is a link to the system's, and found by that link's own path."""
    real = tree.python("usr", "python3.10")
    inside = tree.root / "venv/bin/python"
    tree.activate("VIRTUAL_ENV", "venv")
    inside.unlink()
    inside.symlink_to(real)
    assert tree.choose().path == str(inside)


@pytest.mark.parametrize("sign", ["name", "condabin"])
def test_the_base_of_conda_is_recognised_and_comes_after_the_projects_environment(tree, sign):
    tree.activate("CONDA_PREFIX", "conda")
    if sign == "name":
        tree.environ["CONDA_DEFAULT_ENV"] = "base"
    else:
        (tree.root / "conda/condabin").mkdir()
    assert tree.choose().chosen_by == "conda base"
    by_project_env(tree)
    assert tree.choose().chosen_by == ".venv"


# The other places.


@pytest.mark.parametrize("name", ["megengine", "brevitas", "torch"])
def test_the_own_interpreter_counts_only_when_it_can_see_a_framework(tree, name):
    by_python(tree)
    site = tree.root / "own/site-packages"
    site.mkdir(parents=True)
    tree.facts["own_path"] = (str(site),)
    assert tree.choose().chosen_by == "PATH"
    framework(site, name)
    assert tree.choose().chosen_by == "mgelaunch's own"


def test_the_nearest_environment_of_the_project_wins_and_one_above_the_project_is_not_looked_at(tree):
    tree.python(".venv")
    assert tree.choose().path == ""
    outer = tree.python("project/.venv")
    assert tree.choose().path == outer
    (tree.cwd / ".venv").mkdir()  # without a Python in it
    assert tree.choose().path == outer
    inner = tree.python("project/src/.venv")
    assert tree.choose().path == inner


def test_without_a_project_only_the_working_directory_has_an_environment(tree):
    tree.facts["project_root"] = None
    tree.python("project/.venv")
    assert tree.choose().path == ""


def test_when_nothing_is_found_every_place_that_was_looked_at_is_listed(tree):
    tree.environ |= {"VIRTUAL_ENV": str(tree.root / "gone"), "CONDA_PREFIX": str(tree.root / "conda")}
    tree.environ["CONDA_DEFAULT_ENV"] = "base"
    (tree.cwd / ".venv").mkdir()
    tree.paths += [str(tree.root / "usr/bin"), str(tree.root / "opt/bin")]
    chosen = tree.choose()
    assert (chosen.path, chosen.chosen_by) == ("", "")
    (error,) = chosen.findings
    assert (error.severity, error.code) == ("error", "target.python")
    for place in ("gone/bin/python", "conda/bin/python", "project/src/.venv/bin/python", "usr/bin", "opt/bin"):
        assert str(tree.root / place) in error.message


def test_an_empty_path_is_called_so(tree):
    assert "an empty PATH" in tree.choose().findings[0].message


def test_a_search_takes_the_first_executable_file_and_skips_empty_entries(tmp_path):
    (tmp_path / "folder/tool").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/tool").touch()
    found, later = program(tmp_path / "good/tool"), program(tmp_path / "later/tool")
    path = os.pathsep.join(["", *(str(tmp_path / name) for name in ("gone", "folder", "plain", "good", "later"))])
    assert search("tool", path) == found
    assert search("tool", os.path.dirname(later)) == later
    assert search("tool", "") is None
