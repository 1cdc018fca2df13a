"""What a model's own test images say, beforehand, of its area on images from elsewhere.

What a model achieves at home may rest on how images were taken rather than on what they show. If
that part can be measured - by the area of something that sees no anatomy - it can be taken away,
and what remains is a forecast. Ong Ly et al. 2024 train the same network on images whose pixels are
shuffled and call the forecast P_Est = P_source - P_shuffled + 0.5. It is a rule of thumb: it holds
where shortcuts and signs add up, and where the shortcuts are those that were measured. So every
forecast here is held against what came, where that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.macro import compare_macro_auc, macro_auc
from hurdles.evaluation.predictions import Predictions

__all__ = ["Record", "forecast_auc", "track_record"]

_CHANCE = 0.5


def forecast_auc(inside: Predictions, blind: Predictions, *, level: float = 0.95) -> Estimate:
    """Forecast a model's mean area outside from images inside.

    Parameters
    ----------
    inside : Predictions
        Of the model on its own test images.
    blind : Predictions
        Of the same images, by something that sees no lungs.
    level : float
        Confidence level, within (0, 1).

    Returns
    -------
    Estimate
        ``AUC(inside) - AUC(blind) + 0.5``, where a blind area below chance counts as chance. The
        interval is of what these patients show; how well the rule itself holds is not in it.

    Raises
    ------
    EvaluationError
        If the two are not of the same images and classes.

    References
    ----------
    Ong Ly et al., npj Digital Medicine 2024;7:124.

    Examples
    --------
    >>> def told(scores):
    ...     return Predictions.from_arrays(["a", "b"], y_true=list("aaaabbbb"),
    ...         y_prob=np.array([[p, 1 - p] for p in scores]), images=list("ABCDEFGH"),
    ...         groups=list("ABCDEFGH"))
    >>> model = told([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    >>> border = told([0.9, 0.4, 0.7, 0.2, 0.6, 0.5, 0.3, 0.1])
    >>> forecast_auc(model, border).value
    0.8125
    """
    if not macro_auc(blind, level=level).value > _CHANCE:
        return macro_auc(inside, level=level)
    found = compare_macro_auc(inside, blind, level=level).difference
    shifted = [min(1.0, max(0.0, bound + _CHANCE)) for bound in (found.low, found.high)]
    value = min(1.0, max(0.0, found.value + _CHANCE))
    return replace(found, value=value, low=shifted[0], high=shifted[1])


@dataclass(frozen=True)
class Record:
    """How forecasts have done where the outcome is known.

    Parameters
    ----------
    error : float
        Mean of |forecast - area outside|.
    naive_error : float
        The same for the forecast that the area outside is that inside.
    n : int
        Collections.
    """

    error: float
    naive_error: float
    n: int

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.n} forecast{'s' if self.n != 1 else ''} missed by {self.error:.3f} on average; "
            f"taking the area inside for it misses by {self.naive_error:.3f}"
        )


def track_record(
    forecasts: Sequence[float], inside: Sequence[float], outside: Sequence[float]
) -> Record:
    """Hold forecasts against what came.

    Parameters
    ----------
    forecasts, inside, outside : sequences of n float
        Areas, within [0, 1]: forecast, of the model's own test images, and of the collection.

    Raises
    ------
    EvaluationError
        If there is no collection, or lengths differ.

    Examples
    --------
    >>> print(track_record([0.70, 0.60], [0.95, 0.95], [0.75, 0.50]))
    2 forecasts missed by 0.075 on average; taking the area inside for it misses by 0.325
    """
    came, said, home = (np.asarray(x, dtype=float) for x in (outside, forecasts, inside))
    if not len(came) or not len(came) == len(said) == len(home):
        raise EvaluationError(
            f"{len(said)} forecasts and {len(came)} outcomes; a record needs one of each, and one "
            "collection at least."
        )
    errors = np.abs(came - said).mean(), np.abs(came - home).mean()
    return Record(float(errors[0]), float(errors[1]), len(came))
