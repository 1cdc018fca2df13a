"""Predictions of somebody's model, from a table: with their images, or with what it says of them.

Tables of any habit are read (`hurdles.foreign.answers`). Of images with a split the part ``test``
is judged; without a split, all are. An image without a usable answer is left out, and said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.classes import known_classes, same_class
from hurdles.data.manifest import COLUMNS, Manifest, patients_of
from hurdles.data.table import columns_in, in_terms
from hurdles.data.untrusted import listed
from hurdles.data.vocabulary import Split
from hurdles.errors import EvaluationError, ManifestError
from hurdles.evaluation.decisions import parted_at
from hurdles.evaluation.predictions import COLUMNS as OWN_COLUMNS
from hurdles.evaluation.predictions import Predictions
from hurdles.foreign.answers import AnswerTable, read_answers

__all__ = ["PredictionTable", "read_predictions"]

#: Columns by which a table of hurdles is known, see `hurdles.evaluation.predictions`.
_OWN = {column: column for column in OWN_COLUMNS}
#: From probabilities (n, K) to n names of classes.
Decide: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Predictions with the images that they are of.

    Parameters
    ----------
    path : Path
        The table.
    images : Manifest
        With a split: the part ``test`` has an answer each, the others may have none.
    classes : tuple of str
        In the order of the probabilities.
    probability : DataFrame
        Columns are the classes, the index names the images; NaN where there is no usable answer.
    decision : Series
        Class that the table names, by image; missing where it names none.
    notes : tuple of str
        What a reader should know: what was left out, guessed or not used.
    decide : callable, optional
        The threshold that the table's decisions show, where they are not the most probable class.
    """

    path: Path
    images: Manifest
    classes: tuple[str, ...]
    probability: pd.DataFrame
    decision: pd.Series
    notes: tuple[str, ...] = ()
    decide: Decide | None = None

    def part(self, which: Split | str) -> Predictions | None:
        """Return the predictions of a part; None where it has no image, or one has no answer.

        The class predicted is the one that the table names, or else the most probable one.
        """
        rows = self.images.part(Split(which))
        if not len(rows):
            return None
        names = rows.frame["image"]
        probability = self.probability.reindex(names).to_numpy(dtype="float64")
        if np.isnan(probability).any():
            return None
        plain = Predictions.of_images(rows, self.classes, probability)
        decision = self.decision.reindex(names).to_numpy(dtype=object)
        if pd.isna(decision).any():
            return plain
        return Predictions(plain.frame.assign(prediction=decision.astype(str)))

    @property
    def test(self) -> Predictions:
        """The predictions of the test part."""
        test = self.part(Split.TEST)
        assert test is not None  # `read_predictions` leaves out what has no answer
        return test


