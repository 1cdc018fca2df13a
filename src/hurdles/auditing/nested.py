"""Nested views: images from which more and more is taken away, and a small probe that sees them.

What is taken away becomes the mean gray of what is left, so that its own brightness is gone; where
it was cannot be hidden, but `outside_box` leaves of the outline no more than a box.

The probe is the same for every view and knows little: edge directions, a thumbnail, a histogram,
and a logistic regression on them. It learns on the training images of a model and is asked about
its validation and test images; where no training images are known, it learns crosswise on the test
images, no patient's from their own. Several hurdles look at its answers; they are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.attributes import attributes_of
from hurdles.auditing.descriptors import frame, histogram, resized, shapes
from hurdles.auditing.material import Material, Subject
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError, LungsNotFoundError
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import fit_predict, out_of_fold, thumbnails
from hurdles.pixels.prepare import BLANK_MARGIN, CROP_MARGIN, as_bytes, box_of, grown, stepped

Bytes = NDArray[np.uint8]
Features = NDArray[np.floating]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

#: Views are made at this size, in pixels: twice what the probe looks at.
_SIZE = 128
#: The view that sees no pixel.
_TABLE = "metadata"
#: Of each side, the depth that is left of the edges.
_EDGES = 1 / 12


def without_lungs(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images whose lungs, with a margin around them, are blank: as ``background`` does."""
    return _altered(pixels, masks, lambda image, mask: stepped("background", image, mask).pixels)


