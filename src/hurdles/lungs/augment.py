"""Altered radiographs with their lungs: drawn first as a table, then applied deterministically.

The two collections with good masks show adults, standing, on good films. The alterations stand
for what the network meets elsewhere: tilted and cropped films, children (wide chests, short lungs,
much abdomen), portable films (flat, blurred, noisy), collimation borders, tubes, letters, and lungs
whose air is gone.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Pixels: TypeAlias = NDArray[np.float32]
_OPACITIES, _LINES = 4, 3

#: One altered image. Lengths are shares of the image's side, levels are within [0, 1].
ALTERATION = np.dtype(
    [
        ("position", np.int64),
        ("flip", np.bool_),
        ("degrees", np.float32),  # counter-clockwise
        ("zoom", np.float32, 2),  # across, down
        ("shear", np.float32),
        ("shift", np.float32, 2),
        ("extend", np.bool_),  # outside the film: its edge goes on, instead of black
        # Rank of the center among the lungs' pixels, radius across and down, degrees, density.
        ("opacity", np.float32, (_OPACITIES, 5)),
        ("veil", np.float32, 3),  # density left and right; from which height of the lungs on
        ("veil_level", np.float32),
        ("gamma", np.float32),
        ("contrast", np.float32),
        ("brightness", np.float32),
        ("line", np.float32, (_LINES, 6)),  # x, y, x, y, thickness in pixels, brightness
        ("letter", np.float32, 4),  # x, y, size, brightness
        ("frame", np.float32, 4),  # left, right, top, bottom
        ("frame_level", np.float32),
        ("blur", np.float32),  # deviation in pixels
        ("noise", np.float32),  # deviation as a level
        ("noise_seed", np.uint32),
        ("jpeg", np.uint8),  # quality, 0 for none
    ]
)


def draw_alterations(
    positions: NDArray[np.integer], rng: np.random.Generator, *, calm: float = 0.0
) -> NDArray[np.void]:
    """Draw one alteration for each position."""
    n = len(positions)
    drawn = np.zeros(n, dtype=ALTERATION)
    drawn["position"] = positions
    drawn["flip"] = rng.random(n) < 0.5
    drawn["degrees"] = np.clip(rng.normal(0, 8, n), -20, 20)
    size = np.exp(rng.uniform(np.log(0.65), np.log(1.25), n))
    aspect = np.exp(rng.uniform(np.log(0.85), np.log(1.35), n))
    drawn["zoom"] = np.stack([size * np.sqrt(aspect), size / np.sqrt(aspect)], 1)
    drawn["shear"] = rng.normal(0, 0.06, n)
    drawn["shift"] = rng.uniform(-0.12, 0.12, (n, 2))
    drawn["extend"] = rng.random(n) < 0.5
    _draw_disease(drawn, rng)
    _draw_film(drawn, rng)
    if calm:
        drawn = np.where(rng.random(n) < calm, _calmed(drawn), drawn)
    return drawn


def _draw_disease(drawn: NDArray[np.void], rng: np.random.Generator) -> None:
    n = len(drawn)
    there = (rng.random((n, 1)) < 0.5) & (rng.random((n, _OPACITIES)) < 0.6)
    drawn["opacity"][..., 0] = rng.random((n, _OPACITIES))
    drawn["opacity"][..., 1:3] = np.exp(rng.uniform(np.log(0.03), np.log(0.2), (n, _OPACITIES, 2)))
    drawn["opacity"][..., 3] = rng.uniform(0, 180, (n, _OPACITIES))
    drawn["opacity"][..., 4] = np.where(there, rng.uniform(0.3, 1, (n, _OPACITIES)), 0)
    veiled = rng.choice(4, n, p=(0.7, 0.1, 0.1, 0.1))  # none, left, right, both
    density = rng.uniform(0.4, 1, (n, 2))
    drawn["veil"][:, 0] = np.where(veiled & 1, density[:, 0], 0)
    drawn["veil"][:, 1] = np.where(veiled & 2, density[:, 1], 0)
    # An effusion begins below, a white lung has no upper end.
    drawn["veil"][:, 2] = np.where(rng.random(n) < 0.5, rng.uniform(0.3, 0.85, n), 0)
    drawn["veil_level"] = rng.uniform(0.75, 1.05, n)


def _draw_film(drawn: NDArray[np.void], rng: np.random.Generator) -> None:
    n = len(drawn)
    drawn["gamma"] = np.exp(rng.uniform(np.log(0.5), np.log(2.0), n))
    drawn["contrast"] = rng.uniform(0.5, 1.4, n)
    drawn["brightness"] = rng.uniform(-0.15, 0.15, n)
    drawn["blur"] = np.where(rng.random(n) < 0.4, rng.uniform(0.3, 2.0, n), 0)
    drawn["noise"] = np.where(rng.random(n) < 0.4, rng.uniform(0.005, 0.06, n), 0)
    drawn["noise_seed"] = rng.integers(0, 2**32, n, dtype=np.uint32)
    drawn["jpeg"] = np.where(rng.random(n) < 0.3, rng.integers(20, 95, n), 0)
    # Tubes, a letter, the collimator's border.
    there = (rng.random((n, 1)) < 0.4) & (rng.random((n, _LINES)) < 0.6)
    drawn["line"][..., :4] = rng.uniform(0, 1, (n, _LINES, 4))
    drawn["line"][..., 4] = np.where(there, rng.integers(1, 4, (n, _LINES)), 0)
    drawn["line"][..., 5] = rng.uniform(0.1, 0.6, (n, _LINES))
    drawn["letter"] = rng.uniform((0.0, 0.1, 0.3, 0.6), (0.9, 1.0, 1.2, 1.0), (n, 4))
    drawn["letter"][:, 2] *= rng.random(n) < 0.3
    edged = (rng.random((n, 1)) < 0.35) & (rng.random((n, 4)) < 0.6)
    drawn["frame"] = np.where(edged, rng.beta(1.2, 5, (n, 4)) * 0.3, 0)
    drawn["frame_level"] = np.where(rng.random(n) < 0.7, rng.uniform(0, 0.1, n), rng.random(n))


def _calmed(drawn: NDArray[np.void]) -> NDArray[np.void]:
    calmed = drawn.copy()
    for name in ("degrees", "shear", "shift", "brightness"):
        calmed[name] = drawn[name] / 4
    for name in ("zoom", "gamma"):
        calmed[name] = drawn[name] ** 0.25
    calmed["contrast"] = 1 + (drawn["contrast"] - 1) / 4
    for name in ("opacity", "veil", "line", "letter", "frame", "blur", "noise", "jpeg"):
        calmed[name] = 0
    return calmed


def alter(
    pixels: NDArray[np.uint8], masks: NDArray[np.bool_], drawn: NDArray[np.void]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the images that `drawn` describes, and their lungs."""
    size = pixels.shape[1:]
    images = np.empty((len(drawn), *size), np.uint8)
    lungs = np.empty((len(drawn), *size), np.bool_)
    for i, one in enumerate(drawn):
        image = pixels[one["position"]].astype(np.float32) / 255
        mask = masks[one["position"]]
        image, mask = _moved(_diseased(image, mask, one), mask, one)
        curved = np.clip(image, 0, 1) ** one["gamma"]
        mean = curved.mean()
        image = (curved - mean) * one["contrast"] + mean + one["brightness"]
        image = _with_things(image, one)
        left, right, top, bottom = (int(share * len(image)) for share in one["frame"])
        inside = np.zeros(mask.shape, bool)
        inside[top : len(image) - bottom, left : len(image) - right] = True
        image[~inside] = one["frame_level"]
        images[i], lungs[i] = _recorded(image, one), mask & inside
    return images, lungs


