"""Texts that a script gives to a variable: read rightly by the framework, or misread; and variables that nobody reads."""

import textwrap

import pytest

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.catalogue.kinds import Rejected, Relative, Value
from mgelaunch.catalogue.places import Path
from mgelaunch.lint.dead import unread
from mgelaunch.lint.values import misread

from .lint_scripts import expected, found, listed, outcome

RIGHT = [
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "5368709120"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "0"),
    ("MEGENGINE_ENABLE_DROP", "1"),
    ("MEGENGINE_ENABLE_DROP", "0"),
    ("MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE", "True"),
    ("MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE", "1"),
    ("MGE_DATALOADER_PLASMA_DEBUG", ""),
    ("MGB_CUDA_RESERVE_MEMORY", "1"),
    ("MGB_CUDA_RESERVE_MEMORY", "on"),
    ("MGB_CUDA_RESERVE_MEMORY", "b:8589934592"),
    ("MEGENGINE_LOGGING_LEVEL", "error"),
    ("MEGENGINE_LOGGING_LEVEL", "WARN"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "3"),
    ("MGE_DEFAULT_DEVICE", "gpu0"),
    ("MGE_FASTRUN_CACHE_TYPE", "MEMORY"),
    ("MGE_FASTRUN_CACHE_DIR", "/data/cache"),
    ("MGE_FASTRUN_CACHE_DIR", "cache"),
    ("MGE_HOME", "~/megengine"),
    ("MGB_SUBLINEAR_MEMORY_LOWER_BOUND_MB", "2048"),
    ("MGE_PLASMA_MEMORY", "100000000"),
    ("BREVITAS_JIT", "on"),
    ("BREVITAS_JIT", "1"),
    ("BREVITAS_LOGGING", "DEBUG"),
    ("PYTORCH_JIT", "False"),
    ("TORCH_CPP_LOG_LEVEL", "error"),
    ("TORCH_CPP_LOG_LEVEL", "2"),
    ("TORCH_DISTRIBUTED_DEBUG", "detail"),
    ("NCCL_DEBUG", "info"),
    ("CUDA_VISIBLE_DEVICES", ""),
    ("CUDA_VISIBLE_DEVICES", "-1"),
    ("CUDA_VISIBLE_DEVICES", "0, 1"),
    ("CUDA_VISIBLE_DEVICES", "none"),
    ("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb: 128, garbage_collection_threshold:0.8"),
    ("OMP_NUM_THREADS", "4"),
    ("OMP_NUM_THREADS", "4, 2"),
    ("OMP_PROC_BIND", "TRUE"),
    ("NCCL_IB_TC", "-1"),
    ("PYTHONUNBUFFERED", "true"),
    ("PYTHONPATH", ""),
    ("LD_LIBRARY_PATH", "$ORIGIN"),
    ("MEGENGINE_EXECUTION_STRATEGY", "PROFILE"),
]

