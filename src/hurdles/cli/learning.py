"""The command that says what more patients would buy."""

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
    JoinOption,
    JsonOption,
    LabelOption,
    MissingPatientsOption,
    OnBadOption,
    QuietOption,
    SettingOption,
    pairs,
    print_result,
    verb_options,
)
from hurdles.data.vocabulary import OnBad


def learning_curve(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe by name, or a TOML file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs and the curve.")],
    data: DataOption = None,
    share: Annotated[
        list[float] | None,
        typer.Option(
            "--share",
            metavar="P",
            help="Share of the training patients; may be given several times. "
            "[default: 0.25, 0.5, 1]",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Models trained at each share.")] = 3,
    label: LabelOption = None,
    column: ColumnOption = None,
    missing_patients: MissingPatientsOption = None,
    join_patients: JoinOption = False,
    setting: SettingOption = None,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a recipe on growing numbers of patients, and say what more of them would buy.

    Interrupted, the same command goes on; finished runs are not computed again.
    """
    from hurdles.recipe.settings import settings_of

    settings = settings_of(setting or [])
    if missing_patients is not None:
        settings["split.missing_patients"] = missing_patients.value
    with verb_options(on_bad, cache, quiet) as options:
        done = hurdles.learning_curve(
            recipe,
            data=data,
            out=out,
            shares=share or (0.25, 0.5, 1.0),
            seeds=seeds,
            labels=pairs(label),
            columns=pairs(column),
            settings=settings,
            join_patients=join_patients,
            force=force,
            options=options,
        )
    written = f"page:  {done.page}\ntable: {done.table}"
    print_result(as_json, done.curve.to_dict(), done.curve.lines(), written)
