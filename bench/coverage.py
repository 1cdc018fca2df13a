"""Coverage: how often the intervals of `hurdles.evaluation` hold the truth, and their rivals.

Every line draws test sets from a population whose true value is known, and prints the share of
95 % intervals that hold it; the last two parts print how often a test of two areas that are truly
alike says that they differ. Run it with
``python bench/coverage.py [--sets 1000] [--only AUC odds]``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.evaluation.bounds import odds_ratio_bounds, proportion_bounds, wilson_bounds
from hurdles.evaluation.comparisons import compare
from hurdles.evaluation.delong import Area, area_bounds, compare_areas, logit_bounds
from hurdles.evaluation.intervals import draw_patients, estimate
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.resolution import wilson_coverage
from hurdles.evaluation.statistics import Fraction, PatientTable, Ranking

RESAMPLES = 500
Hits = dict[str, list[bool]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000, help="test sets drawn for each line")
    parser.add_argument("--seed", type=int, default=0, help="everything follows from it")
    parser.add_argument("--only", nargs="*", help="parts whose title holds one of these words")
    chosen = parser.parse_args()
    print("Coverage of 95 % intervals; in brackets the interval of each share (Wilson).")
    print(f"{chosen.sets} test sets for each line, seed {chosen.seed}.\n")
    for title, lines in (
        ("Wilson, one image per patient: exact, no simulation", exact),
        ("Proportion, 1-5 images per patient, by correlation within a patient", clustered),
        ("AUC, one image per patient, spread of positive scores over negative", areas),
        ("AUC, 3 images per patient, correlation 0.8", clustered_areas),
        ("Three classes, rarest 8 %, one image per patient", classes),
        ("Difference in accuracy of two models, one image per patient", differences),
        ("Diagnostic odds ratio, 3 images per patient, by correlation within a patient", odds),
        ("AUC of two equal models on the same images: share of false alarms at 5 %", paired_areas),
        ("AUC of a model in two equal hospitals: share of false alarms at 5 %", two_hospitals),
    ):
        if chosen.only and not any(word in title for word in chosen.only):
            continue
        print(f"## {title}")
        for setting, hits in lines(chosen.sets, chosen.seed):
            shares = "   ".join(f"{name} {_share(held)}" for name, held in hits.items())
            print(f"{setting:42s} {shares}", flush=True)
        print()


def _share(held: list[bool] | float) -> str:
    if isinstance(held, float):
        return f"{100 * held:5.1f}"
    low, high = wilson_bounds(float(np.mean(held)), len(held))
    return f"{100 * np.mean(held):5.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _holds(bounds: tuple[float, float], truth: float) -> bool:
    return bounds[0] - 1e-12 <= truth <= bounds[1] + 1e-12


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def exact(sets: int, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    del sets, seed
    for n in (30, 33, 100, 400):
        for p in (0.8, 0.9, 0.95, 0.99):
            yield f"n {n}, p {p}", {"Wilson": wilson_coverage(n, p)}


def clustered(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    rng = np.random.default_rng(seed)
    for patients in (12, 30, 130):
        sizes = np.resize([1, 2, 3, 4, 5], patients)
        weights = next(draw_patients(patients, RESAMPLES, seed))
        for p in (0.8, 0.95, 0.99):
            for rho in (0.0, 0.3, 0.9):
                hits: Hits = {"by patient": [], "by image": [], "percentile": []}
                for _ in range(sets):
                    part, whole = _beta_binomial(rng, sizes, p, rho), sizes.astype(float)
                    seen, n = part.sum() / whole.sum(), whole.sum()
                    hits["by patient"].append(_holds(proportion_bounds(part, whole), p))
                    hits["by image"].append(_holds(wilson_bounds(seen, n), p))
                    drawn = Fraction(part, whole).at(weights)
                    hits["percentile"].append(_holds(_percentiles(drawn), p))
                yield f"{patients} patients, p {p}, rho {rho}", hits


def _beta_binomial(
    rng: np.random.Generator, sizes: NDArray[np.int_], p: float, rho: float
) -> NDArray[np.float64]:
    if rho == 0:
        return rng.binomial(sizes, p).astype("float64")
    scale = (1 - rho) / rho
    chance = rng.beta(p * scale, (1 - p) * scale, size=len(sizes))
    return rng.binomial(sizes, chance).astype("float64")


def areas(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    for positives, negatives in ((33, 100), (33, 400), (100, 300)):
        for area in (0.8, 0.95, 0.99):
            for spread in (1.0, 2.0):
                name = f"{positives}+{negatives}, AUC {area}, spread {spread}"
                yield name, _area(sets, seed, positives, negatives, 1, area, spread, 0.0)


def clustered_areas(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    for area in (0.8, 0.95, 0.99):
        for spread in (1.0, 2.0):
            name = f"20x3 + 100x3, AUC {area}, spread {spread}"
            yield name, _area(sets, seed, 20, 100, 3, area, spread, 0.8)


def _area(
    sets: int,
    seed: int,
    positives: int,
    negatives: int,
    images: int,
    area: float,
    spread: float,
    rho: float,
) -> Hits:
    from scipy.special import ndtri

    rng = np.random.default_rng(seed)
    patients = positives + negatives
    sick = np.repeat(np.arange(patients) < positives, images)
    codes = np.repeat(np.arange(patients), images)
    shift = ndtri(area) * math.hypot(1, spread)
    weights = next(draw_patients(patients, RESAMPLES, seed))
    truth = np.where(sick, "x", "y")
    hits: Hits = {"score, DeLong": [], "score, bootstrap": [], "logit DeLong": [], "percentile": []}
    for _ in range(sets):
        noise = math.sqrt(rho) * rng.normal(size=patients)[codes]
        noise += math.sqrt(1 - rho) * rng.normal(size=len(codes))
        score = 1 / (1 + np.exp(-np.where(sick, shift + spread * noise, noise)))
        both = np.column_stack([score, 1 - score])
        table = PatientTable(("x", "y"), truth, truth, both, codes, patients)
        ranking = table.statistic("auc", "x")
        assert isinstance(ranking, Ranking)
        drawn = ranking.at(weights)
        found = Area.of_ranking(ranking, np.arange(patients).astype(str))
        by_bootstrap = _Varying(**vars(found), spread=float(np.nanvar(drawn, ddof=1)))
        hits["score, DeLong"].append(_holds(area_bounds(found)[:2], area))
        hits["score, bootstrap"].append(_holds(area_bounds(by_bootstrap)[:2], area))
        hits["logit DeLong"].append(_holds(logit_bounds(found), area))
        hits["percentile"].append(_holds(_percentiles(drawn), area))
    return hits


@dataclass(frozen=True, eq=False)
class _Varying(Area):
    """An area whose variance is another one: the rival that a bootstrap gives."""

    spread: float = 0.0

    @property
    def variance(self) -> float:
        return self.spread


def odds(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    for positives, negatives in ((20, 60), (60, 120)):
        for sensitivity, specificity in ((0.7, 0.8), (0.9, 0.9), (0.98, 0.95)):
            truth = sensitivity / (1 - sensitivity) * specificity / (1 - specificity)
            for rho in (0.0, 0.8):
                rng, hits = np.random.default_rng(seed), Hits({"by patient": [], "by image": []})
                for _ in range(sets):
                    sick, well = np.full(positives, 3), np.full(negatives, 3)
                    found = _beta_binomial(rng, sick, sensitivity, rho)
                    passed = _beta_binomial(rng, well, specificity, rho)
                    sides = (found, sick.astype(float)), (passed, well.astype(float))
                    hits["by patient"].append(_holds(odds_ratio_bounds(*sides), truth))
                    hits["by image"].append(
                        _holds(odds_ratio_bounds(_images(sides[0]), _images(sides[1])), truth)
                    )
                name = f"{positives}x3 + {negatives}x3, {sensitivity}, {specificity}, rho {rho}"
                yield name, hits


def _images(
    side: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the same counts as if every image were of another patient."""
    right, whole = (int(part.sum()) for part in side)
    return (np.arange(whole) < right).astype(float), np.ones(whole)


