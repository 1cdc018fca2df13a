"""Informative cluster size: what it changes that some patients have more images than others.

A measure over images gives a patient as much weight as he has images. Where those with many
images are answered differently, as the gravely ill are, it answers another question than a measure
in which each patient counts once; and the interval of the first rests on the few patients with many
images. Both are given side by side, and a test says whether the difference is more than chance
(``bench/coverage`` measures how often it is wrong, and how often either interval holds its truth).

Each patient once: the mean, over draws of one image of each patient, of the measure of these images
(within-cluster resampling; Hoffman, Sen and Weinberg 2001), which is the measure with each image
weighed by one over its patient's images (Williamson, Datta and Satten 2003). It is given of the
measures whose images the truth chooses; which images are named so, the answers themselves decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hurdles.evaluation.bounds import (
    auc_variance,
    kish,
    mover_mean,
    newcombe_bounds,
    normal_quantile,
    student_quantile,
    wilson_bounds,
)
from hurdles.evaluation.delong import AUC
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.metrics import get_metric
from hurdles.evaluation.statistics import Floats, PatientTable, Ranking

#: Measures of which there is a form in which each patient counts once.
PATIENT_WEIGHTED = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "auc")
#: Of kinds of answers, how a note calls it, the measure that stands for it, and its name.
_ANSWERS = {
    "named": ("named", "sensitivity", "sensitivity"),
    "ranked": ("ranked", "auc", "AUC"),
}
#: Beginnings of the notes.
_OPENINGS = (
    "Patients of class",
    "How many images a patient has goes with",
    "Few patients have most of the images of",
)
#: Where Kish's number of patients is at most this share of them, few have most of the images.
_FEW = 0.5
#: Chance of a note where sizes tell nothing, over all that is asked of one set.
_ALPHA = 0.05
#: An AUC so near 0 or 1 is 0 or 1.
_ROUNDING = 1e-12
#: Sizes are dealt out to patients so often by chance; more often where so many questions are asked
#: that the least p-value of these would not do for any.
_DEALS = 999
#: Of more patients than this the correlation is normal by itself, and nothing is dealt.
_DEALT = 400


def patient_weighted(
    table: PatientTable, metric: str, class_: str | None = None, *, level: float = 0.95
) -> Estimate:
    """Return a measure (of `PATIENT_WEIGHTED`) with its interval, each patient counted once."""
    if metric == "auc":
        return _weighted_auc_estimate(table, class_ or "", level)
    if metric != "balanced_accuracy":
        part, whole = _sides(table, metric, class_)
        return _weighted_share(part, whole, level, get_metric(metric).why_undefined(class_ or ""))
    parts = [_weighted_share(*_sides(table, "sensitivity", c), level, "") for c in _known(table)]
    size = {"n_images": len(table.truth), "n_patients": table.n_patients}
    if len(table.present) < 2 or len(parts) < len(table.present):
        # A class that the model does not know has a sensitivity of 0, of which nothing is drawn.
        parts += [
            _weighted_share(
                np.zeros(table.n_patients), table.by_patient(table.is_true(c)), level, ""
            )
            for c in table.present
            if c not in table.classes
        ]
    if len(parts) < 2:
        return undefined(get_metric(metric).why_undefined(), level=level, **size)
    values, ends = [p.value for p in parts], [(p.low, p.high) for p in parts]
    low, high = mover_mean(values, ends, np.eye(len(parts)))
    method = "Wilson over patients, combined over classes"
    return Estimate(
        float(np.mean(values)), low, high, level, method, size["n_images"], size["n_patients"]
    )


def _known(table: PatientTable) -> list[str]:
    return [c for c in table.present if c in table.classes]


def _sides(table: PatientTable, metric: str, class_: str | None) -> tuple[Floats, Floats]:
    """Return how many images of each patient are right, and how many there are."""
    if metric == "accuracy":
        return table.by_patient(table.is_right), table.by_patient(np.ones(len(table.truth), bool))
    truth, answer = table.is_true(class_ or ""), table.is_answer(class_ or "")
    if metric == "specificity":
        truth, answer = ~truth, ~answer
    return table.by_patient(truth & answer), table.by_patient(truth)


def _weighted_share(part: Floats, whole: Floats, level: float, why: str) -> Estimate:
    counted = whole > 0
    size = {"n_images": int(whole.sum()), "n_patients": int(counted.sum())}
    if not counted.any():
        return undefined(why, level=level, **size)
    value = float((part[counted] / whole[counted]).mean())
    low, high = weighted_share_bounds(part, whole, level)
    method = f"Wilson over {size['n_patients']} patients, each once"
    return Estimate(value, low, high, level, method, size["n_images"], size["n_patients"])


def weighted_share_bounds(part: Floats, whole: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of the mean over patients of their shares of right images.

    As `hurdles.evaluation.bounds.proportion_bounds`: what the patients' shares vary, never less
    than independent images would, is drawn to the worst case, in which all images of a patient
    agree, where few patients show the rarer outcome; no bound is better than that of a perfect
    result.
    """
    counted = whole > 0
    shares, sizes = part[counted] / whole[counted], whole[counted]
    n, p = len(shares), float(shares.mean())
    if sizes.max() == 1:
        return wilson_bounds(p, n, level)
    rarer = min(int((shares > 0).sum()), int((shares < 1).sum()))
    effective = float(n)  # patients' worth of independent ones
    if n > 1 and rarer:
        least = float((1 / sizes).sum()) / n**2  # over p (1 - p): independent images
        seen = max(least, float(shares.var(ddof=1)) / n / (p * (1 - p)))
        effective = (rarer + 1) / (rarer * seen + max(1 / n, seen))
        # The variance is known as well as so many patients show it.
        effective *= (normal_quantile(level) / student_quantile(level, n - 1)) ** 2
    low, high = wilson_bounds(p, effective, level)
    best, worst = wilson_bounds(1.0, n, level), wilson_bounds(0.0, n, level)
    return min(low, best[0]), max(high, worst[1])


