"""Testing a finished run: on its own test images, and on images from elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from hurdles.data.classes import known_classes
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import RecipeError, RunError
from hurdles.evaluation.decisions import Threshold, apply, youden_threshold
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.pixels.cache import Prepared
from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.choices import Threshold as ThresholdRule
from hurdles.recipe.recipe import EvaluationSection
from hurdles.runs.images import Options, left_out_lines, prepare_for
from hurdles.runs.presentation import save_sheets, sheets_of, write_page
from hurdles.runs.run import Run
from hurdles.runs.seen import Seen, seen_by
from hurdles.training.machine import this_machine
from hurdles.training.prediction import probabilities
from hurdles.training.rejection import Rejector


def assess_own(run: Run, prepared: Prepared, options: Options) -> None:
    """Write what a trained run says of its own validation and test images, and how good that is."""
    where, remedy = prepared.manifest.frame["split"], run.recipe.remedy
    if remedy.reject:
        seen = [prepared.pixels[where == part] for part in (Split.TRAIN, Split.VALIDATION)]
        accept = 1 - remedy.reject
        Rejector.of(run.network(), *seen, acceptance=accept, by=remedy.reject_by).save(run.path)
    for part in (Split.VALIDATION, Split.TEST):
        rows = np.flatnonzero(where == part)
        subset = Prepared(prepared.manifest.part(part), prepared.pixels[rows])
        predictions = _predict(run, subset, options)
        if part is Split.VALIDATION:
            _fix_threshold(run, predictions)
        predictions = _decided(run, predictions)
        predictions.save(run.path / "predictions" / f"{part}.csv")
        notes = _selected(run, subset, predictions, part.value)
    result = _measured(run, predictions)
    result = replace(result, notes=(*run.copy_remarks, *notes, *result.notes))
    run.write_json("evaluation.json", result.to_dict())
    save_sheets(run.path / "heatmaps.npz", sheets_of(run, subset, predictions, options.listener))


def evaluate_run(
    run: Run,
    manifest: Manifest,
    *,
    name: str,
    keep_seen: bool = False,
    options: Options | None = None,
) -> Evaluation:
    """Test a finished run on further images and write what comes out into its folder."""
    options = options or Options()
    run.require_finished()
    run.require_free(name)
    manifest, strange = known_classes(manifest, run.labels, who=str(run.path))
    prepared = prepare_for(run, manifest, options)
    lost = tuple(left_out_lines(manifest, prepared.failures))
    seen = seen_by(run, prepared, options)
    said = seen.lines(kept=keep_seen)
    for line in said:
        options.listener.say(line)
    if not keep_seen:
        prepared = _without(run, prepared, seen)
    predictions = _decided(run, _predict(run, prepared, options))
    result = _measured(run, predictions)
    sheets = sheets_of(run, prepared, predictions, options.listener)
    notes = _selected(run, prepared, predictions, name)
    result = replace(result, notes=(*said, *strange, *lost, *notes, *result.notes))
    if (run.path / f"evaluation.{name}.json").is_file():
        options.listener.say(f"the earlier test on {name} in {run.path} is replaced")
    with run.locked():  # everything is computed: the files of one set belong together
        predictions.save(run.path / "predictions" / f"{name}.csv")
        run.write_json(f"evaluation.{name}.json", result.to_dict())
        save_sheets(run.path / f"heatmaps.{name}.npz", sheets)
        prepared.manifest.save(run.path / f"manifest.{name}.csv")
        write_page(run, on=name, pictures=options.pictures)
    return result


def test_predictions(run: Run, epoch: ChosenEpoch, options: Options) -> Predictions:
    """Return what the weights of an epoch say of a run's own test images; computed once."""
    if epoch is run.recipe.training.choose:
        return run.predictions("test")
    path = run.path / "predictions" / f"test.{epoch}.csv"
    if not path.is_file():
        prepared = prepare_for(run, run.manifest.part(Split.TEST), options)
        predictions = _predict(run, prepared, options, epoch)
        _require_threshold(run, options, epoch)
        _decided(run, predictions, epoch).save(path)
    return Predictions.load(path)


def predict_on(
    run: Run,
    manifest: Manifest,
    *,
    name: str,
    epoch: ChosenEpoch | None = None,
    options: Options | None = None,
) -> tuple[Predictions, dict[str, str]]:
    """Return what a finished run says of further images, and nothing else; computed once.

    Unlike `evaluate_run` it measures nothing, draws nothing, and leaves no image out because it was
    seen: a study asks one run about thousands of images and decides afterwards which of them count.
    """
    options = options or Options()
    run.require_finished()
    run.require_free(name)
    asked = {"manifest": manifest.content_hash, "epoch": str(epoch or run.recipe.training.choose)}
    beside, path = f"asked.{name}.json", run.path / "predictions" / f"{name}.csv"
    if path.is_file() and (run.path / beside).is_file():
        before = dict(run.read_json(beside))
        left_out = dict(before.pop("left_out"))
        if before == asked:
            return Predictions.load(path), left_out
    prepared = prepare_for(run, manifest, options)
    lost = prepared.manifest.exclusions.iloc[len(manifest.exclusions) :]
    images = dict(zip(manifest.frame["path"], manifest.frame["image"], strict=True))
    left_out = {images[p]: r for p, r in zip(lost["path"], lost["reason"], strict=True)}
    predictions = _predict(run, prepared, options, epoch)
    _require_threshold(run, options, epoch)
    predictions = _decided(run, predictions, epoch)
    if epoch is None or epoch is run.recipe.training.choose:
        _selected(run, prepared, predictions, name)
    with run.locked():
        (run.path / beside).unlink(missing_ok=True)  # never beside the answers to another question
        predictions.save(path)
        run.write_json(beside, {**asked, "left_out": left_out})
    return predictions, left_out


