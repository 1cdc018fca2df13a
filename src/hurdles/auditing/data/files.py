"""Files: whether each of them shows one frontal chest X-ray, as it was taken.

Faults that show in the pixels are told by simple statistics, each with a threshold; how often each
is right and wrong on real images is printed by ``bench/detectors.py``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.descriptors import resized
from hurdles.auditing.hurdle import data_hurdle
from hurdles.auditing.material import NO_CLASSES, Material
from hurdles.auditing.probing import joined_level, simultaneous
from hurdles.errors import ConstantImageError
from hurdles.evaluation.bounds import mover_difference, patient_share
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Evidence, Finding, Scale, counted, evidence_of
from hurdles.findings.limits import limit_for

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Thresholds; ``bench/detectors.py`` prints what they do.
INVERTED, NO_CHEST = -0.3, 0.2
#: Where no lungs were found in an image, it needs to look less unlike a chest to be named.
NO_LUNGS = 0.5
FRAME, MARKED, BLOCKS = 0.02, 0.001, 1.2
#: Fewer gray levels than 6 bits hold; shorter sides than any network here takes.
LEVELS, TINY = 64, 100
_FRONTAL = frozenset({"CR", "DX", "RG", "XC", "OT", "SC"})
_SHOWN = 12
#: Side of the thumbnails that are compared with a chest, and their middle.
_GRID, _INNER = 16, slice(2, 14)
#: A line of pixels along an edge belongs to a frame if nine tenths of it lie within so many levels.
_EVEN = 8
#: Marks are sought in this share of the image along every edge ...
_OUTER = 0.3
#: ... as strokes that stand out by so many levels from what is around them.
_STROKE = 60


@data_hurdle(
    "files",
    question="Does every file show one frontal chest X-ray, as it was taken?",
    cost=lambda material, _: 0.0008 * len(material),
)
def files(material: Material) -> Iterator[Finding]:
    """Find files that cannot be read, show something else, or bear marks that tell the class.

    What is wrong by definition is counted, and one is too many. What is told from pixels is held
    against the detector's own false alarms. Marks are in most X-rays (an L, a frame): they are
    judged by how much their share differs between classes.

    ``bench/detectors.py`` measured, without lungs: of 2,923 frontal X-rays of five collections 1 is
    called inverted, and between 95.7 and 99.5 % of a collection once they are inverted; 34 are
    called no frontal chest (19 of these in one collection of 600). Of lateral views 43 of 55 are
    found, of CT only 8 of 63: for these, look for the lungs.
    """
    yield from _unread(material)
    yield from _headers(material)
    pixels = material.pixels
    likeness = chest_likeness(pixels)
    yield _flagged(
        material,
        "inverted",
        is_inverted(likeness),
        "images in which bone is dark, as a share",
        "Invert them back; where the file is DICOM, read its photometric interpretation.",
        score=likeness,
    )
    has_lungs = None if material.masks is None else np.asarray(material.masks.any(axis=(1, 2)))
    yield _flagged(
        material,
        "not a frontal chest",
        is_no_chest(likeness, has_lungs),
        "images that look like a lateral view, a CT or no chest, as a share",
        "Look at them and leave out what is not a frontal chest X-ray.",
        score=np.abs(likeness),
    )
    levels = [np.count_nonzero(np.bincount(image.ravel(), minlength=256)) for image in pixels]
    yield _flagged(
        material,
        "few grey levels",
        np.array(levels) < LEVELS,
        f"images with fewer than {LEVELS} grey levels",
        "Export them again from the original with at least 8 bits, and over the whole range: a "
        "picture of 12 bits in a file of 16, or a DICOM window far wider than the values, uses few "
        "of them.",
        text=f"below {LEVELS} levels",
    )
    yield _identical(material)
    yield from _marks(material)


def _unread(material: Material) -> Iterator[Finding]:
    """Yield what could not be read, and what was left out before."""
    constant = {n: e for n, e in material.failures.items() if isinstance(e, ConstantImageError)}
    damaged = {n: e for n, e in material.failures.items() if n not in constant}
    total = len(material) + len(material.failures)
    for subject, statistic, failed in (
        ("unreadable", "files that cannot be read", damaged),
        ("constant", "images with one grey level only", constant),
    ):
        kinds = Counter(type(error).__name__.removesuffix("Error") for error in failed.values())
        evidence = [Evidence(n, e.message, str(e.path or "")) for n, e in failed.items()]
        yield Finding(
            "files",
            subject,
            statistic,
            counted(len(failed), n_images=total),
            limit_for("files"),
            "Fetch them again, or take them out of the table; a report says how many were lost.",
            tuple(evidence[:_SHOWN]),
            {"kinds": dict(kinds)} if kinds else {},
            scale=Scale.COUNT,
        )
    paths = {str(e.path) for e in material.failures.values() if e.path is not None}
    left = material.manifest.exclusions
    left = left[~left["path"].isin(paths)]
    if len(left):
        yield Finding(
            "files",
            "left out",
            "files that were left out before, with the reason",
            counted(len(left), n_images=total + len(left)),
            None,
            "See that none of them is left out by mistake.",
            tuple(Evidence(Path(p).name, r, p) for p, r in left.head(3).to_numpy()),
            {"reasons": dict(Counter(left["reason"]).most_common(_SHOWN))},
            scale=Scale.COUNT,
        )


def _headers(material: Material) -> Iterator[Finding]:
    facts, frame = material.facts, material.manifest.frame
    if {"height", "width"} <= set(facts.columns):
        yield _flagged(
            material,
            "tiny",
            facts[["height", "width"]].min(axis=1).to_numpy() < TINY,
            f"images of fewer than {TINY} pixels on the shorter side",
            "Fetch the originals: so small a copy is a thumbnail.",
            text=f"below {TINY} pixels",
        )
    other = (frame["view"] == "LL").to_numpy()
    if "modality" in facts:
        no_xray = facts["modality"].notna() & ~facts["modality"].isin(_FRONTAL)
        other = other | no_xray.to_numpy()
    yield _flagged(
        material,
        "other views",
        other,
        "images that table or header call lateral, or no X-ray",
        "Leave them out: they are told from frontal X-rays at a glance.",
        text="by table or header",
    )


def _identical(material: Material) -> Finding:
    prints = [hashlib.blake2b(p.tobytes(), digest_size=16).digest() for p in material.pixels]
    copies = pd.Series(prints).duplicated(keep=False).to_numpy()
    images = material.manifest.frame["image"]
    rows = sorted(np.flatnonzero(copies).tolist(), key=lambda row: prints[row])
    texts = []
    for row in rows[:_SHOWN]:
        same = [other for other in rows if prints[other] == prints[row]]
        texts.append(f"the same pixels as {images[same[-1] if row == same[0] else same[0]]}")
    return _flagged(
        material,
        "identical",
        copies,
        "images whose pixels are those of another image",
        "Keep one of each; the hurdle duplicates finds those that were altered, too.",
        evidence=evidence_of(material.manifest.frame, rows[:_SHOWN], texts),
    )


def _flagged(
    material: Material,
    subject: str,
    flags: Flags,
    statistic: str,
    advice: str,
    *,
    text: str = "",
    evidence: tuple[Evidence, ...] | None = None,
    score: Floats | None = None,
) -> Finding:
    """Count flagged images; where a score of their pixels tells them, return their share.

    A share is held against the detector's false alarms, and its interval is exact because one end
    of it decides.
    """
    rows = np.flatnonzero(flags)
    if score is None:
        patients = len(set(material.groups))
        estimate = counted(int(flags.sum()), n_images=len(material), n_patients=patients)
    else:
        rows = rows[np.argsort(score[rows], kind="stable")]
        estimate = patient_share(flags, material.groups, level=material.level, exact=True)
    if evidence is None:
        evidence = evidence_of(material.manifest.frame, rows[:_SHOWN], text or subject)
    return Finding(
        "files",
        subject,
        statistic,
        estimate,
        limit_for("files") if score is None else limit_for("appearance", subject),
        advice,
        evidence,
        _by_class(material, flags),
        scale=Scale.COUNT if score is None else Scale.SHARE,
    )


def _by_class(material: Material, flags: Flags) -> dict[str, Any]:
    if not material.manifest.has_classes:
        return {}
    labels = material.labels
    counts = {
        c: {"images": int((labels == c).sum()), "found": int(flags[labels == c].sum())}
        for c in material.manifest.labels
    }
    return {"by_class": counts}


def _marks(material: Material) -> Iterator[Finding]:
    pixels, facts = material.pixels, material.facts
    sides = None
    if {"height", "width"} <= set(facts.columns):
        sides = facts[["height", "width"]].max(axis=1).to_numpy(dtype=np.float64)
    blocks, everywhere = blockiness(pixels, sides), np.ones(len(pixels), dtype=bool)
    marked, framed = marked_share(pixels) > MARKED, frame_width(pixels) >= FRAME
    classes = len(material.manifest.labels)
    of = 3 * (classes if classes > 2 else 1)
    for subject, flags, known, text in (
        (
            "text burnt in",
            marked,
            everywhere,
            "bright strokes of the size of letters near the edge",
        ),
        ("frame", framed, everywhere, "even bands along two edges or more"),
        ("JPEG blocks", blocks > BLOCKS, ~np.isnan(blocks), "the 8 x 8 blocks of JPEG"),
    ):
        yield _differing(material, subject, flags, known, text, of)


def _differing(
    material: Material, subject: str, flags: Flags, known: Flags, text: str, of: int
) -> Finding:
    """Return by how much a mark's share in one class differs from that in the others.

    Of several classes, the one that differs most surely; the interval allows for the choice.
    """
    limit = limit_for("appearance", "marks")
    finding = Finding(
        "files",
        subject,
        f"difference between classes in the share of images with {text}",
        undefined("only one class can be asked"),
        limit,
        "Crop or blank it in all images, or take all classes from where it is equally common.",
        scale=Scale.DIFFERENCE,
    )
    if not material.manifest.has_classes:
        return replace(finding, estimate=undefined(NO_CLASSES), limit=None)
    labels = material.labels
    classes = [c for c in material.manifest.labels if known[labels == c].any()]
    if len(classes) < 2:
        if subject != "JPEG blocks":
            return finding
        why = "the images were resized, and blocks with them; see JPEG quality in confounders"
        return replace(finding, estimate=undefined(why))
    groups, level = material.groups[known], joined_level(material.level, of)
    differences = [
        (c, _difference(groups, flags[known], (labels == c)[known], level))
        for c in (classes if len(classes) > 2 else classes[:1])
    ]

    def rank(pair: tuple[str, Estimate]) -> tuple[float, float, float]:
        # A hit speaks for all classes; where none is, that which could yet differ most does.
        _, difference = pair
        return max(difference.low - limit.value, 0.0), difference.high, difference.value

    label, most = max(differences, key=rank)
    rows = np.flatnonzero(flags & known)
    shown = rows[:: max(1, len(rows) // _SHOWN)][:_SHOWN]
    return replace(
        finding,
        estimate=simultaneous(most, of),
        evidence=evidence_of(material.manifest.frame, shown, text),
        details=_by_class(material, flags & known) | {"class": label},
    )


def _difference(groups: NDArray[np.str_], flags: Flags, inside: Flags, level: float) -> Estimate:
    """Return |share inside - share outside|; its lower bound is below 0 where it may be none."""
    sides = [patient_share(flags[s], groups[s], level=level) for s in (inside, ~inside)]
    a, b = sorted(sides, key=lambda side: -side.value)
    low, high = mover_difference(a, b, 0.0)
    method = "MOVER of Wilson's, by patient"
    return Estimate(a.value - b.value, low, high, level, method, len(flags), len(set(groups)))


def chest_likeness(pixels: Bytes) -> Floats:
    """Return how much images look like a frontal chest X-ray with bright bone.

    The correlation of a 12 x 12 thumbnail of the middle with the mean of synthetic chests
    (`hurdles.phantom`). Near 1: a chest; near -1: an inverted one; near 0: a lateral view,
    or no chest.
    """
    thumbs = _thumbnails(pixels)
    template = _template()
    return np.asarray(thumbs @ template / thumbs.shape[1])


def _thumbnails(pixels: Bytes) -> Floats:
    small = resized(pixels, _GRID)[:, _INNER, _INNER]
    table = small.astype(np.float64).reshape(len(pixels), -1)
    table -= table.mean(axis=1, keepdims=True)
    spread = table.std(axis=1, keepdims=True)
    return np.asarray(np.divide(table, spread, out=np.zeros_like(table), where=spread > 0))


@cache
def _template() -> Floats:
    from hurdles.phantom import phantom_cohort

    mean = _thumbnails(phantom_cohort(24, seed=0, size=64).pixels).mean(axis=0)
    return np.asarray(mean / mean.std())


def is_inverted(likeness: Floats) -> Flags:
    """Return which images have dark bone, by `chest_likeness`, shape (N,)."""
    return np.asarray(likeness < INVERTED)


def is_no_chest(likeness: Floats, has_lungs: Flags | None = None) -> Flags:
    """Return which images are no frontal chest, shape (N,); inverted ones are not among them."""
    unlike = likeness < NO_CHEST
    if has_lungs is not None:
        unlike |= (likeness < NO_LUNGS) & ~has_lungs
    return np.asarray(unlike & ~is_inverted(likeness))


def frame_width(pixels: Bytes) -> Floats:
    """Return how wide the even band along the edges is, as a share of the side."""
    most = pixels.shape[1] // 4
    rest = pixels.shape[1] // 20

    def is_even(line: Bytes) -> bool:
        ordered = np.sort(line)
        return int(ordered[-1 - rest]) - int(ordered[rest]) <= _EVEN

    widths = np.zeros((len(pixels), 4))
    for i, image in enumerate(pixels):
        for j, band in enumerate((image, image[::-1], image.T, image.T[::-1])):
            # Most images end this at their first line.
            widths[i, j] = next((k for k in range(most) if not is_even(band[k])), most)
    return np.asarray(np.sort(widths, axis=1)[:, -2] / pixels.shape[1])


def marked_share(pixels: Bytes) -> Floats:
    """Return how much of the outer part is covered by bright strokes of the size of letters.

    Examples
    --------
    >>> image = np.full((1, 100, 100), 40, dtype=np.uint8)
    >>> image[0, 5:15, 10:12] = image[0, 13:15, 10:16] = 250
    >>> marked_share(image).tolist(), marked_share(image * 0).tolist()
    ([0.0028], [0.0])
    """
    import cv2

    side = pixels.shape[1]
    stroke = max(3, 2 * (side // 50) + 1)
    kernel = np.ones((stroke, stroke), dtype=np.uint8)
    inner = slice(round(_OUTER * side), round((1 - _OUTER) * side))
    shares = np.zeros(len(pixels))
    for i, image in enumerate(pixels):
        hat = cv2.morphologyEx(np.ascontiguousarray(image), cv2.MORPH_TOPHAT, kernel)
        bright = (hat > _STROKE).astype(np.uint8)
        bright[inner, inner] = 0
        count, _, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
        if count > 1:
            parts = stats[1:]
            longest = parts[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
            area = parts[:, cv2.CC_STAT_AREA]
            # Letters are neither specks of noise nor the long edge of a collimator.
            letters = (longest >= side * 0.015) & (longest <= side * 0.15) & (area >= 4)
            shares[i] = area[letters].sum() / side**2
    return shares


def blockiness(pixels: Bytes, sides: Floats | None = None) -> Floats:
    """Return how much steeper gray levels change across the 8 x 8 blocks of JPEG than within.

    NaN where an image was resized since: where the longer side of its file, in `sides`, is not
    that of its pixels.
    """
    side = pixels.shape[1]
    edge = np.arange(side - 1) % 8 == 7
    ratios = np.full(len(pixels), np.nan)
    for i, image in enumerate(pixels):
        if sides is None or sides[i] == side:
            gray = image.astype(np.int16)
            steps = [np.abs(np.diff(gray, axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
            across = sum(float(s[edge].mean()) for s in steps)
            within = sum(float(s[~edge].mean()) for s in steps)
            ratios[i] = (across + 0.1) / (within + 0.1)
    return ratios
