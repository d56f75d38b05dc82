"""Each kind of value: what a user may write, what the framework gets, what is refused and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.devices import DeviceList
from mgelaunch.catalogue.kinds import Rejected, Relative, Unplaced, Value
from mgelaunch.catalogue.names import is_portable, is_secret, near_miss
from mgelaunch.catalogue.numbers import GIB, MIB, Bytes, Decimal, Integer, Reserve
from mgelaunch.catalogue.places import Path
from mgelaunch.catalogue.words import Choice, Switch, Text, boolean_words, dead, nonempty, presence

KINDS = {name: variable.kind for name, variable in CATALOGUE.items()}
THRESHOLD = KINDS["MEGENGINE_DTR_EVICTION_THRESHOLD"]
PLASMA = KINDS["MGE_PLASMA_MEMORY"]


def text(name, written):
    """The canonical text that the variable gets; None when it must be absent."""
    reading = KINDS[name].read(written)
    assert isinstance(reading, Value), reading
    return reading.text


def refusal(name, written):
    reading = KINDS[name].read(written)
    assert isinstance(reading, Rejected), reading
    return reading


# -- what a variable gets ------------------------------------------------------------------------------

CANONICAL = [
    # sizes: units are powers of 1024
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "5GB", "5368709120"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "5GiB", "5368709120"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "3.5 gb", "3758096384"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "2500MB", "2621440000"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "5_368_709_120", "5368709120"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "+5368709120", "5368709120"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "0", "0"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "1MiB", "1048576"),
    ("MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE", "1k", "1024"),
    ("MGE_PLASMA_MEMORY", "5GB", "5368709120"),
    ("MGE_PLASMA_MEMORY", "1638MiB", "1717567488"),
    ("MGE_PLASMA_MEMORY", "1000000", "1000000"),
    ("MGB_SUBLINEAR_MEMORY_LOWER_BOUND_MB", "5GB", "5120"),
    ("MGB_SUBLINEAR_MEMORY_LOWER_BOUND_MB", "100", "100"),
    ("MGB_SUBLINEAR_MEMORY_LOWER_BOUND_MB", "0", "0"),
    ("MEGENGINE_XLA_TEMP_BUFFER_SIZE_CONSTRAINT", "1GiB", "1024"),
    # switches that read a number
    ("MEGENGINE_ENABLE_DROP", "true", "1"),
    ("MEGENGINE_ENABLE_DROP", "on", "1"),
    ("MEGENGINE_ENABLE_DROP", "yes", "1"),
    ("MEGENGINE_ENABLE_DROP", "1", "1"),
    ("MEGENGINE_HOST_COMPUTE", "false", "0"),
    ("MEGENGINE_INPLACE_UPDATE", "TRUE", "1"),
    ("MGE_MM_OPR_DEBUG", "true", "1"),
    ("MGE_CHECK_ABI", "off", "0"),
    # switches that look at presence alone: off is absent
    ("MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE", "0", None),
    ("MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE", "false", None),
    ("MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE", "on", "1"),
    ("MGE_DATALOADER_PLASMA_DEBUG", "0", None),
    ("MEGENGINE_USE_SYMBOLIC_SHAPE", "false", None),
    ("PYTHONUNBUFFERED", "false", None),
    ("PYTHONUNBUFFERED", "yes", "1"),
    ("PYTHONUNBUFFERED", "2", "1"),
    ("PYTHONUNBUFFERED", "00", None),
    ("PYTHONFAULTHANDLER", "all", "1"),
    ("PYTHONFAULTHANDLER", "0", None),
    ("MGB_THROW_ON_FORK", "0", None),
    # reserved device memory
    ("MGB_CUDA_RESERVE_MEMORY", "0", None),
    ("MGB_CUDA_RESERVE_MEMORY", "false", None),
    ("MGB_CUDA_RESERVE_MEMORY", "b:0", None),
    ("MGB_CUDA_RESERVE_MEMORY", "1", "1"),
    ("MGB_CUDA_RESERVE_MEMORY", "on", "1"),
    ("MGB_CUDA_RESERVE_MEMORY", "8GiB", "b:8589934592"),
    ("MGB_CUDA_RESERVE_MEMORY", "b:5GB", "b:5368709120"),
    ("MGB_CUDA_RESERVE_MEMORY", "8589934592", "b:8589934592"),
    # levels and choices
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "error", "3"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "ERROR", "3"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "3", "3"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "DEBUG", "0"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "warning", "2"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "NO_LOG", "4"),
    ("MEGENGINE_LOGGING_LEVEL", "error", "ERROR"),
    ("MEGENGINE_LOGGING_LEVEL", "warn", "WARNING"),
    ("MEGENGINE_LOGGING_LEVEL", "Fatal", "CRITICAL"),
    ("MEGENGINE_LOGGING_LEVEL", "NOTSET", "NOTSET"),
    ("BREVITAS_LOGGING", "info", "INFO"),
    ("BREVITAS_LOGGING", "debug", "DEBUG"),
    ("MGE_FASTRUN_CACHE_TYPE", "memory", "MEMORY"),
    ("MGB_JIT_BACKEND", "nvrtc", "NVRTC"),
    ("MEGENGINE_INTERP_ASYNC_LEVEL", "0", "0"),
    ("CUDA_MODULE_LOADING", "eager", "EAGER"),
    ("CUDA_DEVICE_ORDER", "pci_bus_id", "PCI_BUS_ID"),
    ("TORCH_DISTRIBUTED_DEBUG", "detail", "DETAIL"),
    ("TORCH_CPP_LOG_LEVEL", "0", "INFO"),
    ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "3", "3"),
    ("NCCL_DEBUG", "info", "INFO"),
    ("MKL_DYNAMIC", "0", "FALSE"),
    ("MKL_DYNAMIC", "on", "TRUE"),
    ("MKL_DYNAMIC", "false", "FALSE"),
    ("OMP_PROC_BIND", "TRUE", "true"),
    ("OMP_PROC_BIND", "0", "false"),
    ("OMP_PROC_BIND", "close", "close"),
    # booleans that three readers spell in three ways
    ("BREVITAS_JIT", "on", "1"),
    ("BREVITAS_JIT", "T", "1"),
    ("BREVITAS_JIT", "no", "0"),
    ("BREVITAS_REINIT_ON_STATE_DICT_LOAD", "off", "0"),
    ("PYTORCH_JIT", "on", "1"),
    ("PYTORCH_JIT", "off", "0"),
    ("TORCH_NCCL_BLOCKING_WAIT", "on", "1"),
    ("NCCL_BLOCKING_WAIT", "off", "0"),
    # numbers
    ("MEGENGINE_ASYNC_QUEUE_SIZE", "+500", "500"),
    ("MEGENGINE_ASYNC_QUEUE_SIZE", "10_000", "10000"),
    ("MGB_SUBLINEAR_MEMORY_THRESH_NR_TRY", "0", "0"),
    ("MGB_SUBLINEAR_MEMORY_THRESH_NR_TRY", "2", "2"),
    ("MGB_CONV_PROFILING_TIMEOUT", "1.5", "1.5"),
    ("OMP_NUM_THREADS", "3,2", "3,2"),
    ("OMP_NUM_THREADS", "+4", "4"),
    ("PYTHONHASHSEED", "random", "random"),
    ("PYTHONHASHSEED", "RANDOM", "random"),
    ("PYTHONHASHSEED", "01", "1"),
    ("PYTHONHASHSEED", "4294967295", "4294967295"),
    ("MASTER_PORT", "29500", "29500"),
    ("NCCL_IB_GID_INDEX", "3", "3"),
    ("NCCL_IB_GID_INDEX", "-1", "-1"),
    ("NCCL_IB_TC", "106", "106"),
    # devices
    ("MGE_DEFAULT_DEVICE", "gpu0", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "CPU0", "cpu0"),
    ("MGE_DEFAULT_DEVICE", "xpux", "xpux"),
    ("MGE_DEFAULT_DEVICE", "cpu0:1", "cpu0:1"),
    ("MGE_DEFAULT_DEVICE", "multithread2:0", "multithread2:0"),
    ("MGE_DEFAULT_DEVICE", "rocm0", "rocm0"),
    ("CUDA_VISIBLE_DEVICES", "0, 1", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "1,0", "1,0"),
    ("CUDA_VISIBLE_DEVICES", "-1", "-1"),
    ("CUDA_VISIBLE_DEVICES", "none", "-1"),
    ("CUDA_VISIBLE_DEVICES", "NoDevFiles", "-1"),
    ("CUDA_VISIBLE_DEVICES", "0,1,", "0,1"),
    ("OMP_PROC_BIND", "Spread, close", "spread,close"),
    ("CUDA_VISIBLE_DEVICES", "GPU-8932f937, GPU-b", "GPU-8932f937,GPU-b"),
    ("CUDA_VISIBLE_DEVICES", "MIG-GPU-8932f937/1/0", "MIG-GPU-8932f937/1/0"),
    # texts
    ("CUBLAS_WORKSPACE_CONFIG", ":4096:8", ":4096:8"),
    ("CUBLAS_WORKSPACE_CONFIG", ":4096:2:16:8", ":4096:2:16:8"),
    ("NCCL_IB_HCA", "mlx5_0,mlx5_1", "mlx5_0,mlx5_1"),
    ("NCCL_SOCKET_IFNAME", "=eth0", "=eth0"),
    ("NCCL_SOCKET_IFNAME", "^docker", "^docker"),
    ("TORCH_LOGS", "+dynamo,inductor", "+dynamo,inductor"),
    ("PYTORCH_JIT_LOG_LEVEL", ">>alias_analysis:guard_elimination", ">>alias_analysis:guard_elimination"),
    ("GOMP_CPU_AFFINITY", "0-3 8", "0-3 8"),
    ("MEGENGINE_ENABLE_SWAP", "anything at all", "anything at all"),
    # the allocator of torch
    ("PYTORCH_ALLOC_CONF", "max_split_size_mb:128", "max_split_size_mb:128"),
    (
        "PYTORCH_CUDA_ALLOC_CONF",
        "max_split_size_mb : 64 , expandable_segments:True,",
        "max_split_size_mb:64,expandable_segments:True",
    ),
    ("PYTORCH_ALLOC_CONF", "roundup_power2_divisions:[256:1,512:2,>:4]", "roundup_power2_divisions:[256:1,512:2,>:4]"),
    ("PYTORCH_ALLOC_CONF", "garbage_collection_threshold:0.8", "garbage_collection_threshold:0.8"),
    ("PYTORCH_ALLOC_CONF", "backend:cudaMallocAsync", "backend:cudaMallocAsync"),
    ("PYTORCH_ALLOC_CONF", "nosuch:1", "nosuch:1"),
    # addresses
    ("MGE_FASTRUN_CACHE_URL", "redis://localhost:6379", "redis://localhost:6379"),
    ("MGE_FASTRUN_CACHE_URL", "redis://:pw@cache:6379", "redis://:pw@cache:6379"),
    ("MGE_FASTRUN_CACHE_URL", "redis+socket:///run/redis.sock", "redis+socket:///run/redis.sock"),
]


@pytest.mark.parametrize(("name", "written", "gets"), CANONICAL, ids=repr)
def test_the_reader_gets_the_text_that_it_understands(name, written, gets):
    assert text(name, written) == gets


# -- what is refused -----------------------------------------------------------------------------------

REFUSED = [
    # a forgotten unit would mean bytes
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "8", "value.unit", "8GiB"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "1048575", "value.unit", "1MiB"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "-1", "value.unit", "8GiB"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "true", "value.unit", "8GiB"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "1e9", "value.unit", "8GiB"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "0x10", "value.unit", "8GiB"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "1.5", "value.unit", "8GiB"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "0%", "value.percent", "80%"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "120%", "value.percent", "80%"),
    ("MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE", "5", "value.unit", "5GiB"),
    ("MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE", "50%", "value.percent", ""),
    ("MGE_PLASMA_MEMORY", "0", "value.unit", "1000000B"),
    ("MGE_PLASMA_MEMORY", "-1", "value.unit", "8GiB"),
    ("MGE_PLASMA_MEMORY", "1000", "value.unit", "1000GiB"),
    ("MGE_PLASMA_MEMORY", "1e9", "value.unit", "8GiB"),
    ("MGB_SUBLINEAR_MEMORY_LOWER_BOUND_MB", "-5", "value.unit", "8GiB"),
    ("MGB_CUDA_RESERVE_MEMORY", "2", "value.unit", "2GiB"),
    ("MGB_CUDA_RESERVE_MEMORY", "b:5", "value.unit", "5GiB"),
    ("MGB_CUDA_RESERVE_MEMORY", "b:", "value.unit", "8GiB"),
    ("MGB_CUDA_RESERVE_MEMORY", "b:80%", "value.percent", ""),
    ("MGB_CUDA_RESERVE_MEMORY", "anything", "value.unit", "8GiB"),
    # words that are neither on nor off
    ("MEGENGINE_ENABLE_DROP", "2", "value.switch", "1"),
    ("MEGENGINE_DTR_AUTO_DROP", "-1", "value.switch", "1"),
    ("MEGENGINE_INPLACE_UPDATE", "1.0", "value.switch", "1"),
    ("MGB_PRINT_EXC", "maybe", "value.switch", "1"),
    ("BREVITAS_JIT", "Ture", "value.switch", "1"),
    ("BREVITAS_JIT", "none", "value.switch", "1"),
    ("BREVITAS_JIT", "01", "value.switch", "1"),
    ("PYTORCH_JIT", "1v", "value.switch", "1"),
    ("MGB_THROW_ON_FORK", "1", "value.harmful", ""),
    # levels and choices
    ("MEGENGINE_LOGGING_LEVEL", "10", "value.choice", "DEBUG"),
    ("MEGENGINE_LOGGING_LEVEL", "VERBOSE", "value.choice", "DEBUG"),
    ("MEGENGINE_LOGGING_LEVEL", "ERR", "value.choice", "ERROR"),
    ("BREVITAS_LOGGING", "TRACE", "value.choice", "DEBUG"),
    ("BREVITAS_LOGGING", "10", "value.choice", "DEBUG"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "5", "value.choice", "0"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "-1", "value.choice", "0"),
    ("MEGENGINE_INTERP_ASYNC_LEVEL", "7", "value.choice", "0"),
    ("MEGENGINE_INTERP_ASYNC_LEVEL", "sync", "value.choice", "0"),
    ("MGB_USE_MEGDNN_DBG", "3", "value.choice", "0"),
    ("MGE_FASTRUN_CACHE_TYPE", "redis", "value.choice", "FILE"),
    ("TORCH_DISTRIBUTED_DEBUG", "1", "value.choice", "OFF"),
    ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "abc", "value.choice", "0"),
    # numbers
    ("MEGENGINE_ASYNC_QUEUE_SIZE", "10k", "value.integer", ""),
    ("MEGENGINE_ASYNC_QUEUE_SIZE", "1.5", "value.integer", ""),
    ("MEGENGINE_ASYNC_QUEUE_SIZE", "1e4", "value.integer", "10000"),
    ("MEGENGINE_ASYNC_QUEUE_SIZE", "-1", "value.range", "1"),
    ("MGB_SUBLINEAR_MEMORY_THRESH_NR_TRY", "1", "value.range", "2"),
    ("MGB_SUBLINEAR_MEMORY_THRESH_NR_TRY", "-1", "value.range", "0"),
    ("MGB_SUBLINEAR_MEMORY_THRESH_NR_TRY", "1x", "value.integer", ""),
    ("MGB_SUBLINEAR_MEMORY_GENETIC_NR_ITER", "-1", "value.range", "0"),
    ("MGB_SUBLINEAR_MEMORY_GENETIC_POOL_SIZE", "0", "value.range", "1"),
    ("MGB_SUBLINEAR_MEMORY_WORKERS", "0", "value.range", "1"),
    ("MGB_SUBLINEAR_MEMORY_WORKERS", "-1", "value.range", "1"),
    ("MGB_WORKER_MAX_SPIN", "often", "value.integer", ""),
    ("MGB_CONV_PROFILING_TIMEOUT", "abc", "value.float", "0"),
    ("MGB_CONV_PROFILING_TIMEOUT", "nan", "value.float", "0"),
    ("MGB_CONV_PROFILING_TIMEOUT", "-1", "value.float", "0"),
    ("OMP_NUM_THREADS", "0", "value.range", "1"),
    ("OMP_NUM_THREADS", "2.5", "value.integer", ""),
    ("OMP_NUM_THREADS", "3,,2", "value.integer", ""),
    ("MKL_NUM_THREADS", "abc", "value.integer", ""),
    ("MKL_NUM_THREADS", "3,2", "value.integer", ""),
    ("PYTHONHASHSEED", "abc", "value.integer", ""),
    ("PYTHONHASHSEED", "-1", "value.range", "0"),
    ("PYTHONHASHSEED", "4294967296", "value.range", "4294967295"),
    ("WORLD_SIZE", "0", "value.range", "1"),
    ("RANK", "-1", "value.range", "0"),
    ("MASTER_PORT", "99999", "value.range", "65535"),
    ("MASTER_PORT", "abc", "value.integer", ""),
    # devices
    ("MGE_DEFAULT_DEVICE", "cpu", "value.device", "cpu0"),
    ("MGE_DEFAULT_DEVICE", "gpu", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "xpu", "value.device", "xpux"),
    ("MGE_DEFAULT_DEVICE", "cuda", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "cuda0", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "cuda:1", "value.device", "gpu1"),
    ("MGE_DEFAULT_DEVICE", "gpu:0", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "cpu:default", "value.device", "cpu0"),
    ("MGE_DEFAULT_DEVICE", "cpu0:default", "value.device", "cpu0"),
    ("MGE_DEFAULT_DEVICE", "multithread", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "multithread0", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "multithread:default:2", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "cpu-1", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "cpu0:x", "value.device", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "tpu0", "value.device", "gpu0"),
    ("CUDA_VISIBLE_DEVICES", "all", "value.devices", ""),
    ("CUDA_VISIBLE_DEVICES", "0,0", "value.devices", "0"),
    ("CUDA_VISIBLE_DEVICES", "0,1,01", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-a", "value.devices", ""),
    ("CUDA_VISIBLE_DEVICES", "0 1", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "0;1", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", ",0", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "0x1", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "0,2,-1,1", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "0,1,x", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "1gpu2", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "1.5", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "+1", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "cuda:0", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "[0,1]", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "GPU-a,1", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "GPU-a,MIG-x", "value.devices", "0,1"),
    ("CUDA_VISIBLE_DEVICES", "gpu-a", "value.devices", "0,1"),
    # texts
    ("CUBLAS_WORKSPACE_CONFIG", "4096:8", "value.text", ":4096:8"),
    ("CUBLAS_WORKSPACE_CONFIG", ":4096", "value.text", ":4096:8"),
    ("NCCL_IB_HCA", "/bin/sh: 1: pushd: not found mlx5_0", "value.text", "mlx5"),
    ("NCCL_IB_HCA", "mlx5_0\nmlx5_1", "value.text", "mlx5"),
    ("MASTER_ADDR", "node 1", "value.text", "localhost"),
    ("GOMP_CPU_AFFINITY", "all", "value.text", "0-3"),
    # the allocator of torch
    ("PYTORCH_ALLOC_CONF", "max_split_size_mb:19", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "max_split_size_mb:1.5", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "max_split_size_mb:abc", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "max_split_size_mb:128MB", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "max_split_size_mb:-1", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "garbage_collection_threshold:0", "value.pairs", "garbage_collection_threshold:0.8"),
    ("PYTORCH_ALLOC_CONF", "garbage_collection_threshold:1.5", "value.pairs", "garbage_collection_threshold:0.8"),
    ("PYTORCH_ALLOC_CONF", "expandable_segments:true", "value.pairs", "expandable_segments:True"),
    ("PYTORCH_ALLOC_CONF", "pinned_use_background_threads:1", "value.pairs", "pinned_use_background_threads:True"),
    ("PYTORCH_ALLOC_CONF", "roundup_power2_divisions:3", "value.pairs", "roundup_power2_divisions:4"),
    ("PYTORCH_ALLOC_CONF", "max_split_size_mb=128", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "a:1;b:2", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "word", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "key:", "value.pairs", "max_split_size_mb:128"),
    ("PYTORCH_ALLOC_CONF", "a:1,,b:2", "value.pairs", "max_split_size_mb:128"),
    # addresses
    ("MGE_FASTRUN_CACHE_URL", "localhost:6379", "value.url", "redis://localhost:6379"),
    ("MGE_FASTRUN_CACHE_URL", "redis://user:pw@cache:6379", "value.url", "redis://localhost:6379"),
    ("MGE_FASTRUN_CACHE_URL", "redis://cache", "value.url", "redis://localhost:6379"),
    ("MGE_FASTRUN_CACHE_URL", "redis://cache:6379/0", "value.url", "redis://localhost:6379"),
    ("MGE_FASTRUN_CACHE_URL", "https://cache:6379", "value.url", "redis://localhost:6379"),
]


@pytest.mark.parametrize(("name", "written", "code", "suggestion"), REFUSED, ids=repr)
def test_a_text_that_the_reader_would_misread_is_refused_with_something_better(name, written, code, suggestion):
    reading = refusal(name, written)
    assert (reading.code, reading.suggestion) == (code, suggestion)


@pytest.mark.parametrize(("name", "suggestion"), sorted({(name, better) for name, _, _, better in REFUSED if better}))
def test_what_a_refusal_suggests_is_legal(name, suggestion):
    assert not isinstance(KINDS[name].read(suggestion), Rejected)


def test_no_refusal_repeats_a_text_that_cannot_be_read():
    readings = [kind.read("hunter2 is a secret") for kind in KINDS.values()]
    told = [(reading.reason, reading.suggestion) for reading in readings if isinstance(reading, Rejected)]
    assert len(told) > 100
    assert not any("hunter2" in reason + suggestion for reason, suggestion in told)


# -- percentages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "percent"),
    [("80%", 80.0), ("12.5%", 12.5), ("100 %", 100.0)],
)
@pytest.mark.parametrize(
    "name",
    ["MEGENGINE_DTR_EVICTION_THRESHOLD", "MGB_CUDA_RESERVE_MEMORY", "MGE_PLASMA_MEMORY", "OMP_NUM_THREADS"],
)
def test_a_percentage_waits_for_the_total_of_its_resource(name, written, percent):
    reading = KINDS[name].read(written)
    assert isinstance(reading, Relative)
    assert reading.percent == percent


@pytest.mark.parametrize(
    ("kind", "amount", "gets"),
    [
        pytest.param(THRESHOLD, 20615843020, "20615843020", id="bytes"),
        pytest.param(Bytes(scale=MIB), 3 * GIB + 5, "3072", id="whole MiB"),
        pytest.param(Reserve(), 8 * GIB, "b:8589934592", id="reserve"),
        pytest.param(Integer(1, resource="cpus"), 4, "4", id="threads"),
        pytest.param(Integer(1, resource="cpus"), 0, "1", id="never fewer than the minimum"),
    ],
)
def test_an_amount_of_the_resource_is_written_as_its_reader_wants_it(kind, amount, gets):
    assert kind.render(amount) == Value(gets)


# -- paths ---------------------------------------------------------------------------------------------


def test_a_path_stays_as_written_until_its_folder_is_known():
    assert Path().read("~/cache") == Unplaced(("~/cache",))


def test_a_search_path_is_split_at_its_colons():
    assert Path(several=True).read("/usr/lib:lib") == Unplaced(("/usr/lib", "lib"))


def test_a_path_that_is_one_place_keeps_its_colons():
    assert Path().read("/data/a:b") == Unplaced(("/data/a:b",))


# -- the rule of each kind -------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [presence(), nonempty()], ids=lambda kind: kind.name)
def test_the_two_presence_kinds_say_off_by_absence(switch):
    assert switch.off == "unset"
    assert switch.read("No") == Value(None)


def test_word_lists_that_differ_are_written_as_one_and_zero():
    assert [boolean_words().read(word) for word in ("yes", "no")] == [Value("1"), Value("0")]


def test_a_harmful_switch_can_still_be_turned_off():
    switch = Switch(off_text=None, harm="breaks every run")
    assert switch.read("off") == Value(None)
    assert switch.read("on") == Rejected("value.harmful", "breaks every run")


def test_a_dead_variable_lets_any_text_pass():
    assert dead().read("5GB and more") == Value("5GB and more")


def test_a_choice_suggests_the_value_that_begins_alike():
    assert Choice(("OFF", "INFO", "DETAIL")).read("details").suggestion == "DETAIL"


def test_a_text_without_a_pattern_is_free():
    assert Text().read("c++ -O2") == Value("c++ -O2")


def test_zero_is_a_size_only_where_it_means_off():
    assert Bytes(off="0").read("0") == Value("0")
    assert isinstance(Bytes(off="unset").read("0"), Rejected)


def test_the_smallest_legal_size_is_told_in_its_largest_even_unit():
    assert [Bytes(least, off="unset").read("0").suggestion for least in (GIB, MIB, 1024, 1_000_000)] == [
        "1GiB",
        "1MiB",
        "1KiB",
        "1000000B",
    ]


@pytest.mark.parametrize(
    ("written", "amount"), [("1.5", "1.5"), ("+2", "2"), (".5", ".5"), ("5.", "5.")], ids=lambda value: value
)
def test_a_decimal_takes_one_point_and_no_exponent(written, amount):
    assert Decimal().read(written) == Value(amount)


def test_a_decimal_has_a_lower_bound():
    assert Decimal(minimum=1).read("0.5") == Rejected("value.range", "must be a number, 1 or more", "1")


def test_an_empty_list_of_devices_hides_every_card():
    assert DeviceList().read("") == Value("-1")


@pytest.mark.parametrize(
    ("kind", "phrase"),
    [
        (Integer(0, holes=(1,)), "0 or more, not 1"),
        (Integer(0, 4, words=("auto",)), "0 to 4, or auto"),
        (Integer(1, resource="cpus"), "1 or more, or a percentage"),
        (Bytes(off="0"), "a size such as 5GiB or 512MB; 0 is off"),
        (Choice(("FILE", "MEMORY")), "FILE, MEMORY"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_legal_values_are_told_in_a_phrase(kind, phrase):
    assert kind.legal[0] == phrase


def test_sizes_know_the_unit_that_their_reader_counts_in():
    assert [Bytes().unit, Bytes(scale=MIB).unit] == ["bytes", "MiB"]


# -- any text ------------------------------------------------------------------------------------------

WRITTEN = st.one_of(
    st.text(max_size=40),
    st.text("0123456789.,:;+-_%bBeEgGkKmMiIxX \n", max_size=40),
    st.from_regex(r"[+-]?[0-9]{1,400}(\.[0-9]{1,20})?\s?[kmgtKMGT]?i?[bB%]?", fullmatch=True),
    st.sampled_from(sorted({written for _, written, _ in CANONICAL} | {written for _, written, _, _ in REFUSED})),
)


@given(written=WRITTEN, name=st.sampled_from(sorted(KINDS)))
def test_reading_any_text_gives_an_answer_and_the_answer_reads_as_itself(written, name):
    reading = KINDS[name].read(written)
    assert isinstance(reading, Value | Relative | Unplaced | Rejected)
    if isinstance(reading, Value) and reading.text is not None:
        assert KINDS[name].read(reading.text) == reading


def test_thousands_of_digits_are_no_number():
    for kind in KINDS.values():
        for written in ("9" * 5000, "9" * 5000 + "e5", "9" * 5000 + "GiB", "max_split_size_mb:" + "9" * 5000):
            kind.read(written)


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        pytest.param("MEGENGINE_LOGING_LEVEL", "MEGENGINE_LOGGING_LEVEL", id="a letter is missing"),
        pytest.param("MEGENGINE_LOGGING_LEVLE", "MEGENGINE_LOGGING_LEVEL", id="two letters are swapped"),
        pytest.param(
            "MEGENGINE_DTR_EVICTON_TRESHOLD", "MEGENGINE_DTR_EVICTION_THRESHOLD", id="two letters are missing"
        ),
        pytest.param("MGE_LOGGING_LEVEL", "MEGENGINE_LOGGING_LEVEL", id="another of our prefixes"),
        pytest.param("MEGENGINE_PLASMA_MEMORY", "MGE_PLASMA_MEMORY", id="another of our prefixes, the other way"),
        pytest.param("MGB_RESERVE_CUDA_MEMORY", "MGB_CUDA_RESERVE_MEMORY", id="the words in another order"),
        pytest.param("BREVITAS_JTI", "BREVITAS_JIT", id="Brevitas"),
        pytest.param("CUDA_VISIBLE_DEVICE", "CUDA_VISIBLE_DEVICES", id="one edit elsewhere"),
        pytest.param("OMP_NUM_THREAD", "OMP_NUM_THREADS", id="a plural"),
        pytest.param("PYTORCH_CUDA_ALOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", id="one letter of torch"),
    ],
)
def test_a_slip_of_the_pen_is_recognised(name, meant):
    assert near_miss(name, CATALOGUE) == meant


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("MEGENGINE_MY_OWN_OPTION", id="our prefix, another meaning"),
        pytest.param("CUDA_VISIBEL_DEVICE", id="two edits elsewhere"),
        pytest.param("NCCL_IB_SL", id="a real variable of NCCL"),
        pytest.param("TORCH_LOGS_OUT", id="a real variable of torch"),
        pytest.param("NVIDIA_VISIBLE_DEVICES", id="a variable of container runtimes"),
        pytest.param("PATH", id="a short name"),
        pytest.param("LANG", id="another short name"),
        pytest.param("MEGENGINE_LOGGING_LEVEL", id="a name of the catalogue"),
    ],
)
def test_a_stranger_is_left_alone(name):
    assert near_miss(name, CATALOGUE) is None


@pytest.mark.parametrize(
    "name",
    ["WANDB_API_KEY", "HF_TOKEN", "DB_PASSWORD", "MY_SECRET_FILE", "AWS_CREDENTIALS", "sshkey", "GPG_PASSPHRASE"],
)
def test_names_that_promise_a_secret_are_masked(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "KEYBOARD", "MONKEY_PATCH", "TOKENS"])
def test_other_names_are_shown(name):
    assert not is_secret(name)


def test_no_variable_of_the_catalogue_is_masked_for_its_name():
    assert [name for name in CATALOGUE if is_secret(name)] == []


@pytest.mark.parametrize(
    ("name", "portable"), [("_DEBUG", True), ("a1", True), ("1A", False), ("A-B", False), ("", False)]
)
def test_a_portable_name_has_letters_digits_and_underscores(name, portable):
    assert is_portable(name) is portable


@pytest.mark.parametrize(
    "name",
    [
        "HCCL_SOCKET_IFNAME",
        "RCCL_DEBUG",
        "TORCH_XCCL_BLOCKING_WAIT",
        "MASTER_PORT1",
        "JYTHONPATH",
        "MGE_NAME",
        "MGE_MODE",
    ],
)
def test_a_name_of_another_tool_is_no_slip(name):
    assert near_miss(name, CATALOGUE) is None


@pytest.mark.parametrize("size", ["99999999999999999999999999TiB", str(1 << 64)])
def test_a_size_that_no_reader_can_hold_is_refused(size):
    assert isinstance(CATALOGUE["MEGENGINE_DTR_EVICTION_THRESHOLD"].kind.read(size), Rejected)
