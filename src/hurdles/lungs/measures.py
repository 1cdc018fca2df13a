"""Agreement of a mask that was found with one that was drawn; no torch.

Each score is a function of two masks of one image. `score_masks` puts them in a table with a row
per image, and `mean_estimate` turns a column of it into a number with an interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.manifest import Manifest
from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.intervals import draw_patients
from hurdles.lungs.mask import LungMask

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
    """Return the pixels of a mask with one of their four neighbours, or the border, outside it."""
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
