"""What is minimised, beside slow and obvious twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from hurdles.recipe.recipe import TrainingSection
from hurdles.training.losses import Objective, balanced_weights, focal_loss

LOGITS = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)) * 3
TARGETS = torch.arange(40) % 3


def slow_focal(logits: list[float], target: int, gamma: float) -> float:
    """Equation 4 of Lin et al. 2017, in double precision."""
    total = sum(math.exp(x) for x in logits)
    p = math.exp(logits[target]) / total
    return -((1 - p) ** gamma) * math.log(p)


def objective(counts=(1, 1, 1), **training) -> Objective:
    return Objective(TrainingSection(**training), np.array(counts), "cpu")


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_agrees_with_the_slow_twin(gamma):
    found = focal_loss(LOGITS, TARGETS, gamma=gamma).tolist()
    slow = [
        slow_focal(row, t, gamma) for row, t in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)
    ]
    assert found == pytest.approx(slow, rel=1e-4, abs=1e-7)


@given(
    z=st.lists(st.floats(-8, 8), min_size=1, max_size=20),
    gamma=st.floats(0, 5),
    data=st.data(),
)
def test_two_classes_give_the_binary_focal_loss_of_seed_000(z, gamma, data):
    """Its loss: the mean of (1 - pt)^gamma times binary cross-entropy of a sigmoid."""
    truth = data.draw(st.lists(st.integers(0, 1), min_size=len(z), max_size=len(z)))
    output, target = torch.tensor(z, dtype=torch.float64).sigmoid(), torch.tensor(truth).double()
    entropy = functional.binary_cross_entropy(output, target, reduction="none")
    right = target * output + (1 - target) * (1 - output)
    seed = ((1 - right) ** gamma * entropy).mean().item()
    logits = torch.tensor([[0.0, x] for x in z], dtype=torch.float64)
    assert focal_loss(logits, torch.tensor(truth), gamma=gamma).mean().item() == pytest.approx(
        seed, rel=1e-9
    )


def test_without_gamma_it_is_cross_entropy():
    entropy = functional.cross_entropy(LOGITS, TARGETS, reduction="none")
    assert torch.equal(focal_loss(LOGITS, TARGETS, gamma=0.0), entropy)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("size", [1.0, 50.0, 1e4])
def test_certain_answers_have_finite_gradients(gamma, size):
    logits = torch.tensor([[size, -size], [size, -size]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 1]), gamma=gamma).sum().backward()
    assert torch.isfinite(logits.grad).all()
    if size > 1:  # right is left alone; wrong pulls with full force
        assert logits.grad.abs().sum(1).tolist() == pytest.approx([0.0, 2.0], abs=1e-6)


def test_the_gradient_agrees_with_finite_differences():
    logits = LOGITS[:6].double().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, TARGETS[:6], gamma=2.0), logits)


class TestWeights:
    @given(st.lists(st.integers(0, 500), min_size=1, max_size=6).filter(any))
    def test_classes_weigh_alike_and_images_one_on_average(self, counts):
        counts = np.array(counts)
        weights = balanced_weights(counts)
        present = counts > 0
        total = (weights * counts)[present]
        assert total == pytest.approx([total[0]] * len(total))
        assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
        assert (weights[~present] == 1).all()

    def test_they_multiply_each_images_loss(self):
        counts = (5, 20, 15)
        weights = balanced_weights(np.array(counts))
        for loss, gamma in (("cross-entropy", 0.0), ("focal", 2.0)):
            made = objective(counts, class_weights="balanced", loss=loss)
            slow = np.mean(
                [
                    weights[t] * slow_focal(row, t, gamma)
                    for row, t in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)
                ]
            )
            assert made.of_logits(LOGITS, TARGETS).item() == pytest.approx(slow, rel=1e-5)

    def test_equal_classes_are_not_weighted(self):
        plain, weighted = objective((7, 7, 7)), objective((7, 7, 7), class_weights="balanced")
        assert weighted.of_logits(LOGITS, TARGETS).item() == pytest.approx(
            plain.of_logits(LOGITS, TARGETS).item(), rel=1e-6
        )


class TestObjective:
    def test_the_default_is_torchs_own_to_the_last_bit(self):
        found = objective(gamma=3.0).of_logits(LOGITS, TARGETS)
        assert torch.equal(found, functional.cross_entropy(LOGITS, TARGETS))

    @pytest.mark.parametrize("weights", ["none", "balanced"])
    @pytest.mark.parametrize("loss", ["cross-entropy", "focal"])
    def test_probabilities_give_what_logits_give(self, loss, weights):
        made = objective((3, 30, 7), loss=loss, class_weights=weights, gamma=1.5)
        probability = LOGITS.double().softmax(1).numpy()
        assert made.of_probabilities(probability, TARGETS.numpy()) == pytest.approx(
            made.of_logits(LOGITS, TARGETS).item(), rel=1e-5
        )

    def test_a_probability_of_zero_is_a_large_loss_not_an_infinite_one(self):
        made = objective(loss="focal")
        said = made.of_probabilities(np.array([[1.0, 0.0, 0.0]]), np.array([1]))
        assert 20 < said < 30


def slow_smoothed(logits: list[float], target: int, smoothing: float) -> float:
    """Cross-entropy with a truth of which a share is spread over all classes."""
    total = sum(math.exp(x) for x in logits)
    truth = [smoothing / len(logits)] * len(logits)
    truth[target] += 1 - smoothing
    return -sum(t * math.log(math.exp(x) / total) for t, x in zip(truth, logits, strict=True))


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_label_smoothing_agrees_with_the_slow_twin(weights):
    made = objective((2, 1, 1), label_smoothing=0.1, class_weights=weights)
    slow = [
        slow_smoothed(r, t, 0.1) for r, t in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)
    ]
    if weights == "balanced":
        slow = (balanced_weights(np.array((2, 1, 1)))[TARGETS.numpy()] * slow).tolist()
    assert made.of_images(LOGITS, TARGETS).tolist() == pytest.approx(slow, rel=1e-4)
    assert float(made.of_logits(LOGITS, TARGETS)) == pytest.approx(np.mean(slow), rel=1e-5)
    probability = LOGITS.double().softmax(1).numpy()
    assert made.of_probabilities(probability, TARGETS.numpy()) == pytest.approx(
        np.mean(slow), rel=1e-5
    )


def test_focal_loss_is_not_smoothed():
    with pytest.raises(ValueError, match="label_smoothing goes with loss = 'cross-entropy' only"):
        TrainingSection(loss="focal", label_smoothing=0.1)
