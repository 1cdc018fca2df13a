"""Nested views: one small probe learns the task from less and less of the image.

The probe is the same for every view and knows little: edge directions, a thumbnail, a histogram,
and a straight line through them. It learns on the model's training images and is judged on the
model's test images, so that what it reaches without any lung was there for the model to take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.blanking import (
    blankable,
    lungs_box,
    only_edges,
    only_lungs,
    outside_box,
    without_lungs,
)
from hurdles.auditing.descriptors import histogram, shapes
from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Material
from hurdles.auditing.of_data.attributes import attributes_of
from hurdles.auditing.probing import class_aucs, extremes, joined_level, said_of, simultaneous
from hurdles.auditing.subject import Subject
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc, share_above_chance
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import fit_predict
from hurdles.explanation.probe import thumbnails
from hurdles.findings.finding import Finding
from hurdles.findings.limits import limit_for

__all__ = ["views"]

Bytes = NDArray[np.uint8]
Features = NDArray[np.floating]

#: Views are made at this size, in pixels: twice what the probe looks at.
_SIZE = 128
_SHOWN = 2
_ADVICE = (
    "The class can be told without the lungs, so the model may do so: look at the images shown, "
    "remove what gives the class away, or show the model the lungs only (preparation 'masked')."
)
_LUNGS = "Shown, not judged: the lungs, or traces of them, are in this view."


@dataclass(frozen=True)
class _View:
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


def _described(pixels: Bytes) -> Features:
    """Return what the probe knows of any view, shape (n, 864)."""
    return np.hstack([shapes(pixels), thumbnails(pixels), histogram(pixels)])


def _metadata(material: Material) -> Features:
    known = [attribute.features for attribute in attributes_of(material)]
    return np.hstack(known) if known else np.empty((len(material), 0))


def _masked(alter: Callable[[Bytes, NDArray[np.bool_]], Bytes]) -> Callable[[Material], Features]:
    def features(material: Material) -> Features:
        assert material.masks is not None
        return _described(alter(material.pixels, material.masks))

    return features


_VIEWS = (
    _View("metadata", _metadata, judged=True),
    _View("border", lambda m: _described(only_edges(m.pixels)), judged=True),
    _View("outside the lungs' box", _masked(outside_box), needs_lungs=True, judged=True),
    _View("background", _masked(without_lungs), needs_lungs=True, judged=True),
    _View("histogram", lambda m: histogram(m.pixels)),
    _View("thumbnail", lambda m: thumbnails(m.pixels)),
    _View("lungs' box", _masked(lungs_box), needs_lungs=True),
    _View("lungs", _masked(only_lungs), needs_lungs=True),
    _View("full image", lambda m: _described(m.pixels)),
)
_JUDGED = sum(view.judged for view in _VIEWS)


@model_hurdle("views", question="How much of this task can be done without any lung?")
def views(subject: Subject) -> Iterator[Finding]:
    """Yield the probe's area on each view, then the share of the model's that needs no lung.

    Every view is of the same images. Where the lungs were looked for, those in which they were
    not found are left out of all views; where not, the views that need them could not be had.

    Parameters
    ----------
    subject : Subject
        The model, its images with their split, and its answers.
    """
    material, note = _reduced(subject.material, subject.labels)
    lungs = material.masks is not None
    rows = {part: material.rows(part) for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)}
    for part in (Split.TRAIN, Split.TEST):
        if not len(rows[part]):
            raise HurdleError(
                f"no image of the {part.value} part is left ({note or 'none given'})."
            )
    said: dict[str, _Said] = {}
    for view in _VIEWS:
        if view.needs_lungs and not lungs:
            why = "the lungs were not found; segment them (`hurdles segment`)"
            yield _finding(view, undefined(why, n_images=len(rows[Split.TEST])))
            continue
        features = view.features(material)
        if not features.shape[1]:
            why = "neither the manifest nor the files tell these images apart"
            yield _finding(view, undefined(why, n_images=len(rows[Split.TEST])))
            continue
        said[view.name] = one = _asked(features, material, rows, subject.labels)
        level = joined_level(material.level, _JUDGED) if view.judged else material.level
        found = macro_auc(one.test, level=level)
        found = simultaneous(found, _JUDGED) if view.judged else found
        yield _finding(view, _noted(found, note), one)
    yield _share(subject, said, note)


@dataclass(frozen=True, eq=False)
class _Said:
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
) -> _Said:
    train, asked = rows[Split.TRAIN], np.concatenate([rows[Split.VALIDATION], rows[Split.TEST]])
    known = material.labels[train]
    told = fit_predict(
        features[train], known, material.groups[train], features[asked], seed=material.seed
    )
    probability = np.zeros((len(asked), len(labels)))
    probability[:, [labels.index(name) for name in np.unique(known)]] = told
    n = len(rows[Split.VALIDATION])
    test = said_of(material.take(asked[n:]), probability[n:], labels)
    return _Said(said_of(material.take(asked[:n]), probability[:n], labels) if n else None, test)


def _finding(view: _View, found: Estimate, said: _Said | None = None) -> Finding:
    return Finding(
        "views",
        view.name,
        "AUC of a small probe that sees this view only (0.5 is chance)",
        found,
        limit_for("views", view.name) if view.judged else None,
        _ADVICE if view.judged else _LUNGS,
        extremes(said.test, _SHOWN, view.name) if said is not None and view.judged else (),
        {} if said is None else {"auc_by_class": class_aucs(said.test)},
    )


def _share(subject: Subject, said: dict[str, _Said], note: str) -> Finding:
    """Compare the best view without lungs, chosen on validation images, with the model itself."""
    chosen, inside = "", -np.inf
    for view in _VIEWS:
        one = said.get(view.name)
        if view.judged and one is not None and one.validation is not None:
            area = macro_auc(one.validation)
            if area.is_defined and area.value > inside:
                chosen, inside = view.name, area.value
    subject_name, level = "without any lung", subject.material.level
    statistic = "share of what the model's AUC has above chance that needs no lung"
    if not chosen:
        none = undefined("there are no validation images to choose a view on", level=level)
        return Finding("views", subject_name, statistic, none, None, _ADVICE)
    part = said[chosen].test
    own = subject.test.frame
    whole = Predictions(own[own["image"].isin(part.frame["image"])].reset_index(drop=True))
    share = share_above_chance(part, whole, level=level)
    details = {
        "view": chosen,
        "auc_on_validation": inside,
        "auc_of_view": macro_auc(part, level=level).to_dict(),
        "auc_of_model": macro_auc(whole, level=level).to_dict(),
    }
    words = f"{statistic} ({chosen}, the best such view on validation images)"
    return Finding("views", subject_name, words, _noted(share, note), None, _ADVICE, (), details)


def _noted(estimate: Estimate, note: str) -> Estimate:
    return replace(estimate, note="; ".join(filter(None, (estimate.note, note))))
