"""Copies among the images of one experiment: kept together where it is split, named where not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from hurdles.copies.finder import COLUMNS
from hurdles.data.cells import as_csv, from_cells
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.patients import JOINED
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError

__all__ = ["Copies"]

_LEARNT = (Split.TRAIN, Split.VALIDATION)
#: Pairs that a sentence names; all of them stand in the table.
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Copies:
    """The pairs of a set's images that show one radiograph.

    Parameters
    ----------
    pairs : DataFrame
        One row per pair, columns as in `hurdles.copies.finder.COLUMNS`. Empty: they were looked
        for, and there are none.

    Examples
    --------
    >>> rows = pd.DataFrame({"image": list("abc"), "path": ["/a", "/b", "/c"], "label": "chest",
    ...                      "split": ["train", "test", "test"]})
    >>> pair = ("a", "b", 0.99, False, False)
    >>> copies = Copies(pd.DataFrame([pair], columns=list(COLUMNS)))
    >>> sorted(copies.known_of(Manifest(rows)))
    ['b']
    """

    pairs: pd.DataFrame

    def __len__(self) -> int:
        return len(self.pairs)

    def save(self, path: str | Path) -> Path:
        """Write the table to `path`, as CSV."""
        write_text(path, as_csv(self.pairs[list(COLUMNS)]))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Copies:
        """Read what `save` wrote.

        Raises
        ------
        ManifestError
            If the file is damaged.
        """
        texts = {"image_a": "str", "image_b": "str"}
        types = {"similarity": "float64", "inverted": "bool", "mirrored": "bool"}
        try:
            table = from_cells(pd.read_csv(path, dtype=texts, keep_default_na=False))
            return cls(table[list(COLUMNS)].astype(types))
        except (ValueError, KeyError) as error:
            raise ManifestError(
                f"{path} is damaged ({error}). Run again in another --out to look for copies anew."
            ) from error

    def united(self, manifest: Manifest, *, within_parts: bool = False) -> Manifest:
        """Return the rows with all images of one radiograph as those of one patient.

        Patients who have an image in common become one, and so do those linked through a third. The
        rows of a patient without copies stay as they are, and so does a split of such rows.

        Parameters
        ----------
        manifest : Manifest
            Any rows, in any order.
        within_parts : bool
            Whether copies that stand in two parts of the split are left apart.
        """
        frame = manifest.frame
        groups = manifest.groups
        pairs = self._split_of(manifest)
        if within_parts:
            pairs = pairs[~_differ(pairs)]
        by_image = dict(zip(frame["image"], groups, strict=True))
        one = _joined((by_image[a], by_image[b]) for a, b in _names(pairs))
        if not one:
            return manifest
        # Who reads an error about them is shown no signs that cannot be printed.
        name = groups.map(one).str.replace("\x1f", ": ").str.lstrip("\x1d\x1e")
        changed = name.notna()
        united = frame.assign(
            patient=name.where(changed, frame["patient"]),
            source=frame["source"].where(~changed, None),
        )
        if JOINED in frame:  # such ids are one person already, and named by their group
            united[JOINED] = frame[JOINED].where(~changed, None)
        return replace(manifest, frame=united)

    def known_of(self, manifest: Manifest, part: Split = Split.TEST) -> dict[str, str]:
        """Return the images of a part that show what was learnt from, each with one such image.

        Parameters
        ----------
        manifest : Manifest
            Rows with their split.
        part : Split
            ``test``: copies of training or validation images; ``validation``: of training images.
        """
        learnt = [each for each in _LEARNT if each != part]
        pairs = self._split_of(manifest)
        found: dict[str, str] = {}
        for row in pairs.itertuples():
            if row.split_a == part and row.split_b in learnt:
                found.setdefault(str(row.image_a), str(row.image_b))
            elif row.split_b == part and row.split_a in learnt:
                found.setdefault(str(row.image_b), str(row.image_a))
        return found

    def remarks(self, manifest: Manifest) -> list[str]:
        """Return a sentence for each part of the split that holds copies of what was learnt from.

        Parameters
        ----------
        manifest : Manifest
            Rows with their split.
        """
        so = {
            Split.TEST: "a training or validation image, so the model has seen them and these "
            "numbers are too good",
            Split.VALIDATION: "a training image, so the epoch, and a threshold, were chosen on "
            "images that the model had seen",
        }
        found = []
        for part, why in so.items():
            known = self.known_of(manifest, part)
            if known:
                of = int((manifest.frame["split"] == part).sum())
                listed = "; ".join(f"{a} is {b}" for a, b in list(known.items())[:_NAMED])
                more = "; ..." if len(known) > _NAMED else ""
                found.append(
                    f"{len(known)} of {of} {part} images show the same radiograph as {why}: "
                    f"{listed}{more}. All pairs stand in copies.csv."
                )
        return found

    def lines(self, manifest: Manifest) -> list[str]:
        """Return what is said on the way: which copies were kept together, and which were not.

        Parameters
        ----------
        manifest : Manifest
            Rows with their split.
        """
        pairs = self._split_of(manifest)
        patient = dict(zip(manifest.frame["image"], manifest.groups, strict=True))
        news = [patient[a] != patient[b] for a, b in _names(pairs)]
        together = pairs[~_differ(pairs) & np.array(news, dtype=bool)]
        if together.empty:
            return self.remarks(manifest)
        images = len({*together["image_a"], *together["image_b"]})
        return [
            f"{images} images not known as one patient's show a radiograph that stands in the data "
            f"more than once ({len(together)} pairs in copies.csv); each stays in one part of the "
            "split",
            *self.remarks(manifest),
        ]

    def _split_of(self, manifest: Manifest) -> pd.DataFrame:
        """Return the pairs of which both images are here, with the part of each."""
        where = manifest.frame.set_index("image")["split"]
        here = self.pairs["image_a"].isin(where.index) & self.pairs["image_b"].isin(where.index)
        pairs = self.pairs[here]
        return pairs.assign(
            split_a=where.reindex(pairs["image_a"]).to_numpy(),
            split_b=where.reindex(pairs["image_b"]).to_numpy(),
        )


def _differ(pairs: pd.DataFrame) -> np.ndarray:
    one, two = pairs["split_a"], pairs["split_b"]
    return (one.notna() & two.notna() & (one != two)).to_numpy(dtype=bool)


def _names(pairs: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(pairs["image_a"], pairs["image_b"], strict=True)


def _joined(links: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Return the name that linked groups share: that of the first of them in the alphabet."""
    root: dict[str, str] = {}

    def find(group: str) -> str:
        while root.get(group, group) != group:
            group = root[group]
        return group

    for one, two in links:
        first, second = sorted((find(one), find(two)))
        if first != second:
            root[second] = first
    linked = {*root, *root.values()}
    return {group: find(group) for group in linked}
