"""Files: whether each of them shows one frontal chest X-ray, as it was taken.

What can be seen of a file's faults in its pixels: simple statistics, each with a threshold.

How often each is right and wrong on real images is printed by ``bench/detectors.py``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.hurdle import data_hurdle
from hurdles.auditing.material import Material
from hurdles.auditing.probing import joined_level, simultaneous
from hurdles.errors import ConstantImageError, ImageError
from hurdles.evaluation.bounds import exact_bounds, mover_difference, proportion_bounds
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Evidence, Finding, Scale, counted
from hurdles.findings.limits import limit_for

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

_GRID = 16
_INNER = slice(2, 14)
#: A line of pixels along an edge belongs to a frame if nine tenths of it lie within so many levels.
_EVEN = 8
#: Marks are sought in this share of the image along every edge ...
_OUTER = 0.3
#: ... as strokes that stand out by so many levels from what is around them.
_STROKE = 60


def chest_likeness(pixels: Bytes) -> Floats:
    """Return how much images look like a frontal chest X-ray with bright bone.

    The correlation of a 12 x 12 thumbnail of the middle with the mean of synthetic chests
    (`hurdles.phantom`). Near 1: a chest; near -1: an inverted one; near 0: a lateral view,
    or no chest.

    Examples
    --------
    >>> from hurdles.phantom import phantom_cohort
    >>> chests = phantom_cohort(3, seed=5, size=64).pixels
    >>> bool((chest_likeness(chests) > 0.3).all())
    True
    >>> bool(np.allclose(chest_likeness(255 - chests), -chest_likeness(chests), atol=0.05))
    True
    """
    thumbs = _thumbnails(pixels)
    template = _template()
    return np.asarray(thumbs @ template / thumbs.shape[1])


def frame_width(pixels: Bytes) -> Floats:
    """Return how wide the even band along the edges is, as a share of the side.

    Examples
    --------
    >>> framed = np.random.default_rng(0).integers(0, 255, (1, 100, 100)).astype(np.uint8)
    >>> framed[:, :6] = framed[:, -9:] = 0
    >>> frame_width(framed).tolist()
    [0.06]
    """
    most = pixels.shape[1] // 4
    widths = np.zeros((len(pixels), 4))
    for i, image in enumerate(pixels):
        for j, band in enumerate((image, image[::-1], image.T, image.T[::-1])):
            # Most images end this at their first line.
            uneven = (k for k in range(most) if not _is_even(band[k]))
            widths[i, j] = next(uneven, most)
    return np.asarray(np.sort(widths, axis=1)[:, -2] / pixels.shape[1])


def _is_even(line: Bytes) -> bool:
    rest = len(line) // 20
    ordered = np.sort(line)
    return int(ordered[-1 - rest]) - int(ordered[rest]) <= _EVEN


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
    found = np.zeros(len(pixels))
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
            found[i] = area[letters].sum() / side**2
    return found


def blockiness(pixels: Bytes, sides: Floats | None = None) -> Floats:
    """Return how much steeper grey levels change across the 8 x 8 blocks of JPEG than within.

    Examples
    --------
    >>> blocks = np.kron(np.random.default_rng(0).integers(0, 255, (8, 8)), np.ones((8, 8)))
    >>> bool(blockiness(blocks[None].astype(np.uint8)) > 10)
    True
    """
    side = pixels.shape[1]
    edge = np.arange(side - 1) % 8 == 7
    found = np.full(len(pixels), np.nan)
    for i, image in enumerate(pixels):
        if sides is None or sides[i] == side:
            grey = image.astype(np.int16)
            steps = [np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
            across = sum(float(s[edge].mean()) for s in steps)
            within = sum(float(s[~edge].mean()) for s in steps)
            found[i] = (across + 0.1) / (within + 0.1)
    return found


def gray_levels(pixels: Bytes) -> NDArray[np.int64]:
    """Return how many different grey levels occur in each image, shape (N,).

    Examples
    --------
    >>> gray_levels(np.array([[[0, 1], [1, 9]]], dtype=np.uint8)).tolist()
    [3]
    """
    return np.array([np.count_nonzero(np.bincount(p.ravel(), minlength=256)) for p in pixels])


def _thumbnails(pixels: Bytes) -> Floats:
    import cv2

    shape = (_GRID, _GRID)
    small = [cv2.resize(p, shape, interpolation=cv2.INTER_AREA)[_INNER, _INNER] for p in pixels]
    table = np.asarray(small, dtype=np.float64).reshape(len(pixels), -1)
    table -= table.mean(axis=1, keepdims=True)
    spread = table.std(axis=1, keepdims=True)
    return np.asarray(np.divide(table, spread, out=np.zeros_like(table), where=spread > 0))


@cache
def _template() -> Floats:
    from hurdles.phantom import phantom_cohort

    mean = _thumbnails(phantom_cohort(24, seed=0, size=64).pixels).mean(axis=0)
    return np.asarray(mean / mean.std())


def sides_of(facts: pd.DataFrame) -> Floats | None:
    """Return the longer side of every file's image, (N,), or None where there are no files."""
    if not {"height", "width"} <= set(facts.columns):
        return None
    return np.asarray(facts[["height", "width"]].max(axis=1), dtype=np.float64)


