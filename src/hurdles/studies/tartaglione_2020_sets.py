"""The image sets of Tartaglione et al. 2020: what they train on, and everything they test on.

COVID-19 stands against everything else that a collection holds, as in their code. Where a set lacks
negatives, they are drawn from another collection, part by part (their `corda+rsna`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath

import pandas as pd

from hurdles.data.manifest import Manifest
from hurdles.data.sets import balanced, completed, joined, one_against_rest, relabeled
from hurdles.data.sources.kermany import identify
from hurdles.studies.design import SEED, Collection, Design, ImageSet

COVID, OTHER = "COVID-19", "other"

Here = Mapping[str, Manifest]
Make = Callable[[Here], Manifest]

_COLLECTIONS = {
    "cohen": Collection(("cohen",), whole=True),
    "radiography": Collection(("radiography-database",)),
    "kermany": Collection(("kermany",)),
    # Two ways to have NIH images; the COVID-19 images that some copies of the first bring along
    # are Cohen's.
    "nih": Collection(("darkcovidnet", "nih"), drop=(COVID, "Other Finding")),
    "rsna": Collection(("rsna",), drop=("No Lung Opacity / Not Normal",)),
    "corda": Collection(("corda",)),
}


def _covid(name: str) -> Make:
    return lambda here: one_against_rest(here[name], COVID, rest=OTHER)


def _only_covid(name: str) -> Make:
    return lambda here: here[name].select(here[name].frame["label"] == COVID)


def _negative(manifest: Manifest) -> Manifest:
    return relabeled(manifest, dict.fromkeys(manifest.labels, OTHER))


def _filled(main: Make, other: str) -> Make:
    """Return a set whose missing negatives come from another collection."""
    return lambda here: completed(main(here), _negative(here[other]), label=OTHER, seed=SEED)


def _both(one: Make, two: Make) -> Make:
    return lambda here: joined(one(here), two(here))


def _even(main: Make) -> Make:
    return lambda here: balanced(main(here), seed=SEED, parts=("train",))


def _rx(name: str, *without: str) -> Make:
    """Return a set of COVID-negative images: any finding stands in the column of COVID-19."""

    def make(here: Here) -> Manifest:
        labels = here[name].labels
        return relabeled(here[name], {c: OTHER if c in without else COVID for c in labels})

    return make


def _where(main: Make, finding: str) -> Make:
    def make(here: Here) -> Manifest:
        found = main(here)
        return found.select(found.frame["finding"] == finding)

    return make


_TRAINING = {
    "cohen": ImageSet(("cohen",), _covid("cohen"), says="Cohen's collection alone"),
    "radiography": ImageSet(
        ("radiography",), _covid("radiography"), says="the COVID-19 Radiography Database alone"
    ),
    "cohen+radiography": ImageSet(
        ("cohen", "radiography"),
        _both(_covid("cohen"), _covid("radiography")),
        says="both together",
    ),
    "cohen+nih": ImageSet(
        ("cohen", "nih"),
        _filled(_covid("cohen"), "nih"),
        says="Cohen's collection, its missing negatives drawn from the NIH's images",
    ),
    "radiography COVID-19+nih": ImageSet(
        ("radiography", "nih"),
        _filled(_only_covid("radiography"), "nih"),
        says="the Radiography Database's COVID-19 images, every negative drawn from the NIH's",
    ),
    "corda": ImageSet(("corda",), _even(_covid("corda")), says="CORDA alone, balanced"),
    "corda+kermany": ImageSet(
        ("corda", "kermany"),
        _filled(_covid("corda"), "kermany"),
        says="CORDA, its missing negatives drawn from Kermany's collection",
    ),
    "corda+rsna": ImageSet(
        ("corda", "rsna"),
        _filled(_covid("corda"), "rsna"),
        says="CORDA, its missing negatives drawn from RSNA's collection",
    ),
    "corda+cohen": ImageSet(
        ("corda", "cohen"),
        _even(_both(_covid("corda"), _covid("cohen"))),
        says="CORDA and Cohen's collection, balanced",
    ),
}

_RX = "no image shows COVID-19: those with {} (RX+) against those without (RX-)"

_TESTS = {
    **_TRAINING,
    "corda": ImageSet(("corda",), _covid("corda"), says="CORDA's test part"),
    "corda RX+": ImageSet(
        ("corda",), _where(_covid("corda"), "RX+"), says="where a radiologist saw pneumonia"
    ),
    "corda RX-": ImageSet(
        ("corda",), _where(_covid("corda"), "RX-"), says="where a radiologist saw none"
    ),
    "nih RX+/RX-": ImageSet(
        ("nih",), _rx("nih", "No Finding"), of_covid=False, says=_RX.format("pneumonia")
    ),
    "kermany RX+/RX-": ImageSet(
        ("kermany",), _rx("kermany", "Normal"), of_covid=False, says=_RX.format("pneumonia")
    ),
    "rsna RX+/RX-": ImageSet(
        ("rsna",),
        _rx("rsna", "Normal", "No Lung Opacity"),
        of_covid=False,
        says=_RX.format("lung opacity"),
    ),
}

#: What encoders are trained on first: all classes of a collection.
PRETRAINING = {
    "kermany": ImageSet(("kermany",), lambda here: here["kermany"], says="Kermany's three classes"),
    "nih": ImageSet(("nih",), lambda here: here["nih"], says="NIH: no finding or pneumonia"),
    "rsna": ImageSet(("rsna",), lambda here: here["rsna"], says="RSNA: normal or lung opacity"),
}


def _same_children(here: Here) -> list[tuple[str, str]]:
    """Return the patients of the Radiography Database whom Kermany's file names tell."""
    if not {"radiography", "kermany"} <= set(here):
        return []
    database, kermany = here["radiography"], here["kermany"]
    source = kermany.frame["source"].iloc[0]
    there = set(kermany.groups)
    pairs = []
    for group, original in zip(database.groups, database.frame["original"], strict=True):
        known = None if pd.isna(original) else identify(PurePath(str(original)).stem)
        child = None if known is None else f"{source}\x1f{known[1]}"
        if child in there:
            pairs.append((group, str(child)))
    return pairs


DESIGN = Design(
    _COLLECTIONS,
    {**_TRAINING, **{f"from {name}": image_set for name, image_set in PRETRAINING.items()}},
    _TESTS,
    _same_children,
)
