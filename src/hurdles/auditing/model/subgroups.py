"""Subgroups: whether the model serves women as well as men, children as well as adults.

Each group of test images (by sex, age, view, source; what is not known is a group of its own) is
compared with all others: by the mean area under the curve over classes, and by each class's
sensitivity. The groups are fixed beforehand, not searched for; those too small to say anything are
named, and the hurdle is not cleared on the others. Intervals are simultaneous over everything that
is compared (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Material, Subject
from hurdles.auditing.probing import joined_level
from hurdles.errors import HurdleError
from hurdles.evaluation.bounds import mover_difference, normal_quantile, patient_share
from hurdles.evaluation.comparisons import holm
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for

#: Patients of a class that a group and the rest must each have.
FEWEST_PATIENTS = 10
_UNKNOWN = "not known"
_ADVICE = (
    "State the performance for this group beside the whole, and add training images of it; do not "
    "use the model for it before both agree."
)


@model_hurdle(
    "subgroups", question="Is the model as good for every group of patients?", lungs=False
)
def subgroups(subject: Subject) -> Iterator[Finding]:
    """Yield, for every group, how much better or worse than in the rest the model is."""
    frame = subject.test.frame.copy()
    frame["prediction"] = subject.decided(subject.test.y_prob)  # by the model's own threshold
    comparisons = list(_comparisons(subject.tested, Predictions(frame)))
    if not comparisons:
        raise HurdleError(
            "the test images are all of one sex, age, view and source, or nothing of these is "
            "known; add the columns to the manifest."
        )
    able = [each for each in comparisons if not each.missing]
    level = joined_level(subject.material.level, len(able))
    sides = [(c.measured(c.inside, level), c.measured(c.outside, level)) for c in able]
    differences = [_difference(*pair, level) for pair in sides]
    p_values = [p for _, p in differences]
    for each, (inside, outside), (difference, p), adjusted in zip(
        able, sides, differences, holm(p_values), strict=True
    ):
        yield Finding(
            "subgroups",
            each.group,
            f"{each.measure}: group minus rest (level {level:.4g}: {len(able)} comparisons)",
            difference,
            limit_for("subgroups"),
            _ADVICE,
            details={
                "group": inside.to_dict(),
                "rest": outside.to_dict(),
                "p_value": None if math.isnan(p) else p,
                "p_holm": None if math.isnan(adjusted) else adjusted,
            },
            scale=Scale.DIFFERENCE,
        )
    yield from _too_small([each for each in comparisons if each.missing])


class _Comparison(NamedTuple):
    """One group against the rest: by a class's sensitivity, or by the area.

    `missing` says which side has too few patients of which class; empty where none.
    """

    group: str
    inside: Predictions
    outside: Predictions
    label: str | None
    missing: str

    @property
    def measure(self) -> str:
        return f"sensitivity of {self.label!r}" if self.label else "area under the curve"

    def measured(self, side: Predictions, level: float) -> Estimate:
        if self.label is None:
            return macro_auc(side, level=level)
        rows = side.y_true == self.label
        return patient_share(side.y_pred[rows] == self.label, side.groups[rows], level=level)


def _comparisons(tested: Material, test: Predictions) -> Iterator[_Comparison]:
    frame = tested.manifest.frame
    attributes = {
        name: frame[name].astype("object").where(frame[name].notna(), _UNKNOWN).to_numpy(dtype=str)
        for name in ("sex", "view", "source")
    }
    ages = age_groups(frame["age"].to_numpy(dtype="float64"))
    for attribute, values in (
        ("sex", attributes["sex"]),
        ("age", ages),
        ("view", attributes["view"]),
        ("source", attributes["source"]),
    ):
        groups = np.unique(values)
        for value in groups if len(groups) > 1 else []:
            inside, outside = (
                Predictions(test.frame[r]) for r in (values == value, values != value)
            )
            for label in (None, *test.classes):
                labels = [label] if label else sorted(test.classes)
                missing = ", ".join(
                    f"{n} {where} with {each!r}"
                    for side, where in ((inside, "of this group"), (outside, "of the rest"))
                    for each in labels
                    if (n := len(np.unique(side.groups[side.y_true == each]))) < FEWEST_PATIENTS
                )
                yield _Comparison(f"{attribute}: {value}", inside, outside, label, missing)


def age_groups(ages: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return the age group of each age in years; NaN is not known."""
    years = np.asarray(ages, dtype="float64")
    within = [years < 18, years <= 65, years > 65]
    names = np.select(within, ["under 18", "18 to 65", "over 65"], _UNKNOWN)
    return np.asarray(names, dtype=str)


def _difference(inside: Estimate, outside: Estimate, level: float) -> tuple[Estimate, float]:
    """Return the difference with its interval (Newcombe's for proportions), and a p-value.

    A patient with images on both sides counts as two: the sides then move together, and the
    interval is too wide rather than too narrow. The p-value, of no difference, is that of the
    standard error which the interval shows towards zero.
    """
    images = inside.n_images + outside.n_images
    patients = inside.n_patients + outside.n_patients
    if not (inside.is_defined and outside.is_defined):
        why = inside.note or outside.note
        return undefined(why, level=level, n_images=images, n_patients=patients), math.nan
    value = inside.value - outside.value
    low, high = mover_difference(inside, outside, 0.0)
    reach = value - low if value > 0 else high - value
    z = abs(value) / reach * normal_quantile(level) if reach > 0 else 0.0
    method = "MOVER of independent groups"
    difference = Estimate(value, low, high, level, method, images, patients)
    return difference, math.erfc(z / math.sqrt(2))


def _too_small(comparisons: list[_Comparison]) -> Iterator[Finding]:
    """Yield one finding for each group of which something could not be compared."""
    for group in dict.fromkeys(c.group for c in comparisons):
        mine = [c for c in comparisons if c.group == group]
        missing = max((c.missing for c in mine), key=len)
        inside = mine[0].inside
        yield Finding(
            "subgroups",
            group,
            f"not compared: {', '.join(c.measure for c in mine)}",
            undefined(
                f"fewer than {FEWEST_PATIENTS} patients: {missing}",
                n_images=len(inside.frame),
                n_patients=len(np.unique(inside.groups)),
            ),
            limit_for("subgroups"),  # what could not be asked is not cleared on the rest
            scale=Scale.DIFFERENCE,
        )