def paired_areas(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    yield from _alarms(sets, seed, same=True)


def two_hospitals(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    yield from _alarms(sets, seed, same=False)


def _alarms(sets: int, seed: int, *, same: bool) -> Iterator[tuple[str, Hits]]:
    for positives, negatives, images in ((12, 60, 1), (33, 100, 1), (100, 300, 1), (15, 40, 3)):
        for area in (0.8, 0.95):
            rng, hits = np.random.default_rng(seed), Hits({"DeLong": [], "DeLong by image": []})
            for _ in range(sets):
                one, two = _alike(rng, positives, negatives, images, area, same=same)
                hits["DeLong"].append(_alarm(one, two, by_image=False))
                hits["DeLong by image"].append(_alarm(one, two, by_image=True))
            yield f"{positives}x{images} + {negatives}x{images}, AUC {area}", hits


_Set = tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.str_]]


def _alarm(one: _Set, two: _Set, *, by_image: bool) -> bool:
    areas = []
    for truth, score, patients in (one, two):
        names = [f"{p} {i}" for i, p in enumerate(patients)] if by_image else patients
        areas.append(Area.of(truth, score, positive="x", groups=names))
    return compare_areas(areas[0], areas[1]).p_value <= 0.05


def _alike(
    rng: np.random.Generator,
    positives: int,
    negatives: int,
    images: int,
    area: float,
    *,
    same: bool,
) -> tuple[_Set, _Set]:
    """Draw two sets of scores with the same true area: half of their noise is the image's own."""
    from scipy.special import ndtri

    patients = positives + negatives
    codes = np.repeat(np.arange(patients), images)
    truth = np.where(codes < positives, "x", "y")
    image = rng.normal(size=(2, len(codes)))
    found = []
    for model in (0, 1):
        own = rng.normal(size=patients)[codes] if images > 1 else rng.normal(size=len(codes))
        noise = math.sqrt(0.5) * (image[0 if same else model] + own)
        place = np.char.add("a" if same or not model else "b", codes.astype(str))
        found.append((truth, math.sqrt(2) * ndtri(area) * (truth == "x") + noise, place))
    return found[0], found[1]


