"""What packages do that matters to a setting: which imports load a reader of the environment, which calls start a
device, which start or become another program.

Which variables a module reads, and when, is told by the catalogue and by `mgelaunch.checks.late`; nothing of it is
repeated here.
"""

from collections.abc import Mapping

_NUMPY = frozenset({"numpy"})
_TORCH = frozenset({"torch", "numpy"})

LOADS: Mapping[str, frozenset[str]] = {
    "numpy": _NUMPY,
    # Their __init__ imports NumPy.
    **dict.fromkeys(("scipy", "pandas", "cv2", "matplotlib", "seaborn", "imageio", "sklearn", "h5py"), _NUMPY),
    **dict.fromkeys(("numba", "jax", "tensorflow", "onnx", "albumentations", "imgaug", "xarray"), _NUMPY),
    "numexpr": _NUMPY | {"numexpr"},
    # The C++ half of torch imports NumPy when it is there (measured with torch 2.13).
    "torch": _TORCH,
    # Their __init__ imports torch, directly or by way of their own modules; of fastai only the modules do.
    **dict.fromkeys(("torchvision", "torchaudio", "torchtext", "torchmetrics", "timm", "thop", "kornia"), _TORCH),
    **dict.fromkeys(("lightning", "pytorch_lightning", "accelerate", "peft", "deepspeed", "fastai", "ignite"), _TORCH),
    **dict.fromkeys(("mmcv", "mmengine", "mmdet", "detectron2", "torch_geometric", "ultralytics", "apex"), _TORCH),
    **dict.fromkeys(("sentence_transformers", "open_clip", "xformers", "torchao"), _TORCH),
    "brevitas": _TORCH | {"brevitas"},
    # The import of MegEngine brings NumPy and OpenCV along (measured with 1.13.0).
    "megengine": _NUMPY | {"megengine"},
}
"""The modules that the import of a package loads, of those that read the environment: the names are those of
`mgelaunch.checks.late`, which tells the variables that each of them reads."""

CUDA_STARTS = frozenset(
    f"torch.cuda.{name}"
    for name in (
        *("init", "set_device", "current_device", "current_stream", "default_stream", "current_blas_handle"),
        *("get_device_name", "get_device_properties", "get_device_capability", "mem_get_info", "synchronize"),
        *("get_rng_state", "get_rng_state_all", "is_bf16_supported", "can_device_access_peer", "ipc_collect"),
    )
)
"""Calls that start CUDA (torch/cuda/__init__.py: they call ``_lazy_init`` or ask the driver for a device)."""

CUDA_MAY_START = frozenset(
    {
        *("torch.cuda.is_available", "torch.cuda.device_count", "torch.amp.GradScaler", "torch.cuda.amp.GradScaler"),
        *("megengine.get_device_count", "megengine.is_cuda_available"),
        *("megengine.device.get_device_count", "megengine.device.is_cuda_available"),
    }
)
"""Calls that start the driver on some hosts only: ``is_available`` calls ``cuInit``, ``device_count`` does where NVML
is missing or torch is older than 2.0. ``empty_cache`` and ``manual_seed`` are left out: up to torch 2.13 both wait for
somebody else to start CUDA (torch/cuda/memory.py:227, random.py:109)."""

CUDA_METHODS = frozenset({"cuda"})
"""Methods that start CUDA on whatever they are called: ``model.cuda()``."""

PLACING = frozenset({"to", "to_empty"})
"""Methods that start CUDA when they are given a device that begins with ``cuda``; so do torch's functions with such a
``device=``, and ``torch.load`` with such a ``map_location=``."""

TENSORS = (
    *("megengine.tensor", "megengine.Tensor", "megengine.Parameter", "megengine.functional."),
    *("megengine.random.normal", "megengine.random.uniform", "megengine.random.permutation", "megengine.random.RNG"),
    *(f"megengine.module.{name}" for name in ("Conv", "Deform", "Linear", "BatchNorm", "SyncBatchNorm", "Embedding")),
    *(f"megengine.module.{name}" for name in ("LayerNorm", "GroupNorm", "InstanceNorm", "LSTM", "RNN", "PReLU")),
)
"""How the names of MegEngine's functions begin that make a tensor, which opens its device."""

NO_TENSOR = "megengine.functional.debug_param."
"""How the names of those begin that do not: they set options (megengine/functional/debug_param.py of 1.13.0)."""

EXECUTES = frozenset(f"os.exec{kind}" for kind in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe"))
"""Calls after which another program, or this one afresh, reads the whole environment."""

CHILDREN = (
    *("subprocess.", "os.system", "os.popen", "os.spawn", "os.posix_spawn", "pexpect.", "sh."),
    *("multiprocessing.", "torch.multiprocessing.", "megengine.distributed.launcher", "ray.", "joblib.Parallel"),
    *("concurrent.futures.ProcessPoolExecutor", "asyncio.create_subprocess"),
)
"""How the names of calls begin that start children, which inherit the environment."""

CONTEXTS: Mapping[str, str] = {
    "spawn": "multiprocessing.context.SpawnContext()",
    "forkserver": "multiprocessing.context.ForkServerContext()",
}
"""What ``multiprocessing.get_context`` returns for the start methods that start Python afresh."""

INTERPRETERS = ("torch.multiprocessing.spawn", "torch.multiprocessing.start_processes", "ray.", *CONTEXTS.values())
"""Those of them that start Python afresh. Others fork, or start what their arguments name."""

BY_START_METHOD = ("multiprocessing.", "torch.multiprocessing.", "concurrent.futures.ProcessPoolExecutor")
"""Those of them that start Python afresh after ``set_start_method("spawn")``."""

IN_A_CHILD = frozenset(
    {
        *("Process", "spawn", "start_processes", "launcher", "launch", "elastic_launch"),
        *("Pool", "ProcessPoolExecutor", "DataLoader", "map_async", "imap", "imap_unordered", "starmap", "apply_async"),
    }
)
"""Last names of calls that run the function they are given in a process of its own, where no device is open yet."""

ENDS = frozenset({"sys.exit", "exit", "quit", "os._exit", "os.abort"})
"""Calls that never return."""

IMPLIES: Mapping[str, Mapping[str, str]] = {
    "megengine.dtr.enable": dict.fromkeys(
        ("MEGENGINE_DTR_AUTO_DROP", "MEGENGINE_ENABLE_DROP", "MEGENGINE_RECORD_COMPUTING_PATH"), "1"
    ),
    "megengine.dtr.disable": dict.fromkeys(
        ("MEGENGINE_DTR_AUTO_DROP", "MEGENGINE_ENABLE_DROP", "MEGENGINE_RECORD_COMPUTING_PATH"), "0"
    ),
}
"""Calls that replace what the environment said of a variable, and by what (megengine/dtr/dtr.py of 1.13.0)."""

IMPLIES_ARGUMENT: Mapping[str, str] = {
    "megengine.set_default_device": "MGE_DEFAULT_DEVICE",
    "megengine.device.set_default_device": "MGE_DEFAULT_DEVICE",
    "megengine.dtr.eviction_threshold": "MEGENGINE_DTR_EVICTION_THRESHOLD",
    "megengine.dtr.evictee_minimum_size": "MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE",
    "megengine.dtr.enable_sqrt_sampling": "MEGENGINE_DTR_SQRT_SAMPLING",
}
"""Calls (by their first argument) and attributes (by what is assigned) that replace what the environment said."""

CHOOSES_CARD, CARDS = "torch.cuda.set_device", "CUDA_VISIBLE_DEVICES"
"""The call whose number counts inside of the list that the variable holds."""
