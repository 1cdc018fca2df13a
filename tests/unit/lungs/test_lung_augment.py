"""Alterations of radiographs: drawn first, applied to image and lungs alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.lungs.augment import ALTERATION, alter, draw_alterations

SIZE = 64


def nothing(count: int = 1) -> np.ndarray:
    """Return alterations that change nothing."""
    drawn = np.zeros(count, dtype=ALTERATION)
    drawn["zoom"] = drawn["gamma"] = 1
    drawn["contrast"] = 1
    return drawn


@pytest.fixture
def pixels(chest):
    return chest(0, SIZE)[0][None]


@pytest.fixture
def masks(chest):
    return chest(0, SIZE)[1][None]


def test_nothing_changes_nothing(pixels, masks):
    images, lungs = alter(pixels, masks, nothing())
    assert np.array_equal(images, pixels)
    assert np.array_equal(lungs, masks)


def test_a_flip_is_a_mirror(pixels, masks):
    drawn = nothing()
    drawn["flip"] = True
    images, lungs = alter(pixels, masks, drawn)
    assert np.array_equal(images[0], pixels[0, :, ::-1])
    assert np.array_equal(lungs[0], masks[0, :, ::-1])


def test_a_shift_is_a_roll_with_black_behind_it(pixels, masks):
    drawn = nothing()
    drawn["shift"] = (0.25, 0)
    images, lungs = alter(pixels, masks, drawn)
    step = SIZE // 4
    assert np.array_equal(images[0, :, step:], pixels[0, :, :-step])
    assert not images[0, :, :step].any()
    assert np.array_equal(lungs[0, :, step:], masks[0, :, :-step])
    drawn["extend"] = True
    images, _ = alter(pixels, masks, drawn)
    assert np.array_equal(images[0, :, 0], pixels[0, :, 0])


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_the_lungs_move_with_the_image(chest, seed):
    mask = chest(0, SIZE)[1]
    drawn = draw_alterations(np.zeros(1, int), np.random.default_rng(seed))
    for name in ("opacity", "veil", "blur", "noise", "jpeg", "line", "letter", "frame"):
        drawn[name] = 0
    drawn["gamma"] = drawn["contrast"] = 1
    drawn["brightness"] = 0
    drawn["extend"] = False
    images, lungs = alter(np.where(mask, 255, 0).astype(np.uint8)[None], mask[None], drawn)
    assert np.mean((images[0] >= 128) != lungs[0]) < 0.002


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_the_same_draw_gives_the_same_image_and_touches_no_input(chest, seed):
    image, mask = chest(1, SIZE)
    image.setflags(write=False)
    mask.setflags(write=False)
    drawn = draw_alterations(np.zeros(2, int), np.random.default_rng(seed))
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global generator is what is watched
    first = alter(image[None], mask[None], drawn)
    again = alter(image[None], mask[None], drawn)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert (first[0].dtype, first[1].dtype) == (np.uint8, np.bool_)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002 - as above


def test_draws_come_from_the_generator_alone():
    one, same, other = (
        draw_alterations(np.arange(6), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()
    assert one["position"].tolist() == list(range(6))


def test_opacities_brighten_the_lungs_and_leave_the_truth(pixels, masks):
    drawn = nothing()
    drawn["opacity"][0, 0] = (0.5, 0.1, 0.1, 0, 1)
    drawn["veil_level"] = 1
    images, lungs = alter(pixels, masks, drawn)
    gain = images[0].astype(int) - pixels[0]
    assert gain.min() >= -1  # rounding
    assert gain[masks[0]].max() > 60
    assert np.array_equal(lungs, masks)


def test_a_white_lung_is_white_on_its_side_only(pixels, masks):
    drawn = nothing()
    drawn["veil"] = (1, 0, 0)
    drawn["veil_level"] = 1
    images, _ = alter(pixels, masks, drawn)
    halves = np.arange(SIZE) < SIZE / 2
    left, right = masks[0] & halves, masks[0] & ~halves
    assert images[0][left].mean() > pixels[0][left].mean() + 60
    assert abs(images[0][right].mean() - pixels[0][right].mean()) < 2
    drawn["veil"] = (0, 1, 0.8)
    images, _ = alter(pixels, masks, drawn)
    upper = right & (np.arange(SIZE) < SIZE // 2)[:, None]
    assert abs(images[0][upper].mean() - pixels[0][upper].mean()) < 2


def test_a_border_covers_image_and_lungs(pixels, masks):
    drawn = nothing()
    drawn["frame"] = (0.5, 0, 0, 0.25)
    drawn["frame_level"] = 1
    images, lungs = alter(pixels, masks, drawn)
    assert (images[0, :, : SIZE // 2] == 255).all()
    assert (images[0, -SIZE // 4 :] == 255).all()
    assert not lungs[0, :, : SIZE // 2].any()
    assert np.array_equal(lungs[0, :40, SIZE // 2 :], masks[0, :40, SIZE // 2 :])


def test_an_image_without_lungs_can_be_altered(pixels, masks):
    drawn = draw_alterations(np.zeros(20, int), np.random.default_rng(0))
    _, lungs = alter(pixels, np.zeros_like(masks), drawn)
    assert not lungs.any()


def test_every_kind_of_alteration_is_drawn():
    drawn = draw_alterations(np.zeros(400, int), np.random.default_rng(0))
    for name in ALTERATION.names:
        if name != "position":
            assert len(np.unique(drawn[name])) > 1, name
    assert np.abs(drawn["degrees"]).max() <= 20
    assert (drawn["veil"][:, :2].max(1) > 0).mean() == pytest.approx(0.3, abs=0.07)


def test_calm_images_are_hardly_altered_and_the_rest_as_ever():
    wild = draw_alterations(np.arange(400), np.random.default_rng(3))
    some = draw_alterations(np.arange(400), np.random.default_rng(3), calm=0.75)
    same = np.array(
        [one.tobytes() == other.tobytes() for one, other in zip(wild, some, strict=True)]
    )
    assert same.mean() == pytest.approx(0.25, abs=0.07)
    calm = some[~same]
    assert np.abs(calm["degrees"]).max() <= 5
    assert np.abs(np.log(calm["zoom"])).max() < 0.25
    assert not calm["opacity"].any()
    assert not calm["frame"].any()
    assert np.array_equal(some["position"], wild["position"])
    assert np.array_equal(some["flip"], wild["flip"])
