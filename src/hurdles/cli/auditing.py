"""Commands that put images and models through the hurdles, and that tell where images are from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hurdles
from hurdles.cli.output import (
    CacheOption,
    ClassOption,
    ColumnOption,
    FailOnOption,
    ForceOption,
    HurdleOption,
    ImagesArgument,
    JoinOption,
    JsonOption,
    JudgedOption,
    JunitOption,
    LabelOption,
    NoImagesOption,
    OnBadOption,
    OwnOption,
    PageOption,
    PositiveOption,
    PredictionsOption,
    QuietOption,
    ResultsOption,
    SarifOption,
    StrictOption,
    fail_on,
    one_table,
    pairs,
    print_result,
    verb_options,
)
from hurdles.data.vocabulary import OnBad

if TYPE_CHECKING:
    from hurdles.findings.summary import FailOn
    from hurdles.findings.table import Findings


def check(
    data: ImagesArgument,
    out: PageOption = None,
    hurdle: HurdleOption = None,
    own: OwnOption = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    lungs: Annotated[
        bool, typer.Option("--lungs", help="Find the lungs too, to judge what lies outside them.")
    ] = False,
    join_patients: JoinOption = False,
    fail: FailOnOption = None,
    sarif: SarifOption = None,
    junit: JunitOption = None,
    strict: StrictOption = False,  # noqa: ARG001 - its callback says what it is called now
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
    codes = fail_on(fail)
    with verb_options(on_bad, cache, quiet) as options:
        findings = hurdles.check(
            data,
            out=out,
            hurdles=hurdle,
            own=own or (),
            labels=pairs(label),
            columns=pairs(column),
            lungs=lungs,
            join_patients=join_patients,
            sarif=sarif,
            junit=junit,
            pictures=not no_images,
            force=force,
            options=options,
        )
    _print_findings(findings, as_json, [out, sarif, junit], codes)


def audit(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Folder of a finished run.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FILE", help="Or: a model in ONNX; see hurdles spec."),
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option("--spec", metavar="FILE.toml", help="How the model takes a radiograph."),
    ] = None,
    model_command: Annotated[
        str | None,
        typer.Option(
            "--model-command",
            metavar="COMMAND",
            help="Or: a program, as 'python predict.py {images} {out}', that is given a folder of "
            "PNGs and writes a table.",
        ),
    ] = None,
    predictions: PredictionsOption = None,
    data: JudgedOption = None,
    class_: ClassOption = None,
    positive: PositiveOption = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Side of a program's images. [default: 512]")
    ] = None,
    expect: Annotated[
        Path | None,
        typer.Option(
            "--expect",
            metavar="TABLE",
            help="Your own predictions of these images: audit the model only if it gives them.",
        ),
    ] = None,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(
            "--trained-on",
            metavar="[NAME=]PATH",
            help="Images that the model was trained on: copies of them are left out.",
        ),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="[NAME=]PATH",
            help="Another collection to test on; without classes, a place to forecast.",
        ),
    ] = None,
    seed_run: Annotated[
        list[Path] | None,
        typer.Option("--seed-run", metavar="RUN", help="The same recipe run with another seed."),
    ] = None,
    seed_predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--seed-predictions", metavar="TABLE", help="The same model with another seed."
        ),
    ] = None,
    out: PageOption = None,
    hurdle: HurdleOption = None,
    own: OwnOption = None,
    label: LabelOption = None,
    column: ColumnOption = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit", metavar="SECONDS", help="Of each start of a program. [default: ample]"
        ),
    ] = None,
    ask_anew: Annotated[
        bool, typer.Option("--ask-anew", help="Forget what the program answered before.")
    ] = False,
    fail: FailOnOption = None,
    sarif: SarifOption = None,
    junit: JunitOption = None,
    strict: StrictOption = False,  # noqa: ARG001 - its callback says what it is called now
    no_images: NoImagesOption = False,
    force: ForceOption = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put a model through the hurdles: lungs or hospital.

    A finished run, a model of your own in ONNX, a program that answers for any model, or nothing
    but predictions. How much of what it achieves is to be had without any lung, what it knows of
    the source, what is left of it elsewhere, where it looks, what confuses it; what was not brought
    is "could not run", by name. Of a run, writes audit.html into its folder and a section into its
    report. Exits with 0 if nothing was hit, with 3 if something was, with 5 if a hurdle failed by a
    fault of its own.
    """
    from hurdles.api.auditing import kept_hurdles
    from hurdles.runs.run import Run

    if run is not None and model is not None:
        raise typer.BadParameter("give a run's folder or --model, not both.")
    codes = fail_on(fail)
    with verb_options(on_bad, cache, quiet) as options:
        findings = hurdles.audit(
            run or model,
            predictions=one_table(predictions),
            command=model_command,
            data=data,
            spec=spec,
            classes=class_,
            positive=positive,
            size=size,
            expect=expect,
            trained_on=trained_on,
            on=on,
            seeds=[*(seed_run or ()), *(seed_predictions or ())],
            out=out,
            hurdles=hurdle,
            own=own or (),
            labels=pairs(label),
            columns=pairs(column),
            sarif=sarif,
            junit=junit,
            pictures=not no_images,
            time_limit=time_limit,
            ask_anew=ask_anew,
            force=force,
            options=options,
        )
    is_run = run is not None and run.is_dir()
    own_page = run / "audit.html" if run and is_run and not kept_hurdles(Run(run), hurdle) else None
    _print_findings(findings, as_json, [out or own_page, sarif, junit], codes)


