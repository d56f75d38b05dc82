"""What mgelaunch plans is what MegEngine, Brevitas and torch read back, byte for byte."""

import base64
import json
import os

import pytest

from mgelaunch.catalogue import CATALOGUE

BATCHES = {
    "megengine": {
        "MGE_DEFAULT_DEVICE": "CPU1",
        "MEGENGINE_HOST_COMPUTE": "off",
        "MEGENGINE_LOGGING_LEVEL": "warn",
        "RUNTIME_OVERRIDE_LOG_LEVEL": "error",
        "MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE": "true",
        "MEGENGINE_ENABLE_DROP": "yes",
        "MEGENGINE_RECORD_COMPUTING_PATH": "on",
        "MEGENGINE_DTR_AUTO_DROP": "true",
        "MEGENGINE_DTR_EVICTION_THRESHOLD": "5GB",
        "MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE": "2KiB",
        "MEGENGINE_DTR_SQRT_SAMPLING": "1",
        "MEGENGINE_INTERP_ASYNC_LEVEL": "1",
        "MEGENGINE_CATCH_WORKER_EXEC": "false",
        "MEGENGINE_DISABLE_MEMORY_FORWARDING": "enabled",
        "MEGENGINE_USE_SYMBOLIC_SHAPE": "1",
        "MGE_USE_TYPEOBJ_AS_DTYPE": "yes",
        "MEGENGINE_EXECUTION_STRATEGY": "HEURISTIC",
        "MGE_FASTRUN_CACHE_TYPE": "memory",
        "MGE_HOME": "~/of megengine",
        "PYTHONUNBUFFERED": "true",
        "PYTHONFAULTHANDLER": "1",
    },
    "megengine, files": {
        "MGE_DEFAULT_DEVICE": "multithread2:0",
        "MEGENGINE_DTR_EVICTION_THRESHOLD": "80%",
        "MEGENGINE_INTERP_ASYNC_LEVEL": "0",
        "MGE_FASTRUN_CACHE_TYPE": "File",
        "MGE_FASTRUN_CACHE_DIR": "kernels",
        "MGE_HOME": "$HOME/mge",
    },
    "brevitas": {
        # A folder that cannot be used: the native part is not compiled, which would take half a minute.
        "TORCH_EXTENSIONS_DIR": "script.py",
        "BREVITAS_JIT": "on",
        "BREVITAS_NATIVE_STE_BACKEND": "0",
        "BREVITAS_VERBOSE": "yes",
        "BREVITAS_IGNORE_MISSING_KEYS": "enable",
        "BREVITAS_REINIT_ON_STATE_DICT_LOAD": "off",
        "BREVITAS_LOGGING": "info",
        "PYTORCH_JIT": "on",
        "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb: 64, garbage_collection_threshold:0.8,",
        "TORCH_DISTRIBUTED_DEBUG": "detail",
        "CUDA_VISIBLE_DEVICES": "1, 0",
        "OMP_NUM_THREADS": " 1",
        "PYTHONUNBUFFERED": "1",
    },
    "torch": {
        "PYTORCH_JIT": "off",
        "PYTORCH_ALLOC_CONF": "max_split_size_mb:64",
        "TORCH_DISTRIBUTED_DEBUG": "Info",
        "CUDA_VISIBLE_DEVICES": "none",
        "MKL_NUM_THREADS": "+1",
        "PYTHONFAULTHANDLER": "on",
    },
}
"""What a user writes. Each variable with a read-back occurs, with a value that is not its default (but for
BREVITAS_NATIVE_STE_BACKEND, which only a compiled extension turns on, and MEGENGINE_EXECUTION_STRATEGY, which MegEngine
does not read any more)."""

SCRIPT = """
import base64, json, os, sys
with open("/proc/self/environ", "rb") as file:
    given = base64.b64encode(file.read()).decode()
import {modules}
read = {{name: str(eval(text)) for name, text in json.loads(sys.argv[1]).items()}}
print(json.dumps({{"given": given, "read": read, "environ": {{name: os.environ.get(name) for name in read}}}}))
"""
ANY_CARDS = ("--ignore", "dev.visible")
"""What is read is the question here, whatever cards this host has."""
MODULES = {"megengine": "megengine", "brevitas": "brevitas, torch", "torch": "torch"}

batches = pytest.mark.parametrize(
    "batch", [pytest.param(name, marks=getattr(pytest.mark, "megengine" if "megengine" in name else "brevitas"))
              for name in BATCHES]
)  # fmt: skip
ways = pytest.mark.parametrize("way", ["flag", "shell"])


def python_of(batch, request):
    return request.getfixturevalue("megengine_python" if "megengine" in batch else "brevitas_python")


def script_of(batch):
    return SCRIPT.format(modules=MODULES[batch.partition(",")[0]])


