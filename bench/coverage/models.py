"""Two models on the same images: differences, their tests, and families of them."""

from __future__ import annotations

import math

import numpy as np
from draws import Answers, agreeing, names_of, noise, sizes
from scipy.special import ndtr, ndtri
from tally import Tally, part

from hurdles.evaluation.comparisons import compare, holm, mcnemar
from hurdles.evaluation.delong import compare_aucs
from hurdles.evaluation.fold_comparisons import corrected_p_value
from hurdles.evaluation.folds import training_factor, wider_level, within_auc
from hurdles.evaluation.intervals import draw_patients
from hurdles.evaluation.sample_size import mcnemar_power
from hurdles.evaluation.statistics import PatientTable

#: Hurdles draws 2,000 by itself.
RESAMPLES = 200


@part
def accuracies(tally: Tally, rng, sets: int, *, patients, images, only, margin=None, rho=0.5):
    """Compare two accuracies; `only`: shares that only the one, or the other, has right.

    McNemar's test where each patient has one image, else a sign flip over patients.
    """
    truth, null = only[0] - only[1], only[0] == only[1]
    weights = next(draw_patients(patients, RESAMPLES, 0))
    test = "McNemar, exact" if images == 1 else "sign flip over patients"
    margins = None if margin is None else {"accuracy": margin}
    for _ in range(sets):
        codes = np.repeat(np.arange(patients), sizes(rng, patients, images))
        kind = (agreeing(rng, codes, patients, rho)[:, None] > np.cumsum(only)).sum(axis=1)
        wrong = agreeing(rng, codes, patients, rho) < 0.05
        right = [np.where(kind == 2, ~wrong, kind == model) for model in (0, 1)]
        told = [_right(each, codes) for each in right]
        row = compare(*told, metrics=["accuracy"], margins=margins, n_resamples=RESAMPLES)[0]
        tally.held("MOVER", row.difference.low, row.difference.high, truth, "closed form")
        gained = np.bincount(codes, right[0].astype(float) - right[1])
        drawn = weights @ gained / (weights @ np.bincount(codes))
        ends = np.quantile(drawn, [0.025, 0.975])
        tally.held("percentile", *ends, truth, "closed form", rival=True)
        tally.tested(test, row.p_value, null=null)
        exact = mcnemar(*right, groups=codes)
        tally.tested(f"{test}, mid-p", exact.mid_p, null=null, rival=True)
        if images != 1:
            alone = mcnemar(*right).p_value
            tally.tested("McNemar by image", alone, null=null, rival=True)
        if margin is not None and truth == -margin:
            tally.judged("no worse by the margin", row.verdict, "non-inferior", "type I at 2.5 %")
        elif margin is not None:
            tally.judged("no worse by the margin", row.verdict, "non-inferior", "power")
    if images == 1:
        calculated = mcnemar_power(patients, only_a=only[0], only_b=only[1])
        kind = "type I" if null else "power"
        tally.exact("McNemar, calculated", calculated, kind, rival=True)


def _right(right, codes) -> Answers:
    prob = np.where(right[:, None], [0.9, 0.1], [0.2, 0.8])
    return Answers(["x", "y"], np.full(len(right), "x"), prob, names_of(codes))


@part
def measures(tally: Tally, rng, sets: int, *, positives, negatives, images, apart, rho=0.5):
    """Compare all that `compare` tests unasked, each by its own test, with Holm over them.

    `apart`: how many deviations the classes lie apart for either model, which cuts in the middle.
    """
    patients, sick = positives + negatives, np.arange(positives + negatives) < positives
    truths = [_values(positives / patients, d) for d in apart]
    null = apart[0] == apart[1]
    for _ in range(sets):
        codes = np.repeat(np.arange(patients), sizes(rng, patients, images))
        ill = sick[codes]
        shared = noise(rng, codes, patients, rho)
        told = [
            Answers.of_two(
                ill,
                d * (ill - 0.5) + math.sqrt(0.5) * (shared + noise(rng, codes, patients, rho)),
                codes,
            )
            for d in apart
        ]
        rows = compare(*told, n_resamples=RESAMPLES)
        for row in rows:
            name = f"{row.metric} {row.class_}".strip()
            truth = truths[0][name] - truths[1][name]
            d = row.difference
            tally.held(f"difference of {name}", d.low, d.high, truth, "closed form")
            tally.tested(f"test of {name}", row.p_value, null=null)
        ps = [row.p_value for row in rows]
        tally.tested("any of the table, Holm", np.nanmin(holm(ps)), null=null)
        tally.tested("any of the table, not adjusted", np.nanmin(ps), null=null, rival=True)


