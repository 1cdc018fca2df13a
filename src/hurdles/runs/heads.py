"""A linear head on the features of somebody's encoder: fitted, tested, and kept in a folder.

The images are treated as those of a run: copies stay in one part of the split, and test images
that the encoder is known to have seen are left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles._version import USE, __version__
from hurdles.copies.finder import Copies, matches
from hurdles.copies.similarity import PRINT_SIZE
from hurdles.data.files import file_hash, replacing, write_text
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import ModelError
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.foreign.features import Features, read_features
from hurdles.foreign.head import FrozenModel, LinearHead, fit_linear_head
from hurdles.pixels.cache import Prepared
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options, counting
from hurdles.recipe.images import parted, refuse_untested, remarks, settled
from hurdles.recipe.recipe import Recipe
from hurdles.runs.encoders import (
    EncoderCheck,
    TrainedOn,
    check_encoder,
    encoder_images,
    without_seen,
)
from hurdles.runs.images import left_out_lines, prepare_as
from hurdles.runs.seals import reading
from hurdles.runs.seen import kept_together

_FILES = (
    "predictions.csv",
    "validation.csv",
    "evaluation.json",
    "copies.csv",
    "head.npz",
    "features.npz",
    "head.json",
)


@dataclass(frozen=True, eq=False, repr=False)
class FittedHead:
    """A fitted head in its folder, with what it answered to the test images.

    ====================== =====================================================================
    file                   content
    ====================== =====================================================================
    predictions.csv        one row per test image; what `hurdles audit --predictions` takes
    validation.csv         the same of the validation images, on which the penalty was chosen
    evaluation.json        measures on the test images, with intervals
    manifest.csv           the images with their split (and manifest.exclusions.csv)
    copies.csv             pairs of its images that show one radiograph
    head.npz               the regression: weights, and how features are standardized; no pickle
    features.npz           the features by image's name
    head.json              how it was made: hashes, penalty, encoder, what weakens the result
    ====================== =====================================================================
    """

    folder: Path
    head: LinearHead
    evaluation: Evaluation
    about: dict[str, Any]

    def __repr__(self) -> str:
        encoder, n = self.about["encoder"], self.evaluation.n_images
        return f"FittedHead({str(self.folder)!r}, on features of {encoder}, tested on {n} images)"

    def lines(self) -> list[str]:
        """Return what a reader must know of the head, before its numbers."""
        head, counts = self.head, self.about["images"]
        unused = f"; {head.unused} are the same in all training images" if head.unused else ""
        return [
            f"Linear head on {len(head.mean)} features of {self.about['encoder']}{unused}.",
            f"Trained on {counts['train']} images, penalty C = {head.strength:g} chosen on "
            f"{counts['validation']} validation images.",
        ]


def head_files(folder: Path) -> list[Path]:
    """Return what `fit_head` writes."""
    return [*(folder / name for name in _FILES), *Manifest.files(folder / "manifest.csv")]


def fit_head(
    file: Path,
    manifest: Manifest,
    folder: Path,
    *,
    recipe: Recipe,
    ids: Path | None = None,
    encoder: str = "",
    trained_on: TrainedOn = (),
    keep_seen: bool = False,
    options: Options,
) -> FittedHead:
    """Fit a head on a file of features of these images, test it, and fill the folder.

    `recipe` says how the images are parted; the rest is as for `hurdles.fit_head`.
    """
    recipe = settled(recipe, manifest)
    table, source = read_features(file, ids=ids), encoder or f"the encoder of {file.name}"
    names = manifest.frame["image"].tolist()
    rows, notes = table.rows_for(names, manifest.frame["path"].tolist(), what=str(file))
    by_name = dict(zip(names, rows.tolist(), strict=True))
    small = prepare_as(manifest, Preparation(PRINT_SIZE), options)
    notes += left_out_lines(manifest, small.failures)
    copies = Copies(matches(small, progress=counting(options.listener, "Looking for copies")))
    united = kept_together(copies, small.manifest, recipe)
    done = small.manifest.with_split(parted(united, recipe).frame["split"])
    for line in copies.lines(done):
        options.listener.say(line)
    refuse_untested(done)
    images = encoder_images(source, None, trained_on, options)
    parts = Prepared(done, small.pixels, small.failures)
    check = check_encoder(parts, source, images, keep=keep_seen, options=options)
    for line in check.lines():
        options.listener.say(line)
    done = without_seen(parts, check).manifest
    values = table.values[[by_name[image] for image in done.frame["image"]]]
    head, answers = _fitted(done, values)
    warnings = [*check.remarks(), *copies.remarks(done), *remarks(manifest, done, recipe)]
    result = evaluate(answers[Split.TEST], level=recipe.evaluation.level)
    result = replace(result, notes=tuple(dict.fromkeys((*warnings, *notes, *result.notes))))
    about = _about(file, source, table, head, done, check, [*warnings, *notes])
    answers[Split.TEST].save(folder / "predictions.csv")
    answers[Split.VALIDATION].save(folder / "validation.csv")
    write_text(folder / "evaluation.json", _json(result.to_dict()))
    copies.save(folder / "copies.csv")
    done.save(folder / "manifest.csv")
    head.save(folder / "head.npz")
    _save_features(folder / "features.npz", table, names, rows)
    write_text(folder / "head.json", _json(about))
    return FittedHead(folder, head, result, about)


def is_head(folder: Path) -> bool:
    """Return whether `fit_head` filled a folder."""
    return (folder / "head.json").is_file()


def load_head(folder: Path) -> FittedHead:
    """Read what `fit_head` wrote; RunError or ModelError if it is missing or damaged."""
    path = folder / "head.json"
    if not is_head(folder):
        raise ModelError(f"{folder} holds no head; give the --out folder of hurdles fit-head.")
    with reading(path):
        about = dict(json.loads(path.read_text(encoding="utf-8")))
    with reading(folder / "evaluation.json"):
        text = (folder / "evaluation.json").read_text(encoding="utf-8")
        result = Evaluation.from_dict(json.loads(text))
    return FittedHead(folder, LinearHead.load(folder / "head.npz"), result, about)


def frozen_model(fitted: FittedHead, sets: Sequence[Manifest], options: Options) -> FrozenModel:
    """Return a model that answers for these images, by the features in the head's folder."""
    table = read_features(fitted.folder / "features.npz")
    model = FrozenModel(str(fitted.about["encoder"]), fitted.head)
    for manifest in sets:
        prepared = prepare_as(manifest, Preparation(model.size), options)
        names, paths = (prepared.manifest.frame[column].tolist() for column in ("image", "path"))
        rows, _ = table.rows_for(names, paths, what=str(fitted.folder / "features.npz"))
        model.know(prepared.pixels, table.values[rows])
    return model


