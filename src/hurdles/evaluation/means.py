"""Means and shares over images, with intervals by patient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import (
    check_level,
    exact_bounds,
    kish,
    proportion_bounds,
    student_quantile,
    wilson_bounds,
)
from hurdles.evaluation.estimate import Estimate, undefined

__all__ = ["patient_mean", "patient_share"]


def patient_mean(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    level: float = 0.95,
    low: float = -math.inf,
    high: float = math.inf,
) -> Estimate:
    """Return the mean over images, with Student's interval over patients.

    The images of a patient are added up first (the ratio estimator of a cluster sample, Cochran
    1977, section 6), and their spread is never taken to be below that of independent images; where
    every patient has one image it is the textbook interval. The quantile is
    that of Student's distribution with one degree of freedom less than there are patients. Where
    all values are one, their spread says nothing: of a bounded value the interval is then Wilson's,
    for a value that is at one of its bounds or the other varies most.

    Parameters
    ----------
    values : array-like of shape (n,)
        A number for each image.
    groups : array-like of shape (n,)
        Its patient.
    level : float
        Confidence level, within (0, 1).
    low, high : float
        What no value can be below, or above; the interval is cut off there.

    Raises
    ------
    EvaluationError
        If there is not one number, not NaN, and one patient for each image, or one is out of
        bounds.

    Examples
    --------
    >>> print(patient_mean([1.0, 2.0, 3.0, 2.0], list("abcd")))
    2.000 [0.701, 3.299]
    >>> print(patient_mean([1.0, 2.0, 3.0, 2.0], list("abcd"), low=1, high=3))
    2.000 [1.000, 3.000]
    >>> print(patient_mean([1.0, 2.0], ["a", "a"]))
    undefined (all images are of one patient)
    """
    check_level(level)
    numbers, names = np.asarray(values, dtype="float64"), np.asarray(groups).astype(str)
    if numbers.ndim != 1 or numbers.shape != names.shape or np.isnan(numbers).any():
        raise EvaluationError(
            f"{numbers.shape} numbers and {names.shape} patients make no mean; give one number, "
            "not NaN, and one patient for each image."
        )
    if (numbers < low).any() or (numbers > high).any():
        raise EvaluationError(
            f"values from {numbers.min():g} to {numbers.max():g} are not all within "
            f"[{low:g}, {high:g}]; give the bounds that they have."
        )
    patients, codes = np.unique(names, return_inverse=True)
    n, count = len(numbers), len(patients)
    if count < 2:
        why = "there is no image" if n == 0 else "all images are of one patient"
        return undefined(why, level=level, n_images=n, n_patients=count)
    mean = float(numbers.mean())
    if math.isfinite(high - low) and not np.ptp(numbers):
        ends = wilson_bounds((mean - low) / (high - low), kish(np.bincount(codes)), level)
        below, above = (low + (high - low) * end for end in ends)
        method = f"Wilson over {count} patients, all values are one"
        return Estimate(mean, min(below, mean), max(above, mean), level, method, n, count)
    deviations = np.bincount(codes, numbers - mean)
    error = math.sqrt(count / (count - 1) * float(deviations @ deviations)) / n
    error = max(error, float(numbers.std(ddof=1)) / math.sqrt(n))
    reach = student_quantile(level, count - 1) * error
    method = f"Student's t over {count} patients"
    return Estimate(mean, max(low, mean - reach), min(high, mean + reach), level, method, n, count)


def patient_share(
    flags: ArrayLike, groups: ArrayLike, *, level: float = 0.95, exact: bool = False
) -> Estimate:
    """Return the share of images that are flagged, with its interval over patients.

    Parameters
    ----------
    flags : array-like of bool, shape (n,)
        At least one image.
    groups : array-like of shape (n,)
        Its patient.
    level : float
        Confidence level, within (0, 1).
    exact : bool
        Wilson's interval (`hurdles.evaluation.bounds.proportion_bounds`) is narrow and keeps its
        level over both ends together. Where one end decides something, ask for Clopper and
        Pearson's (`hurdles.evaluation.bounds.exact_bounds`), whose ends keep it one by one.

    Raises
    ------
    EvaluationError
        If there is not one flag and one patient for each image.

    Examples
    --------
    >>> print(patient_share(np.arange(40) < 4, np.arange(40)).percent())
    10.0 % [4.0, 23.1]
    >>> print(patient_share(np.arange(40) < 4, np.arange(40), exact=True).percent())
    10.0 % [2.8, 23.7]
    """
    check_level(level)
    flagged, of = np.asarray(flags, dtype=bool), np.asarray(groups)
    if not len(flagged) or len(flagged) != len(of):
        raise EvaluationError(
            f"{len(flagged)} flags for {len(of)} patients; give one of each for every image."
        )
    names, patient = np.unique(of, return_inverse=True)
    whole = np.bincount(patient, minlength=len(names)).astype(np.float64)
    part = np.bincount(patient[flagged], minlength=len(names)).astype(np.float64)
    low, high = (exact_bounds if exact else proportion_bounds)(part, whole, level)
    method = f"{'Clopper-Pearson' if exact else 'Wilson'} over patients"
    value = float(flagged.mean())
    return Estimate(value, low, high, level, method, len(flagged), len(names))
