"""Patients that are one, as far as shared images tell: known by no name, but by their pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class Links:
    """Which groups (patients, or images whose patient is not known) have an image in common.

    Parameters
    ----------
    neighbours : mapping of str to frozenset of str
        For each group that is linked, the groups that it is linked to. Symmetric.

    Examples
    --------
    >>> pairs = pd.DataFrame({"image_a": ["cohen/1"], "image_b": ["database/7"]})
    >>> links = Links.of(pairs, {"cohen/1": "anna", "database/7": "unnamed 7"})
    >>> sorted(links.touching({"anna"}))
    ['anna', 'unnamed 7']
    """

    neighbours: Mapping[str, frozenset[str]]

    @classmethod
    def none(cls) -> Links:
        """Return no links at all."""
        return cls({})

    @classmethod
    def of(cls, pairs: pd.DataFrame, groups: Mapping[str, str]) -> Links:
        """Return the links that pairs of images make."""
        named = zip(pairs["image_a"], pairs["image_b"], strict=True)
        known = [(groups[a], groups[b]) for a, b in named if a in groups and b in groups]
        return cls.between(known)

    @classmethod
    def between(cls, pairs: Iterable[tuple[str, str]]) -> Links:
        """Return the links that pairs of groups make; a group is not linked to itself."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for one, two in pairs:
            if one != two:
                found[one].add(two)
                found[two].add(one)
        return cls({group: frozenset(others) for group, others in found.items()})

    def __or__(self, other: Links) -> Links:
        """Return the links of both."""
        every = {**self.neighbours, **other.neighbours}
        return Links({g: self.of_group(g) | other.of_group(g) for g in every})

    def of_group(self, group: str) -> frozenset[str]:
        """Return the groups that one is linked to."""
        return self.neighbours.get(group, frozenset())

    def __len__(self) -> int:
        """Return how many pairs of groups are linked."""
        return sum(map(len, self.neighbours.values())) // 2

    def touching(self, groups: Iterable[str]) -> set[str]:
        """Return the groups and those linked to one of them directly.

        Not further: one false link would then tie whole collections together.
        """
        known = set(groups)
        return known.union(*(self.of_group(group) for group in known))
