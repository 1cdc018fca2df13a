"""Images that a run knows: copies among its own, and copies of these among others.

Both are found by the one search of `hurdles.copies.finder`, on pixels of 64x64 or more without
any preparation. A run's folder keeps the pairs among its images, a hash of the pixels that it was
trained or chosen on, and three hashes of each image (768 bits, from which no image can be made
again), so that a later test can leave out what the network has seen where its images are not at
hand.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.copies.finder import Copies, matches
from hurdles.copies.lineage import LIKELY_BITS, Fingerprint, fingerprint_of
from hurdles.copies.similarity import PRINT_SIZE, image_hashes, nearest_first
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.split import SCHEMES
from hurdles.data.untrusted import as_csv, from_cells
from hurdles.data.vocabulary import MissingPatients, OnBad, SplitScheme
from hurdles.errors import RunError
from hurdles.pixels.cache import Prepared
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options, counting
from hurdles.recipe.recipe import Recipe
from hurdles.runs.images import prepare_as
from hurdles.runs.run import Run

_LOOKING = "Looking for copies"

#: What searches of this process found, by their images: many cells of a study are trained on the
#: same ones, and the search takes as long as a small network's training.
_FOUND: OrderedDict[bytes, Copies] = OrderedDict()
_KEPT = 8


@dataclass(frozen=True, eq=False)
class Seen:
    """Images that a run knows from training, among others.

    `reasons` say of each image that it knows as which of its own, and how that was seen; `known`
    is the same for the rows that were asked about, bool (n,); `unchecked` says what could not be
    compared, in a sentence.
    """

    reasons: dict[str, str]
    known: NDArray[np.bool_]
    unchecked: str = ""

    def lines(self, *, kept: bool = False) -> list[str]:
        """Return what a reader must know of the images that were seen, and of the search."""
        number = int(self.known.sum())
        what = f"{number} of {len(self.known)} images show what was used to train or choose the "
        lines = []
        if number and kept:
            lines.append(f"{what}network and were kept by request: the results are too good.")
        elif number:
            lines.append(
                f"{what}network and are left out; the exclusions name each, and what it is a copy "
                "of."
            )
        if self.unchecked:
            lines.append(f"{self.unchecked[0].upper()}{self.unchecked[1:]}.")
        return lines


def copies_among(run: Run, prepared: Prepared, options: Options) -> Copies:
    """Return which of a run's images show one radiograph; looked for once, before it is split.

    The pairs are written into its folder.
    """
    copies = find_copies(run.recipe, prepared, options)
    copies.save(run.copies_path)
    return copies


def find_copies(recipe: Recipe, prepared: Prepared, options: Options) -> Copies:
    """Return which images show one radiograph; nothing is written."""
    images = _thumbnails(recipe, prepared, options)
    content = hashlib.sha256("\n".join(images.manifest.frame["image"]).encode())
    for image in images.pixels:  # one by one: they may be mapped from a file, larger than memory
        content.update(image.tobytes())
    key = content.digest()
    if key not in _FOUND:
        _FOUND[key] = Copies(matches(images, progress=counting(options.listener, _LOOKING)))
        if len(_FOUND) > _KEPT:
            _FOUND.popitem(last=False)
    return _FOUND[key]


def save_hashes(run: Run, prepared: Prepared, options: Options) -> None:
    """Write the hashes by which a run's images, as they will stay, are known again."""
    images = _thumbnails(run.recipe, prepared, options)
    # By row: a name may be that of a person, and the manifest stands beside it.
    numbered = images.manifest.frame.assign(
        image=[str(i) for i in prepared.index(images.manifest.frame["image"])]
    )
    hashes = fingerprint_of(Prepared(Manifest(numbered), images.pixels), "images of a run")
    hashes.save(run.hashes_path)


def kept_together(copies: Copies, manifest: Manifest, recipe: Recipe) -> Manifest:
    """Return the images as they are to be split: those of one radiograph as of one patient.

    A split that was given stays as it is, and so does one by image, as in some published work: what
    of it holds copies is named afterwards (`hurdles.copies.finder.Copies.remarks`).
    """
    section = recipe.split
    refused = manifest.missing_patients and section.missing_patients is MissingPatients.REFUSE
    if refused or not SCHEMES.get(section.scheme).grouped:
        return manifest
    return copies.united(manifest, within_parts=section.scheme == SplitScheme.GIVEN)