def read_predictions(
    path: str | Path,
    images: Manifest | None = None,
    *,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> PredictionTable:
    """Read a table of predictions.

    Parameters
    ----------
    path : path
        A CSV, Excel or Parquet file with a row per image: a probability for each class, or of the
        positive one, or decisions.
    images : Manifest, optional
        The images with their true classes. Default: the table says the truth itself, and may say
        the patient, source, view, sex, age and split.
    classes : sequence of str, optional
        Of the model; default: those of the images.
    positive : str, optional
        Of two classes, the one whose probability is given.
    columns : mapping, optional
        As for `hurdles.foreign.answers.read_answers`.

    Returns
    -------
    PredictionTable

    Raises
    ------
    ModelError
        If the table does not tell images, classes or truth.
    ManifestError
        If what it says of patients is none of the known terms.
    EvaluationError
        If no test image has an answer.
    """
    path, columns = Path(path), dict(columns or {})
    is_own = images is None and "group" not in columns and is_of_hurdles(path)
    if is_own:  # a table of hurdles, whose patients stand in its groups
        columns |= {"group": "patient"}
    wanted = classes or (None if images is None else images.labels)
    names = None if images is None else images.frame["image"].tolist()
    answers = read_answers(
        path,
        names,
        wanted,
        positive=positive,
        columns=columns,
        truth=images is None,
        may_hold_truth=images is not None,
    )
    notes = [*answers.notes]
    if images is None:
        images = _manifest_of(answers, path, is_own=is_own)
        notes += images.notes
    elif images.has_classes:
        images, strange = known_classes(images, answers.labels, who=str(path))
        notes += strange
    images = _with_answers(with_parts(images), answers, notes)
    index = pd.Index(answers.frame["image"])
    nothing = pd.Series(None, index=range(len(index)), dtype=object)
    spelled = {same_class(label): label for label in answers.labels}
    decision = answers.frame.get("prediction", nothing)
    decision = decision.map(lambda c: spelled.get(same_class(str(c))), na_action="ignore")
    decide = _threshold(answers, decision, notes)
    return PredictionTable(
        path,
        images,
        answers.labels,
        pd.DataFrame(answers.probabilities, index=index, columns=[*answers.labels]),
        pd.Series(decision.to_numpy(dtype=object), index=index),
        tuple(notes),
        decide,
    )


def is_of_hurdles(path: Path) -> bool:
    """Return whether a table has the columns that hurdles gives its own predictions."""
    try:
        return len(columns_in(path, _OWN)) == len(_OWN)
    except ManifestError:  # no table; whoever reads it says so
        return False


def with_parts(images: Manifest) -> Manifest:
    """Return images with a test part: all of them where no split is known."""
    split = images.frame["split"]
    if split.isna().all():
        return all_test(images)
    if not (split == Split.TEST).any():
        parts = listed(sorted(split.dropna().unique()))
        raise EvaluationError(
            f"no image is of the part test (there are {parts}), and a model is judged on images "
            "that it did not learn from; name the part, or leave the column of the split out (as "
            "in --column split=) if it learnt from none of them."
        )
    nowhere = images.frame.loc[split.isna(), "image"]
    return images.without(nowhere, ["it is of no part of the split"] * len(nowhere))


def all_test(images: Manifest) -> Manifest:
    """Return images of which every one is of the test part."""
    return replace(images, frame=images.frame.assign(split=Split.TEST.value))


def _manifest_of(answers: AnswerTable, path: Path, *, is_own: bool) -> Manifest:
    """Return the images of a table of answers that says the truth, without any file."""
    given = answers.frame
    frame = pd.DataFrame({c: given.get(c) for c in COLUMNS}, dtype=object)
    frame["path"] = frame["image"]
    if is_own:
        groups = frame.rename(columns={"patient": "group"})
        frame = groups.drop(columns="group").join(patients_of(groups))
    notes = []
    if nobody_knows := int(frame["label"].isna().sum()):
        notes.append(f"the true class is empty in {nobody_knows} rows, which are left out")
        frame = frame[frame["label"].notna()].reset_index(drop=True)
    guessed = answers.columns.get("split", "split")
    notes += in_terms(frame, is_split_guessed=guessed.casefold() != "split")
    if "split" in answers.columns and not frame["split"].notna().any():
        notes.append(f"{guessed!r} holds no train, validation or test, and is not used")
    try:
        return Manifest(frame, notes=tuple(notes))
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def _with_answers(images: Manifest, answers: AnswerTable, notes: list[str]) -> Manifest:
    """Return the images that are of use: a test image needs an answer, training images do not."""
    answered = set(answers.frame["image"][answers.answered].tolist())
    has_answer = np.array([image in answered for image in images.frame["image"].tolist()])
    is_tested = images.frame["split"] == Split.TEST
    lost = images.frame.loc[~has_answer & is_tested, "image"]
    why = "; ".join(answers.problems)
    if len(lost) == is_tested.sum():
        raise EvaluationError(f"no test image has a usable answer: {why}.")
    if not len(lost):
        return images
    notes.append(
        f"{len(lost)} of {is_tested.sum()} test images have no usable answer and are left out: "
        f"{why}"
    )
    return images.without(lost, ["it has no usable answer"] * len(lost))


def _threshold(answers: AnswerTable, decision: pd.Series, notes: list[str]) -> Decide | None:
    """Return the threshold that a table's decisions show beside its probabilities, if they do."""
    rows = answers.answered & decision.notna().to_numpy()
    if answers.is_hard or not rows.any():
        return None
    decisions, labels = decision[rows].to_numpy(dtype=str), np.array(answers.labels)
    probability = answers.probabilities[rows]
    others = int((labels[probability.argmax(axis=1)] != decisions).sum())
    if not others:
        return None
    first = probability[:, 0]
    positive, negative = first[decisions == labels[0]], first[decisions != labels[0]]
    if (
        len(labels) > 2
        or not len(positive)
        or not len(negative)
        or positive.min() <= negative.max()
    ):
        notes.append(
            f"in {others} of {len(decisions)} rows the decision is not the most probable class, "
            "and no threshold explains it: of altered images the most probable class is taken"
        )
        return None
    threshold = float(positive.min() + negative.max()) / 2
    notes.append(
        f"the decisions are those of a threshold: {labels[0]} from {threshold:.4g} on, the middle "
        f"of {negative.max():.4g} and {positive.min():.4g}"
    )

    return partial(parted_at, threshold, answers.labels[0], answers.labels)
