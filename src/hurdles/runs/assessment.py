"""Testing a finished run: on its own test images, and on images from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hurdles.data.classes import known_classes
from hurdles.data.files import write_text
from hurdles.data.inputs import Input
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import Split
from hurdles.errors import RunError
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.decisions import Threshold, apply, youden_threshold
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.folds import evaluate_folds
from hurdles.evaluation.predictions import Predictions
from hurdles.pixels.cache import Prepared
from hurdles.progress import Options
from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.choices import Threshold as ThresholdRule
from hurdles.runs.images import left_out_lines, prepare_for
from hurdles.runs.inputs import image_inputs, run_inputs
from hurdles.runs.presentation import save_sheets, sheets_of, write_page
from hurdles.runs.run import Run
from hurdles.runs.seen import seen_by
from hurdles.training.machine import this_machine
from hurdles.training.prediction import Rejector, probabilities

_VALIDATION = Split.VALIDATION.value


def assess_own(run: Run, prepared: Prepared, options: Options) -> None:
    """Write a trained run's predictions on its validation and test images, and their measures."""
    where, remedy = prepared.manifest.frame["split"], run.recipe.remedy
    if remedy.reject:
        seen = [prepared.pixels[where == part] for part in (Split.TRAIN, Split.VALIDATION)]
        accept = 1 - remedy.reject
        Rejector.of(run.network(), *seen, acceptance=accept, by=remedy.reject_by).save(run.path)
    for part in (Split.VALIDATION, Split.TEST):
        rows = np.flatnonzero(where == part)
        subset = Prepared(prepared.manifest.part(part), prepared.pixels[rows])
        predictions = _predict(run, subset, options)
        threshold = threshold_of(run, None, predictions if part is Split.VALIDATION else None)
        predictions = apply(predictions, threshold) if threshold else predictions
        predictions.save(run.path / "predictions" / f"{part}.csv")
        notes = _selected(run, subset, predictions, part.value)
    result = _measured(run, predictions)
    result = replace(
        result,
        notes=(*run.encoder_remarks, *run.copy_remarks, *notes, *result.notes),
        inputs=_inputs(run, Split.TEST.value, subset.manifest, options),
    )
    run.write_json("evaluation.json", result.to_dict())
    save_sheets(run.path / "heatmaps.npz", sheets_of(run, subset, predictions, options.listener))


