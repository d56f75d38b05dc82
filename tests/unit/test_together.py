"""Settings that do nothing, or something else, in each other's company: every rule speaks when it should and only then."""

import shlex

import pytest

from mgelaunch.checks.together import together
from mgelaunch.environment.source import Source
from mgelaunch.finding import alternatives

AUTO, DROP, PATH = "MEGENGINE_DTR_AUTO_DROP", "MEGENGINE_ENABLE_DROP", "MEGENGINE_RECORD_COMPUTING_PATH"
SIZE = "MEGENGINE_DTR_EVICTION_THRESHOLD"
LOG, LEVEL = "RUNTIME_OVERRIDE_LOG_LEVEL", "MEGENGINE_LOGGING_LEVEL"
CATCH, ASYNC = "MEGENGINE_CATCH_WORKER_EXEC", "MEGENGINE_INTERP_ASYNC_LEVEL"
SANITY, INPLACE = "MGB_DEBUG_VAR_SANITY_CHECK_LOG", "MEGENGINE_INPLACE_UPDATE"
TYPE, DIR, URL = "MGE_FASTRUN_CACHE_TYPE", "MGE_FASTRUN_CACHE_DIR", "MGE_FASTRUN_CACHE_URL"
WAIT, HANDLER = "MGB_WAIT_TERMINATE", "MGB_REGISTER_SEGV_HANDLER"
SPIN, AWAKE = "MGB_WORKER_MAX_SPIN", "MGB_WORKER_NO_SLEEP"
JIT, NATIVE, VERBOSE = "BREVITAS_JIT", "BREVITAS_NATIVE_STE_BACKEND", "BREVITAS_VERBOSE"
REINIT = "BREVITAS_REINIT_ON_STATE_DICT_LOAD"
OLD, NEW = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"
OMP, MKL, BIND, AFFINITY = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_PROC_BIND", "GOMP_CPU_AFFINITY"
DUMP, TRACE, RECORDER = "TORCH_NCCL_DUMP_ON_TIMEOUT", "TORCH_NCCL_TRACE_BUFFER_SIZE", "TORCH_FR_BUFFER_SIZE"
HIP, ROCR = "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
REDIS, PAIR = "redis://localhost:6379", "max_split_size_mb:128"

SPEAKS = [
    ("warning dtr", {SIZE: "80%"}),
    ("warning dtr", {SIZE: "5GB", AUTO: "1"}),
    ("warning dtr", {SIZE: "5GB", AUTO: "1", DROP: "1", PATH: "0"}),
    ("warning dtr", {SIZE: "0", AUTO: "1", DROP: "1", PATH: "1"}),
    ("warning dtr", {AUTO: "1"}),
    ("warning log", {LOG: "debug"}),
    ("warning log", {LOG: "0", LEVEL: "INFO"}),
    ("warning worker", {CATCH: "0"}),
    ("warning worker", {CATCH: "off", ASYNC: "2"}),
    ("warning sanity", {SANITY: "5", INPLACE: "1"}),
    ("warning cache", {TYPE: "MEMORY", DIR: "/tmp/x"}),
    ("warning cache", {TYPE: "MEMORY", URL: REDIS}),
    ("warning cache", {TYPE: "file", URL: REDIS}),
    ("warning handler", {WAIT: "1"}),
    ("warning handler", {WAIT: "1", HANDLER: "0"}),
    ("warning spin", {SPIN: "100", AWAKE: "1"}),
    ("warning jit", {JIT: "1", "PYTORCH_JIT": "0"}),
    ("info jit", {JIT: "1", NATIVE: "0"}),
    ("info jit", {VERBOSE: "1"}),
    ("info jit", {VERBOSE: "1", JIT: "0", NATIVE: "0"}),
    ("warning reinit", {REINIT: "0"}),
    ("warning alloc", {OLD: PAIR, NEW: PAIR}),
    ("warning threads", {OMP: "4", MKL: "8"}),
    ("warning threads", {OMP: "4,2", MKL: "8"}),
    ("warning bind", {BIND: "true"}),
    ("warning bind", {AFFINITY: "0-3"}),
    ("warning recorder", {DUMP: "1", TRACE: "0"}),
    ("warning recorder", {DUMP: "1", RECORDER: "0"}),
    ("info amd", {HIP: "0", ROCR: "1"}),
]
SILENT = [
    {},
    {SIZE: "80%", AUTO: "1", DROP: "1", PATH: "1"},
    {SIZE: "0"},
    {AUTO: "0"},
    {DROP: "1"},
    {DROP: "1", PATH: "1"},
    {LOG: "debug", LEVEL: "debug"},
    {LOG: "error"},
    {LEVEL: "INFO"},
    {CATCH: "0", ASYNC: "1"},
    {CATCH: "0", ASYNC: "0"},
    {CATCH: "1"},
    {ASYNC: "2"},
    {SANITY: "5"},
    {SANITY: "5", INPLACE: "0"},
    {INPLACE: "1"},
    {TYPE: "FILE", DIR: "/tmp/x"},
    {DIR: "/tmp/x", URL: REDIS},
    {TYPE: "MEMORY"},
    {WAIT: "1", HANDLER: "1"},
    {WAIT: "0"},
    {HANDLER: "1"},
    {SPIN: "100"},
    {SPIN: "100", AWAKE: "0"},
    {AWAKE: "1"},
    {JIT: "1", "PYTORCH_JIT": "1", NATIVE: "1"},
    {"PYTORCH_JIT": "0", NATIVE: "0"},
    {VERBOSE: "1", JIT: "1"},
    {VERBOSE: "1", NATIVE: "1"},
    {VERBOSE: "0"},
    {REINIT: "1"},
    {OLD: PAIR},
    {NEW: PAIR},
    {OMP: "4", MKL: "4"},
    {OMP: "4"},
    {MKL: "4"},
    {BIND: "false"},
    {DUMP: "1"},
    {DUMP: "1", TRACE: "2000"},
    {DUMP: "0", TRACE: "0"},
    {DUMP: "1", TRACE: "0", RECORDER: "2000"},
    {HIP: "0"},
    {ROCR: "0"},
]


