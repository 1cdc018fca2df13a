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

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Regression", "regressions"]

Floats = NDArray[np.float64]

#: The largest component of the mean gradient at which an optimum is reached, in units of the
#: features' standard deviation; a hundredth of what scikit-learn stops at.
TOLERANCE = 1e-6
#: Newton's steps, and passes for one of them, after which what there is must do.
_MOST_STEPS, _MOST_PASSES = 100, 200
#: Variance along a direction, over the largest, below which it is rounding.
_NO_DIRECTION = 1e-12


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
        return _answers(_shares(scores))


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
    [0.096, 0.322, 0.678, 0.904]
    """
    known, columns = np.unique(np.asarray(labels), return_inverse=True)
    mean, scale = features.mean(axis=0), _scale(features)
    scores, turned = _directions((features - mean) / scale)
    truth = np.eye(len(known))[columns]
    if len(known) == 2:
        truth = truth[:, 1:]
    problem = _Problem(scores, truth)
    weights, intercepts = np.zeros((scores.shape[1], truth.shape[1])), np.zeros(truth.shape[1])
    if start is not None and np.array_equal(start.labels, known):
        raw = start.weights / start.scale[:, None]
        weights = turned.T @ (raw * scale[:, None])
        intercepts = start.intercepts + (mean - start.mean) @ raw
    for strength in strengths:
        weights, intercepts = problem.optimum(1 / strength, weights, intercepts)
        yield Regression(known, mean, scale, turned @ weights, intercepts)


def _scale(features: Floats) -> Floats:
    """Return standard deviations, and 1 where a feature is constant but for rounding."""
    n, rounding = len(features), np.finfo(np.float64).eps
    mean, variance = features.mean(axis=0), features.var(axis=0)
    constant = variance <= n * rounding * variance + (n * mean * rounding) ** 2
    return np.where(constant, 1.0, np.sqrt(variance))


def _directions(table: Floats) -> tuple[Floats, Floats]:
    """Return scores (n, r) along uncorrelated directions, and these, shape (D, r)."""
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
    """Return probabilities of scores (n, k): of the second class alone where k is 1."""
    if scores.shape[1] == 1:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)))
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _answers(shares: Floats) -> Floats:
    return np.hstack([1 - shares, shares]) if shares.shape[1] == 1 else shares


class _Problem:
    """Scores (n, r) along uncorrelated directions, and what is true of each image, (n, k)."""

    def __init__(self, scores: Floats, truth: Floats) -> None:
        self.scores, self.truth, self.n = scores, truth, len(scores)
        # Row-major copies of both: each pass goes through memory once, in its order.
        self.turned = np.ascontiguousarray(scores.T)
        self.lengths = (scores**2).sum(axis=0)[:, None]

    def optimum(self, penalty: float, weights: Floats, intercepts: Floats) -> tuple[Floats, Floats]:
        """Return weights and intercepts at the smallest penalized loss, from those given."""
        reached = self.scores @ weights + intercepts
        loss = self.loss(reached) + penalty / 2 * float((weights**2).sum())
        for _ in range(_MOST_STEPS):
            shares = _shares(reached)
            apart = shares - self.truth
            slope = np.vstack([self.turned @ apart + penalty * weights, apart.sum(axis=0)])
            steepest = float(np.abs(slope).max()) / self.n
            if steepest <= TOLERANCE:
                break
            step, moves = self.step(shares, slope, penalty, min(0.1, steepest**0.5))
            size, gain = 1.0, float((slope * step).sum())
            while True:  # shorter and shorter, until the loss falls as the slope promises
                there = weights + size * step[:-1], intercepts + size * step[-1]
                moved = reached + size * moves
                after = self.loss(moved) + penalty / 2 * float((there[0] ** 2).sum())
                if after <= loss + 1e-4 * size * gain or size < 1e-8:
                    break
                size /= 2
            (weights, intercepts), reached, loss = there, moved, after
        return weights, intercepts

    def step(
        self, shares: Floats, slope: Floats, penalty: float, precision: float
    ) -> tuple[Floats, Floats]:
        """Return Newton's step by conjugate gradients, (r + 1, k), and how it moves the scores."""
        spread = shares * (1 - shares)
        curvature = np.vstack([self.lengths * spread.mean() + penalty, [[spread.mean() * self.n]]])
        step, moves = np.zeros_like(slope), np.zeros_like(shares)
        rest = -slope
        scaled = rest / curvature
        ahead, left = scaled, float((rest * scaled).sum())
        enough = precision**2 * left
        for _ in range(_MOST_PASSES):
            change = self.scores @ ahead[:-1] + ahead[-1]
            bent = spread * change if shares.shape[1] == 1 else _bent(shares, change)
            answer = np.vstack([self.turned @ bent + penalty * ahead[:-1], bent.sum(axis=0)])
            size = left / float((ahead * answer).sum())
            step, moves = step + size * ahead, moves + size * change
            rest = rest - size * answer
            scaled = rest / curvature
            before, left = left, float((rest * scaled).sum())
            if left <= enough:
                break
            ahead = scaled + left / before * ahead
        return step, moves

    def loss(self, scores: Floats) -> float:
        """Return the sum of the losses, the logarithms of what is true's probabilities."""
        if scores.shape[1] == 1:
            return float((np.logaddexp(0, scores) - self.truth * scores).sum())
        top = scores.max(axis=1)
        sums = np.exp(scores - top[:, None]).sum(axis=1)
        return float((np.log(sums) + top - (self.truth * scores).sum(axis=1)).sum())


def _bent(shares: Floats, change: Floats) -> Floats:
    """Return how the gradient over scores changes with scores (of more than two classes)."""
    weighed = shares * change
    return np.asarray(weighed - shares * weighed.sum(axis=1, keepdims=True))
