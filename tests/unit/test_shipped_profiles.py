"""The shipped profiles are good examples: explained, typed, switches firm and quantities soft."""

import os
import re

import pytest

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Rejected
from mgelaunch.environment.library import chain
from mgelaunch.environment.project import Places, shipped_folder

FIRM = {
    "dtr": {"MEGENGINE_DTR_AUTO_DROP": "1", "MEGENGINE_ENABLE_DROP": "1", "MEGENGINE_RECORD_COMPUTING_PATH": "1"},
    "sublinear": {"MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE": "1"},
    "reserve": {},
    "debug": {
        "MEGENGINE_INTERP_ASYNC_LEVEL": "0",
        "CUDA_LAUNCH_BLOCKING": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
    },
    "repro": {},
    "quiet": {"MEGENGINE_LOGGING_LEVEL": "ERROR", "RUNTIME_OVERRIDE_LOG_LEVEL": "error"},
    "threads": {},
    "cuda-cache": {"CUDA_CACHE_DISABLE": "0"},
    "nccl-ib": {"NCCL_LAUNCH_MODE": "PARALLEL"},
    "brevitas-jit": {"BREVITAS_JIT": "1", "PYTORCH_JIT": "1", "BREVITAS_VERBOSE": "1"},
}
SOFT = {
    "dtr": {"MEGENGINE_DTR_EVICTION_THRESHOLD": "80%"},
    "sublinear": {
        "MGB_SUBLINEAR_MEMORY_GENETIC_NR_ITER": "50",
        "MGB_SUBLINEAR_MEMORY_GENETIC_POOL_SIZE": "20",
        "MGB_SUBLINEAR_MEMORY_WORKERS": "50%",
    },
    "reserve": {"MGB_CUDA_RESERVE_MEMORY": "1"},
    "debug": {},
    "repro": {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
    "quiet": {},
    "threads": {"OMP_NUM_THREADS": "100%", "MKL_NUM_THREADS": "100%", "OPENBLAS_NUM_THREADS": "100%"},
    "cuda-cache": {"CUDA_CACHE_MAXSIZE": "4GiB", "CUDA_CACHE_PATH": "${XDG_CACHE_HOME:-${HOME}/.cache}/cuda"},
    "nccl-ib": {"NCCL_IB_HCA": "mlx5", "NCCL_IB_GID_INDEX": "3", "NCCL_IB_TC": "106"},
    "brevitas-jit": {},
}
SHIPPED = sorted(FIRM)


def load(name):
    places = Places("/", None, (), tuple)
    (file,) = chain([f"shipped:{name}"], places, "1.0").files
    return file


def test_ten_profiles_are_shipped():
    assert sorted(os.listdir(shipped_folder())) == [f"{name}.toml" for name in SHIPPED]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_is_read_without_findings(name):
    places = Places("/", None, (), tuple)
    files = chain([f"shipped:{name}"], places, "1.0")
    assert (*files.findings, *(finding for file in files.files for finding in file.findings)) == ()


@pytest.mark.parametrize("name", SHIPPED)
def test_switches_are_firm_and_quantities_soft(name):
    said = load(name).env
    assert {entry.name: entry.text for entry in said if not entry.soft} == FIRM[name]
    assert {entry.name: entry.text for entry in said if entry.soft} == SOFT[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_sets_variables_and_nothing_else(name):
    file = load(name)
    assert file.env
    assert (file.extends, file.rank_env, file.launch, file.requires) == ((), (), (), ())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_value_is_legal_in_its_kind(name):
    for entry in load(name).env:
        assert not isinstance(CATALOGUE[entry.name].kind.read(entry.text), Rejected), entry.name


@pytest.mark.parametrize("name", SHIPPED)
def test_every_variable_has_a_reader(name):
    for entry in load(name).env:
        assert CATALOGUE[entry.name].readers, entry.name


@pytest.mark.parametrize("name", SHIPPED)
def test_the_description_is_a_short_sentence_for_the_list_and_one_for_cost_and_limits(name):
    what, cost, *rest = re.split(r"(?<=[.])(?: |$)", load(name).description)
    assert len(what) <= 100
    assert cost
    assert rest == [""]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_setting_has_a_comment_above_it(name):
    with open(os.path.join(shipped_folder(), f"{name}.toml"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    for entry in load(name).env:
        line = int(entry.where.rpartition(":")[2])
        assert lines[line - 2].startswith("# "), entry.name


def test_dtr_is_three_switches_and_a_threshold_in_this_order():
    assert [(entry.name, entry.text, entry.soft) for entry in load("dtr").env] == [
        ("MEGENGINE_DTR_AUTO_DROP", "1", False),
        ("MEGENGINE_ENABLE_DROP", "1", False),
        ("MEGENGINE_RECORD_COMPUTING_PATH", "1", False),
        ("MEGENGINE_DTR_EVICTION_THRESHOLD", "80%", True),
    ]
