"""Images that stand in two collections, or twice in one: found by what they show.

Public collections are re-packaged: resized, compressed again, cropped, brightened, inverted,
renamed. So neither names nor hashes of files find the copies, and a simple thumbnail finds too
much, since all chests look alike. Every image is turned into a *print* first, in which each pixel
is compared with its neighbors only. Stage one takes out what all prints share (every chest has
ribs), compares small ones of all pairs, whole and cropped, by matrix products and lets the likely
pairs through, generously; in large sets, hashes of prints do that (`hurdles.copies.similarity`).
Where only copies are asked for, coarse prints leave out nearly all pairs before that.
Pairs that no small map makes alike are left out, many at once (`hurdles.copies.closeness`). Stage
two lays two images over one another as well as an affine map can and correlates what overlaps
(`hurdles.copies.similarity`).

This is the one search for copies: training, testing, audits, checks, lineage and studies call it,
and take a pair of `THRESHOLD` for one radiograph; a finding asks for more where many are alike.
`bench/twins.py`, `bench/near_duplicates.py` and `bench/look_alikes.py` measure how many planted and
real copies are found, and how many other pairs are taken for copies.

`Copies` are the pairs among the images of one experiment: kept together where it is split, named
where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.copies.closeness import closeness
from hurdles.copies.products import Pairs, above, correlations_of, joined, where
from hurdles.copies.similarity import (
    BITS,
    PRINT_SIZE,
    RADIUS,
    Thumbnail,
    aligned_similarity,
    central,
    hash_matches,
    image_hashes,
    prints,
)
from hurdles.data.files import write_text
from hurdles.data.manifest import JOINED, Manifest
from hurdles.data.untrusted import as_csv, from_cells
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError
from hurdles.progress import one_blas_thread, processors

#: The columns of the table that `matches` returns.
COLUMNS: dict[str, str] = {
    "image_a": "name of an image of the first set",
    "image_b": "name of the image that shows the same radiograph",
    "similarity": "correlation of the two prints where they overlap once aligned, up to 1",
    "inverted": "true where bright and dark are exchanged",
    "mirrored": "true where left and right are exchanged",
}

_TYPES = {"image_a": "str", "image_b": "str", "similarity": "float64"}
_TYPES |= {"inverted": "bool", "mirrored": "bool"}

#: Pairs at least this similar are taken for one radiograph. Two real persons reach 0.974. Drawn
#: chests are more alike: in four of ten cohorts of 700 patients a pair lies beyond, which is why
#: the hurdle `duplicates` asks for more where many are nearly as alike.
#: docs/results/bench-near-duplicates.txt and look-alikes.txt show what is found.
THRESHOLD = 0.982

#: Pairs from here on are shown to be looked at: copies with much cut off or drawn upon, or one
#: person twice.
LIKELY = 0.96

#: Above this many pairs hashes take the place of matrix products, which would need minutes then.
_MANY_PAIRS = 200_000_000
#: Bits of 256 in which the hashes of a likely pair may differ, where each is compared with each; a
#: large set has its own limit, `hurdles.copies.similarity.RADIUS`.
_HASH_GATE = 72

#: Pairs whose small prints correlate less, what all chests share taken out, are not aligned;
#: unless they reach the lower gate, and as they are, with what all share, the second.
GATE = 0.45
_LOW_GATE = 0.33
_SECOND_GATE = 0.72

#: The same for small prints as they are. Where one image fills a good part of a set, it becomes
#: something that all share, and would vanish from the comparison above.
_PLAIN_GATE = 0.88

#: Less close pairs (`hurdles.copies.closeness`) are not aligned where only pairs of such a
#: similarity or more are asked for; unless, as they are, they reach the plain gate. Of 2,825
#: copies in five collections the least close has 0.53, of 31 likely pairs 0.36, and of 4,477
#: planted copies (cropped, rotated by up to four degrees, drawn upon, mirrored, inverted,
#: compressed) 0.46.
_CLOSE = {THRESHOLD: 0.4, LIKELY: 0.32}
#: Directions that closeness leaves out: more than the comparison of all pairs does.
_LEFT_OUT = 64

#: Where only such pairs are asked for, those whose coarse prints correlate less in every way are
#: not compared in full. Coarse prints are what small prints are along the directions in which they
#: differ most. Of the pairs above the least alike reach 0.57, 0.47 and 0.42; at 0.38 along 96
#: directions, two of 2,270 pairs with planted copies were lost.
_COARSE_GATE = 0.35
_COARSE = 128

#: Share cut off each side of one image before the comparison: a crop of up to about twice as much
#: on any side still passes the gate.
_CROPS = (0.04, 0.08)
#: Share cut off one side alone.
_SIDE = 0.08
_SMALL = 24
_CHUNK = 512
#: How many directions are taken for what all chests share, and images needed for each of them.
_SHARED = 16
_IMAGES_FOR_ONE = 64

#: Shares cut off above, below, left and right.
_Cut: TypeAlias = tuple[float, float, float, float]
#: Unit vectors of shape (N, 576), one table for each way to cut.
_Views: TypeAlias = dict[_Cut, NDArray[np.float32]]
_WHOLE: _Cut = (0.0, 0.0, 0.0, 0.0)
_CUTS: tuple[_Cut, ...] = (
    *((cut, cut, cut, cut) for cut in _CROPS),
    (_SIDE, 0.0, 0.0, 0.0),
    (0.0, _SIDE, 0.0, 0.0),
    (0.0, 0.0, _SIDE, 0.0),
    (0.0, 0.0, 0.0, _SIDE),
)
#: How two images are compared: wholes, and the whole of either with each part of the other.
_WAYS = ((_WHOLE, _WHOLE), *((_WHOLE, cut) for cut in _CUTS), *((cut, _WHOLE) for cut in _CUTS))


class Images(Protocol):
    """A manifest with its pixels: `hurdles.pixels.cache.Prepared`, or what a hurdle is given."""

    @property
    def manifest(self) -> Manifest:
        """One row per image."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Of shape (N, size, size), 64x64 or more, prepared ``raw``."""


