"""Training: the same bits for the same seed, interrupted or not, and nothing leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from training_sessions import StopAt, Stopped, assert_same, differ

from hurdles.errors import RunError
from hurdles.progress import Silent
from hurdles.training import loop
from hurdles.training.checkpoint import TrainingState
from hurdles.training.loop import train
from hurdles.training.machine import Machine


class TestReproducible:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_the_same_seed_gives_the_same_bits(self, recipe_of, data_of, precision):
        recipe = recipe_of(precision=precision)
        assert_same(train(recipe, data_of()), train(recipe, data_of()))

    def test_another_seed_gives_others(self, recipe_of, data_of):
        one, two = train(recipe_of(), data_of()), train(recipe_of(seed=1), data_of())
        assert differ(one.last, two.last)

    def test_the_callers_random_numbers_are_left_alone(self, recipe_of, data_of):
        torch.manual_seed(5)
        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - it is watched
        train(recipe_of(), data_of())
        assert torch.equal(torch.get_rng_state(), before)
        assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002 - it is watched

    def test_the_callers_random_numbers_make_no_difference(self, recipe_of, data_of):
        torch.manual_seed(1)
        one = train(recipe_of(), data_of())
        torch.manual_seed(2)
        assert_same(one, train(recipe_of(), data_of()))

    def test_they_are_left_alone_also_where_training_fails(self, recipe_of, data_of):
        before = torch.get_rng_state()
        with pytest.raises(Stopped):
            train(recipe_of(), data_of(), progress=StopAt(2))
        assert torch.equal(torch.get_rng_state(), before)


class TestResume:
    # 20 images in batches of 8 are 3 steps an epoch, 9 in all.
    @pytest.mark.parametrize(
        ("step", "precision"),
        [*((step, "float32") for step in range(1, 10)), (2, "bfloat16"), (6, "bfloat16")],
    )
    def test_any_step_may_be_the_last(
        self, recipe_of, data_of, tmp_path, monkeypatch, step, precision
    ):
        monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
        recipe, state = recipe_of(epochs=3, precision=precision), tmp_path / "state.safetensors"
        whole = train(recipe, data_of())
        with pytest.raises(Stopped):
            train(recipe, data_of(), state_path=state, progress=StopAt(step))
        assert_same(whole, train(recipe, data_of(), state_path=state))

    def test_interrupted_at_every_single_step(self, recipe_of, data_of, tmp_path, monkeypatch):
        """Each session does two steps and is cut off before the second one is saved."""
        monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
        recipe, state = recipe_of(epochs=3), tmp_path / "state.safetensors"
        whole, sessions = train(recipe, data_of()), 0
        while True:
            sessions += 1
            try:
                # One advance more, after the first session, for the steps done before.
                steps = 2 if sessions == 1 else 3
                resumed = train(recipe, data_of(), state_path=state, progress=StopAt(steps))
                break
            except Stopped:
                assert sessions < 20
        assert sessions >= 4
        assert_same(whole, resumed)

    def test_saved_between_epochs_only(self, recipe_of, data_of, tmp_path):
        """With the usual minute between saves a short run goes back to the epoch's beginning."""
        recipe, state = recipe_of(epochs=3), tmp_path / "state.safetensors"
        with pytest.raises(Stopped):
            train(recipe, data_of(), state_path=state, progress=StopAt(5))
        listener = StopAt(0)
        resumed = train(recipe, data_of(), state_path=state, progress=listener)
        assert listener.said[0] == "going on at epoch 2, step 0 of 3"
        assert_same(train(recipe, data_of()), resumed)

    def test_stopped_while_validating(self, recipe_of, data_of, tmp_path, monkeypatch):
        recipe, state = recipe_of(epochs=3), tmp_path / "state.safetensors"
        monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "probabilities", lambda *a, **k: (_ for _ in ()).throw(Stopped))
            with pytest.raises(Stopped):
                train(recipe, data_of(), state_path=state)
        assert_same(train(recipe, data_of()), train(recipe, data_of(), state_path=state))

    def test_a_finished_state_is_not_trained_further(self, recipe_of, data_of, tmp_path):
        state = tmp_path / "state.safetensors"
        done = train(recipe_of(), data_of(), state_path=state)
        assert_same(done, train(recipe_of(), data_of(), state_path=state, progress=StopAt(99)))

    def test_the_choice_of_the_epoch_may_change(self, recipe_of, data_of, tmp_path):
        state = tmp_path / "state.safetensors"
        done = train(recipe_of(), data_of(), state_path=state)
        assert_same(done, train(recipe_of(choose="last"), data_of(), state_path=state))

    @pytest.mark.parametrize(
        "change", [{"seed": 1}, {"epochs": 3}, {"learning_rate": 0.01}, {"batch_size": 4}]
    )
    def test_another_recipe_is_refused(self, recipe_of, data_of, tmp_path, change):
        state = tmp_path / "state.safetensors"
        train(recipe_of(), data_of(), state_path=state)
        with pytest.raises(RunError, match="belongs to another training"):
            train(recipe_of(**change), data_of(), state_path=state)

    def test_other_data_are_refused(self, recipe_of, data_of, tmp_path):
        state = tmp_path / "state.safetensors"
        train(recipe_of(), data_of(), state_path=state)
        with pytest.raises(RunError, match="belongs to another training"):
            train(recipe_of(), data_of(identity="other"), state_path=state)

    def test_another_number_of_threads_is_refused(self, recipe_of, data_of, tmp_path):
        """Sums over threads are in another order: the bits would differ."""
        state, threads = tmp_path / "state.safetensors", torch.get_num_threads()
        train(recipe_of(), data_of(), state_path=state)
        try:
            torch.set_num_threads(threads + 1)
            with pytest.raises(RunError, match="thread count"):
                train(recipe_of(), data_of(), state_path=state)
        finally:
            torch.set_num_threads(threads)

    def test_other_instructions_of_the_processor_are_refused(
        self, recipe_of, data_of, tmp_path, monkeypatch
    ):
        """They decide the kernels, which sum in another order."""
        state = tmp_path / "state.safetensors"
        train(recipe_of(), data_of(), state_path=state)
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "sse41")
        with pytest.raises(RunError, match="instructions differ"):
            train(recipe_of(), data_of(), state_path=state)


