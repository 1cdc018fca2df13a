"""Similarity of two radiographs: prints, what they share once aligned, and hashes of prints.

A print is what is left of an image when overall brightness and contrast are taken away. Two are
compared once they lie over one another (`aligned_similarity`). A hash is far too short for an
image, near for copies and far for other chests.

All chests look alike, so the usual perceptual hashes of two patients agree in most of their bits.
The bits here are signs of 256 fixed weighted sums of a small print. The sums look along the 64
directions in which prints of radiographs differ most, as against those of copies of one; what all
chests share is left out, and four random rotations of the 64 give the bits, so that each is set in
half of all images and, within a word, tells nothing of its neighbors. The weights were learnt from
public collections by ``python bench/near_duplicates.py FOLDER --learn`` and ship as 64 KB of small
integers. The complement of a hash is the hash of the inverted image, so that two hashes are near
where they differ in few bits or in nearly all.

Few hashes are compared each with each. Many are put into buckets, once for every *band* of 16 of
the bits, and compared only with what lies in the same bucket (the multi-index hashing of Norouzi,
Punjani and Fleet 2012, doi:10.1109/CVPR.2012.6248043, with overlapping bands). Sixteen bands that
share no bit make one partition: two hashes that differ in at most 15 bits agree in at least one of
them, so such a pair cannot be missed. Four partitions, each of other bands, find nearly all that
differ in more; `bench/near_duplicates.py` measures how many, on hashes that crowd as real ones do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.progress import processors

#: Height and width of a print: ribs are told apart, traces of JPEG are not.
PRINT_SIZE = 64

#: Width of the neighborhood that a pixel is compared with, in pixels of the print.
_SIGMA = 4.0
#: Added to the local standard deviation of ranks in [0, 1], so that flat areas stay flat.
_FLOOR = 0.03
#: An affine map beyond these makes other chests fit: least overlap, and largest change of length.
_OVERLAP = 0.6
_STRETCH = 1.4
#: Prints that agree less once aligned are of two chests, and not printed anew.
_WORTH_PRINTING = 0.75
#: Printing them anew makes two that are one radiograph more similar than ECC says, by less than
#: this: by 0.12 at most in 4,531 planted copies, by 0.07 in 2,856 pairs of five collections.
_GAINED = 0.14
#: Both are softened by so much before that, in pixels: a copy may be less sharp, or have traces
#: of JPEG.
_SOFTENED = 0.7
#: Share of the overlap that may differ because something was drawn on one of the images.
_DRAWN_ON = 0.05


def prints(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what is left of images when overall brightness and contrast are taken away.

    Gray values are replaced by their ranks, which no gamma and no other rising curve changes; then
    the mean of a pixel's neighborhood is subtracted and the rest divided by its standard deviation
    there. An inverted image gives the negative print.
    """
    if pixels.ndim != 3 or min(pixels.shape[1:]) < PRINT_SIZE:
        raise ValueError(
            f"pixels have shape {pixels.shape}; copies are looked for in images of shape (N, 64, "
            "64) or larger: prepare them with size=64."
        )
    made = np.empty((len(pixels), PRINT_SIZE, PRINT_SIZE), dtype=np.float32)
    for row, image in enumerate(map(_reduced, pixels)):
        ranks = _ranks(image, image)
        centered = ranks - _blur(ranks)
        made[row] = centered / (np.sqrt(_blur(centered * centered)) + _FLOOR)
    return made


def central(
    image: NDArray[np.float32], cut: float, size: int, *, sides: Sequence[float] = ()
) -> NDArray[np.float32]:
    """Return the central part of a print, averaged down."""
    import cv2

    if len(sides):
        top, bottom, left, right = sides
        last = PRINT_SIZE - 1
        part = [[1 - left - right, 0, left * last], [0, 1 - top - bottom, top * last]]
        image = cv2.warpAffine(image, np.array(part, np.float32), image.shape, flags=_inverse())
    elif cut:
        image = cv2.warpAffine(image, _zoom(1 - 2 * cut), image.shape, flags=_inverse())
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))


