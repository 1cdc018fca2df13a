"""Forecasts of how a model does at places whose images have no labels, and their record.

What `hurdles.evaluation.places` needs is had here: the model's answers to images that it did not
learn from, those to the images of the place, what two probes answer to both (one sees the lungs
alone, the other all but the lungs), and features by which the place is told from the inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.material import Capability, Elsewhere, Material, Subject
from hurdles.auditing.nested import answers_at, answers_of
from hurdles.evaluation.calibration import inverse_temperature, tempered
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.intervals import estimate
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.outcomes import (
    COMBINATION,
    ERROR,
    FORECAST,
    LEVEL,
    Reliability,
    load_reliabilities,
)
from hurdles.evaluation.places import (
    Answers,
    Density,
    Forecast,
    Target,
    density_ratio,
    forecasts,
)
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import thumbnails
from hurdles.evaluation.statistics import PatientTable
from hurdles.findings.finding import Finding, Scale

#: Begins the reason why there is no forecast.
CANNOT = "cannot be foreseen"
#: The view that sees no more than the lungs, and the one without lungs where none was chosen.
_LUNGS, _BLIND = "lungs", "background"
_SCALES = {Target.ACCURACY: Scale.SHARE, Target.AUC: Scale.AUC}
_ADVICE = {
    Target.ACCURACY: "At the place's own prevalence, which is not known without labels: it says "
    "nothing of sensitivity, specificity or balanced accuracy there.",
    Target.AUC: "Of the model's classes against one another, if images of all of them are there.",
}


@dataclass(frozen=True, eq=False)
class Outlook:
    """All that is forecast of one place.

    `inside` and `there` are the answers that it rests on; `density` the weights of the images
    inside, None where there is nothing to tell the place by; `predictions` are the model's answers
    to the same images of the place, with their labels if `is_labeled`.
    """

    name: str
    inside: Answers
    there: Answers
    density: Density | None
    forecasts: tuple[Forecast, ...]
    predictions: Predictions
    is_labeled: bool

    def came(self, target: Target) -> Estimate | None:
        """Return the measure at the place, of the images that it was forecast from.

        None where no label is known.
        """
        if not self.is_labeled:
            return None
        if target is Target.AUC:
            return macro_auc(self.predictions)
        return estimate(PatientTable.of(self.predictions), "accuracy")

    def row(self) -> pd.DataFrame:
        """Return the columns of a table of outcomes that need no label, one row per target."""
        rows = []
        for target in Target:
            own = [each for each in self.forecasts if each.target is target]
            row: dict[str, object] = {
                "target": str(target),
                "inside": next(each.value for each in own if each.estimator == "inside"),
                "separation": self.density.separation if self.density else np.nan,
                "n_inside": len(self.inside),
                "n_there": len(self.there),
            }
            row |= {FORECAST + each.estimator: each.value for each in own}
            rows.append(row | {ERROR + each.estimator: each.error for each in own})
        return pd.DataFrame(rows)


def outlooks(subject: Subject, *, samples: int = 200) -> list[Outlook]:
    """Return what is forecast of each of a subject's other collections; no label of them is used.

    HurdleError if the views cannot be had, as where there are no images.
    """
    places = list(subject.elsewhere)
    answers = answers_of(subject)
    views = [_LUNGS] if _LUNGS in answers.test else []
    chosen = answers.best_blind_view(of_pixels=True)
    blind = chosen[0] if chosen else _BLIND
    views += [blind] if blind in answers.test else []
    parts = [part for part in (answers.validation, answers.test) if part]
    any_view = views[0] if views else next(iter(answers.test))
    names = [name for part in parts for name in part[any_view].frame["image"]]

    def seen(view: str) -> NDArray[np.float64] | None:
        if view not in views:
            return None
        return np.concatenate([part[view].y_prob for part in parts])

    own = _rows_of(subject, names)
    temperature = inverse_temperature(own)
    factor = temperature.value if temperature.is_defined else 1.0
    inside = _answers(own, factor, seen(_LUNGS), seen(blind), with_truth=True)
    material = subject.material
    where = pd.Index(material.manifest.frame["image"]).get_indexer(names)
    features = _features(subject, material.take(where))
    others = answers_at(subject, [each.material for each in places], views)
    return [
        _outlook(each, inside, features, factor, subject, usable, {
            "lungs": probes.get(_LUNGS), "blind": probes.get(blind)
        }, samples)
        for each, (usable, probes) in zip(places, others, strict=True)
    ]  # fmt: skip


def _outlook(
    place: Elsewhere,
    inside: Answers,
    features: NDArray[np.floating],
    factor: float,
    subject: Subject,
    usable: NDArray[np.bool_],
    probes: dict[str, NDArray[np.floating] | None],
    samples: int,
) -> Outlook:
    kept = Predictions(place.predictions.frame[usable].reset_index(drop=True))
    there = _answers(kept, factor, probes["lungs"], probes["blind"])
    density = density_ratio(
        features,
        _features(subject, place.material.take(usable)),
        groups=inside.groups,
        groups_there=there.groups,
        seed=subject.material.seed,
    )
    foreseen = forecasts(
        inside, there, density=density, samples=samples, seed=subject.material.seed
    )
    name, is_labeled = place.material.name, place.is_labeled
    return Outlook(name, inside, there, density, tuple(foreseen), kept, is_labeled)


def _rows_of(subject: Subject, names: Sequence[str]) -> Predictions:
    """Return the model's answers to validation and test images of these names, in their order."""
    parts = [part.frame for part in (subject.validation, subject.test) if part is not None]
    frame = pd.concat(parts).set_index("image", drop=False)
    return Predictions(frame.loc[list(names)].reset_index(drop=True))


