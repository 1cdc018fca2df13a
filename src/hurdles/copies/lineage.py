"""Which images come from which public collection: by aligned pixels where it is here, by hashes.

A *fingerprint* is a list of a collection's images by name, with three hashes of 256 bits each (the
whole image and two central parts, `hurdles.copies.hashing`). No image can be made again from it:
a bit says only on which side of zero one weighted sum of a 16x16 thumbnail lies, its brightness
and contrast taken away before; 768 such bits, of only 64 independent directions, cannot say what
was written on a film or whom it shows. So fingerprints of public collections ship with hurdles,
and people with private ones can exchange theirs.

Without pixels two images cannot be laid over one another, so that the distance of the hashes has
to decide alone. Its two limits were set on collections that share no image and on planted copies;
docs/results/bench-near-duplicates.txt shows what each of them finds and mistakes. Where a
collection is at hand, its pixels decide (`hurdles.copies.finder`), and the hashes of what is not
there.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.copies.finder import matches
from hurdles.copies.hashing import CUTS, WORDS, HashMatch, hash_matches, image_hashes
from hurdles.data.files import replacing
from hurdles.data.formats import IMAGE_SUFFIXES
from hurdles.data.manifest import Manifest
from hurdles.errors import CollectionError
from hurdles.pixels.cache import Prepared

__all__ = [
    "CERTAIN_BITS",
    "COLUMNS",
    "LIKELY_BITS",
    "SUMMARY",
    "Fingerprint",
    "Images",
    "fingerprint_of",
    "lineage",
    "shipped_fingerprints",
    "summary",
    "with_left_out",
    "write_fingerprint",
]

#: Images whose hashes differ in at most so many of 256 bits show the same radiograph.
CERTAIN_BITS = 32
#: Up to so many bits they probably do: crops, drawn-on copies, and a few images of one person.
LIKELY_BITS = 42

#: The columns of what `lineage` returns.
COLUMNS: dict[str, str] = {
    "image": "name of the image that is asked about",
    "collection": "public collection that holds the same radiograph",
    "theirs": "name of the image there",
    "distance": "bits of 256 in which the hashes differ; empty where pixels were compared",
    "similarity": "of the aligned pixels, up to 1; empty where only hashes were compared",
    "inverted": "true where bright and dark are exchanged",
    "mirrored": "true where left and right are exchanged",
    "sure": "certain or likely; by aligned pixels always certain",
}

#: The columns of what `summary` returns.
SUMMARY: dict[str, str] = {
    "collection": "public collection; the last row is of images found in none of them",
    "images": "images found there, certain or likely; an image may be found in several",
    "certain": "how many of them are certain",
    "share": "images, as a share of all that were asked about, within [0, 1]",
    "inverted": "how many are inverted",
    "mirrored": "how many are mirrored",
}

_FORMAT = 1
_STORED = len(CUTS)


class Images(Protocol):
    """A manifest with its pixels: `hurdles.pixels.cache.Prepared`, or what a hurdle is given."""

    @property
    def manifest(self) -> Manifest:
        """One row per image."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Of shape (N, size, size), 64x64 or more, prepared ``raw``."""


