"""The first screen: the answer in plain words, and what must be known before it is believed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from hurdles.copies.finder import Copies
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.predictions import Predictions
from hurdles.reporting.wording import (
    NARROW,
    and_list,
    count,
    counted,
    interval,
    level,
    percent,
    share,
)

#: Balanced accuracy from which on the source alone says as much as a good model would.
_SOURCE_TELLS = 0.90
_IMAGES_PER_SOURCE = 10
#: An interval wider than this leaves most comparisons open.
_WIDE = 0.20


class Exposure(NamedTuple):
    """Images that the model was judged on, and how many of them it had already seen.

    `n_patients` are the groups that the images fall into, `n_unknown` images whose patient is not
    known, `n_used` those that the model was itself trained or chosen on. `trained` says whether the
    manifest holds every evaluated image and tells which were trained on, `same_sources` whether
    all come from one of the `n_sources` that were. `shared_*` are patients on both sides, and their
    images. `n_copies` is None where copies were not looked for; `n_encoder` counts images that the
    encoder which it starts from had seen, None where it is not known what that has seen.
    """

    n_images: int
    n_patients: int
    n_unknown: int
    n_used: int
    trained: bool
    shared_patients: int
    shared_images: int
    same_sources: bool
    n_sources: int = 1
    n_copies: int | None = None
    n_encoder: int | None = 0


class Headline(NamedTuple):
    """The answer in the pieces that a page sets differently; `number` is empty if undefined."""

    before: str
    number: str
    after: str

    def __str__(self) -> str:
        return " ".join(filter(None, self))


def exposure(
    manifest: Manifest,
    predictions: Predictions,
    copies: Copies | None = None,
    n_encoder: int | None = 0,
) -> Exposure:
    """Return what the model had already seen, as far as manifest and a search for copies tell.

    Images and patients of the train and of the validation part both count as seen: the weights
    were fitted on the first and chosen on the second.
    """
    frame, groups = manifest.frame, manifest.groups
    judged = frame["image"].isin(predictions.frame["image"])
    learnt = frame["split"].isin([Split.TRAIN, Split.VALIDATION])
    others = learnt & ~judged
    shared = judged & groups.isin(groups[others])
    trained_sources = set(frame.loc[others, "source"].dropna())
    return Exposure(
        n_images=len(predictions),
        n_patients=len(np.unique(predictions.groups)),
        n_unknown=int(frame.loc[judged, "patient"].isna().sum()),
        n_used=int((judged & learnt).sum()),
        trained=bool(learnt.any()) and int(judged.sum()) == len(predictions),
        shared_patients=int(groups[shared].nunique()),
        shared_images=int(shared.sum()),
        same_sources=bool(frame.loc[judged, "source"].isin(trained_sources).all()),
        n_sources=len(trained_sources),
        n_copies=None
        if copies is None
        else int(frame.loc[judged, "image"].isin(list(copies.known_of(manifest))).sum()),
        n_encoder=n_encoder,
    )


def headline(accuracy: Estimate, seen: Exposure) -> Headline:
    """Return the answer in one sentence.

    Examples
    --------
    >>> accuracy = Estimate(0.954, 0.930, 0.970, 0.95, "Wilson", 436, 436)
    >>> seen = Exposure(436, 436, 0, 0, True, 0, 0, True, 0)
    >>> print(headline(accuracy, seen).after.replace(NARROW, " "))
    (95 % interval 93.0 to 97.0).
    """
    images = _judged_images(seen)
    if not accuracy.is_defined:
        return Headline(
            f"{images}, how often the model is right cannot be said:",
            "",
            f"{accuracy.note or 'the measure is undefined'}.",
        )
    bounds = interval(accuracy)
    prefix = f"{level(accuracy.level)} interval " if bounds != "no interval" else ""
    return Headline(
        f"{images}, the model named the right class in",
        f"{percent(accuracy.value)}{NARROW}%",
        f"({prefix}{bounds}).",
    )


def _judged_images(seen: Exposure) -> str:
    images = counted(seen.n_images, "image")
    apart = ""
    if seen.n_copies:
        images += f" ({count(seen.n_copies)} of them copies of images that it had seen)"
    elif seen.n_encoder:
        images += f" ({count(seen.n_encoder)} of them seen by the encoder that it starts from)"
    elif seen.trained and not seen.n_used:
        # What the split bears out, and, where copies were looked for and none was found, more.
        never = seen.n_copies == 0 and seen.n_encoder == 0
        apart = " that it had never seen" if never else " kept out of its training"
    if seen.n_unknown == seen.n_images:
        return f"On {images}{apart} (patients not known)"
    if seen.n_unknown:
        return f"On {images}{apart} (patients known in part)"
    people = counted(seen.n_patients, "patient")
    if seen.shared_patients:
        return f"On {images} of {people}, {count(seen.shared_patients)} of whom it knew already"
    return f"On {images} of {people}{apart}"


def baseline(predictions: Predictions) -> str:
    """Return how often one fixed answer would be right, which any model has to beat."""
    labels, numbers = np.unique(predictions.y_true, return_counts=True)
    best = int(numbers.argmax())
    if len(labels) == 1:
        return f"All of these images are {labels[0]}: one fixed answer would always be right."
    part, whole = int(numbers[best]), len(predictions)
    return (
        f"Always answering “{labels[best]}” would have been right in "
        f"{count(part)} of {count(whole)} ({share(part, whole)})."
    )


def caveat(seen: Exposure) -> str:
    """Return what the answer does not say."""
    if not seen.trained:
        return (
            "This holds for images like these. It does not say how the model does at another "
            "hospital, on other machines or in patients of another age."
        )
    if not seen.n_sources:
        return (
            "The images do not say which collection or hospital they come from: this says nothing "
            "about another hospital, other machines or patients of another age."
        )
    if seen.same_sources:
        where = "collection" if seen.n_sources == 1 else f"{seen.n_sources} collections"
        return (
            f"The model was trained and tested inside the same {where}: this says nothing about "
            "another hospital, other machines or patients of another age."
        )
    return (
        "Not all of these images come from sources that the model was trained on. A further "
        "hospital may still differ from all of these."
    )


def own_warnings(manifest: Manifest, predictions: Predictions) -> list[str]:
    """Return the warnings that follow from the data themselves, the gravest first.

    Tested images that were trained on; patients on both sides of the split; a source that gives
    the class away; patients that are not known.
    """
    seen = exposure(manifest, predictions)
    warnings = []
    if seen.n_used:
        warnings.append(
            f"{counted(seen.n_used, 'tested image')} "
            f"{'belongs' if seen.n_used == 1 else 'belong'} to the part that the model was "
            "trained or chosen on. These numbers do not say how well it does on new images."
        )
    if seen.shared_patients:
        warnings.append(
            f"{counted(seen.shared_patients, 'patient')} of the tested images also "
            f"{'has' if seen.shared_patients == 1 else 'have'} images that the model was trained "
            f"or chosen on ({counted(seen.shared_images, 'tested image')}). The numbers are "
            "probably too good; split by patient."
        )
    if classes := _classes_by_source(manifest):
        which = [
            f"{label} (balanced accuracy {percent(best, 0)}{NARROW}%)"
            for label, best in classes.items()
        ]
        warnings.append(
            "The source gives the class away: whoever knows only where an image comes from can "
            f"pick out {and_list(which)}. The model may have learnt the source and not the disease."
        )
    if missing := manifest.missing_patients:
        warnings.append(
            f"Patients are not known for {counted(missing, 'image')}: each was treated as a "
            "patient of its own. One patient may stand on both sides of the split, and intervals "
            "may be too narrow."
        )
    return warnings


def _classes_by_source(manifest: Manifest) -> dict[str, float]:
    """Return classes that the source alone tells from the rest, with the balanced accuracy of that.

    The best rule that sees nothing but the source is right, class and rest weighing alike, in
    ``sum(max(p(source | class), p(source | rest))) / 2`` (Bayes).
    """
    frame = manifest.frame[manifest.frame["source"].notna()]
    sources, labels = frame["source"].nunique(), frame["label"].nunique()
    # With a handful of images for each source the rule would only recite the table.
    if sources < 2 or labels < 2 or len(frame) < _IMAGES_PER_SOURCE * sources:
        return {}
    table = pd.crosstab(frame["source"], frame["label"])
    classes = {}
    for label in table.columns:
        mine, rest = table[label], table.sum(axis=1) - table[label]
        best = np.maximum(mine / mine.sum(), rest / rest.sum()).sum() / 2
        if best >= _SOURCE_TELLS:
            classes[str(label)] = float(best)
    return classes


def width_notes(evaluation: Evaluation) -> str:
    """Return a sentence on the classes too small to say much, or nothing."""
    wide = []
    for name in evaluation.classes:
        estimate = evaluation.get("sensitivity", name)
        if estimate.is_defined and estimate.high - estimate.low > _WIDE:
            points = f"{100 * (estimate.high - estimate.low):.0f}"
            wide.append(f"{name} ({counted(estimate.n_images, 'image')}, {points} points wide)")
    if not wide:
        return ""
    return (
        f"Few images, wide interval: {and_list(wide)}. The true share may lie anywhere in it; "
        "to rank two models, compare them on the same images."
    )
