"""The model-randomization check: heat-maps have to depend on what the network has learnt.

Adebayo et al. 2018 (Sanity Checks for Saliency Maps, arXiv 1810.03292): a map that stays the same
when the weights are replaced by random ones shows the image, not the network. Here the weights of
every layer keep their sizes but lose their places and signs, and the maps before and after, of the
same images and the same classes, are compared by rank correlation and by structural similarity.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.explanation.heatmap import Heatmap
from hurdles.explanation.methods import explain
from hurdles.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

    AnyModule = TypeVar("AnyModule", bound=nn.Module)
else:
    AnyModule = TypeVar("AnyModule")

#: Above it maps are said not to depend on the weights: more than half of the variance of their
#: ranks is then shared with a network that has learnt nothing. The paper names no number. An edge
#: detector has 1; where a network averages its last maps, the middle of every image weighs more,
#: and SmoothGrad has 0.3 to 0.7 for that reason alone.
MAX_RANK_CORRELATION = math.sqrt(0.5)


@dataclass(frozen=True)
class SanityCheck:
    """Similarity of the maps of one method before and after the weights are randomized.

    `rank_correlation` (Spearman's) and `structural` similarity (SSIM, Wang et al. 2004) are means
    over images and draws, within [-1, 1]; a map that vanished, or appeared, counts as 0, and both
    are NaN where there is no map at all.
    """

    method: str
    rank_correlation: float
    structural: float
    n_images: int
    n_draws: int

    @property
    def is_passed(self) -> bool:
        """True if the maps depend on the weights; False where there is no map."""
        return self.rank_correlation <= MAX_RANK_CORRELATION

    def __str__(self) -> str:
        if math.isnan(self.rank_correlation):
            return f"{self.method} gives no map of any of {self.n_images} images"
        return (
            f"with random weights the maps of {self.method} keep a rank correlation of "
            f"{self.rank_correlation:.2f} with those of the network (limit "
            f"{MAX_RANK_CORRELATION:.2f}; {self.n_images} images, {self.n_draws} draws)"
        )


def randomized(module: AnyModule, seed: int) -> AnyModule:
    """Return a copy of a network whose weights are random.

    In every tensor the values are put into another order, and weights of layers (not biases or
    normalizations) get random signs. Each layer thus keeps the size of what it computes, whatever
    the architecture, and nothing of what it has learnt.
    """
    import torch

    copied = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*copied.parameters(), *copied.buffers()]:
            if tensor.is_floating_point() and tensor.numel() > 1:
                order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
                values = tensor.flatten()[order]
                if tensor.ndim > 1:
                    signs = torch.randint(0, 2, (len(values),), generator=generator) * 2 - 1
                    values = values * signs.to(values)
                tensor.copy_(values.view(tensor.shape))
    return copied


def random_maps(
    module: nn.Module,
    spec: ModelSpec,
    pixels: NDArray[np.uint8],
    *,
    like: Sequence[Heatmap],
    draws: int = 2,
    seed: int = 0,
) -> list[list[Heatmap]]:
    """Make the maps that the network would give with random weights."""
    if not like or draws < 1 or not all(m.target for m in like):
        raise EvaluationError(
            f"{len(like)} maps and {draws} draws compare nothing; give at least one of each, of "
            "images to which the network has an answer."
        )
    return [
        explain(
            randomized(module, seed + draw),
            spec,
            pixels,
            images=[m.image for m in like],
            target=[m.target for m in like],
            method=like[0].method,
        )
        for draw in range(draws)
    ]


def check_sanity(before: Sequence[Heatmap], after: Sequence[Sequence[Heatmap]]) -> SanityCheck:
    """Compare maps of a network with those of the same network with random weights."""
    if not before or not after:
        raise EvaluationError("there are no maps to compare; give those of one image at least.")
    pairs = [similarity(a, b) for maps in after for a, b in zip(before, maps, strict=True)]
    defined = [pair for pair in pairs if not math.isnan(pair[0])]
    ranks, structure = np.mean(defined, axis=0) if defined else (math.nan, math.nan)
    method = before[0].method
    return SanityCheck(method, float(ranks), float(structure), len(before), len(after))


def similarity(before: Heatmap, after: Heatmap) -> tuple[float, float]:
    """Return the rank correlation of two maps of one image and their structural similarity."""
    from scipy.stats import rankdata

    one, two = before.values.astype("float64"), after.values.astype("float64")
    if one.shape != two.shape:
        raise EvaluationError(f"maps of shapes {one.shape} and {two.shape} cannot be compared.")
    even = [float(np.ptp(heat)) == 0 for heat in (one, two)]
    if all(even):
        return math.nan, math.nan
    if any(even):
        return 0.0, 0.0
    ranks = np.corrcoef(rankdata(one), rankdata(two))[0, 1]
    return float(ranks), _structural(one, two)


def _structural(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Return the structural similarity of two maps within [0, 1], with the constants of its paper.

    Wang, Bovik, Sheikh and Simoncelli, IEEE Trans Image Process 2004;13:600-612.
    """
    import cv2

    def near(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), dtype="float64")

    small, smaller = 0.03**2, 0.01**2
    mean, other = near(one), near(two)
    spread, spread_too = near(one * one) - mean**2, near(two * two) - other**2
    shared = near(one * two) - mean * other
    light = (2 * mean * other + smaller) / (mean**2 + other**2 + smaller)
    return float((light * (2 * shared + small) / (spread + spread_too + small)).mean())
