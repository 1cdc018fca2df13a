"""The command for many runs at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hurdles.cli.options import (
    CacheOption,
    DataOption,
    ForceOption,
    JsonOption,
    NoImagesOption,
    OnBadOption,
    QuietOption,
    carried_out,
    print_json,
    print_lines,
    say,
)
from hurdles.data.vocabulary import OnBad

__all__ = ["study"]


def study(
    name: Annotated[
        str,
        typer.Argument(
            help="lazaro-barco-2020, tartaglione-2020, remedies, or a TOML file of your own."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs.")],
    data: DataOption = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="The fast profile: what it spends, the study's file says."),
    ] = False,
    cells: Annotated[
        list[str] | None,
        typer.Option("--cells", metavar="PATTERN", help="Only cells like 'done right/*/0'."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Write the tables here. [default: --out]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the cells, with images and status.")
    ] = False,
    no_images: NoImagesOption = False,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Carry out many experiments and draw the table of whatever is done.

    Every cell resumes where it was interrupted; a finished one is never computed again.
    """
    from hurdles import api
    from hurdles.reporting.console import plan_lines

    if dry_run:
        plan = api.plan(name, data=data, out=out, fast=fast, cells=cells or ())
        if as_json:
            print_json(json.loads(plan.to_json(orient="records")))
        else:
            print_lines(plan_lines(plan))
        return
    with carried_out(on_bad, cache, quiet, no_images) as options:
        result = api.study(
            name,
            data=data,
            out=out,
            fast=fast,
            cells=cells or (),
            results=results,
            force=force,
            options=options,
        )
    if as_json:
        print_json(json.loads(result.cells.to_json(orient="records")))
    else:
        done = int((result.cells["status"] == "done").sum())
        say(f"{done} of {len(result.cells)} cells done")
        say(f"page:  {result.page}\ntable: {result.table}")
    if result.failed:
        print_lines((f"failed: {c}: {why}" for c, why in result.failed.items()), err=True)
        raise typer.Exit(1)