class Thumbnail(NamedTuple):
    """An image reduced to 64x64, and its print: as two of them are laid over one another."""

    gray: NDArray[np.uint8]
    print: NDArray[np.float32]

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Thumbnail:
        """Return the thumbnail of an image of 64x64 or more."""
        return cls(_reduced(image), prints(image[None])[0])

    def turned(self, *, inverted: bool = False, mirrored: bool = False) -> Thumbnail:
        """Return the same with bright and dark, or left and right, exchanged."""
        gray, whole = self
        if inverted:
            gray, whole = 255 - gray, -whole
        if mirrored:
            gray, whole = np.ascontiguousarray(gray[:, ::-1]), np.ascontiguousarray(whole[:, ::-1])
        return Thumbnail(gray, whole)


def aligned_similarity(
    a: Thumbnail, b: Thumbnail, scale: float = 1.0, *, least: float = 0.0
) -> float:
    """Return the correlation of two images where they overlap, `b` moved onto `a`.

    The affine map is found by maximizing the enhanced correlation coefficient of their prints
    (Evangelidis and Psarakis 2008, doi:10.1109/TPAMI.2008.113). Where these then agree at all,
    both images are printed anew inside the overlap only: the print of a crop, whose neighborhoods
    are another share of the chest, becomes that of the same part of the whole image. The twentieth
    of the pixels that differ most is left out, so that an arrow or a letter that was drawn in does
    not hide a copy.

    Two that will hardly be as similar as `least` may have any smaller similarity.
    """
    import cv2

    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 1e-3)
    start = _zoom(scale)
    try:
        found, warp = cv2.findTransformECC(
            a.print, b.print, start, cv2.MOTION_AFFINE, stop, None, 3
        )
    except cv2.error:  # it says so where the images have nothing in common
        return 0.0
    if not np.isfinite(warp).all() or found < least - _GAINED:
        return 0.0
    (p, q), (r, s) = warp[:, :2].tolist()
    # The singular values are half the sum and half the difference of these two.
    turning, shearing = math.hypot(p + s, r - q), math.hypot(p - s, r + q)
    if turning + shearing > 2 * _STRETCH or abs(turning - shearing) < 2 / _STRETCH:
        return 0.0

    def moved(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.warpAffine(image, warp, image.shape, flags=_inverse()))

    inside = moved(np.ones_like(b.print)) > 0.99
    if inside.mean() < _OVERLAP:
        return 0.0
    rough = _correlation(a.print[inside], moved(b.print)[inside])
    if rough < _WORTH_PRINTING:
        return rough
    one = _print_inside(a.gray.astype(np.float32), inside)[inside]
    two = _print_inside(moved(b.gray.astype(np.float32)), inside)[inside]
    apart = np.abs(one - two)
    alike = apart <= np.quantile(apart, 1 - _DRAWN_ON)
    return _correlation(one[alike], two[alike])


def _correlation(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / norm, -1, 1)) if norm > 0 else 0.0


