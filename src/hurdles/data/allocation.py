"""Sharing groups out between splits: as close to the fractions as the groups allow."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.vocabulary import Split

_SPLITS = tuple(Split)
# A class of two patients can be learnt and tested; one of one patient can only be learnt.
_NEEDED_FIRST = (Split.TRAIN, Split.TEST, Split.VALIDATION)


def share_out(
    labels: pd.Series[str],
    groups: pd.Series[str],
    *,
    fractions: tuple[float, ...],
    seed: int,
    parts: tuple[Split, ...] = _SPLITS,
) -> list[str]:
    """Assign every group to a split, so that each class comes as close to the fractions as it can.

    Classes are taken from the one with the fewest groups to the one with the most; a group counts
    with the rarest class that it has, and within a class the largest groups come first, equals in
    a drawn order. A group goes to one of the splits that have room for all its images of that
    class, with odds in proportion to the room that they have: so large groups, which differ from
    small ones in more than size, are not all sent to train. Where none has room, it goes to the
    split that lacks most. As soon as a class has no more groups left than splits without it, its
    groups go to those splits, train first, then test.

    With groups of one class each, a class's count in a split is off by less than its largest
    group, or by less than twice that where a class has so few groups that the last rule decides.

    Examples
    --------
    >>> labels, groups = pd.Series(["a"] * 8), pd.Series(list("ppqqrstu"))
    >>> share_out(labels, groups, fractions=(0.5, 0.25, 0.25), seed=0).count("train")
    4
    """
    table = pd.crosstab(groups, labels).sort_index()
    counts = table.to_numpy()[:, _by_rarity(table)]
    # Drawn first: one place in the order and one ticket a group, whatever is decided later.
    draws = np.random.default_rng(seed).random((len(counts), 2))
    stratum = (counts > 0).argmax(axis=1)
    size = counts[np.arange(len(counts)), stratum]
    state = _Ledger(
        counts, np.asarray(fractions), [parts.index(s) for s in _NEEDED_FIRST if s in parts]
    )
    chosen = np.empty(len(counts), dtype=int)
    for g in np.lexsort((draws[:, 0], -size, stratum)):
        chosen[g] = state.place(counts[g], int(stratum[g]), draws[g, 1])
    where = pd.Series([parts[s].value for s in chosen], index=table.index)
    return where.loc[groups].tolist()


def _by_rarity(table: pd.DataFrame) -> NDArray[np.intp]:
    """Return the order of the columns: fewest groups first, of equals the fewest images."""
    by_name = np.argsort(table.columns.to_numpy(dtype=str))
    keys = (by_name.argsort(), table.sum().to_numpy(), (table > 0).sum().to_numpy())
    return np.lexsort(keys)


class _Ledger:
    """How much room every split has for every class, and which classes it still lacks."""

    def __init__(
        self, counts: NDArray[np.int64], fractions: NDArray[np.float64], needed_first: list[int]
    ) -> None:
        self.needed_first = needed_first
        self.room = fractions[:, None] * counts.sum(axis=0)
        self.has = np.zeros(self.room.shape, dtype=bool)
        self.waiting = (counts > 0).sum(axis=0)

    def place(self, group: NDArray[np.int64], stratum: int, ticket: float) -> int:
        allowed = self._allowed(np.flatnonzero(group))
        room = self.room[allowed, stratum]
        fits = room >= group[stratum] - 1e-9
        if fits.any():
            odds = np.cumsum(np.where(fits, room, 0.0))
            chosen = allowed[int(np.searchsorted(odds, ticket * odds[-1], side="right"))]
        else:
            chosen = allowed[int(room.argmax())]
        self.room[chosen] -= group
        self.has[chosen] |= group > 0
        self.waiting -= group > 0
        return int(chosen)

    def _allowed(self, classes: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the splits that leave every class a chance to be in all of them."""
        allowed = np.arange(len(self.needed_first))
        # Rarest first: where two classes cannot both be served, it is.
        for k in classes[self.waiting[classes] <= len(allowed)]:
            lacking = [s for s in self.needed_first if not self.has[s, k]]
            if self.waiting[k] <= len(lacking):
                both = np.intersect1d(allowed, lacking[: self.waiting[k]])
                allowed = both if len(both) else allowed
        return allowed
