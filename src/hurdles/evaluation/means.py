"""The mean of a number per image, with an interval by patient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level
from hurdles.evaluation.estimate import Estimate, undefined

__all__ = ["patient_mean"]


def patient_mean(values: ArrayLike, groups: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Return the mean over images, with Student's interval over patients.

    The images of a patient are added up first (the ratio estimator of a cluster sample, Cochran
    1977, section 6); where every patient has one image it is the textbook interval. The quantile is
    that of Student's distribution with one degree of freedom less than there are patients.

    Parameters
    ----------
    values : array-like of shape (n,)
        A number for each image.
    groups : array-like of shape (n,)
        Its patient.
    level : float
        Confidence level, within (0, 1).

    Raises
    ------
    EvaluationError
        If there is not one number, not NaN, and one patient for each image.

    Examples
    --------
    >>> print(patient_mean([1.0, 2.0, 3.0, 2.0], list("abcd")))
    2.000 [0.701, 3.299]
    >>> print(patient_mean([1.0, 2.0], ["a", "a"]))
    undefined (all images are of one patient)
    """
    from scipy.stats import t

    check_level(level)
    numbers, names = np.asarray(values, dtype="float64"), np.asarray(groups).astype(str)
    if numbers.ndim != 1 or numbers.shape != names.shape or np.isnan(numbers).any():
        raise EvaluationError(
            f"{numbers.shape} numbers and {names.shape} patients make no mean; give one number, "
            "not NaN, and one patient for each image."
        )
    patients, codes = np.unique(names, return_inverse=True)
    n, count = len(numbers), len(patients)
    if count < 2:
        why = "there is no image" if n == 0 else "all images are of one patient"
        return undefined(why, level=level, n_images=n, n_patients=count)
    mean = float(numbers.mean())
    deviations = np.bincount(codes, numbers - mean)
    error = math.sqrt(count / (count - 1) * float(deviations @ deviations)) / n
    reach = float(t.ppf((1 + level) / 2, count - 1)) * error
    method = f"Student's t over {count} patients"
    return Estimate(mean, mean - reach, mean + reach, level, method, n, count)
