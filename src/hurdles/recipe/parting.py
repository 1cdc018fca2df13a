"""The split of an experiment's images, and the remarks that it needs before it is believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hurdles.data.manifest import Manifest, several_sources
from hurdles.data.split import (
    SCHEMES,
    check_split,
    load_split,
    missing_classes,
    resolved_scheme,
    split,
)
from hurdles.data.vocabulary import Split, SplitScheme
from hurdles.recipe.recipe import Recipe


def settled(recipe: Recipe, manifest: Manifest, *, by_file: bool = False) -> Recipe:
    """Return the recipe with the scheme that ``auto`` means for these images."""
    scheme = resolved_scheme(recipe.split.scheme, manifest)
    if by_file and recipe.split.scheme == SplitScheme.AUTO:
        scheme = SplitScheme.PATIENT
    return recipe.changed(split={"scheme": str(scheme)})


def parted(manifest: Manifest, recipe: Recipe, split_file: Path | None = None) -> Manifest:
    """Return the images with their split: that of a file, or made as the recipe says."""
    section = recipe.split
    if split_file is not None:
        return load_split(manifest, split_file, grouped=SCHEMES.get(section.scheme).grouped)
    return split(
        manifest,
        fractions=section.fractions,
        seed=section.seed,
        missing_patients=section.missing_patients,
        by=section.scheme,
    )


def remarks(given: Manifest, done: Manifest, recipe: Recipe, *, shared: bool = True) -> list[str]:
    """Return what a reader must know of how images were parted, the gravest first."""
    first = [*_given_split(given, done, recipe), *same_ids(done), *_not_used(given, done)]
    if not shared:
        return [*first, *missing_classes(done)]
    return [*first, *check_split(done, grouped=SCHEMES.get(recipe.split.scheme).grouped)]


def _given_split(given: Manifest, done: Manifest, recipe: Recipe) -> Iterator[str]:
    brought = given.frame.set_index("image")["split"].reindex(done.frame["image"])
    used = done.frame.set_index("image")["split"]
    if brought.isna().all():
        return
    if recipe.split.scheme != SplitScheme.GIVEN:
        sizes = ", ".join(f"{n} {part}" for part, n in brought.value_counts().items())
        kept = int((brought == Split.TEST).sum())
        learnt = int(((brought == Split.TEST) & (used != Split.TEST)).sum())
        yield (
            f"The images bring a split ({sizes}), and it is NOT used: they were parted anew "
            f"(split.scheme = {recipe.split.scheme}). Of the {kept} images that it keeps for "
            f"testing, the model was trained or chosen on {learnt}. To use it: "
            f"--set split.scheme={SplitScheme.GIVEN}."
        )
    elif (used[brought.notna()] == Split.VALIDATION).any() and not (
        brought == Split.VALIDATION
    ).any():
        out = done.part(Split.VALIDATION)
        missing = out.missing_patients
        if missing == len(out):
            how = "by image, since no patient is known"
        else:
            how = "by patient" + (
                f", as far as they are known: {missing} name none" if missing else ""
            )
        yield (
            f"The split that the images bring has no validation part: {len(out)} images were taken "
            f"out of its training part for that ({how}). Its test part is as it was given."
        )


def _not_used(given: Manifest, done: Manifest) -> Iterator[str]:
    """Say how many images of each class are gone: the rest may be its easier cases."""
    lost = given.frame.loc[~given.frame["image"].isin(done.frame["image"]), "label"].value_counts()
    if len(lost):
        counts = ", ".join(
            f"{n} of {given.counts[str(label)]} {label}" for label, n in lost.items()
        )
        yield (
            f"{lost.sum()} of {len(given)} images could not be used and are left out ({counts}); "
            "the exclusions name each."
        )


def same_ids(done: Manifest) -> Iterator[str]:
    """Yield a sentence on patient ids that stand under several sources, if there are any."""
    several = several_sources(done.frame)
    if several.empty:
        return
    rows = done.frame[done.frame["patient"].isin(several.index)]
    torn = int((rows.groupby("patient")["split"].nunique() > 1).sum())
    where = f", and {torn} of them stand in more than one part of the split" if torn else ""
    first = several.index[0]
    yield (
        f"{len(several)} patient id{'s' * (len(several) != 1)} stand{'s' * (len(several) == 1)} "
        f"under several sources ({first!r} under {' and '.join(several.iloc[0][:3])}"
        f"{', ...' * (len(several) > 1)}). Each counts as another person in each source{where}. If "
        "equal ids are one person, join them by --join-patients."
    )