def lineage(
    data: ImagesArgument,
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
    hurdles. Resized, compressed, inverted, mirrored and mildly cropped copies are recognized.
    """
    from hurdles.reporting.console import lineage_lines

    with verb_options(on_bad, cache, quiet) as options:
        lineage = hurdles.lineage(
            data,
            out=out,
            fingerprints=fingerprint or (),
            columns=pairs(column),
            force=force,
            options=options,
        )
    lines = lineage_lines(lineage.summary, lineage.n_images, lineage.compared)
    written = [] if out is None else [f"written: {out}"]
    print_result(as_json, lineage.to_dict(), lines, written)


def fingerprint(
    data: ImagesArgument,
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
    with verb_options(on_bad, cache, quiet) as options:
        path = hurdles.fingerprint(
            data,
            out=out,
            name=name,
            version=version,
            columns=pairs(column),
            force=force,
            options=options,
        )
    print_result(as_json, {"written": str(path)}, f"written: {path}")


def calibrate_audit(
    out: Annotated[Path, typer.Option("--out", help="Folder of the phantoms and the trials.")],
    profile: Annotated[
        str, typer.Option("--profile", help="full; half, a part of it; fast: sets no limits.")
    ] = "full",
    workers: Annotated[int, typer.Option("--workers", help="Processes, one thread each.")] = 2,
    real: Annotated[
        Path | None,
        typer.Option("--real", metavar="FOLDER", help="Plant into collections there too."),
    ] = None,
    results: ResultsOption = None,
    hours: Annotated[
        float | None,
        typer.Option(
            "--hours", help="Begin no further fresh cohort then, and write what is there."
        ),
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
    from hurdles.calibrating.page import answer_lines

    with verb_options(OnBad.SKIP, cache, quiet) as options:
        calibration = hurdles.calibrate_audit(
            out,
            profile=profile,
            workers=workers,
            real=real,
            results=results,
            hours=hours,
            force=force,
            options=options,
        )
    page = (results or out) / "audit-calibration.md"
    content = {
        "rates": json.loads(calibration.rates.to_json(orient="records")),
        "references": calibration.references,
        "left": calibration.left,
        "written": str(page),
    }
    print_result(as_json, content, answer_lines(calibration), f"written: {page}")


def _print_findings(
    findings: Findings, as_json: bool, files: Sequence[Path | None], codes: Sequence[FailOn]
) -> None:
    from hurdles.findings.summary import exit_code
    from hurdles.reporting.findings import finding_lines

    written = [f"written: {file}" for file in files if file is not None]
    written = [f"\n{written[0]}", *written[1:]] if written else []
    print_result(as_json, findings.to_dict(), finding_lines(findings), written)
    if code := exit_code(findings, codes):
        raise typer.Exit(code)
