"""What frameworks compile with: programs and headers that are missing, and locks that a killed build left behind."""

import pytest

from mgelaunch.checks.builds import BUILDS, SEARCHED_BY, building, stale_locks
from mgelaunch.checks.caches import cache_directories
from mgelaunch.host.facts import HostFacts, Place, Tool
from mgelaunch.host.tools import find_tools

JIT, NATIVE, EXTENSIONS, HEADERS = (
    "BREVITAS_JIT",
    "BREVITAS_NATIVE_STE_BACKEND",
    "TORCH_EXTENSIONS_DIR",
    "CUDA_BIN_PATH",
)


def found(situation):
    """The findings of this topic."""
    return [finding for check in BUILDS for finding in check(situation)]


def tools(**paths):
    """A host on which these were looked for."""
    return HostFacts(tools=tuple(Tool(name.replace("cxx", "c++"), path) for name, path in paths.items()))


NONE = tools(cxx="", ninja="", nvcc="")
ALL = tools(cxx="/usr/bin/c++", ninja="/usr/bin/ninja", nvcc="")


# brevitas.cxx.


@pytest.mark.parametrize(
    ("said", "builds"),
    [
        pytest.param({}, False, id="neither"),
        pytest.param({JIT: "1"}, True, id="JIT"),
        pytest.param({JIT: "on"}, True, id="JIT in a word"),
        pytest.param({NATIVE: "1"}, True, id="native"),
        pytest.param({JIT: "0", NATIVE: "no"}, False, id="both off"),
        pytest.param({JIT: "1", NATIVE: "0"}, True, id="JIT brings the native part"),
        pytest.param({JIT: "1", "PYTORCH_JIT": "0"}, False, id="JIT without torch's"),
        pytest.param({JIT: "1", NATIVE: "1", "PYTORCH_JIT": "0"}, True, id="native without torch's"),
    ],
)
def test_tools_are_missed_where_brevitas_builds_its_extension(situation, said, builds):
    said = {"sets": tuple(said.items()), "facts": NONE}
    findings = found(situation(**said))
    assert [(finding.severity, finding.code) for finding in findings] == [("warning", "brevitas.cxx")] * 2 * builds
    for finding in findings:
        assert "falls back to its Python estimators, in silence unless BREVITAS_VERBOSE=1" in finding.message
        assert finding.place == "--set"
        assert all(found(job) == [] for job in situation.repaired(finding, **said))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        pytest.param(tools(cxx="/usr/bin/c++", ninja=""), "ninja is not on the job's PATH", id="ninja"),
        pytest.param(tools(cxx="", ninja="/bin/ninja"), "the compiler c++ is not on the job's PATH", id="compiler"),
    ],
)
def test_the_tool_that_is_missing_is_named(situation, facts, message):
    (finding,) = found(situation(sets=((JIT, "1"),), facts=facts))
    assert finding.message.startswith(message)
    assert finding.names == (JIT,)
    assert found(situation(sets=((JIT, "1"),), facts=ALL)) == []


@pytest.mark.parametrize("facts", [HostFacts(), HostFacts(tools=())], ids=["nobody looked", "nobody looked for these"])
def test_tools_that_were_not_looked_for_are_not_missed(situation, facts):
    assert found(situation(sets=((JIT, "1"), (HEADERS, "/usr/local/cuda")), facts=facts)) == []


@pytest.mark.parametrize(
    ("installed", "remedy"),
    [({}, f"pip install ninja  or  -e {JIT}=0"), ({"ninja": "1.11.1"}, f"-e {JIT}=0")],
    ids=["not installed", "installed, off PATH"],
)
def test_a_ninja_that_the_target_has_off_the_path_is_not_to_be_installed_again(situation, installed, remedy):
    facts = tools(cxx="/usr/bin/c++", ninja="")
    assert [f.remedy for f in found(situation(sets=((JIT, "1"),), facts=facts, installed=installed))] == [remedy]


def test_a_compiler_of_the_users_own_is_named_by_its_variable(situation):
    (finding,) = found(situation(sets=((NATIVE, "1"), ("CXX", "clang++")), facts=tools(cxx="", ninja="/bin/ninja")))
    assert finding.message.startswith("the compiler of CXX is not on the job's PATH")
    assert (finding.names, finding.remedy) == ((NATIVE, "CXX"), f"-e CXX=c++  or  -e {NATIVE}=0")


# brevitas.lock.


