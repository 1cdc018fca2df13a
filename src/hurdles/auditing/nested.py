"""Nested views: what a small probe says of a task that it sees less and less of.

The probe is the same for every view and knows little: edge directions, a thumbnail, a histogram,
and a straight line through them. It learns on the model's training images and is asked about the
model's validation and test images. Several hurdles look at its answers; they are computed once.

Images with parts taken away: the lungs, all but the lungs, all but the edges.

What is taken away becomes the mean grey of what is left, so that its own brightness is gone; what
cannot be hidden is where it was; `outside_box` leaves of the outline no more than a box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.attributes import attributes_of
from hurdles.auditing.descriptors import frame, histogram, shapes
from hurdles.auditing.material import Material
from hurdles.auditing.probing import said_of
from hurdles.auditing.subject import Subject
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError, LungsNotFoundError
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import fit_predict, thumbnails
from hurdles.pixels.prepare import (
    BLANK_MARGIN,
    CROP_MARGIN,
    PREPARATIONS,
    MaskedImage,
    box_of,
    grown,
    resize_square,
)

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

_EDGES = 1 / 12


def without_lungs(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images whose lungs, with a margin around them, are blank: as ``background`` does."""
    return _each(pixels, masks, lambda image, mask: _step("background", image, mask))


def only_lungs(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images of nothing but the lungs, whose greys fill the scale: as ``masked`` does."""
    return _each(pixels, masks, lambda image, mask: _step("masked", image, mask))


def lungs_box(pixels: Bytes, masks: Flags) -> Bytes:
    """Return the lungs' box with a margin, stretched to the whole image: as ``cropped`` does."""
    return _each(pixels, masks, lambda image, mask: _step("cropped", image, mask))


def outside_box(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images in which the lungs' box with a margin is blank."""

    def one(image: NDArray[np.float32], mask: Flags) -> NDArray[np.float32]:
        inside = np.zeros(mask.shape, dtype=bool)
        inside[box_of(mask, CROP_MARGIN)] = True
        return _blank(image, inside)

    return _each(pixels, masks, one)


def only_edges(pixels: Bytes) -> Bytes:
    """Return images of which a twelfth on every side is left.

    Examples
    --------
    >>> image = np.zeros((1, 24, 24), dtype=np.uint8)
    >>> image[:, 2:-2, 2:-2] = 200
    >>> int(only_edges(image).max())
    0
    """
    inside = ~frame(pixels.shape[1], _EDGES)
    edges = pixels[:, ~inside].mean(axis=1)
    found = pixels.copy()
    found[:, inside] = np.rint(edges).astype(np.uint8)[:, None]
    return found


def blankable(masks: Flags) -> Flags:
    """Return in which images lungs were found that leave something outside, shape (n,)."""
    found = np.asarray(masks.any(axis=(1, 2)))
    for row in np.flatnonzero(found):
        found[row] = not grown(masks[row], BLANK_MARGIN).all()
    return found


def _blank(image: NDArray[np.float32], inside: Flags) -> NDArray[np.float32]:
    grey = image[~inside].mean(dtype=np.float64) if not inside.all() else 0.5
    return np.where(inside, np.float32(grey), image)


def _step(name: str, image: NDArray[np.float32], mask: Flags) -> NDArray[np.float32]:
    view = MaskedImage(image, mask)
    for step in PREPARATIONS.get(name):
        view = step.apply(view)
    return view.pixels


def _each(
    pixels: Bytes,
    masks: Flags,
    one: Callable[[NDArray[np.float32], Flags], NDArray[np.float32]],
) -> Bytes:
    found = np.empty_like(pixels)
    for row, (image, mask) in enumerate(zip(pixels, masks, strict=True)):
        try:
            altered = one(image.astype(np.float32) / 255, mask)
        except (LungsNotFoundError, ValueError) as error:
            raise HurdleError(f"row {row} of {len(pixels)}: {error}") from error
        square = resize_square(altered, pixels.shape[1])
        found[row] = np.rint(np.clip(square, 0, 1) * 255)
    return found


Features = NDArray[np.floating]

#: Views are made at this size, in pixels: twice what the probe looks at.
_SIZE = 128


@dataclass(frozen=True)
class View:
    """One view of the images.

    Parameters
    ----------
    name : str
        As in the findings.
    features : callable
        From the reduced images to features.
    needs_lungs : bool
        Whether it can be made only of images whose lungs were found.
    judged : bool
        Whether there is no lung in it.
    """

    name: str
    features: Callable[[Material], Features]
    needs_lungs: bool = False
    judged: bool = False


def _metadata(material: Material) -> Features:
    known = [attribute.features for attribute in attributes_of(material)]
    return np.hstack(known) if known else np.empty((len(material), 0))


def _masked(alter: Callable[[Bytes, NDArray[np.bool_]], Bytes]) -> Callable[[Material], Features]:
    def features(material: Material) -> Features:
        assert material.masks is not None
        return described(alter(material.pixels, material.masks))

    return features


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
class Said:
    """What the probe says of a view.

    Parameters
    ----------
    validation : Predictions or None
        Of the images on which views are chosen; None without any.
    test : Predictions
        Of the images on which they are judged.
    """

    validation: Predictions | None
    test: Predictions


@dataclass(frozen=True, eq=False)
class Answers:
    """What the probe says of every view of one model's images.

    Parameters
    ----------
    said : dict of str to Said
        By the view's name.
    lacking : dict of str to str
        Views that could not be made, with the reason.
    note : str
        How many images are in no view, and why; empty where all are in all.
    n_test : int
        Test images of every view.
    """

    said: dict[str, Said]
    lacking: dict[str, str]
    note: str
    n_test: int


class Best(NamedTuple):
    """A view, and the AUC on validation images that it was chosen by."""

    name: str
    auc: float


def best_blind_view(answers: Answers) -> Best | None:
    """Return the view without a lung that does best on validation images; None without such."""
    areas = [
        Best(view.name, macro_auc(one.validation).value)
        for view in VIEWS
        if view.judged and (one := answers.said.get(view.name)) and one.validation is not None
    ]
    defined = [best for best in areas if best.auc == best.auc]
    return max(defined, key=lambda best: best.auc, default=None)


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
    said: dict[str, Said] = {}
    lacking: dict[str, str] = {}
    for view in VIEWS:
        if view.needs_lungs and material.masks is None:
            lacking[view.name] = "the lungs were not found; segment them (`hurdles segment`)"
            continue
        features = view.features(material)
        if features.shape[1]:
            said[view.name] = _asked(features, material, rows, subject.labels)
        else:
            lacking[view.name] = "neither the manifest nor the files tell these images apart"
    return Answers(said, lacking, note, len(rows[Split.TEST]))


def described(pixels: Bytes) -> Features:
    """Return what the probe knows of any view, edge directions, a thumbnail and a histogram."""
    return np.hstack([shapes(pixels), thumbnails(pixels), histogram(pixels)])


def _reduced(material: Material, labels: tuple[str, ...]) -> tuple[Material, str]:
    """Return small images of the model's classes, with lungs if they were found; and who is not."""
    kept = np.isin(material.labels, labels)
    masks = material.masks
    if masks is not None and masks.any():
        small_masks = _small(masks.astype(np.uint8) * 255) > 127
        usable = blankable(small_masks)
    else:
        small_masks, usable = None, np.ones(len(material), dtype=bool)
    taken = np.flatnonzero(kept & usable)
    if not len(taken):
        raise HurdleError("no image of the model's classes has lungs that were found.")
    lost = int((kept & ~usable).sum())
    bare = replace(material, masks=small_masks, pixels=_small(material.pixels))
    note = f"{lost} of {int(kept.sum())} images left out: their lungs were not found"
    return bare.take(taken), note if lost else ""


def _small(pixels: Bytes) -> Bytes:
    import cv2

    size = min(_SIZE, pixels.shape[1])
    shape = (size, size)
    return np.stack([cv2.resize(p, shape, interpolation=cv2.INTER_AREA) for p in pixels])


def _asked(
    features: Features,
    material: Material,
    rows: dict[Split, NDArray[np.int64]],
    labels: tuple[str, ...],
) -> Said:
    train, asked = rows[Split.TRAIN], np.concatenate([rows[Split.VALIDATION], rows[Split.TEST]])
    known = material.labels[train]
    told = fit_predict(
        features[train], known, material.groups[train], features[asked], seed=material.seed
    )
    probability = np.zeros((len(asked), len(labels)))
    probability[:, [labels.index(name) for name in np.unique(known)]] = told
    n = len(rows[Split.VALIDATION])
    test = said_of(material.take(asked[n:]), probability[n:], labels)
    return Said(said_of(material.take(asked[:n]), probability[:n], labels) if n else None, test)
