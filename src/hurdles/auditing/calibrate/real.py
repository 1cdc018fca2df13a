"""Real radiographs of one class in memory, into which shortcuts are planted."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.calibrate.pool import CLASSES, PLAIN, Shelf
from hurdles.auditing.loading import material_of
from hurdles.data.files import replacing
from hurdles.data.manifest import Manifest
from hurdles.data.reading import read_manifest
from hurdles.errors import HurdlesError, RunError
from hurdles.pixels.plant import plant
from hurdles.runs.images import Options

_LABEL = "No Finding"
_COLUMNS = ("image", "label", "patient", "source", "view", "sex", "age")


@dataclass(frozen=True, eq=False)
class RealStock:
    """Images of patients of one class; a `hurdles.auditing.calibrate.pool.Stock`.

    Parameters
    ----------
    frame : DataFrame
        As in `Shelf`; every label is the class without a disease.
    pixels : uint8 array of shape (N, S, S)
    masks : bool array of shape (N, S, S), optional
        The lungs as they were found; None where they were not looked for.
    """

    frame: pd.DataFrame
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None = None

    def shelf(self, state: str) -> Shelf:
        """Return all images in one state; planted pixels are kept."""
        return _planted(self, state)

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        arrays: dict[str, Any] = {f"frame:{c}": _text(self.frame[c]) for c in self.frame}
        if self.masks is not None:
            arrays["masks"] = self.masks
        with replacing(path) as part, part.open("wb") as handle:
            np.savez(handle, pixels=self.pixels, **arrays)

    @classmethod
    def load(cls, path: Path) -> RealStock:
        """Read what `save` wrote."""
        if not path.exists():
            raise RunError(f"{path} is missing; calibrate again.")
        with np.load(path) as held:
            columns = {k.removeprefix("frame:"): held[k] for k in held if k.startswith("frame:")}
            frame = pd.DataFrame(columns)
            for column in ("source", "view", "sex"):
                frame[column] = frame[column].where(frame[column] != "", None)
            frame["age"] = pd.to_numeric(frame["age"], errors="coerce")
            return cls(frame, held["pixels"], held.get("masks"))


def read_stock(folder: Path, *, size: int, options: Options) -> RealStock | None:
    """Read the adults without findings of the collection ``darkcovidnet``, with their lungs."""
    root = folder / "X-Ray Image DataSet"
    try:
        manifest = read_manifest(root, collection="darkcovidnet")
    except HurdlesError as error:
        options.listener.say(f"nothing is planted into real images: {error}")
        return None
    rows = manifest.frame[manifest.frame["label"] == _LABEL]
    alike = Manifest(rows.assign(label=CLASSES[1]).reset_index(drop=True))
    found = material_of(alike, name=root.name, options=options, size=size)
    return RealStock(found.manifest.frame[list(_COLUMNS)], np.asarray(found.pixels), found.masks)


@functools.lru_cache(maxsize=3)
def _planted(stock: RealStock, state: str) -> Shelf:
    if state == PLAIN:
        return Shelf(stock.frame, stock.pixels, stock.masks)
    name, _, where = state.rpartition("-")
    present = np.full(len(stock.pixels), where == "present")
    return Shelf(stock.frame, plant(name, stock.pixels, present), stock.masks)


def _text(column: pd.Series[Any]) -> NDArray[np.str_]:
    return np.array(["" if pd.isna(v) else str(v) for v in column], dtype=str)
