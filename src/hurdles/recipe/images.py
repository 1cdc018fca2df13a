"""A recipe against its images: what it refuses, how it splits them, and what a reader must know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hurdles.data.folds import patients_by_class
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
from hurdles.errors import ManifestError, RecipeError, SplitError
from hurdles.models import ModelSpec, architectures, build
from hurdles.recipe.choices import AugmentationPolicy, Threshold
from hurdles.recipe.recipe import EvaluationSection, Recipe, RemedySection

#: Images whose source is not known are one source, called so.
UNNAMED = "not named"


def refuse_images(recipe: Recipe, manifest: Manifest) -> None:
    """Raise if nothing can come of a recipe on these images, however they are split."""
    labels = manifest.labels
    if len(labels) < 2:
        raise ManifestError(
            f"there is one class only ({', '.join(labels) or 'none'}); a classifier "
            "needs images of two."
        )
    refuse_undecidable(recipe.evaluation, labels)
    refuse_one_source(recipe.remedy, manifest.frame["source"])
    spec = network_spec(recipe, labels)
    if recipe.model.architecture not in architectures():
        raise RecipeError(
            f"model.architecture = {recipe.model.architecture!r} is no network; known: "
            f"{', '.join(architectures())}."
        )
    refuse_sizes(recipe.training.sizes, spec)
    enlarged = recipe.augmentation.label
    if enlarged is not None and enlarged not in labels:
        raise ManifestError(
            f"the recipe enlarges the class {enlarged!r}, which the images do not have; they have "
            f"{', '.join(labels)}. Change augmentation.label."
        )


def refuse_split(recipe: Recipe, manifest: Manifest) -> None:
    """Raise if the parts of split images do not hold what the recipe needs there."""
    refuse_undecidable(recipe.evaluation, manifest.labels, manifest.part(Split.VALIDATION).labels)
    train = manifest.part(Split.TRAIN)
    refuse_one_source(recipe.remedy, train.frame["source"])
    enlarged = recipe.augmentation
    if enlarged.policy is AugmentationPolicy.ENLARGE and enlarged.label not in train.labels:
        raise RecipeError(
            f"augmentation.label = {enlarged.label!r} has no training image; the classes are "
            f"{', '.join(train.labels)}. Name one of them, or set policy = 'none'."
        )


def refuse_untested(manifest: Manifest) -> None:
    """Raise a SplitError that says what to do if there is a class that no test image shows."""
    tested = set(manifest.part(Split.TEST).labels)
    lost = [label for label in manifest.labels if label not in tested]
    if not lost:
        return
    people = manifest.groups.groupby(manifest.frame["label"]).nunique()
    unit = "image" if not manifest.known_patients else "patient"
    few = ", ".join(f"{label!r} ({people[label]})" for label in lost)
    raise SplitError(
        f"{len(lost)} of {len(manifest.labels)} classes have no test image, so nothing could be "
        f"said of them: {few}; in brackets the {unit}s of each, and every part needs one. Add "
        "some, or call several classes by one name (--label THEIRS=OURS), or leave them out "
        "(--label THEIRS=)."
    ).unless(*[word for label in lost for word in ("--label", f"{label}=")])


def refuse_undecidable(
    section: EvaluationSection, labels: Sequence[str], validation: Collection[str] | None = None
) -> None:
    """Raise unless what a recipe wants to be decided and measured is there in these classes."""
    for class_ in section.conditions.prevalence:
        if class_ not in labels:
            raise RecipeError(
                f"evaluation.prevalence names {class_!r}, which is not a class of the images; they "
                f"have {' and '.join(labels)}."
            )
    if section.threshold is Threshold.ARGMAX:
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


def refuse_one_source(section: RemedySection, sources: Iterable[str | float | None]) -> None:
    """Raise unless the remedies of a recipe have sources to work with."""
    names = {source if isinstance(source, str) and source else UNNAMED for source in sources}
    if not section.needs_sources or len(names) > 1:
        return
    remedies = [
        f"remedy.{field} = {value!r}"
        for field, value in section.model_dump(mode="json", exclude_defaults=True).items()
        if not field.startswith("reject")
    ]
    raise RecipeError(
        f"{' and '.join(remedies)} needs training images of two sources at least, and all of them "
        f"come from {(*names, UNNAMED)[0]!r}. Name the sources in the manifest's "
        "'source' column, add another collection, or leave the remedy out."
    )


def refuse_sizes(sizes: Sequence[int], spec: ModelSpec) -> None:
    """Raise unless the network's weights fit images of all the sizes that training goes through."""
    if not sizes:
        return
    shapes = {spec.size: _shapes(spec)}
    for size in sizes:
        try:
            shapes[size] = shapes.get(size) or _shapes(replace(spec, size=size))
        except RecipeError as error:  # names the size alone
            raise RecipeError(f"training.sizes has {size}: {error}") from error
    for size in sizes:
        if shapes[size] != shapes[spec.size]:
            raise RecipeError(
                f"training.sizes has {size}, of which {spec.architecture!r} has other weights than "
                f"of preparation.size = {spec.size}. Leave training.sizes out, or take a network "
                "that averages its last maps, such as 'small'."
            )


