"""Several ranks of PyTorch on a CPU: DistributedDataParallel over gloo, which needs nothing but the environment.

    mgelaunch run -n 2 examples/torch_ranks.py

Each rank trains on its own rows; all end with the same weights. On GPUs: ``"nccl"`` instead of ``"gloo"``, and
``torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))`` before the model is made.
"""

import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

STEPS = 60


def main():
    dist.init_process_group("gloo")  # RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are in the environment
    rank, world_size = dist.get_rank(), dist.get_world_size()
    rows = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    points = rows[rank::world_size]  # the rows of this rank
    targets = points @ torch.tensor([[3.0], [-2.0]]) + 1
    model = DistributedDataParallel(torch.nn.Linear(2, 1))  # starts with the weights of rank 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(points), targets).backward()  # adds up the gradients of all ranks
        optimizer.step()
    weight, bias = model.parameters()
    first, second = weight.flatten().tolist()
    print(f"rank {rank} of {world_size}, {len(points)} rows: y = {first:.3f} a {second:+.3f} b {bias.item():+.3f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
    # Threads of gloo outlive the group once DistributedDataParallel has used it (PyTorch 2.13), and now and then one of
    # them asks for a Python that is being taken down: the process would be aborted, whoever started it.
    sys.stdout.flush()
    os._exit(0)