def _predict(
    run: Run, prepared: Prepared, options: Options, epoch: ChosenEpoch | None = None
) -> Predictions:
    machine = this_machine("float32")
    options.listener.start("Predicting", len(prepared))
    network = run.network(epoch).to(machine.device)
    probability = probabilities(
        network, prepared.pixels, machine=machine, progress=options.listener
    )
    frame = prepared.manifest.frame
    return Predictions.from_arrays(
        run.labels,
        y_true=frame["label"].tolist(),
        y_prob=probability,
        images=frame["image"].tolist(),
        groups=prepared.manifest.groups.tolist(),
        sources=[None if s != s else s for s in frame["source"]],
        paths=frame["path"].tolist(),
    )


def _threshold_file(run: Run, epoch: ChosenEpoch | None) -> str:
    """Return the name of the file: other weights have other probabilities and another threshold."""
    own = epoch is None or epoch is run.recipe.training.choose
    return "threshold.json" if own else f"threshold.{epoch}.json"


def _fix_threshold(run: Run, validation: Predictions, epoch: ChosenEpoch | None = None) -> None:
    """Choose the threshold that the recipe asks for on validation images, and write it down."""
    section = run.recipe.evaluation
    if section.threshold is not ThresholdRule.ARGMAX:
        threshold = youden_threshold(validation, section.positive or run.labels[0])
        run.write_json(_threshold_file(run, epoch), threshold.to_dict())


def _require_threshold(run: Run, options: Options, epoch: ChosenEpoch | None) -> None:
    """Fix the threshold of an epoch that was not assessed with its run, if that is not done."""
    if run.recipe.evaluation.threshold is ThresholdRule.ARGMAX:
        return
    if not (run.path / _threshold_file(run, epoch)).is_file():
        prepared = prepare_for(run, run.manifest.part(Split.VALIDATION), options)
        _fix_threshold(run, _predict(run, prepared, options, epoch), epoch)


def _decided(run: Run, predictions: Predictions, epoch: ChosenEpoch | None = None) -> Predictions:
    """Return the predictions with their classes as the recipe decides; nothing is chosen here."""
    if run.recipe.evaluation.threshold is ThresholdRule.ARGMAX:
        return predictions
    return apply(predictions, Threshold.from_dict(run.read_json(_threshold_file(run, epoch))))


def _measured(run: Run, predictions: Predictions) -> Evaluation:
    section = run.recipe.evaluation
    result = evaluate(predictions, level=section.level)
    if section.threshold is ThresholdRule.ARGMAX:
        return result
    threshold = Threshold.from_dict(run.read_json(_threshold_file(run, None)))
    note = f"Classes by a threshold that was never fitted to the tested images: {threshold}."
    if threshold.note:
        note += f" But {threshold.note}."
    return replace(result, notes=(note, *result.notes))


def _selected(run: Run, prepared: Prepared, predictions: Predictions, name: str) -> tuple[str, ...]:
    """Write by the run's own rule which images it rejects, if it has one; return a note on them."""
    if not run.recipe.remedy.reject:
        return ()
    rejector, level = Rejector.load(run.path), run.recipe.evaluation.level
    found = rejector.judge(run.network(), prepared.pixels, predictions, level=level)
    rejector.write(run.path, name, found)
    return (f"{found}; {rejector.rule}.",)


def refuse_undecidable(
    section: EvaluationSection, labels: Sequence[str], validation: Collection[str] | None = None
) -> None:
    """Raise unless the threshold that a recipe asks for can be fixed on these images.

    Before the training, which would be lost otherwise.
    """
    if section.threshold is ThresholdRule.ARGMAX:
        return
    rule = f'evaluation.threshold = "{section.threshold}"'
    if len(labels) != 2:
        raise RecipeError(
            f"{rule} parts two classes, and the images have {len(labels)} ({', '.join(labels)}); "
            'use "argmax", or images of two classes.'
        )
    if section.positive and section.positive not in labels:
        raise RecipeError(
            f"evaluation.positive = {section.positive!r} is not a class of the images; they have "
            f"{' and '.join(labels)}."
        )
    lacking = [] if validation is None else [label for label in labels if label not in validation]
    if lacking:
        raise RecipeError(
            f"{rule} is fixed on the validation images, and none of them is "
            f'{" or ".join(lacking)}; give validation a larger part or use "argmax".'
        )


def _without(run: Run, prepared: Prepared, seen: Seen) -> Prepared:
    if seen.known.all():
        raise RunError(
            f"all {len(prepared)} images show what was used to train or choose {run.path}; a test "
            "needs others. To see numbers all the same, use --keep-seen."
        )
    if not seen.known.any():
        return prepared
    left = prepared.manifest.without(seen.reasons.keys(), seen.reasons.values())
    return Prepared(left, prepared.pixels[~seen.known])
