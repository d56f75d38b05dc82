"""Training with MegEngine on a CPU: a small perceptron that tells two rings of points apart.

Prints one JSON line: what MegEngine made of the environment, and how well the model learned. With
``--broken`` it indexes past the end of a tensor first: compare a bare run with ``mgelaunch run -p debug``.

    mgelaunch run -p dtr examples/megengine_train.py
"""

import argparse
import json
import logging

import megengine
import megengine.functional as F
import megengine.module as M
import numpy as np
from megengine.autodiff import GradManager
from megengine.core import get_option
from megengine.optimizer import SGD


def rings(count, seed):
    """Points (count x 2, float32) on two rings, of radius 0.5 and 1.25, and the ring of each (count, int32)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    radius = 0.5 + 0.75 * labels + 0.1 * rng.standard_normal(count)
    angle = rng.uniform(0, 2 * np.pi, count)
    points = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return points.astype("float32"), labels.astype("int32")


def train(steps):
    """The accuracy on points that the model has not seen."""
    megengine.random.seed(0)
    model = M.Sequential(M.Linear(2, 32), M.ReLU(), M.Linear(32, 2))
    optimizer = SGD(model.parameters(), lr=0.2, momentum=0.9)
    gradients = GradManager().attach(model.parameters())
    for step in range(steps):
        points, labels = rings(128, seed=step)
        with gradients:
            loss = F.nn.cross_entropy(model(megengine.tensor(points)), megengine.tensor(labels))
            gradients.backward(loss)
        optimizer.step().clear_grad()
    points, labels = rings(1024, seed=10_000)
    return float((np.argmax(model(megengine.tensor(points)).numpy(), axis=1) == labels).mean())


def look_past_the_end():
    """A mistake that MegEngine notices late: row 7 of two."""
    rows = megengine.tensor(np.zeros((2, 3), dtype="float32"))
    row = rows[megengine.tensor([7])]
    return ((row + 1) * 2).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--broken", action="store_true", help="index past the end of a tensor")
    options = parser.parse_args()
    if options.broken:
        look_past_the_end()
    report = {
        "accuracy": round(train(options.steps), 3),
        "device": megengine.get_default_device(),
        "async_level": get_option("async_level"),
        "dtr": get_option("enable_dtr_auto_drop"),
        "dtr_threshold": get_option("dtr_eviction_threshold"),
        "log_level": logging.getLevelName(megengine.get_logger("train").level),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
