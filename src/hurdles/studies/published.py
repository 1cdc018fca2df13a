"""Image sets of the shipped studies that a file's fields cannot say, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import pandas as pd

from hurdles.data.manifest import Manifest
from hurdles.data.sets import Links, apart, gathered, joined, one_against_rest, relabeled, sampled
from hurdles.data.sources.kermany import identify
from hurdles.data.split import split
from hurdles.data.vocabulary import MissingPatients, Split
from hurdles.progress import Options
from hurdles.studies.images import MAKERS, SAME_PATIENTS, copies_among, groups_of

_SEED, _FRACTIONS = 0, (0.6, 0.15, 0.25)
#: Images of a class of a source: the one that goes with it, and the other.
_MANY, _FEW = 300, 33


@MAKERS.register("pneumonia-by-collection")
def _pneumonia(whole: Mapping[str, Manifest], options: Options) -> dict[str, Manifest]:
    """Take Kermany's children mostly with pneumonia, the NIH's adults mostly without."""
    del options
    merged = {"Bacterial Pneumonia": "Pneumonia", "Viral Pneumonia": "Pneumonia"}
    both = gathered({
        "kermany": relabeled(whole["kermany"], merged),
        "darkcovidnet": relabeled(whole["darkcovidnet"], {"No Finding": "Normal"}),
    })  # fmt: skip
    parted = {name: split(m, fractions=_FRACTIONS, seed=_SEED) for name, m in both.items()}
    goes_with = {"kermany": "Pneumonia", "darkcovidnet": "Normal"}
    inside, outside = [], []
    for name, manifest in parted.items():
        for part, share in {Split.TRAIN: 1.0, Split.VALIDATION: 0.25, Split.TEST: 0.4}.items():
            rows = manifest.part(part)
            counts = {
                label: round(share * (_MANY if label == goes_with[name] else _FEW))
                for label in rows.labels
            }
            inside.append(sampled(rows, counts, seed=_SEED))
        outside.append(manifest.part(Split.TEST))
    even = min(n for rows in outside for n in rows.counts.values())
    elsewhere = joined(*(sampled(rows, even, seed=_SEED) for rows in outside))
    return {"inside": joined(*inside), "outside": elsewhere}


@MAKERS.register("covid-elsewhere")
def _covid(whole: Mapping[str, Manifest], options: Options) -> dict[str, Manifest]:
    """Take the Radiography Database with the NIH's negatives, and Cohen's collection outside."""
    named = gathered(dict(whole))
    database = one_against_rest(named["radiography-database"], "COVID-19")
    nih = relabeled(named["darkcovidnet"], dict.fromkeys(named["darkcovidnet"].labels, "other"))
    cohen = one_against_rest(named["cohen"], "COVID-19")
    train = joined(sampled(database, 219, seed=_SEED), sampled(nih, 219, seed=_SEED))
    parted = split(
        train, fractions=_FRACTIONS, seed=_SEED, missing_patients=MissingPatients.ONE_EACH
    )
    both = {"the training images": parted, "cohen": cohen}
    links = Links.of(copies_among(both, options), groups_of(both.values()))
    inside = apart(parted, links)
    seen = links.touching(inside.groups[inside.frame["split"] != Split.TEST])
    again = cohen.groups.isin(seen)
    names = cohen.frame.loc[again, "image"].tolist()
    reason = "left out: it, or its patient, was trained or chosen on as part of another collection"
    return {"inside": inside, "outside": cohen.without(names, [reason] * len(names))}


@SAME_PATIENTS.register("kermany-names")
def _same_children(here: Mapping[str, Manifest]) -> list[tuple[str, str]]:
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
