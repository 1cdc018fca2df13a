"""The tables of a study, by name, and the picture of its matrix.

A table is a function from what is done to a DataFrame, or to None where the study asks for none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hurdles.data.files import write_bytes
from hurdles.evaluation import matrix as matrices
from hurdles.evaluation.comparisons import compare, holm, ruled_by_test
from hurdles.evaluation.delong import AUC, AUCDifference, auc_bounds, compare_aucs, two_sided
from hurdles.evaluation.folds import evaluate_folds
from hurdles.evaluation.predictions import Predictions
from hurdles.registry import Registry
from hurdles.reporting.charts import matrix_figure
from hurdles.studies.cells import NO_REMEDY, Cell
from hurdles.studies.state import State, answered, whole_set


@dataclass(frozen=True, eq=False)
class Drawn:
    """Results of a figure: files, pictures by name, and the tables behind them."""

    files: tuple[Path, ...] = ()
    pictures: Mapping[str, Path] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


#: Tables by name.
TABLES: Registry[Callable[[State], pd.DataFrame | None]] = Registry("table")
#: Those that hold networks of one split against each other: folds have none.
OF_ONE_SPLIT = frozenset({"faults", "comparisons", "remedy-cells", "remedy-changes"})
#: Figures by name: from what is done, the tables, and the beginning of the files' names.
FIGURES: Registry[Callable[[State, Mapping[str, pd.DataFrame], Path], Drawn]] = Registry("figure")

Key = tuple[str, str]
_TESTED = ("difference", "low", "high", "p_value", "n_images", "n_patients", "note")


# The train-test matrix.


def label_of(cell: Cell, state: State) -> str:
    """Return what a tested cell is called in tables: its row, after its way if ways differ."""
    several = len({c.way for c in state.cells if c.tests}) > 1
    return f"{cell.way}, {cell.row}" if several else cell.row


def inside_of(state: State) -> dict[str, str]:
    """Return the own test set of every tested model."""
    return {label_of(c, state): c.train for c in state.done if c.train in c.tests}


def _results(state: State, cells: Sequence[Cell]) -> dict[Key, Predictions]:
    labels = {cell.name: label_of(cell, state) for cell in cells}
    return {
        (labels[name], test): answer.predictions
        for (name, test), answer in state.answers.items()
        if name in labels and answer.predictions is not None
    }


def _first(state: State) -> dict[Key, Predictions]:
    """Return the predictions of each model's first seed on sets that hold the positive class.

    Without those in folds: several networks are not compared with one.
    """
    first: dict[str, Cell] = {}
    for cell in state.done:
        seeds = [c.seed for c in state.cells if (c.way, c.row) == (cell.way, cell.row)]
        if cell.tests and not cell.in_folds and cell.seed == min(seeds):
            first[cell.name] = cell
    results = _results(state, list(first.values()))
    return {key: p for key, p in results.items() if not state.grid.image_set(key[1]).holds}


def tests_of(cells: Sequence[Cell]) -> list[str]:
    """Return the test sets of all cells, in the order of the study's file."""
    return list(dict.fromkeys(test for cell in cells for test in cell.tests))


@TABLES.register("matrix")
def _matrix(state: State) -> pd.DataFrame | None:
    """Measure every model on every test set."""
    if not tests_of(state.cells):
        return None
    positive = state.grid.positive
    parts = []
    for cell in state.done:
        results, own = _results(state, [cell]), None
        if cell.in_folds and cell.train in cell.tests:
            own = evaluate_folds(state.runs[cell.name].fold_answers())
        if results or own:
            table = matrices.matrix(results, positive=positive)
            if own:
                key = label_of(cell, state), cell.train
                of_folds = matrices.measured(own, key, positive=positive)
                table = pd.concat([of_folds, table], ignore_index=True)
            # The column may hold another finding; a table must not be read without that.
            holds = {test: state.grid.image_set(test).holds or positive for test in cell.tests}
            table.insert(0, "seed", cell.seed)
            table.insert(3, "column holds", table["test"].map(holds))
            parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


@TABLES.register("gaps")
def _gaps(state: State) -> pd.DataFrame | None:
    """Compare each model's own test set with every other, and name what the two share."""
    if not tests_of(state.cells):
        return None
    results = _first(state)
    inside = {m: own for m, own in inside_of(state).items() if (m, own) in results}
    table = matrices.gaps(results, inside=inside, positive=state.grid.positive)
    needs = state.grid.image_set
    shared = [
        ", ".join(n for n in needs(outside).needs if n in needs(own).needs)
        for own, outside in zip(table["inside"], table["outside"], strict=True)
    ]
    table.insert(3, "shared", shared)
    return table


