"""The images of a study: its collections, split once, the sets made of them, and their copies."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import TypeAlias, cast

import pandas as pd

from hurdles.copies.finder import THRESHOLD, matches
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.reading import read_manifest, recognize
from hurdles.data.sets import (
    Links,
    apart,
    balanced,
    completed,
    gathered,
    joined,
    one_against_rest,
    relabeled,
    sampled,
)
from hurdles.data.sources import COLLECTIONS
from hurdles.data.sources.kermany import identify
from hurdles.data.split import split
from hurdles.data.untrusted import as_csv, from_cells
from hurdles.data.vocabulary import MissingPatients, Split
from hurdles.errors import CollectionError, ManifestError
from hurdles.phantom import Shortcut, write_phantom
from hurdles.pixels.cache import Prepared, prepare
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options
from hurdles.registry import Registry
from hurdles.runs.images import Data, manifest_of, named_folders
from hurdles.studies.grid import Grid, ImageSet

#: What the user gave, or manifests by the collection's name.
Given: TypeAlias = "Data | Mapping[str, Manifest] | None"
#: From the collections as they are read to a set's parts by name.
Maker: TypeAlias = Callable[[Mapping[str, Manifest], Options], dict[str, Manifest]]

#: Sets of images that take more than the fields of a study's file, by name.
MAKERS: Registry[Maker] = Registry("maker of image sets")
#: Who is one patient by name in two collections, from the split collections by name.
SAME_PATIENTS: Registry[Callable[[Mapping[str, Manifest]], list[tuple[str, str]]]] = Registry(
    "rule of patients in two collections"
)

#: Side of the images that are compared with each other, and seed of every sample.
_PRINT, _SEED = 64, 0


@dataclass(frozen=True, eq=False)
class Images:
    """Images to train and to test on; constructing it reads nothing."""

    grid: Grid
    profile: str
    given: Given
    folder: Path
    options: Options
    #: The phantoms that are drawn, and the sets that are made, by name.
    _drawn: dict[str, Manifest] = field(default_factory=dict, init=False)
    _made: dict[str, Manifest] = field(default_factory=dict, init=False)

    @cached_property
    def _located(self) -> tuple[dict[str, Manifest], dict[str, str]]:
        if self._one_for_all:
            (name,) = self.grid.collections
            return {name: manifest_of(cast("Data", self.given))}, {}
        places = {
            place: self.grid.path(entry.path) if entry.path else None
            for name, entry in self.grid.collections.items()
            for place in (entry.names or ([name] if entry.path else []))
        }
        return collections_here(self.given, places)

    @property
    def _one_for_all(self) -> bool:
        """True if whatever is given stands for the study's only collection."""
        entries = list(self.grid.collections.values())
        only = len(entries) == 1 and entries[0].phantom is None
        return only and self.given is not None and not isinstance(self.given, Mapping)

    @property
    def missing(self) -> Mapping[str, str]:
        """Places of collections where none is, with the reason."""
        return self._located[1]

    @property
    def absent(self) -> list[str]:
        """The collections that are not here."""
        return self.lacking(self.grid.collections)

    def lacking(self, needs: Iterable[str]) -> list[str]:
        """Return which of these collections are not here."""
        if self._one_for_all:
            return []
        return [n for n in needs if n not in self._read and not self.grid.collections[n].phantom]

    def require_any(self) -> None:
        """Raise a CollectionError if none of the study's collections is here."""
        if len(self.absent) == len(self.grid.collections):
            names = ", ".join(self.grid.public_names or self.grid.collections)
            raise CollectionError(
                f"{self.grid.name} finds none of its collections: "
                f"{next(iter(self.missing.values()))} Its collections: {names}."
            )

    @cached_property
    def _read(self) -> dict[str, Manifest]:
        """The collections that are here, but for phantoms, as they are read."""
        read: dict[str, Manifest] = {}
        for name, entry in self.grid.collections.items():
            first = next((n for n in (*entry.names, name) if n in self._located[0]), None)
            if first is not None:
                read[name] = self._located[0][first]
        return read

    @cached_property
    def _named(self) -> dict[str, Manifest]:
        """The same sampled and split, every image named apart, if there are several."""
        kept = self._read
        if len(self.grid.collections) > 1:
            collections = self.grid.collections
            kept = gathered({n: _without(m, collections[n].drop) for n, m in kept.items()})
        return {name: self._parted(name, manifest) for name, manifest in kept.items()}

    def _parted(self, name: str, manifest: Manifest) -> Manifest:
        limits, once = self.grid.profile(self.profile).limits, self.grid.split
        if name in limits:
            manifest = sampled(manifest, limits[name], seed=_SEED)
        if once is None or not self.grid.collections[name].split:
            return manifest
        return split(manifest, fractions=once.fractions, seed=once.seed,
                     missing_patients=once.missing_patients)  # fmt: skip

    def collection(self, name: str) -> Manifest:
        """Return a collection: named, sampled and split; phantoms are drawn now."""
        if self.grid.collections[name].phantom is None:
            if lacking := self.lacking([name]):
                names = " or ".join(self.grid.collections[name].names or [name])
                raise CollectionError(f"not here: {lacking[0]}. Give --data {names}=PATH.")
            return self._named[name]
        if name not in self._drawn:
            self._drawn[name] = self._parted(name, self._phantom(name))
        return self._drawn[name]

    def _phantom(self, name: str) -> Manifest:
        entry = self.grid.collections[name].phantom
        assert entry is not None
        drawn = write_phantom(
            self.folder / "phantoms" / name,
            entry.patients,
            seed=entry.seed,
            size=entry.size,
            classes=entry.classes,
            hospitals=entry.hospitals,
            shortcut=Shortcut(entry.shortcut, entry.strength) if entry.shortcut else None,
        )
        # Patients are numbered alike in every cohort; these are others.
        frame = drawn.frame.assign(source=f"{name}-" + drawn.frame["source"])
        return gathered({name: replace(drawn, frame=frame)})[name]

    @cached_property
    def here(self) -> dict[str, Manifest]:
        """Every collection that is here, in the order of the study's file."""
        return {name: self.collection(name) for name in self.grid.collections
                if not self.lacking([name])}  # fmt: skip

    def made(self, name: str) -> Manifest:
        """Return a set by name, with its split."""
        if name not in self._made:
            image_set = self.grid.image_set(name)
            if image_set.maker:
                self._make(image_set)
            else:
                self._made[name] = self._taken(image_set)
        return self._made[name]

    def _make(self, image_set: ImageSet) -> None:
        """Make all parts of what a registered function makes, which may take long, at once."""
        for need in image_set.needs:
            self.collection(need)  # raises where it is not here
        whole = {need: self._read[need] for need in image_set.needs}
        parts = MAKERS.get(image_set.maker)(whole, self.options)
        for name, other in self.grid.sets.items():
            if (other.maker, other.collections) == (image_set.maker, image_set.collections):
                self._made[name] = parts[other.part]

    def _taken(self, image_set: ImageSet) -> Manifest:
        taken = joined(*(self.collection(name) for name in image_set.collections))
        if image_set.classes:
            taken = relabeled(taken, image_set.classes)
        for column, value in image_set.where.items():
            if column not in taken.frame.columns:
                raise ManifestError(
                    f"the images of {', '.join(image_set.collections)} have no column {column!r}; "
                    f"they have {', '.join(taken.frame.columns)}."
                )
            taken = taken.select(taken.frame[column] == value)
        if image_set.complete is not None:
            label, other = image_set.complete.label, self.collection(image_set.complete.collection)
            taken = completed(taken, relabeled(other, {"*": label}), label=label, seed=_SEED)
        return balanced(taken, seed=_SEED, parts=("train",)) if image_set.balance else taken

    def is_ready(self, name: str) -> bool:
        """Return whether a set can be made from names and tables alone, and has its split."""
        image_set = self.grid.image_set(name)
        phantoms = any(self.grid.collections[n].phantom for n in image_set.needs)
        waits = bool(image_set.maker or self.lacking(image_set.needs)) or phantoms
        return self.grid.split is not None and not waits

    def training(self, name: str, *, links: Links | None = None) -> Manifest:
        """Return a training set with its split, without what stands in two parts by other names."""
        if self.grid.split is None:
            return self.made(name)
        return apart(self.made(name), self.links if links is None else links)

    def test(self, name: str) -> Manifest:
        """Return the images of a test set: the test part, or all of what is not split."""
        made = self.made(name)
        return made.select((made.frame["split"] == Split.TEST) | made.frame["split"].isna())

    def tests(self, names: Iterable[str]) -> dict[str, Manifest]:
        """Return every one of these test sets that can be made here and holds an image."""
        can = [n for n in names if not self.lacking(self.grid.image_set(n).needs)]
        return {name: made for name in can if len(made := self.test(name))}

    def tested(self, names: Iterable[str]) -> dict[str, Manifest]:
        """Return, of each collection, the images of these test sets: each once."""
        wanted = {image for m in self.tests(names).values() for image in m.frame["image"]}
        needed = {need for n in names for need in self.grid.image_set(n).needs}
        tested = {}
        for name, entry in self.grid.collections.items():
            if name in needed and not self.lacking([name]):
                manifest = self.collection(name)
                keep = manifest.frame["image"].isin(wanted) | entry.whole
                if keep.any():
                    tested[name] = manifest.select(keep)
        return tested

    @property
    def copies_path(self) -> Path:
        """File of the pairs of images that show one radiograph."""
        names = sorted(image for m in self.here.values() for image in m.frame["image"])
        text = "\n".join([f"{_PRINT} px, {THRESHOLD}", *names])
        return self.folder / f"copies-{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"

    @property
    def copies_known(self) -> bool:
        """True if `copies` is there already, and reading it takes no search."""
        drawn = all(n in self._drawn for n, e in self.grid.collections.items() if e.phantom)
        return self.grid.copies and drawn and self.copies_path.is_file()

    @cached_property
    def copies(self) -> pd.DataFrame:
        """Pairs of images that show one radiograph, within and across collections; found once.

        Columns as from `hurdles.copies.finder.matches`. Images that cannot be read have none.
        """
        if not self.copies_path.is_file():
            self.options.listener.say("looking for images that several collections share")
            write_text(self.copies_path, as_csv(copies_among(self.here, self.options)))
        texts = {"image_a": "str", "image_b": "str"}
        return from_cells(pd.read_csv(self.copies_path, dtype=texts))

    @cached_property
    def links(self) -> Links:
        """Links of patients by name and, if the study wants that, by shared images."""
        if not self.grid.copies:
            return self.links_by_name
        return self.links_by_name | Links.of(self.copies, self.groups)

    @cached_property
    def links_by_name(self) -> Links:
        """Links of patients by name; needs no images."""
        if not self.grid.same_patients:
            return Links.none()
        return Links.between(SAME_PATIENTS.get(self.grid.same_patients)(self.here))

    @cached_property
    def groups(self) -> dict[str, str]:
        """Image -> patient, of everything that is here."""
        return groups_of(self.here.values())


