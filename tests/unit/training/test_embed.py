"""What the head of a network is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hurdles.errors import RecipeError
from hurdles.models import ModelSpec, build
from hurdles.training.machine import this_machine
from hurdles.training.prediction import embed, probabilities


@pytest.fixture(scope="module")
def network():
    spec = ModelSpec(architecture="baseline", labels=("a", "b"), size=32)
    return build(spec, seed=0).to(this_machine("float32").device)


PIXELS = np.random.default_rng(0).integers(0, 256, (7, 32, 32), dtype=np.uint8)


def test_the_head_turns_them_into_the_reported_probabilities(network):
    features = embed(network, PIXELS, batch_size=3)
    assert features.dtype == np.float32
    device = this_machine("float32").device
    with torch.inference_mode():
        network.eval()
        told = network.logits(torch.from_numpy(features).to(device)).double().softmax(1).cpu()
        network.train()
    assert told.numpy() == pytest.approx(probabilities(network, PIXELS), abs=1e-5)


def test_batches_and_mode_change_nothing(network):
    network.train()
    one, two = embed(network, PIXELS, batch_size=1), embed(network, PIXELS, batch_size=32)
    assert one == pytest.approx(two, abs=1e-5)
    assert network.training
    network.eval()
    embed(network, PIXELS)
    assert not network.training
    network.train()


def test_progress_counts_every_image_once(network):
    told = []

    class Listener:
        def start(self, stage, total): ...
        def advance(self, steps=1, note=""):
            told.append(steps)

        def say(self, line): ...

    embed(network, PIXELS, batch_size=3, progress=Listener())
    assert told == [3, 3, 1]


def test_no_image_and_another_size_are_refused(network):
    with pytest.raises(ValueError, match="no image to embed"):
        embed(network, PIXELS[:0])
    with pytest.raises(RecipeError, match=r"\(N, 1, 32, 32\)"):
        embed(network, PIXELS[:, :16, :16])
    assert network.training  # also after the error
