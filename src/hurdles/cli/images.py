"""Commands on images, before a model is trained on them: tables and lungs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hurdles
from hurdles.cli.output import (
    CacheOption,
    ColumnOption,
    DataOption,
    ForceOption,
    ImagesArgument,
    JoinOption,
    JsonOption,
    LabelOption,
    OnBadOption,
    QuietOption,
    pairs,
    print_result,
    verb_options,
)
from hurdles.data.vocabulary import OnBad


def cache(
    cache: CacheOption = None,
    empty: Annotated[bool, typer.Option("--empty", help="Remove what hurdles put there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say where prepared pixels are kept and how large that is, and empty it by --empty.

    Everything there is made again when it is needed. It holds patients' images: only you may read
    it. Choose another place by --cache or $HURDLES_CACHE.
    """
    held = hurdles.cache(cache, empty=empty)
    content = {"folder": str(held.folder), "n_files": held.n_files, "n_bytes": held.n_bytes}
    line = f"{'emptied: ' if empty else ''}{held}"
    print_result(as_json, content | {"emptied": empty}, line)


def collections(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the public collections that hurdles reads, and which are found here.

    A collection is found under $HURDLES_DATA by the name of its folder as it is distributed, or
    wherever --data NAME=PATH says.
    """
    from hurdles.reporting.console import collection_lines

    table = hurdles.collections(data=data)
    print_result(as_json, table, collection_lines(table))


def manifest(
    data: ImagesArgument,
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
    from hurdles.reporting.console import manifest_lines, manifest_summary

    images = hurdles.manifest(
        data,
        out=out,
        labels=pairs(label),
        columns=pairs(column),
        join_patients=join_patients,
        force=force,
    )
    written = [] if out is None else [f"written: {out}"]
    print_result(as_json, manifest_summary(images), manifest_lines(images), written)


def segment(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE", help="Radiographs, or folders of them.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the masks.")],
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Another network's weights. [default: the package's]"),
    ] = None,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find the lungs: a mask for each radiograph, and a sheet to look at.

    Nothing is downloaded: the weights come with the package. A mask that cannot be two lungs is
    flagged and kept apart, under flagged/. masks.csv lists every image. The sheet holds patients'
    pixels.
    """
    from hurdles.reporting.console import lungs_lines

    with verb_options(on_bad, None, quiet) as options:
        table = hurdles.segment(images, out=out, weights=weights, force=force, options=options)
    sheets = sorted(out.glob("sheet*.png"))  # none where no image could be read
    names = ", ".join(str(path) for path in [out / "masks.csv", *sheets])
    written = f"written: {names}; research use only"
    print_result(as_json, table, lungs_lines(table), written)


def train_lungs(
    out: Annotated[Path, typer.Option("--out", help="Folder of the training.")],
    data: DataOption = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Also train on each collection alone, and measure all."),
    ] = False,
    other: Annotated[
        list[str] | None,
        typer.Option("--other", metavar="[NAME=]PATH", help="Measure on these masks as well."),
    ] = None,
    column: ColumnOption = None,
    force: ForceOption = False,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train the network that finds lungs, as the shipped one was trained.

    Without --data, the collections of Montgomery and Shenzhen are looked for under $HURDLES_DATA.
    Interrupted, the same command goes on. Prints the path of the weights, for segment --weights, or
    with --measure that of a page of tables.
    """
    with verb_options(OnBad.STOP, cache, quiet) as options:
        path = hurdles.train_lungs(
            data=data,
            out=out,
            measure=measure,
            other=other,
            columns=pairs(column),
            force=force,
            options=options,
        )
    print_result(as_json, {"written": str(path)}, str(path))
