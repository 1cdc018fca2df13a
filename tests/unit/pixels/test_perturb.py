"""Perturbations: nothing at amount 0, nothing wraps, masks move along, more is more."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.phantom import phantom_cohort
from hurdles.pixels.perturb import PERTURBATIONS

COHORT = phantom_cohort(6, seed=3, size=96)
IMAGES, MASKS = COHORT.pixels[:8], COHORT.masks[:8] > 127
NAMES = PERTURBATIONS.names()
MOVING = [name for name in NAMES if PERTURBATIONS.get(name).moves]


def change(name: str, amount: float) -> float:
    made = PERTURBATIONS.get(name).apply(IMAGES, amount).astype(float)
    return float(np.abs(made - IMAGES).mean())


def test_all_that_the_issue_asks_for_is_there():
    wanted = "window gamma blur noise jpeg rotation flip crop resize shift marker border inversion"
    assert set(NAMES) == set(wanted.split())
    assert {n for n in NAMES if not PERTURBATIONS.get(n).judged} == {"flip", "inversion"}
    assert set(MOVING) == {"rotation", "flip", "crop", "shift"}


@pytest.mark.parametrize("name", NAMES)
def test_an_amount_of_zero_changes_nothing(name):
    one = PERTURBATIONS.get(name)
    made = one.apply(IMAGES, 0)
    np.testing.assert_array_equal(made, IMAGES)
    assert not np.shares_memory(made, IMAGES)
    np.testing.assert_array_equal(one.apply_mask(MASKS, 0), MASKS)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_deterministic_bytes_and_leaves_its_argument_alone(name):
    one = PERTURBATIONS.get(name)
    frozen = IMAGES.copy()
    frozen.flags.writeable = False  # as a memory map is
    made = one.apply(frozen, one.moderate, seed=4)
    assert made.dtype == np.uint8
    assert made.shape == IMAGES.shape
    np.testing.assert_array_equal(made, one.apply(frozen, one.moderate, seed=4))
    np.testing.assert_array_equal(made[:3], one.apply(frozen[:3], one.moderate, seed=4))
    assert (made != IMAGES).any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_ladder_rises_and_so_does_what_it_changes(name):
    ladder = PERTURBATIONS.get(name).ladder
    assert list(ladder) == sorted(ladder)
    assert 0 < ladder[0] <= ladder[-1] <= PERTURBATIONS.get(name).most
    changes = [change(name, amount) for amount in ladder]
    assert all(a < b for a, b in pairwise(changes))


@pytest.mark.parametrize("name", NAMES)
def test_words_name_the_amount(name):
    one = PERTURBATIONS.get(name)
    assert "{" not in one.words(one.moderate)
    assert len(one.ladder) == 1 or f"{one.moderate:g}" in one.words(one.moderate)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "flip"])
@pytest.mark.parametrize("edge", [np.s_[:, :2], np.s_[:, -2:], np.s_[:2, :], np.s_[-2:, :]])
def test_nothing_wraps_around(name, edge):
    """What lies at one edge alone never shows at the opposite one."""
    one = PERTURBATIONS.get(name)
    images = np.zeros((8, 64, 64), np.uint8)
    images[(slice(None), *edge)] = 255
    blank = np.zeros_like(images)
    made, floor = (one.apply(p, one.ladder[-1]).astype(int) for p in (images, blank))
    across = tuple(slice(None) if s == slice(None) else _opposite(s) for s in edge)
    np.testing.assert_array_equal(
        made[(slice(None), *across)] > 64, floor[(slice(None), *across)] > 64
    )


def _opposite(edge: slice) -> slice:
    return slice(-2, None) if edge.start is None else slice(None, 2)


@pytest.mark.parametrize("name", MOVING)
def test_masks_move_along(name):
    """A mask painted into its image and moved there lies where the moved mask lies."""
    one = PERTURBATIONS.get(name)
    painted = np.where(MASKS, 255, 0).astype(np.uint8)
    moved = one.apply_mask(MASKS, one.ladder[-1], seed=2)
    np.testing.assert_array_equal(one.apply(painted, one.ladder[-1], seed=2) > 127, moved)
    assert (moved != MASKS).any(axis=(1, 2)).all()
    still = PERTURBATIONS.get("blur").apply_mask(MASKS, 1.0)
    np.testing.assert_array_equal(still, MASKS)


def test_moved_lungs_are_as_dark_as_they_were():
    """Against masks that stay behind: the grey below the mask would not be the lungs'."""
    one = PERTURBATIONS.get("shift")
    made, moved = one.apply(IMAGES, 0.1, seed=1), one.apply_mask(MASKS, 0.1, seed=1)
    for before, after, here, there in zip(IMAGES, made, MASKS, moved, strict=True):
        along, left = after[there].mean(), after[here].mean()
        assert abs(along - before[here].mean()) < abs(left - before[here].mean())


def test_both_directions_occur():
    many = np.repeat(IMAGES[:1], 30, axis=0)
    for name in ("gamma", "window"):
        one = PERTURBATIONS.get(name)
        brighter = (one.apply(many, one.moderate).astype(float) - many).mean(axis=(1, 2))
        assert brighter.min() < -3 < 3 < brighter.max()
    assert len(np.unique(PERTURBATIONS.get("rotation").apply(many, 5.0), axis=0)) == 2


@given(level=st.integers(0, 255), amount=st.floats(0.01, 0.5), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_grey_curves_are_monotone_and_moves_keep_flat_images_flat(level, amount, seed):
    ramp = np.arange(64 * 64, dtype=np.int64) // 16
    images = ramp.astype(np.uint8).reshape(1, 64, 64)
    for name in ("window", "gamma"):
        made = PERTURBATIONS.get(name).apply(images, amount, seed=seed).ravel().astype(int)
        assert (np.diff(made) >= 0).all()
    flat = np.full((1, 64, 64), level, np.uint8)
    for name in ("rotation", "shift", "crop", "flip", "blur", "resize"):
        np.testing.assert_array_equal(PERTURBATIONS.get(name).apply(flat, amount, seed=seed), flat)


def test_blur_means_the_same_at_every_size():
    small = np.zeros((1, 112, 112), np.uint8)
    small[:, 56:] = 255
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    one = PERTURBATIONS.get("blur")
    profiles = [one.apply(images, 2.0)[0, :, 0] for images in (small, large)]
    grey = [((p > 20) & (p < 235)).sum() for p in profiles]
    assert grey[1] == pytest.approx(2 * grey[0], abs=2)


@pytest.mark.parametrize("amount", [-0.1, 1.01])
def test_an_amount_out_of_range_is_refused(amount):
    with pytest.raises(ValueError, match=r"out of range.*give 0 to 1"):
        PERTURBATIONS.get("flip").apply(IMAGES, amount)
