"""Options and arguments that several commands share, each described once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hurdles.data.vocabulary import OnBad

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
ImagesArgument = Annotated[
    list[str],
    typer.Argument(metavar="[NAME=]PATH...", help="Folder, table, collection or run; as --data."),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[NAME=]PATH",
        help="Images: a folder of class folders, a table (CSV, Excel, Parquet), a collection's "
        "name (found under $HURDLES_DATA), or NAME=PATH. Several are merged.",
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="[NAME:]THEIRS=OURS",
        help="Call a class of the images OURS; several may become one. THEIRS= leaves it out, "
        "THEIRS may hold * for anything, NAME: means one of several collections alone.",
    ),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="THEIRS=OURS",
        help="A column of your table is the path, label, patient, source, view, sex, age, split or "
        "mask. THEIRS= does not use it.",
    ),
]
JoinOption = Annotated[
    bool,
    typer.Option("--join-patients", help="Equal patient ids are one person, whatever the source."),
]
HurdleOption = Annotated[
    list[str] | None,
    typer.Option("--hurdle", metavar="NAME", help="Only this one; may be given several times."),
]
PageOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Write a page (.html, with patients' pixels; or .md, without), and tables beside it.",
    ),
]
OwnOption = Annotated[
    list[Path] | None,
    typer.Option("--own", metavar="FILE.py", help="Hurdles of your own; see docs/hurdles.md."),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with 4 if nothing is hit, but something inconclusive or not run."
    ),
]
ResultsOption = Annotated[
    Path | None, typer.Option("--results", help="Write the tables here. [default: --out]")
]
NoImagesOption = Annotated[
    bool,
    typer.Option(
        "--no-images",
        help="Write the page without radiographs; otherwise it holds patients' pixels.",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace files that hurdles did not write; never an input.")
]
OnBadOption = Annotated[
    OnBad, typer.Option("--on-bad", help="Unreadable images: list them and go on, or stop.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of prepared pixels. [default: $HURDLES_CACHE]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


def pairs(texts: Sequence[str] | None) -> dict[str, str]:
    """Return ``THEIRS=OURS`` texts as a mapping; another form is a wrong option."""
    mapping: dict[str, str] = {}
    for text in texts or ():
        theirs, sign, ours = (part.strip() for part in text.partition("="))
        if not sign or not theirs:
            raise typer.BadParameter(f"{text!r} is not of the form THEIRS=OURS.")
        if mapping.setdefault(theirs, ours) != ours:
            raise typer.BadParameter(f"{theirs!r} cannot be both {mapping[theirs]!r} and {ours!r}.")
    return mapping
