"""Alterations: answers that flip when an image is altered as a radiologist would not mind.

One after another by perturbations of the whole image, and by the style of another hospital that is
put around the lungs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Capability, Material, Question, Subject
from hurdles.auditing.probing import joined_level, one_per_patient, simultaneous
from hurdles.errors import EvaluationError, HurdleError
from hurdles.evaluation.bounds import patient_share, student_quantile
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import compare_macro_auc, macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Evidence, Finding, Scale, evidence_of
from hurdles.findings.limits import limit_for
from hurdles.pixels.perturb import PERTURBATIONS, Perturbation
from hurdles.pixels.style import Style, bands_of, joined, restyle, style_of


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


#: Fewer images of a source have no style of their own to speak of.
_FEWEST = 10
#: A style is taken of so many images at most, drawn at random: it is a mean, and settles early.
_STYLE_IMAGES = 120
#: The largest sources only; each costs a pass over the test images.
_MOST_SOURCES = 3
_SWAP_ADVICE = (
    "The model reads the hospital's hand around the lungs: train on several sources in every "
    "class, harmonize grey levels and resolution, or give it the lungs alone (preparation "
    "'masked+equalized'), and ask again."
)


def _cost_of_swaps(subject: Subject, answer: float) -> float:
    """Return the seconds of a pass for each style, the control among them; see `Hurdle`."""
    own = subject.material.manifest.frame["source"].nunique()
    styles = min(_MOST_SOURCES, own if own > 1 else len(subject.elsewhere))
    each = len(subject.test) * answer + 3e-7 * subject.tested.pixels.size
    return (styles + 1) * each if styles else 0.0


@model_hurdle(
    "hospital-swap",
    question="Does the answer stay when another hospital's style is put around the same lungs?",
    needs=[Capability.ANSWERS],
    cost=_cost_of_swaps,
)
def hospital_swap(subject: Subject) -> Iterator[Finding]:
    """Yield, for each other source, the share of answers that flip in its style.

    Sources are those of the model's own material; where that is of one source, the other
    collections that the subject comes with. The control puts on the images the style of other
    patients of their own source. Images without lungs, or of nothing else, are left out.
    """
    sources = _own_sources(subject)
    targets = _targets(subject, sources)
    swaps = [
        _Swap(sources, {n: (source.style, target) for n, source in sources.items() if n != name})
        for name, target in targets.items()
    ]
    halves = {name: source.halves for name, source in sources.items() if source.halves is not None}
    judged_only = subject.material.judged_only
    control = [] if judged_only else [_Swap(sources, halves)]
    answers = _restyled(subject, [*swaps, *control])
    for name, swap, flips in zip(targets, swaps, answers, strict=False):
        if flips is not None:
            yield from _swapped(subject, swap, name, flips, of=len(targets))
    if judged_only:
        return
    flips = next(answers)
    why = "no source has two patients: there is no style of other patients of the same source"
    yield Finding(
        "hospital-swap",
        "own source (control)",
        "share of answers that flip in the style of other patients of the same source",
        undefined(why, level=subject.material.level) if flips is None else flips.share(),
        None,
        "Not judged: it is what flips where no hospital is swapped.",
        () if flips is None else flips.evidence("in the style of others of its source"),
        scale=Scale.SHARE,
    )


class _Source(NamedTuple):
    """A source of the model's own images: its style, and that of either half of its patients.

    `tested` are its positions among the test images.
    """

    style: Style
    halves: tuple[Style, Style] | None
    tested: NDArray[np.int64]


def _own_sources(subject: Subject) -> dict[str, _Source]:
    """Return the sources that have a style, the largest first.

    Where no source is named, all images are of one with the material's name.
    """
    material, tested = subject.material, subject.tested

    def sources_of(images: Material) -> NDArray[np.str_]:
        given = images.manifest.frame["source"]
        return np.asarray(given.fillna("" if given.notna().any() else images.name), dtype=str)

    own, of_tested = sources_of(material), sources_of(tested)
    lungs, tested_lungs = _usable(material), _usable(tested)
    names, counts = np.unique(own[lungs & (own != "")], return_counts=True)
    sources = {}
    for name in names[np.argsort(-counts, kind="stable")].tolist():
        rows = np.flatnonzero(lungs & (own == name))
        if len(rows) >= _FEWEST:
            rows, mine = _drawn(material, rows), np.flatnonzero(tested_lungs & (of_tested == name))
            patients = np.unique(material.groups[rows])
            shuffled = np.random.default_rng(material.seed).permutation(patients)
            first = np.isin(material.groups[rows], shuffled[::2])
            if first.all():
                sources[name] = _Source(_style(material, rows), None, mine)
            else:
                halves = _style(material, rows[first]), _style(material, rows[~first])
                sources[name] = _Source(joined(*halves), halves, mine)
    if not any(len(source.tested) for source in sources.values()):
        raise HurdleError(
            f"no source has {_FEWEST} images with lungs, and some of them among the test images; "
            "the style of a source is a mean of many. Give more images, or their sources."
        )
    return sources


def _usable(material: Material) -> NDArray[np.bool_]:
    """Return which images have lungs and something around them."""
    has_lungs = material.has_lungs
    assert material.masks is not None  # has_lungs would have said so
    return np.asarray(has_lungs & ~material.masks.all(axis=(1, 2)))


def _drawn(material: Material, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= _STYLE_IMAGES:
        return rows
    drawn = np.random.default_rng(material.seed).choice(rows, _STYLE_IMAGES, replace=False)
    return np.asarray(np.sort(drawn))


def _style(material: Material, rows: NDArray[np.int64]) -> Style:
    assert material.masks is not None
    return style_of(material.pixels[rows], material.masks[rows])


def _targets(subject: Subject, sources: Mapping[str, _Source]) -> dict[str, Style]:
    """Return the styles that are put on: of the largest sources, or of other collections."""
    if len(sources) > 1:
        with_tested = [name for name, source in sources.items() if len(source.tested)]
        # A source that all test images are from is not another one to any of them.
        names = [name for name in sources if with_tested != [name]][:_MOST_SOURCES]
        return {name: sources[name].style for name in names}
    others = {}
    for material in sorted((e.material for e in subject.elsewhere), key=lambda m: -len(m)):
        if material.masks is None or not material.masks.any():
            continue
        rows = np.flatnonzero(_usable(material))
        if len(rows) >= _FEWEST:
            others[material.name] = _style(material, _drawn(material, rows))
    if not others:
        raise HurdleError(
            f"{subject.material.name} is of one source only, and no other collection was given "
            f"with {_FEWEST} images whose lungs were found; give one by --on, or name the sources "
            "in the manifest's column 'source'."
        )
    return dict(list(others.items())[:_MOST_SOURCES])


class _Swap(NamedTuple):
    """Styles from which and to which the test images of some sources are brought."""

    sources: Mapping[str, _Source]
    pairs: Mapping[str, tuple[Style, Style]]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Positions among the test images."""
        each = (self.sources[name].tested for name in self.pairs)
        return np.sort(np.concatenate([np.empty(0, np.int64), *each]))

    def question(self, tested: Material) -> Question:
        """Return the images in the other style, with their lungs."""
        assert tested.masks is not None
        pixels = np.array(tested.pixels)
        for name, (own, other) in self.pairs.items():
            rows = self.sources[name].tested
            pixels[rows] = restyle(tested.pixels[rows], tested.masks[rows], own, other)
        return pixels[self.rows], tested.masks[self.rows]


