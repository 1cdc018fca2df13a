"""A run of folds: a run for each, all answers together, and the networks as one.

The folder holds what every run's folder does. Each fold is a run of its own in ``folds/``, which
goes on where it was interrupted; what they have in common is made of them, and of nothing else,
when all are finished.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from hurdles.data.files import add_to_ledger, outputs, write_bytes, write_text
from hurdles.data.folds import Folds, advised_scheme, make_folds
from hurdles.data.inputs import Input, Role
from hurdles.data.manifest import Manifest
from hurdles.data.split import check_split, missing_classes
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import Split, SplitScheme
from hurdles.errors import ManifestError, RunError
from hurdles.evaluation.decisions import youden_threshold
from hurdles.evaluation.folds import FoldAnswers, fold_measures
from hurdles.evaluation.predictions import Predictions
from hurdles.explanation.heatmap import choose_examples
from hurdles.progress import Options
from hurdles.recipe.choices import Threshold as ThresholdRule
from hurdles.recipe.images import (
    refuse_folds,
    refuse_images,
    refuse_split,
    remarks,
)
from hurdles.recipe.recipe import Recipe
from hurdles.reporting.page import Sheet
from hurdles.runs.assessment import measured_folds
from hurdles.runs.encoders import TrainedOn, refuse_lists
from hurdles.runs.experiment import meta_of, run_experiment, start_of
from hurdles.runs.images import preparation_of, prepare_pixels
from hurdles.runs.inputs import image_inputs, run_inputs
from hurdles.runs.presentation import PER_CELL, load_sheets, save_sheets, write_page
from hurdles.runs.run import FOLD_ANSWERS, Run
from hurdles.runs.seen import copies_among, kept_together, save_fingerprints, save_hashes

#: What the folds were begun with besides the images; written before the first of them.
_BEGUN = "folds.json"


class _Encoder(NamedTuple):
    """The encoder that all networks start from, and what is known of its images."""

    start: Run | str | Path | None
    trained_on: TrainedOn
    keep_seen: bool

    def to_dict(self) -> dict[str, Any]:
        """Return what must be given again when the run goes on."""
        images = [
            f"sha256:{each.content_hash}" if isinstance(each, Manifest) else str(each)
            for each in self.trained_on
        ]
        return {"trained_on": images, "keep_seen": self.keep_seen}


def carry_out(
    recipe: Recipe,
    manifest: Manifest | None,
    out: str | Path,
    *,
    resume: bool = False,
    split_file: Path | None = None,
    encoder_from: Run | str | Path | None = None,
    trained_on: TrainedOn = (),
    keep_seen: bool = False,
    options: Options | None = None,
) -> Run:
    """Carry out a recipe with the scheme that it names, or that fits its images: once, or in folds.

    Arguments are those of `hurdles.runs.experiment.run_experiment`.
    """
    options = options or Options()
    recipe = _with_scheme(Run(out), recipe, manifest, split_file, options)
    encoder = _Encoder(encoder_from, trained_on, keep_seen)
    if recipe.split.scheme == SplitScheme.K_FOLD:
        refuse_folds(recipe, by_file=split_file is not None)
        return _run_folds(recipe, manifest, Run(out), encoder, resume=resume, options=options)
    return run_experiment(
        recipe,
        manifest,
        out,
        resume=resume,
        split_file=split_file,
        encoder_from=encoder_from,
        trained_on=trained_on,
        keep_seen=keep_seen,
        options=options,
    )


def _with_scheme(
    run: Run, recipe: Recipe, manifest: Manifest | None, split_file: Path | None, options: Options
) -> Recipe:
    """Return the recipe with the scheme that ``auto`` is for these images, and say why."""
    if recipe.split.scheme != SplitScheme.AUTO or split_file is not None:
        return recipe
    if run.is_begun:
        return recipe.changed(split={"scheme": run.recipe.split.scheme})
    if manifest is None or len(manifest.labels) < 2:
        return recipe  # refused with a sentence of its own
    scheme, why = advised_scheme(manifest, recipe.split.folds)
    if scheme is SplitScheme.K_FOLD and recipe.remedy.reject:
        scheme, why = SplitScheme.PATIENT, "remedy.reject needs images that no network trained on"
    elif scheme is SplitScheme.K_FOLD:
        folds, networks = recipe.split.folds, recipe.split.folds * recipe.split.repeats
        options.listener.say(
            f"{why}: they are parted into {folds} folds, and {networks} networks trained (one "
            f"split instead: --set split.scheme={SplitScheme.PATIENT})"
        )
    if scheme is SplitScheme.PATIENT:
        options.listener.say(f"{why}: one split by patient")
    return recipe.changed(split={"scheme": str(scheme)})


def _run_folds(
    recipe: Recipe,
    manifest: Manifest | None,
    run: Run,
    encoder: _Encoder,
    *,
    resume: bool,
    options: Options,
) -> Run:
    refuse_lists(encoder.trained_on, encoder.start, run)
    run.refuse_others_folder()
    if manifest is not None:
        refuse_images(recipe, manifest)
    recipe, _ = start_of(run, recipe, encoder.start)
    if manifest is not None and not run.is_begun:
        _announce(manifest, recipe, options)
    with run.locked():
        run.begin(recipe, resume=resume)
        if run.is_begun and manifest is not None:
            run.refuse_other_images(manifest)
        if run.is_finished:
            run.require_finished()
            options.listener.say(f"{run.path} is finished already")
            if not options.pictures:
                with outputs(run.report_path, ledger=run.ledger):
                    write_page(run, pictures=False)
            return run
        began = time.monotonic()
        parts = _parts(run, recipe, manifest, encoder, options)
        # Several networks, several splits; each fold has the one that it is given.
        single = recipe.changed(split={"scheme": str(SplitScheme.GIVEN)})
        seconds = time.monotonic() - began
        for number, (child, images) in enumerate(zip(run.fold_runs(), parts, strict=True), start=1):
            options.listener.say(f"fold {number} of {len(parts)}: {child.path}")
            run_experiment(
                single,
                None if child.is_begun else images,
                child.path,
                resume=True,
                encoder_from=None if child.is_begun else encoder.start,
                trained_on=() if child.is_begun else encoder.trained_on,
                keep_seen=encoder.keep_seen,
                options=options,
            )
        began = time.monotonic()
        _gather(run, options)
        # Folds that were trained in an earlier session count as well.
        seconds += sum(float(child.meta["seconds"]) for child in run.fold_runs())
        meta = meta_of(run, recipe, run.manifest, seconds + time.monotonic() - began)
        if start := run.fold_runs()[0].meta["start"]:  # all start from one
            meta["start"] = {key: value for key, value in start.items() if key != "images"}
        add_to_ledger(run.ledger, write_page(run, meta=meta, pictures=options.pictures))
        run.write_json("meta.json", meta)
    return Run(run.path)


def _announce(manifest: Manifest, recipe: Recipe, options: Options) -> None:
    """Refuse what cannot be parted, and say what weakens the rest, before anything is decoded."""
    folds = _folds_of(manifest, recipe)
    for number, images in enumerate(_split(folds, manifest, recipe), start=1):
        refuse_split(recipe, images)
        for line in missing_classes(images):
            options.listener.say(f"note: fold {number}: {line}")
    everything = manifest.with_split([Split.TEST.value] * len(manifest))
    for line in remarks(manifest, everything, recipe):
        options.listener.say(f"note: {line}")


def _folds_of(manifest: Manifest, recipe: Recipe) -> Folds:
    section = recipe.split
    return make_folds(
        manifest,
        k=section.folds,
        repeats=section.repeats,
        seed=section.seed,
        missing_patients=section.missing_patients,
    )


def _split(folds: Folds, manifest: Manifest, recipe: Recipe) -> Iterator[Manifest]:
    """Yield the images with the split of each fold, checked, one repeat after the other."""
    section = recipe.split
    for repeat in range(folds.repeats):
        for fold in range(folds.k):
            images = folds.part(
                manifest, fold, repeat, fractions=section.fractions, seed=section.seed
            )
            check_split(images)  # refused before any fold is trained
            yield images


def _parts(
    run: Run, recipe: Recipe, manifest: Manifest | None, encoder: _Encoder, options: Options
) -> list[Manifest | None]:
    """Return the images with the split of each fold: made now, or as before; None: not needed."""
    begun = run.path / "manifest.csv"
    if begun.is_file():
        options.listener.say(f"going on with the images and the folds of {run.path}")
        before = dict(run.read_json(_BEGUN))
        if all(child.is_begun for child in run.fold_runs()):
            return [None] * len(run.fold_runs())  # each goes on with the images that it has
        if before != encoder.to_dict():
            raise RunError(
                f"{run.path} was begun with other --trained-on, or another --keep-seen, than are "
                "given now; give them as they were, so that all folds are alike."
            )
        whole = run.manifest
        prepared = prepare_pixels(whole, recipe, options)
        if gone := len(whole) - len(prepared):
            raise ManifestError(
                f"{gone} of {len(whole)} images that {run.path} was begun with can no longer be "
                "read. Put them back, or begin a new run in another --out."
            )
        united = whole if run.copies is None else kept_together(run.copies, whole, recipe)
    else:
        if manifest is None:
            raise RunError(f"{run.path} has no manifest yet; say by --data which images to use.")
        prepared = prepare_pixels(manifest, recipe, options)
        refuse_images(recipe, prepared.manifest)
        whole = prepared.manifest.with_split([Split.TEST.value] * len(prepared))
        copies = copies_among(run, prepared, options)
        for line in copies.lines(whole):
            options.listener.say(line)
        united = kept_together(copies, whole, recipe)
        _folds_of(united, recipe).save(run.folds_path)
        save_hashes(run, prepared, options)
        names = prepared.manifest.frame["image"].tolist()
        save_fingerprints(run.fingerprints_path, names, prepared.pixels)
        run.write_json(_BEGUN, encoder.to_dict())
        manifest.save(run.path / "given.csv")
        whole.save(begun)
    folds = Folds.load(run.folds_path)
    return [whole.with_split(images.frame["split"]) for images in _split(folds, united, recipe)]


def _gather(run: Run, options: Options) -> None:
    """Write what the folds have in common: answers, measures, pictures, and the networks as one."""
    children = [Run(child.path).require_finished() for child in run.fold_runs()]
    k = run.recipe.split.folds
    repeats = [children[start : start + k] for start in range(0, len(children), k)]
    answers = FoldAnswers(
        *(
            tuple(tuple(child.predictions(part) for child in row) for row in repeats)
            for part in ("test", "validation")
        )
    )
    run.fold_answers_path.parent.mkdir(exist_ok=True)
    answers.save(run.fold_answers_path)
    table = fold_measures(answers)
    write_text(run.fold_answers_path.with_name("measures.csv"), as_csv(table))
    _leave_out(run, answers)
    run = Run(run.path)  # its manifest may be another
    pooled = answers.pooled()
    in_order = pooled.frame.set_index("image").loc[run.manifest.frame["image"]].reset_index()
    (run.path / "predictions").mkdir(exist_ok=True)
    Predictions(in_order[pooled.frame.columns]).save(run.path / "predictions" / "test.csv")
    held = answers.pooled_validation()
    held.save(run.path / "predictions" / "validation.csv")
    section = run.recipe.evaluation
    if section.threshold is not ThresholdRule.ARGMAX:
        threshold = youden_threshold(held, section.positive or children[0].labels[0])
        run.write_json("threshold.json", threshold.to_dict())
    if children[0].encoder_hashes_path.is_file():  # what the encoder has seen is the same for all
        hashes = children[0].encoder_hashes_path.read_bytes()
        write_bytes(run.encoder_hashes_path, hashes)
    run.write_ensemble(children, preparation_of(run.recipe).description)
    result = measured_folds(run)
    own = [
        f"Fold {number}: {line}"
        for number, child in enumerate(children, start=1)
        for line in (*child.encoder_remarks, *missing_classes(child.manifest))
    ]
    inputs = (
        Input.of_file(Role.PREDICTIONS, run.fold_answers_path, FOLD_ANSWERS),
        *image_inputs({Split.TEST.value: run.manifest}, cache=options.cache),
        *run_inputs(run),
    )
    notes = (*run.copy_remarks, *run.remarks(), *own, *result.notes)
    run.write_json("evaluation.json", replace(result, notes=notes, inputs=inputs).to_dict())
    save_sheets(run.path / "heatmaps.npz", _sheets(children[:k], pooled))


def _leave_out(run: Run, answers: FoldAnswers) -> None:
    """Take images out of the manifest that a fold left out of its test, with its reasons."""
    tested = set(answers.pooled().frame["image"])
    lost = [image for image in run.manifest.frame["image"] if image not in tested]
    if not lost:
        return
    reasons: dict[str, str] = {}
    for child in run.fold_runs():
        gone = child.manifest.exclusions
        reasons |= dict(zip(gone["path"], gone["reason"], strict=True))
    paths = run.manifest.frame.set_index("image")["path"]
    why = [reasons.get(paths[image], "left out of the test of its fold") for image in lost]
    run.manifest.without(lost, why).save(run.path / "manifest.csv")


def _sheets(children: Sequence[Run], pooled: Predictions) -> list[Sheet]:
    """Return contact sheets of the folds' own, each image with the heat of its fold's network."""
    by_fold = [
        {sheet.title: sheet for sheet in load_sheets(child.path / "heatmaps.npz")}
        for child in children
    ]
    sheets = []
    for label, outcome in choose_examples(pooled, per_cell=PER_CELL):
        title = f"{label}: {outcome} answers"
        rows = [sheets_of[title].items for sheets_of in by_fold if title in sheets_of]
        items = [item for turn in zip_longest(*rows) for item in turn if item is not None]
        items = items[:PER_CELL]
        right = (pooled.y_pred == label) == (outcome == "right")
        total = int(((pooled.y_true == label) & right).sum())
        note = f"{len(items)} of {total}, of all folds, each with its own network's heat"
        sheets.append(Sheet(title, items, note if total else ""))
    return sheets
