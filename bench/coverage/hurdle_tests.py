"""Tests and intervals that hurdles make for themselves, and the note on sizes of patients."""

from __future__ import annotations

import math

import numpy as np
from draws import Answers, TwoGroups, names_of, noise, sizes
from scipy.special import ndtr
from tally import Tally, part

from hurdles.auditing.data.files import _difference as marks_apart
from hurdles.auditing.model.acquisition import _LEAST, gap
from hurdles.auditing.model.attention import _against_random
from hurdles.auditing.model.stability import _ratio
from hurdles.auditing.model.subgroups import _difference as group_minus_rest
from hurdles.evaluation.bounds import normal_quantile, patient_mean, patient_share
from hurdles.evaluation.cluster_size import size_notes
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.statistics import PatientTable


@part
def acquisition(tally: Tally, rng, sets: int, *, patients, images, apart: float = 0.0):
    """Ask whether classes differ in ten numbers of an image, two of which may be truly apart."""
    number, null, least = sum(patients), apart == 0, max(_LEAST.values())
    inside = np.arange(number) < patients[0]
    kind = "type I at 0.33 %" if null else "power"
    for _ in range(sets):
        codes = np.repeat(np.arange(number), sizes(rng, number, images))
        common = noise(rng, codes, number, 0.5)
        numbers = np.stack([common + noise(rng, codes, number, 0.5) for _ in range(10)], axis=1)
        numbers[:, :2] += math.sqrt(2) * apart * inside[codes][:, None]
        beyond = gap(numbers, inside[codes], names_of(codes), rng).beyond
        tally.decided("largest of ten, beyond chance", beyond > 0, kind)
        tally.decided("the same, by as much as gray levels must be", beyond > least, kind)


@part
def subgroup(tally: Tally, rng, sets: int, *, inside, outside, values, by: str):
    """Compare a group of patients with the rest: by a sensitivity, or by the AUC."""
    truth, null = values[0] - values[1], values[0] == values[1]
    for _ in range(sets):
        sides = []
        for n, value in zip((inside, outside), values, strict=True):
            if by == "sensitivity":
                right, names = rng.random(n) < value, names_of(np.arange(n))
                sides.append(patient_share(right, names))
            else:
                groups = TwoGroups(n, 2 * n)
                shift = groups.shift_of(value)
                codes, sick, score = groups.draw(rng, shift)
                sides.append(macro_auc(Answers.of_two(sick, score - shift / 2, codes)))
        found, p = group_minus_rest(*sides, 0.95)
        tally.held("group minus rest", found.low, found.high, truth, "closed form")
        tally.tested("group minus rest, from the interval", p, null=null)


@part
def seeds(tally: Tally, rng, sets: int, *, runs: int, patients: int, ratio: float):
    """Hold the variance over seeds against that of the patients, which their intervals show."""
    error = 0.02
    for _ in range(sets):
        # The variance that an interval shows has as many degrees of freedom as patients, about.
        shown = error * np.sqrt(rng.chisquare(patients - 1) / (patients - 1))
        areas = 0.85 + error * math.sqrt(ratio) * rng.normal(size=runs)
        reach = normal_quantile(0.95) * shown
        made = [Estimate(a, a - reach, a + reach, 0.95, "", patients, patients) for a in areas]
        found = _ratio(made, 0.95)
        tally.held("ratio of variances", found.low, found.high, ratio, "closed form")
        tally.decided("ratio above 1", found.low > 1, "type I" if ratio == 1 else "power")


@part
def attention(tally: Tally, rng, sets: int, *, patients: int, draws: int, gain: float):
    """Hold heat in the lungs against random networks; at a gain of 1 the network is one of them."""
    names = names_of(np.arange(patients))
    for _ in range(sets):
        images = np.exp(0.2 * rng.normal(size=patients))  # some images have more in any network
        networks = np.exp(0.15 * rng.normal(size=draws + 1))
        heat = networks[:, None] * images * np.exp(0.2 * rng.normal(size=(draws + 1, patients)))
        whole = patient_mean(gain * heat[0], names)
        found = _against_random(whole, heat[1:], names)
        tally.held("heat over random", found.low, found.high, gain, "closed form")
        wrong = not found.low <= 1 <= found.high if found.is_defined else None
        tally.decided("heat is not that of random", wrong, "type I" if gain == 1 else "power")


@part
def marks(tally: Tally, rng, sets: int, *, patients, images, shares, rho=0.5):
    """Measure how far the shares of images with a mark lie apart; one of three marks."""
    number, truth = sum(patients), abs(shares[0] - shares[1])
    inside = np.arange(number) < patients[0]
    for _ in range(sets):
        codes = np.repeat(np.arange(number), sizes(rng, number, images))
        wanted = np.where(inside[codes], *shares)
        flags = ndtr(noise(rng, codes, number, rho)) < wanted
        found = marks_apart(names_of(codes), flags, inside[codes], 1 - 0.05 / 3)
        if truth:
            tally.decided("apart", found.low > 0, "power")
            usual = marks_apart(names_of(codes), flags, inside[codes], 0.95)
            tally.held("difference of shares", usual.low, usual.high, truth, "closed form")
        else:
            tally.decided("apart", found.low > 0, "type I at 1.67 %")


@part
def size_note(
    tally: Tally, rng, sets: int, *, positives, negatives, images, fading=0.0, more=0, rho=0.5
):
    """Ask whether an evaluation says that sizes of patients go with answers or classes.

    With `fading` the sick with many images are harder to tell; with `more` the sick have more.
    """
    groups = TwoGroups(positives, negatives, images, rho=rho, fading=fading)
    shift, null = groups.shift_of(0.9), not fading and not more
    for _ in range(sets):
        codes, sick, score = groups.draw(rng, shift)
        if more:
            extra = np.flatnonzero(sick & (rng.random(len(codes)) < more))
            codes = np.concatenate([codes, codes[extra]])
            sick, score = (np.concatenate([a, a[extra]]) for a in (sick, score))
        told = Answers.of_two(sick, score - shift / 2, codes)
        table = PatientTable(
            ("x", "y"), told.y_true, told.y_pred, told.y_prob, codes, groups.patients
        )
        notes = list(size_notes(table))
        tally.decided("any note", bool(notes), "type I" if null else "power")
        if not null:
            start = "How many" if more else "Patients of class 'x'"
            there = any(note.startswith(start) for note in notes)
            tally.decided("the right note", there, "power")
