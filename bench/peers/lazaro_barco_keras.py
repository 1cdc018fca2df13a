"""The first network of Lázaro and Barco 2020 in Keras, as their notebook trains it.

    KERAS_BACKEND=torch python bench/peers/lazaro_barco_keras.py DATA --out lazaro-barco.keras

DATA is a folder with a folder of images for each class, or a table with the columns path, label and
split, such as the manifest.csv of a run of hurdles: then both networks stand on the same images.

Three 3x3 convolutions of 32, 64 and 128 filters with ReLU, each followed by 2x2 max pooling;
flatten; dense 64 with ReLU; dropout 0.3; dense with softmax. From scratch on 224x224 pixels, the
gray image in three channels, divided by 255; Adam with 0.001, categorical cross-entropy, batches of
32, 30 epochs. `--augment COVID-19` adds flipped and turned copies of that class, until there are as
many as the paper's 889. `--keep last` keeps the weights of the last epoch, which their notebook
tests; `best`, those of the best validation accuracy, which their text describes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # no TensorFlow is needed

import cv2
import keras
import numpy as np
import pandas as pd
from images import read_image, read_table, write_predictions
from keras import layers

#: 153 COVID-19 images of the training part, and 736 copies.
AUGMENTED = 889


class Batches(keras.utils.PyDataset):
    """Batches of images in three channels within [0, 1], and their classes one-hot."""

    def __init__(self, images: np.ndarray, y: np.ndarray, *, size: int, seed: int | None) -> None:
        super().__init__()
        self.images, self.y, self.size = images, y, size
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.order = np.arange(len(y))
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.y) // self.size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * self.size : (index + 1) * self.size]
        return as_seen(self.images[rows]), self.y[rows]

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        if self.rng is not None:
            self.rng.shuffle(self.order)


def as_seen(images: np.ndarray) -> np.ndarray:
    return np.repeat(images[..., None].astype("float32") / 255, 3, axis=-1)


def baseline(size: int, classes: int) -> keras.Model:
    model = keras.Sequential([keras.Input((size, size, 3))])
    for filters in (32, 64, 128):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(classes, activation="softmax"))
    model.compile(
        optimizer=keras.optimizers.Adam(0.001),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def copies(images: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return n copies, flipped, and turned by up to 15 degrees without black corners."""
    rng = np.random.default_rng(seed)
    out = []
    for image in images[rng.integers(0, len(images), n)]:
        if rng.random() < 0.7:
            image = image[:, ::-1]
        if rng.random() < 0.7:
            angle, side = rng.uniform(-15, 15), image.shape[0]
            turned = np.radians(abs(angle))
            scale = np.cos(turned) + np.sin(turned)
            matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, scale)
            image = cv2.warpAffine(np.ascontiguousarray(image), matrix, (side, side))
        out.append(image)
    return np.stack(out)


def part_of(
    table: pd.DataFrame, split: str, classes: list[str], size: int
) -> tuple[np.ndarray, ...]:
    rows = table[table["split"] == split]
    images = np.stack([read_image(path, size) for path in rows["path"]])
    y = np.eye(len(classes), dtype="float32")[[classes.index(label) for label in rows["label"]]]
    return images, y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("lazaro-barco.keras"))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", choices=["best", "last"], default="best")
    parser.add_argument("--augment", metavar="CLASS", help="add altered copies of this class")
    parser.add_argument("--most", type=int, help="so many images of each part only, to try it")
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    table = read_table(options.data)
    if options.most:
        table = table.groupby("split", group_keys=False).sample(options.most, random_state=0)
    classes = sorted(table["label"].unique())
    x, y = part_of(table, "train", classes, options.size)
    if options.augment:
        own = x[y[:, classes.index(options.augment)] == 1]
        more = copies(own, max(0, AUGMENTED - len(own)), options.seed)
        x = np.concatenate([x, more])
        one = np.eye(len(classes), dtype="float32")[classes.index(options.augment)]
        y = np.concatenate([y, np.tile(one, (len(more), 1))])
    validation = Batches(
        *part_of(table, "validation", classes, options.size), size=options.batch, seed=None
    )
    model = baseline(options.size, len(classes))
    callbacks = []
    if options.keep == "best":
        callbacks.append(
            keras.callbacks.ModelCheckpoint(
                options.out, monitor="val_accuracy", mode="max", save_best_only=True
            )
        )
    began = time.time()
    model.fit(
        Batches(x, y, size=options.batch, seed=options.seed),
        validation_data=validation,
        epochs=options.epochs,
        callbacks=callbacks,
        verbose=2,
    )
    print(f"trained in {time.time() - began:.0f} s on {len(x)} images")
    if options.keep == "last":
        model.save(options.out)
    model = keras.saving.load_model(options.out)
    options.out.with_suffix(".json").write_text(
        json.dumps({"classes": classes, "size": options.size})
    )
    images, truth = part_of(table, "test", classes, options.size)
    p = np.concatenate(
        [model.predict_on_batch(as_seen(images[n : n + 64])) for n in range(0, len(images), 64)]
    )
    right = p.argmax(axis=1) == truth.argmax(axis=1)
    print(f"test: {right.sum()} of {len(right)} right ({right.mean():.1%})")
    test = table[table["split"] == "test"]
    write_predictions(options.out.with_suffix(".predictions.csv"), test, classes, p)


if __name__ == "__main__":
    main()
