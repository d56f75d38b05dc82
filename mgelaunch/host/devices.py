"""The cards of the host, from the first source that tells: NVML, nvidia-smi, the kernel."""

import time
from collections.abc import Mapping

from mgelaunch.host.facts import Devices
from mgelaunch.host.files import Files
from mgelaunch.host.kernel_cards import MPS_DIRECTORY, amd_cards, driver_traces, nvidia_cards, nvidia_driver
from mgelaunch.host.libraries import has_library
from mgelaunch.host.nvidia_smi import ask_nvidia_smi, find_nvidia_smi


def read_devices(files: Files, environ: Mapping[str, str], *, deadline: float = 15.0) -> Devices:
    """The cards, from the first source that knows; `deadline` is how many seconds all sources have together.

    No driver's library is loaded into this process, and the environment that they are asked in is `environ`. A
    source that hangs, crashes or answers nonsense leaves the cards ``unknown``; ``none`` they are
    only when nothing at all points to a driver.
    """
    told = _told(files, environ, time.monotonic() + deadline)
    driver = told.driver or (nvidia_driver(files) if told.vendor == "nvidia" else "")
    libcuda = has_library(files, environ, "libcuda.so.1")
    return told._replace(driver=driver, libcuda=libcuda, mps=files.exists(MPS_DIRECTORY))


def _told(files: Files, environ: Mapping[str, str], until: float) -> Devices:
    library = has_library(files, environ, "libnvidia-ml.so.1")
    problem = ""
    if library:
        from mgelaunch.host.nvml_answer import ask_nvml, find_binding  # noqa: PLC0415 - few hosts have cards

        if binding := find_binding():
            told = ask_nvml(files, environ, binding, until)
            if _is_final(told, until):
                return _or_amd(told, files)
            problem = told.problem
    if program := find_nvidia_smi(environ):
        told = ask_nvidia_smi(files, program, environ, until)
        if _is_final(told, until):
            return _or_amd(told._replace(problem=told.problem or problem), files)
        problem = problem or told.problem
    elif library:
        problem = problem or "to ask NVIDIA's library takes pynvml (pip install mgelaunch[gpu]) or nvidia-smi"
    return _by_kernel(files, problem)


def _is_final(told: Devices, until: float) -> bool:
    """Whether nobody else need be asked: the answer is there, or the driver let the time run out, and would again."""
    return told.source != "unknown" or time.monotonic() >= until


def _or_amd(told: Devices, files: Files) -> Devices:
    """AMD's cards where NVIDIA's tools are installed but find none."""
    if told.source == "unknown" or told.cards or told.broken or not (cards := amd_cards(files)):
        return told
    return Devices("sysfs", "amd", cards)


def _by_kernel(files: Files, problem: str) -> Devices:
    if cards := nvidia_cards(files):
        return Devices("proc", "nvidia", cards, problem=problem or "the kernel does not tell the memory of the cards")
    if cards := amd_cards(files):
        return Devices("sysfs", "amd", cards)
    if problem:
        return Devices(problem=problem)
    if traces := driver_traces(files):
        return Devices(problem=f"there is {traces[0]}, but nothing that tells of its cards")
    return Devices("none")
