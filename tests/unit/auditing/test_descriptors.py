"""Images in a few numbers: slow and obvious twins, and that only what counts is counted."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hurdles.auditing import descriptors as module
from hurdles.auditing.descriptors import (
    borders,
    compression,
    corners,
    frame,
    gray_statistics,
    histogram,
    noise,
    shapes,
    sharpness,
    symmetry,
)

ALL = {
    histogram: 32,
    gray_statistics: 11,
    sharpness: 4,
    noise: 6,
    compression: 19,
    borders: 32,
    corners: 4 * 39,
    symmetry: 4,
    shapes: 576,
}


def images(n=5, size=96, seed=0):
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=(n, size, size)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(x, (0, 0), 4) * 300 + x * 6 + 120 for x in rough])
    return np.clip(smooth, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("function", ALL, ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [64, 101, 224])
def test_each_image_is_described_for_itself_by_finite_numbers(function, size):
    pixels = images(3, size)
    pixels[2] = 7  # nothing in it at all
    found = function(pixels)
    assert found.shape == (3, ALL[function])
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found[1:2] == pytest.approx(function(pixels[1:2]))
    assert not np.allclose(found[0], found[2])


@pytest.mark.parametrize("function", [sharpness, noise, compression])
def test_what_lies_elsewhere_does_not_count(function):
    pixels = images()
    where = np.zeros(pixels.shape, dtype=bool)
    where[:, :40, :] = True
    other = pixels.copy()
    other[:, 60:, :] = 255 - other[:, 60:, :]  # further away than the widest blur reaches
    assert function(other, where) == pytest.approx(function(pixels, where), abs=2e-3)
    assert not np.allclose(function(other), function(pixels), atol=2e-3)
    assert np.isfinite(function(pixels, np.zeros_like(where))).all()


def test_histogram_and_gray_statistics_are_those_of_numpy():
    pixels = images()
    pixels[0, :20] = 255
    slow = [np.histogram(x, 32, (0, 256))[0] / x.size for x in pixels]
    assert histogram(pixels) == pytest.approx(np.array(slow), abs=1e-6)
    found = gray_statistics(pixels)
    marks = (1, 5, 25, 50, 75, 95, 99)
    for row, x in zip(found, pixels, strict=True):
        levels = np.percentile(x, marks, method="inverted_cdf")
        slow = [x.mean(), x.std(), *levels, (x == 0).mean(), (x == 255).mean()]
        assert row == pytest.approx(slow, abs=1e-3)


def test_noise_is_that_which_was_added():
    rng = np.random.default_rng(1)
    slope = np.linspace(60, 190, 128)[None, :] + np.zeros((128, 1))
    made = np.stack([slope + s * rng.normal(size=slope.shape) for s in (2.0, 4.0, 8.0)])
    found = np.exp(noise(np.rint(made).astype(np.uint8))[:, 0])
    assert found == pytest.approx([2.0, 4.0, 8.0], rel=0.08)


def test_sharpness_falls_with_blur_and_not_with_contrast():
    pixels = images()
    blurred = np.stack([cv2.GaussianBlur(x, (0, 0), 1.5) for x in pixels])
    softer = sharpness(blurred)[:, :2] - sharpness(pixels)[:, :2]
    assert (softer < -1).all()
    paler = np.rint(pixels * 0.6 + 40).astype(np.uint8)
    assert sharpness(paler) == pytest.approx(sharpness(pixels), abs=0.15)


def test_blocks_show_where_they_lie():
    pixels = images(1, 96)
    code = cv2.imencode(".jpg", pixels[0], [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    coarse = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)[None]
    before, after = compression(pixels)[0], compression(coarse)[0]
    # Between the eighth column of a block and the first of the next.
    assert after[7] > 1.3 > 1.1 > before[7]
    assert after[15] > 1.3
    shifted = compression(np.roll(coarse, 3, axis=2))[0]
    assert shifted[:8].argmax() == 2
    steps = np.abs(np.diff(coarse[0].astype(float), axis=1))
    slow = np.array([steps[:, k::8].mean() for k in range(8)])
    assert after[:8] == pytest.approx(slow / slow.mean(), rel=1e-4)


@pytest.mark.parametrize("side", range(4))
def test_borders_and_corners_see_their_own_place(side):
    pixels = images()
    framed = pixels.copy()
    turned = np.rot90(framed, side, axes=(1, 2))
    turned[:, :, :3] = 0
    changed = np.abs(borders(framed) - borders(pixels)).reshape(5, 4, 8)
    assert changed.mean(axis=(0, 2)).argmax() == side
    assert (borders(framed).reshape(5, 4, 8)[:, side, 0] < borders(pixels)[:, side * 8]).all()
    marked = pixels.copy()
    rows, columns = divmod(side, 2)
    y, x = (4, 84)[rows], (4, 84)[columns]
    marked[:, y : y + 8, x : x + 8] = 255
    changed = np.abs(corners(marked) - corners(pixels)).reshape(5, 4, 39).sum(axis=(0, 2)) > 0
    assert changed.tolist() == [k == side for k in range(4)]


def test_symmetry_and_inversion_are_seen():
    half = images(4, 64)
    whole = np.concatenate([half[:, :, :32], half[:, :, 31::-1]], axis=2)
    assert symmetry(whole)[:, 0] == pytest.approx(np.ones(4), abs=1e-5)
    assert symmetry(255 - half)[:, 2:] == pytest.approx(-symmetry(half)[:, 2:], abs=1e-3)


def test_shapes_are_the_sums_of_gradients_by_direction():
    image = images(1, 64)[0]
    padded = np.pad(image.astype(float), 1, mode="edge")
    sums = np.zeros((8, 8, 9))
    for y in range(64):
        for x in range(64):
            down, across = (
                padded[y + 2, x + 1] - padded[y, x + 1],
                padded[y + 1, x + 2] - padded[y + 1, x],
            )
            angle = np.arctan2(down, across) / np.pi % 1.0 * 9
            low = int(angle) % 9
            strength = np.hypot(down, across)
            sums[y // 8, x // 8, low] += strength * (1 - angle % 1)
            sums[y // 8, x // 8, (low + 1) % 9] += strength * (angle % 1)
    blocks = [
        sums[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].ravel() for r in range(4) for c in range(4)
    ]
    slow = np.concatenate([b / np.sqrt((b**2).sum() + module._FLAT**2) for b in blocks])
    assert shapes(image[None])[0] == pytest.approx(slow, abs=1e-4)


def test_shapes_do_not_mind_brightness():
    pixels = (images() // 2 + 30).astype(np.uint8)
    assert shapes(pixels + 60) == pytest.approx(shapes(pixels), abs=1e-5)
    assert shapes(255 - pixels) == pytest.approx(shapes(pixels), abs=1e-4)


def test_a_frame_is_as_deep_as_it_says():
    assert frame(96, 1 / 8).sum() == 96**2 - 72**2
    assert frame(64, 0.0001).sum() == 4 * 63
