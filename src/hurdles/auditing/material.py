"""Images in memory with all that is known of them: what hurdles are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError, ImageError
from hurdles.evaluation.predictions import Predictions

__all__ = ["Material"]


@dataclass(frozen=True, eq=False)
class Material:
    """Images with their manifest, their files' facts and, where they were looked for, their lungs.

    Everything is in memory or memory-mapped, so that a hurdle reads no file, and a simulation can
    be asked exactly what real images are asked.

    Parameters
    ----------
    name : str
        What a reader calls it, e.g. a collection's name.
    manifest : Manifest
        One row per image that could be read.
    pixels : uint8 array of shape (N, S, S)
        As decoded and resized, nothing else (preparation ``raw``); row i belongs to row i of the
        manifest. S is at least 64.
    facts : DataFrame
        What the files say of themselves, one row per image in the same order, columns as in
        `hurdles.pixels.facts.COLUMNS`; without columns where there are no files.
    masks : bool array of shape (N, S, S), optional
        True in the lungs; all False where they were not found. None where they were not looked for.
    failures : mapping of str to ImageError
        The images that could not be read, by name.
    level : float
        Confidence level of every interval, within (0, 1).
    seed : int
        Of every random choice.

    Raises
    ------
    HurdleError
        If rows, pixels, facts and masks are not of the same images, or there is no image.
    """

    name: str
    manifest: Manifest
    pixels: NDArray[np.uint8]
    facts: pd.DataFrame = field(default_factory=pd.DataFrame)
    masks: NDArray[np.bool_] | None = None
    failures: Mapping[str, ImageError] = field(default_factory=dict)
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        n = len(self.manifest)
        if len(self.facts.columns) == 0:
            object.__setattr__(self, "facts", pd.DataFrame(index=range(n)))
        counts = {"pixels": len(self.pixels), "facts": len(self.facts)}
        if self.masks is not None:
            counts["masks"] = len(self.masks)
        wrong = ", ".join(f"{k} {v}" for k, v in counts.items() if v != n)
        if wrong or not n:
            raise HurdleError(
                f"{self.name}: {n} rows in the manifest, but {wrong or 'no image at all'}; give "
                "one of each per image."
            )

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def labels(self) -> NDArray[np.str_]:
        """The class of each image, shape (N,)."""
        return self.manifest.frame["label"].to_numpy(dtype=str)

    @property
    def groups(self) -> NDArray[np.str_]:
        """The patient of each image, shape (N,), as `Manifest.groups` names them."""
        return self.manifest.groups.to_numpy(dtype=str)

    @property
    def has_lungs(self) -> NDArray[np.bool_]:
        """True where lungs were found, shape (N,).

        Raises
        ------
        HurdleError
            If they were not looked for, or found in no image.
        """
        if self.masks is None:
            raise HurdleError("the lungs were not looked for; nothing can be said of them.")
        present = np.asarray(self.masks.any(axis=(1, 2)))
        if not present.any():
            raise HurdleError(f"no lungs were found in any of {len(self)} images.")
        return present

    def rows(self, split: Split | str) -> NDArray[np.int64]:
        """Return the positions of the images of one split."""
        return np.flatnonzero(self.manifest.frame["split"] == Split(split).value)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Material:
        """Return some of the images, in the order of `rows` (positions, or a mask)."""
        where = np.asarray(rows)
        where = np.flatnonzero(where) if where.dtype == np.bool_ else where
        frame = self.manifest.frame.iloc[where].reset_index(drop=True)
        return replace(
            self,
            manifest=Manifest(frame, self.manifest.exclusions),
            pixels=self.pixels[where],
            facts=self.facts.iloc[where].reset_index(drop=True),
            masks=None if self.masks is None else self.masks[where],
        )

    def predictions(self, classes: Sequence[str], probability: NDArray[np.floating]) -> Predictions:
        """Return probabilities of `classes`, shape (N, K), as a table of predictions."""
        frame = self.manifest.frame
        return Predictions.from_arrays(
            classes,
            y_true=frame["label"].tolist(),
            y_prob=probability,
            images=frame["image"].tolist(),
            groups=self.groups.tolist(),
            sources=[None if pd.isna(source) else source for source in frame["source"]],
            paths=frame["path"].tolist(),
        )
