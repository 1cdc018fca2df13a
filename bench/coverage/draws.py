"""Populations from which sets are drawn: images of patients, their scores and their answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


def sizes(rng: np.random.Generator, patients: int, images: int | str) -> Codes:
    """Draw how many images each patient has: always so many, or as `possible` says."""
    if isinstance(images, int):
        return np.full(patients, images)
    number, chances = possible(images)
    return rng.choice(number, size=patients, p=chances)


def possible(images: int | str) -> tuple[Codes, Floats]:
    """Return all sizes that a patient may have, and their chances.

    "1-20" is any of these, each as likely; "1 or 20" is 1 for nine patients of ten, else 20.
    """
    if isinstance(images, int):
        return np.array([images]), np.ones(1)
    if " or " in images:
        return np.array(images.split(" or "), dtype=int), np.array([0.9, 0.1])
    low, high = map(int, images.split("-"))
    return np.arange(low, high + 1), np.full(high - low + 1, 1 / (high - low + 1))


def grown(number: Codes, images: int | str) -> Floats:
    """Return how large a patient is among those possible, from 0 to 1."""
    all_, _ = possible(images)
    return (number - all_[0]) / max(1, all_[-1] - all_[0])


def averages(of_size: Floats, images: int | str) -> tuple[float, float]:
    """Return the mean over images, and over patients, of what depends on the size."""
    number, chances = possible(images)
    over = number * chances
    return float(over @ of_size / over.sum()), float(chances @ of_size)


def noise(rng: np.random.Generator, codes: Codes, patients: int, rho: float) -> Floats:
    """Draw a normal number for each image, correlated by rho within a patient."""
    own = math.sqrt(1 - rho) * rng.normal(size=len(codes))
    return math.sqrt(rho) * rng.normal(size=patients)[codes] + own


def agreeing(rng: np.random.Generator, codes: Codes, patients: int, rho: float) -> Floats:
    """Draw an even number within (0, 1) for each image, alike within a patient (normal copula)."""
    return np.asarray(ndtr(noise(rng, codes, patients, rho)))


def beta_binomial(rng: np.random.Generator, number: Codes, p: Floats, rho: float) -> Floats:
    """Draw how many images of each patient are right, with that correlation within a patient."""
    if rho == 0:
        return rng.binomial(number, p).astype(float)
    scale = (1 - rho) / rho
    inner = np.clip(p, 1e-9, 1 - 1e-9)
    return rng.binomial(number, rng.beta(inner * scale, (1 - inner) * scale)).astype(float)


@dataclass(frozen=True)
class TwoGroups:
    """Normal scores of patients with a disease and without.

    Some of the sick may look well in all their images, and those with many images may be easier or
    harder to tell.
    """

    positives: int
    negatives: int
    images: int | str = 1
    spread: float = 1.0  # of the scores of the sick, beside 1
    rho: float = 0.5
    looking_well: float = 0.0  # share of the sick
    fading: float = 0.0  # by which share of the distance patients with the most images are nearer

    @property
    def patients(self) -> int:
        """All of them."""
        return self.positives + self.negatives

    def draw(self, rng: np.random.Generator, shift: float) -> tuple[Codes, NDArray, Floats]:
        """Return each image's patient, whether he is sick, and the score."""
        number = sizes(rng, self.patients, self.images)
        codes = np.repeat(np.arange(self.patients), number)
        sick = np.arange(self.patients) < self.positives
        shown = sick & (rng.random(self.patients) >= self.looking_well)
        effect = shift * (1 - self.fading * grown(number, self.images)) * shown
        spread = np.where(sick, self.spread, 1.0)[codes]
        return (
            codes,
            sick[codes],
            effect[codes] + spread * noise(rng, codes, self.patients, self.rho),
        )

    def shift_of(self, auc: float) -> float:
        """Return how far apart scores of that AUC lie, where all the sick look alike."""
        return float(ndtri(auc) * math.hypot(1, self.spread))

    def aucs(self, shift: float) -> tuple[float, float]:
        """Return the true AUC by image, and with each patient once."""
        all_, _ = possible(self.images)
        effects = shift * (1 - self.fading * grown(all_, self.images))
        each = ndtr(effects / math.hypot(1, self.spread))
        each = (1 - self.looking_well) * each + self.looking_well / 2
        return averages(each, self.images)


@dataclass(frozen=True, eq=False)
class Answers:
    """Stands for `Predictions`, whose tables would take most of the time; not checked."""

    classes: list[str]
    y_true: NDArray[np.str_]
    y_prob: Floats
    groups: NDArray[np.str_]

    @cached_property
    def y_pred(self) -> NDArray[np.str_]:
        """The most probable class of each image."""
        return np.array(self.classes)[self.y_prob.argmax(axis=1)]

    def __len__(self) -> int:
        return len(self.y_true)

    @classmethod
    def of_two(cls, sick: NDArray, score: Floats, codes: Codes) -> Answers:
        """Return the answers of a model of two classes, x and y, from log-odds of x."""
        p = expit(score)
        return cls(
            ["x", "y"], np.where(sick, "x", "y"), np.column_stack([p, 1 - p]), names_of(codes)
        )


_NAMES = np.char.add("patient ", np.char.zfill(np.arange(5000).astype(str), 4))


def names_of(codes: Codes) -> NDArray[np.str_]:
    return _NAMES[codes]


def in_one_order() -> None:
    """Spare comparisons the search for common images: drawn answers are in one order."""
    import hurdles.evaluation.comparisons as comparisons
    import hurdles.evaluation.forecast as forecast
    import hurdles.evaluation.macro as macro

    comparisons.align = lambda _, b: b
    forecast.in_pairs = macro.in_pairs = lambda a, b: (a, b)
