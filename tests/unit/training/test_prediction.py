"""From pixels to probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hurdles.models import ModelSpec, build
from hurdles.progress import Silent
from hurdles.training.machine import Machine
from hurdles.training.prediction import as_input, probabilities

CPU = Machine("cpu", torch.float32)


@pytest.fixture(scope="module")
def network():
    return build(ModelSpec("baseline", ("a", "b", "c"), 16), seed=0)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (37, 16, 16), dtype=np.uint8)


def test_rows_sum_to_one(network, pixels):
    said = probabilities(network, pixels, machine=CPU)
    assert said.shape == (37, 3)
    assert said.dtype == np.float64
    np.testing.assert_allclose(said.sum(1), 1, atol=1e-12)
    assert (said > 0).all()


@pytest.mark.parametrize("batch_size", [1, 5, 36, 37, 1000])
def test_the_batch_size_makes_no_difference(network, pixels, batch_size):
    whole = probabilities(network, pixels, machine=CPU, batch_size=37)
    parts = probabilities(network, pixels, machine=CPU, batch_size=batch_size)
    np.testing.assert_allclose(parts, whole, atol=2e-6)


def test_the_order_of_images_makes_no_difference(network, pixels):
    there = probabilities(network, pixels, machine=CPU)
    back = probabilities(network, pixels[::-1], machine=CPU)[::-1]
    np.testing.assert_allclose(back, there, atol=2e-6)


def test_no_images(network):
    said = probabilities(network, np.zeros((0, 16, 16), np.uint8), machine=CPU)
    assert said.shape == (0, 3)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_comes_back(network, pixels, training):
    network.train(training)
    one, two = (probabilities(network, pixels, machine=CPU) for _ in range(2))
    assert network.training is training
    np.testing.assert_array_equal(one, two)


def test_the_mode_comes_back_also_after_an_error(network):
    network.train()
    with pytest.raises(Exception, match=r"."):
        probabilities(network, np.zeros((2, 5, 5), np.uint8), machine=CPU)
    assert network.training


def test_every_image_is_reported(network, pixels):
    class Counting(Silent):
        seen = 0

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.seen += steps

    listener = Counting()
    probabilities(network, pixels, machine=CPU, batch_size=10, progress=listener)
    assert listener.seen == 37


def test_input_is_grey_within_zero_and_one_and_a_copy():
    pixels = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)
    pixels.setflags(write=False)
    made = as_input(pixels)
    assert made.shape == (1, 1, 2, 2)
    np.testing.assert_allclose(made[0, 0], [[0, 1], [0.2, 0.4]], rtol=1e-6)
    made.zero_()
    assert pixels.max() == 255
