"""Public collections that images come from: by aligned pixels where one is here, by hashes else.

A *fingerprint* is a list of a collection's images by name, with three hashes of 256 bits each (the
whole image and two central parts, `hurdles.copies.similarity`). No image can be made again from it:
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

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.copies.finder import Images, matches
from hurdles.copies.similarity import CUTS, WORDS, hash_matches, image_hashes
from hurdles.data.files import replacing
from hurdles.data.image_file import IMAGE_SUFFIXES
from hurdles.data.manifest import Manifest
from hurdles.errors import CollectionError

#: Images whose hashes differ in at most so many of 256 bits show the same radiograph.
CERTAIN_BITS = 32
#: Up to so many bits they probably do: crops, drawn-on copies, and a few images of one person.
LIKELY_BITS = 42

#: The columns of the table that `lineage` returns.
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

#: The columns of the table that `summary` returns.
SUMMARY: dict[str, str] = {
    "collection": "public collection; the last row is of images found in none of them",
    "images": "images found there, certain or likely; an image may be found in several",
    "certain": "how many of them are certain",
    "share": "images, as a share of all that were asked about, within [0, 1]",
    "inverted": "how many are inverted",
    "mirrored": "how many are mirrored",
}

_FORMAT = 1
#: Errors that a damaged archive raises.
_DAMAGE = (zipfile.BadZipFile, zlib.error)
_STORED = len(CUTS)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The images of one collection by their hashes; no pixels.

    Hashes are uint64 (N, 3, 4), the first three views of `hurdles.copies.similarity.image_hashes`;
    version says which state of the collection, license that of its images, for a reader.
    """

    name: str
    images: tuple[str, ...]
    hashes: NDArray[np.uint64]
    version: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        expected = (len(self.images), _STORED, WORDS)
        if self.hashes.shape != expected or self.hashes.dtype != np.uint64 or not self.name:
            raise CollectionError(
                f"the fingerprint {self.name!r} has {len(self.images)} names and hashes of shape "
                f"{self.hashes.shape}, {self.hashes.dtype}; make it again with `hurdles "
                "fingerprint`."
            )
        if any("\n" in text for text in (self.name, self.version, self.license, *self.images)):
            raise CollectionError(
                f"a name in the fingerprint {self.name!r} has a line break; rename the file."
            )

    def __len__(self) -> int:
        return len(self.images)

    def save(self, path: str | Path) -> Path:
        """Write it to `path` (``.npz``, no pickle); the same content makes the same bytes."""
        text = "\n".join([self.name, self.version, self.license, *self.images])
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
        """Read what `save` wrote; one that is missing, damaged, or of another format is refused."""
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
        except (*_DAMAGE, OSError, ValueError, KeyError, IndexError, EOFError) as error:
            raise CollectionError(
                f"{path} is no fingerprint, or a damaged one ({error}); make it again with "
                "`hurdles fingerprint`."
            ) from error


def fingerprint_of(
    images: Images, name: str, *, version: str = "", license: str = ""
) -> Fingerprint:
    """Return the fingerprint of a collection.

    Images without structure are left out: they are like nothing, and nothing is like them.
    """
    hashes = image_hashes(images.pixels)[:, :_STORED]
    structured = hashes[:, 0].any(axis=1)
    names = images.manifest.frame["image"].to_numpy(dtype=str)[structured]
    return Fingerprint(name, tuple(names.tolist()), hashes[structured], version, license)


def shipped_fingerprints() -> list[Fingerprint]:
    """Return the fingerprints that ship with hurdles, by name."""
    folder = resources.files("hurdles.copies") / "fingerprints"
    files = sorted(f.name for f in folder.iterdir() if f.name.endswith(".npz"))
    fingerprints = []
    for file in files:
        with resources.as_file(folder / file) as path:
            fingerprints.append(Fingerprint.load(path))
    return fingerprints


def lineage(
    images: Images,
    fingerprints: Sequence[Fingerprint] | None = None,
    *,
    radius: int = LIKELY_BITS,
    here: Mapping[str, Images] | None = None,
) -> pd.DataFrame:
    """Return which images stand in which collections.

    Columns are those of `COLUMNS`; for each image and collection the nearest image there, in the
    order of images. An image that stands in no collection has no row.

    Images have 64 pixels or more, prepared ``raw``; at most `radius` bits may differ, within
    [0, 127]. `here` are collections of which the images are at hand, by name, whether there is a
    fingerprint of them or not: their pixels are compared.
    """
    known = list(shipped_fingerprints() if fingerprints is None else fingerprints)
    here = here or {}
    names = images.manifest.frame["image"].to_numpy()
    tables = [pd.DataFrame(columns=list(COLUMNS))]
    for name, theirs in here.items():
        pairs = matches(images, theirs)  # the most similar first
        pairs = pairs.rename(columns={"image_a": "image", "image_b": "theirs"})
        tables.append(pairs.assign(collection=name, sure="certain"))
    hashes = image_hashes(images.pixels)
    for each in known:
        at_hand = here.get(each.name)
        compared = set() if at_hand is None else set(at_hand.manifest.frame["image"])
        rest = [at for at, image in enumerate(each.images) if image not in compared]
        near = hash_matches(hashes, each.hashes[rest], radius=radius)
        near = near.sort_values("distance", kind="stable")
        their_names = np.array(each.images, dtype=object)[rest]
        certain = near["distance"] <= CERTAIN_BITS
        tables.append(
            near.assign(
                image=names[near["a"]],
                collection=each.name,
                theirs=their_names[near["b"]],
                sure=np.where(certain, "certain", "likely"),
            )
        )
    # Of each image and collection the first: what pixels tell, or else the nearest hash.
    table = pd.concat(tables)[list(COLUMNS)].drop_duplicates(["image", "collection"])
    order = {name: at for at, name in enumerate(dict.fromkeys([*(f.name for f in known), *here]))}
    row = {name: at for at, name in enumerate(names)}
    places = {"image": row, "collection": order}
    table = table.sort_values(
        ["image", "collection"], key=lambda column: column.map(places[str(column.name)])
    )
    types = {"distance": "Int64", "similarity": "float64", "inverted": "bool", "mirrored": "bool"}
    texts = dict.fromkeys(("image", "collection", "theirs", "sure"), "str")
    return table.astype({**types, **texts}).reset_index(drop=True)


def with_left_out(manifest: Manifest, root: Path) -> Manifest:
    """Return a collection's images with those that its reader leaves out: laterals, CT slices.

    What is copied from a collection need not be what is read of it. Names count from `root`, the
    collection's folder.
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


def summary(table: pd.DataFrame, n_images: int) -> pd.DataFrame:
    """Return how many of `n_images` come from each collection, given the table of `lineage`.

    Columns as in `SUMMARY`, most images first; the last row, ``none of these``, counts what was
    found nowhere.
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
