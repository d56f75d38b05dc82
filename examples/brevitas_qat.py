"""Quantization-aware training with Brevitas on a CPU: two rings of points, 4-bit weights and activations.

Prints one JSON line: what the libraries made of the environment, and how well the model learned.

    mgelaunch run -e BREVITAS_JIT=0 --threads 2 examples/brevitas_qat.py
"""

import json
import math
import os
import time

import brevitas
import brevitas.config
import brevitas.nn as qnn
import torch
from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerTensorFloat

BATCH = 128


def rings(count, seed):
    """Points (count x 2) on two rings, of radius 0.5 and 1.25, and the number of the ring of each (count)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=generator)
    radius = 0.5 + 0.75 * labels + 0.1 * torch.randn(count, generator=generator)
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1), labels


def build():
    """A perceptron with one hidden layer of 64 units."""
    weights = {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": 4}
    return torch.nn.Sequential(
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat),
        qnn.QuantLinear(2, 64, bias=True, **weights),
        qnn.QuantReLU(bit_width=4),
        qnn.QuantLinear(64, 2, bias=True, **weights),
    )


def main():
    torch.manual_seed(0)
    started = time.monotonic()
    points, labels = rings(2048, seed=1)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5):
        for first in range(0, len(points), BATCH):
            loss = torch.nn.functional.cross_entropy(
                model(points[first : first + BATCH]), labels[first : first + BATCH]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    points, labels = rings(1024, seed=2)
    with torch.no_grad():
        accuracy = (model.eval()(points).argmax(dim=1) == labels).float().mean().item()
    report = {
        "accuracy": round(accuracy, 3),
        "loss": round(loss.item(), 3),
        "jit": bool(brevitas.config.JIT_ENABLED),
        "native": bool(brevitas.NATIVE_STE_BACKEND_LOADED),
        "ignore_missing_keys": brevitas.config.IGNORE_MISSING_KEYS,
        "reinit_on_load": brevitas.config.REINIT_ON_STATE_DICT_LOAD,
        "logging": brevitas.config.LOGGING_LEVEL,
        "threads": torch.get_num_threads(),
        "cards": torch.cuda.device_count(),
        "rank": os.environ.get("RANK"),
        "seconds": round(time.monotonic() - started, 2),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
