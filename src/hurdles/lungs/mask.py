"""A mask of the lungs from the probabilities of a network, judged, and compared with a drawn one.

Cleaning keeps what two lungs look like: the two largest parts, without bridges, spurs or holes.
What is left is judged by measures of its shape, within the range of masks drawn by hand; a mask
that cannot be two lungs keeps its pixels but carries a flaw, and nothing downstream uses it
silently.

Its agreement with a mask that was drawn by hand is a function of the two; `score_masks` puts the
scores in a table with a row per image, and `mean_estimate` turns a column of it into a number with
an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.manifest import Manifest
from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.intervals import draw_patients

#: Part of every cache key. Raise it when the same probabilities come to give another mask or flaw.
CLEANING_VERSION = 1

_THRESHOLD = 0.5
#: Of the disc that opens the mask, in pixels: what is thinner than seven pixels is no lung.
_RADIUS = 3


@dataclass(frozen=True, eq=False)
class LungMask:
    """A mask of the lungs, (H, W), with the flaw that makes it implausible, if there is one.

    `flaw` is empty where the mask is plausible, else what is wrong with it, in a sentence. `parts`
    are the areas of each part as a share of the image, from the left of the image to its right: on
    a frontal view the patient's right lung comes first.
    """

    mask: NDArray[np.bool_]
    flaw: str
    parts: tuple[float, ...]

    @property
    def is_plausible(self) -> bool:
        """True if the mask has the shape of two lungs."""
        return not self.flaw

    @property
    def area(self) -> float:
        """Share of the image that lies in the mask, 0 to 1."""
        return float(sum(self.parts))

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Top, bottom, left, right of the mask, as for slices; four zeros where it is empty."""
        rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        if not rows.size:
            return (0, 0, 0, 0)
        return (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def clean(probability: NDArray[np.floating]) -> LungMask:
    """Turn probabilities, (256, 256) within [0, 1], into a mask, and judge it.

    In this order: threshold at one half; opening with a disc, which cuts bridges between the lungs
    and smooths the edge; holes filled; the two largest parts kept. Cleaning a clean mask again
    changes nothing, and a mirrored image gives the mirrored mask. Not-a-numbers count as not lung.
    """
    import cv2

    if probability.ndim != 2 or not probability.size:
        raise ValueError(f"probabilities have shape {probability.shape}; give one image, (H, W).")
    binary = np.asarray(probability >= _THRESHOLD, dtype=np.uint8)
    across = np.arange(-_RADIUS, _RADIUS + 1)
    disc = np.asarray(across**2 + across[:, None] ** 2 <= _RADIUS**2 + 1, dtype=np.uint8)
    opened = cv2.morphologyEx(binary, cv2.MORPH_OPEN, disc)
    # A hole is background that a path of edge-sharing pixels cannot leave.
    around = np.pad(opened, 1)
    cv2.floodFill(around, None, (0, 0), 2, flags=4)
    parts = _largest_two(np.asarray(around[1:-1, 1:-1] != 2, dtype=np.uint8))
    mask = np.zeros(binary.shape, dtype=bool)
    for part in parts:
        mask |= part
    return LungMask(mask, flaw_of(parts), tuple(float(part.mean()) for part in parts))


def _largest_two(binary: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """Return the largest two parts, from left to right; of equals the one nearer the middle."""
    import cv2

    count, labels, stats, centers = cv2.connectedComponentsWithStats(binary, connectivity=8)
    middle = (binary.shape[1] - 1) / 2

    def rank(part: int) -> tuple[float, float, float]:
        across, down = centers[part]
        return (-stats[part, cv2.CC_STAT_AREA], abs(across - middle), down)

    kept = sorted(sorted(range(1, count), key=rank)[:2], key=lambda part: centers[part][0])
    return [labels == part for part in kept]


@dataclass(frozen=True)
class Bound:
    """The range within which one measure of two lungs is plausible, ends included.

    `below` and `above` say what is wrong outside it; ``{value}`` and ``{bound}`` stand for the two
    numbers.
    """

    low: float
    high: float
    below: str
    above: str

    def flaw(self, value: float) -> str:
        """Return what is wrong with `value`, or nothing.

        Examples
        --------
        >>> Bound(0.1, 0.5, "small: {value} < {bound}", "large: {value} > {bound}").flaw(0.04)
        'small: 4 % < 10 %'
        """
        if value < self.low:
            return self.below.format(value=_percent(value), bound=_percent(self.low))
        if value > self.high:
            return self.above.format(value=_percent(value), bound=_percent(self.high))
        return ""


#: What is plausible, in the order in which it is asked; `measures` defines the measures. Set around
#: 1,132 masks drawn by hand, each after `clean`: Montgomery County (138) and
#: Shenzhen (566; Candemir et al. 2014, Stirenko et al. 2018), and those of V7 Labs for Cohen's
#: collection that are not empty (428; the lung behind heart and diaphragm counts as lung there).
#: Above each range stand the least and the greatest value seen, then the percentiles 0.5 and 99.5.
#: Of the first two, whose convention the shipped network learnt, seven of 704 (1.0 %) lie outside;
#: in three of them one lung is mostly destroyed. ``bench/lung_bounds.py`` measures it again.
BOUNDS: dict[str, Bound] = {
    # 0.083 to 0.615; 0.124, 0.557
    "area": Bound(
        0.09,
        0.62,
        "too small: both lungs together cover {value} of the image, less than {bound}",
        "too large: both lungs together cover {value} of the image, more than {bound}",
    ),
    # 0.102 to 1; 0.435, 0.999
    "balance": Bound(
        0.35,
        1.0,
        "one-sided: the smaller part has {value} of the larger one's area, less than {bound}",
        "",
    ),
    # 0.912 to 1; 1, 1
    "beside": Bound(
        0.80,
        1.0,
        "not two lungs: only {value} of the smaller part's width is clear of the other one, less "
        "than {bound}; they do not lie side by side",
        "",
    ),
    # 0.855 to 1; 0.892, 1
    "level": Bound(
        0.80,
        1.0,
        "not two lungs: only {value} of the shorter part's height is level with the other one, "
        "less than {bound}",
        "",
    ),
    # 0.188 to 1; 0.391, 0.910
    "height": Bound(
        0.28,
        1.0,
        "not two lungs: the shorter part has {value} of the image's height, less than {bound}",
        "",
    ),
    # 0.727 to 0.987; 0.777, 0.974. Lower than the masks suggest: in small children, whom they do
    # not show, the heart leaves a crescent of the left lung.
    "solidity": Bound(
        0.60,
        1.0,
        "ragged: a part fills {value} of its convex hull, less than {bound}",
        "",
    ),
    # 0 to 0.196; 0, 0.097
    "border": Bound(
        0.0,
        0.20,
        "",
        "touches the border: {value} of the image's border lies in the lungs, more than {bound}",
    ),
    # 0.045 to 0.724; 0.250, 0.703, without V7 Labs' masks, which go on behind the diaphragm. What
    # the network finds in axial CT slices leans by 0.08 in the median.
    "lean": Bound(
        0.25,
        1.0,
        "not a frontal view: from top to bottom the parts move outwards by {value} of their width, "
        "less than {bound}",
        "",
    ),
}


def measures(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> dict[str, float]:
    """Return the measures of two parts of a mask that `BOUNDS` judges."""
    areas = sorted((int(left.sum()), int(right.sum())))
    rows, columns = ([_span(part.any(axis)) for part in (left, right)] for axis in (1, 0))
    both = left | right
    return {
        "area": sum(areas) / left.size,
        "balance": areas[0] / areas[1],
        "beside": 1 - _shared(columns),
        "level": _shared(rows),
        "height": min(end - start for start, end in rows) / len(left),
        "solidity": min(_solidity(left), _solidity(right)),
        "border": float(np.concatenate([both[0], both[-1], both[:, 0], both[:, -1]]).mean()),
        "lean": (_lean(left[:, ::-1]) + _lean(right)) / 2,
    }


def flaw_of(parts: Sequence[NDArray[np.bool_]]) -> str:
    """Return why the parts of a mask cannot be two lungs, or nothing where they can.

    Examples
    --------
    >>> flaw_of([])
    'empty: no lung was found'
    """
    if not parts:
        return "empty: no lung was found"
    if len(parts) == 1:
        return f"one part only, of {_percent(parts[0].mean())} of the image: not two lungs"
    values = measures(parts[0], parts[1])
    return next((flaw for name, b in BOUNDS.items() if (flaw := b.flaw(values[name]))), "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _solidity(part: NDArray[np.bool_]) -> float:
    """Return the part's pixels by those within its convex hull, which Pick's theorem counts."""
    import cv2

    outlines, _ = cv2.findContours(
        part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    hull: Any = cv2.convexHull(np.concatenate(outlines))[:, 0]
    sides = np.abs(hull - np.roll(hull, 1, axis=0))
    on_edge = int(np.gcd(sides[:, 0], sides[:, 1]).sum())
    return float(part.sum() / (cv2.contourArea(hull) + on_edge / 2 + 1))


def _lean(part: NDArray[np.bool_]) -> float:
    """Return how far the lowest tenth lies to the right of the highest one, in widths."""
    (top, bottom), (first, last) = (_span(part.any(axis)) for axis in (1, 0))
    box = part[top:bottom, first:last]
    tenth = -(-len(box) // 10)
    low, high = (np.nonzero(rows)[1].mean() for rows in (box[-tenth:], box[:tenth]))
    return float((low - high) / box.shape[1])


def _span(flags: Any) -> tuple[int, int]:
    """Return where the first flag stands and where the last one ends."""
    positions = np.flatnonzero(flags)
    return int(positions[0]), int(positions[-1]) + 1


def _shared(spans: Sequence[tuple[int, int]]) -> float:
    """Return which share of the shorter of two spans lies in the other one too."""
    (start, end), (other_start, other_end) = spans
    common = min(end, other_end) - max(start, other_start)
    return max(0, common) / min(end - start, other_end - other_start)


_LEVEL = 0.95

#: Columns of `score_masks` with their meaning.
COLUMNS: dict[str, str] = {
    "image": "name of the image",
    "group": "its patient, as in `Manifest.groups`",
    "source": "its collection",
    "dice": "`dice_score`",
    "jaccard": "`jaccard_score`",
    "inside": "`inside_score`",
    "boundary": "`boundary_error`, in pixels of the 256 x 256 square",
    "flaw": "why the mask that was found is not plausible; empty where it is",
}


def dice_score(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """Return twice the common area by the sum of both areas (Dice 1945), within [0, 1].

    Two empty masks agree: 1.

    Examples
    --------
    >>> dice_score(np.array([True, True, False]), np.array([False, True, False])) == 2 / 3
    True
    """
    both = int(truth.sum()) + int(mask.sum())
    return 1.0 if both == 0 else 2 * int((truth & mask).sum()) / both


def jaccard_score(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """Return the common area by the area of either (intersection over union), within [0, 1].

    Two empty masks agree: 1.
    """
    either = int((truth | mask).sum())
    return 1.0 if either == 0 else int((truth & mask).sum()) / either


def inside_score(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """Return the share of what was found that lies in the truth, within [0, 1].

    It does not fall where the truth holds more than lungs, such as the heart. Nothing found is NaN:
    no share of nothing lies anywhere.
    """
    area = int(mask.sum())
    return float("nan") if area == 0 else int((truth & mask).sum()) / area


def boundary_error(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """Return the mean distance between two outlines, in pixels; 0 where they are the same.

    From every pixel of either outline to the nearest pixel of the other one; the mean over one
    outline and that over the other count half each (average symmetric surface distance, Heimann
    et al. 2009, doi:10.1109/TMI.2009.2013851). NaN where one is empty, or both are.
    """
    import cv2

    if not truth.any() or not mask.any():
        return float("nan")
    outlines = [_outline(truth), _outline(mask)]
    away = [
        cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for line in outlines
    ]
    return float((away[1][outlines[0]].mean() + away[0][outlines[1]].mean()) / 2)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask with one of their four neighbors, or the border, outside it."""
    around = np.pad(mask, 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.asarray(mask & ~inner)


def score_masks(
    manifest: Manifest, truth: NDArray[np.bool_], masks: Sequence[LungMask]
) -> pd.DataFrame:
    """Return every score of every image: columns as in `COLUMNS`, rows as in `manifest`."""
    if not len(manifest) == len(truth) == len(masks):
        raise EvaluationError(
            f"{len(manifest)} images, {len(truth)} drawn masks and {len(masks)} found ones: give "
            "one of each for every image."
        )
    pairs = [(drawn, lungs.mask) for drawn, lungs in zip(truth, masks, strict=True)]
    return pd.DataFrame(
        {
            "image": manifest.frame["image"],
            "group": manifest.groups,
            "source": manifest.frame["source"],
            "dice": [dice_score(*pair) for pair in pairs],
            "jaccard": [jaccard_score(*pair) for pair in pairs],
            "inside": [inside_score(*pair) for pair in pairs],
            "boundary": [boundary_error(*pair) for pair in pairs],
            "flaw": [lungs.flaw for lungs in masks],
        }
    )


def mean_estimate(scores: pd.DataFrame, column: str, *, n_resamples: int = 2000) -> Estimate:
    """Return the mean of a score over images, with the percentile interval over patients.

    Images without a value (NaN) are left out and counted in the note; undefined where fewer than
    two patients have a value.
    """
    kept = scores[scores[column].notna()]
    patients = kept.groupby("group")[column].agg(["sum", "count"])
    size = {"n_images": len(kept), "n_patients": len(patients)}
    if len(patients) < 2:
        return undefined("fewer than two patients", level=_LEVEL, **size)
    blocks = [
        (weights @ patients["sum"].to_numpy()) / (weights @ patients["count"].to_numpy())
        for weights in draw_patients(len(patients), n_resamples, seed=0)
    ]
    low, high = np.quantile(np.concatenate(blocks), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    missing = len(scores) - len(kept)
    return Estimate(
        float(kept[column].mean()),
        float(low),
        float(high),
        _LEVEL,
        f"bootstrap over patients, {n_resamples}",
        note=f"without a value: {missing} of {len(scores)} images" if missing else "",
        **size,
    )
