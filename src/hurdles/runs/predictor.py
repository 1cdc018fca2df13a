"""A run at work on new images: read, prepared as in training, refused or answered, row by row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles._version import USE
from hurdles.data.files import expanded, file_hash, outputs, reads, write_bytes, writes
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import OnBad, Split
from hurdles.errors import HurdlesError, ImageError, ManifestError, OutputError
from hurdles.evaluation.calibration import inverse_temperature, tempered
from hurdles.evaluation.conformal import PredictionSets, prediction_sets
from hurdles.evaluation.decisions import Threshold, decided
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.predictions import Predictions
from hurdles.explanation.methods import explain
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options, processors
from hurdles.reporting.pictures import heatmap_sheet
from hurdles.runs.answers import (
    Answers,
    answers_files,
    columns_of,
    growing,
    rows_of,
    set_cell,
)
from hurdles.runs.assessment import threshold_of
from hurdles.runs.engines import AUTO, Chosen, Engines, check_name
from hurdles.runs.images import (
    Data,
    files_of,
    given_images,
    parts_of,
    preparation_of,
    prepare_for,
)
from hurdles.runs.run import Run
from hurdles.runs.seals import SEALS, require_whole, seal, sealed
from hurdles.runs.seen import fingerprints, images_by_fingerprint
from hurdles.training.machine import this_machine
from hurdles.training.prediction import Rejector

if TYPE_CHECKING:
    from hurdles.models.network import Network

__all__ = ["Predictor"]

#: Images like those of validation that are to be accepted, where the run has no rule of its own.
_ACCEPTANCE = 0.95
#: Images in memory at a time; a multiple of the network's own batch, so that batches are the same
#: as in `hurdles.runs.assessment`.
_CHUNK = 128
#: Folder in a run's own for a rule of refusal that was fixed after training.
_RULE = "refusal"

_Chunk: TypeAlias = "tuple[pd.DataFrame, list[Future[NDArray[np.uint8] | ImageError]]]"


@dataclass(frozen=True)
class Refusal:
    """The rule by which images unlike those of training are refused, or why there is none.

    A rule that `is_new` was fixed just now on all of the run's own images, and may be kept.
    """

    rejector: Rejector | None
    note: str = ""
    is_new: bool = False

    @property
    def is_able(self) -> bool:
        """True if there is a rule, and it can refuse an image."""
        return self.rejector is not None and math.isfinite(self.rejector.rule.limit)

    def __str__(self) -> str:
        if self.rejector is None:
            return f"No image is refused: {self.note}."
        if not self.is_able:
            rule = self.rejector.rule
            return f"No image is refused: with {rule.n_validation} of them, {rule.note}."
        note = f" ({self.note})" if self.note else ""
        return (
            f"Images unlike those of training are {self.rejector.rule}{note}. A refused image has "
            "no set: the sets promise their share of all such images as if none were refused, "
            "which of the answered ones alone may be less."
        )


class Predictor:
    """A finished run, ready to answer images that nobody has labeled.

    Made by `hurdles.load`. Everything that is fixed on validation images is fixed once, when it is
    first needed: the temperature, the prediction sets, and from which distance to the images of
    training an image is refused.

    Parameters
    ----------
    run : Run
        A finished run.
    options : Options, optional
        Where the cache is, who listens.
    engine : str
        One of `hurdles.runs.engines.ENGINES`, or ``auto`` or ``fastest``; see `hurdles.load`.

    Raises
    ------
    RunError
        If the run is not finished, or its images would be prepared otherwise now.
    RegistryError
        If there is no such engine.
    """

    def __init__(self, run: Run, options: Options | None = None, *, engine: str = AUTO) -> None:
        self.run = run.require_finished()
        self.options = options or Options()
        self.engine = check_name(engine)
        self._preparation = preparation_of(run.recipe)
        run.require_prepared(self._preparation.description)

    def __repr__(self) -> str:
        return f"Predictor({str(self.run.path)!r}, classes={list(self.run.labels)})"

    @cached_property
    def validation(self) -> Predictions:
        """The run's predictions on its validation images."""
        return self.run.predictions("validation")

    @cached_property
    def inverse_temperature(self) -> Estimate:
        """The factor of the log-probabilities, with its interval; undefined with the reason."""
        return inverse_temperature(self.validation, level=self.run.recipe.evaluation.level)

    @cached_property
    def refusal(self) -> Refusal:
        """The rule of refusal: the run's own, that of an earlier prediction, or fixed now."""
        return _refusal_of(self.run, self._network, self.options)

    @cached_property
    def _network(self) -> Network:
        return self.run.network().to(this_machine("float32").device)

    @cached_property
    def _engines(self) -> Engines:
        return Engines(self._network, self.engine, self.options)

    @cached_property
    def _weights(self) -> str:
        return f"sha256:{file_hash(self.run.weights_path)}"

    @cached_property
    def _threshold(self) -> Threshold | None:
        return threshold_of(self.run)

    @cached_property
    def _seen(self) -> dict[str, str]:
        file = self.run.fingerprints_path
        return images_by_fingerprint(file) if file.is_file() else {}

    def sets(self, coverage: float = 0.9) -> PredictionSets:
        """Return the rule of the prediction sets at a coverage; see `prediction_sets`."""
        return prediction_sets(self.validation, coverage=coverage)

    def predict(
        self,
        images: Data,
        *,
        coverage: float = 0.9,
        columns: Mapping[str, str] | None = None,
        out: str | Path | None = None,
        heatmaps: str | Path | None = None,
        force: bool = False,
    ) -> Answers:
        """Answer images: one row each, also of those that cannot be read.

        Parameters
        ----------
        images : Data
            Files, folders (all images below), patterns such as ``new/*.dcm``, tables with a column
            of paths, or collections. No class is needed, and none is used.
        coverage : float
            Share of new patients of each class that is to have it in their prediction sets.
        columns : mapping, optional
            Columns of a table -> columns of a manifest; see `hurdles.run`.
        out : path, optional
            Where to write the table (CSV), as it grows; what it rests on goes beside it, as
            ``<stem>.about.json``. An interrupted call leaves neither.
        heatmaps : path, optional
            Folder for a picture of each answered image beside its Grad-CAM: patients' pixels.
        force : bool
            Replace files that hurdles did not write; never an input.

        Returns
        -------
        Answers
            Images and folders first, in the order in which they were given, then tables.

        Raises
        ------
        ManifestError
            If nothing is there to be read.
        ImageError
            If an image cannot be read and the options say stop.
        EvaluationError
            If the coverage is no share.
        OutputError
            If an output would replace an input, or a file that hurdles did not write.
        """
        rule, file = self.sets(coverage), None if out is None else Path(out)
        inputs = [*sealed(self.run.path), *files_of(images)]
        files = [*answers_files(file), *_files_of_rule(self.run)]
        with outputs(*files, inputs=inputs, force=force, ledger=self.run.ledger):
            given, others = given_images(images, columns)
            if others:
                self.options.listener.say(
                    f"left out, being no images by their names: {others} of the files given"
                )
            reads(given["path"])
            if heatmaps is not None:
                _refuse_among(Path(heatmaps), given["path"], images)
            names = given["image"].tolist()
            pictures = None if heatmaps is None else _Pictures(Path(heatmaps), names)
            about = self.about(rule)
            self._keep_refusal()
            with growing(file, about) as table:
                engine: Chosen | None = None
                for rows, pixels in self._read(given):
                    read = [each for each in pixels if not isinstance(each, ImageError)]
                    if read and engine is None:
                        engine = self._engines.chosen(np.stack(read), len(given))
                        about |= {"engine": engine.to_dict()}
                        about["notes"] += engine.lines()
                    table.add(self._answered(rows, pixels, rule, engine, pictures))
                    self.options.listener.advance(len(rows))
                return Answers(table.table(), about)

    def _keep_refusal(self) -> None:
        """Keep a new rule of refusal in the run's folder, for the next prediction."""
        refusal, folder = self.refusal, self.run.path / _RULE
        if refusal.rejector is None or not refusal.is_new:
            return
        try:
            refusal.rejector.save(folder)
            seal(folder)
            self.refusal = replace(refusal, is_new=False)
        except OSError as error:  # a folder that is only to be read: fixed again the next time
            self.options.listener.say(f"the rule of refusal is not kept: {error}")

    def about(self, rule: PredictionSets) -> dict[str, Any]:
        """Return what answers rest on, for JSON."""
        refusal = self.refusal
        return {
            "run": str(self.run.path),
            "weights": self._weights,
            "engine": None,  # chosen when the first images are read
            "classes": list(self.run.labels),
            "inverse_temperature": self.inverse_temperature.to_dict(),
            "sets": rule.to_dict(),
            "refusal": refusal.rejector.rule.to_dict() if refusal.rejector else None,
            "notes": self.lines(rule),
            "use": USE,
        }

    def lines(self, rule: PredictionSets) -> list[str]:
        """Return what answers rest on, in words."""
        factor, several = self.inverse_temperature, len(self.run.fold_runs())
        if factor.is_defined:
            nobody = self.validation.unknown.all()
            who = ", no patient known" if nobody else f" of {factor.n_patients} patients"
            low, high = (
                f"{1 / end:.3g}" if end > 0 else "any" for end in (factor.high, factor.low)
            )
            by = f"a temperature of {1 / factor.value:.3g} [{low}, {high}], fitted on"
            images = f"{factor.n_images} validation images{who}"
            calibrated = f"Probabilities are calibrated by {by} {images}."
            if several:
                calibrated = (
                    f"Probabilities are means of {several} networks, with {by} answers of single "
                    f"ones to {images}: how well they are calibrated was not measured."
                )
        else:
            whose = f"means of {several} networks" if several else "the network gives them"
            calibrated = (
                f"Probabilities are not calibrated, and stand as {whose}: no temperature could be "
                f"fitted on the validation images ({factor.note})."
            )
        return [calibrated, *rule.lines(is_measured=not several), str(self.refusal)]

    def _read(
        self, given: pd.DataFrame
    ) -> Iterator[tuple[pd.DataFrame, list[NDArray[np.uint8] | ImageError]]]:
        """Yield the images chunk by chunk, prepared, while the next chunk is being read."""
        self.options.listener.start("Predicting", len(given))
        with _pool() as pool:
            for rows, futures in _ahead(given, self._preparation, pool):
                results = [future.result() for future in futures]
                failures = [each for each in results if isinstance(each, ImageError)]
                if failures and OnBad(self.options.on_bad) is OnBad.STOP:
                    raise failures[0]
                yield rows, results

    def _answered(
        self,
        given: pd.DataFrame,
        results: Sequence[NDArray[np.uint8] | ImageError],
        rule: PredictionSets,
        engine: Chosen | None,
        pictures: _Pictures | None,
    ) -> pd.DataFrame:
        """Return the rows of a chunk; there is no engine only where no image was read."""
        labels = self.run.labels
        rows = rows_of(columns_of(labels), len(given))
        rows["image"], rows["path"] = given["image"].to_numpy(), given["path"].to_numpy()
        rows["use"] = USE
        rows["error"] = [each.message if isinstance(each, ImageError) else "" for each in results]
        read = np.flatnonzero(rows["error"] == "")
        if engine is None or not len(read):
            return rows
        pixels = np.stack([each for each in results if not isinstance(each, ImageError)])
        raw, features = engine.answers(self._network, pixels, self._threshold)
        rows.loc[read, [f"raw:{c}" for c in labels]] = raw
        rows.loc[read, "seen"] = [self._seen.get(key, "") for key in fingerprints(pixels)]
        refused = self._refused(rows, read, raw, features)
        kept, raw = read[~refused], raw[~refused]
        if not len(kept):
            return rows
        factor = self.inverse_temperature
        calibrated = tempered(raw, factor.value) if factor.is_defined else raw
        rows.loc[kept, [f"p:{c}" for c in labels]] = calibrated
        rows.loc[kept, "prediction"] = decided(self._threshold, labels, raw)
        # By the network's own probabilities: a temperature was fitted to the validation images.
        rows.loc[kept, "set"] = [set_cell(each) for each in rule.named(raw)]
        if pictures is not None:
            names = pictures.draw(self._network, rows.iloc[kept], pixels[~refused], calibrated)
            rows.loc[kept, "heatmap"] = names
        return rows

    def _refused(
        self,
        rows: pd.DataFrame,
        read: NDArray[np.intp],
        raw: NDArray[np.float64],
        features: NDArray[np.float32],
    ) -> NDArray[np.bool_]:
        """Enter into the rows which images are refused, and return it."""
        rejector = self.refusal.rejector
        if rejector is None:
            return np.zeros(len(read), dtype=bool)
        scores = rejector.scores_of(raw, features)
        refused = rejector.rule.rejects(scores)
        rows.loc[read, "strangeness"] = scores
        if self.refusal.is_able:
            rows.loc[read, "refused"] = np.where(refused, "yes", "no")
        rows.loc[read[refused], "refusal"] = [
            f"unlike the images of training: {rejector.rule.by} {score:.4g}, above "
            f"{rejector.rule.limit:.4g}"
            for score in scores[refused]
        ]
        return refused


