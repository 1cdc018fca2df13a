"""Commands on encoders that hurdles did not train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hurdles
from hurdles.cli.output import (
    CacheOption,
    ColumnOption,
    ForceOption,
    JoinOption,
    JsonOption,
    LabelOption,
    OnBadOption,
    QuietOption,
    pairs,
    print_result,
    verb_options,
)
from hurdles.data.vocabulary import MissingPatients, OnBad


def import_encoder(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A state dict (.pt, .pth), or safetensors.")
    ],
    architecture: Annotated[
        str, typer.Option("--architecture", help="densenet-121, resnet-18 or resnet-50.")
    ],
    like: Annotated[
        str,
        typer.Option(
            "--like",
            help="Whose names the entries have, and how images were scaled: torchvision, timm, "
            "torchxrayvision, radimagenet or monai.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write. [default: FILE's name, .encoder.safetensors]"),
    ] = None,
    license: Annotated[
        str, typer.Option("--license", help="Terms of the weights; kept with them.")
    ] = "",
    origin: Annotated[
        str, typer.Option("--origin", help="Where the file is from; kept with the weights.")
    ] = "",
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            "--leave-out",
            metavar="PATTERN",
            help="Entries that may be left over though they are no head, as in 'decoder.*'.",
        ),
    ] = None,
    entry: Annotated[
        str, typer.Option("--entry", help="The table of weights, in a file with several.")
    ] = "",
    mean: Annotated[
        list[float] | None,
        typer.Option("--mean", help="Mean of gray within [0, 1] in training; thrice for channels."),
    ] = None,
    std: Annotated[
        list[float] | None, typer.Option("--std", help="Standard deviation, as --mean.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring another library's encoder to a file that hurdles run --encoder-from starts from.

    Nothing is unpickled. The encoder is taken whole or not at all; what is left over is listed, and
    a hash of the file, its terms and its origin go into the record of every run that uses it.
    """
    encoder = hurdles.import_encoder(
        file,
        architecture=architecture,
        like=like,
        out=out,
        license=license,
        origin=origin,
        leave_out=leave_out or (),
        entry=entry,
        mean=mean,
        std=std,
        force=force,
    )
    target = out or file.with_suffix(".encoder.safetensors")
    use = (
        f"\nwritten: {target}\nStart from it: hurdles run RECIPE --encoder-from {target} "
        f"--set model.architecture={architecture}\nResearch use only; not a medical device."
    )
    print_result(as_json, {**encoder.to_dict(), "out": str(target)}, encoder.lines(), use)


def fit_head(
    features: Annotated[
        Path,
        typer.Argument(metavar="FEATURES", help="A row per image: .npy, .npz, .csv or .parquet."),
    ],
    data: Annotated[
        list[str],
        typer.Option("--data", metavar="[NAME=]PATH", help="The images with their classes."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of predictions and measures.")],
    ids: Annotated[
        Path | None,
        typer.Option("--ids", help="Names of the rows' images, a line each."),
    ] = None,
    encoder: Annotated[str, typer.Option("--encoder", help="What the encoder is called.")] = "",
    label: LabelOption = None,
    column: ColumnOption = None,
    split: Annotated[
        str,
        typer.Option("--split", help="auto (what the images bring, else by patient), patient ..."),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the split.")] = 0,
    missing_patients: Annotated[
        MissingPatients,
        typer.Option("--missing-patients", help="Images without a patient: refuse, or one-each."),
    ] = MissingPatients.REFUSE,
    join_patients: JoinOption = False,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(
            "--trained-on",
            metavar="[NAME=]PATH",
            help="Images that the encoder was trained on: as --data, or a fingerprint (.npz). Test "
            "images among them are left out.",
        ),
    ] = None,
    keep_seen: Annotated[
        bool,
        typer.Option("--keep-seen", help="Keep test images that the encoder was trained on."),
    ] = False,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fit a linear head on features that your encoder gave, and test it with intervals by patient.

    For encoders that hurdles does not have: compute a row of features for each image, and give the
    matrix. The predictions that are written can be audited and compared as any others.
    """
    from hurdles.reporting.console import evaluation_lines

    with verb_options(on_bad, cache, quiet) as options:
        fitted = hurdles.fit_head(
            features,
            data=data,
            out=out,
            ids=ids,
            encoder=encoder,
            labels=pairs(label),
            columns=pairs(column),
            split=split,
            seed=seed,
            missing_patients=missing_patients.value,
            join_patients=join_patients,
            trained_on=trained_on or (),
            keep_seen=keep_seen,
            force=force,
            options=options,
        )
    use = f"\nwritten: {out / 'predictions.csv'}\nResearch use only; not a medical device."
    content = {"head": fitted.about, "evaluation": fitted.evaluation.to_dict(), "out": str(out)}
    print_result(as_json, content, fitted.lines(), "", evaluation_lines(fitted.evaluation), use)
