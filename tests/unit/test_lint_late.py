"""A variable that is set when it has been read already: where the line stands, what came before it, and how sure that is.

The comment ``#> CODE SEVERITY, ...`` on a line says what there is to find on it; lines without one are to be silent.
"""

import pytest

from .lint_scripts import expected, found

ON_TIME = {
    "before the import": """
        import os
        os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
        import megengine
    """,
    "a later function imports": """
        import os
        def train():
            import megengine
        os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
        train()
    """,
    "it has looked": """
        import os, sys, torch
        if "torch" not in sys.modules:
            os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
        if not "torch" in sys.modules:
            os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
        if "megengine" not in sys.modules:
            os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
    """,
    "for a child only": """
        import os, subprocess, megengine
        environment = os.environ.copy()
        environment["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
        other = dict(os.environ, OMP_NUM_THREADS="1")
        third = {**os.environ, "MGE_DEFAULT_DEVICE": "cpu0"}
        subprocess.run(["python", "train.py"], env=environment)
        subprocess.run(["python", "train.py"], env={"MEGENGINE_LOGGING_LEVEL": "ERROR"})
    """,
    "only read": """
        import os, megengine
        level = os.environ["MEGENGINE_LOGGING_LEVEL"]
        level = os.environ.get("MEGENGINE_LOGGING_LEVEL", "ERROR")
        level = os.getenv("MEGENGINE_LOGGING_LEVEL")
    """,
    "read at each use": """
        import os, megengine
        os.environ["MEGENGINE_INPLACE_UPDATE"] = "1"
        os.environ["MGB_SUBLINEAR_MEMORY_GENETIC_NR_ITER"] = "10"
        os.environ["RUNTIME_OVERRIDE_LOG_LEVEL"] = "3"
    """,
    "read at a first use that nobody looks for": """
        import os, torch
        os.environ["MASTER_ADDR"] = "localhost"
        os.environ["NCCL_DEBUG"] = "INFO"
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    """,
    "an import for types": """
        import os, typing
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import megengine
        if typing.TYPE_CHECKING:
            import torch
        os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
        os.environ["OMP_NUM_THREADS"] = "1"
    """,
    "an import that is never made": """
        import os
        if False:
            import megengine
        os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
    """,
    "another branch imports": """
        import os, sys
        if "torch" in sys.argv:
            import torch
        else:
            os.environ["OMP_NUM_THREADS"] = "1"
    """,
    "the way that imports does not come here": """
        import os, sys
        def load():
            if len(sys.argv) > 1:
                import megengine
                sys.exit(megengine.__version__)
            if sys.argv[0]:
                import torch
                return
            if sys.flags.debug:
                import brevitas
                raise SystemExit
            os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
            os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
            os.environ["BREVITAS_JIT"] = "1"
        load()
    """,
    "another package of the same letters": """
        import os, megengines, torchx.numpy
        from mypackage import torch
        os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
        os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    """,
    "threads of a library that is not loaded": """
        import os, numpy
        os.environ["MKL_NUM_THREADS"] = "1"
        os.environ["NUMEXPR_NUM_THREADS"] = "1"
        os.environ["VECLIB_MAXIMUM_THREADS"] = "1"
    """,
    "a name that is nobody's": """
        import os, megengine, torch
        os.environ["WANDB_MODE"] = "offline"
        os.environ["MY_OWN_NAME"] = "5GB"
    """,
    "nothing of the environment": """
        import os, megengine
        class Config(dict):
            environ = {}
        config = Config()
        config["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
        config.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
        environ = {}
        environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"
        environ.update(MGE_DEFAULT_DEVICE="cpu0")
    """,
}