# --- the rule of refusal -------------------------------------------------------------------------


def _refusal_of(run: Run, network: Network, options: Options) -> Refusal:
    """Return a run's own rule, or one that is fixed on its validation images, once."""
    if run.recipe.remedy.reject:
        return Refusal(Rejector.load(run.path))
    if run.is_ensemble:
        why = (
            "each of the run's own images was trained on by some of its networks, so that none "
            "shows how far from them a new image lies"
        )
        return Refusal(None, why)
    folder = run.path / _RULE
    if (folder / SEALS).is_file():
        require_whole(folder)
        return Refusal(Rejector.load(folder))
    pixels, lost = {}, 0
    for part in (Split.TRAIN, Split.VALIDATION):
        pixels[part], n = _trained_on(run, part, options)
        lost += n
        if not len(pixels[part]):
            return Refusal(None, f"the run's own {part} images are not at hand to compare with")
    rejector = Rejector.of(
        network, pixels[Split.TRAIN], pixels[Split.VALIDATION], acceptance=_ACCEPTANCE
    )
    if lost:
        return Refusal(rejector, f"{lost} of the run's own images are not at hand")
    return Refusal(rejector, is_new=True)


def _files_of_rule(run: Run) -> list[Path]:
    """Return what a prediction writes into the run's folder: nothing if there is a rule."""
    folder = run.path / _RULE
    if run.is_ensemble or run.recipe.remedy.reject or (folder / SEALS).is_file():
        return []
    return [*Rejector.files(folder), folder / SEALS]