#: Thresholds of `hurdles.auditing.data.files`; ``bench/detectors.py`` prints what they do.
INVERTED, NO_CHEST = -0.3, 0.2
#: Where no lungs were found in an image, it needs to look less unlike a chest to be named.
NO_LUNGS = 0.5
FRAME, MARKED, BLOCKS = 0.02, 0.001, 1.2
#: Fewer grey levels than 6 bits hold; shorter sides than any network here takes.
LEVELS, TINY = 64, 100
_FRONTAL = frozenset({"CR", "DX", "RG", "XC", "OT", "SC"})
_SHOWN = 12
Flags = NDArray[np.bool_]


@data_hurdle("files", question="Does every file show one frontal chest X-ray, as it was taken?")
def files(material: Material) -> Iterator[Finding]:
    """Find files that cannot be read, show something else, or bear marks that tell the class.

    What is wrong by definition is counted, and one is too many. What is told from pixels is held
    against the detector's own false alarms. Marks are in most X-rays (an L, a frame): they are
    judged by how much their share differs between classes.

    Notes
    -----
    ``bench/detectors.py`` measured, without lungs: of 2,923 frontal X-rays of five collections 1 is
    called inverted, and between 95.7 and 99.5 % of a collection once they are inverted; 34 are
    called no frontal chest (19 of these in one collection of 600). Of lateral views 43 of 55 are
    found, of CT only 8 of 63: for these, look for the lungs.
    """
    yield from _unread(material)
    yield from _headers(material)
    pixels = material.pixels
    like = chest_likeness(pixels)
    yield _told(
        material, "inverted", is_inverted(like), like, "images in which bone is dark, as a share",
        "Invert them back; where the file is DICOM, read its photometric interpretation.",
    )  # fmt: skip
    found = None if material.masks is None else np.asarray(material.masks.any(axis=(1, 2)))
    yield _told(
        material, "not a frontal chest", is_no_chest(like, found), np.abs(like),
        "images that look like a lateral view, a CT or no chest, as a share",
        "Look at them and leave out what is not a frontal chest X-ray.",
    )  # fmt: skip
    coarse = gray_levels(pixels) < LEVELS
    yield _defect(
        material, "few grey levels", coarse, f"images with fewer than {LEVELS} grey levels",
        "Export them again from the original with at least 8 bits, and over the whole range: a "
        "picture of 12 bits in a file of 16, or a DICOM window far wider than the values, uses few "
        "of them.", f"below {LEVELS} levels",
    )  # fmt: skip
    yield _identical(material)
    yield from _marks(material)


def is_inverted(likeness: NDArray[np.float64]) -> Flags:
    """Return which images have dark bone, by `chest_likeness`, shape (N,)."""
    return np.asarray(likeness < INVERTED)


def is_no_chest(likeness: NDArray[np.float64], has_lungs: Flags | None = None) -> Flags:
    """Return which images are no frontal chest, shape (N,); inverted ones are not among them."""
    unlike = likeness < NO_CHEST
    if has_lungs is not None:
        unlike |= (likeness < NO_LUNGS) & ~has_lungs
    return np.asarray(unlike & ~is_inverted(likeness))


# --- what is wrong by definition -----------------------------------------------------------------


