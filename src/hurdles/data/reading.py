"""One door for everything that becomes a manifest: a table, a folder, a collection's name."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hurdles.data.files import expanded
from hurdles.data.folder import manifest_from_folder
from hurdles.data.manifest import Manifest
from hurdles.data.sets import with_source_names
from hurdles.data.sources import COLLECTIONS, Collection
from hurdles.data.spreadsheet import SUFFIXES
from hurdles.data.table import manifest_from_table
from hurdles.data.unlabeled import is_place_of_images, manifest_of_images
from hurdles.errors import CollectionError, ManifestError

__all__ = ["read_manifest"]

logger = logging.getLogger("hurdles.data")


def read_manifest(
    path_or_name: str | Path,
    *,
    collection: str | None = None,
    data: Mapping[str, Path] | None = None,
    columns: Mapping[str, str] | None = None,
    unlabeled: bool = False,
) -> Manifest:
    r"""Read a manifest from whatever holds one.

    Parameters
    ----------
    path_or_name : str or Path
        A table (`manifest_from_table`), the folder of a public collection, a folder with a
        ``manifest.csv`` in it, a folder of class folders (`manifest_from_folder`), or the name of
        a collection, which `locate` finds.
        A name wins over a folder of the same name; write ``./cohen`` for the folder.
    collection : str, optional
        Read the folder as this collection, and refuse it if it is not.
    data : mapping of str to Path, optional
        Where collections are, as from ``--data NAME=PATH``.
    columns : mapping of str to str, optional
        A column of the table -> a column of the manifest; see `manifest_from_table`.
    unlabeled : bool, optional
        Read images without classes too: a table without a class, a folder without class folders, a
        file, a pattern.

    Returns
    -------
    Manifest
        What the folder was taken for is in its `notes`, and logged (logger ``hurdles``);
        `recognize` tells it beforehand.

    Raises
    ------
    ManifestError, CollectionError, RegistryError
        If there is nothing there, it is not what it was said to be, or no collection has this
        name.

    Examples
    --------
    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "cohort.csv"
    >>> _ = table.write_text("path,label\na.png,Normal\nb.png,COVID-19\n")
    >>> _ = [table.with_name(name).write_bytes(b"") for name in ("a.png", "b.png")]
    >>> read_manifest(table).counts
    {'COVID-19': 1, 'Normal': 1}
    """
    path, name = expanded(path_or_name), collection
    if name is None and str(path_or_name) in COLLECTIONS:
        name = str(path_or_name)
        path = locate(name, data)
    if name is not None:
        _refuse_columns(name, columns)
        return COLLECTIONS.get(name).read(path)
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return manifest_from_table(path, columns=columns, unlabeled=unlabeled)
    if unlabeled and is_place_of_images(path_or_name):
        return manifest_of_images([path_or_name])
    if not path.is_dir():
        raise ManifestError(
            f"{path} is neither a folder, nor a table ({', '.join(sorted(SUFFIXES))}), nor a "
            f"collection's name. Collections: {', '.join(COLLECTIONS)}."
        )
    return _read_folder(path, columns, unlabeled)


def _read_folder(path: Path, columns: Mapping[str, str] | None, unlabeled: bool) -> Manifest:
    matches = recognize(path)
    if len(matches) > 1:
        names = ", ".join(match.name for match in matches)
        raise CollectionError(
            f"{path} looks like several collections ({names}). Say which with collection=."
        )
    if matches:
        _refuse_columns(str(path), columns)
        what = f"{path} is read as {matches[0].name} ({matches[0].title})"
        logger.warning(what)  # classes, patients and what is left out follow from it
        manifest = matches[0].read(path)
        return replace(manifest, notes=(what, *manifest.notes))
    if (path / "manifest.csv").is_file():  # a phantom, a run, or a folder that brings its table
        logger.info("%s is read by its manifest.csv", path)
        return manifest_from_table(path / "manifest.csv", columns=columns, unlabeled=unlabeled)
    # A folder of collections would pass for a folder of classes, one class a collection.
    inside = [c for c in sorted(path.iterdir()) if c.is_dir() and recognize(c)]
    if inside:
        raise CollectionError(
            f"{path} is not a collection, but holds some ({', '.join(c.name for c in inside)}). "
            "Give one of these folders, or several of them, each by itself."
        )
    _refuse_columns(str(path), columns)
    what = "class folders, or of images alone" if unlabeled else "class folders"
    logger.info("%s is read as a folder of %s", path, what)
    return manifest_from_folder(path, unlabeled=unlabeled)


def _refuse_columns(what: str, columns: Mapping[str, str] | None) -> None:
    if columns:
        raise ManifestError(
            f"{what} is not read by a table, so it has no column {next(iter(columns))!r}; leave "
            "--column out, or give the table."
        )


def recognize(path: str | Path) -> list[Collection]:
    """Return the collections whose layout a folder has: none, one, or (to be refused) several."""
    return [item for item in map(COLLECTIONS.get, COLLECTIONS) if item.recognizes(path)]


def locate(name: str, data: Mapping[str, Path] | None = None) -> Path:
    """Return the folder of a collection.

    Looked up in `data`, then under ``$HURDLES_DATA``, by the names that the folder has as
    distributed and by the collection's own name; an error lists every place that was looked at.
    """
    item = COLLECTIONS.get(name)
    if data and name in data:
        folder = expanded(data[name])
        if not folder.is_dir():
            raise CollectionError(f"{name} was said to be in {folder}, which is not a folder.")
        return folder
    root = os.environ.get("HURDLES_DATA", "")
    if not root:
        raise CollectionError(
            f"where is {name} ({item.title})? Give --data {name}=PATH, or set HURDLES_DATA to the "
            f"folder that holds '{item.folders[0]}'. Get it from {item.url}."
        )
    places = [expanded(root) / folder for folder in (*item.folders, name)]
    for place in places:
        if item.recognizes(place):
            return place
    there = [f"{place} exists, but lacks {', '.join(item.missing(place))}"
             for place in places if place.is_dir()]  # fmt: skip
    looked = "; ".join(there) or "looked for " + ", ".join(map(str, places))
    raise CollectionError(
        f"{name} ({item.title}) is not under HURDLES_DATA ({looked}). Give --data {name}=PATH, or "
        f"get it from {item.url}."
    )


def merge(manifests: Sequence[Manifest]) -> Manifest:
    """Put several manifests into one, image names prefixed with their source.

    A single manifest is returned as it is. A row without a source is an error, since patients of
    two hospitals could then be taken for one person, and so is an image in two manifests.
    """
    if not manifests:
        raise ManifestError("there is nothing to merge; give at least one manifest.")
    if len(manifests) == 1:
        return manifests[0]
    frames = [
        with_source_names(manifest, f"manifest {number} of {len(manifests)}").frame
        for number, manifest in enumerate(manifests, start=1)
    ]
    exclusions = pd.concat([m.exclusions for m in manifests], ignore_index=True)
    notes = tuple(note for m in manifests for note in m.notes)
    return Manifest(pd.concat(frames, ignore_index=True), exclusions, notes)


def collections_table(data: Mapping[str, Path] | None = None) -> pd.DataFrame:
    """Return every collection with name, title, license, citation, url, and folder where found."""
    facts = ["name", "title", "license", "citation", "url"]
    rows = []
    for item in map(COLLECTIONS.get, COLLECTIONS):
        try:
            folder = str(locate(item.name, data))
        except CollectionError:
            folder = None
        rows.append([*(getattr(item, fact) for fact in facts), folder])
    return pd.DataFrame(rows, columns=[*facts, "folder"], dtype="str")
