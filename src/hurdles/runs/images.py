"""The images of an experiment, ready for a network, and how it is carried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hurdles.data.manifest import Manifest
from hurdles.errors import ImageError, LungsNotFoundError, ManifestError
from hurdles.pixels.cache import PixelPreparation, Prepared, prepare
from hurdles.pixels.prepare import Preparation, needs_lungs
from hurdles.progress import Options, counting
from hurdles.recipe.recipe import Recipe
from hurdles.runs.run import Run

__all__ = [
    "left_out_lines",
    "preparation_of",
    "prepare_as",
    "prepare_for",
    "prepare_pixels",
]


def preparation_of(recipe: Recipe) -> Preparation:
    """Return a recipe's preparation, with the lungs' network in the package where it needs one.

    Parameters
    ----------
    recipe : Recipe
        Its preparation.

    Raises
    ------
    RegistryError
        If no preparation has the recipe's name.

    Examples
    --------
    >>> preparation_of(Recipe(name="plain")).key
    'raw-224px-v1'
    """
    section = recipe.preparation
    if not needs_lungs(section.name):
        return Preparation(section.size, section.name)
    from hurdles.lungs.find import shipped_lungs

    return Preparation(section.size, section.name, shipped_lungs())


def prepare_pixels(manifest: Manifest, recipe: Recipe, options: Options) -> Prepared:
    """Decode and prepare a manifest's images as the recipe says, through the cache.

    Parameters
    ----------
    manifest : Manifest
        Which images.
    recipe : Recipe
        Its preparation.
    options : Options
        What becomes of images that cannot be read or in which no lungs are found where they are
        needed, where the cache is, who listens.

    Raises
    ------
    ManifestError
        If none of the images can be used.
    ImageError
        If one of them cannot, and the options say stop.
    """
    prepared = prepare_as(manifest, preparation_of(recipe), options)
    for line in left_out_lines(manifest, prepared.failures):
        options.listener.say(line)
    if not len(prepared):
        last = prepared.manifest.exclusions.iloc[-1]
        raise ManifestError(
            f"none of {len(manifest)} images could be used; {last['path']}: {last['reason']}"
        )
    return prepared


def prepare_as(
    manifest: Manifest,
    preparation: PixelPreparation,
    options: Options,
    doing: str = "Reading images",
) -> Prepared:
    """Prepare images through the cache; who listens is told how far it is, and nothing else.

    Parameters
    ----------
    manifest : Manifest
        Which images.
    preparation : PixelPreparation
        What becomes of them.
    options : Options
        As for `prepare_pixels`.
    doing : str
        What is being done, for who listens.

    Raises
    ------
    ImageError
        If an image cannot be used, and the options say stop.
    """
    return prepare(
        manifest,
        preparation,
        cache=options.cache,
        on_bad=options.on_bad,
        progress=counting(options.listener, doing),
    )


def prepare_for(run: Run, manifest: Manifest, options: Options) -> Prepared:
    """Prepare images for a run's network, exactly as those that it was trained on.

    Parameters
    ----------
    run : Run
        Trained.
    manifest : Manifest
        Which images.
    options : Options
        As for `prepare_pixels`.

    Raises
    ------
    RunError
        If images would be prepared otherwise now, for instance with other lungs.
    ManifestError
        If none of the images can be used.
    ImageError
        If one of them cannot, and the options say stop.
    """
    run.require_prepared(preparation_of(run.recipe).description)
    return prepare_pixels(manifest, run.recipe, options)


def left_out_lines(manifest: Manifest, failures: Mapping[str, ImageError]) -> Iterator[str]:
    """Yield how many images are left out: those that cannot be read, and those without lungs.

    Parameters
    ----------
    manifest : Manifest
        The images as they were given.
    failures : mapping of str to ImageError
        From `hurdles.pixels.cache.Prepared`.
    """
    lost = {i: e for i, e in failures.items() if isinstance(e, LungsNotFoundError)}
    unread = {i: e for i, e in failures.items() if i not in lost}
    if unread:
        yield (
            f"{len(unread)} of {len(manifest)} images cannot be read and are left out; for one, "
            f"{list(unread.values())[-1]}"
        )
    if lost:
        # A class that loses more of its images than another is tested on its easier cases.
        labels = manifest.frame.set_index("image")["label"]
        of_all, of_lost = labels.value_counts(), labels[list(lost)].value_counts()
        counts = ", ".join(f"{of_lost.get(c, 0)} of {of_all[c]} {c}" for c in manifest.labels)
        yield (
            f"{len(lost)} of {len(manifest)} images are left out because their lungs were not "
            f"found ({counts}); for one, {list(lost.values())[-1]}"
        )
