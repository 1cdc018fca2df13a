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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.probing import joined_level
from hurdles.errors import HurdleError
from hurdles.evaluation.bounds import mover_difference, normal_quantile, proportion_bounds
from hurdles.evaluation.comparisons import holm
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for

if TYPE_CHECKING:
    from hurdles.auditing.material import Material
    from hurdles.auditing.subject import Subject

#: Patients of a class that a group and the rest must each have.
FEWEST_PATIENTS = 10
_UNKNOWN = "not known"
_ADVICE = (
    "State the performance for this group beside the whole, and add training images of it; do not "
    "use the model for it before both agree."
)


@dataclass(frozen=True, eq=False)
class _Comparison:
    """One group against the rest, by one measure."""

    group: str
    measure: str
    inside: Predictions
    outside: Predictions
    class_: str | None  # of a sensitivity; None for the area

    def missing(self) -> str:
        """Say which side has too few patients of which class; empty where none."""
        short = []
        for side, where in ((self.inside, "of this group"), (self.outside, "of the rest")):
            for label in [self.class_] if self.class_ else sorted(side.classes):
                rows = side.y_true == label
                n = len(np.unique(side.groups[rows]))
                if n < FEWEST_PATIENTS:
                    short.append(f"{n} {where} with {label!r}")
        return ", ".join(short)

    def of(self, side: Predictions, level: float) -> Estimate:
        """Return the measure on one side."""
        if self.class_ is None:
            return macro_auc(side, level=level)
        return _sensitivity(side, self.class_, level)


@model_hurdle("subgroups", question="Is the model as good for every group of patients?")
def subgroups(subject: Subject) -> Iterator[Finding]:
    """Yield, for every group, how much better or worse than in the rest the model is."""
    test = _decided(subject)
    wanted = list(_comparisons(subject.tested, test))
    if not wanted:
        raise HurdleError(
            "the test images are all of one sex, age, view and source, or nothing of these is "
            "known; add the columns to the manifest."
        )
    able = [w for w in wanted if not w.missing()]
    level = joined_level(subject.material.level, len(able))
    found = [(w, w.of(w.inside, level), w.of(w.outside, level)) for w in able]
    differences = [_difference(inside, outside, level) for _, inside, outside in found]
    p_values = [p for _, p in differences]
    for (one, inside, outside), (difference, p), adjusted in zip(
        found, differences, holm(p_values), strict=True
    ):
        yield Finding(
            "subgroups",
            one.group,
            f"{one.measure}: group minus rest (level {level:.4g}: {len(able)} comparisons)",
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
    yield from _too_small([w for w in wanted if w.missing()])


def age_groups(ages: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return the age group of each age in years; NaN is not known.

    Examples
    --------
    >>> age_groups(np.array([3, 18, 65, 66, np.nan])).tolist()
    ['under 18', '18 to 65', '18 to 65', 'over 65', 'not known']
    """
    years = np.asarray(ages, dtype="float64")
    within = [years < 18, years <= 65, years > 65]
    names = np.select(within, ["under 18", "18 to 65", "over 65"], _UNKNOWN)
    return np.asarray(names, dtype=str)


def _decided(subject: Subject) -> Predictions:
    """Return the test predictions with the class that the model names, by its threshold."""
    frame = subject.test.frame.copy()
    frame["prediction"] = subject.decided(subject.test.y_prob)
    return Predictions(frame)


def _comparisons(tested: Material, test: Predictions) -> Iterator[_Comparison]:
    for attribute, values in _attributes(tested).items():
        present = np.unique(values)
        if len(present) < 2:
            continue
        for value in present:
            rows = values == value
            inside, outside = (Predictions(test.frame[r]) for r in (rows, ~rows))
            name = f"{attribute}: {value}"
            yield _Comparison(name, "area under the curve", inside, outside, None)
            for label in test.classes:
                yield _Comparison(name, f"sensitivity of {label!r}", inside, outside, label)


def _attributes(tested: Material) -> dict[str, NDArray[np.str_]]:
    """Return the group of every image by sex, age, view and source."""
    frame = tested.manifest.frame
    found = {
        name: frame[name].astype("object").where(frame[name].notna(), _UNKNOWN).to_numpy(dtype=str)
        for name in ("sex", "view", "source")
    }
    ages = age_groups(frame["age"].to_numpy(dtype="float64"))
    return {"sex": found["sex"], "age": ages, "view": found["view"], "source": found["source"]}


def _sensitivity(side: Predictions, class_: str, level: float) -> Estimate:
    """Return the share of a class's images that are named so, Wilson's interval over patients."""
    rows = side.y_true == class_
    right = (side.y_pred[rows] == class_).astype("float64")
    patients, codes = np.unique(side.groups[rows], return_inverse=True)
    part, whole = (np.bincount(codes, w).astype("float64") for w in (right, np.ones(len(codes))))
    low, high = proportion_bounds(part, whole, level)
    return Estimate(float(right.mean()), low, high, level, "Wilson", len(right), len(patients))


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
    found = Estimate(value, low, high, level, "MOVER of independent groups", images, patients)
    return found, math.erfc(z / math.sqrt(2))


def _too_small(comparisons: list[_Comparison]) -> Iterator[Finding]:
    """Yield one finding for each group of which something could not be compared."""
    for group in dict.fromkeys(c.group for c in comparisons):
        mine = [c for c in comparisons if c.group == group]
        missing = max((c.missing() for c in mine), key=len)
        what = ", ".join(c.measure for c in mine)
        why = f"fewer than {FEWEST_PATIENTS} patients: {missing}"
        n = mine[0].inside
        estimate = undefined(why, n_images=len(n.frame), n_patients=len(np.unique(n.groups)))
        yield Finding(
            "subgroups",
            group,
            f"not compared: {what}",
            estimate,
            limit_for("subgroups"),  # what could not be asked is not cleared on the rest
            scale=Scale.DIFFERENCE,
        )