#: What a damaged archive raises.
_DAMAGE = (zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The images of one collection by their hashes; no pixels.

    Parameters
    ----------
    name : str
        Of the collection.
    images : tuple of str
        Names of its images, as there.
    hashes : uint64 array of shape (N, 3, 4)
        The first three views of `hurdles.copies.hashing.image_hashes`.
    version : str
        Which state of the collection.
    licence : str
        Of the collection's images, for a reader.

    Raises
    ------
    CollectionError
        If there are not as many names as hashes, or a name has a line break.
    """

    name: str
    images: tuple[str, ...]
    hashes: NDArray[np.uint64]
    version: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        expected = (len(self.images), _STORED, WORDS)
        if self.hashes.shape != expected or self.hashes.dtype != np.uint64 or not self.name:
            raise CollectionError(
                f"the fingerprint {self.name!r} has {len(self.images)} names and hashes of shape "
                f"{self.hashes.shape}, {self.hashes.dtype}; make it again with `hurdles "
                "fingerprint`."
            )
        if any("\n" in text for text in (self.name, self.version, self.licence, *self.images)):
            raise CollectionError(
                f"a name in the fingerprint {self.name!r} has a line break; rename the file."
            )

    def __len__(self) -> int:
        return len(self.images)

    def save(self, path: str | Path) -> Path:
        """Write it to `path` (``.npz``, no pickle); the same content makes the same bytes."""
        text = "\n".join([self.name, self.version, self.licence, *self.images])
        raw = self.hashes.astype("<u8").view(np.uint8)
        with replacing(path) as part, part.open("wb") as opened:
            np.savez_compressed(
                opened,
                format=np.array([_FORMAT], dtype=np.int64),
                text=np.frombuffer(text.encode("utf-8"), dtype=np.uint8),
                hashes=raw.reshape(len(self), 8 * _STORED * WORDS),
            )
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Fingerprint:
        """Read what `save` wrote.

        Raises
        ------
        CollectionError
            If the file is missing, damaged, or of another format.
        """
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
                version = int(stored["format"][0])
                if version != _FORMAT:
                    raise CollectionError(
                        f"{path} has format {version}, this version reads {_FORMAT}; make it "
                        "again with `hurdles fingerprint`."
                    )
                text = stored["text"].tobytes().decode("utf-8").split("\n")
                raw = np.ascontiguousarray(stored["hashes"])
            hashes = raw.view("<u8").astype(np.uint64).reshape(-1, _STORED, WORDS)
            return cls(text[0], tuple(text[3:]), hashes, text[1], text[2])
        except CollectionError:
            raise
        except (
            OSError,
            ValueError,
            KeyError,
            IndexError,
            EOFError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise CollectionError(
                f"{path} is no fingerprint, or a damaged one ({error}); make it again with "
                "`hurdles fingerprint`."
            ) from error


def fingerprint_of(
    images: Images, name: str, *, version: str = "", licence: str = ""
) -> Fingerprint:
    """Return the fingerprint of a collection.

    Images without structure are left out: they are like nothing, and nothing is like them.

    Parameters
    ----------
    images : Images
        The collection, e.g. a `hurdles.pixels.cache.Prepared` of 64 pixels, preparation ``raw``.
    name, version, licence : str
        As for `Fingerprint`.
    """
    hashes = image_hashes(images.pixels)[:, :_STORED]
    seen = hashes[:, 0].any(axis=1)
    names = images.manifest.frame["image"].to_numpy(dtype=str)[seen]
    return Fingerprint(name, tuple(names.tolist()), hashes[seen], version, licence)


def write_fingerprint(
    images: Images, out: str | Path, *, name: str, version: str = "", licence: str = ""
) -> Path:
    """Write the fingerprint of a collection to `out` and return its path.

    Parameters
    ----------
    images : Images
        As for `fingerprint_of`.
    out : path
        A file, ``.npz``.
    name, version, licence : str
        As for `Fingerprint`.
    """
    return fingerprint_of(images, name, version=version, licence=licence).save(out)


def shipped_fingerprints() -> list[Fingerprint]:
    """Return the fingerprints that ship with hurdles, by name."""
    folder = resources.files("hurdles.copies") / "fingerprints"
    files = sorted(f.name for f in folder.iterdir() if f.name.endswith(".npz"))
    found = []
    for file in files:
        with resources.as_file(folder / file) as path:
            found.append(Fingerprint.load(path))
    return found


def lineage(
    images: Images,
    fingerprints: Sequence[Fingerprint] | None = None,
    *,
    radius: int = LIKELY_BITS,
    here: Mapping[str, Images] | None = None,
) -> pd.DataFrame:
    """Return which images stand in which collections.

    Parameters
    ----------
    images : Images
        What is asked about, 64 pixels or more, prepared ``raw``.
    fingerprints : sequence of Fingerprint, optional
        The known collections; `shipped_fingerprints` if not given.
    radius : int
        Most bits that may differ, within [0, 127].
    here : mapping of str to Images, optional
        Collections of which the images are at hand, by name, whether there is a fingerprint of them
        or not: their pixels are compared.

    Returns
    -------
    DataFrame
        Columns as in `COLUMNS`; for each image and collection the nearest image there, in the
        order of images. An image that stands in no collection has no row.
    """
    known = list(shipped_fingerprints() if fingerprints is None else fingerprints)
    here = here or {}
    named = [each.name for each in known]
    order = {name: at for at, name in enumerate([*named, *(n for n in here if n not in named)])}
    names = images.manifest.frame["image"].tolist()
    row = {name: at for at, name in enumerate(names)}
    found: dict[tuple[int, int], tuple[object, ...]] = {}
    for name, theirs in here.items():
        pairs = matches(_as_prepared(images), _as_prepared(theirs))
        for pair in pairs.itertuples(index=False):  # the most similar first
            key = row[pair.image_a], order[name]
            told = (pair.image_a, name, pair.image_b, None, pair.similarity)
            found.setdefault(key, (*told, pair.inverted, pair.mirrored, "certain"))
    hashes = image_hashes(images.pixels)
    for each in known:
        lacking = _without(each, here.get(each.name))
        for match in _nearest(hash_matches(hashes, lacking.hashes, radius=radius)):
            sure = "certain" if match.distance <= CERTAIN_BITS else "likely"
            which = (names[match.a], each.name, lacking.images[match.b], match.distance, None)
            found.setdefault(
                (match.a, order[each.name]), (*which, match.inverted, match.mirrored, sure)
            )
    table = pd.DataFrame([found[key] for key in sorted(found)], columns=list(COLUMNS))
    types = {"distance": "Int64", "similarity": "float64", "inverted": "bool", "mirrored": "bool"}
    texts = dict.fromkeys(("image", "collection", "theirs", "sure"), "str")
    return table.astype({**types, **texts})


def with_left_out(manifest: Manifest, root: Path) -> Manifest:
    """Return a collection's images with those that its reader leaves out: laterals, CT slices.

    What is copied from a collection need not be what is read of it.

    Parameters
    ----------
    manifest : Manifest
        What was read of it; its exclusions name the others.
    root : Path
        The collection's folder, from which names count.
    """
    left = manifest.exclusions.drop_duplicates("path")
    paths = left["path"].map(Path)
    # Made from a list: of no rows, pandas would not make booleans.
    there = np.array(
        [p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() for p in paths], dtype=bool
    )
    left = left[there & ~left["path"].isin(manifest.frame["path"]).to_numpy(dtype=bool)]
    names = [Path(os.path.relpath(path, root)).as_posix() for path in left["path"]]
    rows = pd.DataFrame({"image": names, "path": left["path"].tolist(), "label": "left out"})
    rows = rows[~rows["image"].isin(manifest.frame["image"])]
    return Manifest(pd.concat([manifest.frame, rows], ignore_index=True))


def _without(fingerprint: Fingerprint, here: Images | None) -> Fingerprint:
    """Return what a fingerprint knows of a collection beyond the images that are at hand."""
    if here is None:
        return fingerprint
    seen = set(here.manifest.frame["image"])
    keep = [at for at, image in enumerate(fingerprint.images) if image not in seen]
    return Fingerprint(
        fingerprint.name, tuple(fingerprint.images[at] for at in keep), fingerprint.hashes[keep]
    )


def _as_prepared(images: Images) -> Prepared:
    return Prepared(images.manifest, images.pixels)


def _nearest(found: Sequence[HashMatch]) -> list[HashMatch]:
    best: dict[int, HashMatch] = {}
    for match in found:
        if match.a not in best or match.distance < best[match.a].distance:
            best[match.a] = match
    return list(best.values())


def summary(table: pd.DataFrame, n_images: int) -> pd.DataFrame:
    """Return how many images come from each collection.

    Parameters
    ----------
    table : DataFrame
        From `lineage`.
    n_images : int
        How many images were asked about.

    Returns
    -------
    DataFrame
        Columns as in `SUMMARY`, most images first; the last row, ``none of these``, counts what
        was found nowhere.

    Examples
    --------
    >>> found = pd.DataFrame({"image": ["a"], "collection": ["kermany"], "sure": ["certain"],
    ...                       "inverted": [False], "mirrored": [False]})
    >>> summary(found, 4)[["collection", "images", "share"]].values.tolist()
    [['kermany', 1, 0.25], ['none of these', 3, 0.75]]
    """
    rows = []
    for name, part in table.groupby("collection", sort=True):
        certain = int((part["sure"] == "certain").sum())
        marks = int(part["inverted"].sum()), int(part["mirrored"].sum())
        rows.append((str(name), len(part), certain, len(part) / max(n_images, 1), *marks))
    rows.sort(key=lambda row: -row[1])
    lacking = n_images - table["image"].nunique()
    rows.append(("none of these", lacking, 0, lacking / max(n_images, 1), 0, 0))
    return pd.DataFrame(rows, columns=list(SUMMARY))
