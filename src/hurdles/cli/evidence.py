"""Commands for those who are given a result: verify, and the badge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hurdles
from hurdles._version import USE_SENTENCE
from hurdles.cli.output import (
    CacheOption,
    ColumnOption,
    DataOption,
    ForceOption,
    JoinOption,
    JsonOption,
    LabelOption,
    pairs,
    print_result,
)
from hurdles.cli.progress import ProgressBar


def verify(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE|RUN", help="JSON or page of a result; or a run's folder."),
    ],
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against",
            metavar="PATH",
            help="Table, predictions, model, run or folder with inputs; for a page, its JSON.",
        ),
    ] = None,
    data: DataOption = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    join_patients: JoinOption = False,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what of a result agrees with its inputs and with itself, what differs, what is not known.

    The schema; the digest; verdicts from interval, limit and margin; the table and the page beside
    it; measures from predictions; every input by its SHA-256. Give images as they were given then.
    Exits with 0 if all agrees, with 3 if something differs, with 4 if nothing differs but something
    could not be checked.
    """
    from hurdles.progress import Options
    from hurdles.verifying.verification import REMARK

    with ProgressBar():
        found = hurdles.verify(
            file,
            against=against or (),
            data=data,
            labels=pairs(label),
            columns=pairs(column),
            join_patients=join_patients,
            options=Options(cache=cache),
        )
    lines = (f"{line.outcome.upper():<20}  {line.of}: {line.why}" for line in found.lines)
    print_result(as_json, found.to_dict(), lines, f"\n{found.tally} {REMARK}\n{USE_SENTENCE}")
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def badge(
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="JSON of check or audit.")],
    out: Annotated[Path, typer.Option("--out", help="The picture to write (.svg).")],
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw a badge for a page of your own: how many hurdles are hit, of how many.

    It fetches nothing. No color of it says that all is well, since cleared hurdles do not.
    """
    path = hurdles.badge(file, out=out, force=force)
    print_result(as_json, {"written": str(path)}, f"written: {path}")
