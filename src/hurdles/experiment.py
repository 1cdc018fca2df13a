"""One experiment from the manifest to the report: what `hurdles run` and every study cell do."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hurdles.data.cache import Prepared, prepare
from hurdles.data.manifest import Manifest
from hurdles.data.schemes import SCHEMES
from hurdles.data.split import check_split, load_split, save_split, split
from hurdles.data.vocabulary import OnBad, Split
from hurdles.errors import ManifestError, RecipeError, RunError
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.imaging.prepare import Preparation
from hurdles.models.spec import ModelSpec, architectures
from hurdles.presentation import save_sheets, sheets_of, write_page
from hurdles.recipe import ChosenEpoch, EvaluationSection, Recipe
from hurdles.runs import Run
from hurdles.training.fingerprints import fingerprints, load_fingerprints, save_fingerprints
from hurdles.training.loop import TrainingData, train
from hurdles.training.machine import environment, this_machine
from hurdles.training.prediction import probabilities
from hurdles.training.progress import Progress, Silent

__all__ = ["Options", "evaluate_run", "prepare_pixels", "run_experiment", "test_predictions"]

_FINGERPRINTS = "fingerprints.csv"


@dataclass(frozen=True)
class Options:
    """What changes how an experiment is carried out but not what it finds.

    Parameters
    ----------
    on_bad : OnBad
        Unreadable images: skip and list them, or stop.
    cache : Path, optional
        Where prepared pixels are kept; default: the user's cache folder.
    progress : Progress, optional
        Who listens.
    """

    on_bad: OnBad = OnBad.SKIP
    cache: Path | None = None
    progress: Progress | None = None

    @property
    def listener(self) -> Progress:
        """Who listens, or nobody."""
        return self.progress or Silent()


def run_experiment(
    recipe: Recipe,
    manifest: Manifest | None,
    out: str | Path,
    *,
    resume: bool = False,
    split_file: Path | None = None,
    options: Options | None = None,
) -> Run:
    """Carry out a recipe on a manifest and fill the folder `out`.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    manifest : Manifest or None
        On which images; may be None only to go on with a run whose split is already made.
    out : path
        The run's folder.
    resume : bool
        Go on with what `out` holds. A finished run is returned as it is.
    split_file : path, optional
        A split written before (`hurdles.data.split.save_split`), instead of a new one.
    options : Options, optional
        How.

    Returns
    -------
    Run
        Finished.

    Raises
    ------
    RunError
        If `out` holds another run, or holds one and `resume` is false.
    SplitError, ManifestError, ImageError
        If the data do not allow the experiment.
    """
    options = options or Options()
    run = Run(out)
    _refuse_hopeless(recipe, manifest)
    with run.locked():
        run.begin(recipe, resume=resume)
        if run.is_finished:
            options.listener.say(f"{run.path} is finished already")
            return run
        started = time.monotonic()
        prepared = _data_of(run, recipe, manifest, split_file, options)
        trained = _train(run, recipe, prepared, options)
        _evaluate(run, recipe, prepared, options)
        # An interrupted training counts with all its epochs, not only those of this session.
        seconds = time.monotonic() - started - trained + float(run.history.frame["seconds"].sum())
        meta = _meta(recipe, prepared.manifest, seconds)
        write_page(run, meta=meta)
        run.write_json("meta.json", meta)
        run.state_path.unlink(missing_ok=True)
    return Run(out)


def evaluate_run(
    run: Run,
    manifest: Manifest,
    *,
    name: str,
    keep_seen: bool = False,
    epoch: ChosenEpoch | None = None,
    options: Options | None = None,
) -> Evaluation:
    """Test a finished run on further images and write what comes out into its folder.

    Parameters
    ----------
    run : Run
        Finished.
    manifest : Manifest
        The images; those whose pixels the run was trained or chosen on are left out and listed.
    name : str
        The set's name, in letters, digits and hyphens, unlike the run's own parts. It goes into
        ``predictions/<name>.csv``, ``evaluation.<name>.json`` and ``report.<name>.html``.
    keep_seen : bool
        Keep the images that the run has seen; the evaluation and its report warn.
    epoch : ChosenEpoch, optional
        Best or last; default: what the recipe chooses.
    options : Options, optional
        How.

    Raises
    ------
    RunError
        If the run is not finished, the name cannot be used, or every image was seen in training.
    ManifestError
        If the run knows none of the images' classes.
    """
    options = options or Options()
    run.require_finished()
    run.require_free(name)
    _refuse_strange(run, manifest)
    prepared = prepare_pixels(manifest, run.recipe, options)
    seen = _seen(run, prepared, options)
    if not keep_seen:
        prepared = _without(run, prepared, seen, options)
    predictions = _predict(run, prepared, options, epoch)
    result = _measured(predictions, run.recipe.evaluation)
    if keep_seen and seen.any():
        note = (
            f"{int(seen.sum())} of {len(seen)} images were used to train or choose the network and "
            "were kept by request: the results are too good."
        )
        result = replace(result, notes=(note, *result.notes))
    sheets = sheets_of(run, prepared, predictions, options.listener)
    with run.locked():  # everything is computed: the files of one set belong together
        predictions.save(run.path / "predictions" / f"{name}.csv")
        run.write_json(f"evaluation.{name}.json", result.to_dict())
        save_sheets(run.path / f"heatmaps.{name}.npz", sheets)
        prepared.manifest.save(run.path / f"manifest.{name}.csv")
        write_page(run, on=name)
    return result


def test_predictions(run: Run, epoch: ChosenEpoch, options: Options) -> Predictions:
    """Return what an epoch's weights say of a run's test images; computed once, by `options`."""
    if epoch is run.recipe.training.choose:
        return run.predictions("test")
    path = run.path / "predictions" / f"test.{epoch}.csv"
    if not path.is_file():
        prepared = prepare_pixels(run.manifest.part(Split.TEST), run.recipe, options)
        _predict(run, prepared, options, epoch).save(path)
    return Predictions.load(path)


def prepare_pixels(manifest: Manifest, recipe: Recipe, options: Options) -> Prepared:
    """Decode and prepare a manifest's images as the recipe says, through the cache of `options`.

    If none of them can be read, a ManifestError is raised.
    """
    listener = options.listener
    done_before: int | None = None

    def tell(done: int, total: int) -> None:
        nonlocal done_before
        if done_before is None:
            listener.start("Reading images", total)
        listener.advance(done - (done_before or 0))
        done_before = done

    section = recipe.preparation
    prepared = prepare(
        manifest,
        Preparation(size=section.size, name=section.name),
        cache=options.cache,
        on_bad=options.on_bad,
        progress=tell,
    )
    skipped = len(manifest) - len(prepared)
    if skipped:
        last = prepared.manifest.exclusions.iloc[-1]
        listener.say(
            f"{skipped} of {len(manifest)} images cannot be read and are left out; "
            f"for one, {last['path']}: {last['reason']}"
        )
    if not len(prepared):
        last = prepared.manifest.exclusions.iloc[-1]
        raise ManifestError(
            f"none of {len(manifest)} images could be read; {last['path']}: {last['reason']}"
        )
    return prepared


def _refuse_hopeless(recipe: Recipe, manifest: Manifest | None) -> None:
    if manifest is not None and len(manifest.labels) < 2:
        raise ManifestError(
            f"there is one class only ({', '.join(manifest.labels) or 'none'}); a classifier "
            "needs images of two."
        )
    if manifest is not None:
        SCHEMES.get(recipe.split.scheme)
        section = recipe.model
        ModelSpec(
            section.architecture, tuple(manifest.labels), recipe.preparation.size, section.channels
        )
        if section.architecture not in architectures():
            raise RecipeError(
                f"model.architecture = {section.architecture!r} is no network; known: "
                f"{', '.join(architectures())}."
            )
    wanted = recipe.augmentation.label
    if manifest is not None and wanted is not None and wanted not in manifest.labels:
        raise ManifestError(
            f"the recipe enlarges the class {wanted!r}, which the images do not have; they have "
            f"{', '.join(manifest.labels)}. Change augmentation.label."
        )


def _data_of(
    run: Run, recipe: Recipe, manifest: Manifest | None, split_file: Path | None, options: Options
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
    _refuse_hopeless(recipe, prepared.manifest)  # a class may be gone with its unreadable images
    section = recipe.split
    scheme = SCHEMES.get(section.scheme)
    if split_file is not None:
        parted = load_split(prepared.manifest, split_file, grouped=scheme.grouped)
    else:
        parted = split(
            prepared.manifest,
            fractions=section.fractions,
            seed=section.seed,
            missing_patients=section.missing_patients,
            by=section.scheme,
        )
    save_split(parted, run.path / "split.csv")
    parted.save(made)
    return Prepared(parted, prepared.pixels)


def _train(run: Run, recipe: Recipe, prepared: Prepared, options: Options) -> float:
    """Train, unless that is done, and return the seconds that it took in this session."""
    started = time.monotonic()
    if (run.path / "history.csv").is_file():
        return 0.0  # an interruption after training: the weights are there
    labels = tuple(prepared.manifest.labels)
    frame = prepared.manifest.frame
    index = {label: i for i, label in enumerate(labels)}
    data = TrainingData(
        pixels=prepared.pixels,
        classes=np.array([index[label] for label in frame["label"]], dtype=np.int64),
        labels=labels,
        train=np.flatnonzero(frame["split"] == Split.TRAIN),
        validation=np.flatnonzero(frame["split"] == Split.VALIDATION),
        identity=prepared.manifest.content_hash,
    )
    seen = np.concatenate([data.train, data.validation])
    names = frame["image"].iloc[seen].tolist()
    save_fingerprints(run.path / _FINGERPRINTS, names, prepared.pixels[seen])
    trained = train(recipe, data, state_path=run.state_path, progress=options.listener)
    run.write_trained(trained, recipe)
    return time.monotonic() - started


def _evaluate(run: Run, recipe: Recipe, prepared: Prepared, options: Options) -> None:
    for part in (Split.VALIDATION, Split.TEST):
        rows = np.flatnonzero(prepared.manifest.frame["split"] == part)
        subset = Prepared(prepared.manifest.part(part), prepared.pixels[rows])
        predictions = _predict(run, subset, options)
        predictions.save(run.path / "predictions" / f"{part}.csv")
    run.write_json("evaluation.json", _measured(predictions, recipe.evaluation).to_dict())
    save_sheets(run.path / "heatmaps.npz", sheets_of(run, subset, predictions, options.listener))


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


def _measured(predictions: Predictions, section: EvaluationSection) -> Evaluation:
    return evaluate(
        predictions, level=section.level, n_resamples=section.resamples, seed=section.seed
    )


def _refuse_strange(run: Run, manifest: Manifest) -> None:
    if not set(manifest.labels) & set(run.labels):
        raise ManifestError(
            f"{run.path} knows none of the images' classes: it knows {', '.join(run.labels)}, "
            f"they are {', '.join(manifest.labels) or 'none'}. Say which is which, as in "
            f"--label {(manifest.labels or ['THEIRS'])[0]!r}={run.labels[0]!r}."
        )


def _seen(run: Run, prepared: Prepared, options: Options) -> NDArray[np.bool_]:
    """Return which images have the pixels of one that the run was trained or chosen on."""
    path = run.path / _FINGERPRINTS
    if path.is_file():
        known = load_fingerprints(path)
    else:
        options.listener.say(f"{path} is missing: reading the images of training again")
        rows = run.manifest.select(run.manifest.frame["split"] != Split.TEST)
        strict = replace(options, on_bad=OnBad.STOP)
        known = set(fingerprints(prepare_pixels(rows, run.recipe, strict).pixels))
    return np.array([f in known for f in fingerprints(prepared.pixels)], dtype=bool)


def _without(run: Run, prepared: Prepared, seen: NDArray[np.bool_], options: Options) -> Prepared:
    if seen.all():
        raise RunError(
            f"all {len(prepared)} images were used to train or choose {run.path}; a test needs "
            "others. To see numbers all the same, use --keep-seen."
        )
    if not seen.any():
        return prepared
    names = prepared.manifest.frame.loc[seen, "image"].tolist()
    options.listener.say(f"{len(names)} images were seen in training and are left out")
    reason = "seen in training: the same pixels are in the run's training or validation part"
    left = prepared.manifest.without(names, [reason] * len(names))
    return Prepared(left, prepared.pixels[~seen])


def _meta(recipe: Recipe, manifest: Manifest, seconds: float) -> dict[str, object]:
    machine = this_machine(recipe.training.precision)
    scheme = SCHEMES.get(recipe.split.scheme)
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "recipe": recipe.key,
        "manifest": manifest.content_hash,
        "warnings": check_split(manifest, grouped=scheme.grouped),
        "environment": environment(machine),
        "use": "research use only; not a medical device",
    }
