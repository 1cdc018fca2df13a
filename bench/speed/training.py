"""Training in images/s: published networks and ResNet-18 beside Keras and a plain torch loop.

224x224 gray pixels, batches of 32, Adam; forward, backward and step. Ours is what `hurdles run`
does, alterations of the images included; the peers alter nothing. "Best kernels" does nothing but
the network's layers, one after the other on tensors that lie ready, each direction in the memory
layout that was fastest here: what a step would take if nothing stood between them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pairs import Goal, Row, Side

SIZE, BATCH = 224, 32


def rate(architecture: str) -> Callable[[float], float]:
    """Return a function that trains for so many seconds and returns images/s."""
    import numpy as np

    from hurdles.recipe.recipe import Recipe
    from hurdles.training.loop import TrainingData, train

    class Clock:
        """Stops the training when the time is up; two steps go before it."""

        def __init__(self, seconds: float) -> None:
            self.seconds, self.steps, self.began = seconds, -2, 0.0

        def start(self, stage: str, total: int) -> None: ...

        def say(self, line: str) -> None: ...

        def advance(self, steps: int = 1, note: str = "") -> None:  # noqa: ARG002 - the protocol's
            self.steps += 1
            if self.steps == 0:
                self.began = time.perf_counter()
            elif self.steps > 0 and time.perf_counter() - self.began >= self.seconds:
                raise StopIteration

    rng = np.random.default_rng(0)
    n = 3200
    pixels = rng.integers(0, 256, (n, SIZE, SIZE), dtype=np.uint8)
    parts = np.arange(n - BATCH), np.arange(n - BATCH, n)
    data = TrainingData(pixels, rng.integers(0, 3, n), ("a", "b", "c"), *parts, "bench")
    recipe = Recipe(name="bench").changed(
        model={"architecture": architecture, "channels": 3},
        augmentation={"policy": "balanced"},
    )

    def turn(seconds: float) -> float:
        clock = Clock(seconds)
        with contextlib.suppress(StopIteration):
            train(recipe, data, progress=clock)
        return clock.steps * BATCH / (time.perf_counter() - clock.began)

    return turn


# --- the best kernels ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """One layer in one direction: its name, a call in each memory layout, and its arithmetic."""

    name: str
    calls: dict[str, Callable[[], object]]
    gflop: float = 0.0

    def timed(self, turns: int = 3) -> dict[str, float]:
        """Return the seconds of each layout, the least of a few."""
        spent = {
            layout: [_seconds(call) for _ in range(turns)] for layout, call in self.calls.items()
        }
        return {layout: min(values) for layout, values in spent.items()}


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def kernels_of_baseline() -> Iterator[Kernel]:
    """Yield the layers of the baseline, in the number format of this machine."""
    import torch

    from hurdles.training.machine import this_machine

    dtype = this_machine().dtype
    side = SIZE
    for before, after in ((1, 32), (32, 64), (64, 128)):
        yield from _convolution(before, after, side, dtype)
        yield from _pooling(after, side, dtype)
        side //= 2
    inputs, hidden = after * side * side, 64
    x = torch.randn(BATCH, inputs).to(dtype)
    g, w = torch.randn(BATCH, hidden).to(dtype), torch.randn(hidden, inputs).to(dtype)
    work = 2 * BATCH * inputs * hidden / 1e9
    yield Kernel("dense forward", {"plain": lambda: x @ w.T}, work)
    yield Kernel("dense input gradient", {"plain": lambda: g @ w}, work)
    yield Kernel("dense weight gradient", {"plain": lambda: g.T @ x}, work)
    weight = torch.nn.Parameter(torch.randn(hidden, inputs))
    weight.grad = torch.randn_like(weight)
    yield Kernel("Adam", {"plain": torch.optim.Adam([weight], fused=True).step})


def _layouts(channels: int, side: int, dtype) -> dict:
    """Return random maps in each memory layout; that of oneDNN as a convolution leaves it."""
    import torch

    from hurdles.models import onednn

    x = torch.randn(BATCH, channels, side, side).to(dtype)
    made = {"plain": x, "channels last": x.contiguous(memory_format=torch.channels_last)}
    if onednn.available():
        opaque = x.to_mkldnn()
        if channels > 1:
            one = torch.eye(channels, dtype=dtype)[:, :, None, None]
            opaque = torch.ops.aten.mkldnn_convolution(opaque, one, None, [0, 0], [1, 1], [1, 1], 1)
        made["oneDNN"] = opaque
    return made


def _convolution(before: int, after: int, side: int, dtype) -> Iterator[Kernel]:
    import torch

    plain, bias = torch.randn(after, before, 3, 3).to(dtype), torch.zeros(after, dtype=dtype)
    last = plain.contiguous(memory_format=torch.channels_last)
    x, g = _layouts(before, side, dtype), _layouts(after, side, dtype)
    w = {layout: last if layout == "channels last" else plain for layout in x}
    ones = [1, 1]

    def forward(layout: str) -> Callable[[], object]:
        if layout != "oneDNN":
            return lambda: torch.conv2d(x[layout], w[layout], bias, padding=1)
        return lambda: torch.ops.aten.mkldnn_convolution(
            x[layout], plain, bias, ones, ones, ones, 1
        )

    def backward(layout: str, wanted: list[bool]) -> Callable[[], object]:
        return lambda: torch.ops.aten.convolution_backward(
            *(g[layout], x[layout], w[layout], [after], ones, ones, ones, False, [0, 0], 1, wanted)
        )

    name, work = f"{before} to {after}", 18 * BATCH * before * after * side * side / 1e9
    yield Kernel(f"{name} forward", {layout: forward(layout) for layout in x}, work)
    if before > 1:
        calls = {layout: backward(layout, [True, False, False]) for layout in x}
        yield Kernel(f"{name} input gradient", calls, work)
    calls = {layout: backward(layout, [False, True, True]) for layout in x}
    yield Kernel(f"{name} weight gradient", calls, work)


def _pooling(channels: int, side: int, dtype) -> Iterator[Kernel]:
    import torch

    def passes(x) -> tuple[Callable[[], object], Callable[[], object]]:
        x = x.detach().requires_grad_()
        made = torch.relu(torch.max_pool2d(x, 2, 2))
        g = made.detach()
        return (
            lambda: torch.relu(torch.max_pool2d(x, 2, 2)),
            lambda: torch.autograd.grad(made, x, g, retain_graph=True),
        )

    both = {layout: passes(x) for layout, x in _layouts(channels, side, dtype).items()}
    yield Kernel(f"pooling and ReLU of {channels}", {k: v[0] for k, v in both.items()})
    yield Kernel(f"pooling and ReLU of {channels}, gradient", {k: v[1] for k, v in both.items()})


def best_kernels() -> Callable[[float], float]:
    """Return a function that calls the best kernels for so many seconds and returns images/s."""
    from hurdles.training.machine import keep_big_blocks

    keep_big_blocks()
    best = []
    for kernel in kernels_of_baseline():
        spent = kernel.timed()
        best.append(kernel.calls[min(spent, key=spent.__getitem__)])

    def turn(seconds: float) -> float:
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            for call in best:
                call()
            steps += 1
        return steps * BATCH / (time.perf_counter() - began)

    return turn


def profile_of_kernels() -> Callable[[float], list[str]]:
    """Return a function whose lines say what each layer takes in each layout, and at best."""
    import torch

    from hurdles.training.machine import keep_big_blocks, this_machine

    keep_big_blocks()

    def turn(_: float) -> list[str]:
        dtype = this_machine().dtype
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        peak = 2 * 2048**3 / 1e9 / min(_seconds(lambda: a @ b) for _ in range(5))
        lines = [
            f"torch.mm in {str(dtype)[6:]}: {peak:.0f} GFLOP/s; ms (GFLOP/s) of a batch of {BATCH}"
        ]
        total = work = 0.0
        for kernel in kernels_of_baseline():
            spent = kernel.timed()
            total, work = total + min(spent.values()), work + kernel.gflop
            cells = [
                f"{layout} {1000 * s:.0f}" + (f" ({kernel.gflop / s:.0f})" if kernel.gflop else "")
                for layout, s in spent.items()
            ]
            lines.append(f"{kernel.name:34}{', '.join(cells)}")
        lines.append(f"best of all: {1000 * total:.0f} ms, {BATCH / total:.0f} images/s")
        lines.append(
            f"its arithmetic alone at that rate of torch.mm: {BATCH * peak / work:.0f} images/s"
        )
        return lines

    return turn


def _row(architecture: str, what: str, *others: Side, goals: tuple[Goal, ...], **more) -> Row:
    ours = Side("hurdles", "training:rate", {"architecture": architecture})
    plain = Side("plain torch", "plain_torch:rate", {"architecture": architecture})
    return Row(f"train-{architecture}", what, "images/s", (ours, plain, *others), goals, **more)


ROWS = (
    _row(
        "baseline",
        "training, the baseline of Lázaro and Barco 2020 at 224 px",
        Side("Keras", "keras_rate:rate", environment={"KERAS_BACKEND": "tensorflow"}),
        Side("best kernels", "training:best_kernels"),
        goals=(
            Goal(2.5, over="Keras", on="avx512-bf16"),
            Goal(6, over="plain torch", on="avx512-bf16"),
            Goal(1.6, over="Keras", on="avx2"),
            Goal(3, over="plain torch", on="avx2"),
            Goal(0.85, over="best kernels"),
        ),
        profile="training:profile_of_kernels",
    ),
    _row(
        "inception-like",
        "training, the inception-like network of the paper's text",
        goals=(Goal(3, over="plain torch"),),
        seconds=8.0,
    ),
    _row(
        "inception-as-coded",
        "training, the inception-like network as the notebook codes it",
        goals=(Goal(3, over="plain torch"),),
        seconds=12.0,
    ),
    _row(
        "resnet-18",
        "training, ResNet-18 at 224 px",
        goals=(Goal(2.5, over="plain torch"),),
        seconds=6.0,
    ),
)
