"""Answers of the Keras network about a folder of PNGs, as the command door of hurdles wants them.

python bench/peers/predict_keras.py IMAGES OUT --model lazaro-barco.keras
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # that of the training

import keras
import numpy as np
from images import read_image

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    options = parser.parse_args()
    model = keras.saving.load_model(options.model, compile=False)
    about = json.loads(options.model.with_suffix(".json").read_text())
    paths = sorted(options.images.glob("*.png"))
    with options.out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", *about["classes"]])
        for first in range(0, len(paths), BATCH):
            some = paths[first : first + BATCH]
            x = np.stack([read_image(path, about["size"]) for path in some])
            x = np.repeat(x[..., None].astype("float32") / 255, 3, axis=-1)
            p = np.asarray(model.predict_on_batch(x), dtype=float)
            writer.writerows([path.name, *row] for path, row in zip(some, p.tolist(), strict=True))
            handle.flush()
            print(f"{first + len(some)} of {len(paths)}")


if __name__ == "__main__":
    main()