def only_lungs(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images of nothing but the lungs, whose grays fill the scale: as ``masked`` does."""
    return _altered(pixels, masks, lambda image, mask: stepped("masked", image, mask).pixels)


def lungs_box(pixels: Bytes, masks: Flags) -> Bytes:
    """Return the lungs' box with a margin, stretched to the whole image: as ``cropped`` does."""
    return _altered(pixels, masks, lambda image, mask: stepped("cropped", image, mask).pixels)


def outside_box(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images in which the lungs' box with a margin is blank."""

    def blank(image: Floats, mask: Flags) -> Floats:
        inside = np.zeros(mask.shape, dtype=bool)
        inside[box_of(mask, CROP_MARGIN)] = True
        gray = image[~inside].mean(dtype=np.float64) if not inside.all() else 0.5
        return np.where(inside, np.float32(gray), image)

    return _altered(pixels, masks, blank)


def only_edges(pixels: Bytes) -> Bytes:
    """Return images of which a twelfth on every side is left."""
    inside = ~frame(pixels.shape[1], _EDGES)
    edges = pixels[:, ~inside].mean(axis=1)
    altered = pixels.copy()
    altered[:, inside] = np.rint(edges).astype(np.uint8)[:, None]
    return altered


def blankable(masks: Flags) -> Flags:
    """Return in which images lungs were found that leave something outside, shape (n,)."""
    able = np.asarray(masks.any(axis=(1, 2)))
    for row in np.flatnonzero(able):
        able[row] = not grown(masks[row], BLANK_MARGIN).all()
    return able


def _altered(pixels: Bytes, masks: Flags, alter: Callable[[Floats, Flags], Floats]) -> Bytes:
    altered = np.empty_like(pixels)
    for row, (image, mask) in enumerate(zip(pixels, masks, strict=True)):
        try:
            altered[row] = as_bytes(alter(image.astype(np.float32) / 255, mask), len(image))
        except (LungsNotFoundError, ValueError) as error:
            raise HurdleError(f"row {row} of {len(pixels)}: {error}") from error
    return altered


def described(pixels: Bytes) -> Features:
    """Return what the probe knows of any view: edge directions, a thumbnail and a histogram."""
    return np.hstack([shapes(pixels), thumbnails(pixels), histogram(pixels)])


def _metadata(material: Material) -> Features:
    known = [attribute.features for attribute in attributes_of(material)]
    return np.hstack(known) if known else np.empty((len(material), 0))


def _masked(alter: Callable[[Bytes, Flags], Bytes]) -> Callable[[Material], Features]:
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
    View(_TABLE, _metadata, judged=True),
    View("border", lambda m: described(only_edges(m.pixels)), judged=True),
    View("outside the lungs' box", _masked(outside_box), needs_lungs=True, judged=True),
    View("background", _masked(without_lungs), needs_lungs=True, judged=True),
    View("histogram", lambda m: histogram(m.pixels)),
    View("thumbnail", lambda m: thumbnails(m.pixels)),
    View("lungs' box", _masked(lungs_box), needs_lungs=True),
    View("lungs", _masked(only_lungs), needs_lungs=True),
    View("full image", lambda m: described(m.pixels)),
)


def views_of(material: Material) -> tuple[View, ...]:
    """Return the views that the probe is shown: all, or those that are judged."""
    return tuple(view for view in VIEWS if view.judged or not material.judged_only)


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

    def best_blind_view(self, *, of_pixels: bool = False) -> tuple[str, float] | None:
        """Return the view without a lung that does best on validation images, with its AUC there.

        None without such. If `of_pixels`, only those that images without a table have, too.
        """
        judged = [v.name for v in VIEWS if v.judged and not (of_pixels and v.name == _TABLE)]
        names = [name for name in judged if name in self.validation]
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
    if not len(subject.material.rows(Split.TRAIN)):
        crosswise = (
            "no training images were given: the probe learnt crosswise on the test images, and the "
            "interval does not count that from other patients it would have learnt otherwise"
        )
        note = f"{note}; {crosswise}" if note else crosswise
    elif not len(rows[Split.TRAIN]):
        raise HurdleError(f"no image of the train part is left ({note}).")
    if not len(rows[Split.TEST]):
        raise HurdleError(f"no image of the test part is left ({note or 'none given'}).")
    answers = Answers({}, {}, {}, note, len(rows[Split.TEST]))
    for view in views_of(subject.material):
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


def answers_at(
    subject: Subject, places: Sequence[Material], names: Sequence[str]
) -> list[tuple[Flags, dict[str, Features]]]:
    """Let the probe learn views as for `answers_of`, and ask it about images of other places.

    Returns for each place which of its images are in every view, bool (n,), and the probabilities
    of these by the view's name, in the order of the subject's classes. Where lungs were found in no
    image of a place, the views that need them are missing there. No class of a place is looked at.
    """
    material, _ = _reduced(subject.material, subject.labels)
    train = material.rows(Split.TRAIN)
    own = material.take(train if len(train) else material.rows(Split.TEST))
    columns = [subject.labels.index(name) for name in np.unique(own.labels)]
    smaller = [_shrunk(place, with_lungs=material.masks is not None) for place in places]
    answers: list[tuple[Flags, dict[str, Features]]] = [(kept, {}) for _, kept in smaller]
    for view in (view for view in VIEWS if view.name in names):
        able = [k for k, (images, _) in enumerate(smaller)
                if images.masks is not None or not view.needs_lungs]  # fmt: skip
        if not able:
            continue
        parts = [view.features(smaller[k][0]) for k in able]
        predicted = fit_predict(
            view.features(own), own.labels, own.groups, np.concatenate(parts), seed=material.seed
        )
        probability = np.zeros((len(predicted), len(subject.labels)))
        probability[:, columns] = predicted
        ends = np.cumsum([len(part) for part in parts])[:-1]
        for k, part in zip(able, np.split(probability, ends), strict=True):
            answers[k][1][view.name] = part
    return answers


def _shrunk(material: Material, *, with_lungs: bool) -> tuple[Material, Flags]:
    """Return small images, of which every one has lungs if any has; and which these are."""
    size = min(_SIZE, material.pixels.shape[1])
    masks, usable = None, np.ones(len(material), dtype=bool)
    if with_lungs and material.masks is not None and material.masks.any():
        masks = resized(material.masks.astype(np.uint8) * 255, size) > 127
        usable = blankable(masks)
    if not usable.any():
        masks, usable = None, np.ones(len(material), dtype=bool)
    small = replace(material, masks=masks, pixels=resized(material.pixels, size))
    return small.take(usable), usable


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
    if len(train):
        known = material.labels[train]
        predicted = fit_predict(
            features[train], known, material.groups[train], features[others], seed=material.seed
        )
    else:
        others = rows[Split.TEST]
        known, groups = material.labels[others], material.groups[others]
        rows = {**rows, Split.VALIDATION: others[:0]}
        predicted = out_of_fold(features[others], known, groups, seed=material.seed)
    probability = np.zeros((len(others), len(labels)))
    probability[:, [labels.index(name) for name in np.unique(known)]] = predicted
    n = len(rows[Split.VALIDATION])
    test = material.take(others[n:]).predictions(labels, probability[n:])
    if not n:
        return None, test
    return material.take(others[:n]).predictions(labels, probability[:n]), test
