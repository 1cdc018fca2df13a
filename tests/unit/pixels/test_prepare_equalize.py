"""Grey levels: the fast ways against slow ones, and what must hold for any image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hurdles.pixels.prepare import clahe, equalize, scale_to

BYTES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12))
SHAPE = (9, 7)
PIXELS = hnp.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
MASKS = hnp.arrays(np.bool_, SHAPE).filter(np.any)


def decoded(array: np.ndarray) -> np.ndarray:
    return array / np.float32(255)


def slowly_equalized(array: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Count, pixel by pixel, how many are not brighter; those of the darkest level do not count."""
    levels = [int(v) for v in array[counted]]
    darkest = min(levels)
    others = [v for v in levels if v != darkest]
    result = np.zeros(array.shape)
    for place, value in np.ndenumerate(array):
        result[place] = sum(v <= value for v in others) / len(others)
    return result


@given(BYTES, st.data())
@settings(max_examples=80, deadline=None)
def test_equalizing_agrees_with_counting(array: np.ndarray, data: st.DataObject) -> None:
    mask = data.draw(hnp.arrays(np.bool_, array.shape))
    for counted in (mask, None):
        which = np.ones(array.shape, bool) if counted is None else counted
        if not which.any() or len(np.unique(array[which])) == 1:
            continue
        expected = slowly_equalized(array, which)
        np.testing.assert_allclose(equalize(decoded(array), counted), expected, atol=1e-6)


@given(BYTES)
@settings(max_examples=60, deadline=None)
def test_eight_bits_give_what_opencv_gives(array: np.ndarray) -> None:
    ours = np.rint(equalize(decoded(array)) * 255)
    assert np.abs(ours - cv2.equalizeHist(array)).max() <= (1 if len(np.unique(array)) > 1 else 0)


@given(PIXELS, MASKS)
@settings(max_examples=60, deadline=None)
def test_equalizing_and_scaling_keep_the_order_and_the_range(
    pixels: np.ndarray, mask: np.ndarray
) -> None:
    order = np.argsort(pixels, axis=None)
    for result in (equalize(pixels), equalize(pixels, mask), scale_to(pixels, mask)):
        assert result.dtype == np.float32
        assert result.min() >= 0
        assert result.max() <= 1
        assert (np.diff(result.ravel()[order]) >= 0).all()


@given(PIXELS, PIXELS, MASKS)
@settings(max_examples=40, deadline=None)
def test_pixels_that_are_not_counted_change_nothing(
    pixels: np.ndarray, others: np.ndarray, mask: np.ndarray
) -> None:
    mixed = np.where(mask, pixels, others)
    for function in (equalize, scale_to):
        np.testing.assert_array_equal(function(pixels, mask)[mask], function(mixed, mask)[mask])


def test_a_histogram_becomes_flat_whatever_it_was() -> None:
    draws = np.random.default_rng(0).beta(2, 9, (300, 300)).astype(np.float32)
    share, _ = np.histogram(equalize(draws), bins=20, range=(0, 1))
    np.testing.assert_allclose(share / draws.size, 1 / 20, rtol=0.02)


@given(st.floats(0.25, 4), st.floats(0.3, 1))
@settings(max_examples=30, deadline=None)
def test_a_vendors_tone_curve_is_undone(gamma: float, contrast: float) -> None:
    array = np.random.default_rng(1).integers(20, 236, (40, 40)) / 255
    curved = (contrast * array**gamma).astype(np.float32)
    plain = equalize(array.astype(np.float32))
    np.testing.assert_allclose(equalize(curved), plain, atol=0.03)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_one_level_stays_as_it_is(value: float) -> None:
    flat = np.full((5, 6), value, np.float32)
    everywhere = np.ones(flat.shape, bool)
    for result in (equalize(flat), equalize(flat, everywhere), scale_to(flat, everywhere)):
        np.testing.assert_array_equal(result, flat)
        assert not np.shares_memory(result, flat)


def test_scaling_passes_over_a_few_extreme_pixels() -> None:
    pixels = np.linspace(0.3, 0.5, 1000, dtype=np.float32).reshape(20, 50)
    marked = pixels.copy()
    marked[3, 7] = 1.0
    whole = np.ones(pixels.shape, bool)
    assert np.abs(scale_to(marked, whole) - scale_to(pixels, whole))[marked < 1].max() < 0.01
    extremes = scale_to(marked, whole, percentiles=(0, 100))
    assert extremes[marked < 1].max() < 0.3  # what the percentiles are there against


def test_scaling_agrees_with_sorting() -> None:
    pixels = np.random.default_rng(2).random((30, 30), dtype=np.float32)
    mask = pixels > 0.2
    inside = np.sort(pixels[mask])
    low, high = (inside[round(q * (len(inside) - 1))] for q in (0.005, 0.995))
    expected = np.clip((pixels - low) / (high - low), 0, 1)
    np.testing.assert_allclose(scale_to(pixels, mask), expected, atol=0.005)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
@settings(max_examples=40, deadline=None)
def test_clahe_stays_in_range_and_is_the_same_each_time(array: np.ndarray) -> None:
    pixels = decoded(array)
    result = clahe(pixels)
    assert (result.shape, result.dtype) == (pixels.shape, np.float32)
    assert result.min() >= 0
    assert result.max() <= 1
    np.testing.assert_array_equal(result, clahe(pixels))


def test_clahe_with_one_tile_and_no_limit_is_equalization() -> None:
    array = np.random.default_rng(3).beta(2, 7, (64, 64)).astype(np.float32)
    local, whole = clahe(array, limit=1e6, tiles=1), equalize(array)
    assert np.abs(local - whole).max() < 0.05


def test_clahe_brings_out_what_is_faint_and_the_limit_tames_it() -> None:
    rows = np.linspace(0.1, 0.9, 128, dtype=np.float32)[:, None]
    noise = np.random.default_rng(4).normal(0, 0.02, (128, 128)).astype(np.float32)
    pixels = np.clip(rows + noise, 0, 1)

    def detail(image: np.ndarray) -> float:
        return float((image - cv2.blur(image, (9, 9)))[8:-8, 8:-8].std())

    assert detail(pixels) < 0.99 * detail(clahe(pixels)) < 0.7 * detail(clahe(pixels, limit=40))


def test_what_cannot_be_done_is_refused() -> None:
    pixels = np.zeros((4, 4), np.float32)
    for function in (equalize, scale_to):
        with pytest.raises(ValueError, match="the mask holds no pixel"):
            function(pixels, np.zeros((4, 4), bool))
        with pytest.raises(ValueError, match=r"shape \(2, 4\) and the image \(4, 4\)"):
            function(pixels, np.ones((2, 4), bool))
    for options in ({"limit": 0.0}, {"tiles": 0}):
        with pytest.raises(ValueError, match="positive limit and tiles"):
            clahe(pixels, **options)
