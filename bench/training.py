"""Training images/s of both papers' networks, beside a plain loop of the same one in one run.

    python bench/training.py [--json] [--seconds 15] [NETWORK ...]

The plain loop is what a careful user would write with torch alone: float32, default layout, ReLU
before pooling, the allocator as it comes. Ours is what `hurdles run` does. Each is timed in
a process of its own, since the allocator is told once per process; they take turns, and the median
of three turns is printed with its range. 224x224 grey, batch 32, Adam; forward, backward, step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time

NETWORKS = ("baseline", "inception-like", "inception-as-coded")
TURNS = 3
SIZE, BATCH = 224, 32


def plain(architecture: str, seconds: float) -> float:
    """Return images/s of a plain torch loop."""
    import torch
    from torch import nn

    def parallel(kernels):
        return nn.ModuleList(
            nn.Conv2d(1, f, k, padding=k // 2) for f, k in zip((64, 32, 16), kernels, strict=True)
        )

    class Parallel(nn.Module):
        def __init__(self, kernels):
            super().__init__()
            self.parts = parallel(kernels)

        def forward(self, x):
            return torch.cat([part(x).relu() for part in self.parts], dim=1)

    def stage(i, o, k):
        return [nn.Conv2d(i, o, k, padding=k // 2), nn.ReLU(), nn.MaxPool2d(2)]

    def head(inputs, hidden):
        return [
            nn.Flatten(),
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(hidden, 3),
        ]

    made = {
        "baseline": lambda: [
            *stage(1, 32, 3),
            *stage(32, 64, 3),
            *stage(64, 128, 3),
            *head(128 * 28 * 28, 64),
        ],
        "inception-like": lambda: [
            Parallel((1, 3, 5)),
            nn.MaxPool2d(2),
            *stage(112, 128, 3),
            *head(128 * 56 * 56, 64),
        ],
        "inception-as-coded": lambda: [
            Parallel((1, 1, 1)),
            nn.MaxPool2d(2),
            *stage(112, 128, 7),
            *head(128 * 56 * 56, 128),
        ],
    }
    network = nn.Sequential(*made[architecture]())
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    images, targets = torch.rand(BATCH, 1, SIZE, SIZE), torch.randint(0, 3, (BATCH,))

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), targets).backward()
        optimiser.step()

    return _rate(step, seconds)


def ours(architecture: str, seconds: float) -> float:
    """Return images/s of the training loop of hurdles, its data preparation included."""
    import numpy as np

    from hurdles.recipe.recipe import Recipe
    from hurdles.training.loop import TrainingData, train

    class Clock:
        """Stops the training when the time is up."""

        def __init__(self) -> None:
            self.steps, self.began = -2, 0.0

        def start(self, stage: str, total: int) -> None: ...

        def say(self, line: str) -> None: ...

        def advance(self, steps: int = 1, note: str = "") -> None:  # noqa: ARG002 - the protocol's
            self.steps += 1
            if self.steps == 0:
                self.began = time.perf_counter()
            elif self.steps > 0 and time.perf_counter() - self.began >= seconds:
                raise StopIteration

    rng = np.random.default_rng(0)
    n = 16_000
    pixels = np.broadcast_to(
        rng.integers(0, 255, (64, 1, SIZE, SIZE), np.uint8), (64, n // 64, SIZE, SIZE)
    ).reshape(n, SIZE, SIZE)
    classes = rng.integers(0, 3, n)
    data = TrainingData(
        pixels, classes, ("a", "b", "c"), np.arange(n - 32), np.arange(n - 32, n), "bench"
    )
    recipe = Recipe(name="bench").changed(
        model={"architecture": architecture},
        augmentation={"policy": "balanced"},
    )
    clock = Clock()
    with contextlib.suppress(StopIteration):
        train(recipe, data, progress=clock)
    return clock.steps * BATCH / (time.perf_counter() - clock.began)


def _rate(step, seconds: float) -> float:
    for _ in range(2):
        step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
    return steps * BATCH / (time.perf_counter() - began)


def _turn(kind: str, architecture: str, seconds: float) -> float:
    command = [sys.executable, __file__, "--one", kind, "--seconds", str(seconds), architecture]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Time each network both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=("plain", "ours"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(
            (plain if arguments.one == "plain" else ours)(arguments.networks[0], arguments.seconds)
        )
        return
    rows = {}
    for name in arguments.networks:
        turns = [
            (_turn("plain", name, arguments.seconds), _turn("ours", name, arguments.seconds))
            for _ in range(TURNS)
        ]
        rows[name] = {
            kind: {"median": statistics.median(values), "min": min(values), "max": max(values)}
            for kind, values in zip(("plain", "ours"), zip(*turns, strict=True), strict=True)
        }
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print("training, images/s            plain torch           hurdles       ratio")
    for name, row in rows.items():
        cells = [f"{v['median']:7.1f} [{v['min']:.1f}, {v['max']:.1f}]" for v in row.values()]
        ratio = row["ours"]["median"] / row["plain"]["median"]
        print(f"{name:22}{cells[0]:>22}{cells[1]:>22}{ratio:9.1f}x")
    from hurdles.training.machine import environment, in_words, this_machine

    print(in_words(environment(this_machine())))


if __name__ == "__main__":
    main()
