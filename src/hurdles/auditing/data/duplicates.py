"""Duplicates: one radiograph more than once, in two parts, under two labels, from two sources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.hurdle import data_hurdle
from hurdles.auditing.material import NO_CLASSES, Material
from hurdles.copies.finder import LIKELY, THRESHOLD, matches
from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import Evidence, Finding, Scale, counted, evidence_of
from hurdles.findings.limits import limit_for
from hurdles.pixels.cache import Prepared

#: From `LIKELY` on, counts of pairs of different radiographs fall by e for every 1/14 of Fisher's z
#: of their similarity. Of ten cohorts of 700 drawn patients, whose 3,971 such pairs are more alike
#: than those of real persons, 614 reach 0.97 (this rate says 511), 12 0.98 (29) and 4 0.982 (14).
RATE = 14.0
#: So many pairs, by chance, among those that are taken for copies.
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

    Pairs of `hurdles.copies.finder.THRESHOLD` or more count, of which images of this collection
    that only look alike give fewer than one in a hundred; the others are shown apart and not
    judged, as two radiographs of one person may be.
    """
    pairs = pairs_in(material)
    copies = pairs[pairs["is_copy"]]
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
        f"pairs of a similarity of {LIKELY} or more, not taken for copies: with much cut off or "
        "drawn upon, one person twice, or as alike as others here",
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
    return pairs.assign(is_copy=_are_copies(pairs))


def _are_copies(pairs: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which pairs, most similar first, are too alike for this collection's look-alikes.

    Chests that are only alike grow fewer with similarity, at a rate that hardly depends on the
    collection; how many there are does. From those below `THRESHOLD` follows how many of each
    similarity and more come by chance. As many of the most similar pairs are taken as leave at most
    one in a hundred of these to chance (Benjamini and Hochberg 1995). A patient's own images are
    alike for a reason: they count from `THRESHOLD` on.
    """
    similarity = pairs["similarity"].to_numpy()
    others = ~pairs["same_patient"].to_numpy(dtype=bool)
    excess = np.arctanh(np.minimum(similarity, 1 - 1e-9)) - np.arctanh(LIKELY)
    n_alike = np.count_nonzero(others & (similarity < THRESHOLD))
    # One more: where none was seen, some may be.
    by_chance = (n_alike + 1) * np.exp(-RATE * excess)
    few = others & (by_chance <= _BY_CHANCE * np.cumsum(others))
    least = similarity[few].min(initial=np.inf)
    stands_out: NDArray[np.bool_] = (similarity >= THRESHOLD) & (~others | (similarity >= least))
    return stands_out


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
