"""Duplicates: one radiograph more than once, in two parts, under two labels, from two sources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hurdles.auditing.hurdle import data_hurdle
from hurdles.auditing.material import NO_CLASSES, Material
from hurdles.copies.finder import LIKELY, THRESHOLD, matches
from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import Evidence, Finding, Scale, counted, evidence_of
from hurdles.findings.limits import limit_for
from hurdles.pixels.cache import Prepared

#: From `LIKELY` on, pairs of different radiographs become fewer with Fisher's z of their
#: similarity, by e for every 1/14, as a bound: in twenty cohorts of 700 drawn patients, who are
#: more alike than real persons, a third of what this rate says reaches `THRESHOLD`
#: (docs/results/look-alikes.txt).
RATE = 14.0
#: So many of them may be taken for copies by chance, in one collection.
_BY_CHANCE = 0.01
#: Pairs whose images are shown, and pairs that are listed by name.
_SHOWN = 6
_LISTED = 200


@data_hurdle(
    "duplicates",
    question="Does one radiograph stand in the data more than once?",
    cost=lambda material, _: 0.004 * len(material),
)
def duplicates(material: Material) -> Iterator[Finding]:
    """Yield the copies across the split, across labels and within a class, which are judged.

    Pairs of `hurdles.copies.finder.THRESHOLD` or more count, or of more than that where many
    images of this collection look alike; the others are shown apart and not judged, as two
    radiographs of one person may be.
    """
    pairs = pairs_in(material)
    copies, bar = pairs[pairs["is_copy"]], counts_from(pairs)
    yield _finding(
        material,
        "across the split",
        "pairs that show one radiograph in two parts of the split",
        copies[copies["split_differs"]],
        "Keep one image of each pair, or move both into one part, and split again: a test "
        "on images that were trained on says nothing.",
        judged=True,
        needs="split",
    )
    yield _finding(
        material,
        "conflicting labels",
        "pairs that show one radiograph under two labels",
        copies[copies["label_differs"]],
        "Look at both images of each pair; correct the label that is wrong or drop both.",
        judged=True,
        needs="label",
    )
    yield _finding(
        material,
        "across sources",
        "pairs that show one radiograph in two sources",
        copies[copies["source_differs"]],
        "Do not test on one of these sources what was trained on another before the copies "
        "are taken out.",
        needs="source",
    )
    within = ~copies["label_differs"] & ~copies["split_differs"]
    yield _finding(
        material,
        "within a class",
        "pairs that show one radiograph, with one label and in one part, not known as one patient",
        copies[within & ~copies["same_patient"]],
        "Keep one image of each pair: a copy is no second patient, and intervals that count "
        "it as one are too narrow.",
        judged=True,
    )
    yield _finding(
        material,
        "identical",
        "pairs that are equal pixel by pixel",
        copies[copies["identical"]],
        "Keep one of each.",
    )
    yield _finding(
        material,
        "likely",
        f"pairs of a similarity from {LIKELY} to {bar:.3f}, from where pairs of two patients count "
        "here: copies with much cut off or drawn upon, one person twice, or look-alikes",
        pairs[~pairs["is_copy"] & ~pairs["same_patient"]],
        "Look at each pair: where it is one radiograph, or one person, keep both in one "
        "part of the split.",
    )


def pairs_in(material: Material) -> pd.DataFrame:
    """Return all pairs of images that show one radiograph, most similar first.

    Columns: those of `hurdles.copies.finder.COLUMNS`, rows ``a`` and ``b`` of the manifest,
    ``identical`` (pixel by pixel), ``same_patient``, ``is_copy``, and for each of ``label``,
    ``split`` and ``source`` whether both images name one and the two differ.
    """
    rows, pixels, groups = material.manifest.frame, material.pixels, material.groups
    pairs = matches(Prepared(material.manifest, pixels), threshold=LIKELY)
    at = pd.Series(np.arange(len(rows)), index=rows["image"])
    a, b = (at.loc[pairs[column]].to_numpy(dtype=np.int64) for column in ("image_a", "image_b"))
    equal = [np.array_equal(pixels[i], pixels[j]) for i, j in zip(a, b, strict=True)]
    pairs = pairs.assign(a=a, b=b, identical=np.array(equal, dtype=bool))
    for column in ("label", "split", "source"):
        one, two = (rows[column].iloc[where].reset_index(drop=True) for where in (a, b))
        pairs[f"{column}_differs"] = (one.notna() & two.notna() & (one != two)).to_numpy(dtype=bool)
    pairs = pairs.assign(same_patient=groups[a] == groups[b])
    # A patient's own images are alike for a reason, and wrong in two parts in any case.
    least = np.where(pairs["same_patient"], THRESHOLD, counts_from(pairs))
    return pairs.assign(is_copy=pairs["similarity"] >= least)


def counts_from(pairs: pd.DataFrame) -> float:
    """Return the similarity from which pairs of different patients are taken for copies.

    Where many pairs are nearly as alike as copies are, some reach `THRESHOLD` by chance. From those
    below follows how similar the most similar of them may come to be, all but once in a hundred
    collections; copies, of which any number may be there, do not lower that. With 10 such pairs it
    is 0.985, with 100 0.989. What lies between is shown, and not judged.
    """
    alike = ~pairs["same_patient"] & (pairs["similarity"] < THRESHOLD)
    # One more: where none was seen, some may be.
    excess = np.log((alike.sum() + 1) / _BY_CHANCE) / RATE
    return max(THRESHOLD, float(np.tanh(np.arctanh(LIKELY) + excess)))


def _finding(
    material: Material,
    subject: str,
    statistic: str,
    pairs: pd.DataFrame,
    advice: str,
    *,
    judged: bool = False,
    needs: str = "",
) -> Finding:
    """Return one finding; undefined where the manifest says nothing of what it needs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, labels = len(material), material.manifest.frame["label"]
    number = counted(len(pairs), n_images=n, n_patients=len(np.unique(material.groups)))
    if needs == "label":
        number = number if material.manifest.has_classes else undefined(NO_CLASSES, n_images=n)
    elif needs and material.manifest.frame[needs].isna().all():
        number = undefined(f"the manifest names no {needs}", n_images=n)
    names, rows = np.unique(np.concatenate([pairs["a"], pairs["b"]]), return_inverse=True)
    one, two = np.split(rows, 2)
    linked = coo_array((np.ones(len(one)), (one, two)), shape=(len(names), len(names)))
    n_radiographs = int(connected_components(linked, directed=False)[0]) if len(names) else 0
    listed = [
        {
            "image_a": pair["image_a"],
            "image_b": pair["image_b"],
            "label_a": str(labels[pair["a"]]),
            "label_b": str(labels[pair["b"]]),
            "similarity": round(pair["similarity"], 4),
        }
        for pair in pairs.head(_LISTED).to_dict("records")
    ]
    details = {
        "images": len({*pairs["image_a"], *pairs["image_b"]}),
        "radiographs": n_radiographs,
        **{kind: int(pairs[kind].sum()) for kind in ("identical", "inverted", "mirrored")},
        "pairs": listed,
    }
    limit = limit_for("duplicates") if judged and number.is_defined else None  # no split: none
    return Finding(
        "duplicates", subject, statistic, number, limit, advice, _evidence(material, pairs),
        details, scale=Scale.COUNT,
    )  # fmt: skip


def _evidence(material: Material, pairs: pd.DataFrame) -> tuple[Evidence, ...]:
    rows = material.manifest.frame
    places: list[int] = []
    texts = []
    for pair in pairs.head(_SHOWN).to_dict("records"):
        how = ["identical" if pair["identical"] else f"similarity {pair['similarity']:.3f}"]
        how += [word for word in ("inverted", "mirrored") if pair[word]]
        for one, two in ((pair["a"], pair["b"]), (pair["b"], pair["a"])):
            other: dict[Any, Any] = rows.iloc[two].to_dict()
            label = other["label"] if material.manifest.has_classes else None
            what = ", ".join(str(v) for v in (label, other["split"]) if pd.notna(v))
            words = "; ".join(filter(None, (what, ", ".join(how))))
            places.append(one)
            texts.append(f"same as {other['image']} ({words})")
    return evidence_of(rows, places, texts)