def _values(share: float, d: float) -> dict[str, float]:
    """Return the true measures of normal scores that lie d apart and are cut in the middle."""
    right = float(ndtr(d / 2))
    hit, false, missed, passed = (
        share * right, (1 - share) * (1 - right), share * (1 - right), (1 - share) * right
    )  # fmt: skip
    return {
        "accuracy": right,
        "balanced_accuracy": right,
        "sensitivity x": right,
        "sensitivity y": right,
        "ppv x": hit / (hit + false),
        "ppv y": passed / (passed + missed),
        "f1 x": 2 * hit / (2 * hit + false + missed),
        "f1 y": 2 * passed / (2 * passed + false + missed),
        "auc x": float(ndtr(d / math.sqrt(2))),
    }


@part
def folds(tally: Tally, rng, sets: int, *, patients, images, best, k: int = 5, rho=0.5):
    """Compare two recipes in the same folds, as `compare_folds` puts its parts together.

    Either sees five features of its own, and trains a linear discriminant in each fold; `best`: the
    AUCs of the best weights. Recipes that are as good by that are so after training, on average.
    """
    sick, width = np.arange(patients) < 0.4 * patients, 5
    shifts = np.zeros(2 * width)
    shifts[::width] = [math.sqrt(2) * ndtri(auc) for auc in best]
    codes = np.repeat(np.arange(patients), images)
    ill, truth = sick[codes], np.where(sick, "x", "y")[codes]
    times, null = math.sqrt(training_factor(k)), best[0] == best[1]
    wide = wider_level(0.95, times)
    for _ in range(sets):
        x = np.stack([noise(rng, codes, patients, rho) for _ in shifts], axis=1)
        x += ill[:, None] * shifts
        fold = np.concatenate([rng.permutation(n) % k for n in (sick.sum(), (~sick).sum())])[codes]
        told = [_cross_validated(side, ill, fold, codes) for side in np.split(x, 2, axis=1)]
        within = [
            within_auc(
                [
                    PatientTable(("x", "y"), truth[rows], each.y_pred[rows], each.y_prob[rows],
                                 codes[rows], patients)
                    for rows in (fold == number for number in range(k))
                ],
                "x",
            )
            for each in told
        ]  # fmt: skip
        tested = compare_aucs(*within, level=wide)
        row = compare(*told, metrics=["accuracy"], level=wide, n_resamples=RESAMPLES)[0]
        for name, found in (("DeLong within folds", tested), ("accuracies over folds", row)):
            tally.tested(name, corrected_p_value(found.p_value, times), null=null)
            tally.tested(f"{name}, not corrected", found.p_value, null=null, rival=True)
            if null:
                d = found.difference
                tally.held(f"difference, {name}", d.low, d.high, 0.0, "closed form")


def _cross_validated(x, ill, fold, codes) -> Answers:
    score = np.empty(len(x))
    for number in range(fold.max() + 1):
        train, test = fold != number, fold == number
        means = [x[train & side].mean(axis=0) for side in (ill, ~ill)]
        spread = np.cov((x[train] - np.where(ill[train, None], *means)).T)
        weights = np.linalg.solve(spread, means[0] - means[1])
        score[test] = (x[test] - np.mean(means, axis=0)) @ weights + math.log(2 / 3)
    return Answers.of_two(ill, score, codes)
