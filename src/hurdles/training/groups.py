"""Where training images come from: sources by number, and the groups of class by source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import RecipeError
from hurdles.recipe.choices import Sampling
from hurdles.recipe.recipe import RemedySection

#: Images whose source is not known are one source, called so.
UNNAMED = "not named"


@dataclass(frozen=True, eq=False)
class Sources:
    """The source of each image, as a number.

    Parameters
    ----------
    of : int64 array of shape (N,)
        Positions in `names`.
    names : tuple of str
        Collections or hospitals, sorted.

    Examples
    --------
    >>> found = Sources.numbered(["B", None, "A", "B"])
    >>> found.of.tolist(), found.names
    ([1, 2, 0, 1], ('A', 'B', 'not named'))
    """

    of: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def numbered(cls, sources: Sequence[str | float | None]) -> Sources:
        """Return the sources of n images by number; None and NaN: one that is not named."""
        said = [s if isinstance(s, str) and s else UNNAMED for s in sources]
        names = sorted(set(said))
        numbers = {name: n for n, name in enumerate(names)}
        return cls(np.array([numbers[s] for s in said], dtype=np.int64), tuple(names))


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of class by source that training images fall into.

    Parameters
    ----------
    of : int64 array of shape (n,)
        Group of each training image, positions in `names`.
    names : tuple of str
        ``class of source``, of the groups that have an image.
    parted : bool
        Whether no source has images of two classes, so that nothing tells class from source.
    """

    of: NDArray[np.int64]
    names: tuple[str, ...]
    parted: bool

    def __len__(self) -> int:
        return len(self.names)


def groups_of(classes: NDArray[np.integer], sources: Sources, labels: Sequence[str]) -> Groups:
    """Return the groups of class by source, those without an image left out.

    Examples
    --------
    >>> sources = Sources.numbered(["A", "A", "B", "B"])
    >>> found = groups_of(np.array([0, 1, 1, 1]), sources, ("sick", "well"))
    >>> found.of.tolist(), found.names, found.parted
    ([0, 1, 2, 2], ('sick of A', 'well of A', 'well of B'), False)
    """
    cells = np.asarray(classes, dtype=np.int64) + len(labels) * sources.of
    present, of = np.unique(cells, return_inverse=True)
    pairs = [(int(cell) % len(labels), int(cell) // len(labels)) for cell in present]
    names = tuple(f"{labels[c]} of {sources.names[s]}" for c, s in pairs)
    parted = len({s for _, s in pairs}) == len(pairs)
    return Groups(of.astype(np.int64), names, parted)


def balance_of(
    section: RemedySection, sources: Sources, groups: Groups
) -> NDArray[np.int64] | None:
    """Return what every epoch shows equally often, one number per training image; None: nothing."""
    if section.sampling is Sampling.NONE:
        return None
    return sources.of if section.sampling is Sampling.SOURCE else groups.of


def warning_of(section: RemedySection, groups: Groups) -> str:
    """Return what a reader must know of remedies on these groups, or nothing."""
    if not (section.needs_sources and groups.parted):
        return ""
    return (
        "each source has images of one class only: nothing says what belongs to the class and what "
        f"to the source, and no remedy can ({', '.join(groups.names)})"
    )


def require_sources(section: RemedySection, sources: Sequence[str | float | None]) -> None:
    """Raise unless the remedies of a recipe have sources to work with.

    Examples
    --------
    >>> require_sources(RemedySection(sampling="source"), ["A", "A"])
    Traceback (most recent call last):
    hurdles.errors.RecipeError: remedy.sampling = 'source' needs training images of two sources at \
least, and all of them come from 'A'. Name the sources in the manifest's 'source' column, add \
another collection, or leave the remedy out.
    """
    if not section.needs_sources:
        return
    names = Sources.numbered(sources).names
    if len(names) < 2:
        asked = [
            f"remedy.{field} = {value!r}"
            for field, value in section.model_dump(mode="json", exclude_defaults=True).items()
            if not field.startswith("reject")
        ]
        raise RecipeError(
            f"{' and '.join(asked)} needs training images of two sources at least, and all of them "
            f"come from {(names or (UNNAMED,))[0]!r}. Name the sources in the manifest's "
            "'source' column, add another collection, or leave the remedy out."
        )