def _print_inside(image: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the print of a part of an image, as if there were nothing else."""
    import cv2

    share = inside.astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), _SOFTENED)
    there = np.maximum(_blur(share), 1e-6)
    gray = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    ranks = _ranks(gray, gray[inside])
    centered = np.asarray((ranks - _blur(ranks * share) / there) * share, dtype=np.float32)
    spread = np.sqrt(_blur(centered * centered) / there) + _FLOOR
    return np.asarray(centered / spread, dtype=np.float32)


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    size = (PRINT_SIZE, PRINT_SIZE)
    if image.shape == size:
        return np.asarray(image)
    return np.asarray(cv2.resize(np.asarray(image), size, interpolation=cv2.INTER_AREA))


def _ranks(image: NDArray[np.uint8], among: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts = np.bincount(among.ravel(), minlength=256)
    middle = np.cumsum(counts) - counts / 2  # equal values share the mean of their ranks
    return (middle / among.size).astype(np.float32)[image]


def _blur(image: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    blurred = cv2.GaussianBlur(image, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.float32)


def _zoom(scale: float) -> NDArray[np.float32]:
    """Return the map from pixels of a print to those of its central part, scaled."""
    offset = (1 - scale) * (PRINT_SIZE - 1) / 2
    return np.array([[scale, 0, offset], [0, scale, offset]], dtype=np.float32)


def _inverse() -> int:
    """Return the flags of a warp whose matrix leads from the result to the image."""
    import cv2

    return int(cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


# --- hashes --------------------------------------------------------------------------------------


Hashes: TypeAlias = NDArray[np.uint64]
#: Rows of the first set, rows of the second, and the bits in which their hashes differ.
_Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.integer]]

#: Bits of a hash, and 64-bit words that hold them.
BITS = 256
WORDS = 4
#: Hashes that differ in at most this many bits are near, unless told otherwise.
RADIUS = 48
#: Pairs that differ in at most this many bits are found for certain, however many hashes there are.
GUARANTEED = 15
#: Share cut off each side of an image before it is hashed: a crop meets its whole in one of them.
CUTS = (0.0, 0.04, 0.08)
#: The hashes of an image, in their order.
VIEWS = (*(f"{cut:.0%} cut" for cut in CUTS), "mirrored")

_MIRRORED = len(CUTS)
#: Which views of two images are compared: wholes, and the whole of either with crops of the other.
_CROPPED = ((0, 0), (0, 1), (0, 2), (1, 0), (2, 0))
_SMALL = 16
_CHUNK = 512
_BAND = 16
_PARTITIONS = 4
#: Up to this many comparisons each hash is compared with each, in about a second.
_EACH_WITH_EACH = 100_000_000
_BLOCK = 64
_PIECE = 1 << 15


def image_hashes(pixels: NDArray[np.uint8]) -> Hashes:
    """Return the hashes of images: of the whole, of two central parts, and of its mirror image.

    Resizing, JPEG and tone curves change a few of the 256 bits, a crop that meets one of the views
    or a rotation by two degrees about 25, another patient about half. An inverted image has the
    complement. An image without structure has zeros only.
    """
    hashes = np.zeros((len(pixels), len(VIEWS), WORDS), dtype=np.uint64)
    for start in range(0, len(pixels), _CHUNK):
        some = prints(pixels[start : start + _CHUNK])
        for view, cut in enumerate(CUTS):
            hashes[start : start + _CHUNK, view] = _signs(small_prints(some, cut))
        hashes[start : start + _CHUNK, _MIRRORED] = _signs(small_prints(some[:, :, ::-1]))
    return hashes


def small_prints(whole: NDArray[np.float32], cut: float = 0.0) -> NDArray[np.float32]:
    """Return the central parts of prints, averaged down to 16x16, as rows of length one."""
    rows = np.empty((len(whole), _SMALL * _SMALL), dtype=np.float32)
    for row, one in enumerate(whole):
        rows[row] = central(np.ascontiguousarray(one), cut, _SMALL).ravel()
    rows -= rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 1e-4, rows / np.maximum(norms, 1e-4), np.float32(0))


def _signs(rows: NDArray[np.float32]) -> Hashes:
    signs = rows @ _directions() > 0
    # An exact zero has no sign; the inverted image must still have the complement.
    signs[~rows.any(axis=1)] = False
    packed = np.packbits(signs, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64)


@cache
def _directions() -> NDArray[np.float32]:
    """Return the weights, shape (256, 256): a column for each bit."""
    file = resources.files("hurdles.copies") / "fingerprints" / "directions.npy"
    with file.open("rb") as opened:
        weights = np.load(opened, allow_pickle=False)
    if weights.shape != (_SMALL * _SMALL, BITS) or weights.dtype != np.int8:
        raise ValueError(f"directions.npy has shape {weights.shape}; install hurdles again.")
    return np.asarray(weights, dtype=np.float32)


def hash_matches(
    a: Hashes, b: Hashes | None = None, *, radius: int = RADIUS, mirrored: bool = True
) -> pd.DataFrame:
    """Return the pairs of images of which some views are near, in the order of rows.

    Hashes are those of `image_hashes`. Columns as of `near_pairs` for the nearest views of either
    image, and whether they are mirrored and what was cut off each side of them (cut_a, cut_b).
    """
    tables = []
    for one, two in [*_CROPPED, *([(_MIRRORED, 0)] if mirrored else [])]:
        if b is None and one == two:
            pairs = near_pairs(a[:, one], radius=radius)
        else:
            pairs = near_pairs(a[:, one], (a if b is None else b)[:, two], radius=radius)
        if b is None:
            # Of views that differ, (i, j) and (j, i) are two comparisons; the other has its turn.
            pairs = pairs[pairs["a"] < pairs["b"]]
        is_mirrored = one == _MIRRORED
        cut = 0.0 if is_mirrored else CUTS[one]
        tables.append(pairs.assign(mirrored=is_mirrored, cut_a=cut, cut_b=CUTS[two]))
    nearest = pd.concat(tables).sort_values(["a", "b", "distance"], kind="stable")
    return nearest.drop_duplicates(["a", "b"], ignore_index=True)


def nearest_first(ours: Hashes, theirs: Hashes, *, radius: int) -> list[tuple[int, int, int]]:
    """Return rows of the first and of the second set that are near, and the bits, nearest first."""
    near = hash_matches(ours, theirs, radius=radius)
    near = near.sort_values("distance", kind="stable")[["a", "b", "distance"]]
    return [(a, b, bits) for a, b, bits in near.to_numpy(dtype=np.int64).tolist()]


# --- near hashes ----------------------------------------------------------------------------------


def near_pairs(
    a: Hashes, b: Hashes | None = None, *, radius: int = RADIUS, workers: int | None = None
) -> pd.DataFrame:
    """Return the pairs of hashes, uint64 (N, 4), that differ in few bits, or in nearly all.

    Columns a, b: rows of the first and of the second set, in this order; distance: bits in which
    the two differ, or one from the other's complement; inverted: whether it is the complement.

    Up to a hundred million comparisons (14,000 hashes in one set) the answer is exact. Beyond, it
    is exact up to `GUARANTEED` bits, and nearly complete above; no pair is ever wrong.
    """
    for hashes in (a,) if b is None else (a, b):
        if hashes.ndim != 2 or hashes.shape[1] != WORDS or hashes.dtype != np.uint64:
            raise ValueError(
                f"hashes have shape {hashes.shape} and type {hashes.dtype}; give uint64, (N, 4)."
            )
    if not 0 <= radius < BITS // 2:
        raise ValueError(f"radius is {radius}; two hashes are near within 0 to 127 bits.")
    if len(a) * len(a if b is None else b) <= _EACH_WITH_EACH:
        return _collected(_each_with_each(a, b, radius))
    return _banded(a, b, radius, workers)


def _each_with_each(a: Hashes, b: Hashes | None, radius: int) -> Iterator[_Pairs]:
    other = a if b is None else b
    structured = np.asarray(other.any(axis=1))
    columns = [np.ascontiguousarray(other[:, word]) for word in range(WORDS)]
    for start in range(0, len(a), _BLOCK):
        first = start if b is None else 0  # the pairs before it were seen from the other side
        rows = a[start : start + _BLOCK]
        apart = np.zeros((len(rows), len(other) - first), dtype=np.uint16)
        for word, column in enumerate(columns):
            apart += np.bitwise_count(rows[:, word, None] ^ column[None, first:])
        near = (apart <= radius) | (apart >= BITS - radius)
        near &= np.outer(rows.any(axis=1), structured[first:])
        i, j = np.nonzero(near)
        apart = apart[i, j]
        i, j = i + start, j + first
        if b is None:
            i, j, apart = i[i < j], j[i < j], apart[i < j]
        yield i, j, apart


def _collected(parts: Iterable[_Pairs]) -> pd.DataFrame:
    """Return all pairs once, in order."""
    none = np.zeros(0, dtype=np.int64)
    a, b, differ = map(np.concatenate, zip((none, none, none), *parts, strict=True))
    nearer = np.minimum(differ, BITS - differ)
    pairs = pd.DataFrame({"a": a, "b": b, "distance": nearer, "inverted": differ > BITS // 2})
    return pairs.drop_duplicates(["a", "b"]).sort_values(["a", "b"], ignore_index=True)


def _banded(a: Hashes, b: Hashes | None, radius: int, workers: int | None) -> pd.DataFrame:
    rows_a = np.flatnonzero(a.any(axis=1))
    rows_b = rows_a if b is None else np.flatnonzero(b.any(axis=1))
    a = a[rows_a]
    b = None if b is None else b[rows_b]

    def one(band: tuple[int, NDArray[np.int64]]) -> list[_Pairs]:
        return list(_in_buckets(a, b, *band, radius))

    with ThreadPoolExecutor(workers or processors()) as pool:
        parts = [part for band in pool.map(one, _bands()) for part in band]
    pairs = _collected(parts)
    return pairs.assign(a=rows_a[pairs["a"]], b=rows_b[pairs["b"]])


def _bands() -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the word and the bits in it that make each band.

    The bits of one word are uncorrelated, so buckets are even.
    """
    rng = np.random.default_rng(256)
    for _ in range(_PARTITIONS):
        for word in range(WORDS):
            for bits in rng.permutation(64).reshape(-1, _BAND):
                yield word, bits


def _keys(words: Hashes, bits: NDArray[np.int64]) -> NDArray[np.uint16]:
    keys = np.zeros(len(words), dtype=np.uint16)
    for place, bit in enumerate(bits):
        keys |= ((words >> np.uint64(bit)).astype(np.uint16) & np.uint16(1)) << np.uint16(place)
    # An inverted image has all of them exchanged, and is to lie in the same bucket.
    keys[keys & np.uint16(1) == 1] ^= np.uint16((1 << _BAND) - 1)
    return keys


def _in_buckets(
    a: Hashes, b: Hashes | None, word: int, bits: NDArray[np.int64], radius: int
) -> Iterator[_Pairs]:
    keys_a = _keys(a[:, word], bits)
    order_a = np.argsort(keys_a, kind="stable")
    keys_a = keys_a[order_a]
    keys_b = keys_a if b is None else _keys(b[:, word], bits)
    order_b = order_a if b is None else np.argsort(keys_b, kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(keys_b, minlength=1 << _BAND))])
    begin = np.arange(1, len(a) + 1) if b is None else edges[keys_a]
    end = edges[keys_a.astype(np.intp) + 1]
    # The words that the band does not look at rule out nearly every pair.
    others = [each for each in range(WORDS) if each != word]
    words_a = [a[order_a, other] for other in others]
    words_b = words_a if b is None else [b[order_b, other] for other in others]
    # Near is what differs in few of their 192 bits, or in nearly all: a byte below zero is large.
    between, floor = np.uint8(radius + 1), np.uint8(max(0, 64 * len(others) - 2 * radius - 1))
    # In pieces that stay in the processor's cache: first each row with the first of its bucket,
    # then with the second, and so on until no bucket is left.
    for start in range(0, len(a), _PIECE):
        left = end[start : start + _PIECE] - begin[start : start + _PIECE]
        largest_first = np.argsort(-left, kind="stable")
        i = start + largest_first
        first = begin[i]
        mine = [column[i] for column in words_a]
        has_more = np.searchsorted(-left[largest_first], -np.arange(left.max(initial=0)))
        for further, n in enumerate(has_more.tolist()):
            j = first[:n] + further
            apart = np.zeros(n, dtype=np.uint8)
            for own, other in zip(mine, words_b, strict=True):
                apart += np.bitwise_count(own[:n] ^ other[j])
            near = np.flatnonzero(apart - between >= floor)
            if not len(near):
                continue
            one, two = order_a[i[near]], order_b[j[near]]
            differ = np.bitwise_count(a[one] ^ (a if b is None else b)[two])
            exact = differ.sum(axis=1, dtype=np.int64)
            near = np.flatnonzero((exact <= radius) | (exact >= BITS - radius))
            if len(near):
                one, two = one[near], two[near]
                if b is None:
                    one, two = np.minimum(one, two), np.maximum(one, two)
                yield one, two, exact[near]