def groups_of(manifests: Iterable[Manifest]) -> dict[str, str]:
    """Return the patient of every image."""
    return {
        image: group
        for manifest in manifests
        for image, group in zip(manifest.frame["image"], manifest.groups, strict=True)
    }


def copies_among(manifests: Mapping[str, Manifest], options: Options) -> pd.DataFrame:
    """Return the pairs of images that show one radiograph, within each manifest and across."""
    small: list[Prepared] = []
    for name, manifest in manifests.items():
        options.listener.start(f"Reading {name} at {_PRINT} pixels", len(manifest))
        preparation = Preparation(size=_PRINT)
        small.append(prepare(manifest, preparation, cache=options.cache, on_bad=options.on_bad))
    pairs = [matches(each) for each in small]
    pairs += [matches(one, two) for one, two in itertools.combinations(small, 2)]
    return pd.concat(pairs, ignore_index=True)


def _without(manifest: Manifest, drop: tuple[str, ...]) -> Manifest:
    """Leave classes out, and forget what the collection itself left out: its reader has said it."""
    there = [label for label in drop if label in manifest.labels]
    kept = relabeled(manifest, {}, drop=there)
    return replace(kept, exclusions=kept.exclusions.iloc[:0])


def collections_here(
    given: Given, places: Mapping[str, Path | None]
) -> tuple[dict[str, Manifest], dict[str, str]]:
    """Return the collections that are here, and why the others are not.

    A place is the name of a public collection, or a name with the path where its images are unless
    others are given.
    """
    here, folders = _given(given)
    strange = sorted((set(here) | set(folders)) - set(places))
    if strange:
        raise ManifestError(
            f"this study has no use for {strange[0]!r}; its collections are {', '.join(places)}."
        )
    missing: dict[str, str] = {}
    for name in places:
        if name in here:
            continue
        if name in folders:
            here[name] = read_manifest(folders[name], collection=None if places[name] else name)
        elif (place := places[name]) is not None:
            here[name] = read_manifest(place)
        else:
            try:
                here[name] = read_manifest(name)
            except CollectionError as error:
                missing[name] = str(error)
    return here, missing


def _given(given: Given) -> tuple[dict[str, Manifest], dict[str, Path]]:
    """Return the manifests and the folders that were given, by collection."""
    if given is None or isinstance(given, Manifest):
        if given is not None:
            raise ManifestError(
                "a study of several collections must know which is which; give NAME=PATH for each, "
                "or a mapping of names to manifests."
            )
        return {}, {}
    if isinstance(given, Mapping):
        manifests = {name: m for name, m in given.items() if isinstance(m, Manifest)}
        return manifests, {n: Path(p) for n, p in given.items() if not isinstance(p, Manifest)}
    folders = named_folders(given)
    for part in [given] if isinstance(given, str | Path) else given:
        text = str(part)
        if text.partition("=")[0] in folders or text in COLLECTIONS:
            continue
        path = Path(text)
        layouts = recognize(path) if path.is_dir() else []
        if len(layouts) != 1:
            what = " or ".join(item.name for item in layouts) or "no collection that hurdles knows"
            raise ManifestError(f"{path} looks like {what}. Say which by NAME={path}.")
        folders[layouts[0].name] = path
    return {}, folders


_FRACTIONS = (0.6, 0.15, 0.25)
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
