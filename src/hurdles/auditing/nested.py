"""Nested views: the answers of a small probe that sees less and less of the images.

The probe is the same for every view and knows little: edge directions, a thumbnail, a histogram,
and a straight line through them. It learns on the model's training images and is asked about the
model's validation and test images. Several hurdles look at its answers; they are computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.attributes import attributes_of
from hurdles.auditing.blanking import (
    blankable,
    lungs_box,
    only_edges,
    only_lungs,
    outside_box,
    without_lungs,
)
from hurdles.auditing.descriptors import histogram, resized, shapes
from hurdles.auditing.material import Material
from hurdles.auditing.subject import Subject
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import fit_predict, thumbnails

Bytes = NDArray[np.uint8]
Features = NDArray[np.floating]

#: Views are made at this size, in pixels: twice what the probe looks at.
_SIZE = 128


def described(pixels: Bytes) -> Features:
    """Return what the probe knows of any view: edge directions, a thumbnail and a histogram."""
    return np.hstack([shapes(pixels), thumbnails(pixels), histogram(pixels)])


def _metadata(material: Material) -> Features:
    known = [attribute.features for attribute in attributes_of(material)]
    return np.hstack(known) if known else np.empty((len(material), 0))


def _masked(alter: Callable[[Bytes, NDArray[np.bool_]], Bytes]) -> Callable[[Material], Features]:
    def features(material: Material) -> Features:
        assert material.masks is not None
        return described(alter(material.pixels, material.masks))

    return features


class View(NamedTuple):
    """Features of the reduced images; a view is judged where there is no lung in it."""

    name: str
    features: Callable[[Material], Features]
    needs_lungs: bool = False
    judged: bool = False


VIEWS = (
    View("metadata", _metadata, judged=True),
    View("border", lambda m: described(only_edges(m.pixels)), judged=True),
    View("outside the lungs' box", _masked(outside_box), needs_lungs=True, judged=True),
    View("background", _masked(without_lungs), needs_lungs=True, judged=True),
    View("histogram", lambda m: histogram(m.pixels)),
    View("thumbnail", lambda m: thumbnails(m.pixels)),
    View("lungs' box", _masked(lungs_box), needs_lungs=True),
    View("lungs", _masked(only_lungs), needs_lungs=True),
    View("full image", lambda m: described(m.pixels)),
)


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of the probe to every view of one model's images, by the view's name.

    `validation` holds those on which views are chosen (none without validation images), `test`
    those on which they are judged, `lacking` the reason why a view could not be made. `note` says
    how many images are in no view; `n_test` are in every one.
    """

    validation: dict[str, Predictions]
    test: dict[str, Predictions]
    lacking: dict[str, str]
    note: str
    n_test: int

    def best_blind_view(self) -> tuple[str, float] | None:
        """Return the view without a lung that does best on validation images, with its AUC there.

        None without such.
        """
        names = [v.name for v in VIEWS if v.judged and v.name in self.validation]
        areas = [(name, macro_auc(self.validation[name]).value) for name in names]
        defined = [(name, auc) for name, auc in areas if auc == auc]
        return max(defined, key=lambda best: best[1], default=None)


@lru_cache(maxsize=1)
def answers_of(subject: Subject) -> Answers:
    """Let the probe learn every view of a model's training images, and ask it about the others.

    Every view is of the same images. Where the lungs were looked for, those in which they were
    not found are left out of all views; where not, the views that need them could not be had.
    """
    material, note = _reduced(subject.material, subject.labels)
    rows = {part: material.rows(part) for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)}
    for part in (Split.TRAIN, Split.TEST):
        if not len(rows[part]):
            raise HurdleError(
                f"no image of the {part.value} part is left ({note or 'none given'})."
            )
    answers = Answers({}, {}, {}, note, len(rows[Split.TEST]))
    for view in VIEWS:
        if view.needs_lungs and material.masks is None:
            answers.lacking[view.name] = (
                "the lungs were not found; segment them (`hurdles segment`)"
            )
            continue
        features = view.features(material)
        if not features.shape[1]:
            answers.lacking[view.name] = (
                "neither the manifest nor the files tell these images apart"
            )
            continue
        validation, test = _answers(features, material, rows, subject.labels)
        answers.test[view.name] = test
        if validation is not None:
            answers.validation[view.name] = validation
    return answers


def _reduced(material: Material, labels: tuple[str, ...]) -> tuple[Material, str]:
    """Return small images of the model's classes, with lungs if they were found; and who is not."""
    size = min(_SIZE, material.pixels.shape[1])
    kept = np.isin(material.labels, labels)
    masks, usable = None, np.ones(len(material), dtype=bool)
    if material.masks is not None and material.masks.any():
        masks = resized(material.masks.astype(np.uint8) * 255, size) > 127
        usable = blankable(masks)
    taken = np.flatnonzero(kept & usable)
    if not len(taken):
        raise HurdleError("no image of the model's classes has lungs that were found.")
    lost = int((kept & ~usable).sum())
    small = replace(material, masks=masks, pixels=resized(material.pixels, size))
    note = f"{lost} of {int(kept.sum())} images left out: their lungs were not found"
    return small.take(taken), note if lost else ""


def _answers(
    features: Features,
    material: Material,
    rows: dict[Split, NDArray[np.int64]],
    labels: tuple[str, ...],
) -> tuple[Predictions | None, Predictions]:
    """Return the answers to one view's validation images, if there are any, and test images."""
    train, others = rows[Split.TRAIN], np.concatenate([rows[Split.VALIDATION], rows[Split.TEST]])
    known = material.labels[train]
    predicted = fit_predict(
        features[train], known, material.groups[train], features[others], seed=material.seed
    )
    probability = np.zeros((len(others), len(labels)))
    probability[:, [labels.index(name) for name in np.unique(known)]] = predicted
    n = len(rows[Split.VALIDATION])
    test = material.take(others[n:]).predictions(labels, probability[n:])
    if not n:
        return None, test
    return material.take(others[:n]).predictions(labels, probability[:n]), test
