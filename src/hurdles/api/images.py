"""Images, before anything is trained on them.

Where images come from: fingerprints of collections, and what stands in them.
"""

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
from hurdles.data import reading
from hurdles.data.files import outputs, reads, write_text
from hurdles.data.manifest import Manifest
from hurdles.data.reading import locate, read_manifest
from hurdles.data.sources import COLLECTIONS
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import OnBad
from hurdles.errors import CollectionError, ManifestError
from hurdles.pixels.cache import Prepared, Stored, empty_cache, stored
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options
from hurdles.runs.images import (
    Data,
    classified,
    files_of,
    manifest_of,
    name_of,
    named_folders,
    prepare_as,
)

__all__ = ["Lineage", "cache", "collections", "fingerprint", "lineage", "manifest"]


def cache(folder: str | Path | None = None, *, empty: bool = False) -> Stored:
    """Say where the cache is and how large, and empty it if asked to.

    Parameters
    ----------
    folder : path, optional
        The cache; default: ``$HURDLES_CACHE``, or the user's cache folder.
    empty : bool
        Remove what hurdles has put there. All of it is made again when it is needed.

    Returns
    -------
    Stored
        What it holds, or held before it was emptied.
    """
    return empty_cache(folder) if empty else stored(folder)


def collections(*, data: Data | None = None) -> pd.DataFrame:
    """Return the public collections that hurdles reads, and which of them are found here.

    Parameters
    ----------
    data : Data, optional
        ``NAME=PATH`` pairs, in addition to the folders under ``$HURDLES_DATA``.

    Returns
    -------
    DataFrame
        One row per collection: name, title, licence, where it was found.
    """
    return reading.collections_table(named_folders(data))


def manifest(
    data: Data,
    *,
    out: str | Path | None = None,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    join_patients: bool = False,
    force: bool = False,
) -> Manifest:
    """Read a folder of class folders, a table, or a public collection.

    Parameters
    ----------
    data : Data
        A path, a collection's name, ``NAME=PATH``, or several of these, which are merged.
    out : path, optional
        Where to write the table, as CSV or Parquet.
    labels : mapping, optional
        Classes of the images -> what they are to be called; see `run`.
    columns : mapping, optional
        Columns of the table -> columns of a manifest, where their names do not tell.
    join_patients : bool
        Equal patient ids are one person, whatever their source; the table says so in a column.
    force : bool
        Replace files that hurdles did not write; never an input.

    Returns
    -------
    Manifest
        Its `notes` say how it was read and what was not used. Classes that nobody can have meant
        are named here, and refused by whatever trains or tests on them.

    Raises
    ------
    ManifestError, CollectionError
        If it is not what it should be.
    """
    with outputs(*Manifest.files(out), inputs=files_of(data), force=force):
        found = classified(
            data, labels=labels, columns=columns, refuse=False, join_patients=join_patients
        )
        reads(found.frame["path"])
        if out is not None:
            found.save(out)
        return found


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
