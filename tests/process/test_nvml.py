"""NVML asked for real: NVIDIA's own Python binding, in our child, on a stub of the driver's library."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from mgelaunch.host.devices import read_devices
from mgelaunch.host.facts import Card, CardProcess, Devices, Slice
from mgelaunch.host.files import Files

A100 = (
    "card uuid=GPU-11111111-aaaa bus=00000000:07:00.0 total=42949672960 used=1073741824 mode=0 mig=0 capability=8.0"
    " minor=0 processes=4242:1000000000 name=NVIDIA A100-SXM4-40GB"
)
GTX = (
    "card uuid=GPU-22222222-bbbb bus=00000000:0F:00.0 total=8589934592 used=0 mode=3 capability=6.1"
    " name=NVIDIA GeForce GTX 1080"
)
DIVIDED = "card uuid=GPU-33333333-cccc bus=00000000:1A:00.0 total=42949672960 used=0 mode=0 mig=1 name=A100"
SLICE = "slice uuid=MIG-44444444-dddd total=5100273664 used=12582912"
DRIVER = ("driver 550.54.14", "cuda 12040")

KNOWN = Card(
    0,
    uuid="GPU-11111111-aaaa",
    name="NVIDIA A100-SXM4-40GB",
    bus="0000:07:00.0",
    total=42949672960,
    free=41875931136,
    mode="default",
    mig=False,
    capability="8.0",
    processes=(CardProcess(4242, 1000000000),),
)
"""What NVML tells of that A100."""

CALLS = {
    "nvmlDeviceGetHandleByIndex_v2": {},
    "nvmlDeviceGetUUID": {"uuid": ""},
    "nvmlDeviceGetName": {"name": ""},
    "nvmlDeviceGetPciInfo_v3": {"bus": ""},
    "nvmlDeviceGetMinorNumber": {},
    "nvmlDeviceGetMemoryInfo": {"total": None, "free": None},
    "nvmlDeviceGetComputeMode": {"mode": ""},
    "nvmlDeviceGetMigMode": {"mig": None},
    "nvmlDeviceGetCudaComputeCapability": {"capability": ""},
    "nvmlDeviceGetComputeRunningProcesses_v3": {},
    "nvmlSystemGetDriverVersion": {},
    "nvmlSystemGetCudaDriverVersion_v2": {},
}
"""What a call that fails takes from the card; nothing where another call tells it as well."""

ERRORS = (3, 4, 6, 13, 15, 999)
"""NotSupported, NoPermission, NotFound, FunctionNotFound, GpuIsLost, Unknown."""


@pytest.fixture(autouse=True)
def no_children():
    """Whatever becomes of NVML, no process of ours is left. A virtual cluster of other tests may stand beside."""
    others = set(psutil.Process().children(recursive=True))
    yield
    assert not set(psutil.Process().children(recursive=True)) - others


@pytest.fixture
def read(cards, tmp_path):
    """A function that reads the devices of a host whose NVML answers by these lines, and which has no other source."""

    def run(*lines, old=False, deadline=30.0, root=None):
        files = Files(str(root or tmp_path / "nothing"))
        environ = {"PATH": "", **cards(*lines, old=old)}
        _show_library(files, environ)
        return read_devices(files, environ, deadline=deadline)

    return run


def _show_library(files, environ):
    """Lets the fake tree show the library where the child will find it."""
    shown = files.real(environ["LD_LIBRARY_PATH"])
    os.makedirs(shown, exist_ok=True)
    with open(f"{shown}/libnvidia-ml.so.1", "wb"):
        pass


def test_everything_that_nvml_tells_of_a_card_arrives(read):
    assert read(*DRIVER, A100) == Devices("nvml", "nvidia", (KNOWN,), "550.54.14", "12.4", libcuda=False, mps=False)


def test_cards_of_several_models_stand_in_the_order_of_nvml(read):
    devices = read(*DRIVER, A100, GTX)
    assert [card.number for card in devices.cards] == [0, 1]
    gtx = devices.cards[1]
    assert (gtx.name, gtx.bus, gtx.mode) == ("NVIDIA GeForce GTX 1080", "0000:0f:00.0", "exclusive-process")
    assert (gtx.mig, gtx.processes, devices.problem) == (None, None, "")


@pytest.mark.parametrize(
    ("number", "mode"),
    [(0, "default"), (1, "exclusive-thread"), (2, "prohibited"), (3, "exclusive-process"), (9, "")],
    ids=["default", "thread", "prohibited", "process", "a new one"],
)
def test_the_compute_mode_has_a_name(read, number, mode):
    assert read(A100.replace("mode=0", f"mode={number}")).cards[0].mode == mode


def test_a_divided_card_has_its_slices_and_the_next_card_none(read):
    devices = read(*DRIVER, DIVIDED, SLICE, SLICE.replace("4444", "5555"), A100)
    divided, whole = devices.cards
    assert divided.mig is True
    assert divided.slices[0] == Slice("MIG-44444444-dddd", 5100273664, 5087690752)
    assert [part.uuid for part in divided.slices] == ["MIG-44444444-dddd", "MIG-55555555-dddd"]
    assert (whole.mig, whole.slices) == (False, ())


def test_as_many_slices_as_a_card_can_have_are_listed(read):
    assert len(read(DIVIDED, *[SLICE] * 17).cards[0].slices) == 17


def test_a_crowd_of_processes_is_cut_to_a_hundred(read):
    crowd = ",".join(f"{pid}:{pid}" for pid in range(1, 151))
    assert len(read(A100.replace("4242:1000000000", crowd)).cards[0].processes) == 100


def test_the_numa_node_and_the_access_come_from_the_kernel(read, tmp_path):
    root = tmp_path / "host"
    for card, node in (("0000:07:00.0", "1\n"), ("0000:0f:00.0", "-1\n")):
        folder = root / "sys/bus/pci/devices" / card
        folder.mkdir(parents=True)
        (folder / "numa_node").write_text(node)
    (root / "dev").mkdir()
    (root / "dev/nvidia0").touch()
    (root / "dev/nvidia-uvm").touch()
    devices = read(A100, GTX, A100.replace("minor=0", "minor=7"), root=root)
    assert [card.node for card in devices.cards] == [1, 0, 1]
    assert [card.accessible for card in devices.cards] == [True, None, False]


def test_where_no_card_has_a_node_in_dev_its_absence_says_nothing(read, tmp_path):
    (tmp_path / "host/dev").mkdir(parents=True)
    (tmp_path / "host/dev/dxg").touch()
    assert read(A100, root=tmp_path / "host").cards[0].accessible is None


@pytest.mark.parametrize(
    ("code", "phrase"),
    [(4, "permission"), (9, "not loaded"), (18, "version")],
    ids=["no permission", "not loaded", "mismatch"],
)
def test_a_driver_that_refuses_everybody_is_broken(read, code, phrase):
    devices = read(A100, f"fail nvmlInitWithFlags {code}")
    assert (devices.source, devices.vendor, devices.cards, devices.broken) == ("nvml", "nvidia", (), True)
    assert phrase in devices.problem


def test_of_a_broken_driver_the_version_of_the_kernels_part_is_told(read, tmp_path):
    folder = tmp_path / "host/proc/driver/nvidia"
    folder.mkdir(parents=True)
    (folder / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19\n")
    assert read("fail nvmlInitWithFlags 18", root=tmp_path / "host").driver == "535.129.03"


@pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2"])
@pytest.mark.parametrize("code", [1, 12, 13, 15, 999])
def test_without_the_number_of_cards_they_are_unknown(read, call, code):
    devices = read(A100, f"fail {call} {code}")
    assert devices[:3] == ("unknown", "", ())
    assert (devices.broken, str(code) in devices.problem) == (False, True)


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_costs_only_what_it_tells(read, call, code):
    devices = read(*DRIVER, A100, f"fail {call} {code}")
    handle = call == "nvmlDeviceGetHandleByIndex_v2"
    assert devices.cards == (Card(0) if handle else KNOWN._replace(**CALLS[call]),)
    assert devices.driver == ("" if call == "nvmlSystemGetDriverVersion" else "550.54.14")
    assert (devices.source, devices.cuda, devices.broken) == ("nvml", "12.4", False)


@pytest.mark.parametrize("code", ERRORS)
def test_what_a_card_or_driver_cannot_tell_is_no_problem_and_an_error_is(read, code):
    problem = read(A100, f"fail nvmlDeviceGetMemoryInfo {code}").problem
    assert problem == ("" if code in {3, 13} else f"nvmlDeviceGetMemoryInfo failed (NVML's error {code})")


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("call", ["nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex"])
def test_slices_that_cannot_be_asked_for_leave_the_card_divided(read, call, code):
    (card,) = read(DIVIDED, SLICE, f"fail {call} {code}").cards
    assert (card.mig, card.slices, card.total) == (True, (), 42949672960)


def test_the_first_call_that_fails_is_named(read):
    devices = read(A100, "fail nvmlDeviceGetComputeMode 15", "fail nvmlDeviceGetUUID 999")
    assert devices.problem == "nvmlDeviceGetUUID failed (NVML's error 999)"


@pytest.mark.parametrize("name", ["Tesla \udcff\udcfe", "a\x1b[31mb"], ids=["not UTF-8", "a control sequence"])
def test_a_name_that_cannot_be_shown_is_unknown_and_the_rest_is_kept(read, name):
    (card,) = read(f"{A100[:-21]}{name}").cards
    assert (card.name, card.uuid, card.capability) == ("", "GPU-11111111-aaaa", "8.0")


def test_memory_that_is_not_available_is_unknown(read):
    (card,) = read(A100.replace("total=42949672960", f"total={2**64 - 1}")).cards
    assert (card.total, card.free) == (None, None)


def test_an_old_driver_tells_what_it_knows(read):
    devices = read(*DRIVER, A100, old=True)
    (card,) = devices.cards
    assert (card.total, card.mig, card.processes) == (42949672960, None, (CardProcess(4242, 1000000000),))
    assert (devices.driver, devices.cuda, devices.problem) == ("550.54.14", "12.4", "")


def test_a_library_without_a_card_is_an_answer(read):
    assert read(*DRIVER)[:6] == ("nvml", "nvidia", (), "550.54.14", "12.4", "")


def test_a_library_without_a_card_leaves_room_for_those_of_amd(read, tmp_path):
    device = tmp_path / "host/sys/class/drm/card0/device"
    device.mkdir(parents=True)
    (device / "mem_info_vram_total").write_text("17163091968\n")
    assert read(*DRIVER, root=tmp_path / "host").vendor == "amd"


def test_a_thousand_cards_are_read_in_a_few_seconds(read):
    start = time.monotonic()
    devices = read(*[A100] * 1000)
    assert len({card.number for card in devices.cards}) == 1000
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2", *CALLS])
def test_a_driver_that_hangs_is_unknown_at_the_deadline(read, call):
    start = time.monotonic()
    devices = read(A100, f"hang {call}", deadline=0.5)
    assert (devices.source, devices.cards, devices.broken) == ("unknown", (), False)
    assert "no answer in time" in devices.problem
    assert time.monotonic() - start < 3


def test_when_nvml_hangs_nvidia_smi_is_not_asked(cards, program, tmp_path):
    environ = {"PATH": program(f"touch {tmp_path}/asked"), **cards("hang nvmlInitWithFlags")}
    assert read_devices(Files(), environ, deadline=0.5).source == "unknown"
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2", *CALLS])
def test_a_driver_that_crashes_takes_nobody_along(read, call):
    devices = read(A100, f"crash {call}")
    assert (devices.source, devices.cards, devices.problem) == ("unknown", (), "NVML was ended by signal 11")


def test_what_the_driver_prints_is_not_its_answer(read):
    assert read(*DRIVER, A100, "print nvmlDeviceGetName", "print nvmlInitWithFlags") == read(*DRIVER, A100)


def test_a_library_that_is_none_is_unknown(cards, tmp_path):
    environ = cards(A100) | {"PATH": "", "LD_LIBRARY_PATH": str(tmp_path)}
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    devices = read_devices(Files(), environ)
    assert (devices.source, devices.problem) == ("unknown", "NVML cannot be used (NVML's error 12)")


def test_without_pynvml_the_way_to_get_it_is_told(nvml_library, tmp_path):
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/mgelaunch").symlink_to(sys.modules["mgelaunch"].__path__[0])
    program = f"""
