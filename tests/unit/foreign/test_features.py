"""Features in a file: read as they are, matched by name, and refused with the true reason."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import ManifestError, ModelError
from hurdles.foreign.features import Features, read_features

IMAGES = ["Normal/a.png", "Normal/b.png", "COVID-19/c.png"]
VALUES = np.array([[1.5, 2], [3, -4], [5, 6]], dtype=np.float32)


def written(folder, kind: str):
    """Return a file of the features with names, as people write them, and whether it names rows."""
    table = pd.DataFrame(VALUES, columns=["f0", "f1"])
    named = table.assign(image=IMAGES)
    path = folder / f"e.{kind}"
    if kind == "npy":
        np.save(path, VALUES)
    elif kind == "npz":
        np.savez(path, features=VALUES, images=np.array(IMAGES))
    elif kind == "csv":
        named.to_csv(path, index=False)
    elif kind == "tsv":
        named[["image", "f0", "f1"]].to_csv(path, index=False, sep="\t")
    else:
        named.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "tsv", "parquet"])
def test_every_kind_of_file_gives_the_same_numbers(tmp_path, kind):
    features = read_features(written(tmp_path, kind))
    np.testing.assert_array_equal(features.values, VALUES)
    assert features.values.dtype == np.float32
    assert features.images == (None if kind == "npy" else tuple(IMAGES))


@pytest.mark.parametrize("kind", ["txt", "csv", "npy"])
def test_names_beside_the_matrix(tmp_path, kind):
    ids = tmp_path / f"ids.{kind}"
    if kind == "txt":
        ids.write_text("\n".join(IMAGES) + "\n")
    elif kind == "csv":
        pd.DataFrame({"n": [1, 2, 3], "path": IMAGES}).to_csv(ids, index=False)
    else:
        np.save(ids, np.array(IMAGES))
    assert read_features(written(tmp_path, "npy"), ids=ids).images == tuple(IMAGES)


def test_what_embed_writes_is_read(tmp_path):
    """`hurdles.embed` writes the arrays images and features."""
    np.savez_compressed(
        tmp_path / "features.npz", images=np.array(IMAGES, dtype=str), features=VALUES
    )
    assert read_features(tmp_path / "features.npz").images == tuple(IMAGES)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(3)), short=st.sampled_from([0, 1, 2]))
def test_rows_go_to_their_images_however_these_are_called(order, short):
    spelled = [IMAGES, [i.split("/")[1] for i in IMAGES], [i.split("/")[1][:-4] for i in IMAGES]]
    features = Features(VALUES[list(order)], tuple(spelled[short][i] for i in order))
    rows, notes = features.rows_for(IMAGES, what="e")
    np.testing.assert_array_equal(features.values[rows], VALUES)
    assert notes == []


def test_rows_of_other_images_are_counted():
    features = Features(VALUES, tuple(IMAGES))
    rows, notes = features.rows_for(IMAGES[:2], what="e")
    assert (rows.tolist(), notes) == ([0, 1], ["1 rows of features are of other images"])


def test_without_names_the_order_is_taken_and_owned_up_to():
    rows, (note,) = Features(VALUES).rows_for(IMAGES, what="e")
    assert rows.tolist() == [0, 1, 2]
    assert "in the order of the table: 3 rows" in note


@pytest.mark.parametrize(
    ("features", "images", "message"),
    [
        (Features(VALUES), IMAGES[:2], r"e: 3 rows of features for 2 images.*--ids"),
        (
            Features(VALUES[:2], tuple(IMAGES[:2])),
            IMAGES,
            r"1 of 3 images have no row.*'COVID-19/c",
        ),
        (Features(VALUES, ("a", "b", "b")), ["a", "b"], r"'b' has two rows that differ \(2 and 3"),
    ],
)
def test_rows_that_do_not_go_with_the_images(features, images, message):
    with pytest.raises(ModelError, match=message):
        features.rows_for(images, what="e")


def save(path, array):
    np.save(path, array)


BAD_ARRAYS = [
    (np.array([{"a": 1}], dtype=object), "holds Python objects, pickled"),
    (
        np.array([[1.0, np.nan]]),
        r"1 of 1 rows hold values that are not finite.*nan in row 1, column 2",
    ),
    (np.array([[1.0, 2.0], [3.0, -np.inf]]), "-inf in row 2, column 2"),
    (np.array([[1e300, 2.0], [1.0, 2.0]]), "not finite"),
    (np.zeros((3, 4, 5)), r"must hold one matrix of numbers.*\(3, 4, 5\)"),
    (np.zeros(3), "must hold one matrix"),
    (np.array([["a", "b"]]), "must hold one matrix"),
    (np.zeros((0, 4)), "is empty: 0 rows"),
    (np.ones((5, 4)), "all 5 rows are alike"),
]


@pytest.mark.parametrize(("array", "message"), BAD_ARRAYS)
def test_an_array_that_is_of_no_use(tmp_path, array, message):
    np.save(tmp_path / "e.npy", array)
    with pytest.raises(ModelError, match=message):
        read_features(tmp_path / "e.npy")


def test_a_pickle_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("boom").touch, ())

    (tmp_path / "e.npy").write_bytes(pickle.dumps(Bomb()))
    np.savez(tmp_path / "e.npz", features=np.array([Bomb()], dtype=object))
    for name in ("e.npy", "e.npz"):
        with pytest.raises(ModelError, match=name):
            read_features(tmp_path / name)
    assert not (tmp_path / "boom").exists()


def header(text):
    """Return an array file whose heading is any text."""
    line = f"{text}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + bytes(64)


ENDLESS = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, " + "9" * 23 + ")}"


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"PK\x03\x04abc", b"hello", header(ENDLESS), header("(" * 3000)],
    ids=lambda content: str(content[:20]),
)
@pytest.mark.parametrize("name", ["e.npy", "e.npz"])
def test_damaged_bytes(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        read_features(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,f0,label\na,1,sick\n", r"'label' holds other things than numbers.*'sick'"),
        ("image,f0\na,1\nb,\n", r"'f0' holds other things than numbers, for one ''"),
        ("image,f0\na,1\nb,nan\n", "not finite"),
        ("image,f0\na,1,2\n", "more cells than the heading"),
        ("image\na\n", "holds no features"),
    ],
)
def test_tables_that_are_of_no_use(tmp_path, text, message):
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_features(tmp_path / "e.csv")


def test_files_that_are_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(ModelError, match="is not a file"):
        read_features(tmp_path / "no.npy")
    (tmp_path / "e.pt").write_bytes(b"x")
    with pytest.raises(ModelError, match="is no kind of file that holds features"):
        read_features(tmp_path / "e.pt")
    path = written(tmp_path, "npy")
    with pytest.raises(ModelError, match="is not a file; give the images' names"):
        read_features(path, ids=tmp_path / "no.txt")
    (tmp_path / "ids.txt").write_text("a\nb\n")
    with pytest.raises(ModelError, match="2 names for 3 rows"):
        read_features(path, ids=tmp_path / "ids.txt")
    (tmp_path / "wide.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ModelError, match="is called image"):
        read_features(path, ids=tmp_path / "wide.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ManifestError, match="is empty"):
        read_features(tmp_path / "empty.csv")


@pytest.mark.parametrize("index", [[0, 1, 2], [1, 2, 3], [17, 4, 9]])
@pytest.mark.parametrize("heading", ["", "Unnamed: 0", "index", "rownames"])
def test_the_number_of_a_row_is_no_feature(tmp_path, index, heading):
    table = pd.DataFrame(VALUES, columns=["f0", "f1"], index=index).assign(image=IMAGES)
    table.to_csv(tmp_path / "e.csv", index_label=heading)
    features = read_features(tmp_path / "e.csv")
    np.testing.assert_array_equal(features.values, VALUES)
    _, notes = features.rows_for(IMAGES, what="e.csv")
    assert notes == [f"columns that count rows are no features: {heading!r}"]


@pytest.mark.parametrize("heading", ["label", "target", "patient_id", "age", "Fold"])
def test_a_column_of_the_manifest_is_no_feature(tmp_path, heading):
    table = pd.DataFrame(VALUES, columns=["f0", "f1"]).assign(image=IMAGES, **{heading: [0, 1, 1]})
    table.to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(ModelError, match=f"the column '{heading}' says something.*rename it"):
        read_features(tmp_path / "e.csv")


def test_of_several_arrays_of_text_the_images_are_the_one_called_so(tmp_path):
    values = np.arange(8.0).reshape(4, 2)
    names, classes = np.array(["d", "c", "b", "a"]), np.array(["x", "y", "x", "y"])
    np.savez(tmp_path / "f.npz", features=values, label=classes, image=names)
    rows, _ = read_features(tmp_path / "f.npz").rows_for(["a", "b", "c", "d"], what="f")
    assert rows.tolist() == [3, 2, 1, 0]
    np.savez(tmp_path / "g.npz", features=values, label=classes, group=names)
    with pytest.raises(ModelError, match="none is called image"):
        read_features(tmp_path / "g.npz")