@TABLES.register("paired")
def _paired(state: State) -> pd.DataFrame | None:
    """Compare two models on the images that both can use."""
    if not state.grid.paired.questions:
        return None
    results = _first(state)
    tests = list(dict.fromkeys(test for _, test in results))
    pairs = [
        (question, ((one, test), (two, test)))
        for question, one, two in state.grid.paired.pairs()
        for test in tests
        if (one, test) in results and (two, test) in results
    ]
    table = matrices.paired(results, [pair for _, pair in pairs], positive=state.grid.positive)
    table.insert(0, "question", [question for question, _ in pairs])
    return table


@TABLES.register("left-out")
def _left_out(state: State) -> pd.DataFrame | None:
    """List the images left out of tests, with the reason."""
    if not tests_of(state.cells):
        return None
    rows = [
        (cell, test, image, reason)
        for (cell, test), answer in state.answers.items()
        for images, reason in (
            (answer.seen, "its patient was in training, validation or pre-training"),
            (answer.lost, "the preparation cannot use it"),
        )
        for image in images
    ]
    return pd.DataFrame(rows, columns=["cell", "test", "image", "reason"])


@FIGURES.register("matrix")
def _matrix_picture(state: State, tables: Mapping[str, pd.DataFrame], stem: Path) -> Drawn:
    table = tables.get("matrix")
    if table is None or table.empty:
        return Drawn()
    first = table[table["seed"] == table["seed"].min()]
    folded = ", or all of it in folds" if any(cell.in_folds for cell in state.done) else ""
    own = (
        f"Outlined: the test part of the model's own set{folded}. Above 0.5 better than chance, "
        "below worse."
    )
    files = []
    for form in ("png", "svg"):
        files.append(stem.with_name(f"{stem.name}.matrix.{form}"))
        picture = matrix_figure(
            first,
            inside=inside_of(state),
            tests=tests_of(state.cells),
            title=f"{state.grid.name}, {state.profile}: area under the curve for "
            f"{state.grid.positive}",
            notes=(own, *state.grid.notes),
            form=form,
        )
        write_bytes(files[-1], picture)
    return Drawn(tuple(files), {"matrix": files[0]})


# What the habits of published code are worth.


@TABLES.register("faults")
def _faults(state: State) -> pd.DataFrame:
    """Measure what faults of published code are worth: `difference` is as coded less done right."""
    cells = {(c.way, c.row, c.seed): c for c in state.done}
    rows: list[dict[str, object]] = []
    for row in state.grid.values["faults"]:
        right = next((c for c in state.done if c.tests and (c.row, c.seed) == (row, 0)), None)
        answer = state.answers.get((right.name, right.train)) if right else None
        if right is None or answer is None or answer.predictions is None:
            continue
        careless = cells.get((state.grid.values["careless"], row, 0))
        rows += _of_split(state, right, careless, answer.predictions)
        rows += _of_epoch(state, right, answer.predictions)
        rows += _of_whole(state, right, answer.predictions)
        rows += _of_copies(state, right)
        rows += _of_threshold(right, answer.predictions)
    named = ["fault", "model", "test", "measure", "as_coded", "done_right"]
    return pd.DataFrame(rows, columns=[*named, *_TESTED])


def _of_split(
    state: State, right: Cell, careless: Cell | None, own: Predictions
) -> Iterator[dict[str, object]]:
    if careless is None:
        return
    run, test = state.runs[careless.name], right.train
    for fault, name in (("image-level split", "test"), ("split and epoch", "test.last")):
        if (run.path / "predictions" / f"{name}.csv").is_file():
            yield _gap(state, fault, right.row, test, run.predictions(name), own)


def _of_epoch(state: State, right: Cell, own: Predictions) -> Iterator[dict[str, object]]:
    run = state.runs[right.name]
    if not (run.path / "predictions" / "test.last.csv").is_file():
        return
    results = {("last", "own"): run.predictions("test.last"), ("best", "own"): own}
    pairs = [(("last", "own"), ("best", "own"))]
    row = matrices.paired(results, pairs, positive=state.grid.positive).iloc[0]
    yield _fault("last epoch", right.row, right.train, "auc", row["auc_a"], row["auc_b"], row)


def _of_whole(state: State, right: Cell, own: Predictions) -> Iterator[dict[str, object]]:
    needs = state.grid.image_set(right.train).needs
    if not all(state.grid.collections[need].whole for need in needs):
        return
    everything = whole_set(right, state.runs[right.name], state.images)
    if everything is not None:
        test = f"{right.train} (all)"
        yield _gap(state, "tested on all", right.row, test, everything, own)


