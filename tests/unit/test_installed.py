"""Versions are read from the dist-info folders in which the target itself would find its packages."""

import pytest

from mgelaunch.target.installed import describe, installed_versions, python_version

NAMES = frozenset({"megengine", "torch", "my-tool"})


class Host:
    """Fake prefixes with interpreters and packages."""

    def __init__(self, root):
        self.root, self.home = root, str(root / "home")

    def python(self, prefix="usr", name="python3.10"):
        """An interpreter below `prefix` and the usual link to it."""
        folder = self.root / prefix / "bin"
        folder.mkdir(parents=True)
        (folder / name).touch()
        (folder / "python").symlink_to(folder / name)
        return str(folder / "python")

    def venv(self, config, base="usr"):
        """A virtual environment of the interpreter below `base`; `config` are lines of its pyvenv.cfg."""
        folder = self.root / "venv" / "bin"
        folder.mkdir(parents=True)
        (folder / "python").symlink_to(self.root / base / "bin" / "python3.10")
        (self.root / "venv" / "pyvenv.cfg").write_text(config)
        return str(folder / "python")

    def package(self, folder, *dists):
        for dist in dists:
            (self.root / folder / f"{dist}.dist-info").mkdir(parents=True)

    def versions(self, python, names=NAMES):
        return installed_versions(python, self.home, names)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.mark.parametrize(
    "folder",
    [
        "usr/lib/python3.10/site-packages",
        "usr/lib64/python3.10/site-packages",
        "usr/lib/python3/dist-packages",
        "usr/local/lib/python3.10/dist-packages",
        "home/.local/lib/python3.10/site-packages",
    ],
)
def test_packages_are_found_wherever_a_python_of_the_system_looks(host, folder):
    host.package(folder, "torch-2.9.1+cu128")
    assert host.versions(host.python()) == {"torch": "2.9.1+cu128"}


@pytest.mark.parametrize(
    "folder",
    ["usr/lib/python3.9/site-packages", "usr/lib/python3.1/site-packages", "opt/lib/python3.10/site-packages", "lib"],
)
def test_packages_of_another_python_are_not_its_own(host, folder):
    host.package(folder, "torch-2.9.1")
    assert host.versions(host.python()) == {}


def test_what_a_user_installed_comes_before_the_systems(host):
    host.package("usr/lib/python3/dist-packages", "torch-1.0")
    host.package("home/.local/lib/python3.10/site-packages", "torch-2.0")
    assert host.versions(host.python()) == {"torch": "2.0"}


def test_what_the_administrator_installed_comes_before_the_distributions(host):
    host.package("usr/lib/python3/dist-packages", "torch-1.0")
    host.package("usr/local/lib/python3.10/dist-packages", "torch-2.0")
    assert host.versions(host.python()) == {"torch": "2.0"}


ELSEWHERE = ("usr/lib/python3.10/site-packages", "home/.local/lib/python3.10/site-packages")


@pytest.mark.parametrize("line", ["include-system-site-packages = false", "", "include-system-site-packages=False"])
def test_a_virtual_environment_has_its_own_packages_only(host, line):
    host.python()
    host.package("venv/lib/python3.10/site-packages", "megengine-1.13.0")
    for folder in ELSEWHERE:
        host.package(folder, "torch-2.0", "megengine-1.12.0")
    assert host.versions(host.venv(f"home = /usr/bin\nversion = 3.10.13\n{line}\n")) == {"megengine": "1.13.0"}


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
@pytest.mark.parametrize("line", ["include-system-site-packages = true", "include-system-site-packages=True"])
def test_one_with_system_packages_sees_those_behind_its_own(host, line, elsewhere):
    host.python()
    host.package("venv/lib/python3.10/site-packages", "megengine-1.13.0")
    host.package(elsewhere, "torch-2.0", "megengine-1.12.0")
    python = host.venv(f"version = 3.10.13\n{line}\n")
    assert host.versions(python) == {"megengine": "1.13.0", "torch": "2.0"}


def test_names_are_compared_as_indexes_compare_them(host):
    host.package("usr/lib/python3.10/site-packages", "MegEngine-1.13.0", "My_Tool-2", "other-3", "torch-2.0.egg-info")
    assert host.versions(host.python()) == {"megengine": "1.13.0", "my-tool": "2"}


def test_a_python_without_packages_has_none(host):
    assert host.versions(host.python()) == {}
    assert host.versions("/nowhere/bin/python") == {}


@pytest.mark.parametrize(
    ("config", "version"),
    [
        ("version = 3.8.18", "3.8.18"),
        ("version_info = 3.10.13.final.0", "3.10.13"),
        ("home = /usr/bin", "3.10"),
    ],
)
def test_the_version_of_an_environments_python_stands_in_its_configuration(host, config, version):
    host.python()
    assert python_version(host.venv(config)) == version


@pytest.mark.parametrize(("name", "version"), [("python3.10", "3.10"), ("python3", ""), ("pypy3.10", "")])
def test_the_version_of_another_python_stands_in_its_name_or_is_unknown(host, name, version):
    assert python_version(host.python(name=name)) == version


def test_of_a_python_without_a_version_all_packages_below_its_prefix_are_its_own(host):
    host.package("opt/lib/python3.7/site-packages", "megengine-1.13.0")
    assert host.versions(host.python("opt", "python3")) == {"megengine": "1.13.0"}


def test_the_frameworks_are_described_in_one_phrase(host):
    host.package("usr/lib/python3.10/site-packages", "torch-2.9.1", "megengine-1.13.0", "numpy-2")
    assert describe(host.python(), host.home) == "3.10, megengine 1.13.0, torch 2.9.1"
    assert describe("/nowhere/bin/python", host.home) == ""