TOO_LATE = {
    "before a Python whose arguments nobody knows": """
        import os, subprocess, sys
        os.environ["PYTHONHASHSEED"] = "0"  #> late info
        sys.exit(subprocess.call([sys.executable] + sys.argv))
    """,
    "before a Python in a line of the shell": """
        import os, subprocess, sys
        os.environ["PYTHONHASHSEED"] = "0"  #> late info
        os.system(f"{sys.executable} train.py {sys.argv[1]}")
    """,
    "before a Python whose command grows": """
        import os, subprocess, sys
        os.environ["PYTHONHASHSEED"] = "0"  #> late info
        command = [sys.executable, "train.py"]
        command += sys.argv[1:]
        subprocess.run(command)
    """,
    "before a child whose command is put together": """
        import os, subprocess, sys
        command = []
        command.append(sys.executable)
        os.environ["PYTHONHASHSEED"] = "0"  #> late info
        subprocess.run(command)
    """,
    "before a child that starts Pythons": """
        import os, subprocess
        os.environ["PYTHONHASHSEED"] = "0"  #> late info
        subprocess.run(["torchrun", "train.py"])
    """,
    "before a line of the shell": """
        import os, subprocess
        os.environ["PYTHONHASHSEED"] = "0"  #> late info
        subprocess.run("CUDA_VISIBLE_DEVICES=0 python3 train.py", shell=True)
    """,
    "before a child that is no Python, or of which nobody knows": """
        import os, subprocess, sys
        os.environ["PYTHONHASHSEED"] = "0"  #> late error
        subprocess.run(["nvidia-smi", "-L"])
        subprocess.run("git rev-parse HEAD", shell=True)
        subprocess.run(sys.argv[1:])
    """,
    "behind the import": """
        import os
        import megengine as mge
        os.environ["MEGENGINE_LOGGING_LEVEL"] = "ERROR"  #> late error
    """,
    "by every way to write": """
        import os, os as o, megengine
        from os import environ, putenv as put, unsetenv
        e = os.environ
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        e["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        o.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        os.environ.setdefault("MEGENGINE_ENABLE_DROP", "1")  #> late error
        os.environ.update({"MEGENGINE_ENABLE_DROP": "1"})  #> late error
        os.environ.update(MEGENGINE_ENABLE_DROP="1")  #> late error
        os.environ.update([("MEGENGINE_ENABLE_DROP", "1")])  #> late error
        os.environ |= {"MEGENGINE_ENABLE_DROP": "1"}  #> late error
        os.environ["MEGENGINE_ENABLE_DROP"] += "1"  #> late error
        os.putenv("MEGENGINE_ENABLE_DROP", "1")  #> late error
        put("MEGENGINE_ENABLE_DROP", "1")  #> late error
        os.environ["MEGENGINE_ENABLE_DROP"], other = "1", 2  #> late error
        del os.environ["MEGENGINE_ENABLE_DROP"]  #> late warning
        os.environ.pop("MEGENGINE_ENABLE_DROP", None)  #> late warning
        unsetenv("MEGENGINE_ENABLE_DROP")  #> late warning
        if (os.environ.setdefault("MEGENGINE_ENABLE_DROP", "1")):  #> late error
            pass
    """,
    "on the line of its key": """
        import os, megengine
        os.environ.update({
            "MEGENGINE_ENABLE_DROP": "1",  #> late error
            "WANDB_MODE": "offline",
            **{"MEGENGINE_DTR_AUTO_DROP": "1"},  #> late error
            "MGE_DEFAULT_DEVICE": "cpu0",  #> late error
        })
        os.environ.update(
            MEGENGINE_HOST_COMPUTE="1",  #> late error
        )
    """,
    "by names that are known": """
        import os, megengine
        PREFIX = "MEGENGINE_"
        LEVEL = PREFIX + "LOGGING_LEVEL"
        NAMES = {"device": "MGE_DEFAULT_DEVICE"}
        os.environ[LEVEL] = "ERROR"  #> late error
        os.environ[f"{PREFIX}ENABLE_DROP"] = "1"  #> late error
        os.environ[NAMES["device"]] = "cpu0"  #> late error
        os.environ[PREFIX + input()] = "1"
    """,
    "in loops": """
        import os, megengine
        for name in ("MEGENGINE_ENABLE_DROP", "WANDB_MODE"):
            os.environ[name] = "1"  #> late error
        for name, value in {"MGE_DEFAULT_DEVICE": "cpu0"}.items():
            os.environ[name] = value  #> late error
        for name, value in dict(MEGENGINE_LOGGING_LEVEL="ERROR").items():
            os.environ[name] = value  #> late error
        for name in "OMP_NUM_THREADS OPENBLAS_NUM_THREADS".split():
            os.environ[name] = "1"  #> late warning, late warning
        for name in [f"X{i}" for i in range(3)]:
            os.environ[name] = "1"
    """,
    "in a function": """
        import os
        def prepare(name="MEGENGINE_ENABLE_DROP", value="1"):
            os.environ[name] = value  #> late error
        import megengine
        prepare()
    """,
    "in a function for any variable": """
        import os, megengine
        def put(name, value):
            os.environ[name] = value  #> late error, late warning
        put("MEGENGINE_ENABLE_DROP", "1")
        put(value="4", name="OMP_NUM_THREADS")
    """,
    "in what is called for it": """
        import os, functools, threading, megengine
        def one():
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        def two():
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        def three():
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        def four():
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        def call(function):
            function()
        call(one)
        unknown(two)
        functools.partial(three, 1)()
        threading.Thread(target=four).start()
        later = lambda: os.environ.update(MEGENGINE_ENABLE_DROP="1")  #> late error
        later()
    """,
    "although a function that is given away ends the script": """
        import os, signal, sys, atexit
        def stop(*_):
            sys.exit(1)
        def tidy():
            import torch
            torch.cuda.synchronize()
        signal.signal(signal.SIGTERM, stop)
        atexit.register(tidy)
        import megengine
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  #> late warning
    """,
    "in a class": """
        import os, megengine
        class Base:
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
            def __init__(self):
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
                self.prepare()
            def prepare(self):
                pass
            @staticmethod
            def still():
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        class Derived(Base):
            def __init__(self, name):
                super().__init__()
            def prepare(self):
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
            def __call__(self):
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        Alias = Derived
        object = Alias("name")
        object()
        Alias.still()
    """,
    "with a manager of contexts": """
        import os, megengine
        class Settings:
            def __enter__(self):
                os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        with Settings():
            pass
    """,
    "whatever tries": """
        import os
        try:
            import megengine
        except ImportError:
            megengine = None
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
    """,
    "by an import of another kind": """
        import os, importlib
        mge = importlib.import_module("megengine")
        torch = __import__("torch")
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  #> late error
    """,
    "by a package that brings the reader": """
        import os
        from torchvision import models
        os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  #> late error
        os.environ["OMP_NUM_THREADS"] = "1"  #> late warning
    """,
    "thread counts are warned of": """
        import os, numpy as np
        os.environ["OMP_NUM_THREADS"] = "1"  #> late warning
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  #> late warning
        import torch
        os.environ["MKL_NUM_THREADS"] = "1"  #> late warning
    """,
    "with the interpreter": """
        import os
        os.environ["PYTHONHASHSEED"] = "0"  #> late error
        os.environ["PYTHONUNBUFFERED"] = "1"  #> late error
        os.environ["LD_LIBRARY_PATH"] = "/opt/cuda/lib64"  #> late error
    """,
    "in a second call only, which is no fault": """
        import os, megengine
        os.environ["MGB_CUDA_RESERVE_MEMORY"] = "1"  #> late info
    """,
    "an import on one way only": """
        import os, sys
        if len(sys.argv) > 1:
            import megengine
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late warning
        os.environ["OMP_NUM_THREADS"] = "1"  #> late info
    """,
    "an import in a handler": """
        import os
        try:
            import json5
        except ImportError:
            import megengine
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late warning
    """,
    "an import on all ways": """
        import os, sys
        if len(sys.argv) > 2:
            import megengine as backend
        elif len(sys.argv) > 1:
            import megengine.functional as backend
        else:
            from megengine import module as backend
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
    """,
    "in a branch, behind the import": """
        import os, sys, megengine
        if len(sys.argv) > 1:
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late error
        while input():
            os.environ["MEGENGINE_DTR_AUTO_DROP"] = "1"  #> late error
        match len(sys.argv):
            case 1:
                os.environ["MGE_DEFAULT_DEVICE"] = "cpu0"  #> late error
    """,
    "although it was set before": """
        import os
        os.environ["MEGENGINE_ENABLE_DROP"] = "0"
        import megengine
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late info
        os.environ["MEGENGINE_DTR_AUTO_DROP"] = "1"  #> late error
    """,
    "in a second call of the same line": """
        import os
        def prepare(device):
            os.environ["CUDA_VISIBLE_DEVICES"] = device  #> late info
        prepare(input())
        import torch
        torch.cuda.set_device(0)
        prepare(input())
    """,
    "in a function that nobody calls": """
        import os, megengine
        def forgotten():
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late info
            def inner():
                os.environ["MEGENGINE_DTR_AUTO_DROP"] = "1"  #> late info
        class Forgotten:
            def method(self):
                os.environ["MGE_DEFAULT_DEVICE"] = "cpu0"  #> late info
    """,
    "in a function that nobody calls, defined before the import": """
        import os
        def forgotten():
            os.environ["MEGENGINE_ENABLE_DROP"] = "1"
        import megengine
    """,
    "before it starts itself afresh": """
        import os, sys, megengine
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  #> late info
        os.environ["PYTHONHASHSEED"] = "0"  #> late info
        os.execv(sys.executable, [sys.executable, *sys.argv])
        os.environ["MEGENGINE_DTR_AUTO_DROP"] = "1"  #> late error
    """,
    "before workers are started afresh": """
        import os
        import torch.multiprocessing as mp
        def worker(rank):
            pass
        os.environ["TORCH_LOGS"] = "-dynamo"  #> late warning
        os.environ["OMP_NUM_THREADS"] = "1"  #> late info
        mp.Process(target=worker)
        mp.spawn(worker, nprocs=2)
        os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  #> late error
    """,
    "before a context spawns": """
        import multiprocessing as mp, os, torch
        from concurrent.futures import ProcessPoolExecutor
        def worker(rank):
            pass
        os.environ["PYTHONHASHSEED"] = "0"  #> late info
        os.environ["PYTORCH_JIT"] = "0"  #> late warning
        mp.get_context("spawn").Process(target=worker)
        os.environ["PYTHONHASHSEED"] = "1"  #> late info
        context = mp.get_context(method="forkserver")
        with ProcessPoolExecutor(mp_context=context) as pool:
            pool.map(worker, range(2))
        os.environ["PYTHONHASHSEED"] = "2"  #> late error
        with mp.get_context("fork").Pool(2) as pool:
            pool.map(worker, range(2))
    """,
    "before processes that are to be forked": """
        import os, torch, multiprocessing
        def worker(rank):
            pass
        multiprocessing.set_start_method("fork")
        os.environ["PYTHONHASHSEED"] = "0"  #> late error
        multiprocessing.Process(target=worker)
    """,
    "before processes that are to be spawned": """
        import os, torch
        import torch.multiprocessing as mp
        def worker(rank):
            pass
        mp.set_start_method("spawn")
        os.environ["PYTHONHASHSEED"] = "1"  #> late info
        os.environ["TORCH_LOGS"] = "-dynamo"  #> late warning
        mp.Process(target=worker)
        os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  #> late error
    """,
    "what children are to have": """
        import os, subprocess, sys
        os.environ["PYTHONPATH"] = "src"  #> late info
        os.environ["PYTHONUNBUFFERED"] = "1"  #> late info
        subprocess.run([sys.executable, "train.py"])
        os.environ["PYTHONHASHSEED"] = "0"  #> late error
        subprocess.run(["git", "describe"])
        os.environ.pop("LD_LIBRARY_PATH", None)  #> late info
    """,
}