def _fitted(
    done: Manifest, values: NDArray[np.float32]
) -> tuple[LinearHead, dict[Split, Predictions]]:
    split, labels = done.frame["split"], done.frame["label"].to_numpy(dtype=str)
    at = {part: np.flatnonzero(split == part) for part in Split}
    if not len(at[Split.TRAIN]):
        raise ModelError("no image is of the training part; name some, or leave the split out.")
    head = fit_linear_head(
        values[at[Split.TRAIN]],
        labels[at[Split.TRAIN]].tolist(),
        values[at[Split.VALIDATION]],
        labels[at[Split.VALIDATION]].tolist(),
    )
    return head, {
        part: Predictions.of_images(
            done.part(part), head.labels, head.probabilities(values[at[part]])
        )
        for part in (Split.VALIDATION, Split.TEST)
    }


def _about(
    file: Path,
    source: str,
    table: Features,
    head: LinearHead,
    done: Manifest,
    check: EncoderCheck,
    warnings: Sequence[str],
) -> dict[str, Any]:
    return {
        "encoder": source,
        "features": {
            "file": file.name,
            "sha256": file_hash(file),
            "shape": list(table.values.shape),
        },
        "classes": list(head.labels),
        "penalty": {
            "C": head.strength,
            "log_loss_on_validation": {f"{c:g}": loss for c, loss in head.losses.items()},
        },
        "unused_features": head.unused,
        "images": {str(part): len(done.part(part)) for part in Split},
        "manifest": done.content_hash,
        "images_of_the_encoder": check.to_dict(),
        "warnings": list(dict.fromkeys(warnings)),
        "hurdles": __version__,
        "use": USE,
    }


def _save_features(
    path: Path, table: Features, names: Sequence[str], rows: NDArray[np.int64]
) -> None:
    """Write all rows by name: those of the images under their names here, others as they came."""
    used, known, theirs = set(rows.tolist()), set(names), table.images or ()
    others = [i for i in range(len(theirs)) if i not in used and theirs[i] not in known]
    images = [*names, *(theirs[i] for i in others)]
    with replacing(path) as part, part.open("wb") as stream:
        np.savez_compressed(
            stream,
            images=np.array(images, dtype=str),
            features=table.values[[*rows.tolist(), *others]],
        )


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
