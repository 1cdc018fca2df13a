"""Radiographs and their lung masks as squares, and the splits they are learnt from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hurdles.data.manifest import Manifest
from hurdles.data.split import split
from hurdles.data.vocabulary import Split
from hurdles.errors import ImageError, ManifestError
from hurdles.pixels.cache import prepare
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import Preparation, resize_square

#: As `hurdles.lungs.network.SIZE`, which only torch can import.
_SIZE = 256


@dataclass(frozen=True, eq=False)
class LungData:
    """Images with masks, row by row.

    Parameters
    ----------
    manifest : Manifest
        The images whose mask could be read; the others are among its exclusions.
    pixels : uint8 array of shape (N, 256, 256)
        Decoded pixels, stretched.
    masks : bool array of shape (N, 256, 256)
        True in the lungs.
    """

    manifest: Manifest
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pixels)

    def positions(self, part: Split | str) -> NDArray[np.int64]:
        """Return where the images of one split are."""
        return np.flatnonzero(self.manifest.frame["split"] == Split(part).value)


def read_lungs(manifest: Manifest, *, cache: str | Path | None = None) -> LungData:
    """Read the images that have a mask."""
    masked = manifest.select(manifest.frame["mask"].notna())
    if not len(masked):
        raise ManifestError(
            f"none of {len(manifest)} images has a lung mask. Give a manifest with a 'mask' "
            "column, or the folder of the montgomery-shenzhen collection."
        )
    prepared = prepare(masked, Preparation(_SIZE), cache=cache)
    frame = prepared.manifest.frame
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(_mask, frame["mask"]))
    read = zip(frame["image"], found, strict=True)
    failed = {name: why for name, why in read if isinstance(why, str)}
    kept = [i for i, mask in enumerate(found) if not isinstance(mask, str)]
    if not kept:
        raise ManifestError(
            f"none of {len(found)} lung masks can be used, the first because {found[0]}"
        )
    masks = np.stack([found[i] for i in kept])
    return LungData(
        prepared.manifest.without(failed.keys(), failed.values()), prepared.pixels[kept], masks
    )


def _mask(path: str) -> NDArray[np.bool_] | str:
    try:
        mask: NDArray[np.bool_] = resize_square(decode(path), _SIZE) >= 0.5
    except ImageError as error:
        return f"its mask says nothing: {error}"
    return mask


def split_lungs(
    manifest: Manifest, *, fractions: tuple[float, float, float], seed: int
) -> Manifest:
    """Split by patient, every collection and class shared out alike; a given split is kept."""
    if manifest.frame["split"].notna().all():
        return split(manifest, by="given")
    frame = manifest.frame
    strata = frame["source"].fillna("") + " " + frame["label"]
    done = split(Manifest(frame.assign(label=strata)), fractions=fractions, seed=seed)
    return manifest.with_split(done.frame["split"])


def across(manifest: Manifest, source: str, *, seed: int, validation: float = 0.15) -> Manifest:
    """Train on one collection and test on all others."""
    if source not in manifest.sources or len(manifest.sources) < 2:
        raise ManifestError(
            f"cannot train on {source!r} and test on the others: the sources are "
            f"{', '.join(manifest.sources) or 'not named'}."
        )
    here = (manifest.frame["source"] == source).to_numpy()
    # split() knows no empty test part: the sliver that it makes is trained on.
    sliver = min(0.02, (1 - validation) / 2)
    inside = split_lungs(
        Manifest(manifest.select(here).frame.assign(split=None)),
        fractions=(1 - validation - sliver, validation, sliver),
        seed=seed,
    )
    parts = np.full(len(manifest), Split.TEST.value, dtype=object)
    own = inside.frame["split"].to_numpy()
    parts[here] = np.where(own == Split.VALIDATION.value, own, Split.TRAIN.value)
    return manifest.with_split(parts.tolist())
