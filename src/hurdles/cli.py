"""The command line: the verbs of `hurdles.workflows`; nothing is computed here.

Results go to stdout, progress and messages to stderr. Heavy libraries are imported by the verbs
themselves, so that ``hurdles --help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hurdles._version import __version__
from hurdles.data.vocabulary import OnBad
from hurdles.errors import HurdlesError

if TYPE_CHECKING:
    from hurdles.evaluation.evaluation import Evaluation
    from hurdles.experiment import Options

__all__ = ["app", "main"]

app = typer.Typer(
    name="hurdles",
    help="Train chest X-ray classifiers from small data, with an interval on every number.\n\n"
    "Start with: hurdles demo. Research use only; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[NAME=]PATH",
        help="Images: a folder of class folders, a CSV or Parquet, a collection's name (found "
        "under $HURDLES_DATA), or NAME=PATH. Several are merged.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
OnBadOption = Annotated[
    OnBad, typer.Option("--on-bad", help="Unreadable images: list them and go on, or stop.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of prepared pixels. [default: $HURDLES_CACHE]"),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]


def _version(show: bool) -> None:
    if show:
        typer.echo(f"hurdles {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
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
    from hurdles import workflows

    with _options(OnBad.STOP, cache, quiet) as options:
        run = workflows.demo(out=out, options=options)
    _print_evaluation(run.evaluation(), as_json, report=run.report_path)


@app.command()
def collections(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the public collections that hurdles reads, and which are found here.

    A collection is found under $HURDLES_DATA by the name of its folder as it is distributed, or
    wherever --data NAME=PATH says.
    """
    from hurdles import workflows

    _print_frame(workflows.collections(data=data), as_json)


@app.command()
def manifest(
    data: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]PATH...", help="Folder, table, or collection; as --data."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the table (.csv, .parquet).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read images into a table, one row each, and say what is in it and what was left out."""
    from hurdles import workflows

    found = workflows.manifest(data, out=out)
    splits = {str(k): int(v) for k, v in found.frame["split"].value_counts().items()}
    left_out = {str(k): int(v) for k, v in found.exclusions["reason"].value_counts().items()}
    summary = {
        "images": len(found),
        "labels": found.counts,
        "sources": found.sources,
        "patients": int(found.frame["patient"].nunique()) or None,
        "images_without_patient": found.missing_patients,
        "splits": splits,
        "with_mask": int(found.frame["mask"].notna().sum()),
        "left_out": left_out,
    }
    if as_json:
        _print_json(summary)
        return
    typer.echo(f"{len(found)} images, {_counts(found.counts)}")
    typer.echo(f"sources: {', '.join(found.sources) or 'not named'}")
    if found.missing_patients == len(found):
        typer.echo("patients: not known for any image")
    else:
        unknown = (
            f", not known for {found.missing_patients} images" if found.missing_patients else ""
        )
        typer.echo(f"patients: {summary['patients']}{unknown}")
    if splits:
        typer.echo(f"splits: {_counts(splits)}")
    if summary["with_mask"]:
        typer.echo(f"lung masks: {summary['with_mask']}")
    for reason, count in left_out.items():
        typer.echo(f"left out: {count} x {reason}")
    if out is not None:
        typer.echo(f"written: {out}")


@app.command()
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
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train as a recipe says, test on images never seen, and write the report.

    Interrupted at any moment, it goes on with --resume and ends with exactly the numbers that it
    would have had. hurdles recipes lists what ships; hurdles recipes NAME prints one to start from.
    """
    from hurdles import workflows

    with _options(on_bad, cache, quiet) as options:
        done = workflows.run(
            recipe, data=data, out=out, resume=resume, split=split, options=options
        )
    _print_evaluation(done.evaluation(), as_json, report=done.report_path)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe, explained.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the shipped recipes, or print one with an explanation of every field."""
    from hurdles.recipe import Recipe, load_recipe, shipped_recipes

    if name is None:
        found = {n: load_recipe(n).description for n in shipped_recipes()}
        if as_json:
            _print_json(found)
        else:
            for each, description in found.items():
                typer.echo(f"{each}\n    {description}")
        return
    recipe = load_recipe(name)
    if as_json:
        _print_json(recipe.model_dump(mode="json"))
        return
    typer.echo(_explained(recipe.to_toml(), Recipe.explanations()))