def written(said):
    return " ".join(f"{name}={text}" for name, text in said.items()) or "nothing"


def found(project, said, *profiles):
    return list(together(project.resolve(*profiles, sets=tuple(said.items()))))


@pytest.mark.parametrize(("heading", "said"), SPEAKS, ids=[written(said) for _, said in SPEAKS])
def test_a_rule_speaks_of_the_variables_that_it_is_about(project, heading, said):
    (finding,) = found(project, said)
    severity, code = heading.split()
    assert (finding.severity, finding.code) == (severity, f"together.{code}")
    assert set(finding.names) & set(said)


@pytest.mark.parametrize("said", SILENT, ids=written)
def test_a_rule_is_silent_otherwise(project, said):
    assert found(project, said) == []


@pytest.mark.parametrize("said", [said for _, said in SPEAKS], ids=written)
def test_what_a_rule_suggests_puts_an_end_to_it(project, said):
    (finding,) = found(project, said)
    words = shlex.split(alternatives(finding.remedy)[0])
    if words[:1] == ["-p"]:
        assert found(project, said, words[1]) == []
        return
    changed = dict(said)
    for option, what in zip(words[::2], words[1::2], strict=True):
        assert option in {"-e", "--unset"}
        name, _, text = what.partition("=")
        changed = {**changed, name: text} if option == "-e" else {n: t for n, t in changed.items() if n != name}
    assert bool(words) == (changed != said)
    assert not words or finding not in found(project, changed)


def test_the_layer_of_a_setting_does_not_matter(project):
    project.profile("p", f'[env]\n{CATCH} = {{ default = "0" }}')
    assert [finding.code for finding in together(project.resolve("p"))] == ["together.worker"]
    assert found(project, {CATCH: "0"}) == list(together(project.resolve(shell={CATCH: "0"})))


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        (Source.DERIVED, []),
        (Source.SHELL, ["together.threads"]),
        (Source.PROFILE, ["together.threads"]),
        (Source.FLAG, ["together.threads"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_threads_that_nobody_chose_are_not_held_against_those_that_somebody_did(project, source, codes):
    resolution = project.stack({source: {OMP: "4"}, Source.SET: {MKL: "8"}})
    assert (resolution.get(OMP), resolution.get(MKL)) == ("4", "8")
    assert [finding.code for finding in together(resolution)] == codes


WRONG = {
    SIZE: "8",
    AUTO: "maybe",
    LEVEL: "loud",
    ASYNC: "9",
    TYPE: "X",
    HANDLER: "maybe",
    "PYTORCH_JIT": "maybe",
    OMP: "many",
}


@pytest.mark.parametrize("name", WRONG)
def test_nothing_is_said_of_settings_of_which_one_is_wrong(project, name):
    for _, said in SPEAKS:
        if any(name in finding.names for finding in found(project, said)):
            resolution = project.resolve(sets=tuple((said | {name: WRONG[name]}).items()))
            assert resolution.settings[name].wrong
            assert [f for f in together(resolution) if name in f.names] == []


@pytest.mark.parametrize(
    "profile", ["dtr", "sublinear", "reserve", "debug", "repro", "quiet", "threads", "brevitas-jit"]
)
def test_a_shipped_profile_gives_no_reason_to_warn(project, profile):
    assert [f for f in together(project.resolve(profile, shell={"HOME": "/home/me"})) if f.severity != "info"] == []
