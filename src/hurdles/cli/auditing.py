"""Commands that put images and models through the hurdles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hurdles.cli.options import (
    CacheOption,
    ColumnOption,
    ForceOption,
    JoinOption,
    JsonOption,
    LabelOption,
    NoImagesOption,
    OnBadOption,
    QuietOption,
    RunArgument,
    carried_out,
    pairs,
    print_json,
    print_lines,
    say,
)
from hurdles.data.vocabulary import OnBad

if TYPE_CHECKING:
    from hurdles.findings.table import Findings

__all__ = ["audit", "calibrate_audit", "check", "fingerprint", "lineage"]

_Images = Annotated[
    list[str],
    typer.Argument(metavar="[NAME=]PATH...", help="Folder, table, collection or run; as --data."),
]
_Hurdles = Annotated[
    list[str] | None,
    typer.Option("--hurdle", metavar="NAME", help="Only this one; may be given several times."),
]
_Page = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Write a page (.html, with patients' pixels; or .md, without), and tables beside it.",
    ),
]
_Own = Annotated[
    list[Path] | None,
    typer.Option("--own", metavar="FILE.py", help="Hurdles of your own; see docs/hurdles.md."),
]
_Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with 4 if nothing is hit, but something inconclusive or not run."
    ),
]


def check(
    data: _Images,
    out: _Page = None,
    hurdle: _Hurdles = None,
    own: _Own = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    lungs: Annotated[
        bool, typer.Option("--lungs", help="Find the lungs too, to judge what lies outside them.")
    ] = False,
    join_patients: JoinOption = False,
    strict: _Strict = False,
    no_images: NoImagesOption = False,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put images through the hurdles for data; no model is needed.

    What is wrong with files, patients and copies, what but the lungs tells the class, and what a
    test set of this size can show. Exits with 0 if nothing was hit, with 3 if something was, with
    5 if a hurdle failed by a fault of its own.
    """
    from hurdles import api

    with carried_out(on_bad, cache, quiet) as options:
        found = api.check(
            data,
            out=out,
            hurdles=hurdle,
            own=own or (),
            labels=pairs(label),
            columns=pairs(column),
            lungs=lungs,
            join_patients=join_patients,
            pictures=not no_images,
            force=force,
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
    out: _Page = None,
    hurdle: _Hurdles = None,
    own: _Own = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    strict: _Strict = False,
    no_images: NoImagesOption = False,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put a finished run through the hurdles for models: lungs or hospital.

    How much of what it achieves is to be had without any lung, what it knows of the source, what
    is left of it elsewhere, where it looks, what confuses it. Writes audit.html into the run's
    folder and a section into its report. Exits with 0 if nothing was hit, with 3 if something was,
    with 5 if a hurdle failed by a fault of its own.
    """
    from hurdles import api
    from hurdles.api.auditing import not_asked_again
    from hurdles.runs.run import Run

    with carried_out(on_bad, cache, quiet) as options:
        own_page = None if not_asked_again(Run(run), hurdle) else run / "audit.html"
        found = api.audit(
            run,
            on=on,
            seeds=seed_run or (),
            out=out,
            hurdles=hurdle,
            own=own or (),
            labels=pairs(label),
            columns=pairs(column),
            pictures=not no_images,
            force=force,
            options=options,
        )
    _print(found, as_json, out or own_page, strict)


def lineage(
    data: _Images,
    out: Annotated[Path | None, typer.Option("--out", help="Write the table (.csv).")] = None,
    fingerprint: Annotated[
        list[Path] | None,
        typer.Option("--fingerprint", metavar="FILE.npz", help="Another collection's hashes."),
    ] = None,
    column: ColumnOption = None,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell which images come from which public collection.

    Collections under $HURDLES_DATA are compared by aligned pixels, others by hashes that ship with
    hurdles. Resized, compressed, inverted, mirrored and mildly cropped copies are recognised.
    """
    from hurdles import api
    from hurdles.reporting.console import lineage_lines

    with carried_out(on_bad, cache, quiet) as options:
        found = api.lineage(
            data,
            out=out,
            fingerprints=fingerprint or (),
            columns=pairs(column),
            force=force,
            options=options,
        )
    if as_json:
        print_json(found.to_dict())
        return
    print_lines(lineage_lines(found.summary, found.n_images, found.compared))
    if out is not None:
        say(f"written: {out}")


def fingerprint(
    data: _Images,
    out: Annotated[Path, typer.Option("--out", help="The file to write (.npz).")],
    name: Annotated[
        str | None, typer.Option("--name", help="What the collection is called.")
    ] = None,
    version: Annotated[str, typer.Option("--version", help="Which state of it.")] = "",
    column: ColumnOption = None,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the hashes of a collection's images by name, for hurdles lineage; no pixels.

    No image can be made again from them, so that they can be given to others.
    """
    from hurdles import api

    with carried_out(on_bad, cache, quiet) as options:
        path = api.fingerprint(
            data,
            out=out,
            name=name,
            version=version,
            columns=pairs(column),
            force=force,
            options=options,
        )
    if as_json:
        print_json({"written": str(path)})
    else:
        say(f"written: {path}")


def calibrate_audit(
    out: Annotated[Path, typer.Option("--out", help="Folder of the phantoms and the trials.")],
    fast: Annotated[
        bool, typer.Option("--fast", help="Far fewer cohorts: not enough to set limits.")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", help="Processes, one thread each.")] = 2,
    real: Annotated[
        Path | None,
        typer.Option("--real", metavar="FOLDER", help="Plant into collections there too."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Write the tables here. [default: --out]")
    ] = None,
    force: ForceOption = False,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure the hurdles themselves: false alarms without a shortcut, and power with one.

    Draws hundreds of cohorts of phantoms, trains networks on them, and puts all of them through
    the hurdles. Interrupted, the same command goes on where it stopped.
    """
    from hurdles import api
    from hurdles.auditing.calibrate.page import answer_lines

    with carried_out(OnBad.SKIP, cache, quiet) as options:
        found = api.calibrate_audit(
            out,
            fast=fast,
            workers=workers,
            real=real,
            results=results,
            force=force,
            options=options,
        )
    page = (results or out) / "audit-calibration.md"
    if as_json:
        rates = json.loads(found.rates.to_json(orient="records"))
        print_json({"rates": rates, "references": found.references, "written": str(page)})
        return
    print_lines(answer_lines(found))
    say(f"written: {page}")


def _print(found: Findings, as_json: bool, page: Path | None, strict: bool) -> None:
    from hurdles.findings.summary import exit_code
    from hurdles.reporting.findings import finding_lines

    if as_json:
        print_json(found.to_dict())
    else:
        print_lines(finding_lines(found))
        if page is not None:
            say(f"\nwritten: {page}")
    if code := exit_code(found, strict=strict):
        raise typer.Exit(code)
