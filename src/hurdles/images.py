"""The images of an experiment, ready for a network, and how it is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hurdles.data.cache import Prepared, prepare
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import OnBad
from hurdles.errors import ManifestError
from hurdles.imaging.prepare import Preparation
from hurdles.recipe import Recipe
from hurdles.training.progress import Progress, Silent

__all__ = ["Options", "prepare_pixels"]


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


def prepare_pixels(manifest: Manifest, recipe: Recipe, options: Options) -> Prepared:
    """Decode and prepare a manifest's images as the recipe says, through the cache.

    Parameters
    ----------
    manifest : Manifest
        Which images.
    recipe : Recipe
        Its preparation.
    options : Options
        What becomes of unreadable images, where the cache is, who listens.

    Raises
    ------
    ManifestError
        If none of the images can be read.
    ImageError
        If one of them cannot, and the options say stop.
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
