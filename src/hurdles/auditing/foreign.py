"""Subjects from elsewhere: a model that can be asked, or nothing but a table of its answers.

No word of theirs is taken for more than it is: which images the model was trained on is known only
if somebody names them, and the limits were measured on networks that hurdles trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.loading import material_of
from hurdles.auditing.material import Elsewhere, Material, Model, Subject
from hurdles.copies.finder import matches
from hurdles.copies.similarity import PRINT_SIZE
from hurdles.data.classes import known_classes, same_class
from hurdles.data.manifest import COLUMNS, Manifest
from hurdles.data.table import in_terms
from hurdles.data.untrusted import listed
from hurdles.data.vocabulary import OnBad, Split
from hurdles.errors import HurdleError, ManifestError, ModelError
from hurdles.evaluation.predictions import Predictions
from hurdles.foreign.answers import Answers, read_answers
from hurdles.foreign.expectation import Expectation, check_expectation
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.spec import Output, Spec
from hurdles.pixels.framing import Framing
from hurdles.pixels.prepare import Preparation, needs_lungs
from hurdles.progress import Options, counting
from hurdles.runs.images import prepare_as

#: What every finding of a model from elsewhere is to be read with.
LIMITS_NOTE = (
    "measured on networks that hurdles trained: how often they are wrong about a model from "
    "elsewhere was not measured"
)


@dataclass(frozen=True, eq=False)
class Request:
    """Images that a model from elsewhere is to be judged on.

    Parameters
    ----------
    name : str
        As a reader calls them.
    images : Manifest, optional
        With a split, the part ``test`` is judged, and the probes of the hurdles learn on the part
        ``train``; without, all are judged. None where a table of answers stands alone.
    on : mapping of str to Manifest
        Other collections by name.
    trained_on : Manifest, optional
        Images that the model was trained on; copies of them are left out.
    level : float
        Confidence level of every interval, within (0, 1).
    """

    name: str
    images: Manifest | None = None
    on: Mapping[str, Manifest] | None = None
    trained_on: Manifest | None = None
    level: float = 0.95


def model_subject(
    model: Model,
    request: Request,
    *,
    options: Options,
    framing: Framing = Framing.STRETCH,
    fraction: float = 1.0,
    decide: Callable[[NDArray[np.float64]], NDArray[np.str_]] | None = None,
) -> tuple[Subject, dict[str, str]]:
    """Bring a model and its images before the hurdles; returns what a reader must know besides.

    Its answers to validation and test images, and to other collections, are had here.
    """
    if request.images is None:
        raise HurdleError("a model is asked about images; give them by --data.")
    notes: list[str] = []

    def material(name: str, images: Manifest) -> Material:
        images, strange = known_classes(images, model.labels, who=model.name)
        images, seen = _unseen(images, request.trained_on, options)
        notes.extend(f"{name}: {note}" for note in (*strange, *seen))
        return material_of(
            images,
            name=name,
            options=options,
            size=model.size,
            level=request.level,
            framing=framing,
            fraction=fraction,
        )

    own = material(request.name, _with_parts(request.images))
    elsewhere = [material(name, images) for name, images in (request.on or {}).items()]
    options.listener.start("Asking the model", 1)

    def answers(images: Material) -> Predictions:
        return images.predictions(model.labels, model.ask(images.pixels, images.masks))

    rows = own.rows(Split.VALIDATION)
    subject = Subject(
        name=model.name,
        model=model,
        material=own,
        validation=answers(own.take(rows)) if len(rows) else None,
        test=answers(own.take(own.rows(Split.TEST))),
        decide=decide,
        elsewhere=[Elsewhere(each, answers(each)) for each in elsewhere],
    )
    options.listener.advance()
    return subject, _about(model.name, request, notes)


def answers_subject(
    path: str | Path,
    request: Request,
    *,
    options: Options,
    seeds: Sequence[str | Path] = (),
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[Subject, dict[str, str]]:
    """Bring a table of predictions before the hurdles, with the images where they are given.

    Without images, the table itself has to say the true classes, and it may say patients, sources,
    sex, age, view and split. `seeds` are tables of the same model trained with another seed.
    """
    notes: list[str] = []

    def read(file: str | Path, images: Manifest | None, labels: Sequence[str] | None) -> Answers:
        names = None if images is None else images.frame["image"].tolist()
        answers = read_answers(
            file, names, labels, positive=positive, columns=columns, truth=images is None
        )
        notes.extend(answers.notes)
        return answers

    images = None if request.images is None else _with_parts(request.images)
    wanted = classes or (None if images is None else images.labels)
    answers = read(path, images, wanted)
    if images is None:
        images = _with_parts(_manifest_of(answers, Path(path)))
        notes += images.notes
        manifest, answered = _answered(images, answers, notes, request.name)
        nothing = np.zeros((len(manifest), 0, 0), dtype=np.uint8)
        own = Material(request.name, manifest, nothing, level=request.level)
    else:
        images, strange = known_classes(images, answers.labels, who=str(path))
        images, seen = _unseen(images, request.trained_on, options)
        notes += [*strange, *seen]
        manifest, answered = _answered(images, answers, notes, request.name)
        own = material_of(manifest, name=request.name, options=options, level=request.level)

    def part(material: Material, which: Split) -> Predictions | None:
        rows = material.rows(which)
        if not len(rows):
            return None
        chosen = material.take(rows)
        probability = answered.reindex(chosen.manifest.frame["image"]).to_numpy(dtype="float64")
        if np.isnan(probability).any():  # of a validation image; the test part has all answers
            return None
        return chosen.predictions(answers.labels, probability)

    test = part(own, Split.TEST)
    assert test is not None  # _answered left none without an answer
    others = []
    for name, there in (request.on or {}).items():
        there, strange = known_classes(there, answers.labels, who=str(path))
        notes += [f"{name}: {note}" for note in strange]
        outside = read(path, there, answers.labels)
        there, theirs = _answered(_all_test(there), outside, notes, name)
        material = material_of(there, name=name, options=options, level=request.level)
        probability = theirs.loc[material.manifest.frame["image"]].to_numpy(dtype="float64")
        others.append(Elsewhere(material, material.predictions(answers.labels, probability)))
    tested = own.take(own.rows(Split.TEST))
    siblings = []
    for file in seeds:
        sibling = read(file, tested.manifest, answers.labels)
        if not sibling.answered.all():
            why = "; ".join(sibling.problems)
            raise HurdleError(f"{file} does not answer what {path} does: {why}.")
        siblings.append(tested.predictions(answers.labels, sibling.probabilities))
    subject = Subject(
        name=str(path),
        model=None,
        material=own,
        validation=part(own, Split.VALIDATION),
        test=test,
        decide=_decisions(answers, notes),
        elsewhere=others,
        siblings=siblings,
    )
    return subject, _about(Path(path).name, request, notes)


def _manifest_of(answers: Answers, path: Path) -> Manifest:
    """Return the images of a table of answers that says the truth, without any file."""
    given = answers.frame
    frame = pd.DataFrame({c: given.get(c) for c in COLUMNS}, dtype=object)
    frame["path"] = frame["image"]
    notes = in_terms(frame)
    try:
        return Manifest(frame, notes=tuple(notes))
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


class _AskedOnly:
    """A model without a spec, as one whose images alone can be altered: turned, or framed."""

    def __init__(self, model: Model, spec: Spec | None = None) -> None:
        self.model = model
        self.plain = Spec(classes=model.labels, size=model.size, output=Output.SOFTMAX)
        self.spec = spec or self.plain

    def with_spec(self, spec: Spec) -> _AskedOnly:
        return _AskedOnly(self.model, spec)

    def outputs(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        free = {"inverted": False, "framing": Framing.STRETCH, "crop_fraction": 1.0}
        free |= {"classes": self.plain.classes, "output": self.plain.output}
        if self.spec.model_copy(update=free) != self.plain:
            raise ModelError("only its images can be altered, not what it makes of them.")
        return self.model.ask(255 - pixels if self.spec.inverted else pixels, masks)


def expected_of(
    model: Model,
    path: str | Path,
    request: Request,
    *,
    options: Options,
    columns: Mapping[str, str] | None = None,
) -> Expectation:
    """Hold a model's answers about its own images against its user's predictions of them."""
    assert request.images is not None
    specified = model if isinstance(model, OnnxModel) else _AskedOnly(model)
    names = request.images.frame["image"].tolist()
    positive = specified.spec.positive
    answers = read_answers(path, names, model.labels, positive=positive, columns=columns)
    if not answers.answered.any():
        raise ModelError(f"{path} cannot be compared: {'; '.join(answers.problems)}.")
    images = request.images.select(answers.answered)
    options.listener.start("Comparing with what is expected", 1)

    def reading(
        spec: Spec, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        some = material_of(
            Manifest(images.frame.iloc[rows]),
            name=request.name,
            options=replace(options, progress=None, on_bad=OnBad.STOP),
            size=spec.size,
            lungs=needs_lungs(spec.preparation),
            framing=spec.framing,
            fraction=spec.crop_fraction,
        )
        return some.pixels, some.masks

    wanted = answers.probabilities[answers.answered]
    expectation = check_expectation(
        specified,
        {label: wanted[:, k] for k, label in enumerate(answers.labels)},
        reading,
        images=images.frame["image"].tolist(),
    )
    options.listener.advance()
    notes = [*expectation.notes, *(f"Of {path}: {problem}." for problem in answers.problems)]
    if isinstance(model, OnnxModel):
        return replace(expectation, notes=tuple(notes))
    if not expectation.agrees:
        notes.append("It has no spec to set: mend what it does with images, or name its classes.")
    return replace(expectation, notes=tuple(notes), unnoticed=())


def _with_parts(images: Manifest) -> Manifest:
    """Return images with a test part: all of them where no split is known."""
    split = images.frame["split"]
    if split.isna().all():
        return _all_test(images)
    if not (split == Split.TEST).any():
        parts = listed(sorted(split.dropna().unique()))
        raise HurdleError(
            f"no image is of the part test (there are {parts}), and a model is judged on images "
            "that it did not learn from; name the part, or leave the column out (--column split=) "
            "if it learnt from none of them."
        )
    nowhere = images.frame.loc[split.isna(), "image"]
    return images.without(nowhere, ["it is of no part of the split"] * len(nowhere))


def _all_test(images: Manifest) -> Manifest:
    return replace(images, frame=images.frame.assign(split=Split.TEST.value))


def _unseen(
    images: Manifest, trained_on: Manifest | None, options: Options
) -> tuple[Manifest, list[str]]:
    """Return images without those of the test part that show what the model was trained on."""
    if trained_on is None:
        return images, []
    judged = images.select(images.frame["split"] != Split.TRAIN)
    sides = [prepare_as(each, Preparation(PRINT_SIZE), options) for each in (trained_on, judged)]
    pairs = matches(*sides, progress=counting(options.listener, "Looking for copies"))
    reasons: dict[str, str] = {}
    for pair in pairs.itertuples():
        why = f"the model was trained on it: it shows {pair.image_a}, similarity {pair.similarity}"
        reasons.setdefault(str(pair.image_b), why)
    if not reasons:
        return images, []
    left = images.without(reasons, reasons.values())
    if not (left.frame["split"] == Split.TEST).any():
        raise HurdleError(f"all of {len(judged)} images show what the model was trained on.")
    known = f"{len(reasons)} of {len(judged)} images show what the model was trained on"
    return left, [f"{known} and are left out"]


def _answered(
    images: Manifest, answers: Answers, notes: list[str], name: str
) -> tuple[Manifest, pd.DataFrame]:
    """Return the images that are of use, and the answers to them by image's name.

    A test image without an answer is left out, and said; training images need none.
    """
    probability = pd.DataFrame(
        answers.probabilities, index=pd.Index(answers.frame["image"]), columns=[*answers.labels]
    )
    has_answer = images.frame["image"].isin(probability.dropna().index)
    lost = images.frame.loc[~has_answer & (images.frame["split"] == Split.TEST), "image"]
    tested = int((images.frame["split"] == Split.TEST).sum())
    if len(lost) == tested:
        raise HurdleError(f"{name}: no test image has an answer: {'; '.join(answers.problems)}.")
    if len(lost):
        why = "; ".join(answers.problems)
        notes.append(
            f"{name}: {len(lost)} of {tested} test images have no usable answer and are left out: "
            f"{why}"
        )
        images = images.without(lost, ["it has no usable answer"] * len(lost))
    return images, probability


def _decisions(
    answers: Answers, notes: list[str]
) -> Callable[[NDArray[np.float64]], NDArray[np.str_]] | None:
    """Return the threshold that a table's decisions show beside its probabilities, if they do."""
    if "prediction" not in answers.frame or answers.is_hard:
        return None
    rows = answers.answered & answers.frame["prediction"].notna().to_numpy()
    spelled = {same_class(label): label for label in answers.labels}
    decisions = answers.frame["prediction"][rows].map(lambda c: spelled.get(same_class(str(c)), c))
    probability, labels = answers.probabilities[rows], np.array(answers.labels)
    others = int((labels[probability.argmax(axis=1)] != decisions).sum())
    if not others:
        return None
    positive = probability[:, 0][(decisions == labels[0]).to_numpy()]
    negative = probability[:, 0][(decisions == labels[1]).to_numpy()]
    if (
        len(labels) > 2
        or not len(positive)
        or not len(negative)
        or positive.min() <= negative.max()
    ):
        notes.append(
            f"in {others} of {len(decisions)} rows the decision is not the most probable class, "
            "and no threshold explains it: the most probable class is used"
        )
        return None
    threshold = float(positive.min() + negative.max()) / 2
    notes.append(
        f"the decisions are those of a threshold: {labels[0]} from {threshold:.4g} on, the middle "
        f"of {negative.max():.4g} and {positive.min():.4g}"
    )

    def decide(p: NDArray[np.float64]) -> NDArray[np.str_]:
        return np.asarray(np.where(p[:, 0] >= threshold, labels[0], labels[1]), dtype=str)

    return decide


def _about(model: str, request: Request, notes: Sequence[str]) -> dict[str, str]:
    """Return what a reader must know of the model and its answers."""
    about = {"model": model, "limits": LIMITS_NOTE}
    if notes:
        about["notes"] = "; ".join(dict.fromkeys(notes))
    if request.trained_on is None:
        about["training"] = (
            "which images the model was trained on is not known, so that copies of them among "
            "these could not be left out (--trained-on)"
        )
    return about
