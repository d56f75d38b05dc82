"""Data-parallel training with MegEngine on CPUs, by one process or by several ranks that share the rows of each batch.

Every rank takes part of 240 rows, the gradients are added up in the order of the ranks through MegEngine's own
server (there is no collective backend for CPUs), and so every rank ends with the weights that one process alone
reaches. Prints one line: what they are.
"""

import json
import os
import time
from hashlib import sha1

import megengine
import megengine.distributed as dist
import megengine.functional as F
import megengine.module as M
import numpy as np
from megengine.autodiff import GradManager
from megengine.optimizer import SGD

ROWS, STEPS = 240, 30  # 240 is divided by 1, 2, 3 and 4: the mean of the means is the mean


def join(rank, world):
    """Meets the other ranks. There are collectives for GPUs only, but the server is for all."""
    if world > 1:
        device = int(os.environ["LOCAL_RANK"])
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        dist.init_process_group(*address, world, rank, device, backend="auto", device_type="gpu")
    megengine.set_default_device("cpu0")
    megengine.random.seed(7)  # only now: joining sows a seed of its own
    np.random.seed(7)


def mean_gradient(own, rank, world, step):
    """The mean over the ranks of the vectors `own`, added up in the order of the ranks."""
    total = np.zeros_like(own)
    for source in range(world):
        if source == rank:
            if world > 1:
                dist.get_client().bcast_val(own.tobytes(), f"step {step} of {source}", world)
            total += own
        else:
            answer = dist.get_client().bcast_val(None, f"step {step} of {source}", world)
            total += np.frombuffer(answer.data, dtype="float32")
    return total / world


def train(rank, world):
    """The trained model."""
    model = M.Sequential(M.Linear(16, 32), M.ReLU(), M.Linear(32, 4))
    parameters = list(model.parameters())
    optimizer, gradients = SGD(parameters, lr=0.05, momentum=0.9), GradManager().attach(parameters)
    points = np.random.standard_normal((ROWS, 16)).astype("float32")
    labels = points[:, :4].argmax(axis=1).astype("int32")
    points, labels = megengine.tensor(points[rank::world]), megengine.tensor(labels[rank::world])
    for step in range(STEPS):
        with gradients:
            loss = F.nn.cross_entropy(model(points), labels)
            gradients.backward(loss)
        own = np.concatenate([parameter.grad.numpy().ravel() for parameter in parameters])
        mean, first = mean_gradient(own, rank, world, step), 0
        for parameter in parameters:
            size = int(np.prod(parameter.shape))
            parameter.grad[...] = mean[first : first + size].reshape(parameter.shape)
            first += size
        optimizer.step().clear_grad()
    return model


def main():
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    started = time.monotonic()
    join(rank, world)
    joined = time.monotonic()
    model = train(rank, world)
    dist.group_barrier()
    weights = np.concatenate([parameter.numpy().ravel() for parameter in model.parameters()])
    report = {
        "rank": rank,
        "digest": sha1(np.round(weights, 4).tobytes()).hexdigest()[:8],
        "sum": round(float(weights.sum()), 5),
        "nccl_launch_mode": os.environ.get("NCCL_LAUNCH_MODE"),
        "join_s": round(joined - started, 2),
        "train_s": round(time.monotonic() - joined, 2),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
