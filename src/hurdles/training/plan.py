"""Which images an epoch sees, in which order and how altered: drawn before anything is computed.

Where training images come from: sources by number, and the groups of class by source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import RecipeError
from hurdles.pixels.augment import DRAW, draw
from hurdles.recipe.choices import AugmentationPolicy, Sampling
from hurdles.recipe.recipe import AugmentationSection, RemedySection

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


# Each purpose draws from a stream of its own, so that a change to one leaves the others alone.
_ORDER, _COPIES, _BALANCE, _EACH, _SAMPLED = 1, 2, 3, 4, 5


class EpochPlanner:
    """Draws every epoch's samples from the seed and the epoch's number alone.

    Any epoch can be drawn without the ones before it, which is what makes a resumed run equal to
    an uninterrupted one.

    Parameters
    ----------
    positions : int array of shape (n,)
        Positions of the training images among the prepared pixels.
    classes : int array of shape (n,)
        Their classes, as indices into `labels`.
    labels : sequence of str
        Names of the classes.
    augmentation : AugmentationSection
        The recipe's section.
    seed : int
        Seed of training.
    balance : int array of shape (n,), optional
        Groups of the images that every epoch shows equally often, exactly, such as their sources.
        An epoch then has as many images of each group as make up n of all, rounded up; of one
        group none is seen twice more often than another. Takes the place of the balance over
        classes of policy ``balanced``; not to be had with ``enlarge``.

    Raises
    ------
    RecipeError
        If the class that is to be enlarged has no training image.
    """

    def __init__(
        self,
        positions: NDArray[np.integer],
        classes: NDArray[np.integer],
        labels: tuple[str, ...],
        augmentation: AugmentationSection,
        seed: int,
        balance: NDArray[np.integer] | None = None,
    ) -> None:
        self.positions = np.asarray(positions, dtype=np.int64)
        self.classes = np.asarray(classes, dtype=np.int64)
        self.augmentation = augmentation
        self.seed = seed
        # Rows of the training images, group by group; empty where nothing is balanced.
        self._groups = [] if balance is None else [_rows(balance, g) for g in np.unique(balance)]
        self._fixed, self._fixed_classes = self._originals()
        if augmentation.policy is AugmentationPolicy.ENLARGE:
            self._add_copies(labels)

    def __len__(self) -> int:
        return self._share * len(self._groups) if self._groups else len(self._fixed)

    def epoch(self, number: int) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """Return the draws (dtype `DRAW`) and classes of one epoch, in the order of training."""
        if self._groups:
            return self._sampled(number)
        if self.augmentation.policy is AugmentationPolicy.BALANCED:
            return self._balanced(number)
        order = np.random.default_rng((self.seed, _ORDER, number)).permutation(len(self._fixed))
        if self.augmentation.policy is AugmentationPolicy.EACH:
            rng = np.random.default_rng((self.seed, _EACH, number))
            return self._draw(self.positions[order], rng), self.classes[order]
        return self._fixed[order], self._fixed_classes[order]

    def counts(self, n_classes: int) -> NDArray[np.float64]:
        """Return how many images of each class an epoch shows, float64 (n_classes,).

        With policy ``balanced``, or with a balance over groups, it is what is expected: what does
        not divide evenly is left to chance in each epoch.
        """
        if self._groups:
            shares = [
                np.bincount(self.classes[g], minlength=n_classes) / len(g) for g in self._groups
            ]
            return np.asarray(self._share * np.sum(shares, axis=0), dtype=np.float64)
        counts = np.bincount(self._fixed_classes, minlength=n_classes).astype(np.float64)
        if self.augmentation.policy is AugmentationPolicy.BALANCED:
            present = counts > 0
            counts[present] = len(self) / present.sum()
        return counts

    def _originals(self) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        plain = np.zeros(len(self.positions), dtype=DRAW)
        plain["position"] = self.positions
        return plain, self.classes

    def _add_copies(self, labels: tuple[str, ...]) -> None:
        wanted = self.augmentation.label
        index = labels.index(wanted) if wanted in labels else -1
        pool = self.positions[self.classes == index]
        if not len(pool):
            raise RecipeError(
                f"augmentation.label = {wanted!r} has no training image; the classes are "
                f"{', '.join(labels)}. Name one of them, or set policy = 'none'."
            )
        rng = np.random.default_rng((self.seed, _COPIES))
        chosen = rng.choice(pool, self.augmentation.copies)
        copies = self._draw(chosen, rng)
        self._fixed = np.concatenate([self._fixed, copies])
        self._fixed_classes = np.concatenate(
            [self._fixed_classes, np.full(len(copies), index, dtype=np.int64)]
        )

    def _balanced(self, number: int) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        rng = np.random.default_rng((self.seed, _BALANCE, number))
        present = np.unique(self.classes)
        share = -(-len(self.positions) // len(present))
        picked = np.concatenate(
            [_cycled(np.flatnonzero(self.classes == c), share, rng) for c in present]
        )
        picked = rng.permutation(picked)[: len(self.positions)]
        return self._draw(self.positions[picked], rng), self.classes[picked]

    @property
    def _share(self) -> int:
        """How many images of each group an epoch shows."""
        return -(-len(self.positions) // len(self._groups))

    def _sampled(self, number: int) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        rng = np.random.default_rng((self.seed, _SAMPLED, number))
        shares = [_cycled(group, self._share, rng) for group in self._groups]
        picked = rng.permutation(np.concatenate(shares))
        if self.augmentation.policy is AugmentationPolicy.NONE:
            return self._fixed[picked], self.classes[picked]
        return self._draw(self.positions[picked], rng), self.classes[picked]

    def _draw(self, positions: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.void]:
        a = self.augmentation
        return draw(
            positions,
            rng,
            flip=a.flip,
            rotation=a.rotation,
            degrees=a.degrees,
            shift=a.shift,
            scale=a.scale,
            contrast=a.contrast,
        )


def _rows(groups: NDArray[np.integer], group: int) -> NDArray[np.int64]:
    return np.flatnonzero(groups == group)


def _cycled(members: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw n of the members so that none is seen twice more often than another."""
    rounds = [rng.permutation(members) for _ in range(-(-n // len(members)))]
    return np.concatenate(rounds)[:n]
