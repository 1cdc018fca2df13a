"""Commands that test: a run on further images, two models on the same, answers for new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hurdles
from hurdles.cli.output import (
    BenefitOption,
    CacheOption,
    ClassOption,
    ColumnOption,
    ForceOption,
    JsonOption,
    JudgedOption,
    LabelOption,
    NoImagesOption,
    OnBadOption,
    PositiveOption,
    PredictionsOption,
    PrevalenceOption,
    QuietOption,
    RunArgument,
    SensitivityOption,
    SpecificityOption,
    one_table,
    pairs,
    print_evaluation,
    print_evaluations,
    print_result,
    say,
    verb_options,
)
from hurdles.cli.progress import ProgressBar
from hurdles.data.vocabulary import OnBad


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Folder of a finished run.")
    ] = None,
    predictions: PredictionsOption = None,
    data: JudgedOption = None,
    class_: ClassOption = None,
    positive: PositiveOption = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="[NAME=]PATH",
            help="Other images; as --data, but several are several tests. Without it, what was "
            "tested before (test, or --name) is measured again and printed; nothing is written.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What to call the set.")] = None,
    merge: Annotated[
        str | None,
        typer.Option("--merge", metavar="NAME", help="Put all --on together, under this name."),
    ] = None,
    prevalence: PrevalenceOption = None,
    specificity: SpecificityOption = None,
    sensitivity: SensitivityOption = None,
    benefit_at: BenefitOption = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    keep_seen: Annotated[
        bool,
        typer.Option("--keep-seen", help="Keep images that the run was trained on, and copies."),
    ] = False,
    no_images: NoImagesOption = False,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Test a finished run on other images, and write a report of that beside the first.

    Or measure a table of any model's predictions; nothing is written then.
    Images that show what the run was trained or chosen on, copies too, are recognized and left out.
    Several --on are tests of their own, each with its own files and report, unless --merge.
    """
    from hurdles.evaluation.conditions import Conditions, prevalences
    from hurdles.runs.images import names_of
    from hurdles.runs.run import Run

    conditions = Conditions(
        prevalences(prevalence or ()),
        tuple(specificity or ()),
        tuple(sensitivity or ()),
        tuple(benefit_at or ()),
    )
    with verb_options(on_bad, cache, quiet, no_images) as options:
        result = hurdles.evaluate(
            run,
            predictions=one_table(predictions),
            data=data,
            classes=class_,
            positive=positive,
            on=on,
            name=name,
            merge=merge,
            labels=pairs(label),
            columns=pairs(column),
            keep_seen=keep_seen,
            conditions=conditions,
            force=force,
            options=options,
        )
    if run is None:
        assert not isinstance(result, dict)
        print_evaluation(result, as_json)
    elif isinstance(result, dict):
        print_evaluations(result, as_json, reports={n: Run(run).page_path(n) for n in result})
    else:
        name = merge or name or (names_of(on)[0] if on else "test")
        print_evaluation(result, as_json, report=Run(run).page_path(name))


def predict(
    run: RunArgument,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE", help="Radiographs, folders of them, patterns, or tables of paths."
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
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="What computes: torch, as in evaluate; auto, the fastest within 1e-4 of it for so "
            "many images; fastest, bfloat16 too, within 0.01; or one by name.",
        ),
    ] = "auto",
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
            engine=engine,
            force=force,
            options=options,
        )
    rows = answers.lines() if out is None else []
    numbers = ", ".join(f"{what} {n}" for what, n in answers.summary().items())
    written = [f"written: {place}" for place in (out, heatmaps) if place is not None]
    below = [numbers, *answers.about["notes"], *written, f"{answers.about['use'].capitalize()}."]
    print_result(as_json, answers.to_dict(), rows, "", below)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A finished run, or predictions.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    on: Annotated[
        str, typer.Option("--on", help="test, or a set both were evaluated on.")
    ] = "test",
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Only this measure, e.g. auc."),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            "--margin",
            metavar="[METRIC=]D",
            help="Is A no worse than B by D, as in sensitivity=0.05? Without METRIC: of every "
            "--metric. Fix it before you see the numbers.",
        ),
    ] = None,
    data: JudgedOption = None,
    class_: ClassOption = None,
    positive: PositiveOption = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs on the same images: paired differences, intervals, exact tests.

    Or two tables of predictions, of any models.
    """
    from hurdles.api.experiments import TableOptions, compared
    from hurdles.evaluation.comparisons import holm
    from hurdles.reporting.console import comparison_lines, comparison_records, interval_unit

    given = TableOptions(data, class_, positive, pairs(label), pairs(column))
    with ProgressBar():
        found = compared(a, b, on, given, metrics=metric, margins=_margins(margin, metric))
    rows, of = found.rows, found.of
    adjusted = holm([row.p_value for row in rows])
    unit = interval_unit(len(of), int(of.unknown.sum()))
    lines = comparison_lines(rows, adjusted, unit)
    notes = [f"note: {note}" for note in found.notes]
    if as_json:
        for note in notes:  # what was left out must be seen where rows alone are printed
            say(note, err=True)
    print_result(as_json, comparison_records(rows, adjusted), f"A = {a}\nB = {b}\n", lines, notes)


def _margins(texts: list[str] | None, metrics: list[str] | None) -> dict[str, float]:
    margins: dict[str, float] = {}
    for text in texts or ():
        name, _, number = (part.strip() for part in text.rpartition("="))
        if not name and not metrics:
            raise typer.BadParameter(
                f"--margin {text}: of which measure? Write METRIC={text}, or add --metric."
            )
        try:
            margins |= dict.fromkeys([name] if name else metrics or (), float(number))
        except ValueError:
            raise typer.BadParameter(
                f"--margin {text}: write a number, as in sensitivity=0.05."
            ) from None
    return margins
