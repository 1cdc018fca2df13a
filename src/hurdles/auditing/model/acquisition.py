"""Acquisition: answers that follow how an image was taken and written, and not whom it shows.

Each test image is brought to the acquisition of the other classes: their gray levels, their
sharpness and grain, and their field of view, over the whole image, the lungs included. Nothing of
the anatomy is added or taken away. The control is the same change the other way, away from the
other classes, so that what an alteration only spoils is spoilt in both. A model that reads
the lungs answers alike; one that reads the acquisition changes sides. Parts in which the classes
differ by no more than chance, as a permutation of patients shows, are left alone: what a small
network makes of an accident of its few images is no shortcut. So are gray levels that differ by
little more, since a disease moves those itself, outside the lungs too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Capability, Material, Question, Subject
from hurdles.errors import HurdleError
from hurdles.evaluation.macro import compare_macro_auc, macro_auc
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for
from hurdles.pixels.perturb import moved
from hurdles.pixels.style import Style, mean_style, restyle, style_of, styles_of

#: Fewer images of a class have no style of their own to speak of.
_FEWEST = 10
#: A style is taken of so many images at most, drawn at random: it is a mean, and settles early.
_STYLE_IMAGES = 240
#: Parts of an acquisition that are shown by themselves, and what stands for all of them.
_PARTS = _GRAY, _DETAIL, _FRAME = ("gray levels", "sharpness and grain", "field of view")
_ALL = "gray levels, sharpness, field of view"
#: A class differs in some part of its acquisition beyond chance; chance is dealt so often.
_LEVEL, _PERMUTATIONS = 0.01, 1999
#: By how many standard deviations more than chance gives at most. Clean phantoms of 120 and 400
#: patients differ in gray levels by up to 0.3 more; those whose brightness tells the class, by 0.4.
_LEAST = {_GRAY: 0.35, _DETAIL: 0.0, _FRAME: 0.0}
#: Shares of the pixels at whose gray levels images are compared.
_RANKS = np.linspace(0.05, 0.95, 10)
_ALIKE = (
    "the classes' acquisitions differ by no more than chance, or in gray levels by no more than a "
    "disease may, so that nothing was changed"
)
_ADVICE = (
    "Given the acquisition of the other class, images get its answer: bring the files of all "
    "classes to one gray scale, one resolution and one field of view, or take every class from "
    "every source, train again, and look at the hurdle 'pixels'."
)
_SHOWN = "Shown, not judged: a part of the alteration that is judged."


def _cost(subject: Subject, answer: float) -> float:
    """Return the seconds: of what tells the classes apart, and of two passes for each question."""
    passes = 2 if subject.material.judged_only else 2 * (1 + len(_PARTS))
    return 2 + passes * (len(subject.test) * answer + 1.1e-7 * subject.tested.pixels.size)


@model_hurdle(
    "acquisition",
    question="Does it tell the classes when each is given the acquisition of the other?",
    needs=[Capability.ANSWERS],
    cost=_cost,
)
def acquisition(subject: Subject) -> Iterator[Finding]:
    """Yield the AUC lost when images are brought to the acquisition of the other classes.

    The statistic is the AUC after the change away from the other classes, less that after
    the same change towards them, of the same images; images without lungs are left out. All of the
    acquisition together is judged; each part of it is shown.
    """
    images = subject.tested
    kept, changes = _usable(images), _changes(subject.material)
    kept &= np.isin(images.labels, list(changes))
    images = images.take(kept)
    parts = [_ALL] if images.judged_only else [_ALL, *_PARTS]
    altered = [part for part in parts if any(c.altered(part) for c in changes.values())]
    ways = [(part, towards) for part in altered for towards in (False, True)]
    questions = (_brought(images, changes, part, towards=towards) for part, towards in ways)
    answers = subject.ask_many(questions, rows=repeat(subject.positions(images)))
    plain = images.predictions(subject.labels, subject.reference[kept])
    left = int((~kept).sum())
    for part in parts:
        away = towards = plain
        if part in altered:
            away, towards = (images.predictions(subject.labels, next(answers)) for _ in range(2))
        lost = compare_macro_auc(away, towards, level=images.level).difference
        note = f"{left} of {len(kept)} images left out: their lungs were not found" if left else ""
        flipped = [
            float((subject.decided(each.y_prob) != subject.decided(plain.y_prob)).mean())
            for each in (away, towards)
        ]
        yield Finding(
            "acquisition",
            part,
            "AUC lost when each class is given the acquisition of the others (after the same "
            "change the other way, less after it)",
            lost.noted(note),
            limit_for("acquisition") if part == _ALL else None,
            _ADVICE if part == _ALL else _SHOWN,
            details={
                "auc": macro_auc(plain).value,
                "auc_away": macro_auc(away).value,
                "auc_towards": macro_auc(towards).value,
                "classes_differ": {
                    label: {name: each._asdict() for name, each in change.gaps.items()}
                    for label, change in changes.items()
                },
                "flipped_away": flipped[0],
                "flipped_towards": flipped[1],
            },
            scale=Scale.DIFFERENCE,
            uncleared="" if part != _ALL or part in altered else _ALIKE,
        )


def _usable(material: Material) -> NDArray[np.bool_]:
    """Return which images have lungs and something around them."""
    has_lungs = material.has_lungs
    assert material.masks is not None  # has_lungs would have said so
    return np.asarray(has_lungs & ~material.masks.all(axis=(1, 2)))


class Acquisition(NamedTuple):
    """Averages over images: their style outside the lungs, and the frame of their lungs.

    The frame is the geometric mean of the lungs' height and width, and the mean place of their
    middle (across, down), all as shares of the image's side.
    """

    style: Style
    extent: float
    middle: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Measures:
    """Measures of n images: histograms, logarithms of amplitudes, and frames of lungs.

    `frames` holds the logarithm of the extent and the middle, shape (n, 3); see `Acquisition`.
    """

    histograms: NDArray[np.float64]
    amplitudes: NDArray[np.float64]
    frames: NDArray[np.float64]
    size: int

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], masks: NDArray[np.bool_]) -> _Measures:
        """Measure images with lungs in all of them."""
        boxes = np.array([_box(mask) for mask in masks])
        extents = np.log(boxes[:, :2]).mean(axis=1)
        return cls(
            *styles_of(pixels, masks), np.column_stack([extents, boxes[:, 2:]]), len(masks[0])
        )

    def mean(self, rows: NDArray[np.bool_]) -> Acquisition:
        """Return the acquisition of some of the images."""
        extent, *middle = self.frames[rows].mean(axis=0)
        style = mean_style(self.histograms[rows], self.amplitudes[rows], self.size)
        return Acquisition(style, float(np.exp(extent)), np.array(middle))

    @property
    def parts(self) -> dict[str, NDArray[np.float64]]:
        """Numbers by which images are compared in each part, shape (n, d)."""
        ranks = np.cumsum(self.histograms, axis=1)
        levels = np.stack([np.interp(_RANKS, each, np.arange(256)) for each in ranks])
        return dict(zip(_PARTS, (levels, self.amplitudes, self.frames), strict=True))


def _box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return height, width and middle of lungs, but for their outermost hundredth each way."""
    down, across = (np.cumsum(mask.sum(axis=axis)) / mask.sum() for axis in (1, 0))
    top, bottom = np.interp([0.01, 0.99], down, np.arange(len(down)))
    left, right = np.interp([0.01, 0.99], across, np.arange(len(across)))
    side = len(mask)
    height, width = max(bottom - top, 1.0) / side, max(right - left, 1.0) / side
    return height, width, (left + right + 1) / 2 / side, (top + bottom + 1) / 2 / side


