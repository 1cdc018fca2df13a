"""One experiment from the manifest to the report: what `hurdles run` and every study cell do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hurdles._version import USE
from hurdles.data.files import add_to_ledger, outputs
from hurdles.data.manifest import Manifest
from hurdles.data.split import SCHEMES, load_split, require_split_of, save_split
from hurdles.data.vocabulary import Split, SplitScheme
from hurdles.errors import ManifestError, RecipeError, RunError
from hurdles.models.spec import ModelSpec
from hurdles.models.starting import StartingWeights, imagenet_weights
from hurdles.pixels.cache import Prepared
from hurdles.progress import Options, give_back_memory
from hurdles.recipe.choices import Start
from hurdles.recipe.images import (
    network_spec,
    parted,
    refuse_images,
    refuse_split,
    refuse_untested,
    remarks,
    settled,
)
from hurdles.recipe.recipe import Recipe
from hurdles.runs.assessment import assess_own
from hurdles.runs.encoders import (
    TrainedOn,
    check_encoder,
    encoder_images,
    kept_images,
    origin_run,
    refuse_lists,
    without_seen,
)
from hurdles.runs.images import preparation_of, prepare_pixels
from hurdles.runs.presentation import write_page
from hurdles.runs.run import Run
from hurdles.runs.seen import (
    copies_among,
    fingerprints,
    images_by_fingerprint,
    kept_together,
    save_fingerprints,
    save_hashes,
)
from hurdles.training.checkpoint import load_weights
from hurdles.training.loop import TrainingData, train
from hurdles.training.machine import environment, this_machine
from hurdles.training.plan import Sources


def run_experiment(
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
    """Carry out a recipe on a manifest and fill the folder `out`."""
    options = options or Options()
    run = Run(out)
    refuse_lists(trained_on, encoder_from, run)
    run.refuse_others_folder()
    if manifest is not None:
        refuse_images(recipe, manifest)
        recipe = settled(recipe, manifest, by_file=split_file is not None)
    elif run.is_begun and recipe.split.scheme == SplitScheme.AUTO:
        recipe = recipe.changed(split={"scheme": run.recipe.split.scheme})
    recipe, start = start_of(run, recipe, encoder_from)
    if manifest is not None and not run.is_begun:
        _announce_split(manifest, recipe, split_file, options)
    with run.locked():
        run.begin(recipe, resume=resume)
        if run.is_begun:
            _refuse_others(run, manifest, split_file)
        if run.is_finished:
            run.require_finished()  # whole, and of this version: its numbers are printed again
            run.clear()  # a kill may have come right before that
            options.listener.say(f"{run.path} is finished already")
            if not options.pictures:
                with outputs(run.report_path, ledger=run.ledger):
                    write_page(run, pictures=False)
            return run
        started = time.monotonic()
        if start is not None:
            run.write_start(start)

        def unseen(prepared: Prepared) -> Prepared:
            return _unseen(run, prepared, origin_run(encoder_from), trained_on, keep_seen, options)

        prepared = _data_of(run, recipe, manifest, split_file, unseen, options)
        trained = _train(run, recipe, prepared, options)
        assess_own(run, prepared, options)
        result = run.evaluation()
        result = replace(result, notes=(*run.remarks(), *result.notes))
        run.write_json("evaluation.json", result.to_dict())
        # An interrupted training counts with all its epochs, not only those of this session.
        seconds = time.monotonic() - started - trained + float(run.history.frame["seconds"].sum())
        meta = meta_of(run, recipe, prepared.manifest, seconds)
        add_to_ledger(run.ledger, write_page(run, meta=meta, pictures=options.pictures))
        run.write_json("meta.json", meta)
        run.clear()
    return Run(out)


#: Files of weights that are not hurdles' own.
_FOREIGN = {".bin", ".ckpt", ".h5", ".keras", ".onnx", ".pkl", ".pt", ".pt2", ".pth", ".tar"}


def start_of(
    run: Run, recipe: Recipe, encoder_from: Run | str | Path | None
) -> tuple[Recipe, StartingWeights | None]:
    """Return the recipe with the origin of its starting weights, and these weights."""
    start = recipe.model.start
    if encoder_from is not None:
        if start is Start.IMAGENET:
            raise RecipeError(
                "the recipe starts from ImageNet and --encoder-from names a run; leave one out: "
                "model.start = 'run' or no --encoder-from."
            )
        if not isinstance(encoder_from, Run) and Path(encoder_from).is_file():
            if Path(encoder_from).suffix.lower() in _FOREIGN:
                raise RecipeError(
                    f"{encoder_from} is another library's file; bring its encoder by hurdles "
                    "import-encoder, and start from what that writes."
                )
            weights, metadata = load_weights(Path(encoder_from))
            name = Path(encoder_from).name
            return _entered(recipe, StartingWeights.from_file(weights, metadata, source=name))
        other = encoder_from if isinstance(encoder_from, Run) else Run(encoder_from)
        return _entered(recipe, other.require_finished().starting_weights())
    if run.is_begun or (run.exists and run.start_path.is_file()):
        # It keeps what it started from, or is finished and needs it no more. That it was given by
        # --encoder-from is not in the recipe that the user names again.
        model = run.recipe.model
        if model.start in {start, Start.RUN, Start.FILE}:
            return recipe.changed(model={"start": str(model.start), "origin": model.origin}), None
    if start is Start.SCRATCH:
        return recipe, None
    if start in {Start.RUN, Start.FILE}:
        what = "of another run; say of which by --encoder-from RUN"
        if start is Start.FILE:
            what = "in a file of hurdles import-encoder; say which by --encoder-from FILE"
        raise RecipeError(
            f"recipe {recipe.name} starts from the encoder {what}, or set model.start = 'scratch'."
        )
    section = recipe.model
    # The labels play no part: the head is never taken along.
    spec = ModelSpec(
        section.architecture, ("one", "other"), recipe.preparation.size, section.channels
    )
    return _entered(recipe, imagenet_weights(spec))


def _entered(recipe: Recipe, start: StartingWeights) -> tuple[Recipe, StartingWeights]:
    spec = network_spec(recipe, start.spec.labels)
    start.refuse_unlike(spec, preparation_of(recipe).description)
    kind = Start.RUN if start.preparation else Start.IMAGENET
    if "like" in start.description:
        kind = Start.FILE
    return recipe.changed(model={"start": str(kind), "origin": start.origin}), start


def _announce_split(
    manifest: Manifest, recipe: Recipe, split_file: Path | None, options: Options
) -> None:
    """Refuse what cannot be split, and say what weakens the rest, before anything is decoded."""
    if split_file is not None:
        require_split_of(manifest, split_file)
        return  # it names the images that can be read, and which these are is not known yet
    done = parted(manifest, recipe)
    scheme, missing = recipe.split.scheme, manifest.missing_patients
    if scheme != SplitScheme.GIVEN:
        refuse_untested(done)
    refuse_split(recipe, done)
    how = f"by {scheme}"
    if scheme == SplitScheme.GIVEN:
        how = "as the images bring it"
    elif scheme == SplitScheme.PATIENT and missing == len(manifest):
        how = "by image, since no patient is known"
    elif scheme == SplitScheme.PATIENT and missing:
        how = f"by patient, and by image for the {missing} of {len(manifest)} images without one"
    options.listener.say(f"split {how}: {_sizes(done)}")
    _say(remarks(manifest, done, recipe), options)


def _sizes(done: Manifest) -> str:
    return ", ".join(f"{len(done.part(part))} {part}" for part in Split) + " images"


def _say(lines: Iterable[str], options: Options) -> None:
    for line in lines:
        options.listener.say(f"note: {line}")


def _refuse_others(run: Run, manifest: Manifest | None, split_file: Path | None) -> None:
    """Raise a RunError if a run is to go on with other images, or another split, than it has."""
    if manifest is not None:
        run.refuse_other_images(manifest)
    if split_file is None:
        return
    grouped = SCHEMES.get(run.recipe.split.scheme).grouped
    requested = load_split(run.manifest, split_file, grouped=grouped).frame["split"]
    if others := int((requested != run.manifest.frame["split"]).sum()):
        raise RunError(
            f"{run.path} was begun with another split than {split_file}: {others} of "
            f"{len(requested)} images stand in another part. Resume without --split, or give "
            "another --out."
        )


def _data_of(
    run: Run,
    recipe: Recipe,
    manifest: Manifest | None,
    split_file: Path | None,
    unseen: Callable[[Prepared], Prepared],
    options: Options,
) -> Prepared:
    """Return the run's images with their split: made now, or as an interrupted run left it."""
    made = run.path / "manifest.csv"
    if made.is_file():
        options.listener.say(f"going on with the images and the split of {made}")
        prepared = prepare_pixels(run.manifest, recipe, options)
        if gone := len(run.manifest) - len(prepared):
            lost = prepared.manifest.exclusions.iloc[-1]
            raise ManifestError(
                f"{gone} of {len(run.manifest)} images that {run.path} was begun with can no "
                f"longer be read; for one, {lost['path']}: {lost['reason']} Put them back, or "
                "begin a new run in another --out."
            )
        return prepared
    if manifest is None:
        raise RunError(f"{run.path} has no manifest yet; say by --data which images to use.")
    prepared = prepare_pixels(manifest, recipe, options)
    refuse_images(recipe, prepared.manifest)  # a class may be gone with its unreadable images
    # The copies among them are known before they are parted; a split that was given stays as it is.
    whole, copies = prepared.manifest, copies_among(run, prepared, options)
    united = whole if split_file is not None else kept_together(copies, whole, recipe)
    done = whole.with_split(parted(united, recipe, split_file).frame["split"])
    for line in copies.lines(done):
        options.listener.say(line)
    if united is not whole:
        options.listener.say(f"the split, with copies kept together: {_sizes(done)}")
    refuse_split(recipe, done)
    if split_file is not None:
        _say(remarks(manifest, done, recipe), options)
    tested = unseen(Prepared(done, prepared.pixels))
    save_hashes(run, tested, options)
    save_split(tested.manifest, run.path / "split.csv")
    manifest.save(run.path / "given.csv")
    tested.manifest.save(made)
    return tested