def _of_copies(state: State, right: Cell) -> Iterator[dict[str, object]]:
    for (name, test), answer in state.answers.items():
        outside = name == right.name and right.train not in test.split("+")
        if not outside or not answer.seen:
            continue
        if answer.predictions is not None and answer.careless is not None:
            kept, left = answer.careless, answer.predictions
            yield _gap(state, "twins kept", right.row, test, kept, left)


def _of_threshold(right: Cell, own: Predictions) -> Iterator[dict[str, object]]:
    by_half = Predictions.from_arrays(
        own.classes,
        y_true=own.y_true.tolist(),
        y_prob=own.y_prob,
        images=own.frame["image"].tolist(),
        groups=own.groups.tolist(),
    )
    for comparison in compare(by_half, own, metrics=["balanced_accuracy"]):
        d = comparison.difference
        row = {name: getattr(d, name) for name in ("low", "high", "n_images", "n_patients", "note")}
        row |= {"difference": d.value, "p_value": comparison.p_value}
        a, b = comparison.a.value, comparison.b.value
        yield _fault("threshold 0.5", right.row, right.train, comparison.metric, a, b, row)


def _gap(
    state: State, fault: str, model: str, test: str, coded: Predictions, right: Predictions
) -> dict[str, object]:
    results = {(model, "as coded"): coded, (model, "done right"): right}
    inside = {model: "as coded"}
    row = matrices.gaps(results, inside=inside, positive=state.grid.positive).iloc[0]
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
    named = {"fault": fault, "model": model, "test": test, "measure": measure}
    numbers = {"as_coded": coded, "done_right": right}
    return {**named, **numbers, **{name: row[name] for name in _TESTED}}


# One study's rows against each other.


@TABLES.register("comparisons")
def _comparisons(state: State) -> pd.DataFrame:
    """Compare rows of one way, first seeds, on the same test images."""
    first = {(c.way, c.row): c for c in state.done if c.seed == 0 and c.name in state.evaluations}
    rows = []
    for way in state.grid.values["ways"]:
        mine = [row for row in state.grid.values["published"] if (way, row) in first]
        for one, two in itertools.combinations(mine, 2):
            a, b = (state.own_predictions(first[way, row]) for row in (two, one))
            for comparison in compare(a, b, metrics=["accuracy", "sensitivity"]):
                if comparison.class_ in ("", "COVID-19"):
                    d = comparison.difference
                    rows.append({
                        "way": way, "rows": f"{two} - {one}", "measure": comparison.metric,
                        "class": comparison.class_, "difference": d.value, "low": d.low,
                        "high": d.high, "shown": str(d), "p": comparison.p_value,
                        "method": comparison.p_method,
                    })  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].tolist())) if len(table) else table


# What remedies change.


@dataclass(frozen=True, eq=False)
class Tried:
    """A finished cell with what its model says of its first test set and of the second."""

    cell: Cell
    parts: Mapping[str, Predictions]
    answered: Mapping[str, Predictions]

    def area(self, part: str) -> AUC:
        """Return the area of the positive class, of the images that are not rejected."""
        predictions, positive = self.answered[part], self.cell.recipe.evaluation.positive
        scores = predictions.y_prob[:, predictions.classes.index(positive)]
        return AUC.of(predictions.y_true, scores, positive=positive, groups=predictions.groups)


_PARTS = ("inside", "outside")

#: Columns of `remedy_cells`.
CELL_COLUMNS: dict[str, str] = {
    "trial": "what was tried",
    "remedy": "by which remedy",
    "seed": "of training",
    "status": "done, pending, not here, or not possible",
    "epochs": "that were run",
    "seconds": "of the run",
    "inside": "area under the curve on test images of the same kind as in training",
    "inside low": "lower bound of its interval",
    "inside high": "upper bound",
    "outside": "area on images in which class and source do not coincide",
    "outside low": "lower bound of its interval",
    "outside high": "upper bound",
    "images inside": "images tested inside",
    "images outside": "images tested outside",
    "answered inside": "share of images that were not rejected; 1 where nothing is rejected",
    "answered outside": "the same outside",
    "message": "why it is not possible",
}
#: Columns of `remedy_changes`: means over seeds; a change is with the remedy less without.
CHANGE_COLUMNS: dict[str, str] = {
    "trial": "what was tried",
    "remedy": "by which remedy",
    "seeds": "how many",
    **{
        f"{part}{what}": words
        for part in _PARTS
        for what, words in {
            "": "mean area",
            " least": "smallest of the seeds",
            " most": "largest of the seeds",
            " change": "of the area, paired on the same images, mean over seeds",
            " low": "lower bound of that change, as if the seeds' changes erred together",
            " high": "upper bound",
            " p": "of no change, two-sided, adjusted by Holm over the remedies of a trial",
        }.items()
    },
}