def seen_by(run: Run, prepared: Prepared, options: Options) -> Seen:
    """Return which images show what a run was trained or chosen on.

    Images of the same pixels are known by their hash; copies by the search that the run's own
    images went through, resized, re-encoded, cropped, inverted or mirrored as they may be. Where an
    image of training is not at hand, or is no longer the one that was trained on, its stored hashes
    stand in.
    """
    learnt = run.learnt
    images = _thumbnails(run.recipe, prepared, options)
    own, hashes = _own(run, learnt, options)
    lost = learnt.select(~learnt.frame["image"].isin(own.manifest.frame["image"]))
    part = dict(zip(learnt.frame["image"], learnt.frame["split"], strict=True))
    if run.is_ensemble:
        part = dict.fromkeys(part, "by some of its networks")
    reasons: dict[str, str] = {}

    def know(image: str, theirs: str, how: str) -> None:
        what = f"seen in training: it shows {theirs} ({part[theirs]})"
        reasons.setdefault(image, f"{what}, {how}")

    if run.fingerprints_path.is_file():
        trained = images_by_fingerprint(run.fingerprints_path)
        pixels = fingerprints(prepared.pixels)
        for image, key in zip(prepared.manifest.frame["image"], pixels, strict=True):
            if key in trained:
                know(image, trained[key], "pixel by pixel")
    pairs = matches(own, images, progress=counting(options.listener, _LOOKING))
    for pair in pairs.itertuples():
        turned = "".join(f", {word}" for word in ("inverted", "mirrored") if getattr(pair, word))
        know(str(pair.image_b), str(pair.image_a), f"similarity {pair.similarity:.3f}{turned}")
    names = images.manifest.frame["image"].tolist()
    stored = lost.frame["image"].isin(list(hashes)).to_numpy()
    if stored.any():
        gone = lost.frame["image"][stored].tolist()
        known_hashes = np.stack([hashes[name] for name in gone])
        near = nearest_first(image_hashes(images.pixels), known_hashes, radius=LIKELY_BITS)
        for ours, theirs, distance in near:
            know(names[ours], gone[theirs], f"hashes {distance} bits of 256 apart")
    if run.encoder_hashes_path.is_file():
        first = Fingerprint.load(run.encoder_hashes_path)
        near = nearest_first(image_hashes(images.pixels), first.hashes, radius=LIKELY_BITS)
        for ours, theirs, distance in near:
            what = f"seen by the encoder, before training: it shows {first.images[theirs]}"
            reasons.setdefault(names[ours], f"{what}, hashes {distance} bits of 256 apart")
    known = prepared.manifest.frame["image"].isin(list(reasons)).to_numpy()
    return Seen(reasons, known, _unchecked(len(learnt), int(stored.sum()), int((~stored).sum())))


def _thumbnails(recipe: Recipe, images: Prepared | Manifest, options: Options) -> Prepared:
    """Return images without any preparation, as copies are looked for."""
    section = recipe.preparation
    plain = section.name == "raw" and section.size >= PRINT_SIZE
    if isinstance(images, Prepared):
        if plain:
            return images
        images = images.manifest
    preparation = Preparation(section.size if plain else PRINT_SIZE)
    skip = replace(options, on_bad=OnBad.SKIP)
    return prepare_as(images, preparation, skip, "Reading images, to look for copies")


def _own(
    run: Run, learnt: Manifest, options: Options
) -> tuple[Prepared, dict[str, NDArray[np.uint64]]]:
    """Return the images of training that are at hand and what they were, and all stored hashes."""
    small = _thumbnails(run.recipe, learnt, options)
    if not run.hashes_path.is_file():
        return small, {}
    stored = Fingerprint.load(run.hashes_path)
    names = run.manifest.frame["image"]
    hashes = {names[int(row)]: own for row, own in zip(stored.images, stored.hashes, strict=True)}
    now = image_hashes(small.pixels)[:, : stored.hashes.shape[1]]
    same = [
        name not in hashes or np.array_equal(hashes[name], mine)
        for name, mine in zip(small.manifest.frame["image"], now, strict=True)
    ]
    keep = np.array(same, dtype=bool)
    return Prepared(small.manifest.select(keep), small.pixels[keep]), hashes


def _unchecked(n_learnt: int, n_hashed: int, n_unknown: int) -> str:
    sentences = []
    if n_hashed:
        sentences.append(
            f"{n_hashed} of the {n_learnt} images that the run was trained or chosen on are not at "
            "hand (or their files changed): copies of them were looked for by stored hashes only, "
            "which miss some of those that were cropped"
        )
    if n_unknown:
        sentences.append(
            f"{n_unknown} of the {n_learnt} images that the run was trained or chosen on are not "
            "at hand and no hashes of them are kept: copies of them COULD NOT be looked for; only "
            "images of the same pixels are known"
        )
    return "; ".join(sentences)


def fingerprints(pixels: NDArray[np.uint8]) -> list[str]:
    """Return the SHA-256 of each image's prepared pixels."""
    return [hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest() for row in pixels]


def save_fingerprints(path: Path, images: list[str], pixels: NDArray[np.uint8]) -> None:
    """Write one row per image, in CSV: its name and the hash of its pixels.

    The hashes tell nothing of a patient, and go with the run's folder to where its training images
    are not.
    """
    write_text(path, as_csv(pd.DataFrame({"image": images, "sha256": fingerprints(pixels)})))


def images_by_fingerprint(path: Path) -> dict[str, str]:
    """Return the names that `save_fingerprints` wrote, by the hash of their pixels."""
    try:
        text = pd.read_csv(path, usecols=["image", "sha256"], dtype="str", keep_default_na=False)
        table = from_cells(text)
        return dict(zip(table["sha256"], table["image"], strict=True))
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error}). Restore it, or make the run again in another folder."
        ) from error
