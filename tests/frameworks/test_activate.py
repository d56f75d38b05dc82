"""`mgelaunch.activate()` before and after the real imports: what the frameworks have read is read back from them."""

import json
import os
import subprocess

import pytest

PATIENCE = 180

HEAD = """
import json, os
import mgelaunch

def refused(*arguments, **options):
    before = dict(os.environ)
    try:
        mgelaunch.activate(*arguments, **options)
    except mgelaunch.NotActivated as failure:
        assert dict(os.environ) == before
        return sorted((finding.names[0], finding.code) for finding in failure.findings if finding.severity == "error")
    return []
"""

READ_BACK = """
from megengine.core._imperative_rt.core2 import get_option
in_effect = {
    "switches": [get_option(name) for name in ("enable_dtr_auto_drop", "enable_drop", "record_computing_path")],
    "threshold": get_option("dtr_eviction_threshold"),
    "device": megengine.get_default_device(),
    "level": megengine.get_logger("x").level,
}
"""


@pytest.fixture
def cells(world, lack):
    """A function that runs cells in a Python that has a framework and mgelaunch; the last of them is shown as JSON."""

    def run(python, text):
        *lines, last = text.strip().splitlines()
        ended = start(python, "\n".join([HEAD, *lines, f"print(json.dumps({last}))"]))
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout.splitlines()[-1]), ended.stderr

    def start(python, program):
        beside = os.environ.get("MGELAUNCH_TEST_BESIDE", "")
        return subprocess.run(
            [python, "-c", program],
            cwd=world.project,
            env=world.environ | ({"PYTHONPATH": beside} if beside else {}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def look(python, text):
        if start(python, "import mgelaunch.cli.api").returncode:
            lack(
                "beside", f"no mgelaunch beside {python}: MGELAUNCH_TEST_BESIDE names a folder of pip install --target"
            )
        return run(python, text)

    return look


@pytest.mark.megengine
def test_what_is_activated_before_the_import_is_in_effect_in_megengine(cells, megengine_python):
    text = f"""
settings = {{"MEGENGINE_DTR_EVICTION_THRESHOLD": "5GB", "MGE_DEFAULT_DEVICE": "cpu1", "MEGENGINE_LOGGING_LEVEL": "error"}}
mgelaunch.activate("dtr", settings=settings)
import megengine
{READ_BACK}
again = mgelaunch.activate("dtr", settings=settings).changes
[in_effect, again, os.environ["CUDA_MODULE_LOADING"]]
"""
    (in_effect, again, loading), stderr = cells(megengine_python, text)
    assert in_effect == {"switches": [1, 1, 1], "threshold": 5368709120, "device": "cpu1", "level": 40}
    assert (again, loading) == ({}, "LAZY")
    assert "mgelaunch:" not in stderr


@pytest.mark.megengine
def test_after_the_import_nothing_is_changed_and_every_variable_is_named(cells, megengine_python):
    text = f"""
import megengine
refusal = refused("dtr", settings={{"MEGENGINE_DTR_EVICTION_THRESHOLD": "5GB"}}, threads="1")
{READ_BACK}
[refusal, in_effect["switches"], in_effect["threshold"]]
"""
    (refusal, switches, threshold), stderr = cells(megengine_python, text)
    names = ["MEGENGINE_DTR_AUTO_DROP", "MEGENGINE_DTR_EVICTION_THRESHOLD", "MEGENGINE_ENABLE_DROP"]
    names += ["MEGENGINE_RECORD_COMPUTING_PATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    assert refusal == [[name, "late.import"] for name in names]
    assert (switches, threshold) == ([0, 0, 0], 0)
    assert "mgelaunch:" not in stderr


@pytest.mark.megengine
def test_what_megengine_reads_at_each_use_may_still_be_activated(cells, megengine_python):
    text = """
import megengine
done = mgelaunch.activate("sublinear", settings={"MGE_PLASMA_MEMORY": "256MiB", "MGB_CUDA_RESERVE_MEMORY": "1GiB"})
[sorted(done.changes), os.environ["MGE_PLASMA_MEMORY"]]
"""
    (names, plasma), stderr = cells(megengine_python, text)
    assert "MGB_SUBLINEAR_MEMORY_WORKERS" in names
    assert plasma == "268435456"
    warnings = [line for line in stderr.splitlines() if "[late." in line]
    assert len(warnings) == 1
    assert "may have opened its first device, when MGB_CUDA_RESERVE_MEMORY is read" in warnings[0]


@pytest.mark.megengine
def test_what_the_import_itself_has_written_is_no_setting_of_anybody(cells, megengine_python):
    """CUDA_MODULE_LOADING by MegEngine, LD_LIBRARY_PATH by the OpenCV that it imports."""
    text = """
import megengine
written = sorted(name for name in ("CUDA_MODULE_LOADING", "LD_LIBRARY_PATH") if name in os.environ)
[written, mgelaunch.activate(unset=["CUDA_MODULE_LOADING", "LD_LIBRARY_PATH"]).changes, refused(settings={"CUDA_MODULE_LOADING": "EAGER"})]
"""
    (written, changes, refusal), _ = cells(megengine_python, text)
    assert "CUDA_MODULE_LOADING" in written
    assert (changes, refusal) == ({}, [["CUDA_MODULE_LOADING", "late.import"]])


@pytest.mark.brevitas
def test_what_is_activated_before_the_import_is_in_effect_in_torch_and_brevitas(cells, brevitas_python, world):
    world.write(".mgelaunch/ours.toml", '[env]\nPYTORCH_JIT = 0\nBREVITAS_VERBOSE = "on"\n[launch]\nthreads = 1\n')
    text = """
mgelaunch.activate("ours")
import torch, brevitas.config
[torch.get_num_threads(), torch.jit._state._enabled.enabled, brevitas.config.VERBOSE, mgelaunch.activate("ours").changes]
"""
    said, stderr = cells(brevitas_python, text)
    assert said[0] == 1
    assert not said[1]
    assert said[2:] == [True, {}]
    assert "mgelaunch:" not in stderr


@pytest.mark.brevitas
def test_after_the_import_of_torch_its_variables_are_refused_and_those_of_brevitas_are_not(cells, brevitas_python):
    text = """
import torch
settings = {"PYTORCH_JIT": "0", "TORCH_LOGS": "+dynamo", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "BREVITAS_JIT": "0"}
first = refused(settings=settings)
mgelaunch.activate(settings={"BREVITAS_VERBOSE": "1"})
import brevitas.config
[first, brevitas.config.VERBOSE, refused(unset=["BREVITAS_VERBOSE"])]
"""
    (first, verbose, last), _ = cells(brevitas_python, text)
    assert first == [
        [name, "late.import"] for name in ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "PYTORCH_JIT", "TORCH_LOGS")
    ]
    assert (verbose, last) == (True, [["BREVITAS_VERBOSE", "late.import"]])


@pytest.mark.brevitas
def test_numpy_alone_makes_numbers_of_threads_late_and_nothing_of_torch(cells, brevitas_python):
    text = """
import numpy
late = refused(settings={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
[late, sorted(mgelaunch.activate(settings={"PYTORCH_JIT": "0", "BREVITAS_JIT": "0"}).changes)]
"""
    (late, changes), _ = cells(brevitas_python, text)
    assert late == [["OMP_NUM_THREADS", "late.import"], ["OPENBLAS_NUM_THREADS", "late.import"]]
    assert changes == ["BREVITAS_JIT", "PYTORCH_JIT"]
