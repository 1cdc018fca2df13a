"""The training of the lung network: it learns, resumes bit for bit, and refuses what it must."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from hurdles.data.manifest import Manifest
from hurdles.errors import ManifestError, RecipeError, RunError
from hurdles.lungs import training
from hurdles.lungs.training import LungRecipe, load_lungs, lung_loss, train_lungs
from hurdles.progress import Silent
from hurdles.training.machine import Machine

TINY = LungRecipe(
    width=2,
    epochs=1,
    calm_epochs=1,
    images=6,
    batch_size=4,
    learning_rate=0.01,
    fractions=(0.5, 0.25, 0.25),
)
CPU = Machine("cpu", torch.float32)


class KilledError(Exception):
    """Stands for a kill from outside."""


class Listener(Silent):
    """Remembers what was said, and stops the training after some lines."""

    def __init__(self, lines: int = 100) -> None:
        self.said: list[str] = []
        self.done = 0
        self.lines = lines

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        if len(self.said) >= self.lines:
            raise KilledError("killed")

    def say(self, line: str) -> None:
        self.said.append(line)


def fit(chests, out, recipe=TINY, **options):
    return train_lungs(chests, out, recipe=recipe, cache=out / "cache", machine=CPU, **options)


def assert_same(one, other):
    (network, meta), (twin, words) = load_lungs(one), load_lungs(other)
    assert meta == words
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, twin.state_dict()[name]), name


@pytest.fixture(scope="module")
def trained(chests, tmp_path_factory):
    return fit(chests, tmp_path_factory.mktemp("trained"))


def test_weights_say_where_they_come_from(trained):
    _, meta = load_lungs(trained)
    assert meta["recipe"] == TINY.to_json()
    assert meta["epoch"] in ("1 of 2", "2 of 2")
    assert 0 <= float(meta["validation_dice"]) <= 1


def test_an_interrupted_training_ends_as_if_it_had_not_been(chests, trained, tmp_path):
    with pytest.raises(KilledError, match="killed"):
        fit(chests, tmp_path, progress=Listener(lines=1))
    assert load_lungs(tmp_path / "lungs.safetensors")[1]["epoch"] == "1 of 2"
    listener = Listener()
    again = fit(chests, tmp_path, progress=listener)
    assert len(listener.said) == 1
    assert listener.done == TINY.steps
    assert_same(again, trained)


def test_a_finished_training_is_not_trained_again(chests, trained):
    listener = Listener()
    # As if killed between the last state and its weights.
    before = trained.rename(trained.with_name("before.safetensors"))
    fit(chests, trained.parent, progress=listener)
    assert listener.said == []
    assert_same(trained, before)


def test_another_recipe_or_other_masks_are_refused(chests, trained):
    with pytest.raises(RunError, match="belongs to another training"):
        fit(chests, trained.parent, dataclasses.replace(TINY, seed=1))
    swapped = chests.frame["mask"].to_numpy()[::-1]
    with pytest.raises(RunError, match="belongs to another training"):
        fit(Manifest(chests.frame.assign(mask=swapped)), trained.parent)


def test_the_global_generators_are_left_alone(chests, tmp_path):
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    fit(chests, tmp_path, dataclasses.replace(TINY, calm_epochs=0))
    assert torch.equal(torch.get_rng_state(), expected)


def test_without_masks_nothing_is_trained(chests, tmp_path):
    with pytest.raises(ManifestError, match="has a lung mask"):
        fit(Manifest(chests.frame.assign(mask=None)), tmp_path)


def test_without_a_mask_to_validate_on_nothing_is_trained(chests, tmp_path):
    parts = ["train"] * 14 + ["validation", "test"]
    frame = chests.with_split(parts).frame
    frame.loc[14, "mask"] = str(tmp_path / "nowhere.png")
    with pytest.raises(ManifestError, match="no image of the validation part has a usable"):
        fit(Manifest(frame), tmp_path)


def test_a_loss_that_is_no_number_stops_the_training(chests, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "lung_loss", lambda logits, _: logits.sum() * float("nan"))
    with pytest.raises(RunError, match=r"loss is nan in epoch 1.*Lower learning_rate"):
        fit(chests, tmp_path)
    assert not (tmp_path / "lungs.safetensors").exists()


def test_the_best_epoch_is_kept_not_the_last(chests, tmp_path, monkeypatch):
    dice = iter([0.2, 0.7, 0.4])
    monkeypatch.setattr(training._Training, "_validate", lambda _: next(dice))
    _, meta = load_lungs(fit(chests, tmp_path, dataclasses.replace(TINY, epochs=2)))
    assert (meta["epoch"], meta["validation_dice"]) == ("2 of 3", "0.7000")


@pytest.mark.full
def test_it_learns(chests, tmp_path):
    recipe = dataclasses.replace(TINY, width=8, epochs=6, calm_epochs=0, images=32)
    _, meta = load_lungs(fit(chests, tmp_path, recipe))
    assert float(meta["validation_dice"]) > 0.9


def test_the_loss_is_small_where_right_and_large_where_wrong():
    truth = torch.zeros(2, 1, 8, 8)
    truth[:, :, 2:6, 2:6] = 1
    right, wrong = (truth * 2 - 1) * 20, (1 - truth * 2) * 20
    assert lung_loss(right, truth).item() < 1e-4
    assert lung_loss(wrong, truth).item() > 15
    nothing = torch.zeros_like(truth)
    assert lung_loss(nothing - 20, nothing).item() < 1e-2
    unsure = lung_loss(nothing, truth).item()  # ln 2, and a Dice of 2 * 8 / (32 + 16)
    assert unsure == pytest.approx(np.log(2) + 1 - 17 / 49, abs=1e-4)


def test_the_rate_climbs_to_its_peak_and_falls_to_nothing():
    recipe = LungRecipe(epochs=10, calm_epochs=2, images=160, batch_size=16)
    every = [training._learning_rate(recipe, step) for step in range(recipe.steps)]
    assert len(every) == 120
    rates, calm = every[:100], every[100:]
    assert calm[0] == pytest.approx(recipe.learning_rate / 10)
    assert np.all(np.diff(calm) < 0)
    assert calm[-1] < recipe.learning_rate / 1000
    peak = int(np.argmax(rates))
    assert rates[peak] == recipe.learning_rate
    assert peak in (9, 10)
    assert np.all(np.diff(rates[: peak + 1]) > 0)
    assert np.all(np.diff(rates[11:]) < 0)
    assert rates[-1] < recipe.learning_rate / 1000


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"warm_up": 1}, "warm_up is 1"),
        ({"weight_decay": -1}, "weight_decay is -1"),
        ({"calm": 1.5}, "calm is 1.5"),
        ({"calm_epochs": -1}, "calm_epochs is -1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_recipe_out_of_range_is_refused(settings, words):
    with pytest.raises(RecipeError, match=words):
        LungRecipe(**settings)
