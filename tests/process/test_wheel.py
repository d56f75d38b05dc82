"""The wheel holds what the checkout has: the shipped profiles, the marker of typed packages, a command."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def python(*args, **options):
    options |= {"capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run([sys.executable, *map(str, args)], check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built without a network."""
    for module in ("build", "hatchling", "pip"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"a wheel cannot be built here: this Python has no {module}")
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--no-isolation", "--wheel", "--outdir", folder, CHECKOUT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder into which the wheel is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    quiet = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-compile"]
    python("-m", "pip", "install", *quiet, "--no-deps", "--target", folder, wheel)
    return folder


def test_it_holds_the_profiles_and_the_marker_and_nothing_foreign(wheel):
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {f"mgelaunch/profiles/{path.name}" for path in (CHECKOUT / "profiles").glob("*.toml")}
    assert shipped
    assert shipped | {"mgelaunch/py.typed", "mgelaunch/__main__.py"} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"mgelaunch"}
    assert not [name for name in names if name.endswith((".pyc", ".orig", "~"))]


def test_its_work_around_for_the_data_loader_can_be_executed(installed):
    cat = installed / "mgelaunch/target/cgroup2_dataloader/cat"
    assert os.access(cat, os.X_OK)
    assert (
        subprocess.run([cat, "-"], input=b"\0through", capture_output=True, check=True, timeout=60).stdout
        == b"\0through"
    )


def test_its_profiles_are_listed_and_used_from_where_it_is_installed(world, installed):
    site = {"PYTHONPATH": str(installed)}
    where = "import mgelaunch; print(mgelaunch.__file__)"
    assert python("-c", where, env=world.environ | site, cwd=world.project).startswith(str(installed))
    done = world.run("profiles", "list", "-f", "json", **site)
    assert (done.returncode, done.stderr) == (0, "")
    listed = [profile for profile in json.loads(done.stdout)["profiles"] if profile["from"] == "shipped"]
    assert {profile["name"] for profile in listed} == {path.stem for path in (CHECKOUT / "profiles").glob("*.toml")}
    assert all(profile["path"].startswith(f"{installed}/mgelaunch/profiles/") for profile in listed)
    assert world.run("run", "-p", listed[0]["name"], "true", **site).returncode == 0


def test_its_command_becomes_the_script(world, bare, installed):
    world.write("train.py", "raise SystemExit(3)")
    command = installed / "bin" / "mgelaunch"
    assert os.access(command, os.X_OK)
    done = bare(command, "run", "train.py", env=world.environ | {"PYTHONPATH": str(installed)})
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")
