"""Image sets made from others: relabeled, sampled, completed, balanced, put together.

Every function takes manifests and returns a new one; a ``split`` column travels with its rows. A
collection is split once, by patient, and everything made of it inherits that split, so that no
patient stands in two parts across the sets of a study.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError

_SPLITS = tuple(s.value for s in Split)


def gathered(manifests: Mapping[str, Manifest]) -> dict[str, Manifest]:
    """Return the manifests with every image named ``<source>/<image>``, as `merge` names them.

    Sets that are taken from several of them, in whatever combination, then call an image by one
    name only, and `joined` puts them together.
    """
    sets = {name: with_source_names(manifest, name) for name, manifest in manifests.items()}
    if sets:
        joined(*sets.values())  # an image in two of them is found now, not in the tenth set
    return sets


def with_source_names(manifest: Manifest, name: str) -> Manifest:
    """Return a manifest with every image named ``<source>/<image>``; errors call it `name`."""
    frame = manifest.frame
    if unnamed := int(frame["source"].isna().sum()):
        raise ManifestError(
            f"{name} names no source in {unnamed} of {len(frame)} rows. Fill in the source: it "
            "keeps equal patient ids of two hospitals apart."
        )
    return replace(manifest, frame=frame.assign(image=frame["source"] + "/" + frame["image"]))


def joined(*manifests: Manifest) -> Manifest:
    """Put manifests whose images have names of their own into one; splits and labels stay."""
    if not manifests:
        raise ManifestError("there is nothing to put together; give at least one manifest.")
    if len(manifests) == 1:
        return manifests[0]
    frame = pd.concat([m.frame for m in manifests], ignore_index=True)
    exclusions = pd.concat([m.exclusions for m in manifests], ignore_index=True).drop_duplicates()
    notes = dict.fromkeys(note for m in manifests for note in m.notes)
    return Manifest(frame, exclusions, tuple(notes))


def relabeled(
    manifest: Manifest, labels: Mapping[str, str], *, drop: Sequence[str] = ()
) -> Manifest:
    """Return the images under other classes."""
    wanted = {**labels, **dict.fromkeys(drop, "")}
    for theirs in wanted:
        if not matched({theirs: ""}, manifest.labels):
            raise ManifestError(
                f"no image is of class {theirs!r}; the classes are {', '.join(manifest.labels)}."
            )
    names = matched(wanted, manifest.labels)
    gone = manifest.frame.loc[manifest.frame["label"].map(names) == "", "image"].tolist()
    kept = manifest.without(gone, ["its class was left out by request"] * len(gone))
    return replace(kept, frame=kept.frame.assign(label=kept.frame["label"].replace(names)))


def matched(labels: Mapping[str, str], classes: Sequence[str]) -> dict[str, str]:
    """Return the new name of each class that is named or fits a pattern with ``*``.

    Examples
    --------
    >>> matched({"*Pneumonia*": "Pneumonia", "*": "other"}, ["Edema|Pneumonia", "Mass"])
    {'Edema|Pneumonia': 'Pneumonia', 'Mass': 'other'}
    """
    patterns = {
        re.compile(re.escape(theirs).replace(r"\*", ".*"), re.DOTALL): ours
        for theirs, ours in labels.items()
        if "*" in theirs
    }
    names = {}
    for each in classes:
        if each in labels:
            names[each] = labels[each]
        elif fits := [ours for pattern, ours in patterns.items() if pattern.fullmatch(each)]:
            names[each] = fits[0]
    return names


def one_against_rest(manifest: Manifest, label: str) -> Manifest:
    """Return the images in two classes: one of theirs, and everything else as "other"."""
    others = {each: "other" for each in manifest.labels if each != label}
    return relabeled(manifest, {label: label, **others})


def sampled(manifest: Manifest, n: int | Mapping[str, int], *, seed: int) -> Manifest:
    """Return at most so many images of each class, drawn by whole patients.

    Patients are taken in a drawn order as long as all their images fit. A class of which no patient
    fits is represented by images of one of them, since it would be gone otherwise.
    """
    labels = manifest.labels
    wanted = dict.fromkeys(labels, n) if isinstance(n, int) else dict(n)
    if min(wanted.values(), default=1) < 1:
        raise ManifestError(
            f"a sample of {min(wanted.values())} images of a class is none; ask for 1."
        )
    limits = np.array([wanted.get(label, len(manifest)) for label in labels])
    counts = pd.crosstab(manifest.groups.to_numpy(), manifest.frame["label"].to_numpy())
    order = np.random.default_rng(seed).permutation(len(counts))
    table, room, taken = counts[labels].to_numpy(), limits.copy(), []
    for index in order:
        if (table[index] <= room).all():
            room -= table[index]
            taken.append(index)
    keep = manifest.groups.isin(counts.index[taken]).to_numpy(copy=True)
    for column, label in enumerate(labels):
        of_class = (manifest.frame["label"] == label).to_numpy()
        if not (keep & of_class).any():
            first = counts.index[next(i for i in order if table[i, column])]
            mine = np.flatnonzero(of_class & (manifest.groups == first).to_numpy())
            names = manifest.frame["image"].to_numpy()[mine]
            keep[mine[np.argsort(names)][: limits[column]]] = True
    return manifest.select(keep)


def completed(main: Manifest, other: Manifest, *, label: str, seed: int) -> Manifest:
    """Return `main` with images of one class added from another collection, until it is balanced.

    As `balance_corda_with_other` of Tartaglione et al. 2020 does: in each part of the split, as
    many as the class lacks are drawn from the same part of `other`, by whole patients; all of them
    where there are fewer.
    """
    if label not in other.labels:
        raise ManifestError(
            f"there is no image of class {label!r} to add; the classes are "
            f"{', '.join(other.labels)}."
        )
    supply = dict(_parts(other.select(other.frame["label"] == label)))
    added = []
    for part, rows in _parts(main):
        counts = rows.counts
        most = max((c for k, c in counts.items() if k != label), default=0)
        missing = most - counts.get(label, 0)
        if missing > 0 and part in supply:
            added.append(sampled(supply[part], missing, seed=seed))
    return joined(main, *added)


def balanced(
    manifest: Manifest, *, seed: int, parts: Sequence[str | None] = (*_SPLITS, None)
) -> Manifest:
    """Return, of each part of the split, as many images of every class as the rarest has.

    By whole patients, so a class may have a few less.
    """
    kept: list[str] = []
    for part, rows in _parts(manifest):
        few = sampled(rows, min(rows.counts.values()), seed=seed) if part in parts else rows
        kept += few.frame["image"].tolist()
    return manifest.select(manifest.frame["image"].isin(kept))


def apart(manifest: Manifest, links: Links) -> Manifest:
    """Return a split set without what the model would know again under another name.

    Of the validation images, those of a patient who is linked to one in training are left out; of
    the test images, those linked to one in training or validation. The reasons are among the
    exclusions.
    """
    frame, groups = manifest.frame, manifest.groups
    known = set(groups[frame["split"] == Split.TRAIN])
    gone: dict[str, str] = {}
    for part, where in ((Split.VALIDATION, "training"), (Split.TEST, "training or validation")):
        mine = frame["split"] == part
        again = mine & groups.isin(links.touching(known))
        reason = f"left out of {part}: the same patient's image is in {where} under another name"
        gone |= dict.fromkeys(frame.loc[again, "image"], reason)
        known |= set(groups[mine & ~again])
    return manifest.without(gone.keys(), gone.values()) if gone else manifest


def _parts(manifest: Manifest) -> list[tuple[str | None, Manifest]]:
    """Return the parts of the split that have images; one part, named None, of unsplit images."""
    parts: dict[str | None, Manifest] = {part: manifest.part(part) for part in _SPLITS}
    parts[None] = manifest.select(manifest.frame["split"].isna())
    return [(part, rows) for part, rows in parts.items() if len(rows)]


@dataclass(frozen=True, eq=False)
class Links:
    """Groups (patients, or images whose patient is not known) that have an image in common.

    `neighbors` holds, for each group that is linked, the groups that it is linked to; symmetric.
    """

    neighbors: Mapping[str, frozenset[str]]

    @classmethod
    def none(cls) -> Links:
        """Return no links at all."""
        return cls({})

    @classmethod
    def of(cls, pairs: pd.DataFrame, groups: Mapping[str, str]) -> Links:
        """Return the links that pairs of images make."""
        images = zip(pairs["image_a"], pairs["image_b"], strict=True)
        return cls.between((groups[a], groups[b]) for a, b in images if {a, b} <= groups.keys())

    @classmethod
    def between(cls, pairs: Iterable[tuple[str, str]]) -> Links:
        """Return the links that pairs of groups make; a group is not linked to itself."""
        neighbors: defaultdict[str, set[str]] = defaultdict(set)
        for one, two in pairs:
            if one != two:
                neighbors[one].add(two)
                neighbors[two].add(one)
        return cls({group: frozenset(others) for group, others in neighbors.items()})

    def __or__(self, other: Links) -> Links:
        """Return the links of both."""
        every = {**self.neighbors, **other.neighbors}
        return Links({g: self.of_group(g) | other.of_group(g) for g in every})

    def of_group(self, group: str) -> frozenset[str]:
        """Return the groups that one is linked to."""
        return self.neighbors.get(group, frozenset())

    def __len__(self) -> int:
        """Return how many pairs of groups are linked."""
        return sum(map(len, self.neighbors.values())) // 2

    def touching(self, groups: Iterable[str]) -> set[str]:
        """Return the groups and those linked to one of them directly.

        Not further: one false link would then tie whole collections together.
        """
        known = set(groups)
        return known.union(*(self.of_group(group) for group in known))
