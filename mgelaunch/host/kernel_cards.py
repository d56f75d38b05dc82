"""What the kernel's own files tell of cards: little of NVIDIA's, the memory of AMD's."""

import re

from mgelaunch.host.cards import bus_address, identity, numa_node, on_this_host, plain, sizes
from mgelaunch.host.facts import Card
from mgelaunch.host.files import Files, whole

_NVIDIA = "/proc/driver/nvidia"
_DRM = "/sys/class/drm"

MPS_DIRECTORY = "/tmp/nvidia-mps"
"""Where the control daemon of MPS has its pipes unless ``CUDA_MPS_PIPE_DIRECTORY`` says otherwise (NVIDIA's guide)."""

_TRACES = ("nvidia", "dxg", "nvhost-gpu", "kfd", "davinci_manager", "cambricon")
"""How the names in ``/dev`` start when a driver is loaded: NVIDIA, WSL2, Jetson, AMD, Ascend, Cambricon."""


def driver_traces(files: Files) -> tuple[str, ...]:
    """The paths that tell of a loaded driver; none when there is certainly no card that can be used."""
    listed = (f"/dev/{name}" for name in files.names("/dev") if name.startswith(_TRACES))
    asked = (f"/dev/{name}" for name in (*_TRACES, "nvidia0", "nvidiactl"))
    paths = (_NVIDIA, *listed, *asked)  # asked too: a folder that cannot be listed may still hold them
    return tuple(dict.fromkeys(path for path in paths if files.exists(path)))


def nvidia_driver(files: Files) -> str:
    """The version of NVIDIA's kernel module; empty when none is loaded."""
    match = re.search(r"Kernel Module.{0,40}?\s([0-9]{1,5}(?:\.[0-9]{1,5}){1,3})\s", _head(files, f"{_NVIDIA}/version"))
    return match[1] if match else ""


def _head(files: Files, path: str) -> str:
    return files.text(path)[:4096]


def nvidia_cards(files: Files) -> tuple[Card, ...]:
    """NVIDIA's cards in the order of the bus, as nvidia-smi numbers them; their memory is not told."""
    addresses = {address: name for name in files.names(f"{_NVIDIA}/gpus") if (address := bus_address(name))}
    nodes = frozenset(files.names("/dev"))
    return tuple(
        _nvidia_card(files, number, addresses[address], nodes)
        for number, address in enumerate(sorted(addresses, key=_place))
    )


def _place(address: str) -> tuple[int, str]:
    domain, _, rest = address.partition(":")
    return int(domain, 16), rest


def _nvidia_card(files: Files, number: int, folder: str, nodes: frozenset[str]) -> Card:
    lines = _head(files, f"{_NVIDIA}/gpus/{folder}/information").splitlines()
    told = {key.strip(): text.strip() for key, _, text in (line.partition(":") for line in lines)}
    card = Card(
        number,
        uuid=identity(told.get("GPU UUID")),
        name=plain(told.get("Model", "")),
        bus=bus_address(folder),
    )
    return on_this_host(card, files, whole(told.get("Device Minor", "")), nodes)


def amd_cards(files: Files) -> tuple[Card, ...]:
    """The cards of the amdgpu driver in the order of the bus (attributes of its documentation in the kernel)."""
    folders = [f"{_DRM}/{name}/device" for name in files.names(_DRM) if re.fullmatch("card[0-9]{1,9}", name)]
    cards = [card for folder in folders if (card := _amd_card(files, folder))]
    ordered = sorted(cards, key=lambda card: _place(card.bus or "ffffffff:"))
    return tuple(card._replace(number=number) for number, card in enumerate(ordered))


def _amd_card(files: Files, folder: str) -> Card | None:
    total = files.number(f"{folder}/mem_info_vram_total")
    used = files.number(f"{folder}/mem_info_vram_used")
    if total is None:
        return None
    address = re.search("^PCI_SLOT_NAME=(.*)$", _head(files, f"{folder}/uevent"), re.MULTILINE)
    total, free = sizes(total, None if used is None else total - used)
    return Card(
        0,
        name=plain(_head(files, f"{folder}/product_name").strip()),
        bus=bus_address(address[1]) if address else "",
        total=total,
        free=free,
        node=numa_node(files, f"{folder}/numa_node"),
    )