class TestWhatIsLearnt:
    def test_an_easy_difference_is_learnt(self, recipe_of, data_of):
        trained = train(recipe_of(epochs=12), data_of())
        assert trained.history.frame["validation_accuracy"].max() == 1.0
        losses = trained.history.frame["train_loss"]
        assert losses.iloc[-1] < 0.5 * losses.iloc[0]

    def test_nothing_is_learnt_from_labels_without_meaning(self, recipe_of, data_of):
        data = data_of(contrast=0)
        accuracy = train(recipe_of(epochs=12), data).history.frame["validation_accuracy"]
        assert accuracy.iloc[-1] < 1.0

    def test_validation_images_never_reach_the_weights(self, recipe_of, data_of):
        data = data_of()
        pixels = data.pixels.copy()
        pixels[data.validation] = 255 - pixels[data.validation]
        one, two = train(recipe_of(), data), train(recipe_of(), replace(data, pixels=pixels))
        assert not differ(one.last, two.last)
        kept = ["train_loss", "train_accuracy"]
        pd.testing.assert_frame_equal(one.history.frame[kept], two.history.frame[kept])
        assert (one.history.frame["validation_loss"] != two.history.frame["validation_loss"]).all()

    def test_images_of_no_part_are_never_looked_at(self, recipe_of, data_of):
        data = data_of()
        pixels, train_part = data.pixels.copy(), data.train[:-2]
        one = train(recipe_of(), replace(data, train=train_part))
        pixels[data.train[-2:]] = 0
        assert_same(one, train(recipe_of(), replace(data, train=train_part, pixels=pixels)))

    def test_the_history_says_what_the_weights_do(self, recipe_of, data_of):
        from hurdles.models import build
        from hurdles.training.prediction import probabilities

        data = data_of()
        trained = train(recipe_of(epochs=3), data)
        for weights, epoch in ((trained.last, 3), (trained.best, trained.history.best_epoch)):
            network = build(trained.spec, seed=9)
            network.load_state_dict(weights)
            said = probabilities(network, data.pixels[data.validation])
            truth = data.classes[data.validation]
            row = trained.history.frame.iloc[epoch - 1]
            assert row["validation_accuracy"] == (said.argmax(1) == truth).mean()
            loss = -np.log(said[np.arange(len(truth)), truth]).mean()
            assert row["validation_loss"] == pytest.approx(loss, rel=1e-5)


