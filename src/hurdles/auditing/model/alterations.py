"""Alterations: answers that flip when an image is altered as a radiologist would not mind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Capability, Material, Question, Subject
from hurdles.auditing.probing import joined_level, one_per_patient, simultaneous
from hurdles.errors import EvaluationError, HurdleError
from hurdles.evaluation.bounds import patient_share
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import compare_macro_auc, macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Evidence, Finding, Scale, evidence_of
from hurdles.findings.limits import limit_for
from hurdles.pixels.perturb import PERTURBATIONS, Perturbation


@dataclass(frozen=True, eq=False)
class Flips:
    """A model's answers to n images as they are and altered, probabilities of shape (n, K).

    Both come by the same road, `Subject.ask`.
    """

    subject: Subject
    material: Material
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    def __post_init__(self) -> None:
        n, before, after = (len(each) for each in (self.material, self.before, self.after))
        if not n == before == after:
            raise HurdleError(
                f"{n} images have {before} answers as they are and {after} altered; ask about the "
                "same images."
            )

    @cached_property
    def flipped(self) -> NDArray[np.bool_]:
        """True where another class is named, shape (n,)."""
        before, after = (self.subject.decided(p) for p in (self.before, self.after))
        return np.asarray(before != after)

    @cached_property
    def table(self) -> Predictions:
        """The answers to the altered images, as a table."""
        return self.material.predictions(self.subject.labels, self.after)

    def share(self, *, of: int = 1) -> Estimate:
        """Return the share of answers that flip, with its exact interval over patients.

        Exact, because its lower end alone decides whether a hurdle is hit.
        """
        level = joined_level(self.material.level, of)
        share = patient_share(self.flipped, self.material.groups, level=level, exact=True)
        return simultaneous(share, of)

    def evidence(self, how: str, most: int = 6) -> tuple[Evidence, ...]:
        """Return the images whose probabilities moved furthest on the way to another class."""

        def texts(probability: NDArray[np.float64]) -> list[str]:
            classes = self.subject.decided(probability).tolist()
            columns = [self.subject.labels.index(name) for name in classes]
            rows = zip(classes, probability, columns, strict=True)
            return [f"{name} {row[column]:.2f}" for name, row, column in rows]

        moved = np.abs(self.after - self.before).sum(axis=1) / 2
        order = [i for i in np.argsort(-moved, kind="stable").tolist() if self.flipped[i]]
        rows = one_per_patient(order, self.material.groups)[:most]
        before, after = texts(self.before), texts(self.after)
        words = [f"{before[i]}; {how}: {after[i]}" for i in rows]
        return evidence_of(self.material.manifest.frame, rows, words)


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
_ADVICE_BY_NAME = {
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
    needs=[Capability.ANSWERS],
    lungs=False,
    cost=lambda subject, answer: (
        33 * (len(subject.test) * answer + 6e-8 * subject.tested.pixels.size)
    ),
)
def perturbations(subject: Subject) -> Iterator[Finding]:
    """Yield, for each perturbation, the share of answers that flip and the drop in AUC.

    Everything is compared with `Subject.reference`. Shares of the judged perturbations are one
    family of intervals; the drop is shown.
    """
    images = subject.tested
    unaltered = Flips(subject, images, subject.reference, subject.reference)
    family = sum(PERTURBATIONS.get(name).judged for name in PERTURBATIONS)
    start = {} if images.judged_only else _point(0.0, unaltered)
    answers = subject.ask_many(_perturbed(images))
    for name in _names(images):
        perturbation = PERTURBATIONS.get(name)
        by_amount = {
            amount: replace(unaltered, after=next(answers))
            for amount in _amounts(perturbation, images)
        }
        moderate, words = (
            by_amount[perturbation.moderate],
            perturbation.words(perturbation.moderate),
        )
        yield Finding(
            "perturbations",
            name,
            f"share of answers that flip, {words}",
            moderate.share(of=family if perturbation.judged else 1),
            limit_for("perturbations", name) if perturbation.judged else None,
            _ADVICE_BY_NAME.get(
                name, "Look at the images, and train with copies altered in this way."
            ),
            moderate.evidence(words),
            {"curve": [start, *(_point(*each) for each in by_amount.items())]} if start else {},
            scale=Scale.SHARE,
        )
        if images.judged_only:
            continue
        try:
            drop = compare_macro_auc(unaltered.table, moderate.table, level=images.level).difference
        except EvaluationError as error:
            drop = undefined(str(error), level=images.level, n_images=len(images))
        statistic = f"drop in AUC, {words}"
        yield Finding("perturbations", name, statistic, drop, None, scale=Scale.DIFFERENCE)


def _point(amount: float, flips: Flips) -> dict[str, Any]:
    auc = macro_auc(flips.table, level=flips.material.level).to_dict()
    point = {"amount": amount, "auc": auc["value"], "low": auc["low"], "high": auc["high"]}
    return point | {"flipped": float(flips.flipped.mean())}


def _names(images: Material) -> list[str]:
    names = PERTURBATIONS.names()
    return [n for n in names if PERTURBATIONS.get(n).judged or not images.judged_only]


def _amounts(perturbation: Perturbation, images: Material) -> list[float]:
    strongest = set() if images.judged_only else {perturbation.ladder[-1]}
    return sorted({perturbation.moderate, *strongest})


def _perturbed(images: Material) -> Iterator[Question]:
    """Yield the images under each perturbation, by each of its amounts, with their lungs."""
    for perturbation in map(PERTURBATIONS.get, _names(images)):
        for amount in _amounts(perturbation, images):
            pixels, masks = (
                perturbation.apply(images.pixels, amount, seed=images.seed),
                images.masks,
            )
            if masks is not None:
                masks = perturbation.apply_mask(masks, amount, seed=images.seed)
            yield pixels, masks
