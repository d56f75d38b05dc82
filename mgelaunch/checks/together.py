"""Settings that mean something only together, or that fight each other. Each rule is a pure function."""

from collections.abc import Callable, Iterator

from mgelaunch.environment.resolve import Resolution
from mgelaunch.environment.source import Source
from mgelaunch.finding import Finding, Severity, either

_DTR_SWITCHES = ("MEGENGINE_DTR_AUTO_DROP", "MEGENGINE_ENABLE_DROP", "MEGENGINE_RECORD_COMPUTING_PATH")
_DTR_THRESHOLD = "MEGENGINE_DTR_EVICTION_THRESHOLD"

Rule = Callable[[Resolution], Iterator[Finding]]


def together(resolution: Resolution) -> Iterator[Finding]:
    """All findings about several settings at once; nothing is said of settings of which one is wrong."""
    for rule in _RULES:
        for finding in rule(resolution):
            if not any(setting.wrong for name in finding.names if (setting := resolution.settings.get(name))):
                yield finding


def _say(code: str, message: str, names: tuple[str, ...], remedy: str = "", severity: Severity = "warning") -> Finding:
    return Finding(severity, f"together.{code}", message, names, remedy)


def _on(resolution: Resolution, name: str) -> bool:
    return resolution.get(name) not in {None, "0", "false", "FALSE"}


def _dtr(resolution: Resolution) -> Iterator[Finding]:
    off = [name for name in _DTR_SWITCHES if not _on(resolution, name)]
    threshold = _on(resolution, _DTR_THRESHOLD)
    if threshold and off:
        message = f"{_DTR_THRESHOLD} does nothing without {', '.join(off)}"
        remedy = "-p dtr" if len(off) == len(_DTR_SWITCHES) else " ".join(f"-e {name}=1" for name in off)
        yield _say("dtr", message, (_DTR_THRESHOLD, *off), remedy)
    elif _on(resolution, _DTR_SWITCHES[0]) and not threshold:
        message = f"{_DTR_SWITCHES[0]} evicts nothing by the environment alone without a threshold above 0"
        remedy = either((f"-e {_DTR_THRESHOLD}=80%", "--fix dtr-allocator"))
        yield _say("dtr", message, (_DTR_SWITCHES[0], _DTR_THRESHOLD), remedy)
    elif _on(resolution, _DTR_SWITCHES[0]) and off:
        message = f"{_DTR_SWITCHES[0]} cannot compute dropped tensors again without {', '.join(off)}"
        yield _say("dtr", message, (_DTR_SWITCHES[0], *off), " ".join(f"-e {name}=1" for name in off))


def _log_level(resolution: Resolution) -> Iterator[Finding]:
    names = ("RUNTIME_OVERRIDE_LOG_LEVEL", "MEGENGINE_LOGGING_LEVEL")
    if resolution.get(names[0]) == "0" and resolution.get(names[1]) != "DEBUG":
        message = "RUNTIME_OVERRIDE_LOG_LEVEL=debug shows no debug line while the Python logger stays above DEBUG"
        yield _say("log", message, names, "-e MEGENGINE_LOGGING_LEVEL=DEBUG")


def _worker_errors(resolution: Resolution) -> Iterator[Finding]:
    names = ("MEGENGINE_CATCH_WORKER_EXEC", "MEGENGINE_INTERP_ASYNC_LEVEL")
    if resolution.get(names[0]) == "0" and resolution.get(names[1]) in {None, "2"}:
        message = f"{names[0]}=0 at level 2 ends in a segmentation fault at the first operator that fails"
        yield _say("worker", message, names, "-e MEGENGINE_INTERP_ASYNC_LEVEL=1")


def _sanity_check(resolution: Resolution) -> Iterator[Finding]:
    names = ("MGB_DEBUG_VAR_SANITY_CHECK_LOG", "MEGENGINE_INPLACE_UPDATE")
    if resolution.get(names[0]) is not None and _on(resolution, names[1]):
        message = (
            "MGB_DEBUG_VAR_SANITY_CHECK_LOG logs nothing, because MEGENGINE_INPLACE_UPDATE switches that check off"
        )
        yield _say("sanity", message, names, "-e MEGENGINE_INPLACE_UPDATE=0")


def _fastrun_cache(resolution: Resolution) -> Iterator[Finding]:
    kind = resolution.get("MGE_FASTRUN_CACHE_TYPE")
    for name, where in (("MGE_FASTRUN_CACHE_DIR", {"MEMORY"}), ("MGE_FASTRUN_CACHE_URL", {"MEMORY", "FILE"})):
        if resolution.get(name) and kind in where:
            message = f"{name} is not used while MGE_FASTRUN_CACHE_TYPE is {kind}"
            yield _say("cache", message, (name, "MGE_FASTRUN_CACHE_TYPE"), "--unset MGE_FASTRUN_CACHE_TYPE")