def _answers(
    predictions: Predictions,
    factor: float,
    lungs: NDArray[np.floating] | None,
    blind: NDArray[np.floating] | None,
    *,
    with_truth: bool = False,
) -> Answers:
    columns = {name: k for k, name in enumerate(predictions.classes)}

    def numbers(classes: NDArray[np.str_]) -> NDArray[np.intp]:
        return np.array([columns.get(name, -1) for name in classes.tolist()], dtype=np.intp)

    return Answers(
        tempered(predictions.y_prob, factor),
        numbers(predictions.y_pred),
        predictions.groups,
        numbers(predictions.y_true) if with_truth else None,
        None if lungs is None else np.asarray(lungs, dtype="float64"),
        None if blind is None else np.asarray(blind, dtype="float64"),
    )


def _features(subject: Subject, images: Material) -> NDArray[np.floating]:
    """Return what the model's last layer is given; of a model without, thumbnails."""
    if subject.model is not None and Capability.FEATURES in subject.model.capabilities:
        return subject.features(images.pixels, images.masks)
    return thumbnails(images.pixels)


def place_findings(subject: Subject) -> Iterator[Finding]:
    """Yield, for each other collection, whether it can be foreseen, and what every estimator says.

    The answer is the combination's, and only where its record supports it; what the others say is
    shown with theirs.
    """
    known = _reliabilities()
    for outlook in outlooks(subject):
        table = outlook.row()
        for target in Target:
            own = [each for each in outlook.forecasts if each.target is target]
            own.append(_combined(table[table["target"] == str(target)], target, known))
            yield from _findings(outlook, target, own, known)


@lru_cache(maxsize=1)
def _reliabilities() -> dict[tuple[Target, str], Reliability]:
    return load_reliabilities()


def _combined(
    row: pd.DataFrame, target: Target, known: dict[tuple[Target, str], Reliability]
) -> Forecast:
    """Return the combination's forecast of the place that one row is of."""
    combination = known[target, COMBINATION].combination
    assert combination is not None  # the file that ships has one
    (value,), (error,) = combination.forecast(row), combination.errors(row)
    note = f"there is no {target} inside" if np.isnan(value) else ""
    return Forecast(COMBINATION, target, float(value), float(error), note)


def _findings(
    outlook: Outlook,
    target: Target,
    own: Sequence[Forecast],
    known: dict[tuple[Target, str], Reliability],
) -> Iterator[Finding]:
    n, patients = len(outlook.there), len(np.unique(outlook.there.groups))
    name, came = f"{target} at {outlook.name}", outlook.came(target)
    pairs = [(each, known[target, each.estimator]) for each in own]
    intervals = [each.interval(given, n_images=n, n_patients=patients) for given, each in pairs]
    statistic = f"{target} there, forecast from its images without their labels"
    after = "" if came is None else f"; what came: {came}"
    details: dict[str, object] = {"inside": own[0].value}
    if came is not None:
        details["came"] = came.to_dict()
    if (density := outlook.density) is not None:
        details["separation"] = density.separation
        details |= {"worth_patients": density.worth, "clipped": density.clipped}

    def finding(subject: str, record: str, of: Reliability, number: Estimate) -> Finding:
        more = {"record": of.record, "places": [track.places for track in of.tracks]}
        return Finding(
            "elsewhere", subject, f"{statistic} ({record}){after}", number, None, _ADVICE[target],
            details=details | more, scale=_SCALES[target],
        )  # fmt: skip

    combination = pairs[-1][1]
    answer = intervals[-1]
    if not combination.is_supported:
        each = "; ".join(
            f"{of.estimator} {number} ({of.missed})"
            for (_, of), number in zip(pairs, intervals, strict=True)
            if number.is_defined
        )
        why = f"{CANNOT}, by the record of the combination ({combination.record}). {each}{after}"
        answer = undefined(why, level=LEVEL, n_images=n, n_patients=patients)
    yield finding(name, "by the combination, where its record is good enough", combination, answer)
    for (_, of), number in zip(pairs, intervals, strict=True):
        yield finding(f"{name}, {of.estimator}", of.record, of, number)
