"""Evaluation of a model on one set: every measure, each with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.inputs import Input, digest, inputs_from
from hurdles.data.schemas import Schema
from hurdles.data.untrusted import notebook_table
from hurdles.errors import EvaluationError
from hurdles.evaluation.cluster_size import (
    PATIENT_WEIGHTED,
    is_repeated,
    patient_weighted,
    size_notes,
)
from hurdles.evaluation.conditions import Conditional, Conditions, at_conditions
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.histograms import Histogram, score_histograms
from hurdles.evaluation.intervals import estimate
from hurdles.evaluation.metrics import METRICS, get_metric, written
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import PatientTable

__all__ = ["Evaluation", "evaluate"]

#: What its JSON file holds.
SCHEMA = Schema("urn:hurdles:evaluation:1", "hurdles.evaluation", "evaluation.schema.json")


@dataclass(frozen=True)
class Evaluation:
    """Every measure of one model on one set of images.

    Parameters
    ----------
    classes : tuple of str
        Classes that the model knows, in the order of its outputs: columns of the confusion matrix.
    labels : tuple of str
        True classes: `classes`, then those of the data that the model does not know. Rows.
    n_images, n_patients : int
        Images of the set, and the patients that are known among those whom they show.
    images, patients : dict
        Images, and known patients, of each of `labels`.
    confusion : tuple of tuples of int
        Images of each true class (rows, `labels`) under each prediction (columns, `classes`).
    estimates : dict
        ``(measure, class)`` to `Estimate`; the class is empty for measures of all classes together.
    notes : tuple of str
        What a reader must know about the set, in sentences.
    n_unknown : int
        Images whose patient is not known: in every interval, each counts as one more patient.
    conditional : tuple of Conditional
        Measures at conditions that were stated: a prevalence, a specificity, a threshold.
    scores : tuple of Histogram
        How sure the model is, by true class and collection; empty in files of older versions.
    inputs : tuple of Input
        Everything that it was made of, by its SHA-256; empty where nothing was read, or an earlier
        version wrote it.
    patient_weighted : dict
        As `estimates`, with each patient counted once however many images he has: accuracy,
        balanced accuracy, sensitivity, specificity and AUC (Williamson, Datta and Satten,
        Biometrics 2003;59:36-42). Empty where no patient has several images, or an earlier version
        wrote it.
    """

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    n_images: int
    n_patients: int
    images: dict[str, int]
    patients: dict[str, int]
    confusion: tuple[tuple[int, ...], ...]
    estimates: dict[tuple[str, str], Estimate]
    notes: tuple[str, ...] = ()
    n_unknown: int = 0
    conditional: tuple[Conditional, ...] = ()
    scores: tuple[Histogram, ...] = ()
    inputs: tuple[Input, ...] = ()
    patient_weighted: dict[tuple[str, str], Estimate] = field(default_factory=dict)

    def get(self, measure: str, class_: str | None = None) -> Estimate:
        """Return one estimate.

        Parameters
        ----------
        measure : str
            A key of `METRICS`.
        class_ : str, optional
            The class. ``get("accuracy", class_)`` is the accuracy of one class as published tables
            print it: its sensitivity.

        Raises
        ------
        EvaluationError
            If there is no such measure, or not for this class.
        """
        get_metric(measure)
        name = "sensitivity" if measure == "accuracy" and class_ else measure
        key = (name, class_ or "")
        if key not in self.estimates:
            known = ", ".join(repr(c) for m, c in self.estimates if m == name)
            if not known:
                raise EvaluationError(
                    f"there is no {name} here: these images were evaluated before there was such a "
                    "measure; evaluate them again."
                )
            raise EvaluationError(f"there is no {measure} of {key[1]!r} here; there is: {known}.")
        return self.estimates[key]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per measure and class; the columns are those of `Estimate`."""
        return pd.DataFrame(
            [
                {"measure": measure, "class": class_, **vars(estimate)}
                for (measure, class_), estimate in self.estimates.items()
            ]
        )

    def _repr_html_(self) -> str:
        """Show every measure with its interval."""
        rows = [
            [METRICS[measure].title, class_, written(measure, estimate), estimate.n_images]
            for (measure, class_), estimate in self.estimates.items()
        ]
        rows += [
            [row.title, row.class_, row.written(), row.estimate.n_images]
            for row in self.conditional
        ]
        known = f" of {self.n_patients} patients" if self.n_patients else ""
        title = f"Evaluation: {self.n_images} images{known}"
        columns = ["measure", "class", "value [interval]", "images"]
        return notebook_table(title, columns, rows, self.notes)

    def confusion_frame(self) -> pd.DataFrame:
        """Return the confusion matrix with its names: rows are true, columns predicted."""
        rows = pd.Index(self.labels, name="true")
        return pd.DataFrame(
            self.confusion, index=rows, columns=pd.Index(self.classes, name="predicted")
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, as ``evaluation.schema.json`` describes it.

        NaN becomes None.
        """
        plain = {
            "schema": SCHEMA.id,
            "inputs": [each.to_dict() for each in self.inputs],
            "classes": list(self.classes),
            "labels": list(self.labels),
            "n_images": self.n_images,
            "n_patients": self.n_patients or None,
            "n_images_without_patient": self.n_unknown,
            "images": dict(self.images),
            "patients": dict(self.patients),
            "confusion": [list(row) for row in self.confusion],
            "estimates": _rows(self.estimates),
            "patient_weighted": _rows(self.patient_weighted),
            "conditional": [row.to_dict() for row in self.conditional],
            "scores": [histogram.to_dict() for histogram in self.scores],
            "notes": list(self.notes),
        }
        return {**plain, "digest": digest(plain)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Evaluation:
        """Read what `to_dict` wrote, or an earlier version did.

        Raises
        ------
        EvaluationError
            If it is of another schema.
        """
        SCHEMA.require_known(plain)
        return cls(
            classes=tuple(plain["classes"]),
            labels=tuple(plain["labels"]),
            n_images=plain["n_images"],
            n_patients=plain["n_patients"] or 0,
            n_unknown=plain.get("n_images_without_patient", 0),
            images=dict(plain["images"]),
            patients=dict(plain["patients"]),
            confusion=tuple(tuple(row) for row in plain["confusion"]),
            estimates=_of_rows(plain["estimates"]),
            patient_weighted=_of_rows(plain.get("patient_weighted", ())),
            conditional=tuple(map(Conditional.from_dict, plain.get("conditional", ()))),
            scores=tuple(map(Histogram.from_dict, plain.get("scores", ()))),
            notes=tuple(plain["notes"]),
            inputs=inputs_from(plain),
        )


def evaluate(
    predictions: Predictions,
    *,
    level: float = 0.95,
    conditions: Conditions | None = None,
    validation: Predictions | None = None,
) -> Evaluation:
    """Compute every measure of `METRICS`, each with its interval by patient.

    Parameters
    ----------
    predictions : Predictions
        The table.
    level : float
        Confidence level, within (0, 1).
    conditions : Conditions, optional
        Conditions at which the set is measured besides.
    validation : Predictions, optional
        Of the same model on validation images, on which thresholds for these are chosen.

    Returns
    -------
    Evaluation
        No interval is drawn, unless a threshold is read off these images; what is drawn has a seed:
        always the same, whatever the order of the rows.

    Examples
    --------
    >>> table = Predictions.from_arrays(["sick", "well"], y_true=["sick", "sick", "well"],
    ...     y_prob=np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]),
    ...     images=["1", "2", "3"], groups=["anna", "ben", "cleo"])
    >>> print(evaluate(table).get("sensitivity", "sick"))
    0.500 [0.095, 0.905]
    """
    table = PatientTable.of(predictions)
    labels = list(dict.fromkeys((*table.classes, *table.present)))
    unknown = predictions.unknown

    def known(rows: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(np.bincount(table.patients[rows & ~unknown])))

    estimates = {
        (name, class_ or ""): estimate(table, name, class_, level=level)
        for name, class_ in measures(table.classes)
    }
    weighted = {
        (name, class_): patient_weighted(table, name, class_ or None, level=level)
        for name, class_ in estimates
        if name in PATIENT_WEIGHTED and is_repeated(table)
    }
    conditional: tuple[Conditional, ...] = ()
    if conditions is not None:
        conditional = at_conditions(predictions, conditions, validation=validation, level=level)
    if unknown.all():
        estimates = {key: replace(one, n_patients=0) for key, one in estimates.items()}
        conditional = tuple(
            replace(row, estimate=replace(row.estimate, n_patients=0)) for row in conditional
        )
    counts = pd.crosstab(table.truth, table.answers).reindex(
        index=labels, columns=list(table.classes), fill_value=0
    )
    return Evaluation(
        classes=table.classes,
        labels=tuple(labels),
        n_images=len(table.truth),
        n_patients=known(~unknown),
        n_unknown=int(unknown.sum()),
        images={c: int(table.is_true(c).sum()) for c in labels},
        patients={c: known(table.is_true(c)) for c in labels},
        confusion=tuple(map(tuple, counts.to_numpy().tolist())),
        estimates=estimates,
        conditional=conditional,
        scores=score_histograms(predictions, level=level),
        patient_weighted=weighted,
        notes=(*_notes(table, unknown), *size_notes(table, level=level)),
    )


def _rows(estimates: dict[tuple[str, str], Estimate]) -> list[dict[str, Any]]:
    return [
        {"measure": measure, "class": class_, **estimate.to_dict()}
        for (measure, class_), estimate in estimates.items()
    ]


def _of_rows(plain: Iterable[dict[str, Any]]) -> dict[tuple[str, str], Estimate]:
    rows = [dict(row) for row in plain]
    keys = [(row.pop("measure"), row.pop("class")) for row in rows]
    return dict(zip(keys, map(Estimate.from_dict, rows), strict=True))


def measures(classes: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Yield every measure with each class that it is of (None: all), in the order of tables."""
    for metric in METRICS.values():
        if metric.per_class:
            yield from ((metric.name, class_) for class_ in classes)
        else:
            yield metric.name, None


def _notes(table: PatientTable, unknown: NDArray[np.bool_]) -> Iterator[str]:
    present = table.present
    for class_ in present:
        if class_ not in table.classes:
            n = int(table.is_true(class_).sum())
            yield (
                f"The model does not know the class {class_!r}; its {_count(n, 'image')} "
                f"{'counts' if n == 1 else 'count'} as wrong."
            )
    absent = [c for c in table.classes if c not in present]
    if absent:
        names = ", ".join(map(repr, absent))
        kept = ", ".join(map(repr, present))
        rest = f"over {kept} only" if len(present) > 1 else "undefined"
        yield f"The set has no image of {names}; balanced accuracy is {rest}."
    n, missing = len(table.truth), int(unknown.sum())
    if missing == n:
        yield (
            "Patients are not known: intervals count images, and are too narrow if several images "
            "are of one person."
        )
    elif missing:
        yield (
            f"Patients are not known for {missing} of {n} images: intervals count each of these as "
            "a patient, and are too narrow if several are of one person."
        )
    elif n > table.n_patients:
        yield (
            f"{_count(n, 'image')} are of {_count(table.n_patients, 'patient')}; "
            "intervals count patients, not images."
        )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
