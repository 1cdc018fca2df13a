"""The images that a race finds here: collections, links between them, and its sets made of them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from hurdles.copies.finder import THRESHOLD, matches
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.sets import Links, apart
from hurdles.data.untrusted import as_csv, from_cells
from hurdles.data.vocabulary import Split
from hurdles.pixels.cache import Prepared, prepare
from hurdles.pixels.prepare import Preparation
from hurdles.progress import Options
from hurdles.studies.design import Design
from hurdles.studies.found import Given, found_collections

#: Side of the images that are held against each other.
_PRINT = 64


@dataclass(frozen=True, eq=False)
class Stock:
    """What there is to train and to test on.

    Parameters
    ----------
    design : Design
        The race's sets.
    here : mapping of str to Manifest
        The collections that are here: sampled, named, split. See `Design.taken`.
    missing : mapping of str to str
        Public collections that are not, with the reason.
    folder : Path
        Where the table of twins is kept: ``twins-<hash of the images>.csv``.
    options : Options
        How images are read.
    """

    design: Design
    here: Mapping[str, Manifest]
    missing: Mapping[str, str]
    folder: Path
    options: Options

    @classmethod
    def of(
        cls,
        design: Design,
        given: Given,
        *,
        limits: Mapping[str, int],
        folder: Path,
        options: Options,
    ) -> Stock:
        """Find, sample and split the collections; reads tables and names, no images."""
        found, missing = found_collections(given, design.public_names)
        return cls(design, design.taken(found, limits), missing, folder, options)

    @property
    def twins_path(self) -> Path:
        """Where the pairs of equal images are, or will be."""
        names = sorted(image for m in self.here.values() for image in m.frame["image"])
        text = "\n".join([f"{_PRINT} px, {THRESHOLD}", *names])
        return self.folder / f"twins-{hashlib.sha256(text.encode()).hexdigest()[:12]}.csv"

    @cached_property
    def twins(self) -> pd.DataFrame:
        """Pairs of images that show one radiograph, within and across collections; found once.

        Columns as from `hurdles.copies.finder.matches`. Images that cannot be read have none.
        """
        if not self.twins_path.is_file():
            table = self._search()
            write_text(self.twins_path, as_csv(table))
        texts = {"image_a": "str", "image_b": "str"}
        return from_cells(pd.read_csv(self.twins_path, dtype=texts))

    @property
    def twins_known(self) -> bool:
        """Whether `twins` is there already, and reading it takes no search."""
        return self.twins_path.is_file()

    @cached_property
    def links(self) -> Links:
        """Who is one patient as far as names and shared images tell."""
        return self.links_by_name | Links.of(self.twins, self.groups)

    @cached_property
    def links_by_name(self) -> Links:
        """Who is one patient by name; needs no images."""
        return Links.between(self.design.same_patients(self.here))

    @cached_property
    def groups(self) -> dict[str, str]:
        """Image -> patient, of everything that is here."""
        return {
            image: group
            for m in self.here.values()
            for image, group in zip(m.frame["image"], m.groups, strict=True)
        }

    def training(self, name: str, *, links: Links | None = None) -> Manifest:
        """Return a training set with its split, without what stands in two parts by other names."""
        made = self.design.made(self.design.training[name], self.here)
        return apart(made, self.links if links is None else links)

    def test(self, name: str) -> Manifest:
        """Return the images of a test set: the test part of what it is made of."""
        return self.design.made(self.design.tests[name], self.here).part(Split.TEST)

    @cached_property
    def tests(self) -> dict[str, Manifest]:
        """Every test set that can be made here and holds an image, by name."""
        made = {
            name: self.test(name)
            for name, image_set in self.design.tests.items()
            if not self.design.lacking(image_set.needs, self.here)
        }
        return {name: manifest for name, manifest in made.items() if len(manifest)}

    @cached_property
    def asked(self) -> dict[str, Manifest]:
        """Of each collection, the images that every model is asked about: each once."""
        wanted = {image for m in self.tests.values() for image in m.frame["image"]}
        found = {}
        for name, manifest in self.here.items():
            whole = self.design.collections[name].whole
            keep = manifest.frame["image"].isin(wanted) | whole
            if keep.any():
                found[name] = manifest.select(keep)
        return found

    def whole(self, name: str) -> Manifest:
        """Return all images of a collection in the classes of the training set of its name."""
        return self.design.made(self.design.training[name], self.here)

    def _search(self) -> pd.DataFrame:
        listener = self.options.listener
        listener.say("looking for images that several collections share")
        preparation = Preparation(size=_PRINT)
        small: dict[str, Prepared] = {}
        for name, manifest in self.here.items():
            listener.start(f"Reading {name} at {_PRINT} pixels", len(manifest))
            small[name] = prepare(
                manifest, preparation, cache=self.options.cache, on_bad=self.options.on_bad
            )
        found = [matches(each) for each in small.values()]
        found += [matches(a, b) for a, b in itertools.combinations(small.values(), 2)]
        return pd.concat(found, ignore_index=True)
