"""Every optimiser, schedule and start: learning, and the same bits after an interruption."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_sessions import StopAt, Stopped, assert_same, differ

from hurdles.errors import RecipeError, RunError
from hurdles.models import ModelSpec, build
from hurdles.models.starting import StartingWeights, encoder_of
from hurdles.recipe.recipe import Recipe
from hurdles.training import loop
from hurdles.training.loop import learning_rate, train

SGD = {
    "training": {
        "optimiser": "sgd",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-3,
        "schedule": "plateau",
        "plateau": 1,
        "loss": "focal",
        "class_weights": "balanced",
        "choose_by": "auc",
    }
}
ADAMW = {
    "training": {
        "optimiser": "adamw",
        "weight_decay": 0.05,
        "schedule": "cosine",
        "choose_by": "loss",
    },
    "augmentation": {"policy": "each", "shift": 0.1, "scale": 1.1, "contrast": 0.2},
    "model": {"scaling": "training"},
}
FROZEN = {"model": {"start": "run", "freeze": ["encoder"]}}


@pytest.fixture
def altered(recipe_of):
    def make(sections: dict[str, dict], **training: object) -> Recipe:
        return recipe_of(**training).changed(**sections)

    return make


def start_of(seed: int = 7, mean: float = 0.3, std: float = 0.2) -> StartingWeights:
    spec = ModelSpec("baseline", ("a", "b", "c"), 16, mean=mean, std=std)
    return StartingWeights(
        encoder_of(build(spec, seed=seed).state_dict()), spec, {}, {"source": "run earlier"}
    )


class TestResume:
    @pytest.mark.parametrize(
        "step", [4, *(pytest.param(n, marks=pytest.mark.full) for n in (1, 2, 3, 6, 8))]
    )
    @pytest.mark.parametrize("sections", [SGD, ADAMW], ids=["sgd", "adamw"])
    def test_an_interruption_changes_no_bit(
        self, altered, data_of, tmp_path, monkeypatch, sections, step
    ):
        monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
        recipe, state = altered(sections, epochs=3), tmp_path / "state.safetensors"
        whole = train(recipe, data_of())
        with pytest.raises(Stopped):
            train(recipe, data_of(), state_path=state, progress=StopAt(step))
        assert_same(whole, train(recipe, data_of(), state_path=state))

    @pytest.mark.parametrize("step", [2, 5])
    def test_a_start_is_needed_once(self, altered, data_of, tmp_path, monkeypatch, step):
        """The earlier run may be gone; its mean and deviation are in the saved state."""
        monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
        start, state = start_of(), tmp_path / "state.safetensors"
        recipe = altered(FROZEN).changed(model={"origin": start.origin})
        whole = train(recipe, data_of(), start=start)
        with pytest.raises(Stopped):
            train(recipe, data_of(), start=start, state_path=state, progress=StopAt(step))
        resumed = train(recipe, data_of(), state_path=state)
        assert_same(whole, resumed)
        assert (resumed.spec.mean, resumed.spec.std) == (0.3, 0.2)

    def test_another_start_is_refused(self, altered, data_of, tmp_path):
        state = tmp_path / "state.safetensors"
        train(altered(FROZEN, epochs=1), data_of(), start=start_of(), state_path=state)
        with pytest.raises(RunError, match="belongs to another training"):
            train(altered(FROZEN, epochs=1), data_of(), start=start_of(8), state_path=state)


class TestStart:
    def test_what_is_frozen_stays_and_the_head_moves(self, altered, data_of):
        start = start_of()
        trained = train(altered(FROZEN), data_of(), start=start)
        assert all(torch.equal(trained.last[k], v) for k, v in start.weights.items())
        fresh = build(trained.spec, seed=0).state_dict()
        assert differ({k: v for k, v in fresh.items() if k.startswith("head.")}, trained.last)

    def test_without_freezing_the_encoder_moves_from_where_it_started(self, altered, data_of):
        start = start_of()
        recipe = altered({"model": {"start": "run"}}, epochs=1, learning_rate=1e-5)
        found = train(recipe, data_of(), start=start).last
        assert differ(start.weights, found)
        assert all(torch.allclose(found[k], v, atol=1e-4) for k, v in start.weights.items())

    def test_its_scaling_comes_along(self, altered, data_of):
        recipe = altered({"model": {"start": "run", "scaling": "training"}}, epochs=1)
        spec = train(recipe, data_of(), start=start_of()).spec
        assert (spec.mean, spec.std) == (0.3, 0.2)

    def test_missing_weights_are_asked_for(self, altered, data_of, tmp_path):
        with pytest.raises(RecipeError, match=r"'run', but no weights were given.*encoder-from"):
            train(altered(FROZEN), data_of(), state_path=tmp_path / "none")

    def test_weights_that_were_not_asked_for_are_refused(self, recipe_of, data_of):
        with pytest.raises(RecipeError, match="'scratch', but weights were given"):
            train(recipe_of(), data_of(), start=start_of())

    def test_weights_of_another_origin_are_refused(self, altered, data_of):
        recipe = altered(FROZEN).changed(model={"origin": start_of(8).origin})
        with pytest.raises(RecipeError, match=r"model\.origin = .* but the weights given"):
            train(recipe, data_of(), start=start_of())


class TestSettings:
    @pytest.mark.parametrize("sections", [SGD, ADAMW], ids=["sgd", "adamw"])
    def test_an_easy_difference_is_learnt(self, altered, data_of, sections):
        recipe = altered(sections, epochs=8).changed(training={"plateau": 9})
        frame = train(recipe, data_of()).history.frame
        assert frame["validation_accuracy"].iloc[-1] == 1.0
        assert frame["validation_auc"].iloc[-1] == 1.0
        assert frame["train_loss"].iloc[-1] < 0.5 * frame["train_loss"].iloc[0]

    @pytest.mark.parametrize(
        "change",
        [
            {"loss": "focal"},
            {"optimiser": "sgd"},
            {"optimiser": "adamw", "weight_decay": 0.1},
            {"weight_decay": 0.1},
            {"schedule": "cosine"},
        ],
    )
    def test_each_makes_a_difference(self, recipe_of, data_of, change):
        plain = train(recipe_of(epochs=1), data_of())
        assert differ(plain.last, train(recipe_of(epochs=1, **change), data_of()).last)

    def test_class_weights_make_a_difference_where_classes_do(self, altered, data_of):
        data = data_of()
        few = replace(data, train=data.train[[0, 1, 2, 4, 6, 8, 10, 12]])
        none = {"augmentation": {"policy": "none"}}
        plain = train(altered(none, epochs=1), few)
        weighted = train(altered(none, epochs=1, class_weights="balanced"), few)
        assert differ(plain.last, weighted.last)
        # An epoch that is balanced already is not balanced a second time.
        plain, weighted = (
            train(altered({}, epochs=1, class_weights=c), few) for c in ("none", "balanced")
        )
        for name, value in plain.last.items():
            assert torch.allclose(value, weighted.last[name], atol=1e-5)

    def test_the_rate_of_each_epoch_is_in_the_history(self, altered, data_of):
        trained = train(altered(SGD, epochs=6), data_of(contrast=0))
        frame, settings = trained.history.frame, altered(SGD, epochs=6).training
        losses = frame["validation_loss"].tolist()
        assert frame["learning_rate"].tolist() == [
            learning_rate(settings, step=0, steps=1, losses=losses[:n]) for n in range(6)
        ]
        assert frame["learning_rate"].iloc[-1] < 0.05
        # 20 images in batches of 8 are 3 steps an epoch.
        frame = train(altered(ADAMW, epochs=2), data_of()).history.frame
        settings = altered(ADAMW, epochs=2).training
        assert frame["learning_rate"].tolist() == [
            learning_rate(settings, step=s, steps=6, losses=[]) for s in (2, 5)
        ]

    @pytest.mark.parametrize(
        "by", [pytest.param("accuracy", marks=pytest.mark.full), "auc", "loss"]
    )
    def test_the_weights_kept_are_those_of_the_epoch_chosen(self, recipe_of, data_of, by):
        settings = {"learning_rate": 0.02, "choose_by": by}
        trained = train(recipe_of(epochs=5, **settings), data_of(contrast=25))
        best = trained.history.best_epoch
        column = trained.history.frame[f"validation_{by}"]
        assert column[best - 1] == (column.min() if by == "loss" else column.max())
        shorter = train(recipe_of(epochs=best, **settings), data_of(contrast=25))
        assert not differ(trained.best, shorter.last)

    @pytest.mark.parametrize(
        ("by", "note"), [("accuracy", " %"), ("auc", "AUC 0."), ("loss", "loss ")]
    )
    def test_progress_tells_what_the_epoch_is_chosen_by(self, recipe_of, data_of, by, note):
        listener = StopAt(0)
        train(recipe_of(choose_by=by), data_of(contrast=0), progress=listener)
        assert note in listener.notes[-1]

    def test_the_head_is_asked_for_as_the_recipe_says(self, altered, data_of):
        """The baseline has a head of its own, and says so of any other."""
        with pytest.raises(RecipeError, match=r"leave model\.hidden empty"):
            train(altered({"model": {"hidden": [5]}}), data_of())

    def test_scaling_is_that_of_the_training_images_alone(self, altered, data_of):
        data = data_of()
        recipe = altered({"model": {"scaling": "training"}}, epochs=1)
        spec = train(recipe, data).spec
        seen = data.pixels[data.train] / 255
        assert (spec.mean, spec.std) == pytest.approx((seen.mean(), seen.std()), rel=1e-12)
        pixels = data.pixels.copy()
        pixels[data.validation] = 255
        assert train(recipe, replace(data, pixels=pixels)).spec == spec

    def test_validation_of_one_class_has_no_auc_and_goes_on(self, recipe_of, data_of):
        data = data_of()
        one = replace(data, validation=data.validation[data.classes[data.validation] == 0])
        history = train(recipe_of(choose_by="auc"), one).history
        assert history.frame["validation_auc"].isna().all()
        losses = history.frame["validation_loss"]
        assert history.best_epoch == 1 + int(np.argmin(losses))
