"""Subjects from elsewhere: a model that can be asked, or nothing but a table of its answers.

No word of theirs is taken for more than it is: which images the model was trained on is known only
if somebody names them, and the limits were measured on networks that hurdles trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.loading import material_of
from hurdles.auditing.material import Elsewhere, Material, Model, Subject, answers_to
from hurdles.data.classes import known_classes
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import OnBad, Split
from hurdles.errors import HurdleError, ModelError
from hurdles.foreign.answers import read_answers
from hurdles.foreign.expectation import Expectation, check_expectation
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.predictions import (
    PredictionTable,
    all_test,
    read_predictions,
    with_parts,
)
from hurdles.foreign.spec import Output, Spec
from hurdles.pixels.framing import Framing, Resize
from hurdles.pixels.prepare import needs_lungs
from hurdles.progress import Options
from hurdles.runs.encoders import encoder_images, public_images, seen_images

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
    trained_on : sequence of path or Manifest
        Images that the model was trained on, or fingerprints of them (``.npz``); copies of them
        are left out.
    """

    name: str
    images: Manifest | None = None
    on: Mapping[str, Manifest] | None = None
    trained_on: Sequence[str | Path | Manifest] = ()


def model_subject(
    model: Model,
    request: Request,
    *,
    options: Options,
    framing: Framing = Framing.STRETCH,
    fraction: float = 1.0,
    resize: Resize = Resize.AREA,
    decide: Callable[[NDArray[np.float64]], NDArray[np.str_]] | None = None,
    lungs: bool = True,
) -> tuple[Subject, dict[str, str]]:
    """Bring a model and its images before the hurdles; returns what a reader must know besides.

    Its answers to validation and test images, and to other collections, are had here.
    """
    if request.images is None:
        raise HurdleError("a model is asked about images; give them by --data.")
    notes: list[str] = []
    training = _Training(model.name, request, options)

    def material(name: str, images: Manifest) -> Material:
        if images.has_classes:
            images, strange = known_classes(images, model.labels, who=model.name)
            notes.extend(f"{name}: {note}" for note in strange)
        images = training.without(images, name)
        return material_of(
            images,
            name=name,
            options=options,
            size=model.size,
            lungs=lungs or needs_lungs(model.preparation),
            framing=framing,
            fraction=fraction,
            resize=resize,
        )

    own = material(request.name, with_parts(request.images))
    elsewhere = [material(name, all_test(each)) for name, each in (request.on or {}).items()]
    options.listener.start("Asking the model", 1)

    rows = [own.rows(part) for part in (Split.TEST, Split.VALIDATION)]
    if not len(rows[0]):
        raise HurdleError(f"no test image of {request.name} can be read.")
    judged = [*(own.take(each) for each in rows if len(each)), *elsewhere]
    answers = answers_to(model, ((images.pixels, images.masks) for images in judged))
    predictions = [
        images.predictions(model.labels, answer)
        for images, answer in zip(judged, answers, strict=True)
    ]
    of_elsewhere = predictions[len(judged) - len(elsewhere) :]
    subject = Subject(
        name=model.name,
        model=model,
        material=own,
        validation=predictions[1] if len(rows[1]) else None,
        test=predictions[0],
        decide=decide,
        elsewhere=[Elsewhere(*pair) for pair in zip(elsewhere, of_elsewhere, strict=True)],
    )
    notes += getattr(model, "notes", ())
    options.listener.advance()
    return subject, _about(model.name, training, notes)


def answers_subject(
    path: str | Path,
    request: Request,
    *,
    options: Options,
    seeds: Sequence[str | Path] = (),
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    columns: Mapping[str, str] | None = None,
    lungs: bool = True,
) -> tuple[Subject, dict[str, str]]:
    """Bring a table of predictions before the hurdles, with the images where they are given.

    `seeds` are tables of the same model trained with another seed.
    """

    def read(
        file: str | Path, images: Manifest | None, classes: Sequence[str] | None
    ) -> PredictionTable:
        return read_predictions(file, images, classes=classes, positive=positive, columns=columns)

    images, training = request.images, _Training(Path(path).name, request, options)
    if images is not None:
        images = training.without(with_parts(images), request.name)
    table = read(path, images, classes)
    notes = [*table.notes]
    if images is None:
        nothing = np.zeros((len(table.images), 0, 0), dtype=np.uint8)
        own = Material(request.name, table.images, nothing)
    else:
        own = material_of(table.images, name=request.name, options=options, lungs=lungs)
    if not len(own.rows(Split.TEST)):
        raise HurdleError(f"no test image of {request.name} can be read.")
    of_own = replace(table, images=own.manifest)  # files that cannot be read are gone by now
    others = []
    for name, there in (request.on or {}).items():
        outside = read(path, training.without(all_test(there), name), table.classes)
        notes += [f"{name}: {note}" for note in outside.notes if note not in notes]
        material = material_of(outside.images, name=name, options=options, lungs=lungs)
        others.append(Elsewhere(material, replace(outside, images=material.manifest).test))
    tested = own.take(own.rows(Split.TEST)).manifest
    siblings = []
    for file in seeds:
        sibling = read(file, tested, table.classes)
        if len(sibling.images) < len(tested):
            raise HurdleError(
                f"{file} does not answer what {path} does: {'; '.join(sibling.notes)}."
            )
        siblings.append(sibling.test)
    subject = Subject(
        name=str(path),
        model=None,
        material=own,
        validation=of_own.part(Split.VALIDATION),
        test=of_own.test,
        decide=table.decide,
        elsewhere=others,
        siblings=siblings,
    )
    return subject, _about(Path(path).name, training, notes)


