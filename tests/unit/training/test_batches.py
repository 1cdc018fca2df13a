"""Batches altered on a device, held against OpenCV's, which alters image by image."""

import cv2
import numpy as np
import pytest
import torch

from hurdles.pixels.perturb import DRAW, apply_draws, draw
from hurdles.training.batches import DeviceBatches, batches_of
from hurdles.training.growth import taken
from hurdles.training.machine import Machine

SIZE = 64


@pytest.fixture(scope="module")
def pixels():
    noise = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE), dtype=np.uint8)
    return np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in noise])


def both(pixels, draws):
    positions = np.arange(len(pixels))
    device = DeviceBatches(pixels, positions, torch.device("cpu"))(draws, SIZE)
    assert device.shape == (len(draws), 1, SIZE, SIZE)
    assert device.dtype == torch.float32
    return device.numpy()[:, 0] * 255, apply_draws(pixels, draws).astype(float)


def drawn(**ranges):
    rng = np.random.default_rng(1)
    settings = {"flip": 0.0, "rotation": 0.0, "degrees": 0.0, **ranges}
    return draw(rng.integers(0, 6, 40), rng, **settings)


@pytest.mark.parametrize(
    "ranges",
    [
        {"flip": 0.5},
        {"rotation": 0.7, "degrees": 15.0},
        {"shift": 0.1},
        {"scale": 1.2},
        {"contrast": 0.3},
        {"flip": 0.5, "rotation": 0.5, "degrees": 15, "shift": 0.1, "scale": 1.2, "contrast": 0.2},
    ],
    ids=["flip", "rotation", "shift", "scale", "contrast", "all"],
)
def test_a_batch_on_a_device_is_opencvs_within_gray_levels(pixels, ranges):
    ours, slow = both(pixels, drawn(**ranges))
    off = np.abs(ours - slow)
    assert off.max() <= 3  # OpenCV places a sample on a grid of 1/32 of a pixel
    assert off.mean() < 0.25


def test_what_moves_nothing_changes_no_bit(pixels):
    draws = np.zeros(6, dtype=DRAW)
    draws["position"] = np.arange(6)
    draws["flip"][::2] = True
    draws["degrees"][3] = 10  # beside an image that is turned, the others stay as they are
    ours, slow = both(pixels, draws)
    kept = [0, 1, 2, 4, 5]
    assert np.array_equal(ours[kept].round(4), slow[kept])


def test_a_shift_brings_in_the_mirrored_image_and_a_turn_the_outermost_pixel():
    ramp = np.tile(np.arange(0, 4 * SIZE, 4, dtype=np.uint8), (1, SIZE, 1))
    draws = np.zeros(2, dtype=DRAW)
    draws["shift_x"][0] = 8 / SIZE
    draws["degrees"][1] = 45
    ours, slow = both(ramp, draws)
    assert ours[0, 5, :8].tolist() == [32, 28, 24, 20, 16, 12, 8, 4]
    assert np.abs(ours - slow).max() <= 3


def test_only_the_given_positions_travel(pixels):
    made = DeviceBatches(pixels, np.array([4, 2, 4]), torch.device("cpu"))
    draws = np.zeros(2, dtype=DRAW)
    draws["position"] = [4, 2]
    assert np.array_equal((made(draws, SIZE).numpy()[:, 0] * 255).round(), pixels[[4, 2]])
    assert len(made._pixels) == 2


def test_a_processor_takes_opencvs_bits(pixels):
    draws = drawn(rotation=1.0, degrees=15.0)
    made = batches_of(pixels, np.arange(6), Machine("cpu", torch.float32))(draws, SIZE)
    expected = torch.from_numpy(apply_draws(pixels, draws)).float() / 255
    assert torch.equal(made[:, 0], expected)


def test_smaller_images_are_opencvs_within_gray_levels(pixels):
    draws = drawn(flip=0.5, rotation=0.5, degrees=15.0)
    made = DeviceBatches(pixels, np.arange(6), torch.device("cpu"))(draws, 40)
    off = np.abs(made.numpy()[:, 0] * 255 - taken(pixels, draws, 40))
    assert made.shape == (40, 1, 40, 40)
    assert off.max() <= 4
    assert off.mean() < 0.3