@app.command()
def evaluate(
    run: RunArgument,
    on: Annotated[
        list[str], typer.Option("--on", metavar="[NAME=]PATH", help="Other images; as --data.")
    ],
    name: Annotated[str | None, typer.Option("--name", help="What to call the set.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="THEIRS=OURS",
            help="Call a class of the images as the run does; THEIRS= leaves the class out.",
        ),
    ] = None,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Keep images that the run was trained on.")
    ] = False,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Test a finished run on other images, and write a report of that beside the first.

    Images whose pixels the run was trained or chosen on are recognised and left out.
    """
    from hurdles import workflows

    with _options(on_bad, cache, quiet) as options:
        result = workflows.evaluate(
            run, on=on, name=name, labels=_pairs(label or []), keep_seen=keep_seen, options=options
        )
    written = sorted(run.glob("report.*.html"), key=lambda p: p.stat().st_mtime)
    _print_evaluation(result, as_json, report=written[-1])


@app.command()
def explain(
    run: RunArgument,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Radiographs.")],
    out: Annotated[Path, typer.Option("--out", help="Contact sheet to write.")] = Path(
        "explained.png"
    ),
    method: Annotated[str, typer.Option("--method", help="grad-cam or occlusion.")] = "grad-cam",
    target: Annotated[
        str, typer.Option("--target", help="The class to explain, or: predicted.")
    ] = "predicted",
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show where a run looks: each radiograph beside its heat-map, in one picture.

    A heat-map shows what moved the network, not what is wrong with the lungs.
    """
    from hurdles import workflows

    with _options(on_bad, cache, quiet) as options:
        maps = workflows.explain(
            run, images, out=out, method=method, target=target, options=options
        )
    if as_json:
        _print_json(
            [
                {
                    "image": m.image,
                    "target": m.target,
                    "method": m.method,
                    "status": m.status.value,
                    "message": m.message,
                }
                for m in maps
            ]
        )
        return
    for heat in maps:
        typer.echo(f"{heat.image}: {heat.target or 'no answer'}, {heat.message or heat.method}")
    typer.echo(f"written: {out}")


@app.command()
def compare(
    a: RunArgument,
    b: RunArgument,
    on: Annotated[
        str, typer.Option("--on", help="test, or a set both were evaluated on.")
    ] = "test",
    as_json: JsonOption = False,
) -> None:
    """Compare two runs on the same images: paired differences, intervals, exact tests."""
    from hurdles import workflows
    from hurdles.evaluation.comparisons import holm

    found = workflows.compare(a, b, on=on)
    adjusted = holm([c.p_value for c in found])
    if as_json:
        _print_json(
            [
                {**c.to_dict(), "p_holm": None if p != p else p}
                for c, p in zip(found, adjusted, strict=True)
            ]
        )
        return
    typer.echo(f"A = {a}\nB = {b}\n")
    rows = [
        [c.metric, c.class_, str(c.a), str(c.b), str(c.difference), _p(c.p_value), _p(p)]
        for c, p in zip(found, adjusted, strict=True)
    ]
    _print_rows(["measure", "class", "A", "B", "A - B", "p", "p, Holm"], rows)
    methods = dict.fromkeys(c.p_method for c in found if c.p_value == c.p_value)
    typer.echo(f"\nTests: {'; '.join(methods)}. Intervals at 95 %, by patient, paired.")


