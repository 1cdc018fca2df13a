"""The first screen: the answer in plain words, and what must be known before it is believed."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Exposure:
    """What the model had already seen of the images that it was judged on.

    Parameters
    ----------
    n_images, n_patients : int
        Evaluated images, and the groups they fall into.
    n_unknown : int
        Evaluated images whose patient is not known.
    n_used : int
        Evaluated images that the model was itself trained or chosen on.
    trained : bool
        Whether the manifest holds every evaluated image and says which ones were trained on.
    shared_patients : int
        Patients with images on both sides.
    shared_images : int
        Evaluated images of those patients.
    same_sources : bool
        Whether every evaluated image comes from a source that was trained on.
    n_sources : int
        Sources that are named among the images trained on.
    n_copies : int or None
        Evaluated images that show the same radiograph as one that was trained or chosen on; None
        where copies were not looked for.
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


@dataclass(frozen=True)
class Headline:
    """The answer sentence in the pieces that a page sets differently.

    Parameters
    ----------
    before, number, after : str
        The sentence, to be joined by spaces; `number` is empty if undefined.
    """

    before: str
    number: str
    after: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.before, self.number, self.after)))


def exposure(
    manifest: Manifest, predictions: Predictions, copies: Copies | None = None
) -> Exposure:
    """Return what the model had already seen, as far as the manifest and a search for copies tell.

    Images and patients of the train and of the validation part both count as seen: the weights
    were fitted on the first and chosen on the second.
    """
    frame, groups = manifest.frame, manifest.groups
    judged = frame["image"].isin(predictions.frame["image"])
    learnt = frame["split"].isin([Split.TRAIN, Split.VALIDATION])
    seen = learnt & ~judged
    shared = judged & groups.isin(groups[seen])
    trained_sources = set(frame.loc[seen, "source"].dropna())
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
    )


def headline(accuracy: Estimate, known: Exposure) -> Headline:
    """Return the answer in one sentence.

    Examples
    --------
    >>> accuracy = Estimate(0.954, 0.930, 0.970, 0.95, "Wilson", 436, 436)
    >>> known = Exposure(436, 436, 0, 0, True, 0, 0, True, 0)
    >>> print(headline(accuracy, known).after.replace(NARROW, " "))
    (95 % interval 93.0 to 97.0).
    """
    who = _on_whom(known)
    if not accuracy.is_defined:
        return Headline(
            f"{who}, how often the model is right cannot be said:",
            "",
            f"{accuracy.note or 'the measure is undefined'}.",
        )
    bounds = interval(accuracy)
    prefix = f"{level(accuracy.level)} interval " if bounds != "no interval" else ""
    return Headline(
        f"{who}, the model named the right class in",
        f"{percent(accuracy.value)}{NARROW}%",
        f"({prefix}{bounds}).",
    )


def _on_whom(known: Exposure) -> str:
    images = counted(known.n_images, "image")
    apart = ""
    if known.n_copies:
        images += f" ({count(known.n_copies)} of them copies of images that it had seen)"
    elif known.trained and not known.n_used:
        # What the split bears out, and, where copies were looked for and none was found, more.
        never = known.n_copies == 0
        apart = " that it had never seen" if never else " kept out of its training"
    if known.n_unknown == known.n_images:
        return f"On {images}{apart} (patients not known)"
    if known.n_unknown:
        return f"On {images}{apart} (patients known in part)"
    people = counted(known.n_patients, "patient")
    if known.shared_patients:
        return f"On {images} of {people}, {count(known.shared_patients)} of whom it knew already"
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


def caveat(known: Exposure) -> str:
    """Return what the answer does not say."""
    if not known.trained:
        return (
            "This holds for images like these. It does not say how the model does at another "
            "hospital, on other machines or in patients of another age."
        )
    if not known.n_sources:
        return (
            "The images do not say which collection or hospital they come from: this says nothing "
            "about another hospital, other machines or patients of another age."
        )
    if known.same_sources:
        where = "collection" if known.n_sources == 1 else f"{known.n_sources} collections"
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
    known = exposure(manifest, predictions)
    found = []
    if known.n_used:
        found.append(
            f"{counted(known.n_used, 'tested image')} "
            f"{'belongs' if known.n_used == 1 else 'belong'} to the part that the model was "
            "trained or chosen on. These numbers do not say how well it does on new images."
        )
    if known.shared_patients:
        found.append(
            f"{counted(known.shared_patients, 'patient')} of the tested images also "
            f"{'has' if known.shared_patients == 1 else 'have'} images that the model was trained "
            f"or chosen on ({counted(known.shared_images, 'tested image')}). The numbers are "
            "probably too good; split by patient."
        )
    told = _told_by_source(manifest)
    if told:
        which = and_list(
            [
                f"{name} (balanced accuracy {percent(best, 0)}{NARROW}%)"
                for name, best in told.items()
            ]
        )
        found.append(
            "The source gives the class away: whoever knows only where an image comes from can "
            f"pick out {which}. The model may have learnt the source and not the disease."
        )
    missing = manifest.missing_patients
    if missing:
        found.append(
            f"Patients are not known for {counted(missing, 'image')}: each was treated as a "
            "patient of its own. One patient may stand on both sides of the split, and intervals "
            "may be too narrow."
        )
    return found


def _told_by_source(manifest: Manifest) -> dict[str, float]:
    """Classes that the source alone tells from the rest, with the balanced accuracy of doing so.

    The best rule that sees nothing but the source is right, class and rest weighing alike, in
    ``sum(max(p(source | class), p(source | rest))) / 2`` (Bayes).
    """
    frame = manifest.frame[manifest.frame["source"].notna()]
    sources, labels = frame["source"].nunique(), frame["label"].nunique()
    # With a handful of images for each source the rule would only recite the table.
    if sources < 2 or labels < 2 or len(frame) < _IMAGES_PER_SOURCE * sources:
        return {}
    table = pd.crosstab(frame["source"], frame["label"])
    told = {}
    for label in table.columns:
        mine, rest = table[label], table.sum(axis=1) - table[label]
        best = np.maximum(mine / mine.sum(), rest / rest.sum()).sum() / 2
        if best >= _SOURCE_TELLS:
            told[str(label)] = float(best)
    return told


def width_notes(evaluation: Evaluation, measure: str = "sensitivity") -> str:
    """Return a sentence on the classes too small to say much, or nothing."""
    wide = []
    for name in evaluation.classes:
        estimate = evaluation.get(measure, name)
        if estimate.is_defined and estimate.high - estimate.low > _WIDE:
            points = f"{100 * (estimate.high - estimate.low):.0f}"
            wide.append(f"{name} ({counted(estimate.n_images, 'image')}, {points} points wide)")
    if not wide:
        return ""
    return (
        f"Few images, wide interval: {and_list(wide)}. The true share may lie anywhere in it; "
        "to rank two models, compare them on the same images."
    )