def _trained_on(run: Run, part: Split, options: Options) -> tuple[NDArray[np.uint8], int]:
    """Return the pixels of a part that are still those of the training; how many are not."""
    images = run.manifest.part(part)
    try:
        prepared = prepare_for(run, images, Options(OnBad.SKIP, options.cache, options.progress))
    except ManifestError:  # none can be read
        return np.empty((0, 0, 0), dtype=np.uint8), len(images)
    known = images_by_fingerprint(run.fingerprints_path) if run.fingerprints_path.is_file() else {}
    same = np.array([not known or key in known for key in fingerprints(prepared.pixels)])
    return prepared.pixels[same], len(images) - int(same.sum())


def _refuse_among(heatmaps: Path, paths: Iterable[str], images: Data) -> None:
    """Refuse a folder of heat-maps that would be read as images the next time."""
    place = heatmaps.resolve()
    parts = [] if isinstance(images, Manifest) else parts_of(images)
    roots = {expanded(part).resolve() for part in parts if not isinstance(part, Manifest)}
    if place in {Path(path).resolve().parent for path in paths} or roots & {place, *place.parents}:
        raise OutputError(
            f"{heatmaps} lies among the images, and its pictures would be read as such the next "
            "time; give another folder."
        )


# --- reading -------------------------------------------------------------------------------------


