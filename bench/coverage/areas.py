"""AUCs, their differences, means over classes, shares above chance and forecasts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from draws import Answers, TwoGroups, names_of, noise, sizes
from scipy.special import ndtr, softmax
from scipy.stats import rankdata
from tally import Tally, part

from hurdles.evaluation.cluster_size import weighted_auc, weighted_auc_bounds
from hurdles.evaluation.comparisons import holm
from hurdles.evaluation.delong import AUC, auc_bounds, compare_aucs, logit_bounds
from hurdles.evaluation.forecast import forecast_auc
from hurdles.evaluation.intervals import draw_patients
from hurdles.evaluation.macro import compare_macro_auc, macro_auc, share_above_chance
from hurdles.evaluation.statistics import Ranking
from hurdles.studies.tables import _mean_change as mean_change

#: Images from which a true value without a closed form is taken.
LARGE = 1_000_000


@part
def auc(
    tally: Tally, rng, sets: int, *, auc=math.nan, shift=math.nan, resamples: int = 0, **population
):
    """Measure the AUC by image, and with each patient once; rivals where there are resamples."""
    groups = TwoGroups(**population)
    shift = shift if math.isnan(auc) else groups.shift_of(auc)
    by_image, by_patient = groups.aucs(shift)
    names, repeated = names_of(np.arange(groups.patients)), groups.images != 1
    weights = next(draw_patients(groups.patients, resamples, 0)) if resamples else None
    for _ in range(sets):
        codes, sick, score = groups.draw(rng, shift)
        ranking = Ranking.of(sick, score, codes)
        found = AUC.of_ranking(ranking, names)
        tally.held("score, DeLong", *auc_bounds(found)[:2], by_image, "closed form")
        if repeated:
            once = weighted_auc(ranking, groups.patients)
            bounds = weighted_auc_bounds(once)
            tally.held("each patient once", *bounds, by_patient, "closed form")
        tally.held("logit, DeLong", *logit_bounds(found), by_image, "closed form", rival=True)
        if weights is not None:
            drawn = ranking.at(weights)
            ends = np.nanquantile(drawn, [0.025, 0.975])
            tally.held("percentile", *ends, by_image, "closed form", rival=True)
            parts = {f.name: getattr(found, f.name) for f in fields(AUC)}
            varying = _Varying(**parts, spread=float(np.nanvar(drawn, ddof=1)))
            ends = auc_bounds(varying)[:2]
            tally.held("score, bootstrap", *ends, by_image, "closed form", rival=True)


@dataclass(frozen=True, eq=False)
class _Varying(AUC):
    """An AUC whose variance is another one: the rival that a bootstrap gives."""

    spread: float = 0.0

    @property
    def variance(self) -> float:
        return self.spread


@part
def auc_difference(
    tally: Tally, rng, sets: int, *, aucs, same: bool, common: float = 0.0, **population
):
    """Compare two models on the same images, or one in two hospitals; half the noise is shared.

    `common`: share of the patients of one set whose images are in the other as well.
    """
    groups = TwoGroups(**population, rho=0.0)
    shifts, truth = [groups.shift_of(a) for a in aucs], aucs[0] - aucs[1]
    null, repeated = aucs[0] == aucs[1], groups.images != 1
    for _ in range(sets):
        drawn = _models(rng, groups, shifts, same=same, common=common)
        found, by_image = zip(*drawn, strict=True)
        tested = compare_aucs(*found)
        d = tested.difference
        tally.held("difference", d.low, d.high, truth, "closed form")
        reach = 1.96 * tested.standard_error
        ends = d.value - reach, d.value + reach
        tally.held("DeLong's z", *ends, truth, "closed form", rival=True)
        tally.tested("DeLong", tested.p_value, null=null)
        if repeated:
            alone = compare_aucs(*by_image).p_value
            tally.tested("DeLong by image", alone, null=null, rival=True)
        if common:
            apart = math.hypot(*(math.sqrt(each.variance) for each in found))
            p = math.erfc(abs(d.value) / apart / math.sqrt(2)) if apart else math.nan
            tally.tested("as if no patient were common", p, null=null, rival=True)


def _models(rng, groups: TwoGroups, shifts, *, same: bool, common: float = 0.0):
    """Yield the AUC of either model, and the same as if every image were another patient's.

    With `common` patients, each must have as many images in all sets.
    """
    patients, sick = groups.patients, np.arange(groups.patients) < groups.positives
    rank = np.arange(patients) - np.where(sick, 0, groups.positives)
    kept = rank < common * np.where(sick, groups.positives, groups.negatives)
    shared = None
    for place, shift in zip("abcdef", shifts, strict=False):
        if shared is None or not same:
            number = sizes(rng, patients, groups.images)
            codes = np.repeat(np.arange(patients), number)
            fresh = rng.normal(size=len(codes))
            shared = (
                np.where(kept[codes], shared, fresh) if common and shared is not None else fresh
            )
        own = noise(rng, codes, patients, 1.0 if groups.images != 1 else 0.0)
        score = shift * sick[codes] + math.sqrt(0.5) * (shared + own)
        where = np.where(kept | same, "a", place)
        names = np.char.add(where, names_of(np.arange(patients)))
        found = AUC.of_ranking(Ranking.of(sick[codes], score, codes), names)
        if groups.images == 1:
            yield found, found
            continue
        everyone = np.arange(len(codes))
        alone = Ranking.of(sick[codes], score, everyone)
        names = np.char.add(where[codes], everyone.astype(str))
        yield found, AUC.of_ranking(alone, names)


@part
def remedy(tally: Tally, rng, sets: int, *, aucs, seeds: int, **population):
    """Compare a remedy with none over seeds: three trainings each, the same test patients.

    The image's own part of the noise is common to all, a seed adds as much of its own.
    """
    groups, truth = TwoGroups(**population, rho=0.0), aucs[0] - aucs[1]
    shifts = [groups.shift_of(a) for a in aucs for _ in range(seeds)]
    for _ in range(sets):
        found = [auc for auc, _ in _models(rng, groups, shifts, same=True)]
        pairs = [compare_aucs(a, b) for a, b in zip(found[:seeds], found[seeds:], strict=True)]
        mean = mean_change(pairs)
        tally.held("mean change", mean["low"], mean["high"], truth, "closed form")
        tally.tested("mean change over seeds", mean["p"], null=not truth)


@part
def auc_family(tally: Tally, rng, sets: int, *, auc: float, outside: list[float], **population):
    """Compare one hospital with several others, with Holm's p-values over them."""
    groups = TwoGroups(**population, rho=0.0)
    nulls = [other == auc for other in outside]
    for _ in range(sets):
        home = next(_models(rng, groups, [groups.shift_of(auc)] * 2, same=False))[0]
        ps = []
        for other in outside:
            away = list(_models(rng, groups, [0.0, groups.shift_of(other)], same=False))[1][0]
            ps.append(compare_aucs(home, away).p_value)
        true = [p for p, null in zip(holm(ps), nulls, strict=True) if null]
        false = [p for p, null in zip(holm(ps), nulls, strict=True) if not null]
        if true:
            tally.tested("any, Holm", min(true), null=True)
            plain = min(p for p, null in zip(ps, nulls, strict=True) if null)
            tally.tested("any, not adjusted", plain, null=True, rival=True)
        if false:
            tally.tested("any, Holm", min(false), null=False)


