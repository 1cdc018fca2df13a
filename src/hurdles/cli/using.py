"""Commands that put a finished run to use: answers for new X-rays, and its network for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hurdles
from hurdles.cli.output import (
    CacheOption,
    ColumnOption,
    ForceOption,
    JsonOption,
    OnBadOption,
    QuietOption,
    RunArgument,
    pairs,
    print_result,
    verb_options,
)
from hurdles.data.vocabulary import OnBad


def predict(
    run: RunArgument,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="Radiographs, folders of them, patterns, or tables of paths."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Write the table (.csv).")] = None,
    heatmaps: Annotated[
        Path | None,
        typer.Option("--heatmaps", metavar="DIR", help="Draw each image beside its Grad-CAM."),
    ] = None,
    coverage: Annotated[
        float,
        typer.Option("--coverage", help="Share of each class's patients in whose set it stands."),
    ] = 0.9,
    column: ColumnOption = None,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Answer new images by a finished run: a row each, no class needed.

    Images are prepared as in training, and refused where they are unlike those of training.
    Probabilities are calibrated, and each image gets the set of classes that it may be of, both
    fixed on the run's validation images. A file that cannot be read is a row with the reason.
    """
    with verb_options(on_bad, cache, quiet) as options:
        answers = hurdles.predict(
            run,
            images,
            coverage=coverage,
            columns=pairs(column),
            out=out,
            heatmaps=heatmaps,
            force=force,
            options=options,
        )
    rows = answers.lines() if out is None else []
    numbers = ", ".join(f"{what} {n}" for what, n in answers.summary().items())
    written = [f"written: {place}" for place in (out, heatmaps) if place is not None]
    below = [numbers, *answers.about["notes"], *written, f"{answers.about['use'].capitalize()}."]
    print_result(as_json, answers.to_dict(), rows, "", below)


def export(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file. [default: model.onnx in RUN]")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="[NAME=]PATH",
            help="Radiographs to hold it against torch on. [default: the run's test images]",
        ),
    ] = None,
    column: ColumnOption = None,
    force: ForceOption = False,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a run's network as ONNX, with how it takes a radiograph, for other programs.

    The spec stands in the file and as TOML beside it. The file is asked about radiographs, and kept
    only if its probabilities are those of the run within 1e-4.
    """
    with verb_options(OnBad.SKIP, cache, quiet) as options:
        written = hurdles.export(
            run,
            out=out,
            format=format,
            on=on,
            columns=pairs(column),
            force=force,
            options=options,
        )
    print_result(as_json, written.to_dict(), written.lines())
