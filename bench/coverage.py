"""Coverage: how often the intervals of `hurdles.evaluation` hold the truth, and their rivals.

Every line draws test sets from a population whose true value is known, and prints the share of
95 % intervals that hold it; the parts that say so print how often one end of an interval passes the
truth, or a test of two areas that are truly alike says that they differ. On record is
``python bench/coverage.py --sets 300 --only AUC odds flips Forecast``, and of average precision and
measures at a condition ``python bench/coverage.py --sets 300 --only precision PPV "read off" Net``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from hurdles.evaluation.bounds import (
    exact_bounds,
    odds_ratio_bounds,
    predictive_bounds,
    proportion_bounds,
    spread_bounds,
    wilson_bounds,
)
from hurdles.evaluation.comparisons import compare
from hurdles.evaluation.conditions import Conditions, at_conditions
from hurdles.evaluation.delong import AUC, auc_bounds, compare_aucs, logit_bounds
from hurdles.evaluation.forecast import expected_auc, forecast_auc
from hurdles.evaluation.intervals import draw_patients, estimate
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import AtQuantile, Fraction, PatientTable, Ranking

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
        ("AUC, 3 images per patient, by the share of sick patients who look well", looking_well),
        ("AUC of two models on the same images: coverage of the difference", area_differences),
        ("Share that flips: how often the lower end passes the truth, nominal 0.23 %", lower_ends),
        ("Forecast of the area elsewhere, by the effects of lungs and shortcut", forecasts),
        ("Three classes, rarest 8 %, one image per patient", classes),
        ("Difference in accuracy of two models, one image per patient", differences),
        ("Diagnostic odds ratio, 3 images per patient, by correlation within a patient", odds),
        ("Average precision, by images and the correlation within a patient", precisions),
        ("PPV and NPV at a prevalence of 2 %, 3 images per patient", predictive_values),
        ("Sensitivity at a specificity of 0.95 that is read off the same images", read_off),
        ("Net benefit from a probability of 0.1 on, and above acting on everybody", benefits),
        ("AUC of two equal models on the same images: share of false alarms at 5 %", paired_areas),
        ("AUC of a model in two equal hospitals: share of false alarms at 5 %", two_hospitals),
    ):
        if chosen.only and not any(word in title for word in chosen.only):
            continue
        print(f"## {title}")
        for setting, hits in lines(chosen.sets, chosen.seed):
            shares = "   ".join(f"{name} {_share(held)}" for name, held in hits.items())
            print(f"{setting:62s} {shares}", flush=True)
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
            yield f"n {n}, p {p}", {"Wilson": _wilson_coverage(n, p)}


def _wilson_coverage(n: int, p: float) -> float:
    """Return how often Wilson's interval of n independent images holds p, over all outcomes."""
    bounds = np.array([wilson_bounds(k / n, n) for k in range(n + 1)])
    held = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
    return float(binom.pmf(np.arange(n + 1), n, p)[held].sum())


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
        found = AUC.of_ranking(ranking, np.arange(patients).astype(str))
        parts = {field.name: getattr(found, field.name) for field in fields(found)}
        by_bootstrap = _Varying(**parts, spread=float(np.nanvar(drawn, ddof=1)))
        hits["score, DeLong"].append(_holds(auc_bounds(found)[:2], area))
        hits["score, bootstrap"].append(_holds(auc_bounds(by_bootstrap)[:2], area))
        hits["logit DeLong"].append(_holds(logit_bounds(found), area))
        hits["percentile"].append(_holds(_percentiles(drawn), area))
    return hits


@dataclass(frozen=True, eq=False)
class _Varying(AUC):
    """An area whose variance is another one: the rival that a bootstrap gives."""

    spread: float = 0.0

    @property
    def variance(self) -> float:
        return self.spread


