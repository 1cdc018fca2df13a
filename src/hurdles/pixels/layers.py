"""Preparations one above another: what a lung mask is to the image that is masked by it.

Every layer keeps its rows in a folder of its own key, so that what lies beneath is made once for
all preparations that need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from hurdles.errors import CacheError, ImageError, LungsNotFoundError
from hurdles.pixels.decode import DECODER_VERSION
from hurdles.pixels.packs import Packs
from hurdles.pixels.refusals import Refusals


class PixelPreparation(Protocol):
    """What turns decoded pixels into stored ones; `hurdles.pixels.prepare` has the usual one."""

    @property
    def size(self) -> int:
        """Height and width of the result."""

    @property
    def key(self) -> str:
        """All settings and the version of the algorithm: equal keys mean equal results."""

    def __call__(self, pixels: np.ndarray, /) -> np.ndarray:
        """Turn ``float32`` (H, W) in [0, 1] into ``uint8`` (size, size)."""


class LayeredPreparation(PixelPreparation, Protocol):
    """A preparation that may need another one's result of the same pixels."""

    @property
    def beneath(self) -> PixelPreparation | None:
        """What has to be prepared first, if anything; its key is part of this one's."""

    def __call__(self, pixels: np.ndarray, lower: np.ndarray | None = None, /) -> np.ndarray:
        """Turn pixels into ``uint8`` (size, size); `lower` is what `beneath` made of them."""


class Layer:
    """One preparation with its rows, and the contents that it refuses.

    Parameters
    ----------
    preparation : PixelPreparation
        What makes a row of decoded pixels.
    cache : Path
        The cache's folder.
    """

    def __init__(self, preparation: PixelPreparation, cache: Path) -> None:
        self.preparation = preparation
        folder = cache / f"{preparation.key}-d{DECODER_VERSION}"
        self.packs = Packs(folder, preparation.size)
        self.refusals = Refusals(folder)
        self.rows: dict[str, np.ndarray] = {}

    def find(self, keys: Iterable[str]) -> None:
        """Open the rows of these contents, as far as they were made before."""
        self.rows = self.packs.rows(keys)

    def make(self, pixels: np.ndarray, lower: np.ndarray | None, path: str) -> np.ndarray:
        """Prepare one image."""
        arguments = (pixels,) if lower is None else (pixels, lower)
        try:
            row = self.preparation(*arguments)
        except ImageError as error:
            error.path = error.path or Path(path)
            raise
        size = self.preparation.size
        if row.shape != (size, size) or row.dtype != np.uint8:
            raise CacheError(
                f"preparation {self.preparation.key!r} made {row.dtype} {row.shape} of {path}; it "
                f"must make uint8 ({size}, {size})."
            )
        return row

    def keep(self, batch: Sequence[Made]) -> None:
        """Put away what this layer made or refused of a batch of files."""
        rows = {made.key: made.rows[self] for made in batch if self in made.rows}
        if rows:
            self.rows |= self.packs.put_away(rows)
        refused = {made.key: made.error for made in batch if made.refused_by is self}
        self.refusals.put_away(
            {key: error for key, error in refused.items() if isinstance(error, LungsNotFoundError)}
        )

    def merge(self) -> None:
        """Write what was put away into one pack, in place of its batches."""
        self.packs.merge()


@dataclass(frozen=True, eq=False)
class Made:
    """What became of one file.

    Parameters
    ----------
    key : str
        Hash of the file's content.
    rows : dict of Layer to uint8 array
        What was made now: nothing for a layer that had a row already.
    error : ImageError, optional
        Why the file cannot be used.
    refused_by : Layer, optional
        Which layer could not use it; None also where it could not be decoded.
    """

    key: str
    rows: dict[Layer, np.ndarray] = field(default_factory=dict)
    error: ImageError | None = None
    refused_by: Layer | None = None


def layers_of(preparation: PixelPreparation, cache: Path) -> list[Layer]:
    """Return a preparation and all that lies beneath it, the lowest first."""
    found: list[Layer] = []
    current: PixelPreparation | None = preparation
    while current is not None:
        found.insert(0, Layer(current, cache))
        current = getattr(current, "beneath", None)
    return found
