"""Checks hold settings and [requires] against host and target; what cannot be judged is said, never assumed."""

import pytest

from mgelaunch.checks.caches import caches
from mgelaunch.checks.processors import processors
from mgelaunch.checks.requirements import requirements

CACHE, WORKERS = "MGE_FASTRUN_CACHE_DIR", "MGB_SUBLINEAR_MEMORY_WORKERS"


# Caches.


@pytest.mark.parametrize("path", ["file", "file/below", "file/far/below", "gone/below"])
def test_a_cache_that_cannot_be_created_is_an_error(project, path):
    project.write("file", "")
    (project.folder / "gone").symlink_to("nowhere")
    (finding,) = caches(project.resolve(sets=((CACHE, path),)))
    assert (finding.severity, finding.code, finding.names) == ("error", "cache.blocked", (CACHE,))
    assert (finding.remedy, finding.place) == (f"--unset {CACHE}", "--set")


@pytest.mark.parametrize("path", [".", "new", "new/far/below", ".mgelaunch"])
def test_a_cache_that_exists_or_can_be_created_is_fine(project, path):
    assert list(caches(project.resolve(sets=((CACHE, path),)))) == []


def test_without_a_cache_there_is_nothing_to_check(project):
    assert list(caches(project.resolve(unsets=(CACHE,)))) == []


# Processors.


@pytest.mark.parametrize(("workers", "cpus", "refused"), [(32, 8, False), (33, 8, True), (5, 1, True), (4, 1, False)])
def test_more_workers_than_four_times_the_cpus_are_an_error(project, workers, cpus, refused):
    findings = list(processors(project.resolve(sets=((WORKERS, str(workers)),)), cpus=cpus))
    assert [(f.severity, f.code, f.names, f.place) for f in findings] == (
        [("error", "cpu.workers", (WORKERS,), "--set")] if refused else []
    )


@pytest.mark.parametrize("said", [(), ((WORKERS, "many"),)], ids=["not set", "wrong"])
def test_workers_that_are_not_set_or_wrong_are_not_counted(project, said):
    assert list(processors(project.resolve(sets=said), cpus=1)) == []


def test_what_is_suggested_for_too_many_workers_is_not_too_many(project):
    (finding,) = processors(project.resolve(sets=((WORKERS, "1000"),)), cpus=32)
    name, _, text = finding.remedy.removeprefix("-e ").partition("=")
    assert list(processors(project.resolve(sets=((name, text),)), cpus=32)) == []


# Requirements.

INSTALLED = {"megengine": "1.13.0", "torch": "2.9.1+cu128", "my-tool": "2.0rc1"}


def required(project, lines, python="3.10.13"):
    project.profile("p", f"[requires]\n{lines}")
    layers = project.resolve("p").layers
    assert layers.findings == ()
    found = requirements(layers.requires, python, lambda names: {n: v for n, v in INSTALLED.items() if n in names})
    return [(finding.severity, finding.code, finding.place) for finding in found]


@pytest.mark.parametrize(
    ("lines", "python"),
    [
        ('python = ">=3.8"', "3.10.13"),
        ('python = ">=3.8,<3.11"', "3.10"),
        ('python = "==3.10.*"', "3.10"),
        ('packages = ["megengine>=1.13,<2", "MegEngine", "torch>=2.9"]', ""),
        ('packages = ["my_tool>=1", "My.Tool"]', ""),
        ('mgelaunch = ">=1.0"', ""),
    ],
)
def test_what_the_target_meets_is_silent(project, lines, python):
    assert required(project, lines, python) == []


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ('python = ">=3.11"', "requires.python"),
        ('python = "<3.10"', "requires.python"),
        ('packages = ["megengine>=1.14"]', "requires.package"),
        ('packages = ["brevitas"]', "requires.package"),
    ],
)
@pytest.mark.parametrize("python", ["3.10.13", "3.10"])
def test_what_it_does_not_meet_is_an_error_with_its_line(project, lines, code, python):
    ((severity, said, place),) = required(project, lines, python)
    assert (severity, said) == ("error", code)
    assert place.startswith(".mgelaunch/p.toml:2:")


@pytest.mark.parametrize(
    ("lines", "python"),
    [
        pytest.param('python = ">=3.8"', "", id="a python without a version"),
        pytest.param('python = ">=3.10.5"', "3.10", id="a python of which only the minor version is known"),
        pytest.param('device-memory = "6GiB"', "3.10", id="a size"),
        pytest.param('host-memory = "6GiB"', "3.10", id="another size"),
    ],
)
def test_what_cannot_be_judged_is_a_warning(project, lines, python):
    assert [said[:2] for said in required(project, lines, python)] == [("warning", "requires.unchecked")]


def test_each_package_is_judged_on_its_own_line(project):
    lines = 'packages = [\n  "brevitas",\n  "megengine",\n  "torch<2",\n]'
    assert required(project, lines) == [
        ("error", "requires.package", ".mgelaunch/p.toml:3:3"),
        ("error", "requires.package", ".mgelaunch/p.toml:5:3"),
    ]
