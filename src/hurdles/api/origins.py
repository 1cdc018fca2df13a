"""Where images come from: fingerprints of collections, and what stands in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.copies.alignment import PRINT_SIZE
from hurdles.copies.lineage import (
    Fingerprint,
    shipped_fingerprints,
    summary,
    with_left_out,
    write_fingerprint,
)
from hurdles.copies.lineage import lineage as find_lineage
from hurdles.data.cells import as_csv
from hurdles.data.files import outputs, write_text
from hurdles.data.manifest import Manifest
from hurdles.data.reading import locate, read_manifest
from hurdles.data.sources import COLLECTIONS
from hurdles.data.vocabulary import OnBad
from hurdles.errors import CollectionError, ManifestError
from hurdles.pixels.cache import Prepared
from hurdles.pixels.prepare import Preparation
from hurdles.runs.images import Options, prepare_as
from hurdles.runs.inputs import Data, files_of, manifest_of, name_of

__all__ = ["Lineage", "fingerprint", "lineage"]


@dataclass(frozen=True, eq=False)
class Lineage:
    """Which images stand in which collections.

    Parameters
    ----------
    table : DataFrame
        One row per image and collection that holds it, columns as in
        `hurdles.copies.lineage.COLUMNS`.
    n_images : int
        How many images were asked about.
    compared : mapping of str to str
        Collections that were asked, each with ``pixels`` (it is on this machine) or ``hashes``.
    """

    table: pd.DataFrame
    n_images: int
    compared: Mapping[str, str]

    @property
    def summary(self) -> pd.DataFrame:
        """One row per collection, columns as in `hurdles.copies.lineage.SUMMARY`."""
        return summary(self.table, self.n_images)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "n_images": self.n_images,
            "compared": dict(self.compared),
            "collections": self.summary.to_dict("records"),
            "images": self.table.astype(object).where(self.table.notna(), None).to_dict("records"),
        }


def lineage(
    data: Data,
    *,
    out: str | Path | None = None,
    fingerprints: Sequence[str | Path] = (),
    columns: Mapping[str, str] | None = None,
    force: bool = False,
    options: Options | None = None,
) -> Lineage:
    """Find out which images come from which public collection.

    Collections that are found under ``$HURDLES_DATA`` are compared by aligned pixels, those images
    of theirs included that their readers leave out; the others by the hashes that ship.

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
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        Where the cache is, who listens.

    Raises
    ------
    ManifestError
        If no image can be read.
    CollectionError
        If a fingerprint cannot be read.
    """
    with outputs(out, inputs=[*fingerprints, *files_of(data)], force=force):
        known = [*shipped_fingerprints(), *map(Fingerprint.load, fingerprints)]
        options = options or Options()
        images = _small(manifest_of(data, columns=columns), options)
        here = _at_hand(options)
        if here:
            options.listener.say(f"comparing pixels with those of {', '.join(here)}")
        compared = {each.name: "hashes" for each in known} | dict.fromkeys(here, "pixels")
        found = Lineage(find_lineage(images, known, here=here), len(images), compared)
        if out is not None:
            write_text(out, as_csv(found.table))
        return found


def fingerprint(
    data: Data,
    *,
    out: str | Path,
    name: str | None = None,
    version: str = "",
    columns: Mapping[str, str] | None = None,
    force: bool = False,
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
    force : bool
        Replace files that hurdles did not write; never an input.
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
    with outputs(out, inputs=files_of(data), force=force):
        manifest, name = manifest_of(data, columns=columns), name or name_of(data)
        # Copies are taken of what a reader leaves out too.
        if len(manifest.exclusions):
            root = os.path.commonpath([*manifest.frame["path"], *manifest.exclusions["path"]])
            manifest = with_left_out(manifest, Path(root))
        images = _small(manifest, options or Options())
        licence = COLLECTIONS.get(name).licence if name in COLLECTIONS else ""
        return write_fingerprint(images, out, name=name, version=version, licence=licence)


def _at_hand(options: Options) -> dict[str, Prepared]:
    """Return the public collections that are on this machine, whole."""
    found = {}
    for name in COLLECTIONS.names():
        try:
            root = locate(name)
            manifest = with_left_out(read_manifest(root, collection=name), root)
        except (CollectionError, ManifestError):  # not here, or not as it is distributed
            continue
        found[name] = _small(manifest, replace(options, on_bad=OnBad.SKIP))
    return found


def _small(manifest: Manifest, options: Options) -> Prepared:
    images = prepare_as(manifest, Preparation(PRINT_SIZE), options)
    if not len(images):
        raise ManifestError(f"none of {len(manifest)} images can be read.")
    return images