def _crash_handler(resolution: Resolution) -> Iterator[Finding]:
    names = ("MGB_WAIT_TERMINATE", "MGB_REGISTER_SEGV_HANDLER")
    if resolution.get(names[0]) and not resolution.get(names[1]):
        message = "MGB_WAIT_TERMINATE waits only inside the handler that MGB_REGISTER_SEGV_HANDLER installs"
        yield _say("handler", message, names, "-e MGB_REGISTER_SEGV_HANDLER=1")


def _spinning(resolution: Resolution) -> Iterator[Finding]:
    names = ("MGB_WORKER_MAX_SPIN", "MGB_WORKER_NO_SLEEP")
    if all(resolution.get(name) for name in names):
        yield _say(
            "spin",
            "MGB_WORKER_NO_SLEEP wins, so MGB_WORKER_MAX_SPIN does nothing",
            names,
            "--unset MGB_WORKER_MAX_SPIN",
        )


def _brevitas(resolution: Resolution) -> Iterator[Finding]:
    jit, native = _on(resolution, "BREVITAS_JIT"), _on(resolution, "BREVITAS_NATIVE_STE_BACKEND")
    if jit and resolution.get("PYTORCH_JIT") == "0":
        message = "PYTORCH_JIT=0 silently cancels BREVITAS_JIT and its native estimators"
        yield _say("jit", message, ("BREVITAS_JIT", "PYTORCH_JIT"), "-e PYTORCH_JIT=1")
    if jit and resolution.get("BREVITAS_NATIVE_STE_BACKEND") == "0":
        message = "BREVITAS_JIT switches the native estimators on, whatever BREVITAS_NATIVE_STE_BACKEND says"
        yield _say("jit", message, ("BREVITAS_JIT", "BREVITAS_NATIVE_STE_BACKEND"), severity="info")
    if _on(resolution, "BREVITAS_VERBOSE") and not (jit or native):
        message = "BREVITAS_VERBOSE has nothing to report while neither BREVITAS_JIT nor the native estimators are on"
        yield _say("jit", message, ("BREVITAS_VERBOSE",), severity="info")
    if resolution.get("BREVITAS_REINIT_ON_STATE_DICT_LOAD") == "0":
        message = "BREVITAS_REINIT_ON_STATE_DICT_LOAD=0 keeps old scales, so loaded weights may be clipped in silence"
        yield _say(
            "reinit", message, ("BREVITAS_REINIT_ON_STATE_DICT_LOAD",), "-e BREVITAS_REINIT_ON_STATE_DICT_LOAD=1"
        )


def _allocator(resolution: Resolution) -> Iterator[Finding]:
    names = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
    if all(resolution.get(name) is not None for name in names):
        yield _say(
            "alloc", "torch reads PYTORCH_CUDA_ALLOC_CONF and ignores PYTORCH_ALLOC_CONF", names, f"--unset {names[0]}"
        )


def _threads(resolution: Resolution) -> Iterator[Finding]:
    mkl, omp = resolution.get("MKL_NUM_THREADS"), resolution.get("OMP_NUM_THREADS")
    derived = omp is not None and resolution.settings["OMP_NUM_THREADS"].winner.source is Source.DERIVED
    if mkl and omp and mkl != omp.split(",")[0] and not derived:
        message = "MKL_NUM_THREADS overrides OMP_NUM_THREADS in torch's wheels"
        yield _say(
            "threads", message, ("MKL_NUM_THREADS", "OMP_NUM_THREADS"), f"-e MKL_NUM_THREADS={omp.split(',')[0]}"
        )
    bound = {
        "OMP_PROC_BIND": _on(resolution, "OMP_PROC_BIND"),
        "GOMP_CPU_AFFINITY": resolution.get("GOMP_CPU_AFFINITY"),
    }
    for name in filter(bound.get, bound):
        message = f"{name} leaves torch's main thread and all DataLoader workers on one CPU"
        yield _say("bind", message, (name,), f"--unset {name}")


def _flight_recorder(resolution: Resolution) -> Iterator[Finding]:
    new, old = "TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE"
    size = new if resolution.get(new) is not None else old
    if resolution.get("TORCH_NCCL_DUMP_ON_TIMEOUT") == "1" and resolution.get(size) == "0":
        message = "TORCH_NCCL_DUMP_ON_TIMEOUT has nothing to write while the recorder's size is 0"
        yield _say("recorder", message, ("TORCH_NCCL_DUMP_ON_TIMEOUT", size), f"-e {size}=2000")


def _amd_cards(resolution: Resolution) -> Iterator[Finding]:
    names = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    if all(resolution.get(name) for name in names):
        message = "HIP_VISIBLE_DEVICES counts inside what ROCR_VISIBLE_DEVICES has left, not over all cards"
        yield _say("amd", message, names, f"--unset {names[1]}", severity="info")


_RULES: tuple[Rule, ...] = (
    _dtr,
    _log_level,
    _worker_errors,
    _sanity_check,
    _fastrun_cache,
    _crash_handler,
    _spinning,
    _brevitas,
    _allocator,
    _threads,
    _flight_recorder,
    _amd_cards,
)
