"""Heat ratios that occlusion gives models whose reading is known: what `attention` shows of them.

Of a model that can only be asked, `attention` shows the share of the heat in the lungs over the
lungs' share of the image, and judges nothing: here is what models without any knowledge get, and
models that read the lungs, a corner, or the border alone. The models answer phantoms without a
shortcut; each is drawn several times, and a line gives the mean ratio over the images of each draw.

    python bench/occlusion.py > docs/results/occlusion.txt
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import hurdles
from hurdles.explanation.heatmap import share_inside
from hurdles.explanation.occlusion import occlude
from hurdles.phantom import phantom_cohort

SIZE, IMAGES, DRAWS = 96, 40, 12
Floats = NDArray[np.float64]
#: From images (n, S, S) within [0, 1] to log-odds (n,).
Model = Callable[[Floats], Floats]

MADE = phantom_cohort(IMAGES, seed=77, size=SIZE, classes=("COVID-19", "Normal"))
PIXELS, LUNGS = MADE.pixels[:IMAGES], MADE.masks[:IMAGES] > 127
GRAY = PIXELS / 255.0


def scaled(answer: Model) -> Model:
    """Return a model whose log-odds have mean 0 and SD 2 over the images."""
    plain = answer(GRAY)
    return lambda x: 2 * (answer(x) - plain.mean()) / plain.std()


def linear(rng: np.random.Generator, smooth: float, where: Floats | float = 1.0) -> Model:
    """Return a linear model with random weights, smoothed, and zero outside a place."""
    weights = rng.normal(size=(SIZE, SIZE))
    weights = (cv2.GaussianBlur(weights, (0, 0), smooth) if smooth else weights) * where
    return scaled(lambda x: (x * weights).sum(axis=(1, 2)))


def network(seed: int) -> Model:
    """Return a small convolutional network with random weights."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 1),
    ).eval()  # fmt: skip

    @torch.inference_mode()
    def answer(x: Floats) -> Floats:
        return layers(torch.from_numpy(x - 0.5).float()[:, None]).double().numpy().ravel()

    return scaled(answer)


def ratio(model: Model) -> float:
    """Return the mean over images of the heat in the lungs over the lungs' share of the image."""

    def ask(stacks: Iterable[NDArray[np.uint8]]) -> Iterator[Floats]:
        for stack in stacks:
            p = 1 / (1 + np.exp(-model(stack / 255.0)))
            yield np.column_stack([p, 1 - p])

    names = [str(k) for k in range(len(PIXELS))]
    maps = occlude(ask, PIXELS, images=names, labels=["a", "b"])
    gains = [share_inside(each, lungs).gain for each, lungs in zip(maps, LUNGS, strict=True)]
    return float(np.nanmean(gains))


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    corner, border = np.zeros((SIZE, SIZE)), np.ones((SIZE, SIZE))
    corner[4:16, 4:20] = 1
    border[8:-8, 8:-8] = 0
    lungs = (LUNGS.mean(axis=0) > 0.8).astype(float)
    models: dict[str, Callable[[int], Model]] = {
        "random linear, not smoothed": lambda _: linear(rng, 0),
        "random linear, smoothed by 3 px": lambda _: linear(rng, 3),
        "random linear, smoothed by 8 px": lambda _: linear(rng, 8),
        "random linear, smoothed by 20 px": lambda _: linear(rng, 20),
        "random convolutional network": network,
        "reads a corner alone": lambda _: linear(rng, 3, corner),
        "reads the border alone": lambda _: linear(rng, 3, border),
        "reads the lungs alone": lambda _: linear(rng, 3, lungs),
    }
    print("Heat in the lungs over their share of the image, by occlusion. Research use only.")
    print(f"{IMAGES} phantoms of {SIZE} px, {DRAWS} draws a line; 1 is heat as the area has it.\n")
    print(f"{'model':34}{'mean':>7}{'least':>7}{'most':>7}")
    for name, draw in models.items():
        drawn = [ratio(draw(k)) for k in range(DRAWS)]
        print(f"{name:34}{np.mean(drawn):7.2f}{min(drawn):7.2f}{max(drawn):7.2f}", flush=True)
    print(
        f"\nhurdles {hurdles.__version__}, numpy {np.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )


if __name__ == "__main__":
    main()
