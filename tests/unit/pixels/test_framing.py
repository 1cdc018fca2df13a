"""Framing: squares of what is not square, of images and of their masks alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.pixels.framing import Framing, Resize, framed, resized
from hurdles.pixels.prepare import Preparation, framed_mask, resize_square

SIDES = st.integers(1, 90)


@given(SIDES, SIDES, st.sampled_from(Framing), st.floats(0.05, 1))
def test_a_frame_holds_the_middle(height, width, framing, fraction):
    y, x = np.mgrid[:height, :width].astype(float)
    places = np.stack([y - (height - 1) / 2, x - (width - 1) / 2])
    shapes = {framed(each, framing, fraction).shape for each in places}
    (shape,) = shapes
    if framing is not Framing.STRETCH:
        assert shape[0] == shape[1]
    if framing is not Framing.PAD:  # the middle stays within half a pixel and a half
        for each in places:
            assert abs(framed(each, framing, fraction).mean()) <= 1
    side = {"crop": min(height, width), "pad": max(height, width)}.get(framing.value, height)
    assert abs(shape[0] - side * fraction) <= max(1, 0.5 + 1e-9)


def test_padding_is_black_and_keeps_every_pixel():
    image = np.arange(1, 13, dtype=np.float32).reshape(2, 6)
    square = framed(image, "pad")
    assert square.shape == (6, 6)
    np.testing.assert_array_equal(square[2:4], image)
    assert square.sum() == image.sum()


def test_a_crop_is_that_of_a_resize_and_a_center_crop():
    """Resize(256) of the shorter side and CenterCrop(224), as torchvision has them, by OpenCV."""
    import cv2

    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.random((512, 640)).astype(np.float32), (0, 0), 12)
    resized = cv2.resize(image, (320, 256), interpolation=cv2.INTER_AREA)
    theirs = resized[16:240, 48:272]
    ours = resize_square(framed(image, "crop", 0.875), 224)
    assert np.abs(ours - theirs).max() < 0.01


def test_a_mask_is_framed_as_its_image_is():
    image = np.zeros((200, 300), dtype=np.float32)
    image[60:120, 90:150] = 1
    whole = resize_square(image, 256) > 0.5
    for framing in Framing:
        for fraction in (1.0, 0.875):
            prepare = Preparation(64, framing=framing, fraction=fraction)
            square = prepare(image) > 127
            mask = framed_mask(whole, image.shape, framing, fraction, 64)
            assert (square & mask).sum() / (square | mask).sum() > 0.9


def test_keys_of_the_whole_image_stay_and_others_differ():
    assert Preparation(224).key == "raw-224px-v1"
    assert set(Preparation(224).description) == {"name", "size", "version"}
    ways = [(f, x) for f in Framing for x in (1.0, 0.875)]
    keys = {Preparation(224, framing=f, fraction=x).key for f, x in ways}
    assert len(keys) == len(ways)


@pytest.mark.parametrize("size", [40, 97, 300])
def test_filters_are_those_of_the_libraries(size):
    """Pillow on floats, torch's own (antialiased or not), OpenCV: whoever made the model."""
    import torch
    from torch.nn.functional import interpolate

    image = np.random.default_rng(0).random((130, 170)).astype(np.float32)
    x = torch.from_numpy(image)[None, None]
    theirs = {
        Resize.BILINEAR: interpolate(x, (size, size), mode="bilinear", antialias=True),
        Resize.SHARP: interpolate(x, (size, size), mode="bilinear"),
        Resize.NEAREST: interpolate(x, (size, size), mode="nearest-exact"),
    }
    for way, expected in theirs.items():
        np.testing.assert_allclose(resized(image, way, size), expected[0, 0], atol=2e-5)
    assert not np.allclose(
        resized(image, Resize.BICUBIC, size), resized(image, Resize.BILINEAR, size)
    )


def test_a_filter_is_part_of_the_key():
    keys = {Preparation(224, resize=way).key for way in Resize}
    assert len(keys) == len(Resize)
    assert "raw-224px-v1" in keys
    image = np.random.default_rng(0).random((90, 120)).astype(np.float32)
    assert len({Preparation(32, resize=way)(image).tobytes() for way in Resize}) == len(Resize)


def test_a_share_that_is_none_is_refused():
    for fraction in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="fraction is"):
            framed(np.zeros((4, 4)), "crop", fraction)
