"""The measures themselves: pure functions of what is true and what was said.

Every function takes the data first and everything else by keyword, returns a float, and returns NaN
where the measure does not exist (no image of the class, nothing predicted): never 0, never a
warning. A name ends in ``_score`` where higher is better and in ``_error`` where lower is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.errors import EvaluationError

__all__ = [
    "accuracy_score",
    "auc_score",
    "balanced_accuracy_score",
    "class_accuracy_score",
    "confusion_matrix",
    "diagnostic_odds_ratio_score",
    "f1_score",
    "miss_rate_error",
    "npv_score",
    "ppv_score",
    "sensitivity_score",
    "specificity_score",
]

Labels = ArrayLike


def accuracy_score(y_true: Labels, y_pred: Labels) -> float:
    """Return the share of images that are named rightly.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True and predicted classes.

    Returns
    -------
    float
        Within [0, 1]; NaN for no image.

    Examples
    --------
    >>> accuracy_score(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    0.75
    """
    truth, said = _pair(y_true, y_pred)
    return _ratio((truth == said).sum(), truth.size)


def balanced_accuracy_score(
    y_true: Labels, y_pred: Labels, *, classes: Sequence[str] | None = None
) -> float:
    """Return the mean of the sensitivities: every class counts alike, however rare it is.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True and predicted classes.
    classes : sequence of str, optional
        The classes to average over; those present in `y_true` if not given.

    Returns
    -------
    float
        Within [0, 1]; NaN with fewer than two classes, or where one of them has no image.

    Examples
    --------
    >>> balanced_accuracy_score(["a", "a", "a", "b"], ["a", "a", "a", "a"])
    0.5
    """
    truth, said = _pair(y_true, y_pred)
    names = list(np.unique(truth)) if classes is None else list(classes)
    if len(names) < 2:
        return math.nan
    return float(np.mean([sensitivity_score(truth, said, positive=name) for name in names]))


def sensitivity_score(y_true: Labels, y_pred: Labels, *, positive: str) -> float:
    """Return the share of the images of a class that are named so (recall).

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True and predicted classes.
    positive : str
        The class in question; all others together are the rest.

    Returns
    -------
    float
        Within [0, 1]; NaN where no image is of the class.

    Examples
    --------
    >>> sensitivity_score(["a", "a", "b"], ["a", "b", "b"], positive="a")
    0.5
    """
    truth, said = _against_rest(y_true, y_pred, positive)
    return _ratio((truth & said).sum(), truth.sum())


def class_accuracy_score(y_true: Labels, y_pred: Labels, *, positive: str) -> float:
    """Return the "accuracy" of one class as published tables print it: its sensitivity.

    The arguments and the number are those of `sensitivity_score`.

    Examples
    --------
    >>> class_accuracy_score(["a", "a", "b"], ["a", "b", "b"], positive="b")
    1.0
    """
    return sensitivity_score(y_true, y_pred, positive=positive)


def miss_rate_error(y_true: Labels, y_pred: Labels, *, positive: str) -> float:
    """Return the share of the images of a class that are not named so: 1 - sensitivity.

    Also called the false negative rate. The arguments are those of `sensitivity_score`; NaN where
    no image is of the class.

    Examples
    --------
    >>> miss_rate_error(["a", "a", "a", "b"], ["a", "b", "b", "b"], positive="a")
    0.6666666666666666
    """
    truth, said = _against_rest(y_true, y_pred, positive)
    return _ratio((truth & ~said).sum(), truth.sum())


def specificity_score(y_true: Labels, y_pred: Labels, *, positive: str) -> float:
    """Return the share of the images of all other classes that are not named so.

    Parameters and returns are those of `sensitivity_score`; NaN where every image is of the class.

    Examples
    --------
    >>> specificity_score(["a", "b", "b", "c"], ["a", "a", "b", "b"], positive="a")
    0.6666666666666666
    """
    truth, said = _against_rest(y_true, y_pred, positive)
    return _ratio((~truth & ~said).sum(), (~truth).sum())


def ppv_score(y_true: Labels, y_pred: Labels, *, positive: str) -> float:
    """Return the share of the images named so that are of the class (precision).

    Parameters and returns are those of `sensitivity_score`; NaN where no image is named so. The
    value holds only for the prevalence of the set at hand.

    Examples
    --------
    >>> ppv_score(["a", "b", "b", "c"], ["a", "a", "b", "b"], positive="a")
    0.5
    """
    truth, said = _against_rest(y_true, y_pred, positive)
    return _ratio((truth & said).sum(), said.sum())


def npv_score(y_true: Labels, y_pred: Labels, *, positive: str) -> float:
    """Return the share of the images not named so that are indeed of another class.

    Parameters and returns are those of `sensitivity_score`; NaN where every image is named so. The
    value holds only for the prevalence of the set at hand.

    Examples
    --------
    >>> npv_score(["a", "a", "b"], ["a", "b", "b"], positive="a")
    0.5
    """
    truth, said = _against_rest(y_true, y_pred, positive)
    return _ratio((~truth & ~said).sum(), (~said).sum())


def f1_score(y_true: Labels, y_pred: Labels, *, positive: str) -> float:
    """Return the harmonic mean of sensitivity and PPV, ``2 TP / (2 TP + FP + FN)``.

    Parameters and returns are those of `sensitivity_score`; NaN where no image is of the class. A
    class that is present and never named has an F1 of 0: all of it was missed.

    Examples
    --------
    >>> f1_score(["a", "a", "b"], ["a", "b", "b"], positive="a")
    0.6666666666666666
    """
    truth, said = _against_rest(y_true, y_pred, positive)
    if not truth.any():
        return math.nan
    return _ratio(2 * (truth & said).sum(), truth.sum() + said.sum())


def auc_score(y_true: Labels, y_score: ArrayLike, *, positive: str) -> float:
    """Return the area under the ROC curve of one class against the rest.

    It is the share of all pairs (an image of the class, an image of another) in which the first has
    the higher score; equal scores count one half (Mann-Whitney, with midranks).

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes.
    y_score : array-like of shape (n,)
        Score of `positive` for each image; only its order matters.
    positive : str
        The class in question.

    Returns
    -------
    float
        Within [0, 1]; NaN where no image, or every image, is of the class.

    Raises
    ------
    EvaluationError
        If the lengths differ or a score is not a number.

    References
    ----------
    Hanley and McNeil, Radiology 1982;143:29-36.

    Examples
    --------
    >>> auc_score(["a", "a", "b", "b"], [0.9, 0.4, 0.4, 0.1], positive="a")
    0.875
    """
    from scipy.stats import rankdata

    truth = np.asarray(y_true) == positive
    scores = np.asarray(y_score, dtype="float64")
    if truth.shape != scores.shape or np.isnan(scores).any():
        raise EvaluationError(
            f"y_true has shape {truth.shape} and y_score {scores.shape}; AUC needs one number, not "
            "NaN, for each image."
        )
    positives = int(truth.sum())
    pairs = positives * (truth.size - positives)
    wins = rankdata(scores)[truth].sum() - positives * (positives + 1) / 2
    return _ratio(wins, pairs)


def diagnostic_odds_ratio_score(y_true: Labels, y_pred: Labels, *, positive: str) -> float:
    """Return the odds of being named so for images of a class, over those for all others.

    ``TP TN / (FP FN)``; where that is 0 or infinite, 0.5 is added to every count (Haldane and
    Anscombe), so that the number exists and depends on the size of the set.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True and predicted classes.
    positive : str
        The class in question; all others together are the rest.

    Returns
    -------
    float
        Above 0, without an upper end; 1 for a model that tells nothing. NaN where it is 0 / 0: no
        image, or every image, is of the class or is named so.

    References
    ----------
    Glas et al., J Clin Epidemiol 2003;56:1129-1135.

    Examples
    --------
    >>> truth, said = list("aaaabbbb"), list("aaabbbba")
    >>> diagnostic_odds_ratio_score(truth, said, positive="a")
    9.0
    >>> diagnostic_odds_ratio_score(truth, truth, positive="a")
    81.0
    """
    truth, said = _against_rest(y_true, y_pred, positive)
    if any(flags.all() or not flags.any() for flags in (truth, said)):
        return math.nan
    cells = [
        (truth & said).sum(),
        (~truth & ~said).sum(),
        (truth & ~said).sum(),
        (~truth & said).sum(),
    ]
    tp, tn, fn, fp = (float(n) + (0.5 if min(cells) == 0 else 0.0) for n in cells)
    return tp * tn / (fp * fn)


def confusion_matrix(
    y_true: Labels, y_pred: Labels, *, rows: Sequence[str], columns: Sequence[str]
) -> NDArray[np.int64]:
    """Count the images of each true class (rows) under each prediction (columns).

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True and predicted classes.
    rows, columns : sequences of str
        The classes, in the order of the result.

    Returns
    -------
    ndarray of shape (len(rows), len(columns))

    Raises
    ------
    EvaluationError
        If an image is of a class that has no row or column: every image is counted.

    Examples
    --------
    >>> confusion_matrix(["a", "a", "b"], ["a", "b", "b"], rows="ab", columns="ab").tolist()
    [[1, 1], [0, 1]]
    """
    truth, said = _pair(y_true, y_pred)
    counts = np.array(
        [[np.sum((truth == row) & (said == column)) for column in columns] for row in rows],
        dtype="int64",
    ).reshape(len(rows), len(columns))
    if counts.sum() != truth.size:
        lost = sorted((set(truth) - set(rows)) | (set(said) - set(columns)))
        raise EvaluationError(
            f"{truth.size - counts.sum()} images have no place in the confusion matrix: {lost} is "
            "neither a row nor a column as needed."
        )
    return counts


def _pair(y_true: Labels, y_pred: Labels) -> tuple[NDArray[Any], NDArray[Any]]:
    truth, said = np.asarray(y_true), np.asarray(y_pred)
    if truth.ndim != 1 or truth.shape != said.shape:
        raise EvaluationError(
            f"y_true has shape {truth.shape} and y_pred {said.shape}; give one true and one "
            "predicted class for each image."
        )
    return truth, said


def _against_rest(
    y_true: Labels, y_pred: Labels, positive: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    truth, said = _pair(y_true, y_pred)
    return truth == positive, said == positive


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else math.nan
