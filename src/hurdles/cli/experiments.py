"""Commands on runs: one, or the many of a study."""

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
    NoImagesOption,
    OnBadOption,
    QuietOption,
    ResultsOption,
    RunArgument,
    SettingOption,
    pairs,
    print_evaluation,
    print_result,
    say,
    verb_options,
)
from hurdles.cli.progress import ProgressBar
from hurdles.data.vocabulary import OnBad

#: As in `hurdles.recipe.remedies`, imported only when needed; a test holds the two together.
_REMEDIES = (
    "lungs-only, harmonized, source-balanced, class-by-source, group-dro, unlearn-source, end, "
    "or reject"
)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")] = Path("runs/demo"),
    as_json: JsonOption = False,
    cache: CacheOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train, test and explain on synthetic radiographs; ends with the path of a report.

    Nothing is downloaded. Takes about two minutes on two cores. An earlier demo in the same folder
    is gone on with.
    """
    with verb_options(OnBad.STOP, cache, quiet) as options:
        run = hurdles.demo(out=out, options=options)
    print_evaluation(run.evaluation(), as_json, report=run.report_path)


def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe by name, or a TOML file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    data: DataOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run in --out.")
    ] = False,
    split: Annotated[
        Path | None, typer.Option("--split", help="Use this split.csv instead of a new split.")
    ] = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    encoder_from: Annotated[
        Path | None,
        typer.Option(
            "--encoder-from",
            metavar="RUN",
            help="Start from this run's encoder, or from a file of hurdles import-encoder.",
        ),
    ] = None,
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
    remedy: Annotated[
        list[str] | None,
        typer.Option("--remedy", metavar="NAME", help=f"Add a remedy: {_REMEDIES}."),
    ] = None,
    missing_patients: MissingPatientsOption = None,
    join_patients: JoinOption = False,
    setting: SettingOption = None,
    no_images: NoImagesOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train as a recipe says, test on images set apart for that, and write the report.

    A split that the images bring (folders, a column) is used, unless --set split.scheme=patient.

    Interrupted at any moment, it goes on with --resume and ends with exactly the numbers that it
    would have had. hurdles recipes lists what ships; hurdles recipes NAME prints one to start from.
    """
    from hurdles.recipe.settings import settings_of

    settings = settings_of(setting or [])
    if missing_patients is not None:
        settings["split.missing_patients"] = missing_patients.value
    with verb_options(on_bad, cache, quiet, no_images) as options:
        done = hurdles.run(
            recipe,
            data=data,
            out=out,
            resume=resume,
            split=split,
            labels=pairs(label),
            columns=pairs(column),
            encoder_from=encoder_from,
            trained_on=trained_on or (),
            keep_seen=keep_seen,
            remedies=remedy or (),
            settings=settings,
            join_patients=join_patients,
            options=options,
        )
    print_evaluation(done.evaluation(), as_json, report=done.report_path)


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe, explained.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the shipped recipes, or print one with an explanation of every field."""
    from hurdles.recipe.recipe import load_recipe, shipped_recipes

    if name is None:
        known = {n: load_recipe(n).description for n in shipped_recipes()}
        print_result(as_json, known, (f"{n}\n    {text}" for n, text in known.items()))
        return
    recipe = load_recipe(name)
    print_result(as_json, recipe.model_dump(mode="json"), recipe.to_toml(explained=True))


def explain(
    run: RunArgument,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Radiographs.")],
    out: Annotated[Path, typer.Option("--out", help="Contact sheet to write.")] = Path(
        "explained.png"
    ),
    method: Annotated[
        str,
        typer.Option("--method", help="grad-cam, occlusion, smoothgrad or integrated-gradients."),
    ] = "grad-cam",
    target: Annotated[
        str,
        typer.Option(
            "--target", help="The class to explain, or: predicted. smoothgrad takes none."
        ),
    ] = "predicted",
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.STOP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show where a run looks: each radiograph beside its heat-map, in one picture.

    A heat-map shows what moved the network, not what is wrong with the lungs. The picture holds
    patients' pixels.
    """
    from hurdles.reporting.console import heatmap_lines, heatmap_records

    with verb_options(on_bad, cache, quiet) as options:
        maps = hurdles.explain(
            run, images, out=out, method=method, target=target, force=force, options=options
        )
    records = heatmap_records(maps, images)
    print_result(as_json, records, heatmap_lines(records), f"written: {out}")


def export(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file. [default: model.onnx in RUN]")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="[NAME=]PATH",
            help="Radiographs to hold it against torch on. [default: the run's test images]",
        ),
    ] = None,
    column: ColumnOption = None,
    force: ForceOption = False,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a run's network as ONNX, with how it takes a radiograph, for other programs.

    The spec stands in the file and as TOML beside it. The file is asked about radiographs, and kept
    only if its probabilities are those of the run within 1e-4.
    """
    with verb_options(OnBad.SKIP, cache, quiet) as options:
        written = hurdles.export(
            run,
            out=out,
            format=format,
            on=on,
            columns=pairs(column),
            force=force,
            options=options,
        )
    print_result(as_json, written.to_dict(), written.lines())


def embed(
    run: RunArgument,
    on: Annotated[
        list[str],
        typer.Option("--on", metavar="[NAME=]PATH", help="Images, best of several collections."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the picture and the numbers.")],
    method: Annotated[str, typer.Option("--method", help="t-sne, or umap.")] = "t-sne",
    label: LabelOption = None,
    column: ColumnOption = None,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw a run's features by class and by collection, side by side.

    Beside the picture stands what it suggests: how well a linear probe tells the collection from
    the features, from the prepared pixels and from the plain ones, within each class too.
    """
    with verb_options(on_bad, cache, quiet) as options:
        drawn = hurdles.embed(
            run,
            on=on,
            out=out,
            method=method,
            labels=pairs(label),
            columns=pairs(column),
            force=force,
            options=options,
        )
    written = f"\nwritten: {drawn.figure}; research use only"
    content = {**drawn.to_dict(), "figure": str(drawn.figure)}
    print_result(as_json, content, drawn.lines(), written)


def report(
    run: RunArgument,
    on: Annotated[str, typer.Option("--on", help="test, or a set it was evaluated on.")] = "test",
    no_images: NoImagesOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run's report anew from what its folder holds, and print its path."""
    with ProgressBar():
        page = hurdles.report(run, on=on, pictures=not no_images, force=force)
    print_result(as_json, {"report": str(page)}, str(page))


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
    profile: Annotated[
        str,
        typer.Option("--profile", help="Another profile of the study's file, such as middle."),
    ] = "",
    cells: Annotated[
        list[str] | None,
        typer.Option("--cells", metavar="PATTERN", help="Only cells like 'done right/*/0'."),
    ] = None,
    results: ResultsOption = None,
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
    from hurdles.reporting.console import plan_lines

    if dry_run:
        plan = hurdles.plan(name, data=data, out=out, fast=fast, profile=profile, cells=cells or ())
        print_result(as_json, plan, plan_lines(plan))
        return
    with verb_options(on_bad, cache, quiet, no_images) as options:
        result = hurdles.study(
            name,
            data=data,
            out=out,
            fast=fast,
            profile=profile,
            cells=cells or (),
            results=results,
            force=force,
            options=options,
        )
    done = int((result.cells["status"] == "done").sum())
    where = f"page:  {result.page}\ntable: {result.table}"
    print_result(as_json, result.cells, f"{done} of {len(result.cells)} cells done", where)
    for cell, why in result.failed.items():
        say(f"failed: {cell}: {why}", err=True)
    if result.failed:
        raise typer.Exit(1)
