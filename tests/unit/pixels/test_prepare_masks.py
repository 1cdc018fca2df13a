"""Masks stretched to their image, and the box around them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hurdles.pixels.prepare import box_of, grown, stretched

SIDES = st.integers(1, 300)


def disc(height: int, width: int) -> np.ndarray:
    """An ellipse that fills the middle of a frame of any shape."""
    rows = (np.arange(height) + 0.5) / height - 0.5
    columns = (np.arange(width) + 0.5) / width - 0.5
    return rows[:, None] ** 2 + columns**2 < 0.3**2


@given(st.integers(40, 300), st.integers(40, 300))
@settings(max_examples=25, deadline=None)
def test_a_stretched_ellipse_is_the_ellipse_of_that_frame(height: int, width: int) -> None:
    found, true = stretched(disc(256, 256), (height, width)), disc(height, width)
    assert found.shape == true.shape
    overlap = 2 * (found & true).sum() / (found.sum() + true.sum())
    assert overlap > 0.985


@given(SIDES, SIDES)
@settings(max_examples=25, deadline=None)
def test_all_and_nothing_stay_so(height: int, width: int) -> None:
    for value in (True, False):
        found = stretched(np.full((16, 16), value), (height, width))
        np.testing.assert_array_equal(found, np.full((height, width), value))


def test_bytes_and_truth_values_say_the_same() -> None:
    mask = disc(64, 64)
    stored = mask.astype(np.uint8) * 255
    for shape in ((64, 64), (100, 30)):
        np.testing.assert_array_equal(stretched(mask, shape), stretched(stored, shape))
    stored[0, 0] = 127
    assert not stretched(stored, (64, 64))[0, 0]


def test_a_mask_that_fits_is_copied() -> None:
    mask = disc(20, 30)
    found = stretched(mask, (20, 30))
    np.testing.assert_array_equal(found, mask)
    assert not np.shares_memory(found, mask)


def test_an_edge_is_no_staircase() -> None:
    """Eight times larger, a slanted edge keeps its slope: blocks would be off by half a step."""
    rows = np.arange(64)
    mask = rows[None, :] < 10 + rows[:, None] * 0.5
    large = stretched(mask, (512, 512))
    ends = large.sum(axis=1)[80:400]
    line = np.polyval(np.polyfit(np.arange(len(ends)), ends, 1), np.arange(len(ends)))
    blocks = np.kron(mask, np.ones((8, 8), bool)).sum(axis=1)[80:400]
    assert np.abs(ends - line).max() < 2 < np.abs(blocks - line).max()


@given(hnp.arrays(np.bool_, (17, 23)).filter(np.any), st.floats(0, 0.5))
@settings(max_examples=80, deadline=None)
def test_the_box_is_the_smallest_plus_the_margin(mask: np.ndarray, margin: float) -> None:
    places = np.argwhere(mask)
    for axis, (tight, wide) in enumerate(zip(box_of(mask), box_of(mask, margin), strict=True)):
        first, last = places[:, axis].min(), places[:, axis].max() + 1
        assert (tight.start, tight.stop) == (first, last)
        more = margin * (last - first)
        assert max(0, first - more - 1) <= wide.start <= max(0, first - more + 1e-6)
        end = mask.shape[axis]
        assert min(end, last + more - 1e-6) <= wide.stop <= min(end, last + more + 1)


@given(hnp.arrays(np.bool_, (15, 19)).filter(np.any), st.floats(0, 0.4))
@settings(max_examples=60, deadline=None)
def test_growing_takes_what_is_near_enough(mask: np.ndarray, margin: float) -> None:
    places = np.argwhere(mask)
    reach = margin * (np.ptp(places[:, 0]) + 1)
    expected = np.zeros(mask.shape, bool)
    for place in np.ndindex(mask.shape):
        nearest = np.sqrt(((places - place) ** 2).sum(axis=1)).min()
        expected[place] = nearest <= reach + 1e-3
    np.testing.assert_array_equal(grown(mask, margin), expected)


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no pixel; there is no box"):
        box_of(np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match="share of the box that is not negative"):
        box_of(np.ones((3, 3), bool), -0.1)
    for mask, margin in ((np.zeros((3, 3), bool), 0.1), (np.ones((3, 3), bool), -0.1)):
        with pytest.raises(ValueError, match=r"there is no box|not negative"):
            grown(mask, margin)
    with pytest.raises(ValueError, match="at least one row and one column"):
        stretched(np.ones((3, 3), bool), (0, 5))
