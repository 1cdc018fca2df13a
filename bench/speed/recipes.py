"""Trainings as a whole: time to an accuracy, memory, and the networks of a calibration.

    python bench/speed/recipes.py [--seeds 0 1 2 3 4]

makes the accuracies of the Keras peer anew, epoch by epoch, which the rows only read: five seeds
take hours. Seeds that docs/results/keras-epochs.csv has in full are left alone.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from page import RESULTS
from pairs import HERE, Goal, Row, Side

COLLECTION = "COVID-19 Radiography Database"
#: Its split is the published one.
BASELINE = "lazaro-barco-2020-baseline"
FAST = "small-fast"
#: Seed of the first turn; the recipe was chosen on the validation accuracies of seeds 0 to 2.
FIRST = 10
EPOCHS = RESULTS / "keras-epochs.csv"
KERAS = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}


def seeds() -> list[int]:
    """Return the seeds with which the peer was trained to the end."""
    if not EPOCHS.exists():
        return []
    last = pd.read_csv(EPOCHS).groupby("seed")["epoch"].max()
    return [int(seed) for seed in last.index[last == 30]]


def best_of(seed: int) -> tuple[float, int]:
    """Return the best validation accuracy of a seed of the peer, and its first epoch of it."""
    table = pd.read_csv(EPOCHS)
    mine = table[table["seed"] == seed].set_index("epoch")["validation_accuracy"]
    return float(mine.max()), int(mine.idxmax())


def prepared_images(recipe_name: str):
    """Return a recipe and its images of the collection, split as published, and prepared."""
    from hurdles.data.reading import read_manifest
    from hurdles.progress import Options
    from hurdles.recipe.images import parted
    from hurdles.recipe.recipe import load_recipe
    from hurdles.runs.images import prepare_pixels

    recipe = load_recipe(recipe_name)
    manifest = read_manifest(Path(os.environ["HURDLES_DATA"]) / COLLECTION)
    prepared = prepare_pixels(parted(manifest, load_recipe(BASELINE)), recipe, Options())
    return recipe, prepared


def training_data(prepared):
    from hurdles.training.loop import TrainingData

    labels = tuple(prepared.manifest.labels)
    frame = prepared.manifest.frame
    classes = np.array([labels.index(label) for label in frame["label"]], dtype=np.int64)
    train, validation = (np.flatnonzero(frame["split"] == part) for part in ("train", "validation"))
    return TrainingData(prepared.pixels, classes, labels, train, validation, "bench")


def time_to_accuracy() -> Callable[[float], float]:
    """Train the fast recipe; the seconds until it is as good on validation as the peer ever is.

    Turn n is seed n of the peer, and seed 10 + n of ours. A training that never gets there takes
    for ever.
    """
    from hurdles.training.loop import train

    recipe, prepared = prepared_images(FAST)
    data, turns = training_data(prepared), iter(seeds())

    def turn(_: float) -> float:
        seed = next(turns)
        began = time.perf_counter()
        trained = train(recipe.changed(training={"seed": FIRST + seed}), data)
        took = time.perf_counter() - began
        history = trained.history.frame
        enough = history["validation_accuracy"] >= best_of(seed)[0] - 1e-6
        shown = test_accuracy(trained, prepared)
        accuracies = ", ".join(f"{100 * a:.1f}" for a in history["validation_accuracy"])
        print(f"seed {seed}: validation {accuracies} %; test {100 * shown:.1f} %", file=sys.stderr)
        if not enough.any():
            return math.inf
        return took - float(history["seconds"][int(enough.idxmax()) + 1 :].sum())

    return turn


def epochs_of_fast() -> Callable[[float], list[str]]:
    """Train the fast recipe once: size, seconds and validation accuracy of every epoch."""
    from hurdles.training.loop import train

    recipe, prepared = prepared_images(FAST)
    data = training_data(prepared)

    def turn(_: float) -> list[str]:
        rows = train(recipe.changed(training={"seed": FIRST}), data).history.frame
        return [
            f"epoch {row.epoch}, {row.size:.0f} px: {row.seconds:5.1f} s, "
            f"validation {100 * row.validation_accuracy:.1f} %"
            for row in rows.itertuples()
        ]

    return turn


def test_accuracy(trained, prepared) -> float:
    """Return the accuracy on test images, which nothing is chosen by."""
    from hurdles.models import build
    from hurdles.training.prediction import probabilities

    network = build(trained.spec, seed=0)
    network.load_state_dict(trained.best)
    test = prepared.manifest.frame["split"] == "test"
    truth = prepared.manifest.frame["label"][test]
    answers = probabilities(network, prepared.pixels[np.flatnonzero(test)]).argmax(axis=1)
    return float((np.array(trained.spec.labels)[answers] == truth.to_numpy()).mean())


def keras_time() -> Callable[[float], float]:
    """Measure the peer's seconds for an epoch, times its epochs to its best; turn n is seed n.

    An epoch is not trained in full: steps are timed for so long as the turn has, and the
    validation batches likewise.
    """
    import keras
    from images import read_image
    from lazaro_barco_keras import Batches, baseline

    _, prepared = prepared_images(BASELINE)
    frame, turns = prepared.manifest.frame, iter(seeds())
    labels = sorted(frame["label"].unique())
    counts = frame["split"].value_counts()
    some = frame[frame["split"] == "train"].iloc[:256]
    pixels = np.stack([read_image(path, 224) for path in some["path"]])
    y = np.eye(len(labels), dtype="float32")[[labels.index(label) for label in some["label"]]]
    keras.utils.set_random_seed(0)
    model, batches = baseline(224, len(labels)), Batches(pixels, y, size=32, seed=0)

    def per_image(work: Callable[..., object], seconds: float) -> float:
        began, n = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            work(batches, verbose=0)
            n += len(pixels)
        return (time.perf_counter() - began) / n

    model.fit(batches, verbose=0)
    model.evaluate(batches, verbose=0)

    def turn(seconds: float) -> float:
        epoch = counts["train"] * per_image(model.fit, 0.75 * seconds)
        epoch += counts["validation"] * per_image(model.evaluate, 0.25 * seconds)
        return best_of(next(turns))[1] * epoch

    return turn


def baseline_memory(epochs: int) -> Callable[[float], float]:
    """Run the whole experiment, from files to the report; the most memory that it held, MiB."""

    def turn(_: float) -> float:
        with tempfile.TemporaryDirectory() as folder:
            code = (
                "import hurdles, resource, sys\n"
                f"hurdles.run({BASELINE!r}, data=sys.argv[1], out=sys.argv[2], "
                f"settings={{'training.epochs': {epochs}}})\n"
                "print(max(resource.getrusage(who).ru_maxrss for who in\n"
                "    (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024)"
            )
            data = Path(os.environ["HURDLES_DATA"]) / COLLECTION
            command = [sys.executable, "-c", code, str(data), str(Path(folder) / "run")]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            return float(done.stdout.split()[-1])

    return turn


TIMED = (
    Row(
        "time-to-accuracy",
        "time to the best validation accuracy of Keras' 30 epochs, published split",
        "s",
        (
            Side("hurdles", "recipes:time_to_accuracy"),
            Side("Keras", "recipes:keras_time", environment=KERAS),
        ),
        (Goal(40, "Keras", "avx512-bf16"), Goal(10, "Keras", "avx2")),
        better="lower",
        turns=len(seeds()),
        seconds=16.0,
        needs=COLLECTION,
        profile="recipes:epochs_of_fast",
        note=(
            f"Turn n is seed n of the peer and {FIRST} + n of hurdles, whose recipe {FAST} was "
            "chosen on the validation accuracies of seeds 0 to 2, never on test images. "
            "hurdles: the whole training from prepared pixels, validation included, until the "
            "first epoch that is as good on the validation images as the best of the peer's 30; "
            "for ever if none is. Keras: epochs to that best one, which do not depend on the clock "
            "(docs/results/keras-epochs.csv), times its seconds for an epoch, which are measured "
            "here in turns with ours."
        ),
    ),
)

#: Without a seed of the peer that was trained to its end there is nothing to compare with.
ROWS = (
    *(TIMED if seeds() else ()),
    Row(
        "baseline-memory",
        "memory of the baseline on 2,905 images at 224 px, from files to the report",
        "MiB",
        (Side("hurdles", "recipes:baseline_memory", {"epochs": 1}),),
        (Goal(2048),),
        better="lower",
        turns=1,
        needs=COLLECTION,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    _, prepared = prepared_images(BASELINE)
    with tempfile.TemporaryDirectory() as folder:
        table = prepared.manifest.save(Path(folder) / "table.csv")
        peer = HERE.parent / "peers" / "lazaro_barco_epochs.py"
        command = [sys.executable, str(peer), str(table), "--out", str(EPOCHS), "--seeds"]
        command += [str(seed) for seed in options.seeds]
        subprocess.run(command, check=True, env={**os.environ, **KERAS, "PYTHONPATH": ""})


if __name__ == "__main__":
    main()
