"""Images, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hurdles.data import reading
from hurdles.data.files import outputs, reads
from hurdles.data.manifest import Manifest
from hurdles.pixels.stored import Stored, empty_cache, stored
from hurdles.runs.inputs import Data, classified, files_of, named_folders

__all__ = ["cache", "collections", "manifest"]


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
