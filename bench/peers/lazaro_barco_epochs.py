"""Validation accuracy by epoch of the Keras peer: what a faster recipe has to reach.

    KERAS_BACKEND=tensorflow python bench/peers/lazaro_barco_epochs.py TABLE --seeds 0 1 2 3 4

Trains the first network of Lázaro and Barco 2020 (`lazaro_barco_keras.py`) once for each seed and
writes a line after every epoch: seed, epoch, validation accuracy, wall and processor seconds, and,
in the line of the last epoch, the test accuracy of the epoch with the best validation, by which
nothing is chosen. Seeds that the file has in full are not trained again; those cut short begin
anew. TABLE has the columns path, label and split.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from images import read_table
from lazaro_barco_keras import Batches, as_seen, baseline, part_of

COLUMNS = ("seed", "epoch", "validation_accuracy", "seconds", "cpu_seconds", "test_accuracy")


class Writer(keras.callbacks.Callback):
    """Writes a line after each epoch, and the test accuracy of the best one at the end."""

    def __init__(self, out: Path, seed: int, epochs: int, test: tuple[np.ndarray, ...]) -> None:
        super().__init__()
        self.out, self.seed, self.epochs, self.test = out, seed, epochs, test
        self.best, self.of_test = -1.0, float("nan")

    def on_epoch_begin(self, *_: object) -> None:
        """Look at the clocks."""
        self.began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write the epoch's line."""
        wall, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        accuracy = float(logs["val_accuracy"])
        if accuracy > self.best:
            self.best, self.of_test = accuracy, accuracy_of(self.model, *self.test)
        last = f"{self.of_test:.6f}" if epoch + 1 == self.epochs else ""
        with self.out.open("a", encoding="utf-8") as file:
            file.write(f"{self.seed},{epoch + 1},{accuracy:.6f},{wall:.2f},{cpu:.2f},{last}\n")


def accuracy_of(model: keras.Model, images: np.ndarray, y: np.ndarray) -> float:
    parts = [
        model.predict_on_batch(as_seen(images[n : n + 64])).argmax(axis=1)
        for n in range(0, len(images), 64)
    ]
    return float((np.concatenate(parts) == y.argmax(axis=1)).mean())


def finished(out: Path, epochs: int) -> set[int]:
    """Return the seeds that the file has in full, and drop the lines of others from it."""
    if not out.exists():
        out.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    counts = table["seed"].value_counts()
    done = {seed for seed, n in counts.items() if n == epochs}
    table[table["seed"].isin(done)].to_csv(out, index=False)
    return {int(seed) for seed in done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("epochs.csv"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()

    table = read_table(options.data)
    classes = sorted(table["label"].unique())
    train, validation, test = (
        part_of(table, part, classes, options.size) for part in ("train", "validation", "test")
    )
    done = finished(options.out, options.epochs)
    for seed in options.seeds:
        if seed in done:
            continue
        keras.utils.set_random_seed(seed)
        baseline(options.size, len(classes)).fit(
            Batches(*train, size=options.batch, seed=seed),
            validation_data=Batches(*validation, size=options.batch, seed=None),
            epochs=options.epochs,
            callbacks=[Writer(options.out, seed, options.epochs, test)],
            verbose=0,
        )


if __name__ == "__main__":
    main()
