"""Loading: from files and runs to the material and the subject that hurdles are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.material import Elsewhere, FoldedModel, Material, NetworkModel, Subject
from hurdles.data.classes import known_classes
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError, ManifestError
from hurdles.evaluation.decisions import Threshold
from hurdles.evaluation.predictions import Predictions
from hurdles.pixels.facts import facts_of
from hurdles.pixels.framing import Framing, Resize
from hurdles.pixels.prepare import Preparation, framed_mask, needs_lungs
from hurdles.progress import Options
from hurdles.recipe.choices import Threshold as ThresholdRule
from hurdles.runs.assessment import predict_on
from hurdles.runs.images import prepare_as, prepare_for
from hurdles.runs.run import Run
from hurdles.runs.seen import seen_by

#: Side of the pixels that hurdles for data look at: what networks of this kind are trained on.
SIZE = 224


def material_of(
    manifest: Manifest,
    *,
    name: str,
    options: Options,
    size: int = SIZE,
    lungs: bool = True,
    level: float = 0.95,
    seed: int = 0,
    framing: Framing = Framing.STRETCH,
    fraction: float = 1.0,
    resize: Resize = Resize.AREA,
) -> Material:
    """Read images, what their files say of themselves and, if wanted, their lungs."""
    preparation = Preparation(size, framing=framing, fraction=fraction, resize=resize)
    raw = prepare_as(manifest, preparation, options)
    if not len(raw):
        last = raw.manifest.exclusions.iloc[-1]
        raise ManifestError(
            f"none of {len(manifest)} images can be read; {last['path']}: {last['reason']}"
        )
    options.listener.start("Reading headers", 1)
    facts = facts_of(raw.manifest)
    options.listener.advance()
    return Material(
        name=name,
        manifest=raw.manifest,
        pixels=raw.pixels,
        facts=facts,
        masks=_masks(raw.manifest, facts, preparation, options) if lungs else None,
        failures=raw.failures,
        level=level,
        seed=seed,
    )


def _masks(
    manifest: Manifest, facts: pd.DataFrame, preparation: Preparation, options: Options
) -> NDArray[np.bool_]:
    from hurdles.lungs.find import shipped_lungs

    size, way, fraction = preparation.size, preparation.framing, preparation.fraction
    shapes = facts[["height", "width"]].fillna(1).to_numpy(dtype=np.int64)
    lungs = prepare_as(manifest, shipped_lungs(), options, "Finding lungs")
    masks = np.zeros((len(manifest), size, size), dtype=bool)
    rows = {image: row for row, image in enumerate(manifest.frame["image"])}
    for image, mask in zip(lungs.manifest.frame["image"], lungs.pixels, strict=True):
        row = rows[image]
        height, width = shapes[row]
        masks[row] = framed_mask(mask, (height, width), way, fraction, size)
    if lungs.failures:
        options.listener.say(
            f"in {len(lungs.failures)} of {len(manifest)} images no lungs were found; hurdles that "
            "need them do without these"
        )
    return masks


def subject_of(
    run: Run,
    *,
    on: Mapping[str, Manifest] | None = None,
    siblings: Sequence[Run] = (),
    lungs: bool = True,
    options: Options | None = None,
) -> Subject:
    """Bring a finished run before the hurdles, with its images and those of other collections.

    Lungs are looked for if they are wanted, or the run's preparation needs them.
    """
    options = options or Options()
    run.require_finished()
    size = run.recipe.preparation.size
    level = run.recipe.evaluation.level
    lungs = lungs or needs_lungs(run.recipe.preparation.name)
    read = partial(material_of, options=options, size=size, level=level, lungs=lungs)
    own = read(run.manifest, name=run.recipe.name)
    parts = {}
    for part in (Split.TEST,) if run.is_ensemble else (Split.VALIDATION, Split.TEST):
        wanted = own.manifest.frame["image"].iloc[own.rows(part)].tolist()
        predictions = run.predictions(part.value)
        known = set(predictions.frame["image"])
        if missing := [image for image in wanted if image not in known]:
            raise HurdleError(
                f"{len(missing)} of {len(wanted)} {part} images have no prediction; the first is "
                f"{missing[0]!r}. Run the recipe again."
            )
        parts[part] = _in_order(predictions, wanted)
    return Subject(
        name=str(run.path),
        model=_model(run, parts[Split.TEST]),
        material=own,
        validation=parts.get(Split.VALIDATION),
        test=parts[Split.TEST],
        decide=_decision(run),
        elsewhere=[
            _elsewhere(run, name, images, read, options) for name, images in (on or {}).items()
        ],
        siblings=[_sibling(run, Run(each.path)) for each in siblings],
    )


def _model(run: Run, tested: Predictions) -> NetworkModel | FoldedModel:
    """Return a run's network; of folds, those of the first repeat, each for its own test images."""

    def of(each: Run) -> NetworkModel:
        return NetworkModel(each.network(), each.recipe.preparation.name, str(each.path))

    if not run.is_ensemble:
        return of(run)
    children = run.fold_runs()[: run.recipe.split.folds]
    fold = {
        image: number
        for number, child in enumerate(children)
        for image in child.require_finished().predictions("test").frame["image"]
    }
    folds = np.array([fold[image] for image in tested.frame["image"]], dtype=np.intp)
    return FoldedModel(tuple(map(of, children)), folds, str(run.path))


