"""A variable that no installed version reads is a warning that says since when, and what to use instead."""

import pytest

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.checks.readers import unread

VALUES = {"BREVITAS_LOGGING": "INFO", "PYTORCH_ALLOC_CONF": "max_split_size_mb:128"}


def warnings(project, *names, **versions):
    resolution = project.resolve(sets=tuple((name, VALUES.get(name, "1")) for name in names))
    return list(unread(resolution, lambda framework: versions.get(framework, "")))


@pytest.mark.parametrize(
    ("name", "versions", "code", "words"),
    [
        pytest.param("MGB_COMP_GRAPH_OPT", {}, "name.dead", "sublinear_memory_config", id="read by no version"),
        pytest.param("MGE_EINSUM_IMPL", {}, "name.dead", "", id="looked at and heeded by no version"),
        pytest.param("MEGENGINE_ENABLE_SWAP", {}, "name.dead", "1.7.0", id="dead in the newest"),
        pytest.param(
            "MEGENGINE_ENABLE_SWAP", {"megengine": "1.13.0"}, "name.dead", "dtr.enable", id="dead in this one"
        ),
        pytest.param("MEGENGINE_ENABLE_SWAP", {"megengine": "1.7.0"}, "name.dead", "1.7.0", id="dead since this one"),
        pytest.param("MGE_DATA_MONITOR", {"megengine": "1.13.0"}, "name.newer", "1.13.2", id="newer"),
        pytest.param("BREVITAS_LOGGING", {"brevitas": "0.9.1"}, "name.newer", "0.12.0", id="compared as numbers"),
        pytest.param("PYTORCH_ALLOC_CONF", {"torch": "2.8.0+cu128"}, "name.newer", "2.9", id="a local version"),
        pytest.param("MGB_ROCM_RESERVE_MEMORY", {"megengine": "1.13.0"}, "name.build", "ROCm", id="another build"),
    ],
)
def test_what_nobody_will_read_is_a_warning(project, name, versions, code, words):
    (warning,) = warnings(project, name, **versions)
    assert (warning.severity, warning.code, warning.names) == ("warning", code, (name,))
    assert words in warning.message
    assert (warning.remedy, warning.place) == (f"--unset {name}", "--set")


@pytest.mark.parametrize("name", [name for name, row in CATALOGUE.items() if not row.readers])
def test_every_variable_without_a_reader_is_told_whatever_is_installed(project, name):
    for versions in ({}, {"megengine": "1.13.0", "brevitas": "0.13.4", "torch": "2.9.1"}):
        assert [warning.code for warning in warnings(project, name, **versions)] == ["name.dead"]


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        pytest.param("MEGENGINE_ENABLE_DROP", {"megengine": "1.0"}, id="always read"),
        pytest.param("MEGENGINE_ENABLE_SWAP", {"megengine": "1.6.0"}, id="still read"),
        pytest.param("MGE_DATA_MONITOR", {"megengine": "1.13.2"}, id="read since this one"),
        pytest.param("MGE_DATA_MONITOR", {}, id="an unknown version counts as the newest"),
        pytest.param("MGE_DATA_MONITOR", {"megengine": "from-source"}, id="so does one that is no version"),
        pytest.param("CUDA_CACHE_PATH", {"megengine": "1.13.0"}, id="one of two readers is enough"),
        pytest.param("OUR_OWN", {}, id="a stranger"),
    ],
)
def test_what_somebody_reads_passes_in_silence(project, name, versions):
    assert warnings(project, name, **versions) == []


def test_a_variable_that_the_job_does_not_get_is_not_told(project):
    resolution = project.resolve(unsets=("MGB_COMP_GRAPH_OPT",), shell={"MGB_COMP_GRAPH_OPT": "1"})
    assert list(unread(resolution, lambda _: "")) == []


def test_a_version_is_asked_for_only_when_a_bound_needs_it(project):
    resolution = project.resolve(sets=(("MEGENGINE_ENABLE_DROP", "1"), ("OMP_NUM_THREADS", "4")))
    assert list(unread(resolution, pytest.fail)) == []


def test_a_line_of_a_file_is_the_place(project):
    project.profile("p", "[env]\nMGB_COMP_GRAPH_OPT = 1")
    (warning,) = unread(project.resolve("p"), lambda _: "")
    assert warning.place == ".mgelaunch/p.toml:2:1"
