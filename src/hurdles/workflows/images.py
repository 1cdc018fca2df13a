"""Images, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hurdles.data import reading
from hurdles.data.manifest import Manifest
from hurdles.locations import Data, classified, named_folders

__all__ = ["collections", "manifest"]


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
    found = classified(
        data, labels=labels, columns=columns, refuse=False, join_patients=join_patients
    )
    if out is not None:
        found.save(out)
    return found
