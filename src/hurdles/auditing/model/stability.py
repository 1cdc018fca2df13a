"""Stability: whether another seed would have given the same answers.

Networks that differ in nothing but their seed are asked about the same test images. How often they
disagree is the part of an answer that is chance, not the image; and how much their areas under the
curve differ, beside how much another sample of patients would move any one of them, says whether a
difference between two published models may be their seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Subject
from hurdles.errors import HurdleError
from hurdles.evaluation.bounds import normal_quantile, proportion_bounds
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions, align
from hurdles.findings.finding import Finding, Scale, evidence_of
from hurdles.findings.limits import limit_for

_FEWEST_SIBLINGS = 2
_ADVICE = (
    "Report the mean and the spread over seeds instead of one run, and average the answers of "
    "several."
)


@model_hurdle("stability", question="Would another seed have given the same answers?", lungs=False)
def stability(subject: Subject) -> Iterator[Finding]:
    """Yield the variance of the area over seeds against that over patients, and disagreement."""
    if len(subject.siblings) < _FEWEST_SIBLINGS:
        raise HurdleError(
            f"{len(subject.siblings)} runs that differ in the seed alone were given, and "
            f"{_FEWEST_SIBLINGS} are needed; give the recipe another training.seed, run it "
            "(hurdles run), and name the runs (hurdles audit RUN --seed-run OTHER); of "
            "predictions, name tables of other seeds (--seed-predictions)."
        )
    runs = [subject.test, *(align(subject.test, other) for other in subject.siblings)]
    level = subject.material.level
    areas = [macro_auc(run, level=level) for run in runs]
    yield Finding(
        "stability",
        "area under the curve",
        f"variance over {len(runs)} seeds over that of another sample of patients",
        _ratio(areas, level),
        limit_for("stability"),
        _ADVICE,
        details={
            "areas": [None if math.isnan(a.value) else a.value for a in areas],
            "seeds": len(runs),
        },
        scale=Scale.RATIO,
        settled_by="",  # more patients do not tell more of the seeds
    )
    yield _disagreement([subject.decided(run.y_prob) for run in runs], subject.test, level)


def _ratio(areas: Sequence[Estimate], level: float) -> Estimate:
    """Return the ratio of two variances, with Fisher's F interval.

    The variance over seeds has one degree of freedom less than there are seeds: with three, the
    interval spans a factor of about 150, and says so. The variance over patients is that of the
    areas' own intervals, with a degree less than there are patients.
    """
    from scipy.stats import f

    sizes = {"n_images": areas[0].n_images, "n_patients": areas[0].n_patients}
    if not all(area.is_defined for area in areas):
        why = next(area.note for area in areas if not area.is_defined)
        return undefined(f"there is no area: {why}", level=level, **sizes)
    z = normal_quantile(level)
    patients = float(np.mean([((a.high - a.low) / 2 / z) ** 2 for a in areas]))
    ratio = float(np.var([a.value for a in areas], ddof=1)) / patients
    seeds, others = len(areas) - 1, max(1, areas[0].n_patients - 1)
    low, high = (ratio / float(f.ppf((1 + s * level) / 2, seeds, others)) for s in (1, -1))
    note = "all seeds have the same area" if ratio == 0 else ""
    method = f"F of {seeds} and {others} degrees of freedom"
    return Estimate(ratio, low, high, level, method, note=note, **sizes)


def _disagreement(answers: Sequence[NDArray[np.str_]], test: Predictions, level: float) -> Finding:
    """Return how often two of the seeds disagree, with the images on which most pairs do."""
    pairs = list(combinations(answers, 2))
    apart = np.mean([a != b for a, b in pairs], axis=0)
    patients, codes = np.unique(test.groups, return_inverse=True)
    part, whole = (np.bincount(codes, w).astype("float64") for w in (apart, np.ones(len(codes))))
    low, high = proportion_bounds(part, whole, level)
    method = f"Wilson over patients, {len(pairs)} pairs"
    value, n = float(apart.mean()), len(apart)
    most = [i for i in np.argsort(-apart, kind="stable")[:4] if apart[i] > 0]
    texts = ["said to be " + " or ".join(sorted({str(a[i]) for a in answers})) for i in most]
    return Finding(
        "stability",
        "answers",
        "share of images on which two seeds disagree, mean over pairs",
        Estimate(value, low, high, level, method, n, len(patients)),
        None,
        _ADVICE,
        evidence_of(test.frame, most, texts),
        scale=Scale.SHARE,
    )