@pytest.mark.parametrize(
    ("locks", "remedy"),
    [
        ((), None),
        (("/x/autograd_ste_ops/lock",), "rm /x/autograd_ste_ops/lock"),
        (("/x/a b/lock", "/x/lock"), "rm '/x/a b/lock' /x/lock"),
    ],
    ids=["none", "one", "several, with a blank"],
)
def test_a_stale_lock_of_extensions_is_a_warning(situation, locks, remedy):
    job = situation(shell={EXTENSIONS: "/x"}, facts=HostFacts(storage=(Place("/x", "/x", stale_locks=locks),)))
    findings = found(job)
    assert [(f.severity, f.code, f.names, f.remedy) for f in findings] == (
        [("warning", "brevitas.lock", (EXTENSIONS,), remedy)] if remedy else []
    )
    assert all("then hangs" in finding.message for finding in findings)


@pytest.mark.parametrize(
    ("shell", "folder"),
    [
        ({"HOME": "/home/me", JIT: "1"}, "/home/me/.cache/torch_extensions"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/scratch", NATIVE: "1"}, "/scratch/torch_extensions"),
    ],
    ids=["below home", "where the caches are"],
)
def test_without_a_directory_of_ones_own_the_locks_are_where_torch_builds(situation, shell, folder):
    lock = f"{folder}/py311_cpu/autograd_ste_ops/lock"
    job = situation(shell=shell, facts=HostFacts(storage=(Place(folder, folder, stale_locks=(lock,)),)))
    assert folder in cache_directories(job.resolution)
    (finding,) = stale_locks(job)
    assert (finding.severity, finding.code, finding.remedy) == ("warning", "brevitas.lock", f"rm {lock}")
    assert finding.message.startswith(f"a lock file in {folder}, ")
    assert set(finding.names) == set(shell) & {JIT, NATIVE}
    assert finding.place == "shell"


def test_torchs_own_directory_does_not_concern_a_job_that_builds_nothing(situation):
    folder = "/home/me/.cache/torch_extensions"
    facts = HostFacts(storage=(Place(folder, folder, stale_locks=(f"{folder}/lock",)),))
    for said in ({}, {JIT: "0", NATIVE: "0"}):
        job = situation(shell={"HOME": "/home/me", **said}, facts=facts)
        assert folder not in cache_directories(job.resolution)
        assert found(job) == []


def test_locks_of_other_directories_are_nobodys_concern(situation):
    facts = HostFacts(storage=(Place("/y", "/y", stale_locks=("/y/lock",)),))
    assert found(situation(shell={EXTENSIONS: "/x", "CUDA_CACHE_PATH": "/y"}, facts=facts)) == []
    assert found(situation(facts=facts)) == []


# cuda.headers.


@pytest.mark.parametrize(
    ("said", "header", "missing"),
    [("/opt", "", True), ("/opt", "/opt/include/cuda_runtime.h", False), (None, "", False)],
    ids=["not there", "there", "nothing is said"],
)
def test_a_cuda_bin_path_without_headers_is_a_warning(situation, said, header, missing):
    facts = HostFacts(tools=(Tool("nvcc"), Tool("cuda_runtime.h", header)))
    findings = found(situation(shell={HEADERS: said} if said else {}, facts=facts))
    assert [(f.severity, f.code, f.names) for f in findings] == [("warning", "cuda.headers", (HEADERS,))] * missing


def test_without_the_setting_megengine_finds_headers_by_itself(situation):
    said = {
        "shell": {HEADERS: "/x"},
        "facts": HostFacts(tools=(Tool("nvcc", "/opt/cuda/bin/nvcc"), Tool("cuda_runtime.h"))),
    }
    (finding,) = found(situation(**said))
    assert finding.remedy == f"--unset {HEADERS}"
    assert [found(job) for job in situation.repaired(finding, **said)] == [[]]


# When programs and headers are looked for.


@pytest.mark.parametrize(
    ("said", "builds"),
    [
        pytest.param({}, False, id="nothing is said"),
        pytest.param({JIT: "0", NATIVE: "0"}, False, id="both off"),
        pytest.param({JIT: "1"}, True, id="JIT"),
        pytest.param({NATIVE: "yes"}, True, id="native"),
        pytest.param({HEADERS: "/usr/local/cuda"}, True, id="headers"),
        pytest.param({"CXX": "clang++", EXTENSIONS: "/x"}, False, id="only how and where it would be built"),
    ],
)
def test_they_are_looked_for_where_something_may_be_compiled(project, said, builds):
    assert building(project.resolve(shell=said)) == builds


def test_every_variable_that_leads_to_them_is_handed_over():
    class Asked(dict):
        def get(self, name, default=None):
            self[name] = default
            return default

    asked = Asked()
    find_tools("", asked)
    assert sorted(asked) == sorted(SEARCHED_BY)
