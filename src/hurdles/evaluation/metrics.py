"""The table of measures: what a reader, a report and a test must know about each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate

__all__ = ["METRICS", "Metric", "get_metric", "written"]


@dataclass(frozen=True)
class Metric:
    """Facts about one measure that a reader and a test must know.

    Parameters
    ----------
    name : str
        Key in `METRICS` and in every table.
    title : str
        How a report calls it.
    per_class : bool
        Whether it belongs to one class against the rest, or to all of them together.
    sentence : str
        What it says, for a reader who is no statistician.
    undefined : str
        When it does not exist; ``{class_}`` stands for the class.
    low, high : float
        Its range.
    higher_is_better : bool
        Its direction.
    written : {"share", "number", "odds"}
        How it is read: a share in percent, a number between 0 and 1, or odds without an upper end.
    compared : bool
        Whether two models are compared by it unasked. What only mirrors another measure would make
        a family of tests larger and tell nothing; odds have no meaningful difference, and average
        precision has no test.
    """

    name: str
    title: str
    per_class: bool
    sentence: str
    undefined: str
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True
    written: Literal["share", "number", "odds"] = "share"
    compared: bool = True

    def why_undefined(self, class_: str = "") -> str:
        """Return in words why there is no value."""
        return self.undefined.format(class_=class_)


_NO_IMAGE = "no image of {class_} in the set"
_ONE_SIDE = "there are not both images of {class_} and of other classes"

#: Every measure, in the order in which tables show them.
METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric(
            "accuracy", "Accuracy", False,
            "Of all images, the share that is named rightly.",
            "there is no image",
        ),
        Metric(
            "balanced_accuracy", "Balanced accuracy", False,
            "The mean of the sensitivities: every class counts alike, however rare it is.",
            "fewer than two classes have an image",
        ),
        Metric(
            "sensitivity", "Sensitivity", True,
            "Of the images of this class, the share that is named so; published tables also call "
            "it the accuracy of the class.",
            _NO_IMAGE,
        ),
        Metric(
            "specificity", "Specificity", True,
            "Of the images of all other classes, the share that is not named so.",
            "every image is of {class_}",
        ),
        Metric(
            "ppv", "Positive predictive value", True,
            "Of the images named so, the share that is of this class, at the prevalence of this "
            "set.",
            "no image is predicted as {class_}",
        ),
        Metric(
            "npv", "Negative predictive value", True,
            "Of the images not named so, the share that is of another class, at the prevalence of "
            "this set.",
            "every image is predicted as {class_}",
        ),
        Metric(
            "f1", "F1", True,
            "The harmonic mean of sensitivity and positive predictive value.",
            _NO_IMAGE,
        ),
        Metric(
            "auc", "AUC", True,
            "The chance that an image of this class gets a higher probability for it than an image "
            "of another class.",
            _ONE_SIDE,
            written="number",
        ),
        Metric(
            "average_precision", "Average precision", True,
            "The mean, over the images of this class, of the positive predictive value among all "
            "images with at least their probability, at the prevalence of this set; by chance it "
            "is about that prevalence.",
            _NO_IMAGE,
            written="number", compared=False,
        ),
        Metric(
            "miss_rate", "Miss rate", True,
            "Of the images of this class, the share that is not named so: all that sensitivity "
            "leaves.",
            _NO_IMAGE,
            higher_is_better=False, compared=False,
        ),
        Metric(
            "diagnostic_odds_ratio", "Diagnostic odds ratio", True,
            "The odds that an image of this class is named so, over the odds for an image of "
            "another class; 1 tells nothing. Where it would be 0 or infinite, 0.5 is added to each "
            "of the four counts.",
            "no image, or every image, is of {class_} or is named so: the ratio is 0/0",
            high=math.inf, written="odds", compared=False,
        ),
    )
}  # fmt: skip


def get_metric(name: str) -> Metric:
    """Return the metric called `name`; an unknown name raises and lists the known ones."""
    if name not in METRICS:
        raise EvaluationError(f"no metric is called {name!r}. Known: {', '.join(METRICS)}.")
    return METRICS[name]


def written(name: str, estimate: Estimate) -> str:
    """Return an estimate of a metric as it is read: a share in percent, all else as a number."""
    return estimate.percent() if get_metric(name).written == "share" else str(estimate)
