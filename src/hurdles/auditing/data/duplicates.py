"""The same radiograph more than once: across the split, under two labels, from two sources."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hurdles.auditing.hurdle import data_hurdle
from hurdles.copies.finder import LIKELY, THRESHOLD, matches
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Evidence, Finding, Scale, counted
from hurdles.findings.limits import limit_for
from hurdles.pixels.cache import Prepared

if TYPE_CHECKING:
    from hurdles.auditing.material import Material

_NAME = "duplicates"
#: Pairs whose images are shown, and pairs that are listed by name.
_SHOWN = 6
_LISTED = 200


@dataclass(frozen=True, eq=False)
class Copies:
    """The pairs of images of a set that show one radiograph.

    Parameters
    ----------
    frame : DataFrame
        One row per pair, most similar first: columns of `hurdles.copies.finder.COLUMNS`, rows
        ``a`` and ``b`` of the manifest, ``identical`` (pixel by pixel), and for each of ``label``,
        ``split``, ``source`` and ``patient`` whether both images name one and the two differ.
    """

    frame: pd.DataFrame

    def where(self, keep: pd.Series[bool] | np.ndarray) -> pd.DataFrame:
        """Return the pairs beyond doubt for which `keep` is true."""
        return self.frame[keep & (self.frame["similarity"] >= THRESHOLD)]


@data_hurdle(_NAME, question="Does one radiograph stand in the data more than once?")
def duplicates(material: Material) -> Iterator[Finding]:
    """Yield the copies across the split, across labels and within a class, which are judged.

    Pairs of `hurdles.copies.finder.THRESHOLD` or more count; what is less alike is shown apart
    and not judged, as two radiographs of one person may be.
    """
    copies = copies_in(material)
    frame = copies.frame
    found = _Found(material)
    yield found.finding(
        "across the split",
        "pairs that show one radiograph in two parts of the split",
        copies.where(frame["split_differs"]),
        judged=True,
        needs="split",
        advice="Keep one image of each pair, or move both into one part, and split again: a test "
        "on images that were trained on says nothing.",
    )
    yield found.finding(
        "conflicting labels",
        "pairs that show one radiograph under two labels",
        copies.where(frame["label_differs"]),
        judged=True,
        advice="Look at both images of each pair; correct the label that is wrong or drop both.",
    )
    yield found.finding(
        "across sources",
        "pairs that show one radiograph in two sources",
        copies.where(frame["source_differs"]),
        needs="source",
        advice="Do not test on one of these sources what was trained on another before the copies "
        "are taken out.",
    )
    within = ~frame["label_differs"] & ~frame["split_differs"]
    yield found.finding(
        "within a class",
        "pairs that show one radiograph, with one label and in one part, not known as one patient",
        copies.where(within & ~frame["same_patient"]),
        judged=True,
        advice="Keep one image of each pair: a copy is no second patient, and intervals that count "
        "it as one are too narrow.",
    )
    yield found.finding(
        "identical",
        "pairs that are equal pixel by pixel",
        copies.where(frame["identical"]),
        advice="Keep one of each.",
    )
    yield found.finding(
        "likely",
        f"pairs of a similarity from {LIKELY} to {THRESHOLD}: copies with much cut off or drawn "
        "upon, or one person twice",
        frame[(frame["similarity"] < THRESHOLD) & ~frame["same_patient"]],
        advice="Look at each pair: where it is one radiograph, or one person, keep both in one "
        "part of the split.",
    )


def copies_in(material: Material) -> Copies:
    """Return all pairs of images that show one radiograph, the less alike ones too."""
    rows = material.manifest.frame
    pairs = matches(Prepared(material.manifest, material.pixels), threshold=LIKELY)
    at = pd.Series(np.arange(len(rows)), index=rows["image"])
    a, b = (at.loc[pairs[column]].to_numpy(dtype=np.int64) for column in ("image_a", "image_b"))
    pairs = pairs.assign(a=a, b=b)
    pixels = material.pixels
    equal = [np.array_equal(pixels[i], pixels[j]) for i, j in zip(a, b, strict=True)]
    pairs["identical"] = np.array(equal, dtype=bool)
    for column in ("label", "split", "source"):
        one, two = (rows[column].iloc[where].reset_index(drop=True) for where in (a, b))
        pairs[f"{column}_differs"] = (one.notna() & two.notna() & (one != two)).to_numpy(dtype=bool)
    groups = material.groups
    pairs["same_patient"] = groups[a] == groups[b]
    return Copies(pairs)


@dataclass(frozen=True, eq=False)
class _Found:
    """Makes findings of pairs."""

    material: Material

    def finding(
        self,
        subject: str,
        statistic: str,
        pairs: pd.DataFrame,
        *,
        advice: str,
        judged: bool = False,
        needs: str = "",
    ) -> Finding:
        """Return one finding; undefined where the manifest says nothing of what it needs."""
        found = self._count(len(pairs), needs)
        return Finding(
            _NAME,
            subject,
            statistic,
            found,
            limit_for(_NAME) if judged and found.is_defined else None,  # no split: none to judge
            advice,
            self._evidence(pairs),
            self._details(pairs),
            scale=Scale.COUNT,
        )

    def _count(self, number: int, needs: str) -> Estimate:
        n = len(self.material)
        values = self.material.manifest.frame[needs].dropna() if needs else None
        if values is not None and values.empty:
            return undefined(f"the manifest names no {needs}", n_images=n)
        return counted(number, n_images=n, n_patients=len(np.unique(self.material.groups)))

    def _evidence(self, pairs: pd.DataFrame) -> tuple[Evidence, ...]:
        shown = []
        rows = self.material.manifest.frame
        for pair in pairs.head(_SHOWN).to_dict("records"):
            for one, two in ((pair["a"], pair["b"]), (pair["b"], pair["a"])):
                other = rows.iloc[two]
                what = ", ".join(str(v) for v in (other["label"], other["split"]) if pd.notna(v))
                says = f"same as {other['image']} ({what}; {_how(pair)})"
                shown.append(Evidence(rows["image"].iloc[one], says, rows["path"].iloc[one]))
        return tuple(shown)

    def _details(self, pairs: pd.DataFrame) -> dict[str, Any]:
        labels = self.material.labels
        names = [*pairs["image_a"], *pairs["image_b"]]
        return {
            "images": len(set(names)),
            "radiographs": _radiographs(pairs),
            "identical": int(pairs["identical"].sum()),
            "inverted": int(pairs["inverted"].sum()),
            "mirrored": int(pairs["mirrored"].sum()),
            "pairs": [
                {
                    "image_a": pair["image_a"],
                    "image_b": pair["image_b"],
                    "label_a": str(labels[pair["a"]]),
                    "label_b": str(labels[pair["b"]]),
                    "similarity": round(pair["similarity"], 4),
                }
                for pair in pairs.head(_LISTED).to_dict("records")
            ],
        }


def _how(pair: dict[Hashable, Any]) -> str:
    words = ["identical" if pair["identical"] else f"similarity {pair['similarity']:.3f}"]
    words += [word for word in ("inverted", "mirrored") if pair[word]]
    return ", ".join(words)


def _radiographs(pairs: pd.DataFrame) -> int:
    """Return how many radiographs the images of some pairs show."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, rows = np.unique(np.concatenate([pairs["a"], pairs["b"]]), return_inverse=True)
    one, two = np.split(rows, 2)
    linked = coo_array((np.ones(len(one)), (one, two)), shape=(len(names), len(names)))
    return int(connected_components(linked, directed=False)[0]) if len(names) else 0
