"""A scikit-learn pipeline that sees a thumbnail of 16x16 pixels: trained, and asked about a folder.

    python bench/peers/thumbnails.py train DATA --model thumbnails.joblib
    python bench/peers/thumbnails.py predict IMAGES OUT --model thumbnails.joblib

DATA is a folder with a folder of images for each class, or a table with path, label and split. The
model is kept by joblib, a pickle: hurdles never loads one, but this script, in its user's own
environment, may.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from images import read_image, read_table, write_predictions
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SIDE = 16


def thumbnails(paths: list[Path] | list[str]) -> np.ndarray:
    return np.stack([read_image(path, SIDE).ravel() for path in paths]).astype(float)


def train(options: argparse.Namespace) -> None:
    table = read_table(options.data)
    parts = {name: table[table["split"] == name] for name in ("train", "test")}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    pipeline.fit(thumbnails(parts["train"]["path"].tolist()), parts["train"]["label"])
    joblib.dump(pipeline, options.model)
    test = parts["test"]
    x = thumbnails(test["path"].tolist())
    print(f"test: {pipeline.score(x, test['label']):.1%} of {len(test)} right")
    predictions = options.model.with_suffix(".predictions.csv")
    write_predictions(predictions, test, pipeline.classes_.tolist(), pipeline.predict_proba(x))


def predict(options: argparse.Namespace) -> None:
    pipeline = joblib.load(options.model)
    paths = sorted(options.images.glob("*.png"))
    p = pd.DataFrame(pipeline.predict_proba(thumbnails(paths)), columns=pipeline.classes_)
    p.insert(0, "image", [path.name for path in paths])
    p.to_csv(options.out, index=False)
    print(f"{len(paths)} images")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    for verb, names in ((train, ["data"]), (predict, ["images", "out"])):
        one = verbs.add_parser(verb.__name__)
        for name in names:
            one.add_argument(name, type=Path)
        one.add_argument("--model", type=Path, default=Path("thumbnails.joblib"))
        one.set_defaults(verb=verb)
    options = parser.parse_args()
    options.verb(options)


if __name__ == "__main__":
    main()
