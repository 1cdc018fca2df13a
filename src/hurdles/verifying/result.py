"""Verification of one result: a file of findings or of an evaluation, a page, or a run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hurdles._version import __version__
from hurdles.data.inputs import Role
from hurdles.data.manifest import Manifest
from hurdles.data.schemas import Schema, read_json_object
from hurdles.data.table import columns_in
from hurdles.data.vocabulary import Split
from hurdles.errors import EvaluationError, HurdlesError, RunError
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.folds import FoldAnswers, evaluate_folds
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.table import SCHEMA as FINDINGS
from hurdles.findings.table import Findings
from hurdles.foreign.predictions import is_of_hurdles, read_predictions
from hurdles.runs.run import FOLD_ANSWERS, Run
from hurdles.runs.seals import sealed
from hurdles.verifying.files import (
    conditions_of,
    evaluation_lines,
    findings_lines,
    own_lines,
    schema_of,
    table_line,
)
from hurdles.verifying.inputs import AtHand, input_lines
from hurdles.verifying.pages import page_lines, report_lines
from hurdles.verifying.verification import (
    Line,
    Outcome,
    Verification,
    agrees,
    differs,
    not_checked,
)

_PAGES = (".html", ".md")
#: Name of the predictions on which thresholds are chosen.
_SPLIT = {"split": "split"}
_VALIDATION = "validation"
_BROKEN = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)


def verified(
    path: Path,
    *,
    against: Sequence[Path] = (),
    images: Mapping[str, Manifest] | None = None,
    cache: str | Path | None = None,
) -> Verification:
    """Hold a result against its schema, itself, its page and its inputs; see `hurdles.verify`."""
    missing = [str(each) for each in (path, *against) if not each.exists()]
    if missing:
        raise EvaluationError(f"{missing[0]} is not there; check the path.")
    at_hand = AtHand(given=against, images=images or {}, cache=cache)
    if path.is_dir():
        return Verification(str(path), tuple(_run_lines(Run(path), at_hand)))
    if path.suffix in _PAGES:
        return Verification(str(path), tuple(_lines_of_page(path, at_hand)))
    return Verification(str(path), tuple(_lines_of_json(path, at_hand)))


def _lines_of_json(path: Path, at_hand: AtHand, *, pages: bool = True) -> Iterator[Line]:
    plain = read_json_object(path)
    schema = schema_of(plain, path)
    lines = own_lines(plain, schema)
    yield from lines
    if any(line.of == "schema" and line.outcome is Outcome.DIFFERS for line in lines):
        yield not_checked("all else", "the file is not as its schema has it")
        return
    # What is older than schemas may hold anything.
    broken = () if "schema" in plain else _BROKEN
    try:
        yield from _content_lines(path, at_hand, plain, schema, pages=pages)
    except broken as error:
        yield not_checked("all else", _unreadable(error))


def _content_lines(
    path: Path, at_hand: AtHand, plain: dict[str, Any], schema: Schema, *, pages: bool
) -> Iterator[Line]:
    kind: type[Findings] | type[Evaluation] = Findings if schema is FINDINGS else Evaluation
    try:
        content = kind.from_dict(plain)
    except (HurdlesError, *_BROKEN) as error:
        yield not_checked("all else", _unreadable(error))
        return
    given, n_sets = at_hand.images, sum(each.role is Role.IMAGES for each in content.inputs)
    if len(given) == n_sets == 1:
        at_hand = replace(at_hand, only=next(iter(given.values())))
    at_hand = _beside(path, at_hand)
    if isinstance(content, Findings):
        made = content.about.get("hurdles")
        at_hand = replace(at_hand, is_current=made == __version__)
        yield from findings_lines(plain, content)
        yield from table_line(path, content)
        page = path.with_suffix(".html")
        if pages and page.is_file():
            yield from page_lines(page, content, path.name)
    else:
        yield from _measured_again(content, at_hand)
    yield from input_lines(content.inputs, at_hand)


def _unreadable(error: Exception) -> str:
    return f"the file cannot be read further ({type(error).__name__}: {error})"


def _measured_again(written: Evaluation, at_hand: AtHand) -> Iterator[Line]:
    """Yield whether the measures follow from the predictions, where these are at hand."""
    tables = [each for each in written.inputs if each.role is Role.PREDICTIONS]
    chosen_on = [each for each in tables[1:] if Path(each.name).stem == _VALIDATION]
    found = [at_hand.files_for(each)[:1] for each in (*tables[:1], *chosen_on[:1])]
    if not tables or not found[0]:
        why = "the predictions that they were computed from are not at hand"
        yield not_checked("measures", why)
        return
    of_run = any(each.role is Role.WEIGHTS for each in written.inputs)
    place = found[0][0]
    level = next((each.level for each in written.estimates.values()), 0.95)
    if tables[0].name == FOLD_ANSWERS:
        try:
            answers = FoldAnswers.load(place)
        except HurdlesError as error:
            yield not_checked("measures", f"{place.name} cannot be read here: {error}")
            return
        again = evaluate_folds(answers, level=level, conditions=conditions_of(written))
        yield from evaluation_lines(written, again, place.name)
        return
    try:
        # A table of hurdles without a split is all of it tested.
        is_own = of_run or (is_of_hurdles(place) and not columns_in(place, _SPLIT))
        if is_own:
            tested, *validation = [Predictions.load(each) for places in found for each in places]
        else:
            table = read_predictions(place, classes=written.classes)
            held = table.part(Split.VALIDATION)
            tested, validation = table.test, [] if held is None else [held]
    except (HurdlesError, ValueError, OSError) as error:
        yield not_checked("measures", f"{place.name} cannot be read here: {error}")
        return
    has_chosen = not chosen_on or bool(validation)
    again = evaluate(
        tested,
        level=level,
        # Without the images on which a threshold was chosen, none can be chosen again.
        conditions=conditions_of(written) if has_chosen else None,
        validation=validation[0] if validation else None,
    )
    if not is_own and (again.n_images, again.n_patients) != (written.n_images, written.n_patients):
        why = "the images, or the columns, that the table was read with are not on record"
        yield not_checked("measures", why)
        return
    yield from evaluation_lines(written, again, place.name)


def _beside(path: Path, at_hand: AtHand) -> AtHand:
    """Return what is at hand with the folder of a file, and, in a run's, with the run's images."""
    folder = path.absolute().parent
    at_hand = replace(at_hand, folders=[*at_hand.folders, folder])
    runs = [Run(each) for each in (folder, *at_hand.given) if (each / "recipe.toml").is_file()]
    images = dict(at_hand.images)
    for run in runs:
        for name, manifest in _images_of(run):
            images.setdefault(name, manifest)
    return replace(at_hand, images=images)


def _images_of(run: Run) -> Iterator[tuple[str, Manifest]]:
    if not run.is_begun:
        return
    yield run.recipe.name, run.manifest
    yield "test", run.manifest.part("test")
    for name in _sets(run):
        file = run.path / f"manifest.{name}.csv"
        if file.is_file():
            yield name, Manifest.load(file)


def _sets(run: Run) -> list[str]:
    """Return the names of the further sets that a run was tested on."""
    files = sorted(run.path.glob("evaluation.*.json"))
    return [path.name.removeprefix("evaluation.").removesuffix(".json") for path in files]


def _lines_of_page(path: Path, at_hand: AtHand) -> Iterator[Line]:
    folder = path.absolute().parent
    if path.name.startswith("report.") and (folder / "recipe.toml").is_file():
        run = Run(folder)
        on = path.name.removeprefix("report.").removesuffix(".html").removesuffix("html")
        yield from _seals(run)
        yield from report_lines(run, on or "test")
        return
    given = [each for each in at_hand.given if each.suffix == ".json" and each.is_file()]
    source = given[0] if given else path.with_suffix(".json")
    if not source.is_file():
        raise EvaluationError(
            f"{source} is not there, which a page is held against; name its JSON by --against."
        )
    rest = replace(at_hand, given=[each for each in at_hand.given if each != source])
    plain = read_json_object(source)
    if schema_of(plain, source) is not FINDINGS:
        raise EvaluationError(f"{source} holds no findings, and {path.name} is a page of findings.")
    yield from page_lines(path, Findings.load(source), source.name)
    for line in _lines_of_json(source, rest, pages=False):
        yield replace(line, of=f"{source.name}, {line.of}")


def _run_lines(run: Run, at_hand: AtHand) -> Iterator[Line]:
    """Yield everything that a run's folder allows: seals, evaluations, its audit, its pages."""
    if not (run.path / "recipe.toml").is_file():
        raise RunError(
            f"{run.path} holds no run; give its folder, or the JSON file or page of a check."
        )
    yield from (seals := list(_seals(run)))
    names = ["evaluation.json", *(f"evaluation.{name}.json" for name in _sets(run)), "audit.json"]
    for name in names:
        if (run.path / name).is_file():
            for line in _lines_of_json(run.path / name, at_hand):
                yield replace(line, of=f"{name}, {line.of}")
    for on in ["test", *_sets(run)]:
        if run.page_path(on).is_file() and all(s.outcome is not Outcome.DIFFERS for s in seals):
            yield from report_lines(run, on)


def _seals(run: Run) -> Iterator[Line]:
    files = sealed(run.path)
    if not files:
        yield not_checked("sealed files", "the run is not finished, or older than seals")
        return
    gone = [path.name for path in files if not path.is_file()]
    try:
        run.require_finished()
    except RunError as error:
        yield differs("sealed files", str(error))
        return
    if gone:
        yield differs("sealed files", f"missing: {', '.join(gone)}")
    else:
        yield agrees("sealed files", f"all {len(files)} are as the run left them")
