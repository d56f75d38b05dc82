"""A real training loop in plain Python: needs no framework, ends in a second.

Shows the settings that it was started with, then fits a line through noisy points by gradient descent.

    mgelaunch run -p dtr examples/train.py --steps 200
"""

import argparse
import os
import random

SETTINGS = ("MEGENGINE_", "MGE_", "MGB_", "BREVITAS_", "CUDA_", "OMP_")


def points(count, rng):
    """`count` pairs (x, y) near the line y = 3 x - 1."""
    for _ in range(count):
        x = rng.uniform(-1, 1)
        yield x, 3 * x - 1 + rng.gauss(0, 0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-b", "--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lr", type=float, default=0.3)
    options = parser.parse_args()

    for name in sorted(os.environ):
        if name.startswith(SETTINGS):
            print(f"{name}={os.environ[name]}")

    rng = random.Random(0)
    slope = offset = 0.0
    for step in range(1, options.steps + 1):
        batch = list(points(options.batch_size, rng))
        errors = [slope * x + offset - y for x, y in batch]
        slope -= options.lr * sum(error * x for error, (x, _) in zip(errors, batch)) / len(batch)
        offset -= options.lr * sum(errors) / len(batch)
        if step % 50 == 0 or step == options.steps:
            loss = sum(error * error for error in errors) / len(batch)
            print(f"step {step:4d}  loss {loss:.4f}  y = {slope:.2f} x {offset:+.2f}")


if __name__ == "__main__":
    main()
