"""Images that the encoder of a run has seen before, held against the run's test images.

An encoder from elsewhere was trained on images, too, and a test on one of these flatters it. Which
they are is known of a run of hurdles, and of another file only where the user names them: a list of
images, or a fingerprint. What is known is kept in the run's folder as hashes, so that a later test
and a later run that starts from this one leave the same images out. What is not known is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hurdles.copies.finder import matches
from hurdles.copies.lineage import (
    LIKELY_BITS,
    Fingerprint,
    fingerprint_of,
    lineage,
    shipped_fingerprints,
)
from hurdles.copies.similarity import PRINT_SIZE, image_hashes, nearest_first
from hurdles.data.manifest import UNKNOWN, Manifest
from hurdles.data.vocabulary import OnBad, Split
from hurdles.errors import CollectionError, RecipeError, RunError
from hurdles.pixels.cache import Prepared
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options, counting
from hurdles.recipe.choices import Start
from hurdles.runs.images import manifest_of, name_of, preparation_of, prepare_as
from hurdles.runs.run import Run
from hurdles.runs.seen import seen_by

#: Images by a path or a name, as ``--data``, or a fingerprint (``.npz``); several of these.
TrainedOn: TypeAlias = "Sequence[str | Path | Manifest]"

_BY_HASHES = "where only hashes are known, some of the copies that were cropped are missed"
_LOOKING = "Looking for images of the encoder"


@dataclass(frozen=True, eq=False)
class EncoderImages:
    """Images that an encoder was trained on, as far as they are known.

    `lists` are at hand, by name; of `hashes` only hashes are; `run` is the run that the encoder is
    of; `unknown` says in sentences what is not known.
    """

    lists: Mapping[str, Prepared] = field(default_factory=dict)
    hashes: tuple[Fingerprint, ...] = ()
    run: Run | None = None
    unknown: tuple[str, ...] = ()

    @property
    def compared(self) -> list[str]:
        """Names and counts of the sets that test images are compared with."""
        words = [
            f"{len(images)} images of {name}, by pixels" for name, images in self.lists.items()
        ]
        words += [f"{len(each)} images of {each.name}, by hashes" for each in self.hashes]
        if self.run is not None:
            learnt = len(self.run.learnt)
            words.append(f"{learnt} images of run {self.run.path.name}")
        return words

    def fingerprint(self) -> Fingerprint | None:
        """Return the hashes of all these images, under numbers where their names may be private."""
        parts = [(each.name, each.images, each.hashes) for each in self.hashes]
        for name, images in self.lists.items():
            own = fingerprint_of(images, name)
            parts.append((name, tuple(map(str, range(1, len(own) + 1))), own.hashes))
        if self.run is not None and self.run.hashes_path.is_file():
            own = Fingerprint.load(self.run.hashes_path)
            learnt = (
                self.run.manifest.frame["image"].isin(self.run.learnt.frame["image"]).to_numpy()
            )
            rows = [at for at, row in enumerate(own.images) if learnt[int(row)]]
            numbers = tuple(own.images[at] for at in rows)
            parts.append((f"run {self.run.path.name}", numbers, own.hashes[rows]))
        parts = [part for part in parts if len(part[1])]
        if not parts:
            return None
        names = [f"{name}: {image}" for name, images, _ in parts for image in images]
        return Fingerprint(
            "images of the encoder", tuple(names), np.concatenate([part[2] for part in parts])
        )


@dataclass(frozen=True)
class EncoderCheck:
    """The result of holding a run's images against those of its encoder.

    `reasons` name the test images that the encoder has seen; the other numbers are counts, and
    `public` those of test images by the public collection that they stand in.
    """

    source: str
    n_test: int
    n_validation: int
    reasons: Mapping[str, str]
    by_class: Mapping[str, int]
    seen_validation: int
    compared: tuple[str, ...]
    unknown: tuple[str, ...]
    public: Mapping[str, int]
    kept: bool

    def remarks(self) -> list[str]:
        """Return what a reader of the run's numbers must know, the gravest first."""
        lines, seen = [], len(self.reasons)
        if seen:
            counts = ", ".join(f"{n} {label}" for label, n in self.by_class.items())
            what = f"{seen} of {self.n_test} test images ({counts}) show what {self.source}, which "
            what += "this run starts from, was trained on"
            lines.append(
                f"{what}, and were kept by request: the results are too good."
                if self.kept
                else f"{what}, and are left out of the test; the exclusions name each."
            )
        if self.seen_validation:
            lines.append(
                f"{self.seen_validation} of {self.n_validation} validation images show what "
                f"{self.source} was trained on: the epoch, and a threshold, were chosen on them."
            )
        if self.unknown:
            public = sum(self.public.values())
            counts = ", ".join(f"{name} {n}" for name, n in self.public.items())
            among = (
                f"; {public} of {self.n_test} test images stand in public collections ({counts}), "
                "on which published encoders are trained"
                if public
                else ""
            )
            lines.append(
                f"It could not be excluded that {self.source} has seen test images: "
                f"{'; '.join(self.unknown)}{among}."
            )
        return lines

    def lines(self) -> list[str]:
        """Return what is said while the run goes on: the remarks, and what was compared."""
        if self.compared and not self.reasons:
            return [
                f"none of {self.n_test} test images was found among those of the encoder (compared "
                f"with {'; '.join(self.compared)})",
                *self.remarks(),
            ]
        return self.remarks()

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "encoder": self.source,
            "test_images": self.n_test,
            "test_images_seen": len(self.reasons),
            "seen_by_class": dict(self.by_class),
            "kept": self.kept,
            "validation_images_seen": self.seen_validation,
            "compared_with": list(self.compared),
            "not_excluded": list(self.unknown),
            "test_images_in_public_collections": dict(self.public),
            "remarks": self.remarks(),
        }


