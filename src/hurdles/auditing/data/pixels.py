"""Pixels: the class told from a glance at borders, corners, sharpness, noise and compression.

A disease of the lungs changes the lungs, and with them the histogram, the mean and a thumbnail:
these are shown. What is judged is where no such disease can be: the borders, the corners, and how
sharp, noisy and compressed an image is away from the lungs. Automatic exposure carries a little of
the lungs there too; how much, the limit says, which comes from cohorts with disease and without a
shortcut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
from hurdles.evaluation.probing import thumbnails
from hurdles.findings.finding import Finding
from hurdles.findings.limits import limit_for
from hurdles.pixels.prepare import BLANK_MARGIN, grown

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
    "pixels", question="Can the class be told from borders, corners, or how the image was made?"
)
def pixels(material: Material) -> Iterator[Finding]:
    """Probe for the class: nine looks at the pixels, of which five are judged, together."""
    inside, where = away_from_lungs(material)
    has_lungs = material.masks is not None and material.masks.any()
    away = " away from the lungs" if has_lungs else " in the outer eighth of the image"
    for look in _LOOKS:
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
