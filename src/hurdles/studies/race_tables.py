"""The numbers of a race: the matrix, what is lost outside, what a choice and a fault are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hurdles.evaluation.comparisons import compare
from hurdles.evaluation.matrix import PAIRED_COLUMNS, gaps, matrix, paired
from hurdles.evaluation.predictions import Predictions
from hurdles.studies.answers import Book, whole
from hurdles.studies.race import RaceCell
from hurdles.studies.tartaglione_2020_sets import COVID
from hurdles.studies.tartaglione_2020_words import (
    BASE_PREPARATION,
    BASE_START,
    CARELESS,
    DONE_RIGHT,
    NOTHING,
    PREPARATIONS,
    row_name,
)

Key = tuple[str, str]

#: Fault of the published code -> what it is.
FAULTS: dict[str, str] = {
    "image-level split": "images of one patient in training and test",
    "last epoch": "the last epoch tested instead of the best on validation",
    "tested on all": "the test set holds the training images",
    "twins kept": "images of other collections tested that training or pre-training has seen",
    "threshold 0.5": "no threshold from validation",
    "split and epoch": "image-level split and last epoch together, as the published code runs",
}
_FAULT_COLUMNS = [
    "fault", "model", "test", "measure", "as_coded", "done_right", "difference", "low", "high",
    "p_value", "n_images", "n_patients", "note",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tables:
    """Everything that a race has measured.

    Parameters
    ----------
    matrix : DataFrame
        `hurdles.evaluation.matrix.MATRIX_COLUMNS`, after the cell's name and seed. Every way that
        is done right, every seed.
    gaps : DataFrame
        `GAP_COLUMNS` after ``shared``, the collections that a test set shares with the model's
        own; the first seed of every row, tests on COVID-19 only. One family for Holm.
    paired : DataFrame
        `PAIRED_COLUMNS` after the question that a row belongs to. One family for Holm.
    faults : DataFrame
        What each fault is worth; `difference` is as coded less done right, 0 to 1.
    left_out : DataFrame
        Images left out of tests: cell, test, image, reason.
    """

    matrix: pd.DataFrame
    gaps: pd.DataFrame
    paired: pd.DataFrame
    faults: pd.DataFrame
    left_out: pd.DataFrame


def tables_of(book: Book) -> Tables:
    """Compute every table from whatever is done."""
    first = [c for c in book.standing.done if c.asked and c.seed == 0]
    results = book.results(first)
    of_covid = {key: p for key, p in results.items() if _is_of_covid(book, key[1])}
    inside = {c.row: c.training for c in first if (c.row, c.training) in of_covid}
    return Tables(
        _matrix(book),
        _gaps(book, of_covid, inside),
        _paired(of_covid),
        _faults(book),
        _left_out(book),
    )


def _is_of_covid(book: Book, test: str) -> bool:
    return book.standing.stock.design.tests[test].of_covid


def _matrix(book: Book) -> pd.DataFrame:
    found = []
    for cell in book.standing.done:
        results = book.results([cell])
        if results:
            table = matrix(results, positive=COVID)
            # The column holds another finding there; a table must not be read without that.
            names = {t: s.of_covid for t, s in book.standing.stock.design.tests.items()}
            asked = table["test"].map(lambda t, n=names: COVID if n[t] else "RX+, none COVID-19")
            table.insert(0, "seed", cell.seed)
            table.insert(3, "column holds", asked)
            found.append(table)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _gaps(book: Book, results: dict[Key, Predictions], inside: dict[str, str]) -> pd.DataFrame:
    table = gaps(results, inside=inside, positive=COVID)
    tests = book.standing.stock.design.tests
    shared = [
        ", ".join(n for n in tests[outside].needs if n in tests[own].needs)
        for own, outside in zip(table["inside"], table["outside"], strict=True)
    ]
    table.insert(3, "shared", shared)
    return table


def _paired(results: dict[Key, Predictions]) -> pd.DataFrame:
    asked = [(q, pair) for q, pair in _questions() if pair[0][0] in {m for m, _ in results}]
    tests = list(dict.fromkeys(test for _, test in results))
    pairs = [
        (question, ((a, test), (b, test)))
        for question, ((a, _), (b, _)) in asked
        for test in tests
        if (a, test) in results and (b, test) in results
    ]
    table = paired(results, [pair for _, pair in pairs], positive=COVID)
    table = table if len(table) else pd.DataFrame(columns=list(PAIRED_COLUMNS))
    table.insert(0, "question", [question for question, _ in pairs])
    return table


def _questions() -> Iterator[tuple[str, tuple[Key, Key]]]:
    """Yield what is compared with what: the question, the changed row, the plain row."""
    for training in ("cohen", "radiography"):
        raw = row_name(training, "raw")
        for preparation in PREPARATIONS:
            if preparation not in ("raw", "background"):
                yield preparation, ((row_name(training, preparation), ""), (raw, ""))
        masked, equal = row_name(training, BASE_PREPARATION), row_name(training, "equalized")
        yield "masking alone", ((masked, ""), (equal, ""))
        for start in (BASE_START, "nih", "rsna"):
            scratch = row_name(training, start=NOTHING)
            yield f"from {start}", ((row_name(training, start=start), ""), (scratch, ""))


def _faults(book: Book) -> pd.DataFrame:
    cells = {(c.way, c.row, c.seed): c for c in book.standing.done}
    rows: list[dict[str, object]] = []
    for training in ("cohen", "radiography"):
        right = cells.get((DONE_RIGHT, row_name(training), 0))
        if right is None:
            continue
        answer = book.answers.get((right.name, right.training))
        if answer is None or answer.predictions is None:
            continue
        rows += _of_split(book, right, cells.get((CARELESS, right.row, 0)), answer.predictions)
        rows += _of_epoch(book, right, answer.predictions)
        rows += _of_whole(book, right, answer.predictions)
        rows += _of_twins(book, right)
        rows += _of_threshold(right, answer.predictions)
    return pd.DataFrame(rows, columns=_FAULT_COLUMNS)


def _of_split(
    book: Book, right: RaceCell, careless: RaceCell | None, own: Predictions
) -> Iterator[dict[str, object]]:
    if careless is None:
        return
    run = book.standing.runs[careless.name]
    test = right.training
    for fault, name in (("image-level split", "test"), ("split and epoch", "test.last")):
        if (run.path / "predictions" / f"{name}.csv").is_file():
            coded = run.predictions(name)
            yield _gap(fault, right.row, test, coded, own)


def _of_epoch(book: Book, right: RaceCell, own: Predictions) -> Iterator[dict[str, object]]:
    run = book.standing.runs[right.name]
    if not (run.path / "predictions" / "test.last.csv").is_file():
        return
    results = {("last", "own"): run.predictions("test.last"), ("best", "own"): own}
    table = paired(results, [(("last", "own"), ("best", "own"))], positive=COVID)
    row = table.iloc[0]
    yield _fault("last epoch", right.row, right.training, "auc", row["auc_a"], row["auc_b"], row)


def _of_whole(book: Book, right: RaceCell, own: Predictions) -> Iterator[dict[str, object]]:
    stock = book.standing.stock
    if not stock.design.collections[right.training].whole:
        return
    everything = whole(book.standing.runs[right.name], stock, stock.whole(right.training))
    if everything is not None:
        yield _gap("tested on all", right.row, f"{right.training} (all)", everything, own)


def _of_twins(book: Book, right: RaceCell) -> Iterator[dict[str, object]]:
    for (name, test), answer in book.answers.items():
        outside = name == right.name and test != right.training
        if not outside or not answer.seen or right.training in test.split("+"):
            continue
        if answer.predictions is not None and answer.careless is not None:
            yield _gap("twins kept", right.row, test, answer.careless, answer.predictions)


def _of_threshold(right: RaceCell, own: Predictions) -> Iterator[dict[str, object]]:
    by_half = Predictions.from_arrays(
        own.classes,
        y_true=own.y_true.tolist(),
        y_prob=own.y_prob,
        images=own.frame["image"].tolist(),
        groups=own.groups.tolist(),
    )
    for found in compare(by_half, own, metrics=["balanced_accuracy"]):
        d = found.difference
        row: dict[str, Any] = {
            "difference": d.value,
            "low": d.low,
            "high": d.high,
            "p_value": found.p_value,
        }
        row |= {"n_images": d.n_images, "n_patients": d.n_patients, "note": d.note}
        a, b = found.a.value, found.b.value
        yield _fault("threshold 0.5", right.row, right.training, found.metric, a, b, row)


def _gap(
    fault: str, model: str, test: str, coded: Predictions, right: Predictions
) -> dict[str, object]:
    results = {(model, "as coded"): coded, (model, "done right"): right}
    row = gaps(results, inside={model: "as coded"}, positive=COVID).iloc[0]
    return _fault(fault, model, test, "auc", row["auc_inside"], row["auc_outside"], row)


def _fault(
    fault: str,
    model: str,
    test: str,
    measure: str,
    coded: float,
    right: float,
    row: Mapping[Any, Any] | pd.Series[Any],
) -> dict[str, object]:
    kept = ("difference", "low", "high", "p_value", "n_images", "n_patients", "note")
    named = {"fault": fault, "model": model, "test": test, "measure": measure}
    return {**named, "as_coded": coded, "done_right": right, **{name: row[name] for name in kept}}


def _left_out(book: Book) -> pd.DataFrame:
    rows = [
        (cell, test, image, reason)
        for (cell, test), answer in book.answers.items()
        for images, reason in (
            (answer.seen, "its patient was in training, validation or pre-training"),
            (answer.lost, "the preparation cannot use it"),
        )
        for image in images
    ]
    return pd.DataFrame(rows, columns=["cell", "test", "image", "reason"])
