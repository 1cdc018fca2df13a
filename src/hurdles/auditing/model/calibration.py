"""Calibration: whether the model's probabilities can be taken at their word."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import FoldedModel, NetworkModel, Subject
from hurdles.auditing.probing import joined_level
from hurdles.errors import HurdleError
from hurdles.evaluation.calibration import (
    brier_error,
    calibration_error,
    calibration_intercept,
    calibration_slope,
    plain_calibration_error,
    reliability,
)
from hurdles.findings.finding import Finding, Scale, evidence_of
from hurdles.findings.limits import limit_for

#: Judged measures: the slope (to both sides, of which it can be off to one only) and the error.
_JUDGED = 2
_SHOWN = 4
_ADVICE = {
    "overconfident": "Divide the logits by a temperature fitted on validation images (1 / slope), "
    "and report the probabilities after that.",
    "underconfident": "Fit a temperature on validation images; if the training smooths labels or "
    "weighs classes, expect timid probabilities.",
    "error": "Do not show these probabilities to a reader before they are recalibrated on "
    "validation images.",
}


@model_hurdle("calibration", question="Are the model's probabilities true?", lungs=False)
def calibration(subject: Subject) -> Iterator[Finding]:
    """Yield slope (too extreme, too timid), calibration error, intercepts and Brier score.

    Decisions are no probabilities: nothing can be said of them here.
    """
    test, usual = subject.test, subject.material.level
    # Answers of networks are probabilities.
    is_network = isinstance(subject.model, NetworkModel | FoldedModel)
    if np.isin(test.y_prob, (0, 1)).all() and not is_network:
        raise HurdleError(
            "all answers are 0 or 1, as decisions are; bring the probabilities of the classes."
        )
    level = joined_level(usual, _JUDGED)
    joined = f"(level {level:.4g}: {_JUDGED} measures)"
    slope = calibration_slope(test, level=level)
    for side in ("overconfident", "underconfident"):
        yield Finding(
            "calibration",
            side,
            f"calibration slope {joined}",
            slope,
            limit_for("calibration", side),
            _ADVICE[side],
        )
    # The images of which the model is surest, and wrong.
    p, truth = test.y_prob, test.y_true
    answers = np.array(test.classes)[p.argmax(axis=1)]
    wrong = np.flatnonzero(answers != truth)
    surest = wrong[np.argsort(-p.max(axis=1)[wrong], kind="stable")][:_SHOWN]
    texts = [
        f"{p[i].max():.1%} sure of {str(answers[i])!r}; it is {str(truth[i])!r}" for i in surest
    ]
    curve = [point.to_dict() for point in reliability(test, level=usual)]
    yield Finding(
        "calibration",
        "error",
        f"expected calibration error {joined}",
        calibration_error(test, level=level),
        limit_for("calibration", "error"),
        _ADVICE["error"],
        evidence_of(test.frame, surest, texts),
        {"reliability": curve, "plain_error": plain_calibration_error(test)},
        scale=Scale.SHARE,
    )
    # Of two classes, what one has too much the other has too little.
    for label in test.classes if len(test.classes) > 2 else test.classes[:1]:
        intercept = calibration_intercept(test, label, level=usual)
        statistic = "log-odds to add, calibration intercept"
        yield Finding("calibration", f"in the large: {label}", statistic, intercept, None)
    brier = brier_error(test, level=usual)
    statistic = "mean squared distance from the truth"
    yield Finding("calibration", "Brier score", statistic, brier, None)