def looking_well(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    from scipy.special import ndtr

    for positives, negatives in ((15, 60), (20, 100)):
        names = np.arange(positives + negatives).astype(str)
        codes = np.repeat(np.arange(positives + negatives), 3)
        sick = codes < positives
        for shift, share in ((2.5, 0.2), (3.0, 0.1), (4.0, 0.05)):
            truth = float((1 - share) * ndtr(shift / math.sqrt(2)) + share / 2)
            for rho in (0.3, 0.8):
                rng, hits = np.random.default_rng(seed), Hits({"score, DeLong": [], "logit": []})
                for _ in range(sets):
                    shows = sick & ~(rng.random(len(names)) < share)[codes]
                    noise = math.sqrt(rho) * rng.normal(size=len(names))[codes]
                    noise += math.sqrt(1 - rho) * rng.normal(size=len(codes))
                    area = AUC.of_ranking(Ranking.of(sick, shift * shows + noise, codes), names)
                    hits["score, DeLong"].append(_holds(auc_bounds(area)[:2], truth))
                    hits["logit"].append(_holds(logit_bounds(area), truth))
                yield f"{positives}x3 + {negatives}x3, AUC {truth:.3f}, {share}, rho {rho}", hits


def area_differences(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    for positives, negatives, images in ((12, 60, 1), (30, 70, 1), (100, 300, 1), (15, 40, 3)):
        for both in ((0.8, 0.8), (0.99, 0.99), (0.95, 0.8), (0.99, 0.95)):
            rng, widths = np.random.default_rng(seed), []
            hits: Hits = {"judged": [], "DeLong z": []}
            for _ in range(sets):
                drawn = _alike(rng, positives, negatives, images, both, same=True)
                areas = [AUC.of(t, s, positive="x", groups=p) for t, s, p in drawn]
                found, truth = compare_aucs(*areas), both[0] - both[1]
                value, error = found.difference.value, found.standard_error
                reach = (value - 1.96 * error, value + 1.96 * error)
                hits["judged"].append(_holds((found.difference.low, found.difference.high), truth))
                hits["DeLong z"].append(_holds(reach, truth))
                widths.append((found.difference.high - found.difference.low, 3.92 * error))
            wide, plain = np.mean(widths, axis=0)
            size = f"{positives}x{images}+{negatives}x{images}, {both[0]} and {both[1]}"
            yield f"{size}, widths {wide:.3f}, {plain:.3f}", hits


def lower_ends(sets: int, seed: int) -> Iterator[tuple[str, dict[str, float] | Hits]]:
    level, rivals = 1 - 0.05 / 11, {"exact": exact_bounds, "Wilson": proportion_bounds}
    for n in (10, 44, 120):
        for p in (0.01, 0.034, 0.1):
            chance = dict.fromkeys(rivals, 0.0)
            for k in range(n + 1):
                part = (np.arange(n) < k).astype(float)
                for name, bounds in rivals.items():
                    if bounds(part, np.ones(n), level)[0] > p:
                        chance[name] += math.comb(n, k) * p**k * (1 - p) ** (n - k)
            yield f"{n} images, share {p}: exact, no simulation", chance
    for patients in (12, 30):
        sizes = np.resize([1, 2, 3, 4, 5], patients)
        for rho in (0.3, 0.9):
            rng, hits = np.random.default_rng(seed), Hits({name: [] for name in rivals})
            for _ in range(10 * sets):
                part = _beta_binomial(rng, sizes, 0.1, rho)
                for name, bounds in rivals.items():
                    hits[name].append(bounds(part, sizes.astype(float), level)[0] > 0.1)
            yield f"{patients} patients, 1-5 images, share 0.1, rho {rho}", hits


def forecasts(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    from scipy.special import ndtr

    for n in (30, 100):
        sick = np.repeat([1.0, 0.0], n)
        for lung, shortcut in ((1, 0), (2, 0), (1, 1), (2, 1), (0.5, 1.5)):
            truth = float(ndtr(lung**2 / math.hypot(lung, shortcut) / math.sqrt(2)))
            rng, told = np.random.default_rng(seed), []
            hits: Hits = {"squared effects": []}
            for _ in range(sets):
                lungs, seen = (d * sick + rng.normal(size=2 * n) for d in (lung, shortcut))
                model, blind = (_said(score) for score in (lung * lungs + shortcut * seen, seen))
                found = forecast_auc(model, blind)
                if found.is_defined:
                    hits["squared effects"].append(_holds((found.low, found.high), truth))
                ends = [
                    AUC.of(table.y_true, table.y_prob[:, 0], positive="x").value
                    for table in (model, blind)
                ]
                told.append((expected_auc(*ends), ends[0] - max(ends[1], 0.5) + 0.5))
            off = np.nanmean(told, axis=0) - truth
            name = f"{n}+{n}, d {lung} and {shortcut}, truth {truth:.3f}"
            yield f"{name}, off by {off[0]:+.3f} (areas {off[1]:+.3f})", hits


def _said(score: NDArray[np.float64]) -> Predictions:
    n, p = len(score), 1 / (1 + np.exp(-score))
    names = [str(i) for i in range(n)]
    return Predictions.from_arrays(
        ["x", "y"],
        y_true=["x"] * (n // 2) + ["y"] * (n // 2),
        y_prob=np.column_stack([p, 1 - p]),
        images=names,
        groups=names,
    )


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


def _scores(
    rng: np.random.Generator, positives: int, negatives: int, images: int, area: float, rho: float
) -> tuple[PatientTable, NDArray[np.float64]]:
    """Draw one set of scores with a true area, and the patients of their images."""
    from scipy.special import ndtri

    patients = positives + negatives
    codes = np.repeat(np.arange(patients), images)
    sick = codes < positives
    noise = math.sqrt(rho) * rng.normal(size=patients)[codes]
    noise += math.sqrt(1 - rho) * rng.normal(size=len(codes))
    shift = math.sqrt(2) * ndtri(area)
    score = 1 / (1 + np.exp(-(shift * sick + noise - shift / 2)))
    truth = np.where(sick, "x", "y")
    both = np.column_stack([score, 1 - score])
    named = np.where(score >= 0.5, "x", "y")
    return PatientTable(("x", "y"), truth, named, both, codes, patients), shift


def precisions(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    from scipy.special import expit, ndtr

    for positives, negatives, images, rho in (
        (15, 85, 1, 0.0), (33, 400, 1, 0.0), (100, 300, 1, 0.0), (20, 100, 3, 0.8),
    ):  # fmt: skip
        weights = next(draw_patients(positives + negatives, RESAMPLES, seed))
        for area in (0.5, 0.8, 0.95, 0.99):
            rng, truth = np.random.default_rng(seed), math.nan
            hits: Hits = {"jackknife": [], "percentile": [], "logit": []}
            for _ in range(sets):
                table, shift = _scores(rng, positives, negatives, images, area, rho)
                if math.isnan(truth):  # the precision at each score of the class, on average
                    z = np.linspace(-9, 9, 20001)
                    right = positives * ndtr(-z)
                    mass = np.exp(-z * z / 2)
                    truth = float(
                        (mass * right / (right + negatives * ndtr(-z - shift))).sum() / mass.sum()
                    )
                found = estimate(table, "average_precision", "x")
                drawn = table.statistic("average_precision", "x").at(weights)
                hits["jackknife"].append(_holds((found.low, found.high), truth))
                hits["percentile"].append(_holds(_percentiles(drawn), truth))
                # Boyd, Eng and Page 2013: as if it were a proportion of the images of the class.
                value, n = min(max(found.value, 1e-9), 1 - 1e-9), positives * images
                center, half = (
                    math.log(value / (1 - value)),
                    1.96 / math.sqrt(n * value * (1 - value)),
                )
                low, high = expit(center - half), expit(center + half)
                hits["logit"].append(_holds((float(low), float(high)), truth))
            yield f"{positives}x{images} + {negatives}x{images}, AUC {area}, AP {truth:.3f}", hits


def predictive_values(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    for positives, negatives in ((20, 60), (60, 120)):
        for sensitivity, specificity in ((0.7, 0.8), (0.9, 0.9), (0.98, 0.95)):
            odds_of = 0.02 / 0.98
            up = odds_of * sensitivity / (1 - specificity)
            down = specificity / (1 - sensitivity) / odds_of
            for rho in (0.0, 0.8):
                rng = np.random.default_rng(seed)
                hits = Hits({"PPV": [], "NPV": [], "PPV by image": [], "NPV by image": []})
                for _ in range(sets):
                    sick, well = np.full(positives, 3), np.full(negatives, 3)
                    found = _beta_binomial(rng, sick, sensitivity, rho), sick.astype(float)
                    passed = _beta_binomial(rng, well, specificity, rho), well.astype(float)
                    missed, false = _left(found), _left(passed)
                    for name, form in (("", lambda side: side), (" by image", _images)):
                        bounds = predictive_bounds(form(found), form(false), 0.02)
                        hits["PPV" + name].append(_holds(bounds, up / (1 + up)))
                        bounds = predictive_bounds(form(passed), form(missed), 0.98)
                        hits["NPV" + name].append(_holds(bounds, down / (1 + down)))
                name = f"{positives}x3 + {negatives}x3, {sensitivity}, {specificity}, rho {rho}"
                yield name, hits


def _left(
    side: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return side[1] - side[0], side[1]


def read_off(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    from scipy.special import ndtr, ndtri

    for positives, negatives, images, rho in (
        (15, 85, 1, 0.0), (33, 100, 1, 0.0), (100, 300, 1, 0.0), (20, 100, 3, 0.8),
    ):  # fmt: skip
        weights = next(draw_patients(positives + negatives, RESAMPLES, seed))
        for area in (0.8, 0.95, 0.99):
            rng = np.random.default_rng(seed)
            hits: Hits = {"by patient": [], "percentile": [], "as if fixed": []}
            for _ in range(sets):
                table, shift = _scores(rng, positives, negatives, images, area, rho)
                truth = float(ndtr(shift - ndtri(0.95)))
                ranking = table.statistic("auc", "x")
                assert isinstance(ranking, Ranking)
                statistic = AtQuantile(ranking, 0.95)
                value = float(statistic.at(np.ones((1, table.n_patients)))[0])
                drawn = statistic.at(weights)
                drawn = drawn[~np.isnan(drawn)]
                counts = np.bincount(ranking.positives, minlength=table.n_patients).astype(float)
                bounds = spread_bounds(value, float(drawn.var(ddof=1)), counts)
                hits["by patient"].append(_holds(bounds, truth))
                hits["percentile"].append(_holds(_percentiles(drawn), truth))
                hits["as if fixed"].append(_holds(wilson_bounds(value, counts.sum()), truth))
            size = f"{positives}x{images} + {negatives}x{images}"
            yield f"{size}, AUC {area}, sensitivity {truth:.3f}", hits


def benefits(sets: int, seed: int) -> Iterator[tuple[str, Hits]]:
    from scipy.special import ndtr

    for patients, images, rho in ((100, 1, 0.0), (400, 1, 0.0), (120, 3, 0.8)):
        for share in (0.05, 0.2):
            for area in (0.8, 0.99):
                rng = np.random.default_rng(seed)
                names = ("by patient", "above everybody", "at 2 %")
                hits = Hits({name: [] for name in names})
                for _ in range(sets):
                    positives = int(np.clip(rng.binomial(patients, share), 1, patients - 1))
                    table, shift = _scores(rng, positives, patients - positives, images, area, rho)
                    cut = math.log(1 / 9) + shift / 2
                    hit, false = float(ndtr(shift - cut)), float(ndtr(-cut))
                    truths = (
                        share * hit - (1 - share) * false / 9,
                        (1 - share) * (1 - false) / 9 - share * (1 - hit),
                        0.02 * hit - 0.98 * false / 9,
                    )
                    predictions = Predictions.from_arrays(
                        ["x", "y"], y_true=table.truth.tolist(), y_prob=table.prob,
                        images=[str(i) for i in range(len(table.truth))],
                        groups=table.patients.astype(str).tolist(),
                    )  # fmt: skip
                    own, known = (
                        [row for row in at_conditions(predictions, c) if row.class_ == "x"]
                        for c in (
                            Conditions(benefit_at=(0.1,)),
                            Conditions(benefit_at=(0.1,), prevalence={"x": 0.02}),
                        )
                    )
                    rows = {row.measure: row.estimate for row in own}
                    at_two = {row.measure: row.estimate for row in known}["net_benefit"]
                    found = rows["net_benefit"], rows["net_benefit_over_all"], at_two
                    for name, one, truth in zip(names, found, truths, strict=True):
                        hits[name].append(_holds((one.low, one.high), truth))
                yield f"{patients}x{images}, {share:.0%} sick, AUC {area}, rho {rho}", hits


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
                one, two = _alike(rng, positives, negatives, images, (area, area), same=same)
                hits["DeLong"].append(_alarm(one, two, by_image=False))
                hits["DeLong by image"].append(_alarm(one, two, by_image=True))
            yield f"{positives}x{images} + {negatives}x{images}, AUC {area}", hits


_Set = tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.str_]]


def _alarm(one: _Set, two: _Set, *, by_image: bool) -> bool:
    areas = []
    for truth, score, patients in (one, two):
        names = [f"{p} {i}" for i, p in enumerate(patients)] if by_image else patients
        areas.append(AUC.of(truth, score, positive="x", groups=names))
    return compare_aucs(areas[0], areas[1]).p_value <= 0.05


def _alike(
    rng: np.random.Generator,
    positives: int,
    negatives: int,
    images: int,
    areas: tuple[float, float],
    *,
    same: bool,
) -> tuple[_Set, _Set]:
    """Draw two sets of scores with these true areas: half of their noise is the image's own."""
    from scipy.special import ndtri

    patients = positives + negatives
    codes = np.repeat(np.arange(patients), images)
    truth = np.where(codes < positives, "x", "y")
    image = rng.normal(size=(2, len(codes)))
    found = []
    for model, area in enumerate(areas):
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
