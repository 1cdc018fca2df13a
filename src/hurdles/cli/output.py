"""Options that several commands share, each described once, and printing.

Results go to stdout, progress and messages to stderr.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hurdles._version import USE_SENTENCE
from hurdles.data.untrusted import shown
from hurdles.data.vocabulary import MissingPatients, OnBad

if TYPE_CHECKING:
    from hurdles.evaluation.evaluation import Evaluation
    from hurdles.findings.summary import FailOn
    from hurdles.progress import Options


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
ImagesArgument = Annotated[
    list[str],
    typer.Argument(metavar="[NAME=]PATH", help="Folder, table, collection or run; as --data."),
]
PredictionsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--predictions",
        metavar="TABLE",
        help="Or: a table with a row per image: probabilities, or decisions, of any model.",
    ),
]
JudgedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[NAME=]PATH",
        help="Images that a model or predictions are judged on: as for hurdles check. Of images "
        "with a split, the part test.",
    ),
]
ClassOption = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="NAME", help="A class of the model, in its order."),
]
PositiveOption = Annotated[
    str | None,
    typer.Option("--positive", metavar="CLASS", help="The class whose probability is given."),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[NAME=]PATH",
        help="Images: a folder of class folders, a table (CSV, Excel, Parquet), a collection's "
        "name (found under $HURDLES_DATA), or NAME=PATH. Several are merged.",
    ),
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
JoinOption = Annotated[
    bool,
    typer.Option("--join-patients", help="Equal patient ids are one person, whatever the source."),
]
MissingPatientsOption = Annotated[
    MissingPatients | None,
    typer.Option(
        "--missing-patients",
        help="Images without a patient: refuse, or one-each (each a patient of its own).",
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.FIELD=VALUE",
        help="Change a setting of the recipe, as in training.epochs=3; may be given several "
        "times. hurdles recipes RECIPE explains them all.",
    ),
]
PrevalenceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prevalence",
        metavar="CLASS=P",
        help="PPV, NPV and net benefit where the class is as common as P, e.g. COVID-19=0.02.",
    ),
]
SpecificityOption = Annotated[
    list[float] | None,
    typer.Option(
        "--specificity",
        metavar="P",
        help="Sensitivity at this specificity, by a threshold from validation images. "
        "[default: the recipe's; 0.95]",
    ),
]
SensitivityOption = Annotated[
    list[float] | None,
    typer.Option("--sensitivity", metavar="P", help="Specificity at this sensitivity, likewise."),
]
BenefitOption = Annotated[
    list[float] | None,
    typer.Option(
        "--benefit-at",
        metavar="P",
        help="Net benefit for those who act from this probability on, beside acting on all.",
    ),
]
HurdleOption = Annotated[
    list[str] | None,
    typer.Option("--hurdle", metavar="NAME", help="Only this one; may be given several times."),
]
PageOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Write a page (.html, with patients' pixels; or .md, without), and tables beside it.",
    ),
]
OwnOption = Annotated[
    list[Path] | None,
    typer.Option("--own", metavar="FILE.py", help="Hurdles of your own; see docs/hurdles.md."),
]


def _gone(given: bool) -> None:
    if given:
        raise typer.BadParameter(
            "it is called --fail-on inconclusive,could-not-run now, which does the same."
        )


FailOnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="hit|inconclusive|could-not-run|nothing",
        help="Exit with 3 on a hit, and with 4 on what is inconclusive or could not run where that "
        "is named; several with commas, or given several times. [default: hit]",
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", hidden=True, callback=_gone)]
SarifOption = Annotated[
    Path | None,
    typer.Option("--sarif", metavar="FILE", help="Write SARIF 2.1.0 for code scanning, too."),
]
JunitOption = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE.xml", help="Write JUnit XML for a build server, too."),
]
ResultsOption = Annotated[
    Path | None, typer.Option("--results", help="Write the tables here. [default: --out]")
]
NoImagesOption = Annotated[
    bool,
    typer.Option(
        "--no-images",
        help="Write the page without radiographs; otherwise it holds patients' pixels.",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace files that hurdles did not write; never an input.")
]
OnBadOption = Annotated[
    OnBad, typer.Option("--on-bad", help="Unreadable images: list them and go on, or stop.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of prepared pixels. [default: $HURDLES_CACHE]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


def one_table(paths: Sequence[Path] | None) -> Path | None:
    """Return the one table of predictions that was given; several are a wrong option."""
    if paths and len(paths) > 1:
        raise typer.BadParameter(
            "these are several tables. Each is a model of its own, judged by itself; two of them "
            "are compared by hurdles compare A B, and the same model with other seeds is named by "
            "hurdles audit --seed-predictions.",
            param_hint="--predictions",
        )
    return paths[0] if paths else None


def pairs(texts: Sequence[str] | None) -> dict[str, str]:
    """Return ``THEIRS=OURS`` texts as a mapping; another form is a wrong option."""
    mapping: dict[str, str] = {}
    for text in texts or ():
        theirs, sign, ours = (part.strip() for part in text.partition("="))
        if not sign or not theirs:
            raise typer.BadParameter(f"{text!r} is not of the form THEIRS=OURS.")
        if mapping.setdefault(theirs, ours) != ours:
            raise typer.BadParameter(f"{theirs!r} cannot be both {mapping[theirs]!r} and {ours!r}.")
    return mapping


def fail_on(texts: Sequence[str] | None) -> list[FailOn]:
    """Return what a command is to fail on; a word that is none of these is a wrong option."""
    from hurdles.findings.summary import FailOn

    words = [w.strip() for text in texts or (FailOn.HIT,) for w in text.split(",") if w.strip()]
    known = list(map(str, FailOn))
    for word in words:
        if word not in known:
            raise typer.BadParameter(f"{word!r} is none of {', '.join(known)}.")
    if len(set(words)) > 1 and FailOn.NOTHING in words:
        raise typer.BadParameter(f"{FailOn.NOTHING} stands alone.")
    return list(map(FailOn, words or (FailOn.HIT,)))


#: What JSON does not escape and a terminal would obey, or UTF-8 cannot hold.
_OBEYED = re.compile(r"[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def say(text: object, *, err: bool = False) -> None:
    """Print text, of which a terminal obeys nothing, to stdout unless told otherwise."""
    typer.echo(shown(str(text)), err=err)


def print_result(as_json: bool, content: Any, *lines: str | Iterable[str]) -> None:
    """Print content as JSON for programs, a table by its rows; or lines for a person.

    A number that is none raises ValueError rather than print ``NaN``.
    """
    if not as_json:
        for part in lines:
            for line in [part] if isinstance(part, str) else part:
                say(line)
        return
    if hasattr(content, "to_json"):
        content = json.loads(content.to_json(orient="records"))
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    typer.echo(_OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text))


def print_evaluation(result: Evaluation, as_json: bool, *, report: Path | None = None) -> None:
    """Print an evaluation and, where there is one, its report's place."""
    from hurdles.reporting.console import evaluation_lines

    where = "" if report is None else f"\nreport: {report}"
    content = result.to_dict() | ({} if report is None else {"report": str(report)})
    use = f"{where}\n{USE_SENTENCE}"
    print_result(as_json, content, evaluation_lines(result), use)


def print_evaluations(
    results: Mapping[str, Evaluation], as_json: bool, *, reports: Mapping[str, Path]
) -> None:
    """Print several evaluations, each by its name and with its own table."""
    from hurdles.reporting.console import evaluation_lines

    content = {n: {**found.to_dict(), "report": str(reports[n])} for n, found in results.items()}
    lines = [
        line
        for name, found in results.items()
        for line in (f"== {name}", *evaluation_lines(found), "", f"report: {reports[name]}", "")
    ]
    print_result(as_json, content, lines, USE_SENTENCE)


@contextmanager
def verb_options(
    on_bad: OnBad, cache: Path | None, quiet: bool, no_images: bool = False
) -> Iterator[Options]:
    """Yield how a verb is to be carried out, with a progress bar unless it is to be quiet."""
    from hurdles.cli.progress import ProgressBar
    from hurdles.progress import Options

    options = Options(on_bad=on_bad, cache=cache, pictures=not no_images)
    if quiet:
        yield options
        return
    with ProgressBar() as bar:
        yield replace(options, progress=bar)
