"""Commands on images, before anything is trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hurdles.cli.options import (
    CacheOption,
    ColumnOption,
    DataOption,
    ForceOption,
    JoinOption,
    JsonOption,
    LabelOption,
    pairs,
    print_json,
    print_lines,
    say,
)

__all__ = ["cache", "collections", "manifest"]


def cache(
    cache: CacheOption = None,
    empty: Annotated[bool, typer.Option("--empty", help="Remove what hurdles put there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say where prepared pixels are kept and how large that is, and empty it by --empty.

    Everything there is made again when it is needed. It holds patients' images: only you may read
    it. Choose another place by --cache or $HURDLES_CACHE.
    """
    from hurdles import api

    found = api.cache(cache, empty=empty)
    if as_json:
        numbers = {"n_files": found.n_files, "n_bytes": found.n_bytes, "emptied": empty}
        print_json({"folder": str(found.folder), **numbers})
        return
    say(f"{'emptied: ' if empty else ''}{found}")


def collections(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the public collections that hurdles reads, and which are found here.

    A collection is found under $HURDLES_DATA by the name of its folder as it is distributed, or
    wherever --data NAME=PATH says.
    """
    from hurdles import api
    from hurdles.reporting.console import collection_lines

    found = api.collections(data=data)
    if as_json:
        print_json(json.loads(found.to_json(orient="records")))
    else:
        print_lines(collection_lines(found))


def manifest(
    data: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]PATH...", help="Folder, table, or collection; as --data."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the table (.csv, .parquet).")
    ] = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    join_patients: JoinOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read images into a table, one row each, and say what is in it and what was left out."""
    from hurdles import api
    from hurdles.reporting.console import manifest_lines, manifest_summary

    found = api.manifest(
        data,
        out=out,
        labels=pairs(label),
        columns=pairs(column),
        join_patients=join_patients,
        force=force,
    )
    if as_json:
        print_json(manifest_summary(found))
        return
    print_lines(manifest_lines(found))
    if out is not None:
        say(f"written: {out}")
