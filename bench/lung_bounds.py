"""How the bounds of plausibility lie around lung masks that were drawn by hand.

``python bench/lung_bounds.py`` prints percentiles of every measure over the masks of the
Montgomery, Shenzhen and Cohen collections, found under ``$HURDLES_DATA``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from hurdles.lungs.find import SIZE
from hurdles.lungs.mask import BOUNDS, clean, measures

MASKS = {
    "Montgomery": ("Lung Segmentation/masks", "MCUCXR*"),
    "Shenzhen": ("Lung Segmentation/masks", "CHNCXR*"),
    "Cohen, by V7 Labs": ("covid-chestxray-dataset/annotations/v7labs-lung-masks", "*"),
}
PERCENTILES = (0, 0.5, 1, 50, 99, 99.5, 100)


def measured_masks(paths: Sequence[Path]) -> tuple[list[dict[str, float]], list[str]]:
    """Measure masks that are not empty, and name those that would be flagged."""
    rows, flagged = [], []
    for path in paths:
        drawn = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).astype(np.float32)
        if not drawn.any():
            continue
        lungs = clean(cv2.resize(drawn, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
        if lungs.flaw:
            flagged.append(f"{path.stem}: {lungs.flaw}")
        count, labels = cv2.connectedComponents(lungs.mask.astype(np.uint8))
        parts = sorted(
            (labels == i for i in range(1, count)), key=lambda p: np.nonzero(p)[1].mean()
        )
        if len(parts) == 2:
            rows.append(measures(*parts))
    return rows, flagged


def main() -> None:
    data, everything = Path(os.environ["HURDLES_DATA"]), []
    for name, (folder, pattern) in MASKS.items():
        rows, flagged = measured_masks(sorted((data / folder).glob(pattern)))
        everything += rows
        print(f"{name}: {len(rows)} masks with two parts, {len(flagged)} flagged")
        print_percentiles(rows)
        print(*(f"  {line}" for line in flagged), sep="\n")
    print(f"all: {len(everything)} masks")
    print_percentiles(everything)


def print_percentiles(rows: list[dict[str, float]]) -> None:
    print(f"  {'percentile':12}" + "".join(f"{p:8g}" for p in PERCENTILES) + "   bounds")
    for name, bound in BOUNDS.items() if rows else ():
        values = np.percentile([row[name] for row in rows], PERCENTILES)
        shown = "".join(f"{value:8.3f}" for value in values)
        print(f"  {name:12}{shown}   {bound.low:g} to {bound.high:g}")


if __name__ == "__main__":
    main()