def origin_run(encoder_from: Run | str | Path | None) -> Run | None:
    """Return the run that an encoder is of, given the run, its folder, or a file of its weights."""
    if encoder_from is None or isinstance(encoder_from, Run):
        return encoder_from
    path = Path(encoder_from).absolute()
    run = Run(path.parent.parent if path.is_file() else path)
    inside = not path.is_file() or path.parent.name == "weights"
    return run if inside and run.is_finished else None


def encoder_images(
    source: str,
    run: Run | None,
    trained_on: TrainedOn,
    options: Options,
) -> EncoderImages:
    """Return what is known of an encoder's images: those of its run, and those that are named.

    `source` is what the encoder is called.
    """
    lists: dict[str, Prepared] = {}
    hashes: list[Fingerprint] = []
    unknown = []
    for part in trained_on:
        named = _named(part)
        if isinstance(named, Fingerprint):
            hashes.append(named)
            continue
        skip, doing = replace(options, on_bad=OnBad.SKIP), "Reading images of the encoder"
        small = prepare_as(named, Preparation(PRINT_SIZE), skip, doing)
        if not len(small):
            raise RunError(f"none of the images of --trained-on {part} can be read.")
        lists[_free(name_of(part), lists)] = small
    if run is not None:
        if run.encoder_hashes_path.is_file():
            hashes.append(Fingerprint.load(run.encoder_hashes_path))
        before = run.read_json(run.encoder_path.name) if run.encoder_path.is_file() else {}
        unknown += [str(e) for e in before.get("not_excluded", ()) if e != _BY_HASHES]
        earlier = run.meta.get("start") or {}
        if earlier and not before and run.recipe.model.start is not Start.IMAGENET:
            unknown.append(
                f"run {run.path.name} started from {earlier.get('source')}, and which images that "
                "has seen is not on record"
            )
    elif not trained_on:
        unknown.append(
            f"which images {source} was trained on is not known (name them by --trained-on: "
            "images, or a fingerprint)"
        )
    if hashes:
        unknown.append(_BY_HASHES)
    return EncoderImages(lists, tuple(hashes), run, tuple(unknown))


def kept_images(images: EncoderImages, kept: Path) -> EncoderImages:
    """Return the images with those whose hashes an interrupted run had kept, if none is named."""
    if images.compared or not kept.is_file():
        return images
    return replace(images, hashes=(Fingerprint.load(kept),))


def check_encoder(
    done: Prepared,
    source: str,
    images: EncoderImages,
    *,
    keep: bool,
    options: Options,
) -> EncoderCheck:
    """Hold the test and validation images of a run, already parted, against an encoder's."""
    found: dict[Split, dict[str, str]] = {}
    parts = {part: done.manifest.part(part) for part in (Split.VALIDATION, Split.TEST)}
    for part, manifest in parts.items():
        found[part] = seen_images(manifest, images, options) if len(manifest) else {}
    tested, reasons = parts[Split.TEST], found[Split.TEST]
    labels = tested.frame.loc[tested.frame["image"].isin(list(reasons)), "label"].value_counts()
    return EncoderCheck(
        source=source,
        n_test=len(tested),
        n_validation=len(parts[Split.VALIDATION]),
        reasons=reasons,
        by_class={str(label): int(n) for label, n in labels.sort_index().items()},
        seen_validation=len(found[Split.VALIDATION]),
        compared=tuple(images.compared),
        unknown=images.unknown,
        public=public_images(tested, options) if {*images.unknown} - {_BY_HASHES} else {},
        kept=keep and bool(reasons),
    )