class Gap(NamedTuple):
    """Distance of the images of a class from the others in some part of their acquisition.

    `deviations` is the largest difference of means, in standard deviations over patients; `chance`
    what patients dealt to the classes at random stay below, but for one deal in 300.
    """

    deviations: float
    chance: float

    @property
    def beyond(self) -> float:
        """Deviations beyond chance."""
        return self.deviations - self.chance


def gap(
    numbers: NDArray[np.float64],
    inside: NDArray[np.bool_],
    groups: NDArray[np.str_],
    rng: np.random.Generator,
) -> Gap:
    """Return how images inside a class and others differ in these numbers, shape (n, d).

    A permutation test over patients: the largest difference of means, each number in its
    deviations, against that of patients dealt to the classes by chance (Westfall and Young 1993).
    """
    names, patients = np.unique(groups, return_inverse=True)
    counts = np.bincount(patients, minlength=len(names))
    sums = [np.bincount(patients, column) for column in numbers.T]
    means = np.stack(sums, axis=1) / counts[:, None]
    spread = means.std(axis=0)
    means = (means - means.mean(axis=0)) / np.where(spread > 0, spread, 1)
    belongs = np.bincount(patients, inside) * 2 > counts  # of a patient in both, the majority
    if belongs.all() or not belongs.any():
        return Gap(0.0, 0.0)
    deals = np.stack([belongs, *(rng.permutation(belongs) for _ in range(_PERMUTATIONS))])
    n = belongs.sum()
    apart = (deals / n - ~deals / (len(names) - n)) @ means
    statistics = np.abs(apart).max(axis=1)
    most = np.quantile(statistics, 1 - _LEVEL / len(_PARTS), method="higher")
    return Gap(float(statistics[0]), float(most))