def run(batch, way, job, python, kept):
    """The plan for the batch, and what the script reports; run once for the tests of both."""
    if (batch, way) not in kept:
        settings = {"sets" if way == "flag" else "environ": BATCHES[batch]}
        script = script_of(batch)
        expressions = {name: CATALOGUE[name].readback for name in BATCHES[batch] if CATALOGUE[name].readback}
        arguments = (python, script, json.dumps(expressions))
        plan = job.launched(*arguments, options=("--dry-run", "--format", "json", *ANY_CARDS), **settings)
        ran = job.launched(*arguments, options=ANY_CARDS, **settings)
        kept[batch, way] = (json.loads(plan.stdout), ran, job.world)
    return kept[batch, way]


def test_every_readback_of_the_catalogue_is_used_here():
    """A new row with a read-back needs a value in one of the batches."""
    used = {name for batch in BATCHES.values() for name in batch if CATALOGUE[name].readback}
    assert used == {name for name, variable in CATALOGUE.items() if variable.readback}


@batches
@ways
def test_the_framework_reads_back_what_was_planned(batch, way, job, kept, request):
    """Each expression of the catalogue gives the value of the dry-run, after one import with all of them."""
    plan, ran, _ = run(batch, way, job, python_of(batch, request), kept)
    values = {setting["name"]: setting["value"] for setting in plan["settings"]}
    planned = {name: values[name] for name in ran.report["read"]}
    assert ran.report["read"] == planned


@batches
@ways
def test_the_child_has_the_planned_environment_and_nothing_else(batch, way, job, kept, request):
    """The dry-run's changes carried out on the shell's environment are the child's, to the byte."""
    plan, ran, world = run(batch, way, job, python_of(batch, request), kept)
    shell = world.environ | (BATCHES[batch] if way == "shell" else {})
    [process] = plan["processes"]
    assert entries(ran.report["given"]) == sorted(
        os.fsencode(f"{name}={text}") for name, text in applied(process, shell)
    )


def applied(process, shell):
    changes = process["environment"]
    kept = {name: text for name, text in shell.items() if name not in changes}
    return (kept | {name: text for name, text in changes.items() if text is not None}).items()


def entries(encoded):
    return sorted(base64.b64decode(encoded).rstrip(b"\0").split(b"\0"))


STRANGE = {
    "EMPTY": "",
    "BLANKS": "  two  ",
    "LINES": "one\ntwo\n\n",
    "QUOTES": 'it\'s "quoted" \\ and $HOME `not` !run',
    "CHINESE": "训练",
    "BYTES": "\udcff\udc80 no text in any encoding",
    "LC_ALL": "C",
    "PYTHONIOENCODING": "latin-1",
    "LONG": "x" * 100_000,
    "1 is no name": "yet it passes",
    "SSH_CLIENT": "1.2.3.4 5 6",
}


@pytest.mark.megengine
def test_a_strange_environment_arrives_as_it_is(job, megengine_python):
    """What no catalogue knows passes through, bytes that are no text included."""
    script = script_of("megengine").replace("import megengine", "")
    ran = job.launched(megengine_python, script, "{}", sets={"MGE_DEFAULT_DEVICE": "cpu0"}, environ=STRANGE)
    expected = job.world.environ | STRANGE | {"MGE_DEFAULT_DEVICE": "cpu0"}
    assert entries(ran.report["given"]) == sorted(os.fsencode(f"{name}={text}") for name, text in expected.items())
    assert ran.stderr == ""


# -- launcher on one Python, target on another -----------------------------------------------------


def by_flag(_, prefix):
    return ("--python", prefix)


def by_environment(world, prefix):
    world.environ |= {"VIRTUAL_ENV": prefix, "PATH": f"{prefix}/bin:{world.environ['PATH']}"}


def by_link(world, prefix):
    os.symlink(prefix, world.project / ".venv")


def by_folder(world, prefix):
    os.mkdir(world.project / ".venv")
    for entry in os.listdir(prefix):
        os.symlink(f"{prefix}/{entry}", world.project / ".venv" / entry)


def by_variable(world, prefix):
    world.environ["MGELAUNCH_PYTHON"] = f"{prefix}/bin/python"


def by_profile(world, prefix):
    world.write(".mgelaunch/lab.toml", f'[launch]\npython = "{prefix}/bin/python"\n')
    return ("-p", "lab")


@pytest.mark.megengine
@pytest.mark.parametrize("choose", [by_flag, by_environment, by_link, by_folder, by_variable, by_profile])
def test_the_target_is_another_python_than_the_launcher(choose, job, megengine_python):
    """However it is named, the script runs under MegEngine's Python, whatever runs mgelaunch."""
    script = "import json, sys\nimport megengine\nprint(json.dumps([sys.version, sys.prefix, megengine.__version__]))"
    alone = job.bare(megengine_python, script).report
    prefix = os.path.dirname(os.path.dirname(megengine_python))
    if not os.path.exists(f"{prefix}/bin/python"):
        pytest.skip("MegEngine's Python is not in the bin folder of an environment")
    options = choose(job.world, prefix) or ()
    version, _, megengine = job.launched("", script, options=options).report
    assert [version, megengine] == [alone[0], alone[2]]
