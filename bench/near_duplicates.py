"""How well and how fast near-duplicates are found by hashes.

    python bench/near_duplicates.py FOLDER > docs/results/bench-near-duplicates.txt
    python bench/near_duplicates.py FOLDER --learn    # the weights of the hashes' bits
    python bench/near_duplicates.py FOLDER --ship     # the fingerprints of the collections

Folders in FOLDER that `hurdles` knows as public collections are used. Measured are:

- Planted copies: images that the weights were not learnt on, each altered in one way and looked
  for by hash alone, and by hash and aligned pixels.
- Real copies, found by hashes and by matrix products, plain and mirrored; the time of both.
- Buckets: pairs of real hashes that share one, as a multiple of what even buckets would hold.
- A million hashes: drawn from a Gaussian with the mean and covariance of real prints, so that they
  crowd as chests do, with copies among them at all distances. ``make bench`` measures how fast they
  are searched.
- Lineage: the Radiography Database against the other collections; images that are taken for
  another collection's where the two share none.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import scipy.linalg

import hurdles
from hurdles.copies import similarity as hashing
from hurdles.copies.finder import LIKELY, THRESHOLD, matches
from hurdles.copies.lineage import CERTAIN_BITS, LIKELY_BITS, fingerprint_of, lineage, summary
from hurdles.copies.similarity import CUTS, image_hashes, prints, small_prints
from hurdles.data.manifest import Manifest
from hurdles.data.sources import COLLECTIONS
from hurdles.evaluation.bounds import wilson
from hurdles.pixels.cache import Prepared
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import resize_square
from twins import collections

sys.path.insert(0, str(Path(__file__).parent / "speed"))
from tables import crowded_hashes

SIZE = 64
_SHIPPED = Path(hurdles.__file__).parent / "copies" / "fingerprints"
_RAW = 224


def jpeg(image, quality):
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


def cropped(image, shares):
    top, bottom, left, right = (round(share * _RAW) for share in shares)
    part = image[top : _RAW - bottom, left : _RAW - right]
    return cv2.resize(part, (_RAW, _RAW), interpolation=cv2.INTER_LINEAR)


def rotated(image, degrees):
    middle = (_RAW - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), degrees, 1)
    return cv2.warpAffine(image, turn, image.shape, borderMode=cv2.BORDER_REPLICATE)


def marked(image, rng):
    """Return the image with a letter and an arrow drawn in."""
    drawn = image.copy()
    where = (int(rng.integers(0, 196)), int(rng.integers(28, 75)))
    cv2.putText(drawn, str(rng.choice(["L", "R"])), where, cv2.FONT_HERSHEY_SIMPLEX, 2, 255, 4)
    start = rng.integers(56, 168, 2)
    end = start + rng.integers(-45, 45, 2)
    cv2.arrowedLine(drawn, start.tolist(), end.tolist(), 255, 3)
    return drawn


def toned(image, rng):
    grey = (image / 255) ** rng.uniform(0.6, 1.6) * rng.uniform(0.7, 1) + rng.uniform(0, 0.09)
    return np.uint8(np.clip(grey, 0, 1) * 255)


def windowed(image, rng):
    """Return what is seen of an image that was kept in 16 bits, in another window."""
    deep = image.astype(np.float64) * 257
    low, high = rng.uniform(0, 4000), rng.uniform(56000, 65535)
    return np.uint8(np.clip((deep - low) / (high - low), 0, 1) * 255)


def mixed(image, rng):
    part = toned(cropped(image, rng.uniform(0.02, 0.06, 4)), rng)
    return jpeg(resized(part, 150), rng.uniform(30, 90))


def resized(image, size):
    return cv2.resize(image, (int(size), int(size)), interpolation=cv2.INTER_AREA)


ALTERATIONS = {
    "resized to 70-200": lambda x, rng: resized(x, rng.uniform(70, 200)),
    "JPEG 30": lambda x, _: jpeg(x, 30),
    "tone curve": toned,
    "inverted": lambda x, _: 255 - x,
    "mirrored": lambda x, _: np.ascontiguousarray(x[:, ::-1]),
    "cropped by 3 % all round": lambda x, _: cropped(x, [0.03] * 4),
    "cropped by 6 %": lambda x, _: cropped(x, [0.06] * 4),
    "cropped by 10 %": lambda x, _: cropped(x, [0.10] * 4),
    "cropped by 0-6 %, unevenly": lambda x, rng: cropped(x, rng.uniform(0, 0.06, 4)),
    "cropped by 10 % on one side": lambda x, rng: cropped(x, rng.permutation([0.1, 0, 0, 0])),
    "mirrored and cropped by 0-6 %": lambda x, rng: np.ascontiguousarray(
        cropped(x, rng.uniform(0, 0.06, 4))[:, ::-1]
    ),
    "windowed from 16 bits": windowed,
    "rotated by 2 degrees": lambda x, rng: rotated(x, 2 * rng.choice([-1, 1])),
    "letter and arrow": marked,
    "several at once": mixed,
}
#: What the weights are learnt to see through, and the views of copy and original that are compared.
_LEARNT = {
    "resized to 70-200": (0.0, 0.0),
    "JPEG 30": (0.0, 0.0),
    "tone curve": (0.0, 0.0),
    "rotated by 2 degrees": (0.0, 0.0),
    "letter and arrow": (0.0, 0.0),
    "cropped by 0-6 %, unevenly": (0.0, 0.04),
    "cropped by 6 %": (0.0, 0.04),
    "cropped by 10 %": (0.0, 0.08),
    "several at once": (0.0, 0.04),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--planted", type=int, default=400, help="images of all collections")
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learn", action="store_true", help="write the weights and stop")
    parser.add_argument("--ship", action="store_true", help="write the fingerprints and stop")
    arguments = parser.parse_args()
    here = dict(collections(arguments.folder, left_out=arguments.ship))
    if not here:
        parser.error(f"no collection that hurdles knows is in {arguments.folder}")
    if arguments.learn:
        np.save(_SHIPPED / "directions.npy", learnt(here, arguments.planted, arguments.seed))
        return
    if arguments.ship:
        for name, prepared in here.items():
            terms = COLLECTIONS.get(name).license.replace("\n", " ")
            fingerprint_of(prepared, name, license=terms).save(_SHIPPED / f"{name}.npz")
        return
    print(planted_table(here, arguments.planted, arguments.seed) + "\n")
    print(real_table(here) + "\n")
    print(crowding(here) + "\n")
    print(million(here, arguments.hashes, arguments.seed) + "\n")
    print(lineage_table(here) + "\n")
    print(
        f"hurdles {hurdles.__version__}, Python {platform.python_version()}, numpy "
        f"{np.__version__}, OpenCV {cv2.__version__}, {len(os.sched_getaffinity(0))} cores"
    )


def chosen(here: dict[str, Prepared], n: int, seed: int, *, learning: bool) -> list[tuple]:
    """Return some (collection, row); the weights are learnt on even rows, tested on odd ones."""
    rows = [(name, i) for name, p in here.items() for i in range(len(p)) if i % 2 == (not learning)]
    picked = np.random.default_rng(seed).choice(len(rows), min(n, len(rows)), replace=False)
    return [rows[i] for i in np.sort(picked)]


def images_of(here: dict[str, Prepared], rows: list[tuple]) -> list[np.ndarray]:
    paths = [here[name].manifest.frame["path"].iloc[row] for name, row in rows]
    return [np.rint(resize_square(decode(path), _RAW) * 255).astype(np.uint8) for path in paths]


def altered(images: list[np.ndarray], how: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, list(ALTERATIONS).index(how)])
    return np.stack([resized(ALTERATIONS[how](image, rng), SIZE) for image in images])


def learnt(here: dict[str, Prepared], n: int, seed: int) -> np.ndarray:
    """Return directions in which radiographs differ and copies do not, rotated; int8, a bit each.

    Fisher's criterion: the largest eigenvalues of the spread of all images against that of copies
    about their originals, with what all share projected out.
    """
    views = {cut: [] for cut in CUTS}
    for prepared in here.values():
        some = prints(prepared.pixels[::2])
        for cut in CUTS:
            views[cut].append(small_prints(some, cut))
    rows = np.concatenate(views[0.0]).astype(np.float64)
    spread = rows.T @ rows / len(rows)
    shared = np.linalg.eigh(spread)[1][:, -1:]
    without = np.eye(len(spread)) - shared @ shared.T
    picked = chosen(here, n, seed, learning=True)
    images = images_of(here, picked)
    originals = prints(np.stack([resized(image, SIZE) for image in images]))
    noise = np.zeros_like(spread)
    for how, (cut, original_cut) in _LEARNT.items():
        copies = small_prints(prints(altered(images, how, seed)), cut)
        change = (copies - small_prints(originals, original_cut)).astype(np.float64)
        noise += change.T @ change / len(change) / len(_LEARNT)
    noise += np.eye(len(noise)) * np.trace(noise) / len(noise) * 0.05
    _, vectors = scipy.linalg.eigh(without @ spread @ without, noise)
    directions = without @ vectors[:, ::-1][:, :64]
    directions /= (rows @ directions).std(axis=0)
    rng = np.random.default_rng(seed)
    turns = [np.linalg.qr(rng.normal(size=(64, 64)))[0] for _ in range(hashing.WORDS)]
    weights = directions @ np.concatenate(turns, axis=1)
    return np.rint(127 * weights / np.abs(weights).max(axis=0)).astype(np.int8)


def planted_table(here: dict[str, Prepared], n: int, seed: int) -> str:
    picked = chosen(here, n, seed, learning=False)
    images = images_of(here, picked)
    stored = {name: image_hashes(p.pixels) for name, p in here.items()}
    lines = [
        f"planted copies of {len(picked)} images, looked for in their collection; by hash alone: "
        "share within so many bits; by aligned pixels: to be looked at, and taken for copies",
        f"{'':28}{'median bits':>12}{CERTAIN_BITS:>8}{LIKELY_BITS:>8}{hashing.RADIUS:>8}{72:>8}"
        f"{LIKELY:>9}{THRESHOLD:>8}{'others':>8}",
    ]
    bits = {how: [] for how in ALTERATIONS}
    alike = {how: [] for how in ALTERATIONS}
    others = dict.fromkeys(ALTERATIONS, 0)
    pixels = {how: altered(images, how, seed) for how in ALTERATIONS}
    for name, prepared in here.items():
        mine = [i for i, (collection, _) in enumerate(picked) if collection == name]
        originals = stored[name][[picked[i][1] for i in mine]]
        for how in ALTERATIONS:
            bits[how] += nearest(image_hashes(pixels[how][mine]), originals).tolist()
        pairs = matches(copies_of(prepared, picked, mine, pixels), prepared, threshold=LIKELY)
        told = pairs["image_a"].str.split("|", n=1, expand=True).reindex(columns=[0, 1])
        for how, right, similarity in zip(
            told[0], told[1] == pairs["image_b"], pairs["similarity"], strict=True
        ):
            if right:
                alike[how].append(similarity)
            elif similarity >= THRESHOLD:
                others[how] += 1
    for how in ALTERATIONS:
        apart, similar = np.array(bits[how]), np.array(alike[how])
        shares = [
            (apart <= limit).mean() for limit in (CERTAIN_BITS, LIKELY_BITS, hashing.RADIUS, 72)
        ]
        cells = "".join(f"{100 * share:8.1f}" for share in shares)
        found = [100 * (similar >= limit).sum() / len(picked) for limit in (LIKELY, THRESHOLD)]
        lines.append(
            f"{how:28}{np.median(apart):12.0f}{cells}{found[0]:9.1f}{found[1]:8.1f}{others[how]:8}"
        )
    lines.append("others: further images found, most of them copies that the collections hold")
    return "\n".join(lines)


def copies_of(prepared: Prepared, picked, mine, pixels) -> Prepared:
    """Return all altered copies of some images of one collection as one set."""
    rows = prepared.manifest.frame.iloc[[picked[i][1] for i in mine]]
    frames = [
        rows.assign(image=f"{how}|" + rows["image"], path=f"/{how}" + rows["path"])
        for how in pixels
    ]
    manifest = Manifest(pd.concat(frames, ignore_index=True))
    return Prepared(manifest, np.concatenate([pixels[how][mine] for how in pixels]))


def nearest(copies: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """Return in how many bits the nearest views of each copy and its original differ."""
    views = [*hashing._CROPPED, (hashing._MIRRORED, 0)]
    apart = [
        np.bitwise_count(copies[:, a] ^ originals[:, b]).sum(axis=1, dtype=np.int64)
        for a, b in views
    ]
    return np.min([np.minimum(bits, hashing.BITS - bits) for bits in apart], axis=0)


def real_table(here: dict[str, Prepared]) -> str:
    lines = [
        f"real copies (similarity of {THRESHOLD} and more), by matrix products and by hashes",
        f"{'':44}{'products':>9}{'cpu s':>7}{'hashes':>8}{'cpu s':>7}{'both':>6}"
        f"{'mirrored':>10}{'most alike mirrored':>21}",
    ]
    for a, b in [*((n, n) for n in here), *itertools.combinations(here, 2)]:
        other = None if a == b else here[b]
        start = time.process_time()
        slow = matches(here[a], other, hashed=False, mirrored=False)
        middle = time.process_time()
        fast = matches(here[a], other, hashed=True, threshold=0.5)
        end = time.process_time()
        mirrored = fast[fast["mirrored"]]["similarity"]
        fast = fast[fast["similarity"] >= THRESHOLD]
        both = _pairs(slow) & _pairs(fast)
        where = f"within {a}" if a == b else f"{a} x {b}"
        most = f"{mirrored.max():.2f}" if len(mirrored) else "-"
        lines.append(
            f"{where:44}{len(slow):9}{middle - start:7.1f}{len(fast):8}{end - middle:7.1f}"
            f"{len(both):6}{int((mirrored >= THRESHOLD).sum()):10}{most:>21}"
        )
    return "\n".join(lines)


def _pairs(table) -> set[tuple[str, str]]:
    return set(zip(table["image_a"], table["image_b"], strict=True))


def crowding(here: dict[str, Prepared]) -> str:
    hashes = np.concatenate([image_hashes(p.pixels)[:, 0] for p in here.values()])
    hashes = hashes[np.sort(np.unique(hashes, axis=0, return_index=True)[1])]
    n = len(hashes)
    excess, largest = [], 0
    for word, bits in hashing._bands():
        counts = np.unique(hashing._keys(hashes[:, word], bits), return_counts=True)[1]
        even = n * (n - 1) / 2 / 2 ** (hashing._BAND - 1)
        excess.append((counts * (counts - 1) / 2).sum() / even)
        largest = max(largest, int(counts.max()))
    return (
        f"{n} different real hashes: pairs in one bucket, as a multiple of even buckets, over "
        f"{len(excess)} bands: {np.mean(excess):.2f} ({min(excess):.2f} to {max(excess):.2f}); "
        f"largest bucket {largest}"
    )


def million(here: dict[str, Prepared], n: int, seed: int) -> str:
    """Search hashes that crowd as real ones do, with copies among them at all distances."""
    rows = np.concatenate([small_prints(prints(p.pixels)) for p in here.values()])
    hashes, apart = crowded_hashes(rows, n, seed)
    copies = len(apart)
    found = hashing.near_pairs(hashes)
    is_planted = found.b - found.a == n - copies
    got = np.zeros(copies, dtype=bool)
    got[found.a[is_planted]] = True
    lines = [
        f"{n} hashes, {copies} of them copies: {len(found)} pairs within {hashing.RADIUS} bits, "
        f"{len(found) - int(is_planted.sum())} of them not planted; copies found by their distance",
    ]
    for low, high in ((0, 15), (16, 23), (24, 31), (32, 39), (40, 48)):
        within = (apart >= low) & (apart <= high)
        recall = wilson(int(got[within].sum()), int(within.sum())).percent(2)
        lines.append(f"  {low:3} to {high} bits: {int(within.sum()):6} copies, found {recall}")
    return "\n".join(lines)


def lineage_table(here: dict[str, Prepared]) -> str:
    known = {name: fingerprint_of(p, name) for name, p in here.items()}
    lines = []
    ours = "radiography-database"
    if ours in here:
        start = time.perf_counter()
        table = lineage(here[ours], [f for name, f in known.items() if name != ours])
        seconds = time.perf_counter() - start
        lines += [f"lineage of {ours}: {len(here[ours])} images in {seconds:.1f} s"]
        lines += [summary(table, len(here[ours])).to_string(index=False)]
        for name in sorted(set(here) - {ours}):
            part = table[table["collection"] == name]
            pairs = matches(here[ours], here[name], hashed=True)
            pixels = set(pairs.loc[pairs["similarity"] >= THRESHOLD, "image_a"])
            hashes = set(part["image"])
            lines.append(
                f"  {name}: images by aligned pixels {len(pixels)}, of these by hash alone "
                f"{len(pixels & hashes)}; by hash alone and not by pixels {len(hashes - pixels)}"
            )
        if "kermany" in here:
            lines.append(_named(here[ours], table[table["collection"] == "kermany"]))
    lines.append("taken for another collection's, where aligned pixels show no copy")
    lines.append(f"{'':44}{'asked':>7}{'certain':>9}{'likely':>8}")
    for a, b in itertools.permutations(here, 2):
        pairs = matches(here[a], here[b], hashed=True)
        table = lineage(here[a], [known[b]])
        wrong = table[~table["image"].isin(pairs["image_a"])]
        certain = int((wrong["sure"] == "certain").sum())
        lines.append(f"{f'{a} in {b}':44}{len(here[a]):7}{certain:9}{len(wrong) - certain:8}")
    return "\n".join(lines)


def _named(ours: Prepared, table) -> str:
    """Compare with the workbook, which names the file of every viral pneumonia."""
    origin = ours.manifest.frame.set_index("image")["original"].dropna()
    viral = ours.manifest.frame.set_index("image")["label"] == "Viral Pneumonia"
    origin = origin[viral.loc[origin.index]].map(lambda name: Path(name).stem)
    found = table[table["image"].isin(origin.index)]
    theirs = found["theirs"].map(lambda name: Path(name).stem)
    right = int((theirs.to_numpy() == origin.loc[found["image"]].to_numpy()).sum())
    return (
        f"  kermany, {len(origin)} images whose file the workbook names: found {len(found)}, under "
        f"that name {right}, the others under that of its double in Kermany's collection"
    )


if __name__ == "__main__":
    main()