import sys; sys.path.insert(0, {str(tmp_path / "alone")!r})
from mgelaunch.host.devices import read_devices; from mgelaunch.host.files import Files
print(read_devices(Files("/nowhere" * 0), {{"LD_LIBRARY_PATH": {str(nvml_library)!r}}}).problem)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert "pip install mgelaunch[gpu]" in done.stdout


@pytest.fixture
def program(tmp_path):
    """A function that writes an nvidia-smi of these shell lines and returns the PATH on which it is."""

    def write(lines):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}\n")
        (folder / "nvidia-smi").chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"

    return write


@pytest.fixture
def by_program(program, tmp_path):
    """A function that reads the devices of a host on which only such an nvidia-smi tells of them."""

    def run(lines, deadline=30.0):
        return read_devices(Files(str(tmp_path / "nothing")), {"PATH": program(lines)}, deadline=deadline)

    return run


ROW = "0, GPU-1, 00000000:07:00.0, NVIDIA A100, 40960, 39936, Default, Disabled"


def test_nvidia_smi_is_asked_where_there_is_no_library(by_program):
    devices = by_program(f"echo '{ROW}'")
    assert devices[:2] == ("nvidia-smi", "nvidia")
    assert (devices.cards[0].total, devices.problem) == (40960 << 20, "")