def evaluate_run(
    run: Run,
    manifest: Manifest,
    *,
    name: str,
    keep_seen: bool = False,
    conditions: Conditions | None = None,
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
    remarks = seen.lines(kept=keep_seen)
    for line in remarks:
        options.listener.say(line)
    if not keep_seen and seen.known.all():
        raise RunError(
            f"all {len(prepared)} images show what was used to train or choose {run.path}; a test "
            "needs others. To see numbers all the same, use --keep-seen."
        )
    if not keep_seen and seen.known.any():
        left = prepared.manifest.without(seen.reasons.keys(), seen.reasons.values())
        prepared = Prepared(left, prepared.pixels[~seen.known])
    predictions = _answers(run, prepared, options)
    result = _measured(run, predictions, conditions)
    sheets = sheets_of(run, prepared, predictions, options.listener)
    notes = _selected(run, prepared, predictions, name)
    result = replace(result, notes=(*remarks, *strange, *lost, *notes, *result.notes))
    if (run.path / f"evaluation.{name}.json").is_file():
        options.listener.say(f"the earlier test on {name} in {run.path} is replaced")
    with run.locked():  # everything is computed: the files of one set belong together
        predictions.save(run.path / "predictions" / f"{name}.csv")
        result = replace(result, inputs=_inputs(run, name, prepared.manifest, options))
        run.write_json(f"evaluation.{name}.json", result.to_dict())
        save_sheets(run.path / f"heatmaps.{name}.npz", sheets)
        prepared.manifest.save(run.path / f"manifest.{name}.csv")
        write_page(run, on=name, pictures=options.pictures)
    return result


def test_predictions(run: Run, epoch: ChosenEpoch, options: Options) -> Predictions:
    """Return the predictions of an epoch's weights on a run's own test images; computed once."""
    if epoch is run.recipe.training.choose:
        return run.predictions("test")
    path = run.path / "predictions" / f"test.{epoch}.csv"
    if not path.is_file():
        prepared = prepare_for(run, run.manifest.part(Split.TEST), options)
        _answers(run, prepared, options, epoch).save(path)
    return run.predictions(f"test.{epoch}")


def predict_on(
    run: Run,
    manifest: Manifest,
    *,
    name: str,
    options: Options | None = None,
) -> tuple[Predictions, dict[str, str]]:
    """Return a finished run's predictions on further images, and those left out; computed once.

    Unlike `evaluate_run` it measures nothing, draws nothing, and leaves no image out because it was
    seen: a study asks one run about thousands of images and decides afterwards which of them count.
    """
    options = options or Options()
    run.require_finished()
    run.require_free(name)
    request = {"manifest": manifest.content_hash, "epoch": str(run.recipe.training.choose)}
    beside, path = f"asked.{name}.json", run.path / "predictions" / f"{name}.csv"
    if path.is_file() and (run.path / beside).is_file():
        before = dict(run.read_json(beside))
        left_out = dict(before.pop("left_out"))
        if before == request:
            return run.predictions(name), left_out
    prepared = prepare_for(run, manifest, options)
    lost = prepared.manifest.exclusions.iloc[len(manifest.exclusions) :]
    images = dict(zip(manifest.frame["path"], manifest.frame["image"], strict=True))
    left_out = {images[p]: r for p, r in zip(lost["path"], lost["reason"], strict=True)}
    predictions = _answers(run, prepared, options)
    _selected(run, prepared, predictions, name)
    with run.locked():
        (run.path / beside).unlink(missing_ok=True)  # never beside the answers to another question
        predictions.save(path)
        run.write_json(beside, {**request, "left_out": left_out})
    return predictions, left_out


def _answers(
    run: Run, prepared: Prepared, options: Options, epoch: ChosenEpoch | None = None
) -> Predictions:
    """Return the predictions of an epoch's weights, with their classes as the recipe decides."""
    predictions = _predict(run, prepared, options, epoch)
    rule, validation = run.recipe.evaluation.threshold, None
    if epoch and rule is not ThresholdRule.ARGMAX and not _threshold_file(run, epoch).is_file():
        images = prepare_for(run, run.manifest.part(Split.VALIDATION), options)
        validation = _predict(run, images, options, epoch)
    threshold = threshold_of(run, epoch, validation)
    return apply(predictions, threshold) if threshold else predictions


def _predict(
    run: Run, prepared: Prepared, options: Options, epoch: ChosenEpoch | None = None
) -> Predictions:
    machine = this_machine("float32")
    options.listener.start("Predicting", len(prepared))
    network = run.network(epoch).to(machine.device)
    probability = probabilities(
        network, prepared.pixels, machine=machine, progress=options.listener
    )
    return Predictions.of_images(prepared.manifest, run.labels, probability)


def threshold_of(
    run: Run, epoch: ChosenEpoch | None = None, validation: Predictions | None = None
) -> Threshold | None:
    """Return the threshold that the recipe asks for, chosen on validation images if given these."""
    section = run.recipe.evaluation
    if section.threshold is ThresholdRule.ARGMAX:
        return None
    file = _threshold_file(run, epoch)
    if validation is not None:
        threshold = youden_threshold(validation, section.positive or run.labels[0])
        run.write_json(file.name, threshold.to_dict())
    return Threshold.from_dict(run.read_json(file.name))


def _threshold_file(run: Run, epoch: ChosenEpoch | None) -> Path:
    # Other weights have other probabilities and another threshold.
    own = epoch is None or epoch is run.recipe.training.choose
    return run.path / ("threshold.json" if own else f"threshold.{epoch}.json")


def measured_again(run: Run, name: str, conditions: Conditions | None = None) -> Evaluation:
    """Return the evaluation on a set that was tested, at further conditions; nothing is written."""
    run.require_finished()
    if name == _VALIDATION:
        raise RunError(
            f"weights and thresholds of {run.path} were chosen on its validation images: numbers "
            "on them test nothing. Name the set that it was tested on."
        )
    if run.is_ensemble and name == Split.TEST:
        found = measured_folds(run, conditions)
    else:
        found = _measured(run, run.predictions(name), conditions)
    stored = run.evaluation(name)
    return replace(found, notes=stored.notes, inputs=stored.inputs)


def _inputs(run: Run, name: str, images: Manifest, options: Options) -> tuple[Input, ...]:
    """Return all that the measures on a set were made of; its predictions are written."""
    sets = [name, *([_VALIDATION] if _held(run) else [])]
    return (*image_inputs({name: images}, cache=options.cache), *run_inputs(run, *sets))


def _held(run: Run) -> Predictions | None:
    """Return the predictions on which thresholds are chosen; None where there are none."""
    there = (run.path / "predictions" / f"{_VALIDATION}.csv").is_file()
    return run.predictions(_VALIDATION) if there else None


def _measured(
    run: Run, predictions: Predictions, conditions: Conditions | None = None
) -> Evaluation:
    section = run.recipe.evaluation
    wanted = section.conditions.replaced(conditions or Conditions())
    result = evaluate(predictions, level=section.level, conditions=wanted, validation=_held(run))
    if several := len(run.fold_runs()):
        note = (
            f"Answers are means of {several} networks; thresholds were fixed on answers of single "
            "ones, each to its own validation images."
        )
        result = replace(result, notes=(note, *result.notes))
    threshold = threshold_of(run)
    if threshold is None:
        return result
    note = f"Classes by a threshold that was never fitted to the tested images: {threshold}."
    if threshold.note:
        note += f" But {threshold.note}."
    return replace(result, notes=(note, *result.notes))


def measured_folds(run: Run, conditions: Conditions | None = None) -> Evaluation:
    """Return the evaluation of all folds of a run; nothing is written."""
    section = run.recipe.evaluation
    wanted = section.conditions.replaced(conditions or Conditions())
    result = evaluate_folds(run.fold_answers(), level=section.level, conditions=wanted)
    if section.threshold is ThresholdRule.ARGMAX:
        return result
    note = "Classes by a threshold of each fold, fixed on its own validation images."
    return replace(result, notes=(note, *result.notes))


def _selected(run: Run, prepared: Prepared, predictions: Predictions, name: str) -> tuple[str, ...]:
    """Write by the run's own rule which images it rejects, if it has one; return a note on them."""
    if not run.recipe.remedy.reject:
        return ()
    rejector, level = Rejector.load(run.path), run.recipe.evaluation.level
    table, result = rejector.judge(run.network(), prepared.pixels, predictions, level=level)
    write_text(run.path / "predictions" / f"{name}.rejection.csv", as_csv(table))
    run.write_json(f"rejection.{name}.json", result.to_dict())
    return (f"{result}; {rejector.rule}.",)