def _weighted_auc_estimate(table: PatientTable, class_: str, level: float) -> Estimate:
    truth = table.is_true(class_)
    size = {"n_images": len(truth), "n_patients": table.n_patients}
    if truth.all() or not truth.any():
        return undefined(get_metric("auc").why_undefined(class_), level=level, **size)
    auc = weighted_auc(table.ranking(class_), table.n_patients)
    low, high = weighted_auc_bounds(auc, level)
    method = "Newcombe, DeLong's variance over patients, each once"
    return Estimate(auc.value, low, high, level, method, size["n_images"], size["n_patients"])


def weighted_auc(ranking: Ranking, n_patients: int) -> AUC:
    """Return the AUC of one image of each patient, on average over which one that is.

    That of the class and that of the others are drawn separately of a patient who has both.
    """
    sides = [ranking.positives, ranking.negatives]
    images = [np.bincount(side, minlength=n_patients) for side in sides]
    there = [count > 0 for count in images]
    mine, theirs = (1 / count[side] for side, count in zip(sides, images, strict=True))
    sums = [int(side.sum()) for side in there]
    # Weight of the negatives below, and half of those level with, each positive; and turned round.
    up = np.concatenate([[0.0], np.cumsum(theirs)]) / sums[1]
    above = (up[ranking.below] + up[ranking.upto]) / 2
    rank = np.arange(len(theirs))
    higher = [_weight_above(ends, mine, rank) for ends in (ranking.below, ranking.upto)]
    below = (higher[0] + higher[1]) / (2 * sums[0])
    means = [
        np.bincount(side, share * weight, n_patients)
        for side, share, weight in zip(sides, (above, below), (mine, theirs), strict=True)
    ]
    value = float(means[0].sum() / sums[0])
    if abs(value - round(value)) < _ROUNDING:  # shares do not add up to 1 exactly
        value = float(round(value))
    sick, well = (
        np.where(has, mean - value, 0.0) / n
        for has, mean, n in zip(there, means, sums, strict=True)
    )
    return AUC(value, ranking, np.arange(n_patients).astype(str), sick, well)


def _weight_above(ends: np.ndarray, weights: Floats, rank: np.ndarray) -> Floats:
    """Return the weight of the positives whose end lies beyond each rank of the negatives."""
    total = np.bincount(ends, weights, len(rank) + 1)
    beyond = np.cumsum(total[::-1])[::-1]  # of ends from this one on
    return np.asarray(beyond[rank + 1])


def weighted_auc_bounds(auc: AUC, level: float = 0.95) -> tuple[float, float]:
    """Return Newcombe's interval for as many patients, widened to DeLong's variance over them.

    Never narrowed, though many images of a patient may show more than one.
    """
    sizes = [len(np.unique(side)) for side in (auc.ranking.positives, auc.ranking.negatives)]
    variance, inflation = auc.variance, 1.0
    if 0 < auc.value < 1 and variance > 0:
        inflation = max(1.0, variance / auc_variance(auc.value, *sizes))
    return newcombe_bounds(auc.value, *sizes, inflation=inflation, level=level)


