"""What a network has seen, written down so that a later test can leave it out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.cells import as_csv, from_cells
from hurdles.data.files import write_text
from hurdles.errors import RunError


def fingerprints(pixels: NDArray[np.uint8]) -> list[str]:
    """Return the SHA-256 of each image's prepared pixels.

    Examples
    --------
    >>> one, two = fingerprints(np.zeros((2, 4, 4), dtype=np.uint8))
    >>> one == two, one[:8]
    (True, '374708ff')
    """
    return [hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest() for row in pixels]


def save_fingerprints(path: Path, images: list[str], pixels: NDArray[np.uint8]) -> None:
    """Write one row per image, in CSV: its name and the hash of its pixels.

    The hashes tell nothing of a patient, and go with the run's folder to where its training images
    are not.
    """
    write_text(path, as_csv(pd.DataFrame({"image": images, "sha256": fingerprints(pixels)})))


def load_fingerprints(path: Path) -> set[str]:
    """Return the hashes that `save_fingerprints` wrote; raises as `images_by_fingerprint`."""
    return set(images_by_fingerprint(path))


def images_by_fingerprint(path: Path) -> dict[str, str]:
    """Return the names that `save_fingerprints` wrote, by the hash of their pixels."""
    try:
        text = pd.read_csv(path, usecols=["image", "sha256"], dtype="str", keep_default_na=False)
        table = from_cells(text)
        return dict(zip(table["sha256"], table["image"], strict=True))
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error}). Restore it, or make the run again in another folder."
        ) from error
