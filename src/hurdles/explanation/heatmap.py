"""A heat-map: which pixels spoke for a class, or why there is nothing to draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError

__all__ = ["SIGNLESS", "Heatmap", "HeatmapStatus"]

#: Methods whose heat is a square: it shows what moves the answer, either way.
SIGNLESS = frozenset({"smoothgrad"})


class HeatmapStatus(StrEnum):
    """Whether a heat-map may be drawn."""

    OK = "ok"
    EMPTY = "empty"
    NOT_FINITE = "not finite"


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where one image spoke for one class.

    Parameters
    ----------
    image : str
        Name of the image, as in the manifest.
    target : str
        The class that the map speaks of; empty where the network had no answer at all. With a
        method of `SIGNLESS` and two classes, the maps of both are one and the same.
    method : str
        How it was made, a name in `hurdles.explanation.methods.methods`.
    values : array of float32, shape (H, W)
        Heat within [0, 1]; the largest is 1. All zero unless the status is OK: a map of noise,
        scaled up to its own maximum, would look like any other.
    status : HeatmapStatus
        Draw the map only where this is OK.
    message : str
        What is wrong, for a reader; empty where the status is OK.
    peak : float
        The largest value before scaling, in the method's own unit (occlusion: the fall of the
        log-odds), so that two maps can be compared; NaN where the status is not OK.

    Raises
    ------
    EvaluationError
        If the values contradict the status.

    Examples
    --------
    >>> Heatmap.from_raw("a.png", "COVID-19", "grad-cam", np.array([[0.0, 2.0]])).values
    array([[0., 1.]], dtype=float32)
    >>> print(Heatmap.from_raw("a.png", "COVID-19", "grad-cam", np.zeros((1, 2))).status)
    empty
    """

    image: str
    target: str
    method: str
    values: NDArray[np.float32]
    status: HeatmapStatus
    message: str = ""
    peak: float = math.nan

    def __post_init__(self) -> None:
        values = self.values
        if values.ndim != 2 or values.dtype != np.float32:
            raise EvaluationError(
                f"a heat-map is float32 of shape (H, W), not {values.dtype} {values.shape}."
            )
        # `not (a <= b)` also holds for NaN.
        top = float(values.max(initial=0.0))
        if not (values.min(initial=0.0) >= 0 and top == (1.0 if self.is_drawable else 0.0)):
            raise EvaluationError(
                f"the heat-map of {self.image!r} is {self.status.value!r} but its largest value is "
                f"{top}; make it with Heatmap.from_raw."
            )

    @classmethod
    def from_raw(cls, image: str, target: str, method: str, raw: NDArray[np.floating]) -> Heatmap:
        """Scale `raw`, shape (H, W), heat above zero, to its maximum, and name its status."""
        values = np.zeros(np.shape(raw), dtype="float32")
        if not np.isfinite(raw).all():
            bad = int((~np.isfinite(raw)).sum())
            why = f"{bad} of {np.size(raw)} values of the map are not numbers"
            return cls(image, target, method, values, HeatmapStatus.NOT_FINITE, why)
        peak = float(np.max(raw, initial=0.0))
        if peak <= 0:
            why = f"no pixel speaks {_direction(method)} {target!r}"
            return cls(image, target, method, values, HeatmapStatus.EMPTY, why)
        # In double: a peak below float32's smallest normal number must not divide to infinity.
        values = (np.clip(np.asarray(raw, dtype="float64"), 0, None) / peak).astype("float32")
        return cls(image, target, method, values, HeatmapStatus.OK, "", peak)

    @property
    def has_sign(self) -> bool:
        """Whether its heat is of one class, and not for or against it alike."""
        return self.method not in SIGNLESS

    @property
    def speaks(self) -> str:
        """What its heat says, in words: for a class, or for or against it."""
        return f"{_direction(self.method)} {self.target}"

    @property
    def is_drawable(self) -> bool:
        """Whether there is something to draw."""
        return self.status is HeatmapStatus.OK


def _direction(method: str) -> str:
    return "for or against" if method in SIGNLESS else "for"
