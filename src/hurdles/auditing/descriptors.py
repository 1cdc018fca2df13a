"""Images in a few numbers each: what a glance at gray levels, edges and corners can tell.

Every function turns ``uint8 (N, S, S)`` into ``float32 (N, D)``, each image by itself. Those that
take `where` look at these pixels only: away from the lungs, what they find cannot be a disease of
the lungs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.progress import processors

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

#: Of each side, the depth that counts as border, and the side of a corner, as shares of S.
_BORDER, _CORNER = 1 / 16, 1 / 5
_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
#: Standard deviations, in pixels, between which structures are called fine, less fine, ...
_SCALES = (0.7, 1.4, 2.8, 5.6)
#: Takes away what is flat or a straight edge; its answer to white noise of 1 has deviation 6.
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
#: Pixels that images are reduced to for `shapes` and `symmetry`; blocks in a row; directions.
_REDUCED, _BLOCKS, _DIRECTIONS = 64, 4, 9
#: Images whose gradients are taken at once: few enough to stay in a processor's cache.
_AT_ONCE = 4
#: Sums of gradients in a block, in gray levels, that are taken for flat.
_FLAT = 100.0
_TINY = 1e-3  # squared gray levels: below rounding
#: Images that a thread describes at once.
_PIECE = 32


def histogram(pixels: Bytes, bins: int = 32) -> Floats:
    """Return the share of pixels in each of equal ranges of gray, shape (N, bins)."""
    width = 256 // bins
    flat = pixels.reshape(len(pixels), -1)
    counts = [np.bincount(image, minlength=256) for image in flat]
    shares = np.array(counts).reshape(len(pixels), bins, width).sum(axis=2) / flat.shape[1]
    return np.asarray(shares, dtype=np.float32)


def gray_statistics(pixels: Bytes) -> Floats:
    """Return mean, deviation, percentiles, and the shares of black and of white, shape (N, 11)."""
    counts = np.array([np.bincount(image.ravel(), minlength=256) for image in pixels])
    total, gray = pixels[0].size, np.arange(256)
    shares = counts / total
    mean = shares @ gray
    deviation = np.sqrt(np.maximum(shares @ gray**2 - mean**2, 0))
    running = counts.cumsum(axis=1)
    levels = [(running < np.ceil(p * total / 100)).sum(axis=1) for p in _PERCENTILES]
    columns = [mean, deviation, *levels, shares[:, 0], shares[:, 255]]
    return np.column_stack(columns).astype(np.float32)


def sharpness(pixels: Bytes, where: Flags | None = None) -> Floats:
    """Return how much of the structure is fine, shape (N, 4)."""

    def one(image: Floats, kept: Flags) -> Floats:
        import cv2

        blurs = [image]
        blurs += [
            cv2.GaussianBlur(image, (0, 0), s, borderType=cv2.BORDER_REPLICATE) for s in _SCALES
        ]
        bands = [cv2.Laplacian(image, cv2.CV_32F)]
        bands += [fine - coarse for fine, coarse in pairwise(blurs)]
        squares = [_mean(band[kept].astype(np.float64) ** 2) for band in bands]
        energy = np.array([float(np.log(square + _TINY)) for square in squares])
        return np.asarray(energy[:-1] - energy[-1], dtype=np.float32)

    return _each(pixels, where, one)


def noise(pixels: Bytes, where: Flags | None = None) -> Floats:
    """Return how noisy flat places are, and where on the scale of gray, shape (N, 6).

    References
    ----------
    Immerkaer, Computer Vision and Image Understanding 1996;64:300-302.
    """

    def one(image: Floats, kept: Flags) -> Floats:
        import cv2

        answer = np.abs(cv2.filter2D(image, cv2.CV_32F, _IMMERKAER))[kept] / 6
        if not len(answer):
            return np.zeros(6, dtype=np.float32)
        gray = image[kept]
        dark = gray <= np.median(gray)
        low, high = np.percentile(answer, (25, 75))
        parts = [_mean(answer), _mean(answer[dark]), _mean(answer[~dark])]
        scaled = np.array([*(p * np.sqrt(np.pi / 2) for p in parts), low, high])
        logs = np.log(scaled + 0.05)
        return np.append(logs, _mean(answer == 0)).astype(np.float32)

    return _each(pixels, where, one)


def compression(pixels: Bytes, where: Flags | None = None) -> Floats:
    """Return the traces of blocks of 8 by 8 pixels, and of coarse quantization, shape (N, 19).

    Blocks are seen as they lie in the file; an image that was made smaller since has lost them, and
    what is left of its compression is in its fine structure.
    """

    def one(image: Floats, kept: Flags) -> Floats:
        steepness: list[float] = []
        equal: list[float] = []
        for turned, inside in ((image, kept), (image.T, kept.T)):
            steps = np.abs(np.diff(turned, axis=1))
            counted = inside[:, 1:] & inside[:, :-1]
            sums, counts = (steps * counted).sum(axis=0), counted.sum(axis=0)
            place = np.arange(len(sums)) % 8
            means = np.bincount(place, sums, 8) / np.maximum(np.bincount(place, counts, 8), 1)
            steepness += (means / max(float(means.mean()), 0.05)).tolist()
            equal.append(float(((steps == 0) & counted).sum() / max(int(counted.sum()), 1)))
        levels = np.bincount(image[kept].astype(np.intp), minlength=256)
        used = np.flatnonzero(levels)
        empty = 1 - len(used) / (used[-1] - used[0] + 1) if len(used) else 0.0
        return np.array([*steepness, *equal, empty], dtype=np.float32)

    return _each(pixels, where, one)


def borders(pixels: Bytes) -> Floats:
    """Return what the four strips along the edges look like, shape (N, 32)."""
    size = pixels.shape[1]
    depth = max(4, round(size * _BORDER))
    columns = []
    for turns in range(4):  # a quarter turn each; the next side comes to lie on the left
        strip = np.rot90(pixels, turns, axes=(1, 2))[:, :, : depth + 1].astype(np.float32)
        inside, beside = strip[:, :, :depth], strip[:, :, depth]
        mean = inside.mean(axis=(1, 2))
        quarters = [q.mean(axis=(1, 2)) - mean for q in np.array_split(inside, 4, axis=2)]
        along, spread = inside[:, :, 0].std(axis=1), inside.std(axis=(1, 2))
        columns += [mean, along, spread, *quarters, beside.mean(axis=1) - mean]
    return np.column_stack(columns).astype(np.float32)


def corners(pixels: Bytes, cells: int = 6) -> Floats:
    """Return coarse pictures of the four corners, where markers stand: (N, 4 (cells^2 + 3))."""
    side = max(cells, round(pixels.shape[1] * _CORNER))
    columns = []
    for down in (slice(None, side), slice(-side, None)):
        for across in (slice(None, side), slice(-side, None)):
            patch = pixels[:, down, across].astype(np.float32)
            mean = patch.mean(axis=(1, 2))
            small = resized(patch, cells).reshape(len(patch), -1)
            above = patch.max(axis=(1, 2)) - mean
            parts = [mean, above, patch.std(axis=(1, 2)), small - mean[:, None]]
            columns.append(np.column_stack(parts))
    return np.concatenate(columns, axis=1).astype(np.float32)


def symmetry(pixels: Bytes) -> Floats:
    """Return how alike the halves are, and whether dark and bright have changed places, (N, 4).

    Images are reduced to 64 pixels first.
    """
    size = min(_REDUCED, pixels.shape[1])
    gray = resized(pixels, size).astype(np.float32)
    half = size // 2
    sides = _correlation(gray[:, :, :half], gray[:, :, : -half - 1 : -1])
    heights = _correlation(gray[:, :half], gray[:, : -half - 1 : -1])
    third = slice(size // 3, size - size // 3)
    middle = gray[:, third, third].mean(axis=(1, 2))
    beside = np.concatenate([gray[:, third, : third.start], gray[:, third, third.stop :]], axis=2)
    edge = gray[:, frame(size, _BORDER)].mean(axis=1)
    columns = [sides, heights, middle - edge, middle - beside.mean(axis=(1, 2))]
    return np.column_stack(columns).astype(np.float32)


def shapes(pixels: Bytes) -> Floats:
    """Return edge directions place by place (HOG) of images reduced to 64 pixels, shape (N, 576).

    Four by four blocks, each of two by two cells of 8 pixels with 9 directions, normalized within
    the block, so that brightness and contrast are gone.

    References
    ----------
    Dalal and Triggs, CVPR 2005:886-893.
    """
    small = resized(pixels, _REDUCED)
    starts = range(0, len(small), _AT_ONCE)
    return np.concatenate([_directions(small[i : i + _AT_ONCE].astype(np.float32)) for i in starts])


def resized(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """Return images shrunk to squares by the mean of the area, shape (N, size, size)."""
    import cv2

    shape = (size, size)
    return np.stack([cv2.resize(image, shape, interpolation=cv2.INTER_AREA) for image in pixels])


def frame(size: int, share: float) -> Flags:
    """Return the outermost pixels of a square image as a mask, shape (size, size).

    Examples
    --------
    >>> frame(4, 0.25).astype(int).tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    depth = max(1, round(size * share))
    edge = np.ones((size, size), dtype=bool)
    edge[depth : size - depth, depth : size - depth] = False
    return edge


