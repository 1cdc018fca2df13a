"""Images that grow: the size of every epoch, the same bits after an interruption, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from training_sessions import StopAt, Stopped, assert_same, differ

from hurdles.errors import RecipeError
from hurdles.pixels.perturb import DRAW, apply_draws
from hurdles.pixels.prepare import resize_square
from hurdles.recipe.recipe import Recipe, TrainingSection
from hurdles.training import loop
from hurdles.training.growth import cost_of, size_of, taken
from hurdles.training.loop import TrainingData, train


def recipe_of(architecture: str = "small", **training) -> Recipe:
    settings = {"epochs": 3, "batch_size": 8, "precision": "float32", "sizes": [34, 40], **training}
    return Recipe(
        name="growing",
        preparation={"size": 48},
        model={"architecture": architecture},
        augmentation={"policy": "each", "shift": 0.1},
        training=settings,
    )


def data() -> TrainingData:
    rng = np.random.default_rng(0)
    classes = np.arange(24) % 2
    pixels = rng.integers(0, 100, (24, 48, 48), dtype=np.uint8)
    pixels[classes == 1, :24] += np.uint8(90)
    return TrainingData(
        pixels, classes, ("dark", "bright"), np.arange(16), np.arange(16, 24), "data"
    )


def test_every_epoch_has_its_size_and_the_history_shows_it():
    trained = train(recipe_of(), data())
    assert trained.history.frame["size"].tolist() == [34, 40, 48]
    assert trained.spec.size == 48


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_interrupted_at_any_size_it_gives_the_same_bits(tmp_path, monkeypatch, step):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    state = tmp_path / "state.safetensors"
    with pytest.raises(Stopped):
        train(recipe_of(), data(), state_path=state, progress=StopAt(step))
    assert_same(train(recipe_of(), data()), train(recipe_of(), data(), state_path=state))


def test_without_sizes_it_is_another_training():
    one, two = train(recipe_of(), data()), train(recipe_of(sizes=[]), data())
    assert differ(one.last, two.last)


def test_validation_is_at_the_size_of_the_preparation(monkeypatch):
    seen, real = [], loop.probabilities

    def watched(network, pixels, **options):
        seen.append((network.spec.size, pixels.shape[1]))
        return real(network, pixels, **options)

    monkeypatch.setattr(loop, "probabilities", watched)
    train(recipe_of(), data())
    assert seen == [(48, 48)] * 3


def test_epochs_of_smaller_images_do_not_use_up_patience(monkeypatch):
    accuracies = iter([0.9, 0.5, 0.5, 0.5, 0.5, 0.5])

    def graded(*_):
        value = next(accuracies)
        return {
            "validation_loss": 1 - value,
            "validation_accuracy": value,
            "validation_auc": value,
        }

    monkeypatch.setattr(loop, "validate", graded)
    trained = train(recipe_of(epochs=6, sizes=[34, 34, 40], patience=2), data())
    assert trained.history.frame["size"].tolist() == [34, 34, 40, 48, 48]


def test_progress_counts_a_large_step_as_several_small_ones():
    class Counting(StopAt):
        total = done = 0

        def start(self, stage: str, total: int) -> None:
            self.total = total

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.done += steps

    listener = Counting(0)
    train(recipe_of(sizes=[34, 34]), data(), progress=listener)
    assert listener.done == listener.total == 2 * (1 + 1 + 2)


SECTION = TrainingSection(epochs=6, sizes=(64, 64, 96))


@pytest.mark.parametrize(
    ("epoch", "size", "cost"), [(1, 64, 1), (2, 64, 1), (3, 96, 2), (4, 128, 4), (6, 128, 4)]
)
def test_sizes_and_costs(epoch, size, cost):
    assert size_of(SECTION, 128, epoch) == size
    assert cost_of(SECTION, 128, epoch) == cost


def test_without_sizes_every_step_counts_once():
    assert [size_of(TrainingSection(), 224, n) for n in (1, 30)] == [224, 224]
    assert [cost_of(TrainingSection(), 224, n) for n in (1, 30)] == [1, 1]


def test_images_are_shrunk_and_then_altered():
    pixels = data().pixels
    draws = np.zeros(2, dtype=DRAW)
    draws["position"], draws["flip"] = [5, 3], [True, False]
    shrunk = np.stack([resize_square(image, 34) for image in pixels])
    assert (taken(pixels, draws, 34) == apply_draws(shrunk, draws)).all()
    assert (taken(pixels, draws, 48) == apply_draws(pixels, draws)).all()
    assert draws["position"].tolist() == [5, 3]


@pytest.mark.parametrize(
    ("architecture", "sizes", "message"),
    [
        ("baseline", [32], "training.sizes has 32, of which 'baseline' has other weights than"),
        ("small", [16], "training.sizes has 16: 'small' needs images of at least 33 pixels"),
        ("baseline", [30], "must be divisible by 8; 30 is not"),
        ("small", [16], "'small' needs images of at least 33 pixels, but the size is 16"),
    ],
)
def test_sizes_that_a_network_cannot_take_are_refused(architecture, sizes, message):
    with pytest.raises(RecipeError, match=message):
        train(recipe_of(architecture, sizes=sizes), data())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([64], r"training.sizes = \[64\] must grow, up to preparation.size = 48 at most"),
        ([40, 34], r"training.sizes = \[40, 34\] must grow"),
        ([34, 34, 34], "has 3 numbers for 3 epochs; the last epoch at least"),
        ([8], "training.sizes.0: Input should be greater than or equal to 16"),
    ],
)
def test_sizes_that_no_training_can_have_are_refused(sizes, message):
    with pytest.raises(RecipeError, match=message):
        recipe_of(sizes=[]).changed(training={"sizes": sizes})
