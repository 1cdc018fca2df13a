"""Images of the peers: a folder with a folder for each class, or a table with path, label, split.

Nothing here comes from hurdles: it is what a user's own script would do.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

SUFFIXES = {".jpeg", ".jpg", ".png"}


def read_table(data: Path, seed: int = 42) -> pd.DataFrame:
    """Return path, label, split (and what else a table has), one row per image."""
    if data.is_dir():
        return split_as_published(read_folders(data), seed)
    table = pd.read_csv(data, dtype=str, keep_default_na=False)
    if missing := {"path", "label", "split"} - {*table.columns}:
        raise SystemExit(f"{data} has no column {', '.join(sorted(missing))}")
    table["path"] = [str(data.parent / path) for path in table["path"]]
    return table


def read_folders(data: Path) -> pd.DataFrame:
    """Return path and label: the name of the folder that the image lies in."""
    files = sorted(p for p in data.glob("*/*") if p.suffix.lower() in SUFFIXES)
    files.sort(key=lambda p: (p.parent.name, [int(n) for n in re.findall(r"\d+", p.name)], p.name))
    if not files:
        raise SystemExit(f"{data} has no folders of images")
    return pd.DataFrame({"path": [str(p) for p in files], "label": [p.parent.name for p in files]})


def split_as_published(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the table split by image, 70, 15 and 15 %: patients may stand in two parts."""
    train, rest = train_test_split(table, test_size=0.3, random_state=seed, stratify=table["label"])
    validation, test = train_test_split(
        rest, test_size=0.5, random_state=seed, stratify=rest["label"]
    )
    parts = {"train": train, "validation": validation, "test": test}
    return pd.concat([part.assign(split=name) for name, part in parts.items()]).sort_index()


def read_image(path: str | Path, size: int) -> np.ndarray:
    """Return a gray image of size x size, uint8."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SystemExit(f"{path} cannot be read as an image")
    shrinks = min(image.shape) > size
    return cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def write_predictions(
    path: Path, table: pd.DataFrame, classes: list[str], probabilities: np.ndarray
) -> None:
    """Write the answers to a table's images, with the truth and what names patient and source."""
    beside = [c for c in ("image", "path", "label", "patient", "source", "split") if c in table]
    frame = table[beside].reset_index(drop=True)
    for column, name in enumerate(classes):
        frame[f"p:{name}"] = probabilities[:, column].astype(float)
    frame.to_csv(path, index=False)