def association(sizes: Floats, values: Floats, *, deals: int = _DEALS, seed: int = 0) -> float:
    """Return the p-value of patients' sizes and values going with each other by chance alone.

    A permutation test of their correlation, in its own standard error, which is right on the
    average also where the spread of the values depends on the size (DiCiccio and Romano, J Am Stat
    Assoc 2017;112:1211-1220). 1 where either is the same for all. The deals are drawn by `seed`:
    the same patients give the same number, never less than 1 / (deals + 1). Of many patients it is
    the limit of that test.

    Examples
    --------
    >>> sizes = np.repeat([1.0, 5.0], 10)
    >>> association(sizes, np.repeat([0.9, 0.2], 10) + np.tile([-0.1, 0.1], 10))
    0.002
    """
    x, y = sizes - sizes.mean(), values - values.mean()
    if not (np.ptp(sizes) > 0 and np.ptp(values) > 0):
        return 1.0
    if len(x) > _DEALT:
        scale = math.sqrt(float(y**2 @ x**2))
        return math.erfc(abs(float(x @ y)) / scale / math.sqrt(2)) if scale > 0 else 1.0
    others = np.random.default_rng(seed).permuted(np.tile(y, (deals, 1)), axis=1)
    dealt = np.vstack([y, others])
    scale = np.sqrt(dealt**2 @ x**2)
    found = np.abs(dealt @ x)
    ratio = np.divide(found, scale, out=np.zeros_like(found), where=scale > 0)
    return float((ratio >= ratio[0] * (1 - 1e-9)).mean())


def size_notes(table: PatientTable, *, level: float = 0.95) -> Iterator[str]:
    """Yield in words how sizes of patients go with their answers and classes, beyond chance.

    Asked are, of each class, whether its patients with more images are named rightly more or less
    often, or ranked higher or lower; and whether they have more images than others. The chance of a
    note where nothing of it is so is `_ALPHA` for all questions together (Bonferroni). Said
    besides is of which classes few patients have most of the images.
    """
    questions = list(_questions(table))
    tested = {q: association(sizes, values) for q, sizes, values in questions}
    more = math.ceil(2 * len(questions) / _ALPHA)
    if more > _DEALS:  # only where it may decide: these take as much longer as there are more
        for q, sizes, values in questions:
            if tested[q] <= 10 / (_DEALS + 1):
                tested[q] = association(sizes, values, deals=more)
    found = {q: p for q, p in tested.items() if p <= _ALPHA / len(questions)}
    for class_ in _known(table):
        significant = {k: found[k, class_] for k in _ANSWERS if (k, class_) in found}
        if significant:
            yield _answers_note(table, class_, significant, level)
        if ("label", class_) in found:
            yield (
                f"{_OPENINGS[1]} being of class {class_!r} "
                f"({_shown(found['label', class_])}): accuracy and predictive values weigh the "
                "classes by their images."
            )
        sizes = table.by_patient(table.is_true(class_))
        patients, worth = int((sizes > 0).sum()), kish(sizes)
        if worth <= _FEW * patients:
            yield (
                f"{_OPENINGS[2]} {class_!r}: a measure of images rests on them as on {worth:.0f} "
                f"of {patients} patients, and its interval may miss more often than it says."
            )


def is_size_note(note: str) -> bool:
    """Return whether a note of an evaluation is one of `size_notes`."""
    return note.startswith(_OPENINGS)


def _answers_note(
    table: PatientTable, class_: str, significant: dict[str, float], level: float
) -> str:
    how = " and ".join(f"{_ANSWERS[kind][0]} ({_shown(p)})" for kind, p in significant.items())
    values = []
    for kind in significant:
        metric = _ANSWERS[kind][1]
        whole = float(table.statistic(metric, class_).at(np.ones((1, table.n_patients)))[0])
        each = patient_weighted(table, metric, class_, level=level).value
        values.append(f"{_ANSWERS[kind][2]} {whole:.3f} by image, {each:.3f} by patient, each once")
    return (
        f"{_OPENINGS[0]} {class_!r} with more images are {how} otherwise than those with few: "
        f"{'; '.join(values)}. These are two questions, and the interval by image rests on few "
        "patients here: it may miss more often than it says."
    )


def _shown(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _questions(table: PatientTable) -> Iterator[tuple[tuple[str, str], Floats, Floats]]:
    """Yield questions: kind and class, images of each patient, and what may go with them."""
    if not is_repeated(table):
        return
    classes = _known(table)
    everything = table.by_patient(np.ones(len(table.truth), bool))
    for class_ in classes:
        whole = table.by_patient(table.is_true(class_))
        rows = whole > 0
        if np.ptp(whole[rows]) == 0:
            continue
        part = table.by_patient(table.is_true(class_) & table.is_answer(class_))
        yield ("named", class_), whole[rows], part[rows] / whole[rows]
        if not table.is_true(class_).all() and not table.is_decided:
            ranking = table.ranking(class_)
            summed = np.bincount(ranking.positives, ranking.placements[0], table.n_patients)
            yield ("ranked", class_), whole[rows], summed[rows] / whole[rows]
    if np.ptp(everything) > 0 and len(classes) > 1:
        for class_ in classes if len(classes) > 2 else classes[:1]:
            of_class = table.by_patient(table.is_true(class_)) / everything
            yield ("label", class_), everything, of_class


def is_repeated(table: PatientTable) -> bool:
    """Return whether a patient has several images."""
    return table.n_patients < len(table.truth)
