"""--guard with the real torch and Brevitas, whose variables have other readers and other moments."""

import re

import pytest

pytestmark = pytest.mark.brevitas

SCRIPT = """
import os
import numpy
os.environ["OMP_NUM_THREADS"] = "1"
import torch
print(torch.get_num_threads())
os.environ["OMP_NUM_THREADS"] = "3"
os.environ["PYTORCH_JIT"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "max_split_size_mb:64"
import brevitas.config
os.environ["BREVITAS_JIT"] = "1"
os.environ["BREVITAS_JIT"] = "1"
print(torch.get_num_threads(), brevitas.config.JIT_ENABLED)
"""
WORKERS = """
import os, sys, torch, torch.multiprocessing as mp
from torch.utils.data import DataLoader, TensorDataset
def work(rank):
    os.environ["OMP_NUM_THREADS"] = "1"
    if rank == 1:
        raise ValueError(rank)
if __name__ == "__main__":
    data = TensorDataset(torch.arange(8.0))
    print([float(x.sum()) for (x,) in DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=sys.argv[1])])
    mp.spawn(work, nprocs=2)
"""


def told(ran):
    return [line for line in ran.stderr.splitlines() if line.startswith("mgelaunch")]


def test_each_module_is_named_that_has_read_what_is_set_too_late(job, brevitas_python):
    ran = job.launched(brevitas_python, SCRIPT, options=("--guard",))
    assert ran.returncode == 0, ran.stderr
    found = [
        re.match(
            r"mgelaunch: warning: script\.py:(\d+): (\w+) is set after the import of (.*?), which ha(?:s|ve) read it: ",
            line,
        )
        for line in told(ran)
    ]
    assert [each.groups() for each in found] == [
        ("4", "OMP_NUM_THREADS", "numpy (script.py:3)"),
        ("7", "OMP_NUM_THREADS", "numpy (script.py:3) and torch (script.py:5)"),
        ("8", "PYTORCH_JIT", "torch (script.py:5)"),
        ("12", "BREVITAS_JIT", "brevitas (script.py:11)"),
    ]
    assert ran.stdout == "1\n1 False\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_and_spawned_ranks_are_guarded_and_fail_as_they_do_alone(job, brevitas_python, method):
    alone = job.bare(brevitas_python, WORKERS, method)
    guarded = job.launched(brevitas_python, WORKERS, method, options=("--guard",))
    assert (guarded.returncode, guarded.stdout) == (alone.returncode, alone.stdout)
    lines = told(guarded)
    assert {re.match(r"mgelaunch: warning: (\S+): (\w+) is set after", line).groups() for line in lines} == {
        ("script.py:5", "OMP_NUM_THREADS")
    }
    assert "ValueError: 1" in guarded.stderr
    rest = "".join(line for line in guarded.stderr.splitlines(keepends=True) if line.rstrip() not in lines)
    assert failure(rest) == failure(alone.stderr)


def failure(text):
    """The traceback, without pids; before it stands whether the other rank had to be ended."""
    return re.sub(r"\d+", "N", text[text.index("Traceback") :]).strip()


def test_a_torch_script_that_fails_is_told_as_alone(job, brevitas_python):
    script = "import torch\ndef f(x):\n    return x @ torch.ones(3, 3)\ntorch.jit.script\nf(torch.ones(2, 2))\n"
    alone, guarded = job.bare(brevitas_python, script), job.launched(brevitas_python, script, options=("--guard",))
    assert (guarded.returncode, guarded.stdout, guarded.stderr) == (alone.returncode, alone.stdout, alone.stderr)
