"""Calibration: whether the probabilities can be taken at their word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.probing import joined_level
from hurdles.evaluation.calibration import (
    brier_error,
    calibration_error,
    calibration_intercept,
    calibration_slope,
    plain_calibration_error,
    reliability,
)
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Evidence, Finding, Scale
from hurdles.findings.limits import limit_for

if TYPE_CHECKING:
    from hurdles.auditing.subject import Subject

#: Judged measures: the slope (to both sides, of which it can be off to one only) and the error.
_JUDGED = 2
_ADVICE = {
    "overconfident": "Divide the logits by a temperature fitted on validation images (1 / slope), "
    "and report the probabilities after that.",
    "underconfident": "Fit a temperature on validation images; if the training smooths labels or "
    "weighs classes, expect timid probabilities.",
    "error": "Do not show these probabilities to a reader before they are recalibrated on "
    "validation images.",
}


@model_hurdle("calibration", question="Are the model's probabilities true?")
def calibration(subject: Subject) -> Iterator[Finding]:
    """Yield slope (too extreme, too timid), calibration error, intercepts and Brier score."""
    test, usual = subject.test, subject.material.level
    level = joined_level(usual, _JUDGED)
    said = f"(level {level:.4g}: {_JUDGED} measures)"
    slope = calibration_slope(test, level=level)
    for side in ("overconfident", "underconfident"):
        yield _judged(side, f"calibration slope {said}", slope)
    error = calibration_error(test, level=level)
    found = _judged("error", f"expected calibration error {said}", error, Scale.SHARE)
    curve = [point.to_dict() for point in reliability(test, level=usual)]
    plain = plain_calibration_error(test)
    yield replace(
        found, details={"reliability": curve, "plain_error": plain}, evidence=_surest_errors(test)
    )
    # Of two classes, what one has too much the other has too little.
    for class_ in test.classes if len(test.classes) > 2 else test.classes[:1]:
        intercept = calibration_intercept(test, class_, level=usual)
        yield _shown(f"in the large: {class_}", "log-odds to add, calibration intercept", intercept)
    brier = brier_error(test, level=usual)
    yield _shown("Brier score", "mean squared distance from the truth", brier)


def _judged(
    subject: str, statistic: str, estimate: Estimate, scale: Scale = Scale.NUMBER
) -> Finding:
    limit = limit_for("calibration", subject)
    return Finding(
        "calibration", subject, statistic, estimate, limit, _ADVICE[subject], scale=scale
    )


def _shown(subject: str, statistic: str, estimate: Estimate) -> Finding:
    return Finding("calibration", subject, statistic, estimate, None)


def _surest_errors(test: Predictions, n: int = 4) -> tuple[Evidence, ...]:
    """Return the images of which the model is surest, and wrong."""
    frame, p = test.frame, test.y_prob
    named = np.array(test.classes)[p.argmax(axis=1)]
    wrong = np.flatnonzero(named != test.y_true)
    first = wrong[np.argsort(-p.max(axis=1)[wrong], kind="stable")][:n]
    return tuple(
        Evidence(
            frame["image"].iloc[i],
            f"{p[i].max():.1%} sure of {named[i]!r}; it is {test.y_true[i]!r}",
            frame["path"].iloc[i],
        )
        for i in first
    )