class _WithoutSpec:
    """A model without a spec, as one whose images alone can be altered: turned, or framed."""

    def __init__(self, model: Model, spec: Spec | None = None) -> None:
        self.model = model
        plain = {"classes": model.labels, "size": model.size, "output": Output.SOFTMAX}
        self.plain = Spec.parse(plain, model.name)
        self.spec = spec or self.plain

    def with_spec(self, spec: Spec) -> _WithoutSpec:
        return _WithoutSpec(self.model, spec)

    def outputs(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        free = {
            "inverted": False,
            "framing": Framing.STRETCH,
            "crop_fraction": 1.0,
            "resize": Resize.AREA,
        }
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
    specified = model if isinstance(model, OnnxModel) else _WithoutSpec(model)
    names = request.images.frame["image"].tolist()
    positive = specified.spec.positive or getattr(model, "positive", None)
    answers = read_answers(
        path, names, model.labels, positive=positive, columns=columns, may_hold_truth=True
    )
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
            resize=spec.resize,
        )
        return some.pixels, some.masks

    wanted = answers.probabilities[answers.answered]
    expectation = check_expectation(
        specified,
        {label: wanted[:, k] for k, label in enumerate(answers.labels)},
        reading,
        images=images.frame["image"].tolist(),
        unnoticed=isinstance(model, OnnxModel),  # a program would be started for each
        listener=lambda tried: options.listener.advance(0, f"{tried} ways tried"),
    )
    options.listener.advance()
    notes = [*expectation.notes, *(f"Of {path}: {problem}." for problem in answers.problems)]
    if isinstance(model, OnnxModel):
        return replace(expectation, notes=tuple(notes))
    if not expectation.agrees:
        notes.append("It has no spec to set: mend what it does with images, or name its classes.")
    return replace(expectation, notes=tuple(notes), unnoticed=())


class _Training:
    """Images that a model from elsewhere was trained on, as far as they were named."""

    def __init__(self, model: str, request: Request, options: Options) -> None:
        self.model, self.options = model, options
        self.images = encoder_images(model, None, request.trained_on, options)
        self.lines: list[str] = []

    def without(self, images: Manifest, name: str) -> Manifest:
        """Return images without those of the test part that the model has seen; note the loss."""
        judged = images.select(images.frame["split"] != Split.TRAIN)
        if not self.images.compared:
            tested = judged.part(Split.TEST)
            public = public_images(tested, self.options)
            counts = ", ".join(f"{collection} {n}" for collection, n in public.items())
            if counts:
                self.lines.append(
                    f"of {name}, {sum(public.values())} of {len(tested)} test images stand in "
                    f"public collections ({counts}), on which published models are trained"
                )
            return images
        reasons = seen_images(judged, self.images, self.options, self.model)
        left = images.without(reasons, reasons.values())
        if not (left.frame["split"] == Split.TEST).any():
            raise HurdleError(f"all test images of {name} show what {self.model} was trained on.")
        self.lines.append(
            f"{len(reasons)} of {len(judged)} images of {name} show what {self.model} was trained "
            "on and are left out"
            if reasons
            else f"none of {len(judged)} images of {name} was recognized as one that {self.model} "
            "was trained on"
        )
        return left

    def __str__(self) -> str:
        compared = self.images.compared
        known = [f"compared with {'; '.join(compared)}"] if compared else []
        return "; ".join([*known, *self.lines, *self.images.unknown])


def _about(model: str, training: _Training, notes: Sequence[str]) -> dict[str, str]:
    """Return what a reader must know of the model and its answers."""
    about = {"model": model, "limits": LIMITS_NOTE, "training": str(training)}
    return about | ({"notes": "; ".join(dict.fromkeys(notes))} if notes else {})