@dataclass(frozen=True, eq=False)
class _Change:
    """The change that brings images of a class to the acquisition of the other classes.

    Only parts with a gap beyond `_LEAST` are changed. `framed` is the style of the
    class once its lungs lie as the others' do: moved images have another share of background.
    """

    begin: Acquisition
    framed: Style
    end: Acquisition
    gaps: Mapping[str, Gap]

    @property
    def differs(self) -> list[str]:
        """The parts that are changed."""
        return [part for part, each in self.gaps.items() if each.beyond > _LEAST[part]]

    def altered(self, part: str) -> list[str]:
        """Return what is changed where one part, or all of them, is asked about."""
        return [each for each in self.differs if part in (_ALL, each)]

    def applied(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_], part: str, *, towards: bool
    ) -> Question:
        """Return images and lungs under one part of the change, or under its inverse."""
        parts = self.altered(part)
        begin, end = (self.begin, self.end) if towards else (self.end, self.begin)
        one, two = self.begin.style, self.end.style
        if _FRAME in parts:
            pixels, masks = _framed(pixels, masks, begin, end)
            one = self.framed
        if _GRAY in parts or _DETAIL in parts:
            if _GRAY not in parts:
                two = replace(two, histogram=one.histogram)
            if _DETAIL not in parts:
                two = replace(two, spectrum=one.spectrum)
            pixels = restyle(pixels, *((one, two) if towards else (two, one)))
        return pixels, masks


def _changes(material: Material) -> dict[str, _Change]:
    """Return the change of each class with images enough."""
    usable, labels, rng = _usable(material), material.labels, np.random.default_rng(material.seed)
    assert material.masks is not None  # _usable would have said so
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(usable & (labels == label))
        if len(rows) > _STYLE_IMAGES:
            rows = rng.choice(rows, _STYLE_IMAGES, replace=False)
        if len(rows) >= _FEWEST:
            chosen.append(np.sort(rows))
    if len(chosen) < 2:
        raise HurdleError(
            f"fewer than two classes have {_FEWEST} images with lungs; the acquisition of a class "
            "is a mean of many."
        )
    rows = np.concatenate(chosen)
    pixels, masks, groups = material.pixels[rows], material.masks[rows], material.groups[rows]
    labels = labels[rows]
    measures = _Measures.of(pixels, masks)
    changes = {}
    for label in np.unique(labels).tolist():
        inside = labels == label
        begin, end = measures.mean(inside), measures.mean(~inside)
        moved_pixels, moved_masks = _framed(pixels[inside], masks[inside], begin, end)
        seen = ~moved_masks.all(axis=(1, 2))
        gaps = {part: gap(numbers, inside, groups, rng) for part, numbers in measures.parts.items()}
        style = style_of(moved_pixels[seen], moved_masks[seen])
        changes[label] = _Change(begin, style, end, gaps)
    return changes


def _brought(
    images: Material, changes: Mapping[str, _Change], part: str, *, towards: bool
) -> Question:
    """Return the images, with their lungs, brought towards the other classes or away from them."""
    assert images.masks is not None
    pixels, masks, labels = images.pixels.copy(), images.masks.copy(), images.labels
    for label in np.unique(labels).tolist():
        rows = labels == label
        pixels[rows], masks[rows] = changes[label].applied(
            pixels[rows], masks[rows], part, towards=towards
        )
    return pixels, masks


def _framed(
    pixels: NDArray[np.uint8], masks: NDArray[np.bool_], begin: Acquisition, end: Acquisition
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Enlarge and move images as much as one acquisition's lungs lie otherwise than another's."""
    scale = end.extent / begin.extent
    # What lay at the one middle comes to lie at the other; `moved` enlarges about the center.
    right, down = (end.middle - 0.5) - scale * (begin.middle - 0.5)
    # Beyond the edge lie its own pixels: mirrored lungs would be anatomy that is not there.
    change: dict[str, Any] = {"scale": scale, "right": right, "down": down, "replicate": True}
    images, lungs = np.empty_like(pixels), np.empty_like(masks)
    for row, (image, mask) in enumerate(zip(pixels, masks, strict=True)):
        images[row] = moved(image, **change)
        lungs[row] = moved(np.multiply(mask, 255, dtype=np.uint8), **change) > 127
    return images, lungs