def matches(
    a: Images,
    b: Images | None = None,
    *,
    threshold: float = THRESHOLD,
    mirrored: bool = True,
    hashed: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Return the pairs of images that show one and the same radiograph.

    Resizing, JPEG, brightness, contrast, gamma, inversion, mirroring and crops of up to about a
    tenth of a side are seen through; so are rotations by a few degrees, and arrows and letters that
    were drawn in. Two radiographs of one patient in one position a moment apart may pass as copies.

    Without `b`, the pairs within `a` are returned, each once, the earlier row first. Columns are
    those of `COLUMNS`, most similar first; an image may stand in several rows.

    Pixels are of 64x64 or more, prepared in the same way, best ``raw``; the threshold is the
    smallest similarity, within (0, 1]. Likely pairs are found by matrix products, or, if `hashed`,
    by their hashes, which misses one in five of those that were cropped unevenly; if not given,
    hashes are used from 200 million pairs on. `progress` is called with the number of likely pairs
    aligned so far and that of all.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a similarity is above 0 and at most 1.")
    other = a if b is None else b
    pixels = a.pixels, None if b is None else b.pixels
    likely = _likely(*pixels, mirrored, hashed, least=threshold)
    # Of all images they would need gigabytes in large collections.
    rows_a, rows_b = {pair.a for pair in likely}, {pair.b for pair in likely}
    if b is None:
        rows_a = rows_b = rows_a | rows_b
    small_a = _thumbnails(a.pixels, rows_a)
    small_b = small_a if b is None else _thumbnails(other.pixels, rows_b)

    def similarity(pair: Candidate) -> float:
        scale = (1 - 2 * pair.cut_b) / (1 - 2 * pair.cut_a)
        turned = small_b[pair.b].turned(inverted=pair.correlation <= 0, mirrored=pair.mirrored)
        return aligned_similarity(small_a[pair.a], turned, scale, least=threshold)

    names_a, names_b = (
        a.manifest.frame["image"].to_numpy(),
        other.manifest.frame["image"].to_numpy(),
    )
    rows = []
    with ThreadPoolExecutor(processors()) as pool:
        pairs = zip(likely, pool.map(similarity, likely), strict=True)
        for done, (pair, alike) in enumerate(pairs, start=1):
            if alike >= threshold:
                inverted = pair.correlation < 0
                rows.append((names_a[pair.a], names_b[pair.b], alike, inverted, pair.mirrored))
            if progress:
                progress(done, len(likely))
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(_TYPES)
    order = ["similarity", "image_a", "image_b", "mirrored"]
    table = table.sort_values(order, ascending=[False, True, True, True], ignore_index=True)
    # An image and its mirror image may both resemble a third.
    return table.drop_duplicates(["image_a", "image_b"], ignore_index=True)


def _thumbnails(pixels: NDArray[np.uint8], rows: set[int]) -> dict[int, Thumbnail]:
    with ThreadPoolExecutor(processors()) as pool:
        made = pool.map(lambda row: Thumbnail.of(pixels[row]), rows)
        return dict(zip(rows, made, strict=True))


# --- likely pairs --------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """Two rows worth aligning, and the correlation of their small prints, negative if inverted."""

    a: int
    b: int
    correlation: float
    cut_a: float = 0.0  # share cut off each side of either image for this correlation
    cut_b: float = 0.0
    mirrored: bool = False  # whether left and right of b are to be exchanged
    sides_a: _Cut = _WHOLE  # the same as cut_a, side by side
    sides_b: _Cut = _WHOLE


def _likely(
    a: NDArray[np.uint8],
    b: NDArray[np.uint8] | None,
    mirrored: bool,
    hashed: bool | None,
    *,
    least: float = 0.0,
) -> list[Candidate]:
    if hashed if hashed is not None else len(a) * len(a if b is None else b) > _MANY_PAIRS:
        return hashed_candidates(a, b, mirrored=mirrored)
    close = next((close for similarity, close in _CLOSE.items() if least >= similarity), None)
    views_a = _views(a)
    views_b = None if b is None else _views(b)
    pairs = _candidates(views_a, views_b, GATE, within=b is None, coarse=close is not None)
    flipped = None
    if mirrored:
        flipped = _mirrored(views_a if views_b is None else views_b)
        known = {(pair.a, pair.b): abs(pair.correlation) for pair in pairs}
        pairs += [
            pair._replace(mirrored=True)
            for pair in _candidates(
                views_a, flipped, GATE, within=b is None, coarse=close is not None
            )
            if abs(pair.correlation) > known.get((pair.a, pair.b), 0.0)
        ]
    return pairs if close is None else _close(pairs, views_a, views_b, flipped, close)


def _close(
    pairs: list[Candidate],
    views_a: _Views,
    views_b: _Views | None,
    flipped: _Views | None,
    close: float,
) -> list[Candidate]:
    """Return the pairs that a small affine map may make one; the others are not worth aligning."""
    shared = _shared(views_a, views_b, most=_LEFT_OUT)
    others = {False: views_a if views_b is None else views_b, True: flipped or {}}

    def some(start: int) -> list[Candidate]:
        part = pairs[start : start + _CHUNK]
        x = np.stack([views_a[pair.sides_a][pair.a] for pair in part])
        y = np.stack([others[pair.mirrored][pair.sides_b][pair.b] for pair in part])
        kept = closeness(x, y, shared) >= close
        kept |= np.abs(np.einsum("ij,ij->i", x, y)) >= _PLAIN_GATE
        return [pair for pair, is_kept in zip(part, kept, strict=True) if is_kept]

    with one_blas_thread(), ThreadPoolExecutor(processors()) as pool:
        return [pair for part in pool.map(some, range(0, len(pairs), _CHUNK)) for pair in part]


def candidates(
    a: NDArray[np.uint8], b: NDArray[np.uint8] | None = None, *, gate: float = GATE
) -> list[Candidate]:
    """Return the pairs worth aligning: those whose small prints correlate, or anti-correlate.

    Pixels are uint8 (N, size, size) of 64x64 or more; without `b`, pairs within `a` with the first
    row before the second. Each pair stands once, in the order of rows; its correlation reaches the
    gate, within [0, 1].
    """
    return _candidates(_views(a), None if b is None else _views(b), gate, within=b is None)


def _candidates(
    plain_a: _Views, plain_b: _Views | None, gate: float, *, within: bool, coarse: bool = False
) -> list[Candidate]:
    """Return the likely pairs of two sets; if `within`, those whose row of b is the later one."""
    shared = _shared(plain_a, plain_b)
    views_a = _without(plain_a, shared)
    views_b = views_a if plain_b is None else _without(plain_b, shared)
    plain_b = plain_a if plain_b is None else plain_b
    lower = min(gate, _LOW_GATE)

    def passing(way: int, pairs: Pairs) -> Pairs:
        rows, columns, correlations = where(np.abs(pairs[2]) >= lower, pairs)
        cut_a, cut_b = _WAYS[way]
        kept = np.abs(correlations) >= gate
        weak = np.flatnonzero(~kept)
        plain = correlations_of(plain_a[cut_a], plain_b[cut_b], rows[weak], columns[weak])
        kept[weak] = plain * np.sign(correlations[weak]) >= _SECOND_GATE
        return where(kept, (rows, columns, correlations))

    def compared(way: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Pairs:
        cut_a, cut_b = _WAYS[way]
        found = correlations_of(views_a[cut_a], views_b[cut_b], rows, columns)
        return passing(way, (rows, columns, found))

    ways = range(len(_WAYS))
    n = len(plain_b[_WHOLE])
    if coarse:
        coarse_a, coarse_b = _coarse(views_a, views_b)
        keys = [np.empty(0, dtype=np.int64)]
        for way, (cut_a, cut_b) in enumerate(_WAYS):
            near = above(coarse_a[cut_a], coarse_b[cut_b], _COARSE_GATE, within)
            rows, columns, _ = compared(way, *near[:2])
            keys.append(rows * n + columns)
        rows, columns = np.divmod(np.unique(np.concatenate(keys)), n)
        found = [compared(way, rows, columns) for way in ways]
    else:
        found = [
            passing(way, above(views_a[cut_a], views_b[cut_b], lower, within))
            for way, (cut_a, cut_b) in enumerate(_WAYS)
        ]
    plain = above(plain_a[_WHOLE], plain_b[_WHOLE], _PLAIN_GATE, within)
    every = [*found, plain]
    row, column, correlation = joined(every)
    ways_of = np.repeat([*ways, 0], [len(pairs[0]) for pairs in every])
    # A pair counts as it is only where no comparison without what all share lets it pass.
    strength = np.abs(correlation)
    strength[len(strength) - len(plain[0]) :] = -1
    order = np.lexsort((ways_of, -strength, column, row))
    best = order[np.unique(row[order] * n + column[order], return_index=True)[1]]
    candidates = []
    for i in best.tolist():
        cut_a, cut_b = _WAYS[ways_of[i]]
        shares = sum(cut_a) / 4, sum(cut_b) / 4
        pair = int(row[i]), int(column[i]), float(correlation[i])
        candidates.append(Candidate(*pair, *shares, sides_a=cut_a, sides_b=cut_b))
    return candidates


def _shared(*sets: _Views | None, most: int | None = None) -> NDArray[np.float32]:
    """Return the directions, rows of unit length, that small prints have most in common."""
    wholes = [views[_WHOLE] for views in sets if views is not None]
    most = _SHARED if most is None else most
    return _leading(wholes, min(most, sum(map(len, wholes)) // _IMAGES_FOR_ONE))


def _leading(sets: list[NDArray[np.float32]], count: int) -> NDArray[np.float32]:
    second_moment = np.add.reduce([rows.T @ rows for rows in sets])
    vectors = np.linalg.eigh(second_moment.astype(np.float64))[1]
    return np.asarray(vectors[:, ::-1][:, :count].T, dtype=np.float32)


def _coarse(views_a: _Views, views_b: _Views) -> tuple[_Views, _Views]:
    """Return what small prints are along the directions in which they differ most."""
    # Of each image one of its views, so that those of parts count as much as wholes.
    some = [
        rows[first :: len(views)]
        for views in (views_a, views_b)
        for first, rows in enumerate(views.values())
    ]
    directions = _leading(some, _COARSE)

    def along(views: _Views) -> _Views:
        return {cut: _units(rows @ directions.T) for cut, rows in views.items()}

    coarse_a = along(views_a)
    return coarse_a, coarse_a if views_b is views_a else along(views_b)


def hashed_candidates(
    a: NDArray[np.uint8], b: NDArray[np.uint8] | None = None, *, mirrored: bool = False
) -> list[Candidate]:
    """Return the pairs worth aligning: those whose hashes are near.

    Pixels and result as for `candidates`; the correlation is that of the signs of the hashes' bits.
    """
    many = len(a) * len(a if b is None else b) > _MANY_PAIRS
    near = hash_matches(
        image_hashes(a),
        None if b is None else image_hashes(b),
        radius=RADIUS if many else _HASH_GATE,
        mirrored=mirrored,
    )
    near["correlation"] = (1 - 2 * near["distance"] / BITS) * np.where(near["inverted"], -1, 1)
    columns = ["a", "b", "correlation", "cut_a", "cut_b", "mirrored"]
    return [Candidate(*row) for row in near[columns].itertuples(index=False)]


def _views(pixels: NDArray[np.uint8]) -> _Views:
    """Return the small prints of whole images and of their central parts."""
    cuts = (_WHOLE, *_CUTS)
    views = {cut: np.empty((len(pixels), _SMALL, _SMALL), dtype=np.float32) for cut in cuts}

    def some(start: int) -> None:
        here = slice(start, start + _CHUNK)
        whole = prints(pixels[here])
        for (top, bottom, left, right), made in views.items():
            across = whole.reshape(-1, PRINT_SIZE) @ _averages(left, right).T
            made[here] = _averages(top, bottom) @ across.reshape(-1, PRINT_SIZE, _SMALL)

    with one_blas_thread(), ThreadPoolExecutor(processors()) as pool:
        list(pool.map(some, range(0, len(pixels), _CHUNK)))
    flat = {cut: rows.reshape(-1, _SMALL**2) for cut, rows in views.items()}
    return {cut: _units(rows - rows.mean(axis=1, keepdims=True)) for cut, rows in flat.items()}


@cache
def _averages(before: float, after: float) -> NDArray[np.float32]:
    """Return the weights, shape (24, 64), by which `central` averages a column of a print."""
    lines = np.repeat(np.eye(PRINT_SIZE, dtype=np.float32)[:, :, None], PRINT_SIZE, axis=2)
    sides = (before, after, 0.0, 0.0)
    return np.stack([central(line, 0.0, _SMALL, sides=sides)[:, 0] for line in lines], axis=1)


def _mirrored(views: _Views) -> _Views:
    """Return the small prints of the images with left and right exchanged."""
    return {
        (top, bottom, left, right): np.ascontiguousarray(
            views[top, bottom, right, left].reshape(-1, _SMALL, _SMALL)[:, :, ::-1]
        ).reshape(-1, _SMALL**2)
        for top, bottom, left, right in views
    }


def _units(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    # A print without any structure correlates with nothing.
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-6), dtype=np.float32)


def _without(views: _Views, shared: NDArray[np.float32]) -> _Views:
    # A projection, not a difference from the mean: an inverted print stays the negative of its own.
    return {cut: _units(rows - (rows @ shared.T) @ shared) for cut, rows in views.items()}


# --- copies in an experiment ---------------------------------------------------------------------

_LEARNT = (Split.TRAIN, Split.VALIDATION)
#: Pairs that a sentence names; all of them stand in the table.
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Copies:
    """The pairs of a set's images that show one radiograph, columns as in `COLUMNS`.

    Empty pairs: they were looked for, and there are none.
    """

    pairs: pd.DataFrame

    def __len__(self) -> int:
        return len(self.pairs)

    def save(self, path: str | Path) -> Path:
        """Write the table to `path`, as CSV."""
        write_text(path, as_csv(self.pairs[list(COLUMNS)]))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Copies:
        """Read what `save` wrote; a damaged file is a `ManifestError`."""
        texts = {"image_a": "str", "image_b": "str"}
        try:
            table = from_cells(pd.read_csv(path, dtype=texts, keep_default_na=False))
            return cls(table[list(COLUMNS)].astype(_TYPES))
        except (ValueError, KeyError) as error:
            raise ManifestError(
                f"{path} is damaged ({error}). Run again in another --out to look for copies anew."
            ) from error

    def united(self, manifest: Manifest, *, within_parts: bool = False) -> Manifest:
        """Return the rows with all images of one radiograph as those of one patient.

        Patients who have an image in common become one, and so do those linked through a third. The
        rows of a patient without copies stay as they are, and so does a split of such rows. Within
        parts, copies that stand in two parts of the split are left apart.
        """
        frame = manifest.frame
        groups = manifest.groups
        pairs = self._split_of(manifest)
        if within_parts:
            pairs = pairs[~_differ(pairs)]
        by_image = dict(zip(frame["image"], groups, strict=True))
        one = _joined((by_image[a], by_image[b]) for a, b in _names(pairs))
        if not one:
            return manifest
        # Who reads an error about them is shown no signs that cannot be printed.
        name = groups.map(one).str.replace("\x1f", ": ").str.lstrip("\x1d\x1e")
        changed = name.notna()
        united = frame.assign(
            patient=name.where(changed, frame["patient"]),
            source=frame["source"].where(~changed, None),
        )
        if JOINED in frame:  # such ids are one person already, and named by their group
            united[JOINED] = frame[JOINED].where(~changed, None)
        return replace(manifest, frame=united)

    def known_of(self, manifest: Manifest, part: Split = Split.TEST) -> dict[str, str]:
        """Return the images of a part that show what was learnt from, each with one such image.

        Of the test part these are copies of training or validation images, of the validation part
        of training images.
        """
        learnt = [each for each in _LEARNT if each != part]
        pairs = self._split_of(manifest)
        known: dict[str, str] = {}
        for row in pairs.itertuples():
            if row.split_a == part and row.split_b in learnt:
                known.setdefault(str(row.image_a), str(row.image_b))
            elif row.split_b == part and row.split_a in learnt:
                known.setdefault(str(row.image_b), str(row.image_a))
        return known

    def remarks(self, manifest: Manifest) -> list[str]:
        """Return a sentence for each part of the split that holds copies of images learnt from."""
        so = {
            Split.TEST: "a training or validation image, so the model has seen them and these "
            "numbers are too good",
            Split.VALIDATION: "a training image, so the epoch, and a threshold, were chosen on "
            "images that the model had seen",
        }
        sentences = []
        for part, why in so.items():
            known = self.known_of(manifest, part)
            if known:
                of = int((manifest.frame["split"] == part).sum())
                listed = "; ".join(f"{a} is {b}" for a, b in list(known.items())[:_NAMED])
                more = "; ..." if len(known) > _NAMED else ""
                sentences.append(
                    f"{len(known)} of {of} {part} images show the same radiograph as {why}: "
                    f"{listed}{more}. All pairs stand in copies.csv."
                )
        return sentences

    def lines(self, manifest: Manifest) -> list[str]:
        """Return a report on the way: which copies were kept together, and which were not."""
        pairs = self._split_of(manifest)
        patient = dict(zip(manifest.frame["image"], manifest.groups, strict=True))
        news = [patient[a] != patient[b] for a, b in _names(pairs)]
        together = pairs[~_differ(pairs) & np.array(news, dtype=bool)]
        if together.empty:
            return self.remarks(manifest)
        images = len({*together["image_a"], *together["image_b"]})
        return [
            f"{images} images not known as one patient's show a radiograph that stands in the data "
            f"more than once ({len(together)} pairs in copies.csv); each stays in one part of the "
            "split",
            *self.remarks(manifest),
        ]

    def _split_of(self, manifest: Manifest) -> pd.DataFrame:
        """Return the pairs of which both images are here, with the part of each."""
        where = manifest.frame.set_index("image")["split"]
        here = self.pairs["image_a"].isin(where.index) & self.pairs["image_b"].isin(where.index)
        pairs = self.pairs[here]
        return pairs.assign(
            split_a=where.reindex(pairs["image_a"]).to_numpy(),
            split_b=where.reindex(pairs["image_b"]).to_numpy(),
        )


def _differ(pairs: pd.DataFrame) -> np.ndarray:
    one, two = pairs["split_a"], pairs["split_b"]
    return (one.notna() & two.notna() & (one != two)).to_numpy(dtype=bool)


def _names(pairs: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return zip(pairs["image_a"], pairs["image_b"], strict=True)


def _joined(links: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Return the name that linked groups share: that of the first of them in the alphabet."""
    root: dict[str, str] = {}

    def find(group: str) -> str:
        while root.get(group, group) != group:
            group = root[group]
        return group

    for one, two in links:
        first, second = sorted((find(one), find(two)))
        if first != second:
            root[second] = first
    linked = {*root, *root.values()}
    return {group: find(group) for group in linked}