DEVICES = {
    "options that open nothing": """
        import os, torch
        import megengine.functional.debug_param as debug
        debug.set_execution_strategy("PROFILE")
        megengine.functional.debug_param.set_execution_strategy("PROFILE")
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late info
        scaler = torch.amp.GradScaler(device="cuda")
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  #> late warning
    """,
    "in processes of their own": """
        import multiprocessing, os, torch
        def work(n):
            os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late info
            torch.cuda.set_device(0)
        torch.utils.data.DataLoader([], worker_init_fn=work)
        with multiprocessing.Pool(2, initializer=work) as pool:
            pool.imap(work, [1])
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late info
    """,
    "in a generator that somebody may ask for its items": """
        import os, torch
        def batches():
            torch.cuda.set_device(0)
            yield 1
        items = batches()
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late warning
    """,
    "CUDA has surely started": """
        import os, torch
        torch.cuda.set_device(0)
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late error
        os.environ["CUDA_LAUNCH_BLOCKING"] = "1"  #> late error
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "max_split_size_mb:128"  #> late error
    """,
    "CUDA may have started": """
        import os, torch
        if torch.cuda.is_available():
            os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late warning
            os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "max_split_size_mb:128"  #> late info
    """,
    "only torch is loaded": """
        import os, torch
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late info
        torch.manual_seed(0)
        torch.cuda.manual_seed_all(0)
        torch.cuda.empty_cache()
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late info
    """,
    "nothing is loaded": """
        import os
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"
    """,
    "a model went to the card": """
        import os
        from torch import nn
        model = nn.Linear(2, 2).cuda()
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late error
    """,
    "a device was named": """
        import os, torch
        device = torch.device("cuda:0")
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  #> late info
        model = torch.nn.Linear(2, 2).to(device)
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late error
    """,
    "a device was named that may be the CPU": """
        import os, sys, torch
        device = "cuda" if len(sys.argv) > 1 else "cpu"
        x = torch.zeros(2, device=device)
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late warning
    """,
    "the device is the CPU": """
        import os, torch
        x = torch.zeros(2, device="cpu").to("cpu")
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late info
    """,
    "it depends on the way": """
        import os, sys, torch
        if len(sys.argv) > 1:
            torch.cuda.synchronize()
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late warning
        sys.argv and torch.cuda.init()
        os.environ["CUDA_VISIBLE_DEVICES"] = "2"  #> late warning
    """,
    "a process of its own starts without a device": """
        import os, torch
        import torch.multiprocessing as mp
        def worker(rank, world):
            os.environ["CUDA_VISIBLE_DEVICES"] = str(rank)  #> late info
            torch.cuda.set_device(rank)
        def main():
            mp.spawn(worker, nprocs=torch.cuda.device_count(), args=(2,))
            process = mp.Process(target=worker, args=(0, 1))
            os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late warning
        main()
    """,
    "MegEngine's first tensor": """
        import os, megengine as mge
        import megengine.functional as F
        os.environ["MGB_WORKER_NO_SLEEP"] = "1"  #> late info
        mge.get_device_count("gpu")
        os.environ["MGB_CUDA_RESERVE_MEMORY"] = "1"  #> late info
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"  #> late warning
        x = F.zeros((2, 2))
        os.environ["MGB_CUDA_RESERVE_MEMORY"] = "1"  #> late info
        os.environ["MGB_WORKER_NO_SLEEP"] = "1"  #> late info
        os.environ["MGB_WORKER_MAX_SPIN"] = "1"  #> late error
        os.environ["MGE_LOG_OP_DISPATCH"] = "1"  #> late error
    """,
    "MegEngine's first tensor, in another part of it": """
        import os
        from megengine import tensor, random, module as M
        random.seed(0)
        os.environ["MGB_CUDA_RESERVE_MEMORY"] = "1"  #> late info
        class Net(M.Module):
            def __init__(self):
                super().__init__()
                self.layer = M.Linear(2, 2)
        Net()
        os.environ["MGB_USE_MEGDNN_DBG"] = "1"  #> late error
    """,
    "the CUDA that MegEngine's import configures": """
        import os
        os.environ["CUDA_MODULE_LOADING"] = "EAGER"
        import torch
        os.environ["CUDA_MODULE_LOADING"] = "LAZY"  #> late info
        import megengine
        os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")  #> late info
    """,
    "caches that only MegEngine reads at its import": """
        import os, torch
        os.environ["XDG_CACHE_HOME"] = "/data/cache"
        import megengine
        os.environ["XDG_CACHE_HOME"] = "/data/cache"  #> late info
        os.environ["MGE_HOME"] = "/data/megengine"  #> late error
    """,
}


@pytest.mark.parametrize("name", ON_TIME)
def test_silent_when_it_is_in_time(tmp_path, name):
    assert found(tmp_path, ON_TIME[name]) == []


@pytest.mark.parametrize("name", TOO_LATE)
def test_a_line_that_comes_too_late(tmp_path, name):
    assert found(tmp_path, TOO_LATE[name]) == expected(TOO_LATE[name])


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_read_when_a_device_is_opened(tmp_path, name):
    assert found(tmp_path, DEVICES[name]) == expected(DEVICES[name])