def _unseen(
    run: Run,
    done: Prepared,
    of: Run | None,
    trained_on: TrainedOn,
    keep: bool,
    options: Options,
) -> Prepared:
    """Return a run's images without those of the test that its encoder has seen; write of them."""
    start = run.start()
    if start is None or run.recipe.model.start is Start.IMAGENET:
        return done  # of photographs
    source = start.description.get("source", "the encoder")
    images = encoder_images(source, of, trained_on, options)
    images = kept_images(images, run.encoder_hashes_path)
    check = check_encoder(done, source, images, keep=keep, options=options)
    for line in check.lines():
        options.listener.say(line)
    left = without_seen(done, check)
    if (hashes := images.fingerprint()) is not None:
        hashes.save(run.encoder_hashes_path)
    run.write_json(run.encoder_path.name, check.to_dict())
    return left


def _train(run: Run, recipe: Recipe, prepared: Prepared, options: Options) -> float:
    """Train, unless that is done, and return the seconds that it took in this session."""
    started = time.monotonic()
    if (run.path / "history.csv").is_file():
        return 0.0  # an interruption after training: the weights are there
    prepared_as = preparation_of(recipe).description
    labels = tuple(prepared.manifest.labels)
    frame = prepared.manifest.frame
    index = {label: i for i, label in enumerate(labels)}
    data = TrainingData(
        pixels=prepared.pixels,
        classes=np.array([index[label] for label in frame["label"]], dtype=np.int64),
        labels=labels,
        train=np.flatnonzero(frame["split"] == Split.TRAIN),
        validation=np.flatnonzero(frame["split"] == Split.VALIDATION),
        # Other lungs, other pixels: a state that was saved with them does not go on here.
        identity=f"{prepared.manifest.content_hash}{prepared_as.get('lungs', '')}",
        sources=Sources.numbered(frame["source"].tolist()),
    )
    seen = np.concatenate([data.train, data.validation])
    pixels, path = prepared.pixels[seen], run.fingerprints_path
    before = set(images_by_fingerprint(path)) if path.is_file() else None
    if before is not None and (changed := set(fingerprints(pixels)) ^ before):
        raise RunError(
            f"the pixels of about {(len(changed) + 1) // 2} images are not those that {run.path} "
            "was begun with: their files were changed. Put them back, or give another --out."
        )
    save_fingerprints(path, frame["image"].iloc[seen].tolist(), pixels)
    give_back_memory()  # of decoding
    trained = train(
        recipe, data, start=run.start(), state_path=run.state_path, progress=options.listener
    )
    give_back_memory()  # of steps: predictions are made in other blocks
    run.write_trained(trained, recipe, prepared_as)
    return time.monotonic() - started


def meta_of(run: Run, recipe: Recipe, manifest: Manifest, seconds: float) -> dict[str, object]:
    """Return what is known of a run when it is finished: when, how long, where, with what."""
    start = run.start()
    machine = this_machine(recipe.training.precision)
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "recipe": recipe.key,
        "start": None if start is None else _started(run, start),
        "manifest": manifest.content_hash,
        "warnings": [*run.encoder_remarks, *run.copy_remarks, *run.remarks()],
        "environment": environment(machine),
        "use": USE,
    }


def _started(run: Run, start: StartingWeights) -> dict[str, object]:
    about: dict[str, object] = {**start.description, "origin": start.origin}
    if run.encoder_path.is_file():
        about["images"] = run.read_json(run.encoder_path.name)
    return about
