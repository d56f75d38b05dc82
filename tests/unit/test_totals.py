"""The totals that percentages refer to, as they are on the host that runs the tests."""

import os

import psutil
import pytest

from mgelaunch.host.totals import card_total, measure


def nothing(name):
    """No setting chooses a device."""


def on(device):
    return lambda name: device if name == "MGE_DEFAULT_DEVICE" else None


def test_the_host_memory_is_the_number_that_psutil_tells():
    assert measure("device-memory", on("cpu0")).amount == psutil.virtual_memory().total


@pytest.mark.parametrize("device", ["cpu0", "cpux", "multithread2"])
def test_the_device_memory_of_a_job_on_the_cpu_is_the_hosts(device):
    assert measure("device-memory", on(device)).label.endswith("GiB of host memory")


@pytest.mark.parametrize(
    ("told", "total"),
    [
        ("81559, Disabled\n", 81559 << 20),
        ("24576, [N/A]\n24576, [N/A]\n", 24576 << 20),
        ("24576, [N/A]\n11264, [N/A]\n", 0),
        ("81559, Enabled\n", 0),
        ("[N/A], Disabled\n", 0),
        ("No devices were found\n", 0),
        ("", 0),
    ],
    ids=["one", "alike", "different", "divided", "unknown", "none", "nothing"],
)
def test_the_memory_of_a_card_is_known_when_all_cards_are_alike_and_never_guessed(told, total):
    assert card_total(told) == total


def test_the_memory_of_a_slice_of_a_card_is_not_guessed():
    settings = {"CUDA_VISIBLE_DEVICES": "MIG-1b2c", "MGE_DEFAULT_DEVICE": "gpu0"}
    assert measure("device-memory", settings.get) is None


def test_without_a_visible_card_the_device_is_a_cpu():
    hidden = measure("device-memory", {"CUDA_VISIBLE_DEVICES": "-1"}.get)
    assert hidden.amount == psutil.virtual_memory().total


def test_the_cpus_are_those_that_this_process_may_use():
    assert measure("cpus", nothing).amount == len(os.sched_getaffinity(0))


def test_the_shared_memory_is_the_size_of_its_mount():
    mounted = os.statvfs("/dev/shm")
    assert measure("shared-memory", nothing).amount == mounted.f_blocks * mounted.f_frsize
