"""Checks hold settings and [requires] against host and target; what cannot be judged is said, never assumed."""

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.checks.builds import BUILDS
from mgelaunch.checks.caches import CACHES, cache_directories
from mgelaunch.checks.kernel_limits import KERNEL_LIMITS
from mgelaunch.checks.processors import PROCESSORS
from mgelaunch.checks.requirements import REQUIREMENTS
from mgelaunch.checks.shared_memory import SHARED_MEMORY
from mgelaunch.host.facts import HostFacts, Place
from mgelaunch.host.placement import Placement

CHECKS = (*SHARED_MEMORY, *PROCESSORS, *CACHES, *KERNEL_LIMITS, *BUILDS, *REQUIREMENTS)
EVERYTHING = {
    "MGE_PLASMA_MEMORY": "8GiB",
    "MGE_DATALOADER_PLASMA_DEBUG": "1",
    "MGB_SUBLINEAR_MEMORY_WORKERS": "123456789012345678901234567890",
    "OMP_NUM_THREADS": "64,2",
    "MKL_NUM_THREADS": "123456789012345678901234567890",
    "MGE_FASTRUN_CACHE_DIR": "/cache",
    "CUDA_CACHE_PATH": "/cache",
    "TORCH_EXTENSIONS_DIR": "/cache",
    "TRITON_CACHE_DIR": "/cache",
    "MGB_JIT_WORKDIR": "/cache",
    "NCCL_IB_HCA": "mlx5",
    "BREVITAS_JIT": "1",
    "BREVITAS_NATIVE_STE_BACKEND": "1",
    "CXX": "clang++",
    "CUDA_BIN_PATH": "/usr/local/cuda",
}
"""A setting for every rule."""
PROFILE = '[requires]\nshared-memory = "4GiB"\npython = ">=3.8"\npackages = ["megengine<2"]'


def found(situation):
    """All findings of these topics."""
    return [finding for check in CHECKS for finding in check(situation)]


def test_of_an_unknown_host_only_the_requirements_are_mentioned(situation):
    situation.project.profile("p", PROFILE)
    findings = found(situation("p", sets=tuple(EVERYTHING.items()), installed={"megengine": "1.13.0"}))
    assert [(finding.severity, finding.code) for finding in findings] == [("warning", "requires.unchecked")]


def test_settings_that_are_wrong_or_of_strangers_make_no_check_raise(situation):
    for text in ("", "-1", "1e9", "9" * 5000, "\u0663", "~", "much", "x\0y"):
        found(situation(sets=tuple((name, text) for name in EVERYTHING), ranks=2))
        found(situation(shell=dict.fromkeys(EVERYTHING, text)))


FACTS = st.from_type(HostFacts).filter(lambda facts: facts.cpus.quota is None or isfinite(facts.cpus.quota.cpus))
PLACES = st.builds(
    Place,
    st.just("/cache"),
    st.sampled_from(["", "/", "/cache", "/cache/x"]),
    st.sampled_from(["", "/ is not writable"]),
    st.sampled_from(["", "nfs", "tmpfs"]),
    *[st.none() | st.booleans()] * 2,
    *[st.none() | st.integers()] * 2,
    st.lists(st.text()).map(tuple),
)


def test_no_facts_make_a_check_raise_and_every_finding_can_be_shown(situation):
    situation.project.profile("p", PROFILE)
    sets = tuple(EVERYTHING.items())
    jobs = [situation(), situation("p", sets=sets), situation("p", sets=sets, ranks=2, local_ranks=3)]

    @given(
        facts=FACTS,
        place=PLACES,
        placement=st.from_type(Placement),
        version=st.sampled_from(["1.13.0", "12.0", "21.0.0rc1"]),
        bound=st.booleans(),
        thorough=st.booleans(),
    )
    def holds(facts, place, placement, version, bound, thorough):
        for job in jobs:
            findings = found(
                job._replace(
                    facts=facts._replace(storage=(place,)),
                    placements=(placement,) * len(job.ranks),
                    installed=lambda names: dict.fromkeys(names, version),
                    python="3.10",
                    bound=bound,
                    thorough=thorough,
                )
            )
            for finding in findings:
                assert finding.message
                assert finding.code.count(".") == 1
                assert (finding.about == "host") <= (finding.severity == "info")

    holds()


def test_a_setting_of_each_kind_of_directory_is_to_be_measured(situation):
    names = ["MGE_FASTRUN_CACHE_DIR", "CUDA_CACHE_PATH", "TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR"]
    names += ["TRITON_CACHE_DIR", "MGE_CUSTOM_OP_DIR", "MGB_JIT_WORKDIR"]
    job = situation(sets=tuple((name, f"/caches/{name}") for name in names))
    assert sorted(cache_directories(job.resolution)) == sorted(f"/caches/{name}" for name in names)


# Requirements of the target.

INSTALLED = {"megengine": "1.13.0", "torch": "2.9.1+cu128", "my-tool": "2.0rc1"}


def required(situation, lines, python="3.10.13"):
    situation.project.profile("p", f"[requires]\n{lines}")
    job = situation("p", python=python, installed=INSTALLED)
    assert job.resolution.layers.findings == ()
    findings = [finding for check in REQUIREMENTS for finding in check(job)]
    return [(finding.severity, finding.code, finding.place) for finding in findings]


@pytest.mark.parametrize(
    ("lines", "python"),
    [
        ('python = ">=3.8"', "3.10.13"),
        ('python = ">=3.8,<3.11"', "3.10"),
        ('python = "==3.10.*"', "3.10"),
        ('packages = ["megengine>=1.13,<2", "MegEngine", "torch>=2.9"]', ""),
        ('packages = ["my_tool>=1", "My.Tool"]', ""),
        ('mgelaunch = ">=1.0"', ""),
        ('device-memory = "6GiB"', ""),
        ('host-memory = "6GiB"', ""),
    ],
)
def test_what_the_target_meets_and_what_the_host_must_meet_is_silent(situation, lines, python):
    assert required(situation, lines, python) == []


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
def test_what_it_does_not_meet_is_an_error_with_its_line(situation, lines, code, python):
    ((severity, said, place),) = required(situation, lines, python)
    assert (severity, said) == ("error", code)
    assert place.startswith(".mgelaunch/p.toml:2:")


@pytest.mark.parametrize(
    ("lines", "python"),
    [
        pytest.param('python = ">=3.8"', "", id="a python without a version"),
        pytest.param('python = ">=3.10.5"', "3.10", id="a python of which only the minor version is known"),
    ],
)
def test_what_cannot_be_judged_is_a_warning(situation, lines, python):
    assert [said[:2] for said in required(situation, lines, python)] == [("warning", "requires.unchecked")]


def test_each_package_is_judged_on_its_own_line(situation):
    lines = 'packages = [\n  "brevitas",\n  "megengine",\n  "torch<2",\n]'
    assert required(situation, lines) == [
        ("error", "requires.package", ".mgelaunch/p.toml:3:3"),
        ("error", "requires.package", ".mgelaunch/p.toml:5:3"),
    ]
