"""Optimisers as the recipe names them, and the learning rate of every step."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hurdles.recipe.recipe import TrainingSection
from hurdles.training.loop import WARM_UP, learning_rate, make_optimizer


def rates(section: TrainingSection, steps: int) -> list[float]:
    return [learning_rate(section, step=s, steps=steps, losses=[]) for s in range(steps)]


class TestOptimiser:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
    )
    def test_it_moves_weights_as_torchs_plain_one_does(self, name, kind):
        section = TrainingSection(
            optimiser=name, learning_rate=0.05, momentum=0.9, weight_decay=0.1, epsilon=1e-3
        )
        own = {"momentum": 0.9} if name == "sgd" else {"eps": 1e-3}
        layers = [torch.nn.Linear(3, 2) for _ in range(2)]
        layers[1].load_state_dict(layers[0].state_dict())
        ours = make_optimizer(layers[0].parameters(), section)
        plain = kind(layers[1].parameters(), 0.05, weight_decay=0.1, foreach=False, **own)
        assert type(ours) is kind
        for seed in range(4):
            images = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
            for layer, optimiser in zip(layers, (ours, plain), strict=True):
                optimiser.zero_grad()
                layer(images).square().sum().backward()
                optimiser.step()
        for a, b in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)

    def test_what_is_frozen_is_left_out(self):
        layer = torch.nn.Linear(3, 2)
        layer.weight.requires_grad_(False)
        made = make_optimizer(layer.parameters(), TrainingSection())
        assert [id(p) for p in made.param_groups[0]["params"]] == [id(layer.bias)]


class TestPlateau:
    @given(
        losses=st.lists(st.sampled_from([0.5, 0.4, 0.3, 0.2, math.nan]), max_size=40),
        patience=st.integers(1, 6),
    )
    def test_it_agrees_with_torchs_scheduler(self, losses, patience):
        section = TrainingSection(learning_rate=0.1, schedule="plateau", plateau=patience)
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, patience=patience - 1, threshold=0.0, eps=0.0
        )
        for done, loss in enumerate(losses, start=1):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it wants a step of the optimiser first
                scheduler.step(loss)
            found = learning_rate(section, step=0, steps=1, losses=losses[:done])
            assert found == pytest.approx(optimiser.param_groups[0]["lr"])

    def test_it_waits_as_many_epochs_as_it_is_told(self):
        section = TrainingSection(learning_rate=0.1, schedule="plateau", plateau=15)
        stuck = [0.5] + [0.5] * 31
        found = [
            learning_rate(section, step=0, steps=1, losses=stuck[:n]) for n in (1, 15, 16, 30, 31)
        ]
        assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


class TestCosine:
    SECTION = TrainingSection(learning_rate=0.02, schedule="cosine")

    @given(st.integers(1, 3000))
    def test_it_rises_then_falls_and_is_never_beyond(self, steps):
        made = rates(self.SECTION, steps)
        top = math.ceil(WARM_UP * steps)
        assert made[:top] == sorted(made[:top])
        assert made[top - 1 :] == sorted(made[top - 1 :], reverse=True)
        assert max(made) == 0.02
        assert min(made) > 0

    def test_it_agrees_with_torchs_two_schedulers(self):
        steps, rising = 200, 10
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.02)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps - rising)
        found = rates(self.SECTION, steps)
        assert found[:rising] == pytest.approx([0.02 * (n + 1) / rising for n in range(rising)])
        optimiser.step()
        for rate in found[rising:]:
            assert rate == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
            falling.step()

    def test_it_ends_near_nothing(self):
        assert rates(self.SECTION, 1000)[-1] < 1e-5 * 0.02


def test_constant_is_constant():
    assert set(rates(TrainingSection(learning_rate=0.3), 50)) == {0.3}
