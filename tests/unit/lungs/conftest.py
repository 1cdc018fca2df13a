"""Two hospitals of drawn chests: grey squares with two dark ellipses, and masks of those."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest


def drawn_lungs(seed: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 pixels and a bool mask of one chest."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.uint8)
    for centre in (0.3, 0.7):
        at = (int(size * (centre + rng.uniform(-0.03, 0.03))), int(size * 0.5))
        axes = (int(size * rng.uniform(0.12, 0.15)), int(size * rng.uniform(0.26, 0.32)))
        cv2.ellipse(mask, at, axes, 0, 0, 360, 1, -1)
    grey = np.where(mask, 70, 180) + rng.normal(0, 8, mask.shape)
    return np.clip(grey, 0, 255).astype(np.uint8), mask.astype(bool)


def drawn_collection(folder: Path, count: int = 16) -> Manifest:
    """Write chests of the hospitals 'here' and 'there', half each, and return their manifest."""
    rows = []
    for i in range(count):
        pixels, mask = drawn_lungs(i)
        paths = folder / f"{i}.png", folder / f"{i}_mask.png"
        cv2.imwrite(str(paths[0]), pixels)
        cv2.imwrite(str(paths[1]), mask.astype(np.uint8) * 255)
        rows.append(
            {
                "image": str(i),
                "path": str(paths[0]),
                "label": "Normal",
                "patient": str(i),
                "source": "there" if i % 2 else "here",
                "mask": str(paths[1]),
            }
        )
    return Manifest(pd.DataFrame(rows))


@pytest.fixture(scope="session")
def chest():
    return drawn_lungs


@pytest.fixture(scope="session")
def chests(tmp_path_factory) -> Manifest:
    return drawn_collection(tmp_path_factory.mktemp("chests"))
