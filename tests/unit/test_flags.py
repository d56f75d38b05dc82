"""--device, --gpu-ids and --threads say in variables what their users mean."""

import pytest

from mgelaunch.environment.flags import implied
from mgelaunch.environment.source import Source

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def resolved(project, key, value):
    return project.resolve(
        flags=tuple(implied(key, value, f"--{key}")), placeholders={"local_rank": "7", "local_device": "3"}
    )


@pytest.mark.parametrize(
    ("key", "value", "sets"),
    [
        ("device", "cpu0", {"MGE_DEFAULT_DEVICE": "cpu0"}),
        ("device", "gpu1", {"MGE_DEFAULT_DEVICE": "gpu1"}),
        ("device", "gpu", {"MGE_DEFAULT_DEVICE": "gpu3"}),
        ("threads", "4", dict.fromkeys(THREADS, "4")),
        ("threads", "50%", dict.fromkeys(THREADS, "16")),
    ],
)
def test_an_option_sets_its_variables(project, key, value, sets):
    resolution = resolved(project, key, value)
    assert (resolution.exported, resolution.findings) == (sets, ())


@pytest.mark.parametrize(
    ("value", "cards"),
    [
        ("4,5", "4,5"),
        ("4-7", "4,5,6,7"),
        ("0,4-5, 7", "0,4,5,7"),
        ("3-3", "3"),
        ("none", "-1"),
        ("GPU-8932f937-d72c", "GPU-8932f937-d72c"),
    ],
)
def test_gpu_ids_are_numbered_as_nvidia_smi_numbers_them(project, value, cards):
    resolution = resolved(project, "gpu-ids", value)
    assert resolution.exported == {"CUDA_VISIBLE_DEVICES": cards, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert resolution.findings == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("device", "cuda:0"),
        ("device", "{local_rank}"),
        ("threads", "0"),
        ("threads", "many"),
        ("gpu-ids", "all"),
        ("gpu-ids", "4-"),
        ("gpu-ids", "0-3,2"),
        ("gpu-ids", "7-4"),
        ("gpu-ids", "0,7-4"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_the_option(project, key, value):
    errors = [finding for finding in resolved(project, key, value).findings if finding.severity == "error"]
    assert errors
    assert {finding.place for finding in errors} == {f"--{key}"}


@pytest.mark.parametrize("key", ["device", "gpu-ids", "threads"])
def test_the_same_key_of_a_profile_counts_as_a_flag_and_knows_its_line(key):
    assignments = list(implied(key, "1", "p:3", "p.toml:3:1"))
    assert assignments
    assert {(a.source, a.where, a.place) for a in assignments} == {(Source.FLAG, "p:3", "p.toml:3:1")}
