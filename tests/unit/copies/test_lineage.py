"""Images are traced to the collection that holds them, by hashes alone."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles.copies.lineage import (
    COLUMNS,
    SUMMARY,
    Fingerprint,
    fingerprint_of,
    lineage,
    shipped_fingerprints,
    summary,
    with_left_out,
)
from hurdles.copies.similarity import CUTS, VIEWS, hash_matches, image_hashes
from hurdles.data.manifest import Manifest, exclusions_table
from hurdles.errors import CollectionError
from hurdles.pixels.cache import Prepared


def collection(pixels, prefix) -> Prepared:
    names = [f"{prefix}{n}" for n in range(len(pixels))]
    rows = {"image": names, "path": [f"/{n}.png" for n in names], "label": "chest"}
    return Prepared(Manifest(pd.DataFrame(rows)), np.stack(pixels))


@pytest.fixture(scope="module")
def chests() -> np.ndarray:
    """Return 60 images that differ as radiographs do: broad shapes, each of its own."""
    rng = np.random.default_rng(0)
    made = [cv2.GaussianBlur(rng.normal(size=(96, 96)), (0, 0), 5) for _ in range(60)]
    return np.stack([cv2.normalize(m, None, 5, 250, cv2.NORM_MINMAX, cv2.CV_8U) for m in made])


def cropped(image, share):
    cut = round(share * len(image))
    part = image[cut : len(image) - cut, cut : len(image) - cut]
    return cv2.resize(part, image.shape, interpolation=cv2.INTER_LINEAR)


def jpeg(image):
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


ALTERATIONS = {
    "same": (np.copy, False, False),
    "jpeg": (jpeg, False, False),
    "tone": (lambda x: np.uint8(255 * (x / 255) ** 0.7), False, False),
    "smaller": (lambda x: cv2.resize(cv2.resize(x, (70, 70)), (96, 96)), False, False),
    "inverted": (lambda x: 255 - x, True, False),
    "mirrored": (lambda x: np.ascontiguousarray(x[:, ::-1]), False, True),
    "both": (lambda x: 255 - x[:, ::-1], True, True),
    "cropped": (lambda x: cropped(x, 0.04), False, False),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_altered_images_are_traced_to_their_collection(chests, name):
    alter, inverted, mirrored = ALTERATIONS[name]
    known = [
        fingerprint_of(collection(chests[:40], "k"), "one"),
        fingerprint_of(collection(chests[40:], "o"), "other"),
    ]
    asked = collection([alter(x) for x in chests[30:36]], "mine")
    found = lineage(asked, known)
    assert list(found.columns) == list(COLUMNS)
    assert found["image"].tolist() == [f"mine{n}" for n in range(6)]
    assert found["theirs"].tolist() == [f"k{n}" for n in range(30, 36)]
    assert set(found["collection"]) == {"one"}
    assert found["inverted"].tolist() == [inverted] * 6
    assert found["mirrored"].tolist() == [mirrored] * 6


def test_a_crop_is_met_by_a_view_and_not_by_the_whole(chests):
    hashes = image_hashes(chests[:10])
    crops = image_hashes(np.stack([cropped(x, CUTS[2]) for x in chests[:10]]))
    found = hash_matches(crops, hashes)
    assert found[["a", "b"]].to_numpy().tolist() == [[n, n] for n in range(10)]
    assert (found["cut_b"] > 0).all()
    assert len(hash_matches(crops[:, [0, 0, 0, 3]], hashes[:, [0, 0, 0, 3]])) < 10


def test_other_images_are_traced_nowhere(chests):
    known = [fingerprint_of(collection(chests[:40], "k"), "one")]
    found = lineage(collection(chests[40:], "mine"), known)
    assert found.empty
    assert list(found.columns) == list(COLUMNS)
    counted = summary(found, 20)
    assert counted.values.tolist() == [["none of these", 20, 0, 1.0, 0, 0]]
    assert list(counted.columns) == list(SUMMARY)
    # The guard is the distance: without it nearly every image would be found.
    assert len(lineage(collection(chests[40:], "mine"), known, radius=125)) == 20


def test_summary_counts_images_once(chests):
    known = [fingerprint_of(collection(chests[:6], "k"), name) for name in ("one", "two")]
    found = lineage(collection([chests[0], 255 - chests[1], chests[50]], "mine"), known)
    counted = summary(found, 3).set_index("collection")
    assert counted["images"].to_dict() == {"one": 2, "two": 2, "none of these": 1}
    assert counted.loc["one", "inverted"] == 1


def test_an_image_without_structure_is_nowhere(chests):
    flat = np.full((2, 96, 96), 90, dtype=np.uint8)
    print_ = fingerprint_of(collection([*flat, chests[0]], "k"), "one")
    assert print_.images == ("k2",)
    assert lineage(collection(flat, "mine"), [print_]).empty


def test_a_fingerprint_is_read_as_it_was_written_and_the_same_each_time(chests, tmp_path):
    known = collection(chests[:5], "Schöne Bilder/")
    paths = [
        fingerprint_of(known, "one", version="2", license="CC BY").save(tmp_path / f"{n}.npz")
        for n in "ab"
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    read = Fingerprint.load(paths[0])
    assert (read.name, read.version, read.license) == ("one", "2", "CC BY")
    assert read.images == tuple(known.manifest.frame["image"])
    assert (read.hashes == image_hashes(known.pixels)[:, : len(CUTS)]).all()
    assert len(VIEWS) == len(CUTS) + 1


def test_an_empty_collection_has_an_empty_fingerprint(tmp_path):
    empty = Prepared(
        Manifest(pd.DataFrame({"image": [], "path": [], "label": []})),
        np.zeros((0, 64, 64), dtype=np.uint8),
    )
    path = fingerprint_of(empty, "none").save(tmp_path / "none.npz")
    assert len(Fingerprint.load(path)) == 0
    assert lineage(empty, [Fingerprint.load(path)]).empty


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_damaged_file_is_refused(chests, tmp_path, share):
    path = fingerprint_of(collection(chests, "k"), "one").save(tmp_path / "one.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CollectionError, match=r"one\.npz is no fingerprint, or a damaged one"):
        Fingerprint.load(path)


def test_a_changed_byte_is_refused(chests, tmp_path):
    path = fingerprint_of(collection(chests, "k"), "one").save(tmp_path / "one.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(CollectionError, match="damaged"):
        Fingerprint.load(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CollectionError, match="is no fingerprint"):
        Fingerprint.load(tmp_path / "missing.npz")
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    with pytest.raises(CollectionError, match="is no fingerprint"):
        Fingerprint.load(tmp_path / "other.npz")
    np.savez(tmp_path / "newer.npz", format=np.array([9]))
    with pytest.raises(CollectionError, match=r"has format 9, this version reads 1"):
        Fingerprint.load(tmp_path / "newer.npz")
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CollectionError, match="is no fingerprint"):
        Fingerprint.load(tmp_path / "object.npy")


def test_names_and_hashes_must_belong_together():
    hashes = np.ones((2, 3, 4), dtype=np.uint64)
    with pytest.raises(CollectionError, match=r"has 1 names and hashes of shape \(2, 3, 4\)"):
        Fingerprint("one", ("a",), hashes)
    with pytest.raises(CollectionError, match="has a line break"):
        Fingerprint("one", ("a", "b\nc"), hashes)


def test_what_ships_is_whole_and_knows_no_phantom(chests):
    shipped = shipped_fingerprints()
    assert {f.name for f in shipped} == {
        "cohen",
        "darkcovidnet",
        "kermany",
        "montgomery-shenzhen",
        "radiography-database",
    }
    assert sum(map(len, shipped)) > 10_000
    assert all(f.license for f in shipped)
    assert lineage(collection(chests, "mine")).empty


def test_the_bits_of_real_images_are_even_and_tell_nothing_of_their_neighbours():
    """Buckets of bands stay small only as long as this holds."""
    (kermany,) = (f for f in shipped_fingerprints() if f.name == "kermany")
    bits = np.unpackbits(kermany.hashes[:, 0].astype("<u8").view(np.uint8), axis=1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.12
    for word in np.split(bits.astype(float), 4, axis=1):
        correlation = np.corrcoef(word.T) - np.eye(64)
        assert np.abs(correlation).max() < 0.4
        assert np.abs(correlation).mean() < 0.06


@pytest.mark.realdata
@pytest.mark.full
def test_the_radiography_database_is_traced_to_its_origins(tmp_path):
    from hurdles.data.sources import COLLECTIONS
    from hurdles.pixels.cache import prepare
    from hurdles.pixels.prepare import Preparation

    root = Path(os.environ.get("HURDLES_DATA", "")) / "COVID-19 Radiography Database"
    if "HURDLES_DATA" not in os.environ or not root.is_dir():
        pytest.skip("$HURDLES_DATA does not hold the Radiography Database")
    manifest = COLLECTIONS.get("radiography-database").read(root)
    images = prepare(manifest, Preparation(size=64), cache=tmp_path)
    found = lineage(images)
    labels = images.manifest.frame.set_index("image")["label"]
    kermany = found[found["collection"] == "kermany"]
    assert kermany["image"].map(labels).value_counts().to_dict() == {
        "Viral Pneumonia": 1345,
        "Normal": 1279,
    }
    cohen = found[found["collection"] == "cohen"]
    assert len(cohen) >= 95
    assert set(cohen["image"].map(labels)) == {"COVID-19"}


def test_where_a_collection_is_at_hand_pixels_decide_and_hashes_of_the_rest(chests):
    known = collection(chests[:40], "k")
    uneven = [cv2.resize(x[8:, :93], (96, 96)) for x in chests[:6]]
    asked = collection([*uneven, chests[41]], "mine")
    by_hash = lineage(asked, [fingerprint_of(known, "one")])
    found = lineage(asked, [fingerprint_of(known, "one")], here={"one": known})
    assert found["theirs"].tolist() == [f"k{n}" for n in range(6)]
    assert found["distance"].isna().all()
    assert (found["similarity"] > 0.97).all()
    assert len(by_hash) < 6
    # A fingerprint may know more of a collection than is here; one that is here needs none.
    more = fingerprint_of(collection(chests[:50], "k"), "one")
    found = lineage(asked, [more], here={"one": known, "two": collection(chests[40:], "o")})
    assert found[found["image"] == "mine6"][["collection", "theirs"]].values.tolist() == [
        ["one", "k41"], ["two", "o1"],
    ]  # fmt: skip


def test_what_a_reader_leaves_out_is_known_too(tmp_path):
    names = ("a.png", "lateral/b.png", "notes.txt")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    rows = {"image": ["a.png"], "path": [str(tmp_path / "a.png")], "label": ["chest"]}
    left = [(str(tmp_path / n), "why") for n in (*names, "gone.png", "lateral/b.png")]
    whole = with_left_out(Manifest(pd.DataFrame(rows), exclusions_table(left)), tmp_path)
    assert whole.frame["image"].tolist() == ["a.png", "lateral/b.png"]
    assert len(with_left_out(Manifest(pd.DataFrame(rows)), tmp_path)) == 1
