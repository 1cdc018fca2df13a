"""Verbs on images, before a model is trained on them: tables, lungs, and where images come from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.copies import lineage as copies
from hurdles.copies.similarity import PRINT_SIZE
from hurdles.data import reading
from hurdles.data.files import outputs, reads, write_text
from hurdles.data.manifest import Manifest
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
    labels, columns : mapping, optional
        Classes of the images and columns of a table -> what they are to be called; see `run`.
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
        images = classified(
            data, labels=labels, columns=columns, refuse=False, join_patients=join_patients
        )
        reads(images.frame["path"])
        if out is not None:
            images.save(out)
        return images


def collections(*, data: Data | None = None) -> pd.DataFrame:
    """Return the public collections that hurdles reads, and which of them are found here.

    Parameters
    ----------
    data : Data, optional
        ``NAME=PATH`` pairs, in addition to the folders under ``$HURDLES_DATA``.

    Returns
    -------
    DataFrame
        One row per collection: name, title, license, where it was found.
    """
    return reading.collections_table(named_folders(data))


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


def segment(
    images: Sequence[str | Path],
    *,
    out: str | Path,
    weights: str | Path | None = None,
    force: bool = False,
    options: Options | None = None,
) -> pd.DataFrame:
    """Find the lungs in images; the weights come with the package.

    Parameters
    ----------
    images : sequence of paths
        Radiographs, or folders of them.
    out : path
        Folder for the masks, their table and the sheets to look at; see
        `hurdles.lungs.files.segment_images`.
    weights : path, optional
        Of another lung network, as `train_lungs` writes them.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        What to do with unreadable files, who listens.

    Returns
    -------
    DataFrame
        One row per image; ``status`` says whether the mask can be two lungs.

    Raises
    ------
    ManifestError, ImageError, RunError
        As `hurdles.lungs.files.segment_images`.
    """
    from hurdles.lungs.files import segment_images

    options, folder = options or Options(), Path(out)
    path = None if weights is None else Path(weights)
    inputs = [] if path is None else [path]
    with outputs(folders=[folder, folder / "flagged"], inputs=inputs, force=force):
        return segment_images(
            images, out=folder, weights=path, progress=options.progress, on_bad=options.on_bad
        )


def train_lungs(
    *,
    data: Data | None = None,
    out: str | Path,
    measure: bool = False,
    other: Data | None = None,
    columns: Mapping[str, str] | None = None,
    force: bool = False,
    options: Options | None = None,
) -> Path:
    """Train the lung network again, as the shipped weights were trained.

    Parameters
    ----------
    data : Data, optional
        Images with lung masks; default: the collections of Montgomery and Shenzhen.
    out : path
        Folder of the training; gone on with if it is not finished.
    measure : bool
        Also train on each collection alone and measure everything, which takes twice as long; see
        `hurdles.lungs.results.lungs_results`.
    other : Data, optional
        Images with masks of another convention, to be measured too and not trained on.
    columns : mapping, optional
        Columns of the table of `data` -> columns of a manifest; see `hurdles.run`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        Where the cache is, who listens.

    Returns
    -------
    Path
        The weights; or the page, if everything is measured.

    Raises
    ------
    ManifestError, RunError
        As `hurdles.lungs.training.train_lungs`.
    OutputError
        If an output would replace an input, or a file that hurdles did not write.
    """
    from hurdles.lungs.results import lungs_results, results_files
    from hurdles.lungs.training import train_lungs as train

    options, folder = options or Options(), Path(out)
    files = results_files(folder) if measure else []
    with outputs(*files, inputs=[*files_of(data), *files_of(other)], force=force):
        images = manifest_of(data, default="montgomery-shenzhen", columns=columns)
        if not measure:
            return train(images, folder, cache=options.cache, progress=options.progress)
        return lungs_results(
            images,
            folder,
            other=None if other is None else manifest_of(other),
            cache=options.cache,
            progress=options.progress,
        )


@dataclass(frozen=True, eq=False)
class Lineage:
    """Images with the public collections in which they stand.

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
        return copies.summary(self.table, self.n_images)

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
    options = options or Options()
    with outputs(out, inputs=[*fingerprints, *files_of(data)], force=force):
        known = [*copies.shipped_fingerprints(), *map(copies.Fingerprint.load, fingerprints)]
        images = _small(manifest_of(data, columns=columns, unlabeled=True), options)
        here = {}
        for name in COLLECTIONS.names():
            try:
                root = reading.locate(name)
                whole = copies.with_left_out(reading.read_manifest(root, collection=name), root)
            except (CollectionError, ManifestError):  # not here, or not as it is distributed
                continue
            here[name] = _small(whole, replace(options, on_bad=OnBad.SKIP))
        if here:
            options.listener.say(f"comparing pixels with those of {', '.join(here)}")
        compared = {each.name: "hashes" for each in known} | dict.fromkeys(here, "pixels")
        result = Lineage(copies.lineage(images, known, here=here), len(images), compared)
        if out is not None:
            write_text(out, as_csv(result.table))
        return result


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
        images = manifest_of(data, columns=columns, unlabeled=True)
        name = name or name_of(data)
        # Copies are taken of what a reader leaves out too.
        if len(images.exclusions):
            root = os.path.commonpath([*images.frame["path"], *images.exclusions["path"]])
            images = copies.with_left_out(images, Path(root))
        small = _small(images, options or Options())
        terms = COLLECTIONS.get(name).license if name in COLLECTIONS else ""
        return copies.fingerprint_of(small, name, version=version, license=terms).save(out)


def _small(images: Manifest, options: Options) -> Prepared:
    small = prepare_as(images, Preparation(PRINT_SIZE), options)
    if not len(small):
        raise ManifestError(f"none of {len(images)} images can be read.")
    return small