def _unread(material: Material) -> Iterator[Finding]:
    constant = {n: e for n, e in material.failures.items() if isinstance(e, ConstantImageError)}
    damaged = {n: e for n, e in material.failures.items() if n not in constant}
    seen = len(material) + len(material.failures)
    advice = "Fetch them again, or take them out of the table; a report says how many were lost."
    yield _failed("unreadable", "files that cannot be read", damaged, seen, advice)
    yield _failed("constant", "images with one grey level only", constant, seen, advice)
    failed = {str(e.path) for e in material.failures.values() if e.path is not None}
    left = material.manifest.exclusions
    left = left[~left["path"].isin(failed)]
    if len(left):
        reasons = Counter(left["reason"]).most_common(_SHOWN)
        yield Finding(
            "files", "left out", "files that were left out before, with the reason",
            counted(len(left), n_images=seen + len(left)), None,
            "See that none of them is left out by mistake.",
            tuple(Evidence(Path(p).name, r, p) for p, r in left.head(3).to_numpy()),
            {"reasons": dict(reasons)}, scale=Scale.COUNT,
        )  # fmt: skip


def _failed(
    subject: str, statistic: str, failed: Mapping[str, ImageError], seen: int, advice: str
) -> Finding:
    shown = list(failed.items())[:_SHOWN]
    evidence = tuple(Evidence(n, e.message, str(e.path or "")) for n, e in shown)
    kinds = Counter(type(error).__name__.removesuffix("Error") for error in failed.values())
    return Finding(
        "files", subject, statistic, counted(len(failed), n_images=seen), limit_for("files"),
        advice, evidence, {"kinds": dict(kinds)} if kinds else {}, scale=Scale.COUNT,
    )  # fmt: skip


def _headers(material: Material) -> Iterator[Finding]:
    facts, frame = material.facts, material.manifest.frame
    if {"height", "width"} <= set(facts.columns):
        short = facts[["height", "width"]].min(axis=1).to_numpy() < TINY
        yield _defect(
            material, "tiny", short, f"images of fewer than {TINY} pixels on the shorter side",
            "Fetch the originals: so small a copy is a thumbnail.", f"below {TINY} pixels",
        )  # fmt: skip
    other = (frame["view"] == "LL").to_numpy()
    if "modality" in facts:
        no_xray = facts["modality"].notna() & ~facts["modality"].isin(_FRONTAL)
        other = other | no_xray.to_numpy()
    yield _defect(
        material, "other views", other, "images that table or header call lateral, or no X-ray",
        "Leave them out: they are told from frontal X-rays at a glance.", "by table or header",
    )  # fmt: skip


def _defect(
    material: Material, subject: str, is_so: Flags, statistic: str, advice: str, says: str
) -> Finding:
    found = counted(int(is_so.sum()), n_images=len(material), n_patients=len(set(material.groups)))
    return Finding(
        "files", subject, statistic, found, limit_for("files"), advice,
        _evidence(material, np.flatnonzero(is_so), says), _by_class(material, is_so),
        scale=Scale.COUNT,
    )  # fmt: skip


def _identical(material: Material) -> Finding:
    prints = [hashlib.blake2b(p.tobytes(), digest_size=16).digest() for p in material.pixels]
    copies = pd.Series(prints).duplicated(keep=False).to_numpy()
    order = np.flatnonzero(copies)
    order = order[np.argsort([prints[i] for i in order], kind="stable")]
    finding = _defect(
        material, "identical", copies, "images whose pixels are those of another image",
        "Keep one of each; the hurdle duplicates finds those that were altered, too.", "",
    )  # fmt: skip
    images = material.manifest.frame["image"]
    first = {prints[i]: str(images[i]) for i in order[::-1]}
    last = {prints[i]: str(images[i]) for i in order}
    evidence = tuple(
        Evidence(e.image, f"the same pixels as {_other(e.image, first, last, prints[i])}", e.path)
        for i, e in zip(order, _evidence(material, order, ""), strict=False)
    )
    return replace(finding, evidence=evidence)


def _other(image: str, first: dict[bytes, str], last: dict[bytes, str], key: bytes) -> str:
    return first[key] if first[key] != image else last[key]


# --- what is told from pixels --------------------------------------------------------------------


def _told(
    material: Material,
    subject: str,
    is_so: Flags,
    score: NDArray[np.float64],
    statistic: str,
    advice: str,
) -> Finding:
    rows = np.flatnonzero(is_so)
    rows = rows[np.argsort(score[rows], kind="stable")]
    found = _share(material, is_so)
    return Finding(
        "files", subject, statistic, found, limit_for("appearance", subject), advice,
        _evidence(material, rows, subject), _by_class(material, is_so), scale=Scale.SHARE,
    )  # fmt: skip


