"""The cards of a host without NVML: what nvidia-smi writes, and what the kernel's files tell."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgelaunch.host.cards import bus_address, identity, on_this_host, plain, sizes
from mgelaunch.host.devices import read_devices
from mgelaunch.host.facts import Card, Devices
from mgelaunch.host.files import Files
from mgelaunch.host.kernel_cards import amd_cards, driver_traces, nvidia_cards, nvidia_driver
from mgelaunch.host.libraries import has_library
from mgelaunch.host.nvidia_smi import find_nvidia_smi, read_cards
from mgelaunch.host.nvml import report
from mgelaunch.host.nvml_answer import read_report

A100 = "0, GPU-1111-a, 00000000:07:00.0, NVIDIA A100-SXM4-40GB, 40960, 39936, Default, Disabled"
GTX = "1, GPU-2222-b, 00000000:0F:00.0, GTX 1080, 8192, 8192, Exclusive_Process, [N/A]"

INFORMATION = """Model: \t\t NVIDIA A100-SXM4-40GB
IRQ:   \t\t 150
GPU UUID: \t GPU-1111-a
Video BIOS: \t 92.00.19.00.01
Bus Location: \t 0000:07:00.0
Device Minor: \t 1
GPU Excluded:\t No
"""
CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version:  gcc 12\n"
)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  555.42.02  Release Build  (root@host)  Mon May 13\n"


def proc(address, information=INFORMATION):
    return {f"/proc/driver/nvidia/gpus/{address}/information": information}


def amd(number, address="", total="17163091968\n", used="100\n", **more):
    folder = f"/sys/class/drm/card{number}/device"
    files = {f"{folder}/mem_info_vram_total": total, f"{folder}/mem_info_vram_used": used}
    files |= {f"{folder}/uevent": f"DRIVER=amdgpu\nPCI_SLOT_NAME={address}\n"} if address else {}
    return files | {f"{folder}/{name}": text for name, text in more.items()}


# nvidia-smi


def test_nvidia_smi_tells_of_a_card_in_a_line():
    first, second = read_cards(f"{A100}\n{GTX}\n")
    assert first == Card(
        0,
        "GPU-1111-a",
        "NVIDIA A100-SXM4-40GB",
        "0000:07:00.0",
        total=40960 << 20,
        free=39936 << 20,
        mode="default",
        mig=False,
    )
    assert (second.number, second.mode, second.mig, second.bus) == (1, "exclusive-process", None, "0000:0f:00.0")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("0, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A]", {"name": "[N/A]"}),
        ("0, GPU-1, , a, [Unknown Error], 5, Default, Enabled", {"uuid": "GPU-1", "name": "a", "mode": "default"}),
        ("0, GPU-1, , a, 8, 9, Prohibited, Enabled", {"uuid": "GPU-1", "name": "a", "mode": "prohibited", "total": 8}),
        ("0, GPU-1, , a, b, c, 8, 2, Default, Enabled", {"name": "a, b, c", "total": 8, "free": 2}),
    ],
    ids=["nothing", "an error", "more free than there is", "a name with commas"],
)
def test_a_cell_that_is_no_value_leaves_its_own_field_unknown(cells, expected):
    (card,) = read_cards(cells)
    known = {key: getattr(card, key) for key in expected}
    assert known == {key: value << 20 if key in {"total", "free"} else value for key, value in expected.items()}
    assert card.free is None or card.total is not None


def test_cards_stand_by_number_whatever_the_order_of_the_lines():
    assert [card.number for card in read_cards(f"{GTX}\n\n{A100}\n")] == [0, 1]


def test_no_card_is_an_answer_too():
    assert read_cards("No devices were found\n") == ()


@pytest.mark.parametrize(
    "text",
    ["", "\n", "Unable to determine the device handle for GPU 0000:07:00.0", f"{A100}\nUnable, to", "x" + A100],
    ids=["nothing", "blank", "an error", "an error after a card", "no number"],
)
def test_what_is_no_list_of_cards_is_none(text):
    assert read_cards(text) is None


@given(
    st.text()
    | st.lists(st.lists(st.text(max_size=9) | st.sampled_from(A100.split(", "))).map(", ".join)).map("\n".join)
)
def test_whatever_nvidia_smi_writes_it_is_cards_or_none(text):
    cards = read_cards(text)
    assert cards is None or all(isinstance(card, Card) for card in cards)


def test_nvidia_smi_is_looked_for_on_the_path_of_the_job(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.touch()
    environ = {"PATH": f"::relative:/no/such\0folder:{tmp_path}"}
    assert find_nvidia_smi(environ) == ""
    program.chmod(0o755)
    assert find_nvidia_smi(environ) == str(program)
    assert find_nvidia_smi({}) == ""


# The kernel


def test_the_kernel_tells_nvidias_cards_without_their_memory(host_tree):
    files = host_tree(proc("0000:0f:00.0", "Model: GTX 1080\nGPU UUID: GPU-????????-????\n") | proc("0000:07:00.0"))
    first, second = nvidia_cards(files)
    assert first == Card(0, "GPU-1111-a", "NVIDIA A100-SXM4-40GB", "0000:07:00.0")
    assert second == Card(1, "", "GTX 1080", "0000:0f:00.0")


def test_cards_are_numbered_in_the_order_of_the_bus_by_number(host_tree):
    files = host_tree(proc("10000:01:00.0") | proc("0001:01:00.0") | proc("0000:a1:00.0") | proc("not a card"))
    assert [card.bus for card in nvidia_cards(files)] == ["0000:a1:00.0", "0001:01:00.0", "10000:01:00.0"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [(CLOSED, "550.54.14"), (OPEN, "555.42.02"), ("", ""), ("NVRM version: 1.2\n", ""), ("Kernel Module  ", "")],
    ids=["closed", "open", "nothing", "other", "cut"],
)
def test_the_version_of_nvidias_kernel_module_is_read(host_tree, version, expected):
    assert nvidia_driver(host_tree({"/proc/driver/nvidia/version": version})) == expected


def test_the_node_in_dev_of_a_card_is_tried_by_its_minor_number(host_tree):
    files = host_tree(
        proc("0000:07:00.0")
        | proc("0000:08:00.0", INFORMATION.replace("Minor: \t 1", "Minor: \t 0"))
        | {"/dev/nvidia1": ""}
    )
    assert [card.accessible for card in nvidia_cards(files)] == [True, False]


@pytest.mark.parametrize(("text", "node"), [("1\n", 1), ("-1\n", 0), ("", None), ("x", None)])
def test_a_host_without_numa_nodes_has_node_0(host_tree, text, node):
    files = host_tree({"/sys/bus/pci/devices/0000:07:00.0/numa_node": text})
    assert on_this_host(Card(0, bus="0000:07:00.0"), files, None, frozenset()).node == node


def test_amds_cards_and_their_memory_are_read_from_sysfs(host_tree):
    files = host_tree(amd(1, "0000:03:00.0", product_name="Instinct MI250\n", numa_node="1\n") | amd(0, "0000:07:00.0"))
    first, second = amd_cards(files)
    assert first == Card(0, "", "Instinct MI250", "0000:03:00.0", 17163091968, 17163091868, node=1)
    assert (second.number, second.bus) == (1, "0000:07:00.0")


@pytest.mark.parametrize("used", ["", "x", "99999999999999999"], ids=["nothing", "no number", "too much"])
def test_amds_free_memory_is_unknown_without_a_sensible_use(host_tree, used):
    (card,) = amd_cards(host_tree(amd(0, used=used)))
    assert (card.total, card.free) == (17163091968, None)


def test_what_is_not_amds_card_is_none(host_tree):
    connector = {"/sys/class/drm/card0-DP-1/device/mem_info_vram_total": "5"}
    assert amd_cards(host_tree(connector | {"/sys/class/drm/card1/device/uevent": "DRIVER=i915\n"})) == ()


# Libraries


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        ({}, {}, False),
        ({"/usr/lib/libx.so.1": ""}, {}, True),
        ({"/usr/lib/wsl/lib/libx.so.1": ""}, {}, True),
        ({"/opt/a/libx.so.1": ""}, {}, False),
        ({"/opt/a/libx.so.1": ""}, {"LD_LIBRARY_PATH": "/opt/b:/opt/a"}, True),
        ({"/opt/a/libx.so.1": ""}, {"LD_LIBRARY_PATH": "/opt/b;/opt/a"}, True),
        ({"/opt/a/libx.so.1": "", "/etc/ld.so.cache": b"\xff\0libx.so.1\0/opt/a/libx.so.1\0"}, {}, True),
        ({"/etc/ld.so.cache": b"\xff\0libx.so.1\0/opt/a/libx.so.1\0"}, {}, False),
        ({"/opt/a/libx.so.1.2": "", "/etc/ld.so.cache": b"\0libx.so.1.2\0/opt/a/libx.so.1.2\0"}, {}, False),
        ({}, {"LD_LIBRARY_PATH": "\0:\ud800:"}, False),
    ],
    ids=["nowhere", "usual", "WSL2", "elsewhere", "named", "semicolon", "cached", "no more", "other", "no path"],
)
def test_a_library_is_where_the_linker_would_find_it(host_tree, files, environ, expected):
    assert has_library(host_tree(files), environ, "libx.so.1") is expected


# Which source counts


def test_a_host_with_nothing_has_certainly_no_card(host_tree):
    assert read_devices(host_tree({}), {}) == Devices("none", libcuda=False, mps=False)


def test_libcuda_is_looked_for_without_a_card_too(host_tree):
    assert read_devices(host_tree({"/usr/lib64/libcuda.so.1": ""}), {}).libcuda is True


@pytest.mark.parametrize(("files", "expected"), [({}, False), ({"/tmp/nvidia-mps/control": ""}, True)])
def test_mps_is_told_by_its_directory(host_tree, files, expected):
    devices = read_devices(host_tree(files | proc("0000:07:00.0")), {})
    assert (devices.source, devices.mps) == ("proc", expected)


def test_nvidias_cards_of_the_kernel_come_before_amds(host_tree):
    files = host_tree(proc("0000:07:00.0") | amd(0) | {"/proc/driver/nvidia/version": CLOSED})
    devices = read_devices(files, {})
    assert devices[:2] == ("proc", "nvidia")
    assert (len(devices.cards), devices.driver) == (1, "550.54.14")
    assert "memory" in devices.problem


def test_amds_cards_are_told_by_sysfs(host_tree):
    devices = read_devices(host_tree(amd(0) | {"/dev/kfd": ""}), {})
    assert (devices.source, devices.vendor, devices.problem) == ("sysfs", "amd", "")


TRACES = [
    "/proc/driver/nvidia/version",
    "/dev/nvidia0",
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/dxg",
    "/dev/nvhost-gpu",
    "/dev/kfd",
    "/dev/davinci_manager",
]


@pytest.mark.parametrize("path", TRACES)
def test_a_trace_of_a_driver_without_cards_is_unknown_and_never_none(host_tree, path):
    devices = read_devices(host_tree({path: ""}), {})
    assert (devices.source, devices.cards) == ("unknown", ())
    assert devices.problem


def test_other_devices_are_no_trace(host_tree):
    assert driver_traces(host_tree({"/dev/null": "", "/dev/nvram": "", "/dev/nvme0": "", "/dev/kmsg": ""})) == ()


FUZZED = [
    *TRACES,
    "/etc/ld.so.cache",
    "/proc/driver/nvidia/gpus/0000:07:00.0/information",
    "/sys/bus/pci/devices/0000:07:00.0/numa_node",
    *(f"/sys/class/drm/card0/device/{name}" for name in ("mem_info_vram_total", "mem_info_vram_used", "uevent")),
    *(f"/sys/class/drm/card0/device/{name}" for name in ("product_name", "numa_node")),
]
CONTENTS = st.binary(max_size=200) | st.sampled_from(
    [b"", b"-1\n", b"9" * 5000, b"0", b"\0", INFORMATION.encode(), CLOSED.encode(), b"PCI_SLOT_NAME=0000:07:00.0\n"]
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(FUZZED), CONTENTS))
def test_whatever_the_files_hold_the_answer_is_devices_and_none_only_without_a_trace(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("host")
    for path, content in files.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_bytes(content)
    devices = read_devices(Files(str(root)), {})
    traces = [path for path in files if path.startswith(("/dev/", "/proc/driver/nvidia/"))]
    assert not (devices.source == "none" and traces)
    assert json.dumps(devices)


@given(st.dictionaries(st.sampled_from(["PATH", "LD_LIBRARY_PATH"]), st.text(st.characters())))
def test_whatever_the_environment_holds_nothing_is_raised(environ):
    assert read_devices(Files("/no/such/root"), environ).source == "none"


# What NVML may answer


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=9,
)
FIELDS = ("uuid", "name", "bus", "minor", "memory", "mode", "mig", "slices", "capability", "processes")
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "cards": st.lists(st.dictionaries(st.sampled_from(FIELDS), ANYTHING) | ANYTHING, max_size=3) | ANYTHING,
        "driver": ANYTHING,
        "cuda": ANYTHING,
        "failure": ANYTHING | st.tuples(st.text(), ANYTHING),
    },
)


@settings(max_examples=300)
@given((REPORTS | ANYTHING).map(json.dumps) | st.text())
def test_whatever_nvml_answers_it_is_devices_that_json_can_carry(text):
    devices = read_report(text, Files("/no/such/root"))
    assert devices.source in {"nvml", "unknown"}
    assert json.dumps(devices, allow_nan=False)
    assert all(isinstance(card.name, str) and (card.total is None or card.total > 0) for card in devices.cards)


def test_what_a_preloaded_library_printed_before_the_answer_is_passed_over():
    assert read_report('hello {\n{"cards": []}', Files("/no/such/root")).source == "nvml"


def binding(count):
    """A binding of NVML that knows two calls."""
    return SimpleNamespace(nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: count)


@pytest.mark.parametrize("count", [4097, "many", None], ids=repr)
def test_an_absurd_number_of_cards_is_no_answer(count):
    assert report(binding(count))["cards"] is None


def test_a_binding_that_knows_no_call_of_cards_leaves_everything_about_them_unknown():
    told = report(binding(2))
    assert told == {"cards": [{}, {}], "driver": None, "cuda": None, "failure": None}
    assert read_report(json.dumps(told), Files("/no/such/root")).cards == (Card(0), Card(1))


# Texts and numbers


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:07:00.0", "0000:07:00.0"),
        ("00000000:0F:00.0", "0000:0f:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),
        ("0000:07:00.0", "0000:07:00.0"),
        ("0000:07:00.0\n", ""),
        ("../../etc", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_an_address_on_the_bus_is_written_as_the_kernel_does(text, address):
    assert bus_address(text) == address


@pytest.mark.parametrize(
    ("total", "free", "expected"),
    [(8, 2, (8, 2)), (8, 0, (8, 0)), (8, 9, (8, None)), (0, 0, (None, None)), (2**64 - 1, 5, (None, None)), (True, "", (None, None))],
)  # fmt: skip
def test_sizes_that_cannot_be_are_unknown(total, free, expected):
    assert sizes(total, free) == expected


@pytest.mark.parametrize("value", ["a\n", "\x1b[0m", "\udcff", 5, None, b"a", "x" * 200], ids=repr)
def test_what_cannot_be_shown_is_no_name(value):
    assert plain(value) == ""


@pytest.mark.parametrize("value", ["GPU-????????", "", "GPU-", "gpu", None, "GPU-1\n", "GPU-\udcff"], ids=repr)
def test_what_is_no_uuid_is_none(value):
    assert identity(value) == ""