def test_nvidia_smi_is_asked_where_nvml_crashed_and_the_crash_is_still_told(cards, program):
    environ = cards("crash nvmlInitWithFlags") | {"PATH": program(f"echo '{ROW}'")}
    devices = read_devices(Files(), environ)
    assert (devices.source, len(devices.cards), devices.problem) == ("nvidia-smi", 1, "NVML was ended by signal 11")


def test_an_nvidia_smi_that_does_not_know_of_mig_is_asked_without_it(by_program):
    lines = f'case "$1" in *mig*) echo "Field is not valid"; exit 2;; esac; echo "{ROW[:-10]}, Default"'
    devices = by_program(lines)
    assert (devices.source, devices.cards[0].mig) == ("nvidia-smi", None)


@pytest.mark.parametrize("code", [4, 9, 18])
def test_the_exit_code_of_nvidia_smi_tells_of_a_broken_driver(by_program, code):
    devices = by_program(f"echo Failed to initialize NVML; exit {code}")
    assert (devices.source, devices.broken) == ("nvidia-smi", True)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("exit 77", "nvidia-smi ended with 77"),
        ("kill -ABRT $$", "nvidia-smi was ended by signal 6"),
        ("echo nonsense", "the answer of nvidia-smi cannot be read"),
        ("true", "the answer of nvidia-smi cannot be read"),
        ("exec cat /dev/zero", "nvidia-smi was ended by signal 13"),
    ],
    ids=["fails", "aborts", "nonsense", "nothing", "endless"],
)
def test_an_nvidia_smi_that_tells_nothing_leaves_the_cards_unknown(by_program, lines, problem):
    devices = by_program(lines)
    assert devices == Devices(problem=problem, libcuda=False, mps=False)


def test_an_nvidia_smi_that_hangs_is_ended_with_its_children(by_program, tmp_path):
    start = time.monotonic()
    devices = by_program(f"sleep 60 & echo $! > {tmp_path}/pid; wait", deadline=0.5)
    assert (devices.source, "no answer in time" in devices.problem) == ("unknown", True)
    assert time.monotonic() - start < 3
    assert _is_gone(int((tmp_path / "pid").read_text()))


def _is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_an_nvidia_smi_that_cannot_be_started_leaves_the_cards_unknown(program, tmp_path):
    path = program("")
    (tmp_path / "bin/nvidia-smi").write_text("#!/no/such/interpreter\n")
    devices = read_devices(Files(str(tmp_path / "nothing")), {"PATH": path})
    assert devices.problem == "nvidia-smi cannot be started"
