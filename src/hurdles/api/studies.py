"""Many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hurdles.data.files import outputs
from hurdles.runs.images import Options
from hurdles.runs.inputs import Data
from hurdles.studies import Study, StudyResult
from hurdles.studies import study as find_study

__all__ = ["plan", "study"]


def study(
    name: str,
    *,
    data: Data | None = None,
    out: str | Path,
    fast: bool = False,
    cells: Sequence[str] = (),
    results: str | Path | None = None,
    force: bool = False,
    options: Options | None = None,
) -> StudyResult:
    """Carry out a study: many experiments, each resumable, and the table of what is done.

    Parameters
    ----------
    name : str
        A study by name, e.g. ``lazaro-barco-2020``.
    data : Data, optional
        Where its collections lie.
    out : path
        Folder of the runs; finished cells are never computed again.
    fast : bool
        The fast profile: smaller images, fewer epochs, early stop.
    cells : sequence of str
        Patterns, e.g. ``done right/*``: only these cells are computed.
    results : path, optional
        Folder to write the tables to; default: `out`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        As for `run`.
    """
    found: Study = find_study(name)
    folder = Path(results or out)
    known = folder.glob(f"{name}.{'fast' if fast else 'full'}.*")
    with outputs(*known, folders=[folder], force=force):
        return found.carry_out(
            data,
            Path(out),
            fast=fast,
            patterns=cells,
            options=options or Options(),
            results=Path(results) if results is not None else None,
        )


def plan(
    name: str,
    *,
    data: Data | None = None,
    out: str | Path,
    fast: bool = False,
    cells: Sequence[str] = (),
) -> pd.DataFrame:
    """Return what `study` would do, without doing any of it.

    Parameters
    ----------
    name, data, out, fast, cells
        As for `study`.

    Returns
    -------
    DataFrame
        One row per cell: its name, its status (done, to do, or not here), and how many images it
        is trained, chosen and tested on.
    """
    return find_study(name).plan(data, Path(out), fast=fast, patterns=cells)
