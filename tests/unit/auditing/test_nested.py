"""Images with parts taken away: what is gone cannot be seen any more."""

from __future__ import annotations

import numpy as np
import pytest

from hurdles.auditing.nested import (
    blankable,
    lungs_box,
    only_edges,
    only_lungs,
    outside_box,
    without_lungs,
)
from hurdles.errors import HurdleError
from hurdles.pixels.prepare import CROP_MARGIN, box_of, grown


@pytest.fixture
def chest():
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 255, (3, 80, 80), dtype=np.uint8)
    masks = np.zeros((3, 80, 80), dtype=bool)
    masks[:, 20:60, 15:35] = masks[:, 22:58, 45:65] = True
    return pixels, masks


@pytest.mark.parametrize("alter", [without_lungs, outside_box])
def test_the_lungs_leave_no_trace(chest, alter):
    pixels, masks = chest
    other = np.where(masks, 255 - pixels, pixels)
    assert np.array_equal(alter(pixels, masks), alter(other, masks))
    assert not np.array_equal(alter(pixels, masks)[0], alter(255 - pixels, masks)[0])


@pytest.mark.parametrize("alter", [only_lungs, only_edges])
def test_what_is_around_the_lungs_leaves_no_trace(chest, alter):
    pixels, masks = chest
    kept = masks if alter is only_lungs else ~masks
    other = np.where(kept, pixels, 255 - pixels)
    args = (masks,) if alter is only_lungs else ()
    assert np.array_equal(alter(pixels, *args), alter(other, *args))


def test_only_what_is_named_is_blank(chest):
    pixels, masks = chest
    away = ~grown(masks[0], 0.05)
    assert np.array_equal(without_lungs(pixels, masks)[0][away], pixels[0][away])
    assert len(np.unique(without_lungs(pixels, masks)[0][~away])) == 1
    box = np.zeros_like(masks[0])
    box[box_of(masks[0], CROP_MARGIN)] = True
    found = outside_box(pixels, masks)[0]
    assert np.array_equal(found[~box], pixels[0][~box])
    assert np.unique(found[box]).tolist() == [round(pixels[0][~box].mean())]
    assert (only_lungs(pixels, masks)[0][~masks[0]] == 0).all()


def test_a_box_that_is_the_whole_image_leaves_mid_grey(chest):
    pixels, masks = chest
    whole = masks.copy()
    whole[:, 0, 0] = whole[:, -1, -1] = True
    assert np.unique(outside_box(pixels, whole)).tolist() == [128]
    assert np.array_equal(lungs_box(pixels, whole), pixels)


def test_images_that_cannot_be_blanked_are_known_and_refused(chest):
    pixels, masks = chest
    masks[0], masks[1] = False, True
    masks[1, 40, 40] = False  # the margin closes this hole
    assert blankable(masks).tolist() == [False, False, True]
    with pytest.raises(HurdleError, match=r"row 0 of 3: the lungs were not found"):
        without_lungs(pixels, masks)
    with pytest.raises(HurdleError, match=r"row 0 of 3: the mask holds no pixel"):
        outside_box(pixels, masks)