def without_seen(done: Prepared, check: EncoderCheck) -> Prepared:
    """Return a run's images without the test images that its encoder has seen.

    RunError if a class would have no test image left.
    """
    if check.kept or not check.reasons:
        return done
    left = done.manifest.without(check.reasons.keys(), check.reasons.values())
    tested = set(left.part(Split.TEST).labels)
    if gone := [c for c in done.manifest.part(Split.TEST).labels if c not in tested]:
        raise RunError(
            f"{len(check.reasons)} of {check.n_test} test images show what {check.source} was "
            f"trained on, and without them none is left of {', '.join(gone)}. Test on other "
            "images, start from another encoder, or see numbers all the same by --keep-seen."
        ).unless("--keep-seen")
    gone_rows = done.manifest.frame["image"].isin(list(check.reasons)).to_numpy()
    return Prepared(left, done.pixels[~gone_rows], done.failures)


def refuse_lists(trained_on: TrainedOn, encoder_from: object, run: Run) -> None:
    """Raise a RecipeError if images of an encoder are named and there is no encoder."""
    if trained_on and encoder_from is None and not run.exists:
        raise RecipeError(
            "--trained-on names images of an encoder, and no encoder is named; give it by "
            "--encoder-from, or leave --trained-on out."
        )


def seen_images(
    manifest: Manifest, images: EncoderImages, options: Options, who: str = "the encoder"
) -> dict[str, str]:
    """Return the images of a manifest that the encoder, or a model, has seen, with the reason."""
    skip = replace(options, on_bad=OnBad.SKIP)
    reasons: dict[str, str] = {}
    if images.run is not None:
        other = images.run
        prepared = prepare_as(manifest, preparation_of(other.recipe), skip)
        for image, why in seen_by(other, prepared, options).reasons.items():
            reasons[image] = f"seen by {who} (run {other.path.name}): {why}"
        for image, why in _same_patients(manifest, other):
            reasons.setdefault(image, why)
    if not images.lists and not images.hashes:
        return reasons
    small = prepare_as(manifest, Preparation(PRINT_SIZE), skip)
    names = small.manifest.frame["image"].tolist()
    for name, theirs in images.lists.items():
        pairs = matches(theirs, small, progress=counting(options.listener, _LOOKING))
        for pair in pairs.itertuples():
            why = f"seen by {who}: it shows {pair.image_a} of {name}"
            reasons.setdefault(str(pair.image_b), f"{why}, similarity {pair.similarity:.3f}")
    if not images.hashes:
        return reasons
    own = image_hashes(small.pixels)
    for each in images.hashes:
        for ours, row, distance in nearest_first(own, each.hashes, radius=LIKELY_BITS):
            why = f"seen by {who}: it shows {each.images[row]} of {each.name}"
            reasons.setdefault(names[ours], f"{why}, hashes {distance} bits of 256 apart")
    return reasons


def _same_patients(manifest: Manifest, other: Run) -> Iterator[tuple[str, str]]:
    """Yield images of patients that the encoder knows: an equal id of an equally named source."""
    learnt = other.learnt
    known = set(learnt.groups[learnt.frame["source"].notna()])
    sourced = manifest.frame["source"].notna()
    for image, group, named in zip(manifest.frame["image"], manifest.groups, sourced, strict=True):
        if named and group in known and not group.startswith(UNKNOWN):
            yield (
                image,
                f"seen by the encoder (run {other.path.name}): another image of its patient",
            )


def public_images(manifest: Manifest, options: Options) -> dict[str, int]:
    """Return how many images stand in each public collection of which a fingerprint ships."""
    small = prepare_as(manifest, Preparation(PRINT_SIZE), replace(options, on_bad=OnBad.SKIP))
    if not len(small):
        return {}
    # Of an image that stands in several, the first counts.
    table = lineage(small, shipped_fingerprints()).drop_duplicates("image")
    counts = table["collection"].value_counts()
    return {str(name): int(n) for name, n in counts.items()}


def _named(part: str | Path | Manifest) -> Manifest | Fingerprint:
    """Return images that are named; of a collection that is not here, the hashes that ship."""
    if not isinstance(part, Manifest) and Path(part).suffix.lower() == ".npz":
        return Fingerprint.load(part)
    try:
        return manifest_of(part)
    except CollectionError:
        shipped = {each.name: each for each in shipped_fingerprints()}
        if str(part) in shipped:
            return shipped[str(part)]
        raise


def _free(name: str, taken: Mapping[str, object]) -> str:
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name}-{number}"
    return free
