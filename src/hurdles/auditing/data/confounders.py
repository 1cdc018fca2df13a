"""Confounders: the class told from table, file header or a glance at pixels away from the lungs.

A disease of the lungs changes the lungs, and with them the histogram, the mean and a thumbnail:
these are shown. What is judged is where no such disease can be: the borders, the corners, and how
sharp, noisy and compressed an image is away from the lungs. Automatic exposure carries a little of
the lungs there too; how much, the limit says, which comes from cohorts with disease and without a
shortcut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.attributes import attributes_of, left_out
from hurdles.auditing.descriptors import (
    borders,
    compression,
    corners,
    frame,
    gray_statistics,
    histogram,
    noise,
    sharpness,
    symmetry,
)
from hurdles.auditing.hurdle import data_hurdle
from hurdles.auditing.material import Material
from hurdles.auditing.probing import class_probe
from hurdles.errors import HurdleError
from hurdles.evaluation.estimate import undefined
from hurdles.evaluation.probing import thumbnails
from hurdles.findings.finding import Beyond, Finding, Limit, Scale, counted
from hurdles.findings.limits import limit_for
from hurdles.pixels.prepare import BLANK_MARGIN, grown

#: Of more images some are drawn, whole patients: an interval of 0.02 is narrow enough.
MOST_IMAGES = 4000
_STATISTIC = "AUC of telling the class from {} (0.5 is chance), mean over classes"
_APART = Limit(
    1.0,
    "by definition: where no source has images of two classes, class and source are one thing",
    Beyond.BELOW,
)
_ADVICE = {
    "source": "Take all classes from the same hospitals, or test where the sources are others.",
    "age": "Match ages between classes, or report each age group by itself.",
    "sex": "Match sexes between classes, or report each by itself.",
    "bytes_per_pixel": "How far a file could be compressed tells noise, sharpness and borders: if "
    "one program wrote all files, these differ between the classes; see the hurdle pixels.",
    "view": "Keep one view, or match views between classes: AP tells that somebody lay in bed.",
}
_HEADER = (
    "Export all images by one program from their originals; where that does not help, the classes "
    "come from different places."
)
_OTHER = "Match this between classes, or report its values by themselves."


@data_hurdle(
    "confounders", question="Can the class be told from where, how and of whom an image was made?"
)
def confounders(material: Material) -> Iterator[Finding]:
    """Find columns and header fields from which the class can be told.

    Each is asked by itself, and all together, by a line that has not seen the patient
    (`hurdles.auditing.probing.class_probe`); intervals are simultaneous. What these are is
    decided in `hurdles.auditing.attributes`.
    """
    if len(np.unique(material.labels)) < 2:
        raise HurdleError("all images have one class; there is nothing to tell apart.")
    yield _coincidence(material)
    attributes = attributes_of(material)
    several = len(attributes) > 1
    of = len(attributes) + several
    rows = _drawn(material)
    images = material.take(rows)
    for attribute in attributes:
        column = attribute.values.columns[0]
        own = column in material.manifest.frame  # not a header field
        finding = class_probe(
            images,
            attribute.features[rows],
            hurdle="confounders",
            subject=attribute.name,
            statistic=_STATISTIC.format("this alone"),
            advice=_ADVICE.get(column, _OTHER if own else _HEADER),
            of=of,
            limit=limit_for("confounders"),
        )
        details = finding.details | {"by_class": attribute.by_class(material.labels)}
        yield replace(finding, details=details)
    if several:
        finding = class_probe(
            images,
            np.hstack([each.features[rows] for each in attributes]),
            hurdle="confounders",
            subject="all of them together",
            statistic=_STATISTIC.format("all of these"),
            advice="A model that is no better than this has shown nothing about lungs.",
            of=of,
            limit=limit_for("confounders"),
        )
        names = [each.name for each in attributes]
        details = finding.details | {"attributes": names, "left_out": left_out(material)}
        yield replace(finding, details=details)


def _coincidence(material: Material) -> Finding:
    frame = material.manifest.frame
    known = frame[frame["source"].notna()]
    table = known.groupby(["source", "label"]).size().unstack(fill_value=0)
    if len(table) < 2:
        why = (
            f"{'only one source is' if len(table) else 'no source is'} named; if the images were "
            "put together from several, say which in the column 'source'"
        )
        sources = undefined(why, level=material.level, n_images=len(frame))
    else:
        patients = len(set(material.groups[frame["source"].notna()]))
        mixed = int((table > 0).sum(axis=1).gt(1).sum())
        sources = counted(mixed, n_images=len(known), n_patients=patients)
    return Finding(
        "confounders",
        "class and source",
        "sources that have images of more than one class",
        sources,
        _APART,
        "Nothing measured on these images alone can show that a model reads lungs. Add images of "
        "every class from each source, or test on sources that have all classes.",
        details={"images": table.to_dict("index")},
        scale=Scale.COUNT,
    )


def _drawn(material: Material) -> NDArray[np.int64]:
    """Return the rows that are asked: all, or those of patients drawn until there are enough."""
    if len(material) <= MOST_IMAGES:
        return np.arange(len(material))
    patients, of = np.unique(material.groups, return_inverse=True)
    turn = np.random.default_rng(material.seed).permutation(len(patients))
    images = np.bincount(of)
    taken = np.zeros(len(patients), dtype=bool)
    taken[turn[np.cumsum(images[turn]) <= MOST_IMAGES]] = True
    return np.flatnonzero(taken[of])


Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

#: What counts as away from the lungs where nobody looked for them: so much on every side.
_FRAME = 1 / 8
_SHOWN = 2


class _Look(NamedTuple):
    """One way to look at an image, from pixels (and, `away` from the lungs, a mask) to features.

    It is `judged` where no disease can be what is told.
    """

    subject: str
    describe: Callable[..., NDArray[np.float32]]
    advice: str = "Shown, not judged: a disease of the lungs can change this too."
    away: bool = False
    judged: bool = True


_LOOKS = (
    _Look(
        "borders",
        borders,
        "Look at the edges of the images shown: frames and collimation differ by class; crop them, "
        "or take all classes from the same source.",
    ),
    _Look(
        "corners",
        corners,
        "Look at the corners of the images shown: markers, or how much of shoulder and arm is in "
        "the picture, differ by class; crop to the lungs, or take all classes from one source.",
    ),
    _Look(
        "sharpness",
        sharpness,
        "Classes differ in sharpness away from the lungs, as by resizing or another detector; "
        "start from files of the same size and processing.",
        away=True,
    ),
    _Look(
        "noise",
        noise,
        "Classes differ in noise away from the lungs, as by dose, detector or smoothing; take all "
        "classes from the same source.",
        away=True,
    ),
    _Look(
        "compression",
        compression,
        "Classes differ in traces of compression; start from files that were stored in one way.",
        away=True,
    ),
    _Look("histogram", histogram, judged=False),
    _Look("mean and contrast", gray_statistics, judged=False),
    _Look("symmetry", symmetry, judged=False),
    _Look("thumbnail", thumbnails, judged=False),
)

_JUDGED = sum(look.judged for look in _LOOKS)


@data_hurdle(
    "pixels",
    question="Can the class be told from borders, corners, or how the image was made?",
    cost=lambda material, _: 0.0035 * len(material),
)
def pixels(material: Material) -> Iterator[Finding]:
    """Probe for the class: nine looks at the pixels, of which five are judged, together."""
    inside, where = away_from_lungs(material)
    has_lungs = material.masks is not None and material.masks.any()
    away = " away from the lungs" if has_lungs else " in the outer eighth of the image"
    for look in _LOOKS:
        if material.judged_only and not look.judged:
            continue
        images = inside if look.away else material
        features = (
            look.describe(images.pixels, where) if look.away else look.describe(images.pixels)
        )
        place = away if look.away else ""
        yield class_probe(
            images,
            features,
            hurdle="pixels",
            subject=look.subject,
            statistic=f"AUC of telling the class from {look.subject}{place} (0.5 is chance)",
            advice=look.advice,
            of=_JUDGED if look.judged else 1,
            limit=limit_for("pixels", look.subject) if look.judged else None,
            shown=_SHOWN,
        )


def away_from_lungs(material: Material) -> tuple[Material, Flags]:
    """Return images, and which of their pixels lie away from the lungs."""
    if material.masks is not None and material.masks.any():
        away = np.zeros(material.masks.shape, dtype=bool)
        for row in np.flatnonzero(material.has_lungs):
            away[row] = ~grown(material.masks[row], BLANK_MARGIN)
        kept = np.asarray(away.any(axis=(1, 2)))
        if kept.any():
            return (material, away) if kept.all() else (material.take(kept), away[kept])
    edge = frame(material.pixels.shape[1], _FRAME)
    return material, np.broadcast_to(edge, material.pixels.shape)