WRONG = [
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "5GB", "5368709120"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "8", "8589934592"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "80%", ""),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", "", None),
    ("MEGENGINE_DTR_AUTO_DROP", "true", "1"),
    ("MEGENGINE_HOST_COMPUTE", "false", "0"),
    ("MEGENGINE_INPLACE_UPDATE", "True", "1"),
    ("MEGENGINE_INPUT_NODE_USE_STATIC_SHAPE", "0", None),
    ("MGE_DATALOADER_PLASMA_DEBUG", "0", None),
    ("MGB_CUDA_RESERVE_MEMORY", "0", None),
    ("MGB_CUDA_RESERVE_MEMORY", "", None),
    ("MGB_CUDA_RESERVE_MEMORY", "8", "b:8589934592"),
    ("MGB_CUDA_RESERVE_MEMORY", "8GiB", "b:8589934592"),
    ("MGB_CUDA_RESERVE_MEMORY", "b:8GiB", "b:8589934592"),
    ("MEGENGINE_LOGGING_LEVEL", "VERBOSE", "DEBUG"),
    ("RUNTIME_OVERRIDE_LOG_LEVEL", "ERROR", "3"),
    ("MEGENGINE_INTERP_ASYNC_LEVEL", "3", "0"),
    ("MGE_DEFAULT_DEVICE", "cuda:0", "gpu0"),
    ("MGE_DEFAULT_DEVICE", "GPU0", "gpu0"),
    ("MGE_DEFAULT_DEVICE", " cpu0", "cpu0"),
    ("MGE_FASTRUN_CACHE_TYPE", "memory", "MEMORY"),
    ("MGE_FASTRUN_CACHE_DIR", "~/cache", ""),
    ("MGE_FASTRUN_CACHE_DIR", "$HOME/cache", ""),
    ("MGB_SUBLINEAR_MEMORY_LOWER_BOUND_MB", "2GB", "2048"),
    ("MGE_PLASMA_MEMORY", "1000", "1073741824000"),
    ("MGE_PLASMA_MEMORY", "5 q", "8589934592"),
    ("MGE_PLASMA_MEMORY", "200%", ""),
    ("MASTER_PORT", "1e9", ""),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", 8, "8589934592"),
    ("MEGENGINE_DTR_EVICTION_THRESHOLD", 5 << 30, "5368709120"),
    ("MGB_CUDA_RESERVE_MEMORY", 0, None),
    ("MEGENGINE_ASYNC_QUEUE_SIZE", "10_000", "10000"),
    ("MGB_THROW_ON_FORK", "1", ""),
    ("BREVITAS_LOGGING", "debug", "DEBUG"),
    ("PYTORCH_JIT", "off", "0"),
    ("TORCH_NCCL_BLOCKING_WAIT", "on", "1"),
    ("TORCH_LOGS", "", None),
    ("NCCL_DEBUG", "warning", "WARN"),
    ("NCCL_IB_HCA", "/bin/sh: 1: pushd: not found", "mlx5"),
    ("CUDA_VISIBLE_DEVICES", "0,0", "0"),
    ("CUDA_VISIBLE_DEVICES", "cuda:0", "0,1"),
    ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:true", "expandable_segments:True"),
    ("OMP_NUM_THREADS", "50%", ""),
    ("OMP_NUM_THREADS", "0", "1"),
    ("OMP_PROC_BIND", "on", "true"),
    ("MKL_DYNAMIC", "0", "FALSE"),
    ("OMP_NUM_THREADS", 4, "4"),
    ("OMP_NUM_THREADS", None, ""),
    ("MEGENGINE_ENABLE_DROP", True, ""),
]


@pytest.mark.parametrize(("name", "text"), RIGHT)
def test_a_text_that_the_framework_takes_as_it_is_meant(name, text):
    assert misread(CATALOGUE[name], text) is None


@pytest.mark.parametrize(("name", "text", "instead"), WRONG)
def test_a_text_that_it_takes_for_something_else_and_what_to_write(name, text, instead):
    wrong = misread(CATALOGUE[name], text)
    assert wrong is not None
    assert wrong.instead == instead


SAMPLES = ["1", "0", "2", "true", "off", "5GB", "8GiB", "4096", "50%", "ERROR", "info", "cpu0", "0,1", ":4096:8", "x y"]


@pytest.mark.parametrize("text", SAMPLES)
def test_the_verdict_is_that_of_a_start(text):
    """What a start passes on unchanged is right, what it refuses or works out from a percentage is wrong."""
    for variable in CATALOGUE.values():
        reading = variable.kind.read(text)
        search_path = isinstance(variable.kind, Path) and variable.kind.several
        if search_path or reading == Value(text):
            assert misread(variable, text) is None, variable.name
        elif isinstance(reading, Rejected | Relative):
            assert misread(variable, text) is not None, variable.name


ODD = [
    "8",
    "5 q",
    "-1",
    "1e9",
    "200%",
    "b:8",
    "cuda:0",
    "0,0",
    "10_000",
    " 1",
    "99999999999999999999",
    0,
    4,
    5 << 30,
]


@pytest.mark.parametrize("value", [*SAMPLES, *ODD])
def test_what_is_to_be_written_instead_is_read_rightly(value):
    wrong = {name: misread(variable, value) for name, variable in CATALOGUE.items()}
    remedies = {name: found.instead for name, found in wrong.items() if found and found.instead}
    assert remedies
    assert {name: text for name, text in remedies.items() if misread(CATALOGUE[name], text)} == {}


HUGE = f"0x{'f' * 5000}"

