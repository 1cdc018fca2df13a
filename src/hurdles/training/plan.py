"""The images of an epoch, their order and alterations, drawn before anything is computed.

Remedies need to know where images come from: sources by number, and the groups of class by source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.pixels.perturb import DRAW, draw
from hurdles.recipe.choices import AugmentationPolicy, Sampling
from hurdles.recipe.images import UNNAMED
from hurdles.recipe.recipe import AugmentationSection, RemedySection


@dataclass(frozen=True, eq=False)
class Sources:
    """The source of each image, int64 (N,), as its position in the sorted `names`."""

    of: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def numbered(cls, sources: Sequence[str | float | None]) -> Sources:
        """Return the sources of n images by number; None, NaN and '': one that is not named."""
        texts = [s if isinstance(s, str) and s else UNNAMED for s in sources]
        names = sorted(set(texts))
        return cls(np.array([names.index(s) for s in texts], dtype=np.int64), tuple(names))


@dataclass(frozen=True, eq=False)
class Groups:
    """The group of each training image, int64 (n,), as its position in `names`.

    `names` are ``class of source``, of the groups that have an image; `parted` says whether no
    source has images of two classes, so that nothing tells class from source.
    """

    of: NDArray[np.int64]
    names: tuple[str, ...]
    parted: bool

    def __len__(self) -> int:
        return len(self.names)


def groups_of(classes: NDArray[np.integer], sources: Sources, labels: Sequence[str]) -> Groups:
    """Return the groups of class by source, those without an image left out."""
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


# Each purpose draws from a stream of its own, so that a change to one leaves the others alone.
_ORDER, _COPIES, _BALANCE, _EACH, _SAMPLED = 1, 2, 3, 4, 5


class EpochPlanner:
    """Draws every epoch's samples from the seed and the epoch's number alone.

    Any epoch can be drawn without the ones before it, which is what makes a resumed run equal to
    an uninterrupted one.

    Parameters
    ----------
    positions, classes : int arrays of shape (n,)
        Positions of the training images among the prepared pixels; their indices into `labels`.
    balance : int array of shape (n,), optional
        Groups of the images that every epoch shows equally often, exactly, such as their sources.
        An epoch then has as many images of each group as make up n of all, rounded up; of one
        group none is seen twice more often than another. Takes the place of the balance over
        classes of policy ``balanced``; not to be had with ``enlarge``.
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
        self._groups = (
            [np.flatnonzero(balance == g) for g in np.unique(balance)]
            if (balance is not None)
            else []
        )
        self._fixed = np.zeros(len(self.positions), dtype=DRAW)
        self._fixed["position"] = self.positions
        self._fixed_classes = self.classes
        if augmentation.policy is AugmentationPolicy.ENLARGE:
            enlarged = labels.index(str(augmentation.label))
            rng = np.random.default_rng((seed, _COPIES))
            chosen = rng.choice(self.positions[self.classes == enlarged], augmentation.copies)
            self._fixed = np.concatenate([self._fixed, self._draw(chosen, rng)])
            copied = np.full(len(chosen), enlarged, dtype=np.int64)
            self._fixed_classes = np.concatenate([self._fixed_classes, copied])

    def __len__(self) -> int:
        return self._share * len(self._groups) if self._groups else len(self._fixed)

    def epoch(self, number: int) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """Return the draws (dtype `DRAW`) and classes of one epoch, in the order of training."""
        policy = self.augmentation.policy
        if self._groups:
            rng = np.random.default_rng((self.seed, _SAMPLED, number))
            rows = rng.permutation(_cycled(self._groups, self._share, rng))
            if policy is AugmentationPolicy.NONE:
                return self._fixed[rows], self.classes[rows]
        elif policy is AugmentationPolicy.BALANCED:
            rng = np.random.default_rng((self.seed, _BALANCE, number))
            classes = [np.flatnonzero(self.classes == c) for c in np.unique(self.classes)]
            share = -(-len(self.positions) // len(classes))
            rows = rng.permutation(_cycled(classes, share, rng))[: len(self.positions)]
        else:
            rng = np.random.default_rng((self.seed, _ORDER, number))
            rows = rng.permutation(len(self._fixed))
            if policy is not AugmentationPolicy.EACH:
                return self._fixed[rows], self._fixed_classes[rows]
            rng = np.random.default_rng((self.seed, _EACH, number))
        return self._draw(self.positions[rows], rng), self.classes[rows]

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

    @property
    def _share(self) -> int:
        """Images of each group that an epoch shows."""
        return -(-len(self.positions) // len(self._groups))

    def _draw(self, positions: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.void]:
        fields = {"flip", "rotation", "degrees", "shift", "scale", "contrast"}
        return draw(positions, rng, **self.augmentation.model_dump(include=fields))


def _cycled(
    groups: Sequence[NDArray[np.int64]], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw n of each group so that none of it is seen twice more often than another."""
    drawn = []
    for members in groups:
        rounds = [rng.permutation(members) for _ in range(-(-n // len(members)))]
        drawn.append(np.concatenate(rounds)[:n])
    return np.concatenate(drawn)
