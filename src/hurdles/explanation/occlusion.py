"""Occlusion of a model that can only be asked: heat without gradients, and without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hurdles.explanation.heatmap import Heatmap

#: Cells along a side. Each image costs ``(CELLS - 1)**2 + 1`` answers.
CELLS = 8
#: Probabilities are held this far from 0 and 1, where log-odds end.
_NEAREST = 1e-6


def occlude(
    ask: Callable[[Iterable[NDArray[np.uint8]]], Iterator[NDArray[np.float64]]],
    pixels: NDArray[np.uint8],
    *,
    images: Sequence[str],
    labels: Sequence[str],
    cells: int = CELLS,
) -> list[Heatmap]:
    """Return a map of where each image's predicted class loses log-odds when that is hidden.

    As `hurdles.explanation.maps.occlusion`, with larger windows: two cells wide, moved by one, in
    the image's mean gray. `ask` is given a stack (windows + 1, S, S) an image, the image itself
    first, and yields the probabilities (windows + 1, K) of each.
    """
    size = pixels.shape[-1]
    cells = min(cells, size)
    cell = np.arange(size) * cells // size  # of each row, and of each column
    starts = np.arange(max(1, cells - 1))
    covers = (cell >= starts[:, None]) & (cell < starts[:, None] + 2)
    windows = (covers[:, None, :, None] & covers[None, :, None, :]).reshape(-1, size, size)

    def hidden(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        gray = np.uint8(np.rint(image.mean()))
        return np.concatenate([image[None], np.where(windows, gray, image)])

    maps = []
    for image, answer in zip(images, ask(map(hidden, pixels)), strict=True):
        target = int(answer[0].argmax())
        p = np.clip(answer[:, target], _NEAREST, 1 - _NEAREST)
        odds = np.log(p / (1 - p))
        falls = np.tensordot(odds[0] - odds[1:], windows, 1) / windows.sum(axis=0)
        heat = np.where(falls > _NEAREST, falls, 0)
        maps.append(Heatmap.from_raw(image, labels[target], "occlusion", heat))
    return maps
