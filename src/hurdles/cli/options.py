"""What the commands share: options, progress, and printing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hurdles.data.shown import shown
from hurdles.data.vocabulary import OnBad

if TYPE_CHECKING:
    from hurdles.evaluation.evaluation import Evaluation
    from hurdles.runs.images import Options

__all__ = [
    "CacheOption",
    "ColumnOption",
    "DataOption",
    "ForceOption",
    "JoinOption",
    "JsonOption",
    "LabelOption",
    "NoImagesOption",
    "OnBadOption",
    "QuietOption",
    "RunArgument",
    "carried_out",
    "pairs",
    "print_evaluation",
    "print_json",
    "print_lines",
    "say",
]

#: What JSON does not escape and a terminal would obey, or UTF-8 cannot hold.
_OBEYED = re.compile(r"[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")

DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[NAME=]PATH",
        help="Images: a folder of class folders, a table (CSV, Excel, Parquet), a collection's "
        "name (found under $HURDLES_DATA), or NAME=PATH. Several are merged.",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace files that hurdles did not write; never an input.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
JoinOption = Annotated[
    bool,
    typer.Option("--join-patients", help="Equal patient ids are one person, whatever the source."),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="[NAME:]THEIRS=OURS",
        help="Call a class of the images OURS; several may become one. THEIRS= leaves it out, "
        "THEIRS may hold * for anything, NAME: means one of several collections alone.",
    ),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="THEIRS=OURS",
        help="A column of your table is the path, label, patient, source, view, sex, age, split or "
        "mask. THEIRS= does not use it.",
    ),
]
NoImagesOption = Annotated[
    bool,
    typer.Option(
        "--no-images",
        help="Write the page without radiographs; otherwise it holds patients' pixels.",
    ),
]
OnBadOption = Annotated[
    OnBad, typer.Option("--on-bad", help="Unreadable images: list them and go on, or stop.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of prepared pixels. [default: $HURDLES_CACHE]"),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]


@contextmanager
def carried_out(
    on_bad: OnBad, cache: Path | None, quiet: bool, no_images: bool = False
) -> Iterator[Options]:
    """Yield what the options say of how a verb is carried out, with a bar unless it is quiet."""
    from hurdles.cli.progress_bar import ProgressBar
    from hurdles.runs.images import Options

    options = Options(on_bad=on_bad, cache=cache, pictures=not no_images)
    if quiet:
        yield options
        return
    with ProgressBar() as bar:
        yield replace(options, progress=bar)


def print_evaluation(result: Evaluation, as_json: bool, *, report: Path) -> None:
    """Print an evaluation and where its report lies."""
    from hurdles.reporting.console import evaluation_lines

    if as_json:
        print_json({**result.to_dict(), "report": str(report)})
        return
    print_lines(evaluation_lines(result))
    say(f"\nreport: {report}\nResearch use only; not a medical device.")


def say(text: object, *, err: bool = False) -> None:
    """Print text, of which a terminal obeys nothing, to stdout unless told otherwise."""
    typer.echo(shown(str(text)), err=err)


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines, to stdout unless told otherwise."""
    for line in lines:
        say(line, err=err)


def print_json(content: Any) -> None:
    """Print JSON; a number that is none raises ValueError rather than print ``NaN``."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    typer.echo(_OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def pairs(texts: Sequence[str] | None) -> dict[str, str]:
    """Return ``THEIRS=OURS`` texts as a mapping; another form is a wrong option."""
    found: dict[str, str] = {}
    for text in texts or ():
        theirs, sign, ours = (part.strip() for part in text.partition("="))
        if not sign or not theirs:
            raise typer.BadParameter(f"{text!r} is not of the form THEIRS=OURS.")
        if found.setdefault(theirs, ours) != ours:
            raise typer.BadParameter(f"{theirs!r} cannot be both {found[theirs]!r} and {ours!r}.")
    return found
