"""Commands that put images and models through the hurdles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hurdles.cli.options import (
    CacheOption,
    JsonOption,
    LabelOption,
    OnBadOption,
    QuietOption,
    RunArgument,
    carried_out,
    pairs,
    print_json,
    print_lines,
)
from hurdles.data.vocabulary import OnBad

if TYPE_CHECKING:
    from hurdles.findings.table import Findings

__all__ = ["audit", "check"]

_Images = Annotated[
    list[str],
    typer.Argument(metavar="[NAME=]PATH...", help="Folder, table, collection or run; as --data."),
]
_Hurdles = Annotated[
    list[str] | None,
    typer.Option("--hurdle", metavar="NAME", help="Only this one; may be given several times."),
]
_Own = Annotated[
    list[Path] | None,
    typer.Option("--own", metavar="FILE.py", help="Hurdles of your own; see docs/hurdles.md."),
]
_Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 4 if nothing is hit but a hurdle could not run.")
]


def check(
    data: _Images,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write a page (.html), with JSON and CSV beside it."),
    ] = None,
    hurdle: _Hurdles = None,
    own: _Own = None,
    label: LabelOption = None,
    lungs: Annotated[
        bool, typer.Option("--lungs", help="Find the lungs too, to judge what lies outside them.")
    ] = False,
    strict: _Strict = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put images through the hurdles for data; no model is needed.

    What is wrong with files, patients and copies, what but the lungs tells the class, and what a
    test set of this size can show. Exits with 0 if nothing was hit, with 3 if something was.
    """
    from hurdles import workflows

    with carried_out(on_bad, cache, quiet) as options:
        found = workflows.check(
            data,
            out=out,
            hurdles=hurdle,
            own=own or (),
            labels=pairs(label or []),
            lungs=lungs,
            options=options,
        )
    _print(found, as_json, out, strict)


def audit(
    run: RunArgument,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="[NAME=]PATH", help="Another collection to test on."),
    ] = None,
    seed_run: Annotated[
        list[Path] | None,
        typer.Option("--seed-run", metavar="RUN", help="The same recipe run with another seed."),
    ] = None,
    hurdle: _Hurdles = None,
    own: _Own = None,
    label: LabelOption = None,
    strict: _Strict = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put a finished run through the hurdles for models: it reads lungs, or the hospital.

    How much of what it achieves is to be had without any lung, what it knows of the source, what
    is left of it elsewhere, where it looks, what confuses it. Writes audit.html into the run's
    folder and a section into its report. Exits with 0 if nothing was hit, with 3 if something was.
    """
    from hurdles import workflows

    with carried_out(on_bad, cache, quiet) as options:
        found = workflows.audit(
            run,
            on=on,
            seeds=seed_run or (),
            hurdles=hurdle,
            own=own or (),
            labels=pairs(label or []),
            options=options,
        )
    _print(found, as_json, run / "audit.html", strict)


def _print(found: Findings, as_json: bool, page: Path | None, strict: bool) -> None:
    from hurdles.findings.summary import exit_code
    from hurdles.reporting.findings import finding_lines

    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(finding_lines(found))
        if page is not None:
            typer.echo(f"\nwritten: {page}")
    if code := exit_code(found, strict=strict):
        raise typer.Exit(code)
