"""Several ranks of MegEngine on a CPU: each trains on its own rows, and all end with the same weights.

    mgelaunch run -n 2 --rendezvous megengine examples/megengine_ranks.py

On GPUs the gradients travel by NCCL (``dist.make_allreduce_cb``). There is nothing of that kind for CPUs, so here
they go through the server by which the ranks find each other; ``--rendezvous megengine`` starts that server.
"""

import os

import megengine
import megengine.distributed as dist
import numpy as np
from megengine.autodiff import GradManager
from megengine.module import Linear
from megengine.optimizer import SGD

RANK, WORLD_SIZE = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])  # mgelaunch tells each rank who it is


def meet():
    if WORLD_SIZE > 1:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        # "gpu" is what MegEngine insists on, also where there is none: nothing of a GPU is used before a tensor is.
        dist.init_process_group(address, port, WORLD_SIZE, RANK, int(os.environ["LOCAL_RANK"]), device_type="gpu")
    megengine.set_default_device("cpu0")  # a script for GPUs leaves this line out
    megengine.random.seed(0)  # the same first weights for all; joining has set a seed of its own


def mean_over_ranks(mine, name):
    """The mean of what all ranks have. Each is sent by its owner and read by the others."""
    if WORLD_SIZE == 1:
        return mine
    client, total = dist.get_client(), np.zeros_like(mine)
    for owner in range(WORLD_SIZE):
        sent = client.bcast_val(mine.tobytes() if owner == RANK else None, f"{name} of {owner}", WORLD_SIZE)
        total += mine if owner == RANK else np.frombuffer(sent.data, mine.dtype).reshape(mine.shape)
    return total / WORLD_SIZE


def main():
    meet()
    model = Linear(2, 1)
    optimizer, gradients = SGD(model.parameters(), lr=0.3), GradManager().attach(model.parameters())
    rows = np.random.default_rng(0).standard_normal((120, 2)).astype("float32")
    points = rows[RANK::WORLD_SIZE]  # the rows of this rank
    targets = points @ np.array([[3.0], [-2.0]], dtype="float32") + 1
    for step in range(60):
        with gradients:
            gradients.backward(((model(megengine.tensor(points)) - targets) ** 2).mean())
        for name, parameter in model.named_parameters():
            parameter.grad[...] = mean_over_ranks(parameter.grad.numpy(), f"{name}, step {step}")
        optimizer.step().clear_grad()
    (first, second), bias = model.weight.numpy()[0], model.bias.item()
    print(f"rank {RANK} of {WORLD_SIZE}, {len(points)} rows: y = {first:.3f} a {second:+.3f} b {bias:+.3f}")


if __name__ == "__main__":
    main()
