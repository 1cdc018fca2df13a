"""Does the heat lie in the lungs? A number for what a heat-map shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.explanation.heatmap import Heatmap

__all__ = ["ShareInside", "share_inside"]


@dataclass(frozen=True)
class ShareInside:
    """How much of a heat-map lies inside a mask, beside how much of the image the mask covers.

    Parameters
    ----------
    heat : float
        Share of the heat inside, within [0, 1]; NaN where there is no heat.
    area : float
        Share of the pixels inside, within [0, 1]: what heat spread evenly would give.
    """

    heat: float
    area: float

    @property
    def gain(self) -> float:
        """Heat over area: 1 for heat that ignores the mask, above 1 where it prefers the inside.

        NaN where there is no heat or the mask is empty.
        """
        return self.heat / self.area if self.area > 0 else math.nan


def share_inside(heatmap: Heatmap, mask: NDArray[np.bool_]) -> ShareInside:
    """Return the share of the heat that lies inside `mask`, and the mask's share of the image.

    This is the energy-based pointing game (Wang et al. 2020, Score-CAM, arXiv 1910.01279), with the
    area beside it: lungs fill a third of many chest X-rays, so a third of the heat inside is what
    a network that never looks at them gets.

    Parameters
    ----------
    heatmap : Heatmap
    mask : array of bool, shape (H, W)
        True inside, e.g. in the lungs; the same shape as the heat-map's values.

    Raises
    ------
    EvaluationError
        If the mask has another shape or is not boolean.

    Examples
    --------
    >>> heat = Heatmap.from_raw("a", "COVID-19", "grad-cam", np.array([[4.0, 2.0], [1.0, 1.0]]))
    >>> inside = share_inside(heat, np.array([[True, False], [False, False]]))
    >>> inside.heat, inside.area, inside.gain
    (0.5, 0.25, 2.0)
    """
    if mask.dtype != np.bool_ or mask.shape != heatmap.values.shape:
        raise EvaluationError(
            f"the mask of {heatmap.image!r} must be bool of shape {heatmap.values.shape}, not "
            f"{mask.dtype} of shape {mask.shape}; resize it to the prepared image, then compare "
            "with a threshold."
        )
    # In double: half a hundred thousand float32 values lose digits when added up.
    total = float(heatmap.values.sum(dtype="float64"))
    inside = float(heatmap.values[mask].sum(dtype="float64"))
    return ShareInside(inside / total if total > 0 else math.nan, float(mask.mean()))
