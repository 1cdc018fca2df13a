"""The table of images: what it refuses, and that it comes back from a file as it was."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from hurdles.data.manifest import (
    COLUMNS,
    Manifest,
    _absolute,
    _plain_csv,
    _typed_csv,
    exclusions_table,
)
from hurdles.errors import ManifestError


def rows(n: int = 4, **columns: object) -> pd.DataFrame:
    names = [f"i{k}" for k in range(n)]
    frame = pd.DataFrame({"image": names, "path": [f"/x/{i}.png" for i in names]})
    return frame.assign(label=["Normal", "COVID-19"] * (n // 2) + ["Normal"] * (n % 2), **columns)


def full() -> Manifest:
    """Every column filled somewhere and, where it may be, empty elsewhere."""
    frame = rows(
        patient=["p1", "p1", "p2", None],
        source=["Köln", "Köln", None, "Hannover"],
        view=["PA", "AP Supine", "LL", None],
        sex=["F", None, "M", "O"],
        age=[0.5, 120, None, 44],
        split=["train", "train", "validation", "test"],
        mask=["/m/0.png", None, None, None],
        offset=[0, 3, 1, 2],
    )
    return Manifest(frame, exclusions_table([('/x/späte, "ct".png', "a CT slice")]))


# --- What is refused --------------------------------------------------------------------------


def test_missing_columns_are_named_and_so_are_those_that_are_there():
    with pytest.raises(ManifestError, match="column 'path', 'label' is missing; there are 'image'"):
        Manifest(pd.DataFrame({"image": ["a"]}))


@pytest.mark.parametrize("column", ["image", "path", "label"])
@pytest.mark.parametrize("empty", [None, "", np.nan])
def test_an_empty_cell_is_counted_as_a_spreadsheet_counts(column, empty):
    frame = rows()
    frame.loc[[1, 3], column] = empty
    with pytest.raises(ManifestError, match=rf"'{column}' is empty in 2 rows \(3, 5\)\. Fill"):
        Manifest(frame)


def test_many_bad_rows_are_not_all_listed():
    with pytest.raises(
        ManifestError, match=r"'label' is empty in 21 rows \(2, 3, .*, 21, \.\.\.\)"
    ):
        Manifest(rows(21).assign(label=None))


@pytest.mark.parametrize("column", ["image", "path"])
def test_duplicate_rows_are_refused(column):
    frame = rows()
    frame.loc[2, column] = frame.loc[0, column]
    with pytest.raises(ManifestError, match=rf"'{column}' is repeated in 2 rows \(2, 4\)"):
        Manifest(frame)


def test_a_row_that_stands_twice_is_one_mistake():
    with pytest.raises(ManifestError, match=r"^'image' is repeated in 2 rows \(2, 6\)[^\n]*$"):
        Manifest(pd.concat([rows(), rows(1)]))


@pytest.mark.parametrize(
    ("column", "wrong", "known"),
    [
        ("view", "pa", "PA, AP, AP Supine, LL"),
        ("sex", "female", "F, M, O"),
        ("split", "training", "train, validation, test"),
    ],
)
def test_terms_outside_a_vocabulary_are_refused(column, wrong, known):
    frame = rows(**{column: [None, wrong, None, None]})
    with pytest.raises(
        ManifestError, match=rf"'{wrong}' in 1 row \(3\); it must be one of {known}"
    ):
        Manifest(frame)


@pytest.mark.parametrize("age", [-1, 121, "old", "45Y"])
def test_ages_that_are_no_years_are_refused(age):
    frame = rows(age=[30, 31, age, None])
    with pytest.raises(ManifestError, match=r"'age' is not a number of years.* 1 row \(4\)"):
        Manifest(frame)


def test_a_file_that_is_not_there_or_not_a_table_says_so(tmp_path):
    with pytest.raises(ManifestError, match=r"nowhere\.csv is not a file"):
        Manifest.load(tmp_path / "nowhere.csv")
    with pytest.raises(ManifestError, match="is not a file"):
        Manifest.load(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PK")
    with pytest.raises(ManifestError, match=r"a\.parquet cannot be read as a table"):
        Manifest.load(tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_bytes(b"image,path\n\xff\xfe,\x80\n")
    with pytest.raises(ManifestError, match=r"b\.csv cannot be read as a table"):
        Manifest.load(tmp_path / "b.csv")


def test_a_bad_table_names_its_file(tmp_path):
    (tmp_path / "cohort.csv").write_text("path,label\na.png,Normal\nb.png,\n")
    with pytest.raises(ManifestError, match=r"cohort\.csv: 'label' is empty in 1 row \(3\)"):
        Manifest.load(tmp_path / "cohort.csv")


# --- What it says -----------------------------------------------------------------------------


def test_every_column_is_there_in_order_and_further_ones_are_kept():
    manifest = full()
    assert list(manifest.frame.columns) == [*COLUMNS, "offset"]
    assert list(Manifest(rows()).frame.columns) == list(COLUMNS)


def test_the_given_frame_is_left_alone():
    frame = rows()
    Manifest(frame)
    assert list(frame.columns) == ["image", "path", "label"]


def test_counts_sources_and_missing_patients():
    manifest = full()
    assert manifest.labels == ["COVID-19", "Normal"]
    assert manifest.counts == {"COVID-19": 2, "Normal": 2}
    assert manifest.sources == ["Hannover", "Köln"]
    assert manifest.missing_patients == 1


def test_patients_are_never_shared_between_sources_nor_with_images_that_have_none():
    frame = rows(5, patient=["p1", "p1", "p1", None, None], source=["a", "a", "b", "a", "a"])
    groups = Manifest(frame).groups
    assert groups.nunique() == 4
    assert groups[0] == groups[1]


def test_numbers_as_labels_and_patients_become_text():
    manifest = Manifest(rows(patient=[1, 2, 3, 4]).assign(label=[0, 1, 0, 1]))
    assert manifest.labels == ["0", "1"]
    assert manifest.frame["patient"].tolist() == ["1", "2", "3", "4"]


def test_selecting_keeps_whole_rows_in_order_and_the_exclusions():
    manifest = full()
    chosen = manifest.select([False, True, False, True])
    assert chosen.frame["image"].tolist() == ["i1", "i3"]
    assert chosen.frame["offset"].tolist() == [3, 2]
    assert len(chosen.exclusions) == 1


def test_an_empty_selection_is_a_manifest_without_rows():
    nothing = full().select([False] * 4)
    assert (len(nothing), nothing.labels, nothing.counts) == (0, [], {})


def test_parts_are_the_rows_of_a_split():
    assert full().part("train").frame["image"].tolist() == ["i0", "i1"]
    with pytest.raises(ValueError, match="'training' is not a valid Split"):
        full().part("training")


def test_rows_left_out_are_remembered_with_their_reason():
    manifest = full().without(["i0", "i2"], ["too dark", "lateral"])
    assert manifest.frame["image"].tolist() == ["i1", "i3"]
    assert manifest.exclusions["reason"].tolist() == ["a CT slice", "too dark", "lateral"]
    assert manifest.exclusions["path"].tolist()[1:] == ["/x/i0.png", "/x/i2.png"]


# --- The hash ---------------------------------------------------------------------------------


def test_the_hash_is_that_of_the_rows_not_of_their_order_or_place():
    manifest = full()
    moved = manifest.frame.assign(path="/elsewhere/" + manifest.frame["image"], mask=None)
    assert Manifest(moved[::-1]).content_hash == manifest.content_hash


@pytest.mark.parametrize("column", [c for c in COLUMNS if c not in ("path", "mask")])
def test_the_hash_depends_on_every_column(column):
    manifest = full()
    other = manifest.frame.copy()
    change = {"view": "AP", "sex": "M", "age": 7.0, "split": "test"}
    other.loc[0, column] = change.get(column, "something else")
    assert Manifest(other).content_hash != manifest.content_hash


# --- Files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cohort.csv", "späte Bilder/Kohorte 1.parquet"])
def test_what_was_saved_is_loaded(tmp_path, name):
    manifest = full()
    again = Manifest.load(manifest.save(tmp_path / name))
    assert_frame_equal(again.frame, manifest.frame)
    assert_frame_equal(again.exclusions, manifest.exclusions)
    assert again.content_hash == manifest.content_hash


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_no_exclusions_no_file(tmp_path, suffix):
    Manifest(rows()).save(tmp_path / f"a.{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{suffix}"]


def test_no_text_under_the_name_of_a_workbook(tmp_path):
    with pytest.raises(ManifestError, match=r"written as \.csv or \.parquet"):
        Manifest(rows()).save(tmp_path / "a.xlsx")
    assert list(tmp_path.iterdir()) == []


text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x00"),
    min_size=1,
    max_size=8,
)


@settings(max_examples=15, deadline=None)
@given(st.lists(text, min_size=1, max_size=5, unique=True), text, st.one_of(st.none(), text))
def test_any_text_comes_back(tmp_path_factory, names, label, patient):
    folder = tmp_path_factory.mktemp("any")
    frame = pd.DataFrame({"image": names, "label": label, "patient": patient})
    frame["path"] = [f"/x/{k}.png" for k in range(len(names))]
    manifest = Manifest(frame)
    for suffix in ("csv", "parquet"):
        again = Manifest.load(manifest.save(folder / f"a.{suffix}"))
        assert_frame_equal(again.frame, manifest.frame)


@pytest.mark.parametrize("word", ["NA", "None", "nan", "null", "N/A", "-", "01", "1e3", "True"])
def test_words_that_look_like_nothing_are_somebodys_label(tmp_path, word):
    manifest = Manifest(rows(patient=word).assign(label=word))
    again = Manifest.load(manifest.save(tmp_path / "a.csv"))
    assert again.labels == [word]
    assert again.frame["patient"].tolist() == [word] * 4
    assert again.missing_patients == 0


cell = st.text(alphabet="aé 0.-+e,\t\r\n\"';\x00\u2028", max_size=5)
simple = st.sampled_from(["", "a", " b ", "007", "1.50", "1e3", "-3", "NA", "None", "True", "é"])


@given(
    names=st.permutations(["image", "path", "label", "patient", "age", "offset", "n\xe9", ""]),
    rows=st.lists(st.lists(simple | cell, min_size=1, max_size=8), max_size=6),
    width=st.integers(1, 8),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]),
)
@settings(max_examples=300, deadline=None)
def test_plain_tables_are_read_as_pandas_reads_them(names, rows, width, end, encoding):
    lines = [names[:width], *([*row, *[""] * width][:width] for row in rows)]
    content = end.join(",".join(line) for line in lines).encode(encoding, "replace")
    fast = _plain_csv(content)
    if fast is not None:  # elsewhere pandas itself reads them
        assert_frame_equal(fast, _typed_csv(io.BytesIO(content)))


def test_most_tables_are_plain():
    content = b"image,path,label,patient,age,offset\n1,/a b.png,NA,007,,3\n2,/\xc3\xa9,x,, 45.5,\n"
    frame = _plain_csv(content)
    assert frame is not None
    assert frame["patient"].tolist()[:1] == ["007"]
    assert frame["label"].tolist() == ["NA", "x"]
    assert frame["age"].dtype == "float64"
    for odd in (b'a,b\n"1",2\n', b"a,a\n1,2\n", b"a,b\n1\n", b"a\n1\n", b"a,b\n1,\xff\n", b""):
        assert _plain_csv(odd) is None


@given(st.lists(st.text(alphabet="a./\\ é\n", max_size=8) | st.none(), max_size=8))
@settings(max_examples=300, deadline=None)
def test_paths_are_joined_as_by_pathlib(paths):
    for here in (Path("/"), Path("/x/y z")):
        slow = [path if path is None else str(here / path) for path in paths]
        fast = _absolute(pd.Series(paths, dtype="str"), here)
        assert [None if pd.isna(path) else path for path in fast] == slow


def test_paths_stay_in_their_rows_where_one_name_stands_before_many(tmp_path):
    # Rows with a cell more than the heading: pandas takes the first one for the row's name.
    (tmp_path / "a.csv").write_text(
        "path,label,mask\nX,a.png,a,m.png\nX,b.png,b,\nY,c.png,a,n.png\n"
    )
    frame = Manifest.load(tmp_path / "a.csv").frame
    assert frame["path"].tolist() == [str(tmp_path / f"{name}.png") for name in "abc"]
    assert frame["mask"].notna().tolist() == [True, False, True]


def test_relative_paths_count_from_the_tables_own_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cohort ü"
    folder.mkdir()
    (folder / "a.csv").write_text(
        "path,label,mask\nNORMAL (1).png,Normal,m/1.png\n/abs/b.png,Normal,\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    frame = Manifest.load(Path("cohort ü") / "a.csv").frame
    assert frame["path"].tolist() == [str(folder / "NORMAL (1).png"), "/abs/b.png"]
    assert frame["mask"].tolist()[0] == str(folder / "m/1.png")
    assert pd.isna(frame["mask"][1])


def test_a_table_without_names_takes_its_paths_as_names(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\nx/1.png,Normal\nx/2.png,Normal\n")
    frame = Manifest.load(tmp_path / "a.csv").frame
    assert frame["image"].tolist() == ["x/1.png", "x/2.png"]
    assert frame["path"].tolist() == [str(tmp_path / "x/1.png"), str(tmp_path / "x/2.png")]


def test_a_byte_order_mark_from_a_spreadsheet_is_not_part_of_a_name(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\nx/1.png,Normal\n", encoding="utf-8-sig")
    assert len(Manifest.load(tmp_path / "a.csv")) == 1


def test_patients_of_two_sources_with_the_same_name_are_two():
    rows = pd.DataFrame(
        {
            "image": ["a", "b", "c", "d"],
            "path": ["/a", "/b", "/c", "/d"],
            "label": ["x"] * 4,
            "patient": ["1", "1", "1", None],
            "source": ["here", "here", "there", "there"],
        }
    )
    assert Manifest(rows).known_patients == 2