def _share(material: Material, is_so: Flags) -> Estimate:
    part, whole = _per_patient(material.groups, is_so)
    low, high = exact_bounds(part, whole, material.level)  # one end decides
    share = float(is_so.mean())
    method = "Clopper-Pearson, by patient"
    return Estimate(share, low, high, material.level, method, len(is_so), len(whole))


def _marks(material: Material) -> Iterator[Finding]:
    blocks = blockiness(material.pixels, sides_of(material.facts))
    marks: Sequence[tuple[str, Flags, Flags, str]] = (
        ("text burnt in", marked_share(material.pixels) > MARKED, np.ones(len(blocks), bool),
         "bright strokes of the size of letters near the edge"),
        ("frame", frame_width(material.pixels) >= FRAME, np.ones(len(blocks), bool),
         "even bands along two edges or more"),
        ("JPEG blocks", blocks > BLOCKS, ~np.isnan(blocks), "the 8 x 8 blocks of JPEG"),
    )  # fmt: skip
    classes = len(material.manifest.labels)
    of = len(marks) * (classes if classes > 2 else 1)
    for subject, is_so, known, says in marks:
        yield _differing(material, subject, is_so, known, says, of)


def _differing(
    material: Material, subject: str, is_so: Flags, known: Flags, says: str, of: int
) -> Finding:
    """Return by how much a mark's share in one class differs from that in the others.

    Of several classes, the one that differs most surely; the interval allows for the choice.
    """
    labels = material.labels
    statistic = f"difference between classes in the share of images with {says}"
    advice = "Crop or blank it in all images, or take all classes from where it is equally common."
    limit = limit_for("appearance", "marks")
    classes = [c for c in material.manifest.labels if known[labels == c].any()]
    if len(classes) < 2:
        why = "only one class can be asked"
        if subject == "JPEG blocks":
            why = "the images were resized, and blocks with them; see JPEG quality in confounders"
        return Finding(
            "files", subject, statistic, undefined(why), limit, advice, scale=Scale.DIFFERENCE
        )
    level = joined_level(material.level, of)
    asked = classes if len(classes) > 2 else classes[:1]
    found = [(c, _difference(material, is_so, known, labels == c, level)) for c in asked]
    # A hit speaks for all classes; where there is none, the one that could yet differ most does.
    label, most = max(
        found, key=lambda pair: (max(pair[1].low - limit.value, 0.0), pair[1].high, pair[1].value)
    )
    rows = np.flatnonzero(is_so & known)
    details = _by_class(material, is_so & known) | {"class": label}
    return Finding(
        "files", subject, statistic, simultaneous(most, of), limit, advice,
        _evidence(material, rows[:: max(1, len(rows) // _SHOWN)], says), details,
        scale=Scale.DIFFERENCE,
    )  # fmt: skip


def _difference(
    material: Material, is_so: Flags, known: Flags, inside: Flags, level: float
) -> Estimate:
    """Return |share inside - share outside|; its lower bound is below 0 where it may be none."""
    sides = []
    for side in (inside & known, ~inside & known):
        part, whole = _per_patient(material.groups[side], is_so[side])
        low, high = proportion_bounds(part, whole, level)
        share = float(part.sum() / whole.sum())
        sides.append(Estimate(share, low, high, level, "", int(side.sum()), len(whole)))
    a, b = sorted(sides, key=lambda s: -s.value)
    low, high = mover_difference(a, b, 0.0)
    n, patients = int(known.sum()), len(set(material.groups[known]))
    return Estimate(
        a.value - b.value, low, high, level, "MOVER of Wilson's, by patient", n, patients
    )


def _per_patient(
    groups: NDArray[np.str_], is_so: Flags
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the images that are so, and all images, of each patient."""
    _, of = np.unique(groups, return_inverse=True)
    part, whole = np.bincount(of, weights=is_so.astype(np.float64)), np.bincount(of)
    return part.astype(np.float64), whole.astype(np.float64)


def _by_class(material: Material, is_so: Flags) -> dict[str, dict[str, dict[str, int]]]:
    labels = material.labels
    counts = {
        c: {"images": int((labels == c).sum()), "found": int(is_so[labels == c].sum())}
        for c in material.manifest.labels
    }
    return {"by_class": counts}


def _evidence(material: Material, rows: NDArray[np.intp], says: str) -> tuple[Evidence, ...]:
    shown = material.manifest.frame.iloc[rows[:_SHOWN]]
    cells = zip(shown["image"], shown["path"], strict=True)
    return tuple(Evidence(str(image), says, str(path)) for image, path in cells)