@part
def macro(tally: Tally, rng, sets: int, *, patients, skills, images=1, rho=0.5):
    """Measure the mean AUC over three classes, and its difference between two models."""
    truths = [_macro_truth(tuple(patients), skill) for skill in skills]
    number, labels = sum(patients), np.array(["a", "b", "c"])
    of_patient = np.repeat(np.arange(3), patients)
    for _ in range(sets):
        codes = np.repeat(np.arange(number), sizes(rng, number, images))
        truth = of_patient[codes]
        shared = _three(rng, codes, number, rho)
        both = []
        for skill in skills:
            logits = skill * np.eye(3)[truth]
            logits += math.sqrt(0.5) * (shared + _three(rng, codes, number, rho))
            prob = softmax(logits, axis=1)
            both.append(Answers(["a", "b", "c"], labels[truth], prob, names_of(codes)))
        found = macro_auc(both[0])
        known = f"sample of {LARGE:,} images"
        tally.held("mean AUC", found.low, found.high, truths[0], known)
        tested = compare_macro_auc(*both)
        d = tested.difference
        tally.held("difference of mean AUC", d.low, d.high, truths[0] - truths[1], known)
        tally.tested("DeLong, mean over classes", tested.p_value, null=skills[0] == skills[1])


def _three(rng, codes, patients, rho):
    return np.stack([noise(rng, codes, patients, rho) for _ in range(3)], axis=1)


@lru_cache
def _macro_truth(patients: tuple[int, ...], skill: float) -> float:
    rng = np.random.default_rng(1)
    truth = np.repeat(np.arange(3), [LARGE * n // sum(patients) for n in patients])
    logits = skill * np.eye(3)[truth] + rng.normal(size=(len(truth), 3))
    prob, aucs = softmax(logits, axis=1), []
    for k in range(3):
        sick = truth == k
        n = int(sick.sum())
        above = rankdata(prob[:, k])[sick].sum() - n * (n + 1) / 2
        aucs.append(above / n / (len(truth) - n))
    return float(np.mean(aucs))


@part
def share(tally: Tally, rng, sets: int, *, part: float, whole: float, **population):
    """Measure which share of one AUC's height above chance another has, on the same images."""
    groups = TwoGroups(**population)
    shifts, truth = [groups.shift_of(a) for a in (part, whole)], (part - 0.5) / (whole - 0.5)
    for _ in range(sets):
        codes, sick, shared = groups.draw(rng, 0.0)
        one, two = (
            Answers.of_two(
                sick,
                shift * (sick - 0.5)
                + math.sqrt(0.5) * (shared + noise(rng, codes, groups.patients, groups.rho)),
                codes,
            )
            for shift in shifts
        )
        found = share_above_chance(one, two)
        tally.held("share above chance", found.low, found.high, truth, "closed form")


@part
def forecast(tally: Tally, rng, sets: int, *, patients: int, effects):
    """Forecast the AUC elsewhere of a model that sums up lungs and shortcut as well as can be."""
    lung, shortcut = effects
    sick = np.repeat([1.0, 0.0], patients)
    truth = float(ndtr(lung**2 / math.hypot(lung, shortcut) / math.sqrt(2)))
    codes = np.arange(2 * patients)
    for _ in range(sets):
        lungs, seen = (d * sick + rng.normal(size=2 * patients) for d in effects)
        model, blind = (
            Answers.of_two(sick > 0, score, codes)
            for score in (lung * lungs + shortcut * seen, seen)
        )
        found = forecast_auc(model, blind)
        tally.held("squared effects", found.low, found.high, truth, "closed form")
        naive = AUC.of(model.y_true, model.y_prob[:, 0], positive="x")
        tally.held("AUC inside", *auc_bounds(naive)[:2], truth, "closed form", rival=True)
