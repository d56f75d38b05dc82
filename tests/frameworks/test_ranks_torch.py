"""Four ranks of PyTorch on a CPU that know each other from the environment alone, with and without Brevitas."""

import json
import os
import re
import time

import psutil
import pytest

pytestmark = pytest.mark.brevitas

PATIENCE = 300
"""Seconds: four ranks that import torch at once on two busy cores take a minute."""

RANKS = 4
TRAIN = """
import hashlib, json, os, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

def digest(model):
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    return hashlib.sha1(weights.numpy().tobytes()).hexdigest()

def layers(kind):
    if kind == "plain":
        return torch.nn.Linear(16, 32), torch.nn.Linear(32, 4)
    import brevitas.nn as qnn
    return [qnn.QuantLinear(*sizes, bias=True, weight_bit_width=4) for sizes in ((16, 32), (32, 4))]

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(rank)  # as different as ranks can be: DDP starts with the weights of rank 0
first, second = layers(sys.argv[1])
model = DistributedDataParallel(torch.nn.Sequential(first, torch.nn.ReLU(), second))
start = digest(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for _ in range(10):
    points = torch.randn(24, 16)
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(points), points[:, :4].argmax(dim=1)).backward()
    optimizer.step()
report = {"rank": rank, "world": dist.get_world_size(), "start": start, "end": digest(model)}
report |= {name: os.environ[name] for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}
print("\\n" + json.dumps(report), flush=True)  # native code leaves lines without an end
dist.destroy_process_group()
os._exit(0)  # threads of gloo that outlive the group abort a process that takes Python down, one in a hundred under load
"""
FAIL = """
import os, torch
import torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
if dist.get_rank() == 2:
    os._exit(7)  # a crash: with sys.exit its sockets close long before it has ended
dist.all_reduce(torch.ones(1))
"""


def reports(stdout):
    """The JSON that each rank printed, by rank."""
    found = [json.loads(text) for text in re.findall(r"\{.*\}$", stdout, re.MULTILINE)]
    return sorted(found, key=lambda report: report["rank"])


def left(folder):
    """The processes that have their working directory below `folder`: ranks have it in the project."""
    running = psutil.process_iter(["pid", "cwd", "cmdline"])
    return [process.info for process in running if (process.info["cwd"] or "").startswith(str(folder))]


@pytest.mark.parametrize("kind", ["plain", "quant"])
def test_data_parallel_ranks_end_with_equal_weights(world, tmp_path, brevitas_python, kind):
    """Though each started with weights and points of its own: only ranks that found each other come to that."""
    script = world.write("train.py", TRAIN)
    ran = world.run("run", "-n", RANKS, "--python", brevitas_python, script, kind, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    told = reports(ran.stdout)
    assert [(report["rank"], report["LOCAL_RANK"], report["world"]) for report in told] == [
        (rank, str(rank), RANKS) for rank in range(RANKS)
    ]
    assert len({report["end"] for report in told}) == 1
    assert {report["start"] for report in told} == {told[0]["start"]} != {told[0]["end"]}
    assert len({(report["MASTER_ADDR"], report["MASTER_PORT"]) for report in told}) == 1
    assert left(tmp_path) == []


def test_the_exit_code_is_that_of_the_rank_that_failed_first(world, tmp_path, brevitas_python):
    """The others wait for it in a collective and fail, too: their codes are not the answer."""
    script = world.write("train.py", FAIL)
    began = time.monotonic()
    ran = world.run("run", "-n", RANKS, "--python", brevitas_python, script, timeout=PATIENCE)
    assert (ran.returncode, "rank 2" in ran.stderr) == (7, True), ran.stderr
    assert time.monotonic() - began < PATIENCE / 2  # gloo alone would wait for half an hour
    assert left(tmp_path) == []


def test_the_example_runs_as_its_text_says(world, tmp_path, brevitas_python):
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    script = os.path.join(folder, "examples", "torch_ranks.py")
    ran = world.run("run", "-n", 2, "--python", brevitas_python, script, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("60 rows: y = 3.000 a -2.000 b +1.000") == 2
    assert left(tmp_path) == []
