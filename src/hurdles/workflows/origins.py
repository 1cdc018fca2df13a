"""Where images come from: fingerprints of collections, and what stands in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.alignment import PRINT_SIZE
from hurdles.data.cache import Prepared
from hurdles.data.files import write_text
from hurdles.data.lineage import (
    Fingerprint,
    shipped_fingerprints,
    summary,
    write_fingerprint,
)
from hurdles.data.lineage import lineage as find_lineage
from hurdles.data.sources import COLLECTIONS
from hurdles.errors import ManifestError
from hurdles.images import Options, prepare_as
from hurdles.imaging.prepare import Preparation
from hurdles.locations import Data, manifest_of, name_of

__all__ = ["Lineage", "fingerprint", "lineage"]


@dataclass(frozen=True, eq=False)
class Lineage:
    """Which images stand in which collections.

    Parameters
    ----------
    table : DataFrame
        One row per image and collection that holds it, columns as in
        `hurdles.data.lineage.COLUMNS`.
    n_images : int
        How many images were asked about.
    """

    table: pd.DataFrame
    n_images: int

    @property
    def summary(self) -> pd.DataFrame:
        """One row per collection, columns as in `hurdles.data.lineage.SUMMARY`."""
        return summary(self.table, self.n_images)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "n_images": self.n_images,
            "collections": self.summary.to_dict("records"),
            "images": self.table.to_dict("records"),
        }


def lineage(
    data: Data,
    *,
    out: str | Path | None = None,
    fingerprints: Sequence[str | Path] = (),
    columns: Mapping[str, str] | None = None,
    options: Options | None = None,
) -> Lineage:
    """Find out which images come from which public collection.

    Parameters
    ----------
    data : Data
        The images.
    out : path, optional
        Where to write the table (CSV).
    fingerprints : sequence of path
        Files that `fingerprint` wrote, beside those that ship with hurdles.
    columns : mapping, optional
        Columns of a table -> columns of a manifest; see `hurdles.run`.
    options : Options, optional
        Where the cache is, who listens.

    Raises
    ------
    ManifestError
        If no image can be read.
    CollectionError
        If a fingerprint cannot be read.
    """
    known = [*shipped_fingerprints(), *map(Fingerprint.load, fingerprints)]
    images = _small(data, columns, options or Options())
    found = Lineage(find_lineage(images, known), len(images))
    if out is not None:
        write_text(out, found.table.to_csv(index=False, lineterminator="\n"))
    return found


def fingerprint(
    data: Data,
    *,
    out: str | Path,
    name: str | None = None,
    version: str = "",
    columns: Mapping[str, str] | None = None,
    options: Options | None = None,
) -> Path:
    """Write the fingerprint of a collection: hashes of its images by name, and no pixels.

    Parameters
    ----------
    data : Data
        The collection.
    out : path
        The file to write (``.npz``).
    name : str, optional
        What the collection is called; default: from `data`.
    version : str
        Which state of it.
    columns : mapping, optional
        Columns of a table -> columns of a manifest; see `hurdles.run`.
    options : Options, optional
        Where the cache is, who listens.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ManifestError
        If no image can be read.
    """
    images = _small(data, columns, options or Options())
    name = name or name_of(data)
    licence = COLLECTIONS.get(name).licence if name in COLLECTIONS else ""
    return write_fingerprint(images, out, name=name, version=version, licence=licence)


def _small(data: Data, columns: Mapping[str, str] | None, options: Options) -> Prepared:
    manifest = manifest_of(data, columns=columns)
    images = prepare_as(manifest, Preparation(PRINT_SIZE), options)
    if not len(images):
        raise ManifestError(f"none of {len(manifest)} images can be read.")
    return images
