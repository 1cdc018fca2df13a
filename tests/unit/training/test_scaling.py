"""Mean and standard deviation of the training images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.errors import RecipeError
from hurdles.training import loop as scaling
from hurdles.training.loop import pixel_scaling


@given(seed=st.integers(0, 99), n=st.integers(1, 9), chunk=st.integers(1, 5))
def test_it_is_that_of_the_pixels(seed, n, chunk):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (12, 6, 6), dtype=np.uint8)
    chosen = rng.permutation(12)[:n]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "_CHUNK", chunk)
        found = pixel_scaling(pixels, chosen)
    slow = pixels[chosen].astype(np.float64) / 255
    assert found == pytest.approx((slow.mean(), slow.std()), rel=1e-12)


def test_order_and_chunks_change_no_bit(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8)
    one = pixel_scaling(pixels, np.arange(50))
    monkeypatch.setattr(scaling, "_CHUNK", 7)
    assert pixel_scaling(pixels, np.arange(50)[::-1]) == one


def test_a_million_bright_pixels_overflow_nothing():
    pixels = np.full((4, 512, 512), 254, dtype=np.uint8)
    pixels[:, ::2] = 255
    assert pixel_scaling(pixels, np.arange(4)) == pytest.approx((254.5 / 255, 0.5 / 255), rel=1e-12)


def test_images_without_any_contrast_are_refused():
    with pytest.raises(RecipeError, match=r"all 3 training images are of one .* gray.*'none'"):
        pixel_scaling(np.full((5, 4, 4), 9, dtype=np.uint8), np.array([0, 1, 4]))
