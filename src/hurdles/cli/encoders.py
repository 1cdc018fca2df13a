"""Commands on encoders that hurdles did not train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hurdles
from hurdles.cli.output import ForceOption, JsonOption, print_result


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