class TestTheEnd:
    def test_best_and_last_differ_where_the_best_came_earlier(self, recipe_of, data_of):
        trained = train(recipe_of(epochs=12, learning_rate=0.02), data_of(contrast=25))
        assert trained.history.best_epoch < 12
        assert differ(trained.best, trained.last)
        shorter = recipe_of(epochs=trained.history.best_epoch, learning_rate=0.02)
        assert not differ(trained.best, train(shorter, data_of(contrast=25)).last)

    def test_patience_stops_early_and_says_so(self, recipe_of, data_of):
        listener = StopAt(0)
        recipe = recipe_of(epochs=60, patience=3, learning_rate=0.01)
        trained = train(recipe, data_of(contrast=25), progress=listener)
        epochs = len(trained.history)
        assert epochs < 60
        assert epochs == trained.history.best_epoch + 3
        assert listener.said == [
            f"stopped after epoch {epochs} of at most 60: 3 without a better validation"
        ]

    def test_a_stop_in_the_last_epochs_patience_resumes_to_the_same_end(
        self, recipe_of, data_of, tmp_path
    ):
        recipe = recipe_of(epochs=60, patience=2, learning_rate=0.01)
        state = tmp_path / "state.safetensors"
        whole = train(recipe, data_of(contrast=25))
        with pytest.raises(Stopped):
            train(
                recipe,
                data_of(contrast=25),
                state_path=state,
                progress=StopAt(3 * len(whole.history) - 1),
            )
        assert_same(whole, train(recipe, data_of(contrast=25), state_path=state))

    @pytest.mark.parametrize("rate", [1e25, 1e38])
    def test_weights_out_of_range_are_an_error(self, recipe_of, data_of, rate, tmp_path):
        state = tmp_path / "state.safetensors"
        with pytest.raises(RunError, match=r"loss is (nan|inf) in epoch \d.*learning_rate"):
            train(recipe_of(epochs=5, learning_rate=rate), data_of(), state_path=state)

    def test_a_validation_that_is_no_number_stops_training_with_the_reason(
        self, recipe_of, data_of, monkeypatch
    ):
        rows = {"validation_loss": float("nan"), "validation_accuracy": 1.0, "validation_auc": 1.0}
        monkeypatch.setattr(loop, "validate", lambda *_: dict(rows))
        with pytest.raises(RunError, match=r"validation loss is nan in epoch 1.*learning_rate"):
            train(recipe_of(epochs=2), data_of())

    def test_a_class_missing_from_training_is_harmless(self, recipe_of, data_of):
        data = replace(data_of(), labels=("dark", "bright", "never"))
        trained = train(recipe_of(), data)
        assert trained.spec.labels == ("dark", "bright", "never")

    def test_a_batch_larger_than_the_set_is_one_step(self, recipe_of, data_of):
        seen = []

        class Counting(Silent):
            def start(self, stage: str, total: int) -> None:
                seen.append((stage, total))

        train(recipe_of(batch_size=500), data_of(), progress=Counting())
        assert seen == [("Training", 2)]


def test_the_state_holds_all_that_is_needed(recipe_of, data_of, tmp_path):
    """Without the moments of Adam, or the best weights, a resumed run would go another way."""
    from safetensors import safe_open

    state = tmp_path / "state.safetensors"
    trained = train(recipe_of(), data_of(), state_path=state)
    with safe_open(state, framework="pt") as file:
        keys = set(file.keys())
    for kind in ("model", "best"):
        assert {f"{kind}/{k}" for k in trained.last} <= keys
    names = {k.split("/")[2] for k in keys if k.startswith("optimiser/")}
    assert names == {"step", "exp_avg", "exp_avg_sq"}


def test_the_machine_may_be_given(recipe_of, data_of):
    one = train(recipe_of(), data_of(), machine=Machine("cpu", torch.bfloat16))
    assert differ(one.last, train(recipe_of(), data_of()).last)


def test_an_unfinished_state_starts_at_the_beginning():
    assert TrainingState() == TrainingState(1, 0, [0.0] * 4, [], {})
