"""How many copies `hurdles.copies.finder` finds, and how many other pairs it takes for copies.

    python bench/twins.py FOLDER > docs/results/twins.txt

Folders in FOLDER that `hurdles` knows as public collections are used. Three measurements:

- Planted copies: images drawn from each collection are cropped (by 2 to 6 % on each side, one in
  four not at all), their contrast, brightness and gamma changed, inverted (three in ten), resized
  and compressed (JPEG 30 to 90), and looked for in the whole collection. "Likely" passed the first
  stage; "others" are further images found for them, which may be copies that the collection holds.
- Real copies with known names: every viral pneumonia of the first Radiography Database carries the
  name of its file in Kermany's collection.
- All pairs within and between the collections, with the time that the search takes.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

import hurdles
from hurdles.copies.finder import THRESHOLD, candidates, matches
from hurdles.copies.lineage import with_left_out
from hurdles.data.sources import COLLECTIONS
from hurdles.evaluation.bounds import wilson
from hurdles.pixels.cache import Prepared, prepare
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import Preparation, resize_square

SIZE = 64
_EDGES = (0.60, 0.80, 0.90, 0.95, 0.96, 0.97, 0.975, 0.98, 0.982, 0.985, 0.99, 1.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--planted", type=int, default=200, help="copies for each collection")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    here = dict(collections(arguments.folder))
    if not here:
        parser.error(f"no collection that hurdles knows is in {arguments.folder}")
    print(f"pairs of at least {THRESHOLD} are taken for copies\n")
    print("planted copies\n" + planted_table(here, arguments.planted, arguments.seed) + "\n")
    tables = {}
    lines = []
    for a, b in [*((n, n) for n in here), *itertools.combinations(here, 2)]:
        line, tables[a, b] = searched(here, a, b)
        lines.append(line)
    head = "".join(f"{e:>7.3f}" for e in _EDGES[:-1])
    print("all pairs; aligned pairs by similarity, from the number above each column on")
    print(f"{'':44}{'copies':>7}{'likely':>8}{'cpu s':>7}  {head}")
    print("\n".join(lines) + "\n")
    if {"radiography-database", "kermany"} <= set(here):
        print(named(here, tables))
    print(
        f"hurdles {hurdles.__version__}, Python {platform.python_version()}, OpenCV "
        f"{cv2.__version__}, numpy {np.__version__}"
    )


def collections(folder: Path, *, left_out: bool = False) -> Iterator[tuple[str, Prepared]]:
    for name in COLLECTIONS.names():
        collection = COLLECTIONS.get(name)
        for root in sorted(folder.iterdir()):
            if root.is_dir() and collection.recognizes(root):
                manifest = collection.read(root)
                manifest = with_left_out(manifest, root) if left_out else manifest
                yield name, prepare(manifest, Preparation(size=SIZE))
                break


def altered(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a copy as a re-packaged collection would hold it, prepared."""
    height, width = pixels.shape
    cut = rng.uniform(0.02, 0.06, 4) * (rng.random() >= 0.25)
    gamma, contrast, lift = rng.uniform(0.6, 1.6), rng.uniform(0.7, 1.0), rng.uniform(0, 0.09)
    invert, size, quality = rng.random() < 0.3, int(rng.uniform(110, 300)), rng.uniform(30, 90)
    top, bottom, left, right = cut * (height, height, width, width)
    part = pixels[int(top) : height - int(bottom), int(left) : width - int(right)]
    grey = np.clip(part, 0, 1) ** gamma * contrast + lift
    grey = np.clip(1 - grey if invert else grey, 0, 1)
    small = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", np.rint(small * 255).astype(np.uint8),
                         [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]  # fmt: skip
    read = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    return np.rint(resize_square(read, SIZE) * 255).astype(np.uint8)


def planted_table(here: dict[str, Prepared], n: int, seed: int) -> str:
    rows = [f"{'':26}{'planted':>8}{'likely':>8}{'found':>7}  {'recall':24}{'others':>7}"]
    for name, prepared in here.items():
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(prepared), min(n, len(prepared)), replace=False))
        paths = prepared.manifest.frame["path"].to_numpy()[chosen]
        copies = np.stack([altered(decode(path), rng) for path in paths])
        own = prepared.manifest.frame["image"].to_numpy()[chosen]
        manifest = prepared.manifest.select(np.isin(np.arange(len(prepared)), chosen))
        table = matches(Prepared(manifest, copies), prepared)
        right = table["image_a"] == table["image_b"]
        likely = {(p.a, p.b) for p in candidates(copies, prepared.pixels)}
        passed = len(likely & set(enumerate(chosen.tolist())))
        recall = wilson(int(right.sum()), len(own)).percent()
        rows.append(
            f"{name:26}{len(own):8}{passed:8}{right.sum():7}  {recall:24}{(~right).sum():7}"
        )
    return "\n".join(rows)


def searched(here: dict[str, Prepared], a: str, b: str) -> tuple[str, pd.DataFrame]:
    likely = len(candidates(here[a].pixels, None if a == b else here[b].pixels))
    start = time.process_time()
    table = matches(here[a], None if a == b else here[b], threshold=_EDGES[0])
    seconds = time.process_time() - start
    counts = np.histogram(table["similarity"], _EDGES)[0]
    copies = int((table["similarity"] >= THRESHOLD).sum())
    where = f"within {a}" if a == b else f"{a} x {b}"
    columns = "".join(f"{c:7}" for c in counts)
    return f"{where:44}{copies:7}{likely:8}{seconds:7.1f}  {columns}", table


def named(here: dict[str, Prepared], tables: dict[tuple[str, str], pd.DataFrame]) -> str:
    """Return recall and precision where the names of the files say which are copies."""
    pair = next(p for p in tables if set(p) == {"radiography-database", "kermany"})
    ours, theirs = ("image_a", "image_b") if pair[0] != "kermany" else ("image_b", "image_a")
    table = tables[pair]
    table = table[table["similarity"] >= THRESHOLD]
    frame = here["radiography-database"].manifest.frame.set_index("image")
    kermany = set(here["kermany"].manifest.frame["image"].map(lambda name: Path(name).stem))
    origin = frame["original"].dropna().map(lambda name: Path(name).stem)
    origin = origin[origin.isin(kermany)]
    found = table[table[ours].isin(origin.index)]
    right = found[ours].map(origin) == found[theirs].map(lambda name: Path(name).stem)
    # A copy of a copy: Kermany's collection holds some files twice.
    within = tables["kermany", "kermany"]
    within = within[within["similarity"] >= THRESHOLD]
    stems = [(Path(a).stem, Path(b).stem)
             for a, b in zip(within["image_a"], within["image_b"], strict=True)]  # fmt: skip
    doubles = {*stems, *((b, a) for a, b in stems)}
    wrong = found[~right]
    again = sum(
        (origin[image], Path(twin).stem) in doubles
        for image, twin in zip(wrong[ours], wrong[theirs], strict=True)
    )
    normal = frame.index[frame["label"] == "Normal"]
    twinned = table.loc[table[ours].isin(normal), ours].nunique()
    return "\n".join(
        [
            "radiography-database x kermany, by the file names in the workbook",
            f"  named {len(origin)}, found {right.sum()}: recall "
            f"{wilson(int(right.sum()), len(origin)).percent()}",
            f"  found under another name {len(wrong)}, {again} of them because Kermany's "
            "collection holds that image twice: precision "
            f"{wilson(int(right.sum()) + again, len(found)).percent()}",
            f"  normal images with a copy in Kermany's collection: {twinned} of {len(normal)}\n",
        ]
    )


if __name__ == "__main__":
    main()