def _restyled(subject: Subject, swaps: Sequence[_Swap]) -> Iterator[Flips | None]:
    """Ask about the test images of each swap; None where no test image is of its sources."""
    tested = subject.tested
    answers = subject.ask_many(swap.question(tested) for swap in swaps if len(swap.rows))
    for swap in swaps:
        rows = swap.rows
        if not len(rows):
            yield None
        else:
            yield Flips(subject, tested.take(rows), subject.reference[rows], next(answers))


def _swapped(
    subject: Subject, swap: _Swap, name: str, flips: Flips, *, of: int
) -> Iterator[Finding]:
    sources, pairs = swap
    change, truth = flips.after - flips.before, flips.material.labels
    by_class = {
        str(label): {
            each: round(float(change[truth == label, k].mean()), 6)
            for k, each in enumerate(subject.labels)
        }
        for label in np.unique(truth)
    }
    yield Finding(
        "hospital-swap",
        name,
        "share of answers that flip when another source's style is put around the lungs",
        flips.share(of=of),
        limit_for("hospital-swap"),
        _SWAP_ADVICE,
        flips.evidence(f"in the style of {name}"),
        {
            "from": sorted(n for n in pairs if len(sources[n].tested)),
            # Of the swap, for a figure: gray level by gray level, and by frequency.
            "styles": {
                n: {
                    "n_images": [own.n_images, other.n_images],
                    "grey": own.tone_to(other)[::5].round(1).tolist(),
                    "cycles": bands_of(own.size).round(1).tolist(),
                    "gain": own.gain_to(other).round(3).tolist(),
                }
                for n, (own, other) in pairs.items()
            },
            "change_by_class": by_class,
        },
        scale=Scale.SHARE,
    )
    for column, label in enumerate(subject.labels):
        if column == 0 or len(subject.labels) > 2:  # of two classes, one says it all
            statistic = f"mean change of the probability of {label}"
            mean = _mean_change(change[:, column], flips.material)
            yield Finding("hospital-swap", name, statistic, mean, None, scale=Scale.DIFFERENCE)


def _mean_change(change: NDArray[np.float64], images: Material) -> Estimate:
    """Return a mean over images with the t interval of a ratio over patients."""
    level, n = images.level, len(images)
    names, patients = np.unique(images.groups, return_inverse=True)
    if len(names) < 2:
        why = "a mean over one patient has no interval"
        return undefined(why, level=level, n_images=n, n_patients=len(names))
    mean = float(change.mean())
    apart = np.bincount(patients, weights=change - mean, minlength=len(names))
    error = math.sqrt(len(names) / (len(names) - 1) * float((apart**2).sum())) / n
    reach = student_quantile(level, len(names) - 1) * error
    low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    return Estimate(mean, low, high, level, "t, ratio over patients", n, len(names))