def _in_order(predictions: Predictions, images: list[str]) -> Predictions:
    frame = predictions.frame.set_index("image", drop=False)
    return Predictions(frame.loc[images].reset_index(drop=True))


def _decision(run: Run) -> Callable[[NDArray[np.float64]], NDArray[np.str_]] | None:
    if run.recipe.evaluation.threshold is ThresholdRule.ARGMAX:
        return None
    threshold = Threshold.from_dict(run.read_json("threshold.json"))
    column = run.labels.index(threshold.positive)
    other = next(label for label in run.labels if label != threshold.positive)

    def decide(probability: NDArray[np.float64]) -> NDArray[np.str_]:
        return np.where(probability[:, column] >= threshold.value, threshold.positive, other)

    return decide


def _elsewhere(
    run: Run, name: str, images: Manifest, read: Callable[..., Material], options: Options
) -> Elsewhere:
    strange: tuple[str, ...] = ()
    if images.has_classes:
        images, strange = known_classes(images, run.labels, who=str(run.path))
    prepared = prepare_for(run, images, options)
    trained_on = seen_by(run, prepared, options)
    left = prepared.manifest.without(trained_on.reasons.keys(), trained_on.reasons.values())
    if not len(left):
        raise HurdleError(f"every image of {name} shows what was used to train {run.path}.")
    material = read(left, name=name)
    for line in trained_on.lines():
        options.listener.say(f"{name}: {line}")
    predictions, _ = predict_on(run, material.manifest, name=f"audit-{name}", options=options)
    kept = material.manifest.frame["image"].isin(predictions.frame["image"]).to_numpy()
    return Elsewhere(material.take(kept), predictions, (*trained_on.lines(), *strange))


def _sibling(run: Run, other: Run) -> Predictions:
    other.require_finished()
    seeded = other.recipe.changed(training={"seed": run.recipe.training.seed})
    if seeded.key != run.recipe.key:
        raise HurdleError(
            f"{other.path} differs from {run.path} in more than training.seed; spread over seeds "
            "is measured on runs that differ in nothing else."
        )
    mine, theirs = run.predictions("test"), other.predictions("test")
    wanted = mine.frame["image"].tolist()
    if set(wanted) != set(theirs.frame["image"]):
        raise HurdleError(f"{other.path} was tested on other images than {run.path}.")
    return _in_order(theirs, wanted)