@contextmanager
def _pool() -> Iterator[Executor]:
    """Yield threads that, when interrupted, do not first finish all that is queued."""
    pool = ThreadPoolExecutor(processors())
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(given: pd.DataFrame, preparation: Preparation, pool: Executor) -> Iterator[_Chunk]:
    """Yield the images in chunks, of which the next is read while this one is worked on."""
    waiting: _Chunk | None = None
    for start in range(0, len(given), _CHUNK):
        rows = given.iloc[start : start + _CHUNK].reset_index(drop=True)
        chunk = rows, [pool.submit(prepared, path, preparation) for path in rows["path"]]
        if waiting is not None:
            yield waiting
        waiting = chunk
    if waiting is not None:
        yield waiting


def prepared(path: str, preparation: Preparation) -> NDArray[np.uint8] | ImageError:
    """Decode and prepare one file, as the cache does for training, or return why it cannot be."""
    try:
        return preparation(decode(path))
    except ImageError as error:
        return error
    except HurdlesError:
        raise
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        why = getattr(error, "strerror", None) or str(error)
        return ImageError(f"the file cannot be opened ({why}); check the path.", path)


# --- pictures ------------------------------------------------------------------------------------


class _Pictures:
    """Radiographs beside their heat-maps, one file each; all are announced before the first."""

    def __init__(self, folder: Path, images: Sequence[str]) -> None:
        digits = len(str(len(images)))
        stems = [re.sub(r"[^\w.-]+", "_", Path(image).stem)[:80] for image in images]
        names = [f"{number:0{digits}}-{stem}.png" for number, stem in enumerate(stems, start=1)]
        self._folder, self._names = folder, dict(zip(images, names, strict=True))
        writes(*(folder / name for name in names))

    def draw(
        self,
        network: Network,
        rows: pd.DataFrame,
        pixels: NDArray[np.uint8],
        calibrated: NDArray[np.float64],
    ) -> list[str]:
        """Write the pictures of some images and return the names of the files."""
        images, target = rows["image"].tolist(), rows["prediction"].tolist()
        maps = explain(network, network.spec, pixels, images=images, target=target)
        names = [self._names[image] for image in images]
        for row, name in enumerate(names):
            one = slice(row, row + 1)
            sheet = heatmap_sheet(
                pixels[one], maps[one], network.spec.labels, calibrated[one], note=USE
            )
            write_bytes(self._folder / name, sheet)
        return names