def _each(pixels: Bytes, where: Flags | None, one: Callable[[Floats, Flags], Floats]) -> Floats:
    everywhere = np.ones(pixels.shape[1:], dtype=bool)
    kept = [everywhere] * len(pixels) if where is None else where

    def some(start: int) -> list[Floats]:
        part = slice(start, start + _PIECE)
        return [one(p.astype(np.float32), k) for p, k in zip(pixels[part], kept[part], strict=True)]

    with ThreadPoolExecutor(processors()) as pool:  # OpenCV and NumPy let other threads run
        rows = pool.map(some, range(0, len(pixels), _PIECE))
        return np.stack([row for part in rows for row in part])


def _directions(gray: Floats) -> Floats:
    """Sum gradients by direction in cells of 8 pixels, shared out between the two nearest."""
    n = len(gray)
    padded = np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    strength = np.hypot(down, across)
    angle = np.mod(np.arctan2(down, across) / np.pi, 1.0) * _DIRECTIONS
    lower = angle.astype(np.intp)
    upper_share = angle - lower
    cell = np.arange(_REDUCED) // 8
    size = (2 * _BLOCKS) ** 2 * _DIRECTIONS
    first = (cell[:, None] * (2 * _BLOCKS) + cell) * _DIRECTIONS
    first = np.arange(n)[:, None, None] * size + first
    sums = np.zeros(n * size)
    for direction, share in ((lower, 1 - upper_share), (lower + 1, upper_share)):
        place = (first + direction % _DIRECTIONS).ravel()
        sums += np.bincount(place, (strength * share).ravel(), n * size)
    cells = sums.reshape(n, _BLOCKS, 2, _BLOCKS, 2, _DIRECTIONS)
    flat = cells.transpose(0, 1, 3, 2, 4, 5).reshape(n, _BLOCKS**2, -1)
    lengths = np.sqrt((flat**2).sum(axis=2, keepdims=True) + _FLAT**2)
    return np.asarray(flat / lengths, dtype=np.float32).reshape(n, -1)


def _mean(values: NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _correlation(one: Floats, two: Floats) -> Floats:
    a, b = (x.reshape(len(x), -1) - x.mean(axis=(1, 2))[:, None] for x in (one, two))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(scale, _TINY), dtype=np.float32)