def _shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in build(spec, seed=0).state_dict().items()}


def network_spec(
    recipe: Recipe, labels: Sequence[str], *, mean: float = 0.0, std: float = 1.0
) -> ModelSpec:
    """Return what a recipe's network is built from; RecipeError if there can be none."""
    model, size, unit = recipe.model, recipe.preparation.size, recipe.remedy.unit_features
    return ModelSpec(
        model.architecture, tuple(labels), size, model.channels, model.hidden, mean, std, unit
    )


def refuse_folds(recipe: Recipe, *, by_file: bool) -> None:
    """Raise if a recipe asks for folds and for what several networks cannot do together."""
    if by_file:
        raise RecipeError(
            f"--split holds one split, and split.scheme = '{SplitScheme.K_FOLD}' makes several; "
            "leave one of them out."
        )
    if recipe.remedy.reject:
        raise RecipeError(
            f"remedy.reject = {recipe.remedy.reject:g} fixes a rule on images that no network was "
            f"trained on, and with split.scheme = '{SplitScheme.K_FOLD}' there are none. Leave it "
            f"out, or set split.scheme = '{SplitScheme.PATIENT}'."
        )


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
    if recipe.split.scheme == SplitScheme.K_FOLD:
        return [*folds_lines(done, recipe), *first]
    if not shared:
        return [*first, *missing_classes(done)]
    return [*first, *check_split(done, grouped=SCHEMES.get(recipe.split.scheme).grouped)]


def folds_lines(done: Manifest, recipe: Recipe) -> Iterator[str]:
    """Yield how images were parted into folds, and what one split would have tested instead."""
    section, people = recipe.split, patients_by_class(done)
    label = min(people, key=lambda name: (people[name], name))
    missing, unit = done.missing_patients, "patients"
    how = "by patient"
    if missing == len(done):
        how, unit = "by image, since no patient is known", "images"
    elif missing:
        how = f"by patient, and by image for the {missing} of {len(done)} images without one"
    times = f", {section.repeats} times" if section.repeats > 1 else ""
    n, share = people[label], section.fractions[2]
    yield (
        f"The images were parted into {section.folds} folds {how}{times}, and as many networks "
        f"trained. The rarest class, {label!r}, has {n} {unit}: one split would have tested about "
        f"{max(1, round(share * n))} of them."
    )


def _given_split(given: Manifest, done: Manifest, recipe: Recipe) -> Iterator[str]:
    brought = given.frame.set_index("image")["split"].reindex(done.frame["image"])
    used = done.frame.set_index("image")["split"]
    if brought.isna().all():
        return
    if recipe.split.scheme == SplitScheme.K_FOLD:
        yield (
            "The images bring a split, and it is NOT used: they were parted into folds "
            f"(split.scheme = {recipe.split.scheme}). To use it: --set "
            f"split.scheme={SplitScheme.GIVEN}."
        )
    elif recipe.split.scheme != SplitScheme.GIVEN:
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
