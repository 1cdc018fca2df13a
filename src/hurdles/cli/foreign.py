"""Commands on models from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hurdles
from hurdles.cli.output import ForceOption, JsonOption, print_result


def spec(
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="LIBRARY",
            help="Take its conventions: torchvision, torchxrayvision, keras or monai.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FILE.onnx", help="Take what the file itself tells."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B", help="Names of the outputs, in their order."),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Side of the square input, in pixels.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it here (.toml). [default: print it]")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a start of the spec of a model from elsewhere: how it takes a radiograph.

    Correct it by hand, then hurdles audit --model FILE.onnx --spec model.toml; --expect p.csv, with
    your own predictions, checks it first.
    """
    from hurdles.foreign.starts import heading_of

    names = [name.strip() for name in (classes or "").split(",") if name.strip()]
    start = hurdles.spec(like, model=model, classes=names, size=size, out=out, force=force)
    text = start.to_toml(heading_of(start, like)) if out is None else f"written: {out}"
    print_result(as_json, start.model_dump(mode="json"), text.rstrip())