_CONFUSED = {
    "good": np.array([[0.85, 0.1, 0.05], [0.01, 0.97, 0.02], [0.01, 0.03, 0.96]]),
    "excellent": np.array([[0.98, 0.01, 0.01], [0.0, 0.99, 0.01], [0.0, 0.01, 0.99]]),
}


def classes(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    names, prior = np.array(["a", "b", "c"]), np.array([0.08, 0.46, 0.46])
    for model, rows in _CONFUSED.items():
        joint = prior[:, None] * rows
        truths = {
            "balanced_accuracy": float(np.diag(rows).mean()),
            "f1": float(2 * joint[0, 0] / (joint[0].sum() + joint[:, 0].sum())),
        }
        for n in (100, 400):
            for metric, truth in truths.items():
                hits = _classes(sets, seed, n, names, joint, metric, truth)
                yield f"{n} images, {model} model, {metric}", hits


def _classes(
    sets: int,
    seed: int,
    n: int,
    names: NDArray[np.str_],
    joint: NDArray[np.float64],
    metric: str,
    truth: float,
) -> Hits:
    rng = np.random.default_rng(seed)
    weights = next(draw_patients(n, RESAMPLES, seed))
    hits: Hits = {"closed form": [], "percentile": []}
    for _ in range(sets):
        cell = rng.choice(9, size=n, p=joint.ravel())
        said, known = names[cell % 3], names[cell // 3]
        if len(np.unique(known)) < 3:
            continue
        table = PatientTable(tuple(names), known, said, np.eye(3)[cell % 3], np.arange(n), n)
        class_ = "a" if metric == "f1" else None
        found = estimate(table, metric, class_)
        drawn = table.statistic(metric, class_).at(weights)
        hits["closed form"].append(_holds((found.low, found.high), truth))
        hits["percentile"].append(_holds(_percentiles(drawn), truth))
    return hits


def differences(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    for n in (33, 100, 400):
        for only_a, only_b in ((0.15, 0.06), (0.05, 0.02), (0.01, 0.01)):
            rng = np.random.default_rng(seed)
            hits: Hits = {"paired": [], "percentile": []}
            weights = next(draw_patients(n, RESAMPLES, seed))
            for _ in range(sets):
                kind = rng.choice(3, size=n, p=[only_a, only_b, 1 - only_a - only_b])
                wrong = rng.random(n) < 0.05
                right = [np.where(kind == 2, ~wrong, kind == model) for model in (0, 1)]
                a, b = (_answers(model) for model in right)
                found = compare(a, b, metrics=["accuracy"], n_resamples=RESAMPLES)[0].difference
                hits["paired"].append(_holds((found.low, found.high), only_a - only_b))
                drawn = weights @ (right[0].astype(float) - right[1]) / n
                hits["percentile"].append(_holds(_percentiles(drawn), only_a - only_b))
            yield f"{n} images, {only_a} against {only_b}", hits


def _answers(right: NDArray[np.bool_]) -> Predictions:
    names = [str(i) for i in range(len(right))]
    prob = np.where(right[:, None], [0.9, 0.1], [0.2, 0.8])
    truth = ["x"] * len(right)
    return Predictions.from_arrays(
        ["x", "y"], y_true=truth, y_prob=prob, images=names, groups=names
    )


if __name__ == "__main__":
    main()
