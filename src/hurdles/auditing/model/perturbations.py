"""Whether answers stay when images are altered as a radiologist would not mind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.flips import Flips
from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.subject import Subject
from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import compare_macro_auc, macro_auc
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for
from hurdles.pixels.perturb import PERTURBATIONS, Perturbation

_GREY = (
    "Grey levels decide: prepare images 'equalized' or 'clahe', or train with [augmentation] "
    "contrast, and compare the classes' grey levels (hurdle 'pixels')."
)
_DETAIL = (
    "Sharpness, grain or compression decides: bring the files of all classes to one resolution "
    "and one compression before training, and look at the hurdle 'pixels'."
)
_PLACE = (
    "Where things lie decides: train with moved, turned and enlarged copies ([augmentation] "
    "rotation, shift, scale), or crop to the lungs (preparation 'cropped')."
)
_EDGE = (
    "What is burnt into the edge of the image decides: crop or mask to the lungs (preparation "
    "'cropped' or 'masked') and train again."
)
_ADVICE = {
    "window": _GREY,
    "gamma": _GREY,
    "blur": _DETAIL,
    "noise": _DETAIL,
    "jpeg": _DETAIL,
    "resize": _DETAIL,
    "rotation": _PLACE,
    "shift": _PLACE,
    "crop": _PLACE,
    "marker": _EDGE,
    "border": _EDGE,
    "flip": "Not judged: an answer may change with the side of the heart.",
    "inversion": "Not judged: never give this model an inverted image; hurdle 'files' finds them.",
}


@model_hurdle(
    "perturbations",
    question="Does it say the same of an image that a radiologist would read the same?",
)
def perturbations(subject: Subject) -> Iterator[Finding]:
    """Yield, for each perturbation, the share of answers that flip and the drop in AUC.

    Everything is compared with `Subject.reference`. Shares of the judged perturbations are one
    family of intervals; the drop is shown.
    """
    family = sum(one.judged for one in (PERTURBATIONS.get(name) for name in PERTURBATIONS))
    start = Flips(subject, subject.tested, subject.reference, subject.reference)
    for name in PERTURBATIONS:
        yield from _of(subject, name, family, start)


def _of(subject: Subject, name: str, family: int, start: Flips) -> Iterator[Finding]:
    one = PERTURBATIONS.get(name)
    found = {0.0: start}
    for amount in sorted({one.moderate, one.ladder[-1]}):
        found[amount] = replace(start, after=_asked(subject, one, amount))
    flips, words = found[one.moderate], one.words(one.moderate)
    yield Finding(
        "perturbations",
        name,
        f"share of answers that flip, {words}",
        flips.share(of=family if one.judged else 1),
        limit_for("perturbations", name) if one.judged else None,
        _ADVICE.get(name, "Look at the images, and train with copies altered in this way."),
        flips.evidence(words),
        {"curve": [_point(f, amount) for amount, f in found.items()]},
        scale=Scale.SHARE,
    )
    statistic = f"drop in AUC, {words}"
    yield Finding(
        "perturbations", name, statistic, _drop(start, flips), None, scale=Scale.DIFFERENCE
    )


def _asked(subject: Subject, one: Perturbation, amount: float) -> NDArray[np.float64]:
    tested = subject.tested
    pixels = one.apply(tested.pixels, amount, seed=tested.seed)
    masks = tested.masks
    moved = None if masks is None else one.apply_mask(masks, amount, seed=tested.seed)
    return subject.ask(pixels, moved)


def _point(flips: Flips, amount: float) -> dict[str, Any]:
    auc = macro_auc(flips.table, level=flips.material.level).to_dict()
    kept = {"auc": auc["value"], "low": auc["low"], "high": auc["high"]}
    return {"amount": amount, **kept, "flipped": float(flips.flipped.mean())}


def _drop(start: Flips, flips: Flips) -> Estimate:
    images = flips.material
    try:
        return compare_macro_auc(start.table, flips.table, level=images.level).difference
    except EvaluationError as error:
        return undefined(str(error), level=images.level, n_images=len(images))
