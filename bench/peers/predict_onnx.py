"""Answers of an exported network about a folder of PNGs, as the command door of hurdles wants them.

python bench/peers/predict_onnx.py IMAGES OUT --model run.onnx --classes COVID-19 Normal ...
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--classes", nargs="+", required=True)
    options = parser.parse_args()
    session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    answered = session.get_outputs()[0].name
    paths = sorted(options.images.glob("*.png"))
    with options.out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", *options.classes])
        for first in range(0, len(paths), BATCH):
            some = paths[first : first + BATCH]
            gray = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in some])
            x = gray[:, None].astype(np.float32) / 255
            (logits,) = session.run([answered], {given: x})
            p = np.exp(logits - logits.max(axis=1, keepdims=True).astype(np.float64))
            p /= p.sum(axis=1, keepdims=True)
            writer.writerows([path.name, *row] for path, row in zip(some, p.tolist(), strict=True))


if __name__ == "__main__":
    main()
