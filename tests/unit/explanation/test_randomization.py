"""The model-randomization check: an edge detector must fail it, what reads the weights must not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.explanation.heatmap import Heatmap
from hurdles.explanation.methods import METHODS, explain, methods
from hurdles.explanation.randomization import (
    MAX_RANK_CORRELATION,
    check_sanity,
    random_maps,
    randomized,
    similarity,
)
from hurdles.models import ModelSpec, build

SIZE = 48
SPEC = ModelSpec("small", ("a", "b"), size=SIZE)


def network(seed=2):
    """A network whose normalisations have seen images, so that there is something to scatter."""
    module = build(SPEC, seed=seed)
    with torch.no_grad():
        module(torch.rand(8, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)))
    return module.eval()


def images(n=4):
    """Squares of one grey on another: they have edges."""
    rng = np.random.default_rng(0)
    pixels = np.full((n, SIZE, SIZE), 60, dtype="uint8")
    for image in pixels:
        for _ in range(3):
            row, column = rng.integers(0, SIZE - 16, 2)
            image[row : row + 16, column : column + 16] = rng.integers(100, 250)
    return pixels


def edges(module, x, target):
    """An attribution that ignores the network."""
    steep = torch.zeros_like(x)
    steep[..., 1:, :] += (x[..., 1:, :] - x[..., :-1, :]).abs()
    steep[..., 1:] += (x[..., 1:] - x[..., :-1]).abs()
    return steep[:, 0]


def checked(method, *, draws=3):
    module, pixels = network(), images()
    maps = explain(module, SPEC, pixels, images="wxyz", target="a", method=method)
    return check_sanity(maps, random_maps(module, SPEC, pixels, like=maps, draws=draws))


@pytest.fixture
def edge_detector(monkeypatch):
    monkeypatch.setitem(METHODS._items, "edges", edges)
    return "edges"


def test_an_edge_detector_is_rejected(edge_detector):
    found = checked(edge_detector)
    assert found.rank_correlation == pytest.approx(1)
    assert found.structural == pytest.approx(1)
    assert not found.is_passed
    assert "rank correlation of 1.00" in str(found)


@pytest.mark.parametrize("method", sorted(set(methods()) - {"occlusion"}))
def test_methods_that_read_the_weights_pass(method):
    found = checked(method)
    assert found.is_passed
    assert (found.n_images, found.n_draws) == (4, 3)


def test_random_weights_keep_the_sizes_and_nothing_else():
    module = network()
    other = randomized(module, seed=5)
    compared = 0
    theirs = dict(other.named_parameters())
    for name, weights in module.named_parameters():
        if weights.ndim < 2:
            continue
        mine, its = weights.detach().flatten(), theirs[name].detach().flatten()
        np.testing.assert_allclose(mine.abs().sort()[0], its.abs().sort()[0])
        if len(mine) > 500:
            assert abs(np.corrcoef(mine, its)[0, 1]) < 0.2
            compared += 1
    assert compared > 3


def test_random_weights_leave_the_module_and_the_global_generator_alone():
    module = network()
    before = [p.detach().clone() for p in module.parameters()]
    state = torch.random.get_rng_state()
    again = [randomized(module, seed=1).state_dict() for _ in range(2)]
    other = randomized(module, seed=2).state_dict()
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(again[0][k], again[1][k]) for k in other)
    weights = next(name for name, p in module.named_parameters() if p.ndim > 1)
    assert not torch.equal(again[0][weights], other[weights])


@pytest.mark.parametrize(
    "architecture", ["baseline", pytest.param("densenet-121", marks=pytest.mark.full)]
)
def test_random_networks_still_answer_with_numbers(architecture):
    spec = ModelSpec(architecture, ("a", "b"), size=64)
    with torch.no_grad():
        answers = randomized(build(spec, seed=0), 3).eval()(torch.rand(2, 1, 64, 64))
    assert answers.isfinite().all()


@given(st.integers(0, 10_000))
def test_similarity_is_symmetric_bounded_and_one_with_itself(seed):
    rng = np.random.default_rng(seed)
    one, two = (Heatmap.from_raw("i", "a", "m", rng.random((9, 7)) ** 3) for _ in range(2))
    assert similarity(one, one) == pytest.approx((1, 1))
    assert similarity(one, two) == pytest.approx(similarity(two, one))
    assert all(-1 <= value <= 1 for value in similarity(one, two))


def test_similarity_by_ranks_ignores_scale_and_equals_scipys():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    heat = rng.integers(0, 5, (8, 8)).astype(float)
    other = rng.integers(0, 5, (8, 8)).astype(float)
    one, two = (Heatmap.from_raw("i", "a", "m", raw) for raw in (heat, other))
    cubed = Heatmap.from_raw("i", "a", "m", heat**3)
    assert similarity(one, cubed)[0] == pytest.approx(1)
    assert similarity(one, two)[0] == pytest.approx(spearmanr(heat.ravel(), other.ravel())[0])


def test_a_map_that_vanishes_has_changed_and_two_empty_ones_say_nothing():
    full = Heatmap.from_raw("i", "a", "m", np.eye(8))
    empty = Heatmap.from_raw("i", "a", "m", np.zeros((8, 8)))
    assert similarity(full, empty) == (0, 0)
    assert math.isnan(similarity(empty, empty)[0])
    nothing = check_sanity([empty], [[empty]])
    assert not nothing.is_passed
    assert "no map of any of 1 images" in str(nothing)
    assert check_sanity([full, empty], [[empty, empty]]).rank_correlation == 0


def test_the_limit_lets_half_of_the_variance_be_shared():
    assert pytest.approx(0.5) == MAX_RANK_CORRELATION**2


def test_what_cannot_be_compared_is_said():
    full = Heatmap.from_raw("i", "a", "m", np.eye(8))
    small = Heatmap.from_raw("i", "a", "m", np.eye(4))
    with pytest.raises(EvaluationError, match=r"shapes \(8, 8\) and \(4, 4\)"):
        similarity(full, small)
    with pytest.raises(EvaluationError, match="no maps to compare"):
        check_sanity([], [])
    with pytest.raises(EvaluationError, match="0 maps and 2 draws compare nothing"):
        random_maps(network(), SPEC, images(), like=[])
