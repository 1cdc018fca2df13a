"""What remedies are tried on: planted cohorts, and real collections with a planted coincidence.

Each trial has images to train on, whose class and source (or mark) coincide, test images of the
same kind (*inside*), and images in which they do not (*outside*). A remedy that works loses little
inside and gains outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hurdles.copies.finder import matches
from hurdles.data.manifest import Manifest
from hurdles.data.sets import Links, apart, gathered, joined, one_against_rest, relabelled, sampled
from hurdles.data.split import split
from hurdles.data.vocabulary import MissingPatients, Split
from hurdles.phantom import Shortcut, write_phantom
from hurdles.pixels.cache import prepare
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options

SEED = 0
#: How far class and shortcut coincide in training: nine of ten patients follow it.
STRENGTH = 0.9
_CLASSES = ("COVID-19", "Normal")
_PATIENTS = {"inside": 420, "outside": 240}
_PHANTOM_SIZE = 224
#: Images of a class of a source: the one that goes with it, and the other.
_MANY, _FEW = 300, 33

Here = Mapping[str, Manifest]


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a trial.

    Parameters
    ----------
    inside : Manifest
        With its split; its test part is the test inside.
    outside : Manifest
        No patient of it was trained or chosen on, as far as names and copies tell.
    """

    inside: Manifest
    outside: Manifest


@dataclass(frozen=True)
class Trial:
    """One way in which class and source coincide.

    Parameters
    ----------
    name : str
        As in a cell's name.
    says : str
        What it is, for the page.
    positive : str
        The class whose area is measured.
    needs : tuple of str
        Public collections that it is made of; none: phantoms.
    make : callable
        ``make(here, folder, options) -> Images``; `folder` is where phantoms are kept.
    missing_patients : MissingPatients
        What becomes of images that name no patient.
    """

    name: str
    says: str
    positive: str
    needs: tuple[str, ...]
    make: Callable[[Here, Path, Options], Images]
    missing_patients: MissingPatients = MissingPatients.REFUSE


def _planted(name: str, outside: float | None) -> Callable[[Here, Path, Options], Images]:
    """Return a maker of phantoms with a shortcut inside, and without (or unrelated) outside."""

    def make(here: Here, folder: Path, options: Options) -> Images:
        del here, options
        made: dict[str, Manifest] = {}
        for seed, (part, strength) in enumerate({"inside": STRENGTH, "outside": outside}.items()):
            plant = None if strength is None else Shortcut(name, strength)
            drawn = write_phantom(
                folder / f"{name}-{part}",
                _PATIENTS[part],
                seed=31 + seed,
                size=_PHANTOM_SIZE,
                classes=_CLASSES,
                shortcut=plant,
            )
            # Patients are numbered alike in every cohort; these are others.
            frame = drawn.frame.assign(source=f"{part}-" + drawn.frame["source"])
            made |= gathered({part: replace(drawn, frame=frame)})
        return Images(
            split(made["inside"], fractions=(0.6, 0.15, 0.25), seed=SEED), made["outside"]
        )

    return make


def _pneumonia(here: Here, folder: Path, options: Options) -> Images:
    """Take Kermany's children mostly with pneumonia, the NIH's adults mostly without."""
    del folder, options
    merged = {"Bacterial Pneumonia": "Pneumonia", "Viral Pneumonia": "Pneumonia"}
    both = gathered({
        "kermany": relabelled(here["kermany"], merged),
        "darkcovidnet": relabelled(here["darkcovidnet"], {"No Finding": "Normal"}),
    })  # fmt: skip
    parted = {name: split(m, fractions=(0.6, 0.15, 0.25), seed=SEED) for name, m in both.items()}
    goes_with = {"kermany": "Pneumonia", "darkcovidnet": "Normal"}
    inside, outside = [], []
    for name, manifest in parted.items():
        for part in Split:
            share = {Split.TRAIN: 1.0, Split.VALIDATION: 0.25, Split.TEST: 0.4}[part]
            rows = manifest.part(part)
            counts = {
                label: round(share * (_MANY if label == goes_with[name] else _FEW))
                for label in rows.labels
            }
            inside.append(sampled(rows, counts, seed=SEED))
        outside.append(manifest.part(Split.TEST))
    even = min(n for rows in outside for n in rows.counts.values())
    return Images(joined(*inside), joined(*(sampled(rows, even, seed=SEED) for rows in outside)))


def _covid(here: Here, folder: Path, options: Options) -> Images:
    """Take the Radiography Database with the NIH's negatives, and Cohen's collection outside."""
    del folder
    found = gathered(
        {name: here[name] for name in ("radiography-database", "darkcovidnet", "cohen")}
    )
    database = one_against_rest(found["radiography-database"], "COVID-19")
    nih = relabelled(found["darkcovidnet"], dict.fromkeys(found["darkcovidnet"].labels, "other"))
    cohen = one_against_rest(found["cohen"], "COVID-19")
    train = joined(
        sampled(database, 219, seed=SEED),
        sampled(nih, 219, seed=SEED),
    )
    parted = split(
        train, fractions=(0.6, 0.15, 0.25), seed=SEED, missing_patients=MissingPatients.ONE_EACH
    )
    links = _links(parted, cohen, options)
    inside = apart(parted, links)
    seen = links.touching(inside.groups[inside.frame["split"] != Split.TEST])
    again = cohen.groups.isin(seen)
    names = cohen.frame.loc[again, "image"].tolist()
    reason = "left out: it, or its patient, was trained or chosen on as part of another collection"
    return Images(inside, cohen.without(names, [reason] * len(names)))


def _links(one: Manifest, two: Manifest, options: Options) -> Links:
    """Return which patients of both show one and the same radiograph somewhere."""
    small = [
        prepare(m, Preparation(size=64), cache=options.cache, on_bad=options.on_bad)
        for m in (one, two)
    ]
    groups = {
        image: group
        for m in (one, two)
        for image, group in zip(m.frame["image"], m.groups, strict=True)
    }
    pairs = [matches(small[0]), matches(small[1]), matches(*small)]
    found = Links.none()
    for table in pairs:
        found = found | Links.of(table, groups)
    return found


#: The trials, in the order of the page.
TRIALS = (
    Trial(
        "planted-hospital",
        "Phantoms: nine of ten COVID-19 patients come from one hospital, the others from "
        "elsewhere. Outside: other hospitals, none of which goes with a class.",
        "COVID-19",
        (),
        _planted("hospital", None),
    ),
    Trial(
        "planted-marker",
        "Phantoms: nine of ten COVID-19 images say PORTABLE in a corner. Outside: the word is "
        "there by chance.",
        "COVID-19",
        (),
        _planted("marker", 0.0),
    ),
    Trial(
        "planted-child",
        "Phantoms: nine of ten COVID-19 patients are small children. Outside: children and adults "
        "in both classes.",
        "COVID-19",
        (),
        _planted("body-size", 0.0),
    ),
    Trial(
        "pneumonia",
        "Real: pneumonia mostly from Kermany's children, normal images mostly from the NIH's "
        "adults, nine to one. Outside: both classes of both, in equal numbers.",
        "Pneumonia",
        ("kermany", "darkcovidnet"),
        _pneumonia,
    ),
    Trial(
        "covid",
        "Real: COVID-19 and others of the Radiography Database, with negatives of the NIH. "
        "Outside: Cohen's collection without copies and known patients.",
        "COVID-19",
        ("radiography-database", "darkcovidnet", "cohen"),
        _covid,
        MissingPatients.ONE_EACH,
    ),
)
