"""Copies are found through what re-packaging does to them, and other chests are not."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.copies import finder as duplicates
from hurdles.copies import products
from hurdles.copies.finder import COLUMNS, candidates, matches
from hurdles.copies.similarity import Thumbnail, aligned_similarity, central, prints
from hurdles.data.manifest import Manifest
from hurdles.phantom.cohort import write_phantom
from hurdles.pixels.cache import Prepared


def collection(pixels, prefix="i") -> Prepared:
    names = [f"{prefix}{n}" for n in range(len(pixels))]
    rows = {"image": names, "path": [f"/{n}.png" for n in names], "label": "chest"}
    return Prepared(Manifest(pd.DataFrame(rows)), np.stack(pixels))


@pytest.fixture(scope="module")
def chests(tmp_path_factory) -> np.ndarray:
    """Return 40 phantom chests of 128 pixels, with vessels of their own.

    The phantom's anatomy alone differs less between patients than that of real ones does.
    """
    folder = tmp_path_factory.mktemp("chests")
    manifest = write_phantom(folder, 40, seed=3, size=128)
    rows = manifest.frame.drop_duplicates("patient")["path"]
    assert len(rows) == 40
    rng = np.random.default_rng(0)
    vessels = [cv2.GaussianBlur(rng.normal(size=(128, 128)), (0, 0), 2.5) for _ in rows]
    made = [
        cv2.imread(path, cv2.IMREAD_GRAYSCALE) * 0.8 + 25 + 12 * own / own.std()
        for path, own in zip(rows, vessels, strict=True)
    ]
    return np.uint8(np.clip(made, 0, 255))


def jpeg(image, quality):
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


def resized(image, size):
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def gamma(image, power):
    return np.uint8(255 * (image / 255.0) ** power)


def cropped(image, top, bottom, left, right):
    n = len(image)
    part = image[int(top * n) : n - int(bottom * n), int(left * n) : n - int(right * n)]
    return cv2.resize(part, (n, n), interpolation=cv2.INTER_LINEAR)


def rotated(image, degrees):
    middle = (len(image) - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), degrees, 1)
    return cv2.warpAffine(image, turn, image.shape, borderMode=cv2.BORDER_REPLICATE)


def marked(image):
    drawn = image.copy()
    cv2.putText(drawn, "R", (8, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 255, 2)
    cv2.arrowedLine(drawn, (90, 40), (66, 62), 255, 2)
    return drawn


ALTERATIONS = {
    "same": lambda x: x,
    "smaller": lambda x: resized(resized(x, 70), 128),
    "jpeg": lambda x: jpeg(x, 30),
    "gamma": lambda x: gamma(x, 0.6),
    "contrast": lambda x: np.uint8(30 + 0.6 * x),
    "inverted": lambda x: 255 - x,
    "crop": lambda x: cropped(x, 0.06, 0.02, 0.05, 0.03),
    "large crop": lambda x: cropped(x, 0.1, 0.08, 0.09, 0.1),
    "one side": lambda x: cropped(x, 0, 0, 0.1, 0),
    "rotated": lambda x: rotated(x, 2),
    "marked": marked,
    "mirrored": lambda x: np.ascontiguousarray(x[:, ::-1]),
    "all of it": lambda x: 255 - jpeg(resized(gamma(cropped(x, *[0.05] * 4), 1.5), 100), 40),
}


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS)
def test_altered_copies_are_found_and_nothing_else_is(chests, alter):
    copies = np.stack([resized(alter(x), 128) for x in chests[:8]])
    found = matches(collection(copies, "copy"), collection(chests))
    assert list(found.columns) == list(COLUMNS)
    assert set(zip(found["image_a"], found["image_b"], strict=True)) == {
        (f"copy{n}", f"i{n}") for n in range(8)
    }


@pytest.mark.parametrize("name", ["inverted", "all of it", "jpeg"])
def test_inversion_is_told(chests, name):
    copies = np.stack([resized(ALTERATIONS[name](x), 128) for x in chests[:4]])
    found = matches(collection(copies, "copy"), collection(chests))
    assert found["inverted"].tolist() == [name != "jpeg"] * 4


def slow_matches(a, b, threshold=duplicates.THRESHOLD):
    """Lay every image over every other, turned in every way, from three sizes; no gate."""
    found = set()
    for (i, one), (j, two) in itertools.product(enumerate(a), enumerate(b)):
        ways = itertools.product((False, True), (False, True), (1, 0.84, 1 / 0.84))
        alike = [
            aligned_similarity(
                Thumbnail.of(one),
                Thumbnail.of(two).turned(inverted=inverted, mirrored=mirrored),
                scale,
            )
            for inverted, mirrored, scale in ways
        ]
        if max(alike) >= threshold:
            found.add((f"a{i}", f"b{j}"))
    return found


def test_the_search_finds_what_the_slow_way_finds(chests):
    a = chests[:6]
    b = np.stack(
        [resized(alter(chests[n % 8]), 128) for n, alter in enumerate(ALTERATIONS.values())]
    )
    found = matches(collection(a, "a"), collection(b, "b"))
    pairs = set(zip(found["image_a"], found["image_b"], strict=True))
    assert pairs == slow_matches(a, b)
    assert len(pairs) > 8


@pytest.mark.parametrize("name", [name for name in ALTERATIONS if name != "one side"])
def test_hashes_let_the_same_copies_through(chests, name):
    copies = np.stack([resized(ALTERATIONS[name](x), 128) for x in chests[:8]])
    found = matches(collection(copies, "copy"), collection(chests), hashed=True)
    pairs = set(zip(found["image_a"], found["image_b"], strict=True))
    assert pairs == {(f"copy{n}", f"i{n}") for n in range(8)}


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("within", [True, False])
def test_mirrored_copies_are_found_where_asked_for(chests, hashed, within):
    copies = np.stack([jpeg(255 - x[:, ::-1], 50) for x in chests[:5]])
    sets = (collection(copies, "copy"), collection(chests))
    if within:
        sets = (collection([*chests[:9], *copies]),)
    assert matches(*sets, hashed=hashed, mirrored=False).empty
    found = matches(*sets, hashed=hashed)
    assert len(found) == 5
    assert found["mirrored"].all()
    assert found["inverted"].all()


def test_large_sets_are_hashed(chests, monkeypatch):
    copies = collection(np.stack([jpeg(x, 60) for x in chests[:4]]), "copy")
    monkeypatch.setattr(duplicates, "_candidates", None)
    with pytest.raises(TypeError, match="not callable"):
        matches(copies, collection(chests))
    monkeypatch.setattr(duplicates, "_MANY_PAIRS", 100)
    assert len(matches(copies, collection(chests))) == 4


@pytest.mark.parametrize("crop_first", [True, False])
def test_either_of_the_two_may_be_the_crop(chests, crop_first):
    crops = np.stack([cropped(x, *[0.1] * 4) for x in chests[:6]])
    sets = collection(crops, "crop"), collection(chests[:6], "whole")
    found = matches(*(sets if crop_first else sets[::-1]))
    assert len(found) == 6


def test_within_one_set_each_pair_stands_once(chests):
    pixels = np.concatenate([chests[:10], [255 - chests[4]], chests[7:8]])
    found = matches(collection(pixels))
    pairs = list(zip(found["image_a"], found["image_b"], found["inverted"], strict=True))
    assert sorted(pairs) == [("i4", "i10", True), ("i7", "i11", False)]


def test_other_chests_are_no_copies(chests):
    assert matches(collection(chests)).empty
    some, others = collection(chests[:20]), collection(chests[20:], "o")
    assert matches(some, others).empty
    # The guard is the alignment's threshold: without it there is a false pair.
    assert len(matches(some, others, threshold=0.2))


def slow_candidates(a, b, gate):
    """Compare every pair of views, one by one, without what all share being taken out."""

    def view(image, cut):
        small = central(image, 0, 24, sides=cut).ravel()
        small = small - small.mean()
        return small / np.linalg.norm(small)

    found = set()
    for i, one in enumerate(prints(a)):
        for j, two in enumerate(prints(b)):
            ways = [[0.04] * 4, [0.08] * 4, *(0.08 * np.eye(4))]
            cuts = [
                ([0] * 4, [0] * 4),
                *(([0] * 4, w) for w in ways),
                *((w, [0] * 4) for w in ways),
            ]
            best = max(abs(view(one, p) @ view(two, q)) for p, q in cuts)
            if best >= gate:
                found.add((i, j))
    return found


def test_the_matrix_products_find_what_the_slow_way_finds(chests, monkeypatch):
    monkeypatch.setattr(products, "_CHUNK", 5)  # several chunks, the last not full
    monkeypatch.setattr(duplicates, "_LOW_GATE", 1.0)
    a, b = chests[:12], np.concatenate([chests[8:20], 255 - chests[:3]])
    assert len(a) + len(b) < duplicates._IMAGES_FOR_ONE  # nothing is shared by so few
    for gate in (0.5, 0.7, 0.9):
        found = {(p.a, p.b) for p in candidates(a, b, gate=gate)}
        assert found == slow_candidates(a, b, gate)
    within = {(p.a, p.b) for p in candidates(a, gate=0.5)}
    assert within == {(i, j) for i, j in slow_candidates(a, a, 0.5) if i < j}


def test_a_pair_stands_with_its_best_way(chests, monkeypatch):
    """The slow way: a product for each pair and way; the first of equals."""
    monkeypatch.setattr(products, "_TILE", 7)
    monkeypatch.setattr(products, "_CHUNK", 5)
    a, b = (duplicates._views(each) for each in (chests[:12], cropped_all(chests[:20], 0.06)))
    for pair in duplicates._candidates(a, b, 0.3, within=False):
        ways = {
            (p, q): float(duplicates._units(a[p])[pair.a] @ duplicates._units(b[q])[pair.b])
            for p, q in duplicates._WAYS
        }
        best = max(ways, key=lambda way: abs(ways[way]))
        assert (pair.sides_a, pair.sides_b) == best
        assert pair.correlation == pytest.approx(ways[best], abs=1e-5)


def test_views_are_central_parts_of_prints(chests):
    for pixels in (chests[:4], np.random.default_rng(0).integers(0, 256, (3, 80, 80), np.uint8)):
        views = duplicates._views(pixels)
        mirrored = duplicates._mirrored(views)
        for sides in views:
            for made, images in ((views, pixels), (mirrored, pixels[:, :, ::-1])):
                rows = np.stack([central(x, 0, 24, sides=sides).ravel() for x in prints(images)])
                rows -= rows.mean(axis=1, keepdims=True)
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
                assert made[sides] == pytest.approx(rows, abs=1e-5)


def test_coarse_prints_lose_no_copy(chests):
    """The slow way: full products alone."""
    copies = [resized(alter(chests[n % 8]), 128) for n, alter in enumerate(ALTERATIONS.values())]
    views = duplicates._views(np.stack([*chests, *copies]))

    def found(coarse):
        pairs = duplicates._candidates(views, None, duplicates.GATE, within=True, coarse=coarse)
        return {(pair.a, pair.b): pair for pair in pairs}

    full, coarse = found(False), found(True)
    assert coarse.keys() <= full.keys()
    for rows, pair in full.items():
        if abs(pair.correlation) > 0.6:
            assert coarse[rows][3:] == pair[3:]
            assert coarse[rows].correlation == pytest.approx(pair.correlation, abs=1e-5)


def test_what_is_told_to_be_less_similar_is_less(chests):
    some = [Thumbnail.of(image) for image in chests[:12]]
    some += [Thumbnail.of(resized(alter(chests[0]), 128)) for alter in ALTERATIONS.values()]
    for one, two in itertools.combinations(some, 2):
        similarity = aligned_similarity(one, two)
        early = aligned_similarity(one, two, least=duplicates.LIKELY)
        assert early == similarity or max(early, similarity) < duplicates.LIKELY


def test_taking_out_what_all_share_leaves_few_pairs_to_align(chests, monkeypatch):
    pixels = np.concatenate([chests, cropped_all(chests, 0.03)])
    monkeypatch.setattr(duplicates, "_IMAGES_FOR_ONE", 20)
    few = candidates(pixels, gate=0.6)
    monkeypatch.setattr(duplicates, "_SHARED", 0)
    many = candidates(pixels, gate=0.6)
    copies = {(i, i + len(chests)) for i in range(len(chests))}
    assert copies <= {(p.a, p.b) for p in few}
    assert len(few) < len(many) / 2


@pytest.mark.parametrize("threshold", [duplicates.LIKELY, duplicates.THRESHOLD])
def test_what_is_not_close_is_no_copy(chests, threshold):
    """The slow way: all likely pairs aligned, as below the thresholds."""
    copies = [resized(alter(chests[n % 8]), 128) for n, alter in enumerate(ALTERATIONS.values())]
    images = collection([*chests[:16], *copies])
    every = matches(images, threshold=0.5)
    pd.testing.assert_frame_equal(
        every[every["similarity"] >= threshold], matches(images, threshold=threshold)
    )


def cropped_all(images, cut):
    return np.stack([cropped(x, *[cut] * 4) for x in images])


def test_an_image_that_fills_the_set_is_found_all_the_same(chests, monkeypatch):
    """It becomes what all share: only the comparison as they are still knows it."""
    monkeypatch.setattr(duplicates, "_IMAGES_FOR_ONE", 10)
    copies = np.stack([jpeg(chests[0], q) for q in range(31, 91)])
    pixels = np.concatenate([chests, copies])
    pairs = 61 * 60 // 2
    assert len(matches(collection(pixels), hashed=False)) == pairs
    monkeypatch.setattr(duplicates, "_PLAIN_GATE", 2.0)
    monkeypatch.setattr(duplicates, "_SECOND_GATE", 2.0)
    assert len(matches(collection(pixels), hashed=False)) < pairs


@given(st.integers(0, 39), st.floats(0.5, 2), st.floats(0.3, 1), st.booleans())
@settings(max_examples=25, deadline=None)
def test_prints_see_no_tone_curve(chests, n, power, contrast, invert):
    image = chests[n]
    curve = np.linspace(0, 1, 256) ** power * contrast * 200
    changed = np.float32(curve[image])  # rising, but several grey values may fall together
    changed = np.uint8(np.rint(200 - changed if invert else changed))
    plain, other = prints(np.stack([image, changed]))
    correlation = np.corrcoef(plain.ravel(), other.ravel())[0, 1]
    assert (correlation < -0.95) if invert else (correlation > 0.95)


def test_flat_images_match_nothing_not_even_each_other(chests):
    flat = np.full((3, 128, 128), 90, dtype=np.uint8)
    assert matches(collection(flat)).empty
    assert matches(collection(flat), collection(chests)).empty
    look = Thumbnail.of(flat[0])
    assert aligned_similarity(look, look) == 0


def test_a_map_that_leaves_too_little_is_not_believed(chests):
    one = resized(chests[0], 64)
    half = cv2.resize(one[:32, :32], (64, 64))
    assert aligned_similarity(Thumbnail.of(half), Thumbnail.of(one), 0.5) == 0


def test_progress_ends_at_the_number_of_likely_pairs(chests):
    told = []
    matches(collection(chests[:6]), collection(chests[:6], "o"), progress=lambda *x: told.append(x))
    assert told
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))


def test_empty_sets_have_no_pairs(chests):
    empty = Prepared(Manifest(pd.DataFrame({"image": [], "path": [], "label": []})), chests[:0])
    assert matches(empty).empty
    assert list(matches(empty, collection(chests)).columns) == list(COLUMNS)


def test_small_images_and_strange_thresholds_are_refused(chests):
    small = collection(chests[:2, :63, :63])
    with pytest.raises(ValueError, match=r"\(2, 63, 63\).*prepare them with size=64"):
        matches(small)
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="a similarity is above 0"):
            matches(collection(chests[:2]), threshold=threshold)


@pytest.mark.realdata
@pytest.mark.full
def test_the_named_copies_of_kermanys_images_are_all_found(tmp_path):
    """The workbook of the Radiography Database names the file of every viral pneumonia."""
    from hurdles.data.sources import COLLECTIONS
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    root = os.environ.get("HURDLES_DATA")
    folders = ("COVID-19 Radiography Database", "chest_xray")
    if not root or not all((Path(root) / f).is_dir() for f in folders):
        pytest.skip("$HURDLES_DATA does not hold the Radiography Database and chest_xray")
    ours = COLLECTIONS.get("radiography-database").read(Path(root) / folders[0])
    theirs = COLLECTIONS.get("kermany").read(Path(root) / folders[1])
    viral = ours.frame["label"] == "Viral Pneumonia"
    ours = ours.select(viral & (np.arange(len(ours)) % 4 == 0))
    theirs = theirs.select(theirs.frame["label"] != "Normal")
    a, b = (prepare(m, Preparation(size=64), cache=tmp_path) for m in (ours, theirs))
    found = matches(a, b)
    frame = a.manifest.frame
    named = {(i, Path(o).stem) for i, o in zip(frame["image"], frame["original"], strict=True)}
    told = {(i, Path(t).stem) for i, t in zip(found["image_a"], found["image_b"], strict=True)}
    assert named <= told
    assert len(told - named) <= 0.02 * len(named)  # Kermany's own doubles
