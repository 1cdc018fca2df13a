"""Perturbations: answers that flip when images are altered as a radiologist would not mind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hurdles.auditing.flips import Flips
from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.subject import Subject
from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import undefined
from hurdles.evaluation.macro import compare_macro_auc, macro_auc
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for
from hurdles.pixels.perturb import PERTURBATIONS

_GRAY = (
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
    "window": _GRAY,
    "gamma": _GRAY,
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
    family = sum(PERTURBATIONS.get(name).judged for name in PERTURBATIONS)
    unaltered = Flips(subject, subject.tested, subject.reference, subject.reference)
    for name in PERTURBATIONS:
        yield from _findings(name, family, unaltered)


def _findings(name: str, family: int, unaltered: Flips) -> Iterator[Finding]:
    subject, images = unaltered.subject, unaltered.material
    perturbation = PERTURBATIONS.get(name)
    by_amount = {0.0: unaltered}
    for amount in sorted({perturbation.moderate, perturbation.ladder[-1]}):
        pixels, masks = perturbation.apply(images.pixels, amount, seed=images.seed), images.masks
        if masks is not None:
            masks = perturbation.apply_mask(masks, amount, seed=images.seed)
        by_amount[amount] = replace(unaltered, after=subject.ask(pixels, masks))
    curve = []
    for amount, flips in by_amount.items():
        auc = macro_auc(flips.table, level=images.level).to_dict()
        point = {"amount": amount, "auc": auc["value"], "low": auc["low"], "high": auc["high"]}
        curve.append(point | {"flipped": float(flips.flipped.mean())})
    moderate, words = by_amount[perturbation.moderate], perturbation.words(perturbation.moderate)
    yield Finding(
        "perturbations",
        name,
        f"share of answers that flip, {words}",
        moderate.share(of=family if perturbation.judged else 1),
        limit_for("perturbations", name) if perturbation.judged else None,
        _ADVICE.get(name, "Look at the images, and train with copies altered in this way."),
        moderate.evidence(words),
        {"curve": curve},
        scale=Scale.SHARE,
    )
    try:
        drop = compare_macro_auc(unaltered.table, moderate.table, level=images.level).difference
    except EvaluationError as error:
        drop = undefined(str(error), level=images.level, n_images=len(images))
    statistic = f"drop in AUC, {words}"
    yield Finding("perturbations", name, statistic, drop, None, scale=Scale.DIFFERENCE)