@app.command()
def report(
    run: RunArgument,
    on: Annotated[str, typer.Option("--on", help="test, or a set it was evaluated on.")] = "test",
) -> None:
    """Write a run's report anew from what its folder holds, and print its path."""
    from hurdles import workflows

    typer.echo(workflows.report(run, on=on))


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="e.g. lazaro-barco-2020")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs.")],
    data: DataOption = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Smaller images, fewer epochs, early stop.")
    ] = False,
    cells: Annotated[
        list[str] | None,
        typer.Option("--cells", metavar="PATTERN", help="Only cells like 'done right/*/0'."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Write the tables here. [default: --out]")
    ] = None,
    on_bad: OnBadOption = OnBad.SKIP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Carry out many experiments and draw the table of whatever is done.

    Every cell resumes where it was interrupted; a finished one is never computed again.
    """
    from hurdles import workflows

    with _options(on_bad, cache, quiet) as options:
        result = workflows.study(
            name,
            data=data,
            out=out,
            fast=fast,
            cells=cells or (),
            results=results,
            options=options,
        )
    if as_json:
        _print_json(json.loads(result.cells.to_json(orient="records")))
    else:
        done = int((result.cells["status"] == "done").sum())
        typer.echo(f"{done} of {len(result.cells)} cells done")
        typer.echo(f"page:  {result.page}\ntable: {result.table}")
    if result.failed:
        for cell, message in result.failed.items():
            typer.echo(f"failed: {cell}: {message}", err=True)
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an error of ours is one sentence and exit code 2."""
    try:
        app(standalone_mode=True)
    except HurdlesError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted; go on with the same command and --resume", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


@contextmanager
def _options(on_bad: OnBad, cache: Path | None, quiet: bool) -> Iterator[Options]:
    from hurdles.experiment import Options
    from hurdles.progress_bar import ProgressBar

    if quiet:
        yield Options(on_bad=on_bad, cache=cache)
        return
    with ProgressBar() as bar:
        yield Options(on_bad=on_bad, cache=cache, progress=bar)


def _print_evaluation(result: Evaluation, as_json: bool, *, report: Path) -> None:
    if as_json:
        _print_json({**result.to_dict(), "report": str(report)})
        return
    typer.echo(
        f"Tested on {result.n_images} images of {result.n_patients} patients; 95 % intervals by "
        "patient.\n"
    )
    overall = [[m, result.get(m).percent()] for m in ("accuracy", "balanced_accuracy")]
    _print_rows(["", "all classes"], [[m.replace("_", " "), v] for m, v in overall])
    typer.echo("")
    measures = ("sensitivity", "specificity", "ppv", "npv", "f1", "auc")
    rows = []
    for label in result.classes:
        cells = [result.get(m, label) for m in measures]
        rows.append([label, str(result.images.get(label, 0)), *(c.percent() for c in cells)])
    heads = ["sensitivity", "specificity", "PPV", "NPV", "F1", "AUC"]
    _print_rows(["class", "images", *heads], rows)
    for note in result.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"\nreport: {report}\nResearch use only; not a medical device.")


def _print_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(str(r[i])) for r in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        cells = (str(c).ljust(w) for c, w in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _print_frame(frame: Any, as_json: bool) -> None:
    if as_json:
        _print_json(json.loads(frame.to_json(orient="records")))
        return
    rows = [["" if v is None or v != v else str(v) for v in row] for row in frame.to_numpy()]
    _print_rows(list(frame.columns), rows)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{label} {n}" for label, n in counts.items())


def _p(value: float) -> str:
    return "-" if value != value else f"{value:.4f}" if value >= 1e-4 else "< 0.0001"


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    wrong = [t for t in texts if "=" not in t]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not of the form THEIRS=OURS.")
    return {k: v for k, _, v in (t.partition("=") for t in texts)}


def _explained(toml: str, explanations: dict[str, str]) -> str:
    section, lines = "", []
    for line in toml.splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        key = line.partition(" = ")[0]
        sentence = explanations.get(section + key) if " = " in line else None
        lines += [f"# {sentence}"] if sentence else []
        lines.append(line)
    return "\n".join(lines)