def _diseased(image: _Pixels, mask: NDArray[np.bool_], one: np.void) -> _Pixels:
    """Replace air by what is as bright as the brighter parts of this image."""
    if not mask.any() or not (one["opacity"][:, 4].any() or one["veil"][:2].any()):
        return image
    level = float(np.quantile(image, 0.9)) * float(one["veil_level"])
    density = np.maximum(_spots(mask, one["opacity"]), _veil(mask, one["veil"]))
    return np.asarray(image + density * np.maximum(level - image, 0))


def _spots(mask: NDArray[np.bool_], drawn: NDArray[np.float32]) -> _Pixels:
    import cv2

    rows, columns = np.nonzero(mask)
    size = len(mask)
    density = np.zeros(mask.shape, np.float32)
    for rank, across, down, degrees, amount in drawn[drawn[:, 4] > 0]:
        at = min(int(rank * len(rows)), len(rows) - 1)
        axes = (max(1, int(across * size)), max(1, int(down * size)))
        center = (int(columns[at]), int(rows[at]))
        spot = np.zeros_like(density)
        cv2.ellipse(spot, center, axes, float(degrees), 0, 360, float(amount), -1)
        softness = (2 * (axes[0] // 2) + 1, 2 * (axes[1] // 2) + 1)
        density = np.maximum(density, cv2.blur(spot, softness))
    return density


def _veil(mask: NDArray[np.bool_], drawn: NDArray[np.float32]) -> _Pixels:
    import cv2

    rows, columns = np.nonzero(mask)
    size = len(mask)
    left = np.arange(size) < columns.mean()
    veil = np.where(left, drawn[0], drawn[1]) * mask.astype(np.float32)
    veil[: int(rows.min() + drawn[2] * (rows.max() - rows.min()))] = 0
    # Its edge is soft, and reaches over the edge of the lung: the silhouette is lost.
    return np.asarray(cv2.GaussianBlur(veil, (0, 0), size / 40), np.float32)


def _moved(
    image: _Pixels, mask: NDArray[np.bool_], one: np.void
) -> tuple[_Pixels, NDArray[np.bool_]]:
    import cv2

    size = len(image)
    turn = np.deg2rad(one["degrees"])
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    sheared = np.array([[1, one["shear"]], [0, 1]])
    linear = turned @ sheared @ np.diag(one["zoom"].astype(np.float64))
    if one["flip"]:
        linear = linear @ np.diag([-1.0, 1.0])
    center = np.full(2, (size - 1) / 2)
    matrix = np.column_stack([linear, center + one["shift"] * size - linear @ center])
    border = cv2.BORDER_REPLICATE if one["extend"] else cv2.BORDER_CONSTANT
    image = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    moved = cv2.warpAffine(mask.astype(np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(image, np.float32), moved >= 0.5


def _with_things(image: _Pixels, one: np.void) -> _Pixels:
    import cv2

    size = len(image)
    for x0, y0, x1, y1, thickness, brightness in one["line"]:
        if thickness:
            tube = np.zeros_like(image)
            ends = [(int(x * size), int(y * size)) for x, y in ((x0, y0), (x1, y1))]
            cv2.line(tube, ends[0], ends[1], float(brightness), int(thickness), cv2.LINE_AA)
            image = image + tube
    x, y, letter_size, brightness = (float(value) for value in one["letter"])
    if letter_size:
        text = "RLAPX"[int(x * 1000) % 5]
        where = (int(x * size), int(y * size))
        lead = np.zeros(image.shape, np.uint8)  # OpenCV 5 writes on bytes only
        cv2.putText(lead, text, where, cv2.FONT_HERSHEY_SIMPLEX, letter_size, 255, 2)
        image = np.where(lead > 127, np.float32(brightness), image)
    return image


def _recorded(image: _Pixels, one: np.void) -> NDArray[np.uint8]:
    import cv2

    if one["blur"]:
        image = cv2.GaussianBlur(image, (0, 0), float(one["blur"]))
    if one["noise"]:
        rng = np.random.default_rng(one["noise_seed"])
        image = image + one["noise"] * rng.standard_normal(image.shape, dtype=np.float32)
    recorded = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if one["jpeg"]:
        _, coded = cv2.imencode(".jpg", recorded, [cv2.IMWRITE_JPEG_QUALITY, int(one["jpeg"])])
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return np.asarray(recorded, np.uint8)
