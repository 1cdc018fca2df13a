"""Ridge logistic regression, solved to its optimum at one strength of the penalty after another.

Features are standardized and turned into the uncorrelated directions that they hold: of n images
with D features, the smaller of both. There the curvature is nearly diagonal, so that Newton's
method, its steps found by conjugate gradients, takes a few dozen passes over the images where
gradients alone take hundreds; and every strength starts from the optimum of the one before.

The penalty is that of scikit-learn: half the squared weights over the strength C, beside the sum of
the losses; two classes have one vector of weights, more have one each, the intercept is free. Tests
hold both against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.evaluation.statistics import Floats

#: The largest component of the mean gradient at which an optimum is reached, in units of the
#: features' standard deviation; a hundredth of what scikit-learn stops at.
TOLERANCE = 1e-6
#: Newton's steps, and passes for one of them, after which what there is must do.
_MOST_STEPS, _MOST_PASSES = 100, 200
#: Variance along a direction, over the largest, below which it is rounding.
_NO_DIRECTION = 1e-12
#: Of p (1 - p), where all images are answered with certainty.
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, eq=False)
class Regression:
    """A fitted regression: weights (D, k) and intercepts (k,) of standardized features.

    `labels` are the K classes in order; k is 1 for two of them, else K.
    """

    labels: NDArray[np.str_]
    mean: Floats
    scale: Floats
    weights: Floats
    intercepts: Floats

    def probabilities(self, features: Floats) -> Floats:
        """Return the probability of each class, shape (n, K)."""
        scores = (features - self.mean) / self.scale @ self.weights + self.intercepts
        shares = _shares(scores.T).T
        return np.hstack([1 - shares, shares]) if shares.shape[1] == 1 else shares


def regressions(
    features: Floats,
    labels: ArrayLike,
    strengths: Sequence[float],
    *,
    start: Regression | None = None,
) -> Iterator[Regression]:
    """Yield the regression at each strength; best from the strongest penalty to the weakest.

    `start`, a regression on other images with the same features, spares steps and changes nothing.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> [fitted] = regressions(x, ["a", "a", "b", "b"], [1.0])
    >>> fitted.probabilities(x)[:, 1].round(3).tolist()
    [0.22, 0.396, 0.604, 0.78]
    """
    known, columns = np.unique(np.asarray(labels), return_inverse=True)
    mean, scale = features.mean(axis=0), _scale(features)
    values, directions = _directions((features - mean) / scale)
    truth = (known[:, None] == known[columns]).astype(np.float64)[-_vectors(known) :]
    problem = _Problem(values, truth)
    weights, intercepts = np.zeros((len(truth), values.shape[1])), np.zeros((len(truth), 1))
    if start is not None and np.array_equal(start.labels, known):
        raw = start.weights / start.scale[:, None]
        weights = (raw * scale[:, None]).T @ directions
        intercepts = (start.intercepts + (mean - start.mean) @ raw)[:, None]
    for strength in strengths:
        weights, intercepts = problem.optimum(1 / strength, weights, intercepts)
        yield Regression(known, mean, scale, directions @ weights.T, intercepts[:, 0])


def _vectors(known: NDArray[np.str_]) -> int:
    return 1 if len(known) == 2 else len(known)


def _scale(features: Floats) -> Floats:
    """Return standard deviations, and 1 where a feature is constant but for rounding."""
    n, rounding = len(features), np.finfo(np.float64).eps
    mean, variance = features.mean(axis=0), features.var(axis=0)
    constant = variance <= n * rounding * variance + (n * mean * rounding) ** 2
    return np.where(constant, 1.0, np.sqrt(variance))


def _directions(table: Floats) -> tuple[Floats, Floats]:
    """Return values (n, r) along uncorrelated directions, and these, shape (D, r)."""
    n, wide = table.shape
    if n <= wide:
        variances, left = np.linalg.eigh(table @ table.T)
        kept = variances > variances[-1] * _NO_DIRECTION
        lengths = np.sqrt(variances[kept])
        left = left[:, kept]
        return left * lengths, table.T @ (left / lengths)
    variances, directions = np.linalg.eigh(table.T @ table)
    directions = directions[:, variances > variances[-1] * _NO_DIRECTION]
    return table @ directions, directions


def _shares(scores: Floats) -> Floats:
    """Return probabilities of scores (k, n): of the second class alone where k is 1."""
    if len(scores) == 1:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)))
    shares = np.exp(scores - scores.max(axis=0))
    return np.asarray(shares / shares.sum(axis=0))


class _Problem:
    """Values (n, r) of images along uncorrelated directions, and what is true of each, (k, n).

    Weights are (k, r), intercepts (k, 1), scores (k, n): few rows, so that products go through the
    values in the order of memory. Steps are found in single precision and judged in double.
    """

    def __init__(self, values: Floats, truth: Floats) -> None:
        self.values, self.truth, self.n = values, truth, len(values)
        self.single = values.astype(np.float32)
        self.turned = np.ascontiguousarray(self.single.T)
        self.lengths = (values**2).sum(axis=0)

    def optimum(self, penalty: float, weights: Floats, intercepts: Floats) -> tuple[Floats, Floats]:
        """Return weights and intercepts at the smallest penalized loss, from those given."""
        scores, loss = self.judged(penalty, weights, intercepts)
        for _ in range(_MOST_STEPS):
            shares = _shares(scores)
            apart = shares - self.truth
            slope = np.hstack(
                [apart @ self.values + penalty * weights, apart.sum(axis=1, keepdims=True)]
            )
            steepest = float(np.abs(slope).max()) / self.n
            if steepest <= TOLERANCE:
                break
            step = self.step(shares, slope, penalty, min(0.1, steepest**0.5))
            size, gain = 1.0, float((slope * step).sum())
            while True:  # shorter and shorter, until the loss falls as the slope promises
                there = weights + size * step[:, :-1], intercepts + size * step[:, -1:]
                scores, after = self.judged(penalty, *there)
                if after <= loss + 1e-4 * size * gain or size < 1e-8:
                    break
                size /= 2
            (weights, intercepts), loss = there, after
        return weights, intercepts

    def judged(self, penalty: float, weights: Floats, intercepts: Floats) -> tuple[Floats, float]:
        """Return the scores of the images, and their penalized loss."""
        scores = (self.values @ weights.T).T + intercepts
        if len(scores) == 1:
            losses = np.logaddexp(0, scores) - self.truth * scores
        else:
            top = scores.max(axis=0)
            sums = np.log(np.exp(scores - top).sum(axis=0))
            losses = sums + top - (self.truth * scores).sum(axis=0)
        return scores, float(losses.sum() + penalty / 2 * (weights**2).sum())

    def step(self, shares: Floats, slope: Floats, penalty: float, precision: float) -> Floats:
        """Return Newton's step by conjugate gradients, shape (k, r + 1)."""
        probability = shares.astype(np.float32)
        spread = probability * (1 - probability)
        typical = max(float(spread.mean()), _LEAST_SPREAD)
        curvature = np.append(self.lengths * typical + penalty, self.n * typical)
        curvature = curvature.astype(np.float32)
        step = np.zeros_like(slope)
        rest: Any = -slope.astype(np.float32)
        scaled = rest / curvature
        ahead, left = scaled, float((rest * scaled).sum())
        enough = precision**2 * left
        for _ in range(_MOST_PASSES):
            change = ahead[:, :-1] @ self.turned + ahead[:, -1:]
            bent: Any = spread * change
            if len(shares) > 1:
                bent = probability * (change - (probability * change).sum(axis=0))
            below = bent @ self.single + np.float32(penalty) * ahead[:, :-1]
            answer = np.hstack([below, bent.sum(axis=1, keepdims=True)])
            curved = float((ahead * answer).sum())
            if not curved > 0:  # nothing but rounding is left
                break
            size = np.float32(left / curved)
            step += size * ahead
            rest = rest - size * answer
            scaled = rest / curvature
            before, left = left, float((rest * scaled).sum())
            if left <= enough:
                break
            ahead = scaled + np.float32(left / before) * ahead
        return step