def tried_in(state: State) -> list[Tried]:
    """Return the finished cells with what their models say of both of their test sets."""
    tried = []
    for cell in state.done:
        answers = [state.answers.get((cell.name, test)) for test in cell.tests]
        parts = {
            part: answer.predictions
            for part, answer in zip(_PARTS, answers, strict=True)
            if answer is not None and answer.predictions is not None
        }
        if len(parts) == len(_PARTS):
            collections = list(state.images.tested(cell.tests))
            kept = {
                p: answered(predictions, state.runs[cell.name], collections)
                for p, predictions in parts.items()
            }
            tried.append(Tried(cell, parts, kept))
    return tried


@TABLES.register("remedy-cells")
def _remedy_cells(state: State) -> pd.DataFrame:
    """Return one row per cell; columns as in `CELL_COLUMNS`."""
    table = state.table.rename(columns={"way": "trial", "row": "remedy", "epochs_run": "epochs"})
    table["status"] = table["status"].replace({"failed": "not possible"})
    tried = {t.cell.name: remedy_areas(t) for t in tried_in(state)}
    areas = pd.DataFrame([tried.get(cell.name, {}) for cell in state.cells])
    table = table.join(areas).reindex(columns=list(CELL_COLUMNS))
    table.loc[[c.name not in tried and s == "done" for c, s in zip(state.cells, table["status"],
              strict=True)], "status"] = "pending"  # fmt: skip
    return table


def remedy_areas(tried: Tried) -> dict[str, float]:
    """Return areas with bounds, and how many images were tested and answered, of both parts."""
    row: dict[str, float] = {}
    for part in _PARTS:
        area, of = tried.area(part), len(tried.parts[part])
        low, high, _ = auc_bounds(area)
        row |= {part: area.value, f"{part} low": low, f"{part} high": high}
        row |= {f"images {part}": of, f"answered {part}": len(tried.answered[part]) / of}
    return row


def remedy_changes(tried: Sequence[Tried]) -> pd.DataFrame:
    """Return one row per trial and remedy; columns as in `CHANGE_COLUMNS`."""
    plain = {(t.cell.way, t.cell.seed): t for t in tried if t.cell.row == NO_REMEDY}
    rows = []
    for trial in dict.fromkeys(t.cell.way for t in tried):
        mine = [t for t in tried if t.cell.way == trial]
        made = [
            _change([t for t in mine if t.cell.row == remedy], plain)
            for remedy in dict.fromkeys(t.cell.row for t in mine)
        ]
        for part in _PARTS:
            adjusted = holm([row[f"{part} p"] for row in made])
            for row, p in zip(made, adjusted, strict=True):
                row[f"{part} p"] = p
        rows += made
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))


TABLES.register("remedy-changes")(lambda state: remedy_changes(tried_in(state)))


def _change(seeds: Sequence[Tried], plain: Mapping[tuple[str, int], Tried]) -> dict[str, Any]:
    cell = seeds[0].cell
    row: dict[str, Any] = {"trial": cell.way, "remedy": cell.row, "seeds": len(seeds)}
    for part in _PARTS:
        areas = [tried.area(part).value for tried in seeds]
        row |= {part: np.mean(areas), f"{part} least": min(areas), f"{part} most": max(areas)}
        pairs = [
            compare_aucs(tried.area(part), other.area(part))
            for tried in seeds
            if cell.row != NO_REMEDY and (other := plain.get((cell.way, tried.cell.seed)))
        ]
        row |= {f"{part} {name}": value for name, value in _mean_change(pairs).items()}
    return row


def _mean_change(pairs: Sequence[AUCDifference]) -> dict[str, float]:
    """Return the mean change over seeds, with bounds and a test as if the seeds erred together.

    The seeds share their test patients, so their errors do go together for the most part; taking
    them for one and the same is never too bold.
    """
    if not pairs:
        return dict.fromkeys(("change", "low", "high", "p"), math.nan)
    differences = [pair.difference for pair in pairs]
    change = float(np.mean([d.value for d in differences]))
    error = float(np.mean([pair.standard_error for pair in pairs]))
    degrees = min(pair.degrees for pair in pairs)
    p = two_sided(abs(change) / error, degrees) if error > 0 else math.nan
    low, high = (
        float(np.mean([getattr(d, bound) for d in differences])) for bound in ("low", "high")
    )
    mean = replace(differences[0], value=change, low=low, high=high)
    ruled = ruled_by_test(mean, 1.0 if change == 0 else p)
    return {"change": change, "low": ruled.low, "high": ruled.high, "p": p}
