"""A heat-map, the share of its heat in a mask such as the lungs, and the images to show it of."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.predictions import Predictions

__all__ = ["Heatmap"]

#: Methods whose heat is a square: it shows what moves the answer, either way.
SIGNLESS = frozenset({"smoothgrad"})


class HeatmapStatus(StrEnum):
    """State of a heat-map, which decides if it may be drawn."""

    OK = "ok"
    EMPTY = "empty"
    NOT_FINITE = "not finite"


@dataclass(frozen=True, eq=False)
class Heatmap:
    """A map of the heat with which one image spoke for one class.

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
            empty = cls(image, target, method, values, HeatmapStatus.EMPTY)
            return replace(empty, message=f"no pixel speaks {empty.direction} {target!r}")
        # In double: a peak below float32's smallest normal number must not divide to infinity.
        values = (np.clip(np.asarray(raw, dtype="float64"), 0, None) / peak).astype("float32")
        return cls(image, target, method, values, HeatmapStatus.OK, "", peak)

    @property
    def has_sign(self) -> bool:
        """True if its heat is for one class, and not for or against it alike."""
        return self.method not in SIGNLESS

    @property
    def speaks(self) -> str:
        """Meaning of its heat in words: for a class, or for or against it."""
        return f"{self.direction} {self.target}"

    @property
    def direction(self) -> str:
        """Sense of its heat: ``for`` it, or ``for or against`` it alike."""
        return "for" if self.has_sign else "for or against"

    @property
    def is_drawable(self) -> bool:
        """True if there is something to draw."""
        return self.status is HeatmapStatus.OK


@dataclass(frozen=True)
class ShareInside:
    """Shares of a heat-map's heat and of the image's area that lie inside a mask, within [0, 1].

    The area is what heat spread evenly would give; the heat is NaN where there is none.
    """

    heat: float
    area: float

    @property
    def gain(self) -> float:
        """Heat over area: 1 for heat spread evenly, above 1 where more of it is inside.

        NaN where there is no heat or the mask is empty.
        """
        return self.heat / self.area if self.area > 0 else math.nan


def share_inside(heatmap: Heatmap, mask: NDArray[np.bool_]) -> ShareInside:
    """Return the share of the heat that lies inside `mask`, and the mask's share of the image.

    This is the energy-based pointing game (Wang et al. 2020, Score-CAM, arXiv 1910.01279), with the
    area beside it: lungs fill a third of many chest X-rays, and heat spread evenly then has a third
    inside. A network that knows nothing spreads no heat evenly, so 1 is not what it gets.

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


Answer: TypeAlias = Literal["right", "wrong"]


def choose_examples(
    predictions: Predictions, *, per_cell: int = 6, seed: int = 0
) -> dict[tuple[str, Answer], list[str]]:
    """Choose images for a contact sheet: for every class, some answered rightly, some wrongly.

    The images of a cell are ranked by the probability of the class that was predicted and cut into
    `per_cell` equal parts; one image is drawn from each, so that a sheet shows hesitant answers
    beside sure ones. Where a cell has enough patients, no patient appears twice in it.
    """
    order = np.argsort(predictions.frame["image"].to_numpy(dtype=str), kind="stable")
    names = predictions.frame["image"].to_numpy(dtype=str)[order]
    truth, answer = predictions.y_true[order], predictions.y_pred[order]
    groups = predictions.groups[order]
    column = {label: i for i, label in enumerate(predictions.classes)}
    confidence = predictions.y_prob[order, [column[label] for label in answer]]
    cells: dict[tuple[str, Answer], list[str]] = {}
    unknown = sorted(set(truth.tolist()) - set(column))
    for label in [*predictions.classes, *unknown]:
        for kind in ("right", "wrong"):
            rows = np.flatnonzero((truth == label) & ((answer == truth) == (kind == "right")))
            rng = np.random.default_rng([seed, zlib.crc32(f"{kind} {label}".encode())])
            rows = rng.permutation(rows)
            first = np.zeros(len(rows), dtype=bool)  # of each patient one, of further ones as many
            first[np.unique(groups[rows], return_index=True)[1]] = True  # as the cell needs
            further = rows[~first][: max(0, per_cell - int(first.sum()))]
            rows = np.concatenate([rows[first], further])
            rows = rows[np.argsort(-confidence[rows], kind="stable")]
            parts = np.array_split(rows, min(per_cell, len(rows))) if len(rows) else []
            cells[label, kind] = [str(names[rng.choice(part)]) for part in parts]
    return cells
