"""The command line: the verbs of `hurdles.workflows`; nothing is computed here.

Results go to stdout, progress and messages to stderr. Heavy libraries are imported by the verbs
themselves, so that ``hurdles --help`` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hurdles._version import __version__
from hurdles.data.vocabulary import OnBad
from hurdles.errors import HurdlesError

if TYPE_CHECKING:
    from hurdles.evaluation.evaluation import Evaluation
    from hurdles.images import Options

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

_INTERRUPTED = 130

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
    from hurdles.reporting.console import collection_lines

    found = workflows.collections(data=data)
    if as_json:
        _print_json(json.loads(found.to_json(orient="records")))
    else:
        _print_lines(collection_lines(found))


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
    from hurdles.reporting.console import manifest_lines, manifest_summary

    found = workflows.manifest(data, out=out)
    if as_json:
        _print_json(manifest_summary(found))
        return
    _print_lines(manifest_lines(found))
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
    from hurdles.recipe import load_recipe, shipped_recipes

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
    typer.echo(recipe.to_toml(explained=True))


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
    from hurdles.locations import name_of

    name = name or name_of(on)
    with _options(on_bad, cache, quiet) as options:
        result = workflows.evaluate(
            run, on=on, name=name, labels=_pairs(label or []), keep_seen=keep_seen, options=options
        )
    _print_evaluation(result, as_json, report=run / f"report.{name}.html")


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
    on_bad: OnBadOption = OnBad.STOP,
    cache: CacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show where a run looks: each radiograph beside its heat-map, in one picture.

    A heat-map shows what moved the network, not what is wrong with the lungs.
    """
    from hurdles import workflows
    from hurdles.reporting.console import explained

    with _options(on_bad, cache, quiet) as options:
        maps = workflows.explain(
            run, images, out=out, method=method, target=target, options=options
        )
    rows = explained(maps, images)
    if as_json:
        _print_json(rows)
        return
    _print_lines(f"{r['image']}: {r['message'] or r['target'] + ', ' + r['method']}" for r in rows)
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
    from hurdles.reporting.console import comparison_lines

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
    _print_lines(comparison_lines(found, adjusted))


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
            name, data=data, out=out, fast=fast, cells=cells or (), results=results, options=options
        )
    if as_json:
        _print_json(json.loads(result.cells.to_json(orient="records")))
    else:
        done = int((result.cells["status"] == "done").sum())
        typer.echo(f"{done} of {len(result.cells)} cells done")
        typer.echo(f"page:  {result.page}\ntable: {result.table}")
    if result.failed:
        _print_lines((f"failed: {c}: {why}" for c, why in result.failed.items()), err=True)
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an error of ours is one sentence and exit code 2."""
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer has caught Ctrl-C and says nothing
            again = "the same command goes on where it stopped (hurdles run: with --resume)"
            typer.echo(f"interrupted; {again}", err=True)
        raise
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (HurdlesError, OSError) as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)


@contextmanager
def _options(on_bad: OnBad, cache: Path | None, quiet: bool) -> Iterator[Options]:
    from hurdles.images import Options
    from hurdles.progress_bar import ProgressBar

    if quiet:
        yield Options(on_bad=on_bad, cache=cache)
        return
    with ProgressBar() as bar:
        yield Options(on_bad=on_bad, cache=cache, progress=bar)


def _print_evaluation(result: Evaluation, as_json: bool, *, report: Path) -> None:
    from hurdles.reporting.console import evaluation_lines

    if as_json:
        _print_json({**result.to_dict(), "report": str(report)})
        return
    _print_lines(evaluation_lines(result))
    typer.echo(f"\nreport: {report}\nResearch use only; not a medical device.")


def _print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    for line in lines:
        typer.echo(line, err=err)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    wrong = [t for t in texts if "=" not in t]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not of the form THEIRS=OURS.")
    return {k: v for k, _, v in (t.partition("=") for t in texts)}