TOO_LONG = {
    "a number": f"""
        import os
        os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = {HUGE}  #> value error
        os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = -{HUGE}  #> value error
    """,
    "a number given to a call": f"""
        import os, subprocess, torch
        torch.cuda.set_device({HUGE})
        torch.cuda.set_device(device={HUGE})
        torch.cuda.set_device("{"9" * 5000}")
        subprocess.run({HUGE})
        subprocess.run(["python", {HUGE}], env={{"A": {HUGE}}})
        os.environ["MGB_COMP_GRAPH_OPT"] = ""  #> dead warning
    """,
    "a text": f"""
        import os
        os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = "{"9" * 5000}"  #> value error
        os.environ["CUDA_VISIBLE_DEVICES"] = "{"9" * 5000}"  #> value error
        os.environ["OMP_NUM_THREADS"] = "{"9" * 5000}%"  #> value error
    """,
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_numbers_that_python_would_not_write_out_or_read(tmp_path, name):
    assert found(tmp_path, TOO_LONG[name]) == expected(TOO_LONG[name])


IN_SCRIPTS = {
    "constants": """
        import os
        os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = "5GB"  #> value error
        os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = "5368709120"
        os.environ.setdefault("MGB_CUDA_RESERVE_MEMORY", "0")  #> value error
        os.environ["OMP_NUM_THREADS"] = 4  #> value error
        os.environ["OMP_NUM_THREADS"] = str(4)
        os.environ["OMP_NUM_THREADS"] = f"{4}"
    """,
    "constants with a name": """
        import os
        GIGABYTES = 5
        SIZE = str(GIGABYTES) + "GB"
        os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = SIZE  #> value error
        os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = f"{GIGABYTES}GB"  #> value error
        os.environ["MEGENGINE_DTR_EVICTION_THRESHOLD"] = f"{input()}GB"
    """,
    "one of two": """
        import os, sys
        os.environ["MGB_CUDA_RESERVE_MEMORY"] = "1" if len(sys.argv) > 1 else "0"  #> value error
        os.environ["MGE_DEFAULT_DEVICE"] = os.environ.get("DEVICE") or "cuda:0"  #> value error
        os.environ["MGE_DEFAULT_DEVICE"] = os.environ.get("DEVICE") or "cpu0"
    """,
    "what is known by the argument": """
        import os
        def reserve(on):
            os.environ["MGB_CUDA_RESERVE_MEMORY"] = on  #> value error
        reserve("0")
    """,
    "what a condition keeps away": """
        import os
        def select(device):
            if device == "cpu":
                os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
            elif device:
                os.environ["CUDA_VISIBLE_DEVICES"] = device
            os.environ.update({"CUDA_VISIBLE_DEVICES": device}, CUDA_DEVICE_ORDER=device)
            put(device)
        def put(device):
            os.environ.setdefault("CUDA_VISIBLE_DEVICES", device)
        select("cpu")
    """,
    "an attribute of what has items": """
        import os
        class Box:
            device = "cuda:0"
            def __setitem__(self, key, value): pass
        box = Box()
        box["x"] = 1
        os.environ["MGE_DEFAULT_DEVICE"] = box.device  #> value error
    """,
    "in a function that nobody calls": """
        import os
        def forgotten():
            os.environ["MGB_CUDA_RESERVE_MEMORY"] = "0"  #> value error
            os.environ["MGB_COMP_GRAPH_OPT"] = "x"  #> dead warning
    """,
    "in what is not run as a script": """
        import os
        if __name__ != "__main__":
            os.environ["MGB_CUDA_RESERVE_MEMORY"] = "0"
        elif "__main__" == __name__:
            os.environ["MGB_CUDA_RESERVE_MEMORY"] = "0"  #> value error
    """,
    "nobody reads it": """
        import os
        os.environ["MEGENGINE_EXECUTION_STRATEGY"] = "PROFILE"  #> dead warning
        os.environ["MGB_COMP_GRAPH_OPT"] = ""  #> dead warning
        os.environ["MEGENGINE_ENABLE_SWAP"] = "1"  #> dead warning
        os.environ["MGE_EINSUM_IMPL"] = "1"  #> dead warning
        os.environ["MEGENGINE_LOGING_LEVEL"] = "ERROR"  #> dead warning
        os.environ["MGE_DTR_EVICTION_THRESHOLD"] = "5GB"  #> dead warning
        os.environ["MGB_ROCM_RESERVE_MEMORY"] = "1"  #> dead info
        os.environ.pop("MGB_COMP_GRAPH_OPT", None)
        os.environ["MEGENGINE_OF_OUR_OWN"] = "1"
        os.environ["OMP_NUM_THREAD"] = "1"
    """,
}


NOT_WHAT_IT_BEGAN_WITH = {
    "a field of a dataclass": """
        @dataclass
        class Config:
            device: str = "cuda:0"
            threads: int = 0
        config = Config(device="gpu0", **options)
        write(config.device)
        write(Config("gpu0").device)
    """,
    "an attribute of an object": """
        class Config:
            device = "cuda:0"
        config = Config()
        setattr(config, name, "gpu0")
        write(config.device)
        config = Config()
        setattr(config, "device", "gpu0")
        write(config.device)
    """,
    "an attribute of a class": """
        class Config:
            device = "cuda:0"
        Config.device = "gpu0"
        write(Config.device)
    """,
    "an attribute of a module": """
        import settings
        settings.DEVICE = name
        write(settings.DEVICE)
    """,
    "an item of a dictionary": """
        config = {"device": "cuda:0"}
        config.update(json.load(file))
        write(config["device"])
        config = {"device": "cuda:0"}
        config[name] = "gpu0"
        write(config["device"])
        config = {**{"device": "cuda:0"}, **json.load(file)}
        write(config["device"])
        config = {"device": "cuda:0"}
        config.update({"device": "gpu0"})
        write(config["device"])
    """,
    "an item of a list": """
        devices = ["cuda:0"]
        devices.append("gpu0")
        write(devices[-1])
        devices = ["cuda:0"]
        devices[0] = "gpu0"
        write(devices[0])
        devices.insert(0, name)
        write(devices[0])
    """,
    "a name of the function around": """
        def outer():
            device = "cuda:0"
            def inner():
                nonlocal device
                device = "gpu0"
            inner()
            write(device)
        outer()
    """,
    "a parameter for which something is given": """
        import functools, multiprocessing
        def work(rank, device="cuda:0"):
            os.environ["MGE_DEFAULT_DEVICE"] = device
        multiprocessing.Process(target=work, args=(0,), kwargs={"device": "gpu0"}).start()
        functools.partial(work, device="gpu0")(0)
        work(*name.split())
        work(**vars(name))
    """,
    "None, whatever it is that replaces it": """
        def of(x):
            if x == "cpu":
                return None
            return "gpu0"
        device = None
        write(of("gpu"))
        write(None if device is None else str(device))
        name and os.environ.__setitem__("MGE_DEFAULT_DEVICE", device)
        os.environ.update({"MGE_DEFAULT_DEVICE": device}, OMP_NUM_THREADS=device)
    """,
}


@pytest.mark.parametrize("name", NOT_WHAT_IT_BEGAN_WITH)
def test_a_value_that_something_else_has_replaced_is_not_held_against_the_script(tmp_path, name):
    head = "import json, os, sys\nfrom dataclasses import dataclass\nname, options, file = sys.argv[1], sys.argv, sys.stdin\n"
    head += "def write(device):\n    os.environ['MGE_DEFAULT_DEVICE'] = device\n"
    script = f"{head}{textwrap.dedent(NOT_WHAT_IT_BEGAN_WITH[name])}"
    files = {"script.py": script, "settings.py": "DEVICE = 'cuda:0'\n"}
    assert listed(outcome(tmp_path, files, "script.py")) == {"script.py": []}


def test_none_that_stands_in_the_write_itself_is_held_against_it(tmp_path):
    script = """
        import os
        os.environ["MGE_DEFAULT_DEVICE"] = None  #> value error
        os.environ.setdefault("MGE_DEFAULT_DEVICE", None)  #> value error
        os.environ.update({"MGE_DEFAULT_DEVICE": None})  #> value error
        os.environ.update(MGE_DEFAULT_DEVICE=None)  #> value error
    """
    assert found(tmp_path, script) == expected(script)


@pytest.mark.parametrize("name", IN_SCRIPTS)
def test_values_and_names_in_scripts(tmp_path, name):
    assert found(tmp_path, IN_SCRIPTS[name]) == expected(IN_SCRIPTS[name])


def test_a_dead_variable_comes_with_what_takes_its_place_and_since_when_it_is_dead():
    finding = unread("MEGENGINE_ENABLE_SWAP", "a.py:1:1")
    assert finding.message.startswith("MEGENGINE_ENABLE_SWAP is not read since megengine 1.")
    assert finding.remedy == CATALOGUE["MEGENGINE_ENABLE_SWAP"].instead


def test_a_dead_variable_that_can_be_revived_comes_with_the_fix():
    finding = unread("MEGENGINE_EXECUTION_STRATEGY", "a.py:1:1")
    since = "MEGENGINE_EXECUTION_STRATEGY is not read since megengine 1.10.0"
    assert finding.message == f"{since}; instead: megengine.config.benchmark_kernel = True"
    assert finding.remedy == "mgelaunch run --fix execution-strategy"


@pytest.mark.parametrize(("value", "given"), [(5, "an int"), (True, "a bool"), (0.5, "a float"), (None, "None")])
def test_a_value_that_is_no_text_is_named_by_its_type(value, given):
    assert given in misread(CATALOGUE["OMP_NUM_THREADS"], value).phrase


def test_the_slip_of_a_pen_comes_with_what_was_meant():
    assert unread("MEGENGINE_LOGING_LEVEL", "a.py:1:1").remedy == "MEGENGINE_LOGGING_LEVEL"
