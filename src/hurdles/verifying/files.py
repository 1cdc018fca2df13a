"""JSON of findings or of an evaluation against itself: all that follows is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hurdles._version import __version__
from hurdles.data.inputs import digest
from hurdles.data.schemas import Schema
from hurdles.data.untrusted import as_csv
from hurdles.errors import EvaluationError
from hurdles.evaluation.cluster_size import is_size_note
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.evaluation import SCHEMA as EVALUATION
from hurdles.evaluation.evaluation import Evaluation
from hurdles.findings.limits import judged_again
from hurdles.findings.summary import name_text
from hurdles.findings.table import SCHEMA as FINDINGS
from hurdles.findings.table import Findings
from hurdles.verifying.verification import Line, agrees, differs, not_checked, of_all

#: A number of a file and the same computed again may differ by its last digits.
TOLERANCE = 1e-9


def schema_of(plain: dict[str, Any], path: Path) -> Schema:
    """Return the schema that a file is to be held against, by what it names or by its keys."""
    for schema, key in ((FINDINGS, "findings"), (EVALUATION, "estimates")):
        if plain.get("schema", schema.id) == schema.id and key in plain:
            return schema
    known = f"{FINDINGS.id} and {EVALUATION.id}"
    raise EvaluationError(
        f"{path} holds neither findings nor an evaluation that this version knows (it names the "
        f"schema {plain.get('schema')!r}; known are {known}). Give the JSON that hurdles wrote."
    )


def own_lines(plain: dict[str, Any], schema: Schema) -> list[Line]:
    """Return whether a file is as its schema says, and unchanged since it was written."""
    if "schema" not in plain:
        why = "the file names none: an earlier version wrote it"
        return [not_checked("schema", why), not_checked("digest", why)]
    lines = of_all("schema", f"as {schema.id} has it", schema.faults(plain))
    try:
        now = digest(plain)
    except ValueError:
        return [*lines, differs("digest", "a number is none, which has no digest")]
    same = plain.get("digest") == now
    return [
        *lines,
        agrees("digest", now)
        if same
        else differs("digest", f"{plain.get('digest')} is written, the content has {now}"),
    ]


def findings_lines(plain: dict[str, Any], findings: Findings) -> Iterator[Line]:
    """Yield whether everything follows that is computed from intervals, limits and margins."""
    rows = list(zip(plain["findings"], findings.rows, strict=True))
    wrong = [
        f"{row.hurdle}, {name_text(row)}: {old['verdict']!r} is written, interval, limit and "
        f"margin give {str(row.verdict)!r}"
        for old, row in rows
        if old["verdict"] != str(row.verdict)
    ]
    yield from of_all("verdicts", f"all {len(rows)} follow from interval, limit and margin", wrong)
    now = findings.to_dict()
    pairs = list(zip(plain["hurdles"], now["hurdles"], strict=True))
    wrong = [
        f"{new['name']}: {old['verdict']!r} is written, its findings give {new['verdict']!r}"
        for old, new in pairs
        if old["verdict"] != new["verdict"]
    ]
    yield from of_all("hurdles", f"all {len(pairs)} verdicts follow from the findings", wrong)
    wrong = [
        f"{row.hurdle}, {name_text(row)}: {key} is {old.get(key)!r}, and would be {new[key]!r}"
        for (old, row), new in zip(rows, now["findings"], strict=True)
        for key in new
        if key != "verdict" and old.get(key) != new[key]
    ]
    yield from of_all("patients that would settle it, and the rest", "as computed again", wrong)
    yield _limits(findings)


def _limits(findings: Findings) -> Line:
    made = findings.about.get("hurdles", "an unknown version")
    if made != __version__:
        why = f"made by hurdles {made}, whose limits this hurdles {__version__} does not have"
        return not_checked("limits", why)

    now = judged_again(findings).rows
    other = [
        f"{row.hurdle}, {name_text(row)}"
        for row, new in zip(findings.rows, now, strict=True)
        if row.limit != new.limit
    ]
    if other:
        return differs("limits", f"others are calibrated in this hurdles for {'; '.join(other)}")
    return agrees("limits", f"the calibrated ones are those of hurdles {__version__}")


def table_line(path: Path, findings: Findings) -> Iterator[Line]:
    """Yield whether the table beside a file of findings, if there is one, holds the same."""
    beside = path.with_suffix(".csv")
    if not beside.is_file():
        return
    if beside.read_text(encoding="utf-8") == as_csv(findings.frame):
        yield agrees(beside.name, "the same findings")
        return
    lines = beside.read_text(encoding="utf-8").splitlines()
    wanted = as_csv(findings.frame).splitlines()
    number = next(
        (i for i, pair in enumerate(zip(lines, wanted, strict=False), 1) if pair[0] != pair[1]),
        min(len(lines), len(wanted)) + 1,
    )
    yield differs(beside.name, f"other findings than in {path.name}, from line {number} on")


def evaluation_lines(written: Evaluation, again: Evaluation, of: str) -> Iterator[Line]:
    """Yield whether an evaluation is what its predictions give."""
    facts = ("classes", "labels", "n_images", "n_patients", "n_unknown", "images", "patients")
    wrong = [
        f"{name} is {getattr(written, name)!r}, and would be {getattr(again, name)!r}"
        for name in (*facts, "confusion")
        if getattr(written, name) != getattr(again, name)
    ]
    yield from of_all("counts", f"as {of} gives them", wrong)
    wrong = list(_other_estimates(written.estimates, again.estimates))
    good = f"all {len(written.estimates)} measures and intervals computed again from {of}"
    yield from of_all("measures", good, wrong)
    notes = again.notes
    if again.patient_weighted and not written.patient_weighted:
        why = "there are none in the file, which an earlier version wrote"
        yield not_checked("measures with each patient once", why)
        notes = tuple(note for note in notes if not is_size_note(note))
    elif written.patient_weighted:
        wrong = list(_other_estimates(written.patient_weighted, again.patient_weighted))
        good = f"all {len(written.patient_weighted)} computed again from {of}"
        yield from of_all("measures with each patient once", good, wrong)
    # A file that names no inputs is older than histograms.
    if written.inputs and not _close(_scores(written), _scores(again)):
        yield differs("histograms", f"others follow from {of}")
    if written.conditional:
        yield from _conditional_lines(written, again, of)
    left = [note for note in notes if note not in written.notes]
    yield from of_all(
        "notes", "none is left out that the predictions ask for", (f"left out: {n}" for n in left)
    )


def _other_estimates(
    written: Mapping[tuple[str, str], Estimate], again: Mapping[tuple[str, str], Estimate]
) -> Iterator[str]:
    """Yield which estimates are not those that were computed again."""
    for key in dict.fromkeys((*written, *again)):
        name = " of ".join(filter(None, key))
        if key not in written:
            yield f"{name} is missing"
        elif key not in again:
            yield f"{name} is no measure of this version"
        elif not _close(written[key].to_dict(), again[key].to_dict()):
            yield f"{name} is {written[key]}, and would be {again[key]}"


def conditions_of(evaluation: Evaluation) -> Conditions:
    """Return the conditions at which an evaluation was made, by its rows."""

    def at(measure: str) -> tuple[float, ...]:
        rows = [row.at for row in evaluation.conditional if row.measure == measure]
        return tuple(dict.fromkeys(rows))

    rows = [row for row in evaluation.conditional if row.measure == "ppv_at_prevalence"]
    return Conditions(
        prevalence={row.class_: row.at for row in rows},
        specificity=at("sensitivity_at_specificity"),
        sensitivity=at("specificity_at_sensitivity"),
        benefit_at=at("net_benefit"),
    )


def _conditional_lines(written: Evaluation, again: Evaluation, of: str) -> Iterator[Line]:
    name = "measures at conditions"
    if not again.conditional:
        yield not_checked(name, "the predictions on which thresholds were chosen are not at hand")
        return
    known = {(row.measure, row.class_, row.at): row.to_dict() for row in again.conditional}
    wrong = [
        f"{row.title} of {row.class_} is {row.written()}, and would be another number"
        for row in written.conditional
        if not _close(row.to_dict(), known.pop((row.measure, row.class_, row.at), None))
    ]
    wrong += [f"{measure} of {class_} at {at:g} is missing" for measure, class_, at in known]
    yield from of_all(name, f"all {len(written.conditional)} as {of} gives them", wrong)


def _scores(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [histogram.to_dict() for histogram in evaluation.scores]


def _close(one: Any, two: Any) -> bool:
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_close(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(_close, one, two))
    if isinstance(one, float) and isinstance(two, float):
        return abs(one - two) <= TOLERANCE * max(1.0, abs(one))
    return bool(one == two)
