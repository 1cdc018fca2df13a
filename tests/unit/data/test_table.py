"""Tables as other people's programs write them: understood, or refused with every row named."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.spreadsheet import read_sheet
from hurdles.data.table import manifest_from_table
from hurdles.errors import ManifestError

ROWS = [
    ["Dateiname", "Patienten-ID", "Geschlecht", "Alter", "Projektion", "Diagnose", "Klinik"],
    ["a.png", "17", "weiblich", "45,5", "p.a.", "Normal", "Köln"],
    ["b.png", "17", "m", ">89", "AP supine", "Ill ", "Köln"],
    ["c.png", "18", "Male", "018M", "Lateral", "Ill", "Köln"],
]


@pytest.fixture
def images(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(b"")
    return tmp_path


def write(folder: Path, text: str, name: str = "cohort.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def joined(sign: str) -> str:
    quoted = [[f'"{c}"' if sign in c else c for c in row] for row in ROWS]
    return "\r\n".join(sign.join(row) for row in quoted) + "\r\n"


FORMS = [
    (",", "utf-8", "x.csv"),
    (";", "cp1252", "x.csv"),
    (";", "utf-8-sig", "x.CSV"),
    ("\t", "utf-16", "x.tsv"),
    ("\t", "utf-16-le", "x.txt"),
    (";", "utf-8", "x.txt"),
]


@pytest.mark.parametrize(("sign", "encoding", "name"), FORMS)
def test_every_habit_of_text(images, sign, encoding, name):
    check(manifest_from_table(write(images, joined(sign), name, encoding)))


def test_a_word_to_excel_is_no_heading(images):
    check(manifest_from_table(write(images, "sep=;\r\n" + joined(";"))))


@pytest.mark.parametrize("suffix", ["xlsx", "parquet"])
def test_workbooks_and_parquet(images, suffix):
    frame = pd.DataFrame(ROWS[1:], columns=ROWS[0])
    path = images / f"x.{suffix}"
    frame.to_excel(path, index=False) if suffix == "xlsx" else frame.to_parquet(path)
    check(manifest_from_table(path))


def check(manifest: Manifest) -> None:
    frame = manifest.frame
    assert [Path(p).name for p in frame["path"]] == ["a.png", "b.png", "c.png"]
    assert frame["patient"].tolist() == ["17", "17", "18"]
    assert frame["sex"].tolist() == ["F", "M", "M"]
    assert frame["age"].tolist() == [45.5, 90, 1.5]
    assert frame["view"].tolist() == ["PA", "AP Supine", "LL"]
    assert frame["label"].tolist() == ["Normal", "Ill", "Ill"]
    assert manifest.sources == ["Köln"]


@pytest.mark.parametrize("write_to", ["to_parquet", "to_excel"])
def test_numbers_with_gaps_are_what_a_csv_says(images, write_to):
    frame = pd.DataFrame({"path": list("abc"), "label": [0.0, 1.0, 1.0]})
    frame["path"] += ".png"
    frame["patient"] = [4711.0, None, 4712.0]
    path = images / f"x.{'xlsx' if write_to == 'to_excel' else 'parquet'}"
    getattr(frame, write_to)(path, index=False)
    found = manifest_from_table(path)
    assert found.labels == ["0", "1"]
    assert found.frame["patient"].fillna("-").tolist() == ["4711", "-", "4712"]
    assert Manifest(frame.assign(image=frame["path"])).labels == ["0", "1"]


def test_a_second_sheet_is_named(images):
    with pd.ExcelWriter(images / "x.xlsx") as book:
        pd.DataFrame({"file": ["a.png"], "label": ["x"]}).to_excel(book, sheet_name="A")
        pd.DataFrame({"file": ["b.png"]}).to_excel(book, sheet_name="B")
    assert "'A' is read; not used: 'B'" in manifest_from_table(images / "x.xlsx").notes[0]


@pytest.mark.parametrize(
    "heading",
    [
        "filename,finding,PatientID,site,Sex,Age,ViewPosition",
        "Image Index,Finding Labels,Patient ID,hospital,Patient Gender,Patient Age,View Position",
        "image_path,class,subject_id,Institution Name,gender,AGE,projection",
        "PATH,LABEL,PATIENT,SOURCE,SEX,AGE,VIEW",
        "file,diagnosis,patient_id,centre,Patient's Sex,Patient's Age,view",
    ],
)
def test_the_usual_names(images, heading):
    row = manifest_from_table(write(images, f"{heading}\na.png,x,7,ward,F,30,PA\n")).frame.iloc[0]
    assert row[["label", "patient", "source", "sex", "age", "view"]].tolist() == [
        "x", "7", "ward", "F", 30.0, "PA",
    ]  # fmt: skip


def test_a_column_by_the_users_word(images):
    path = write(images, "file,label,Gruppe\na.png,old,Ill\n")
    manifest = manifest_from_table(path, columns={"Gruppe": "label"})
    assert manifest.labels == ["Ill"]
    assert "not used: 'label' (label is another)" in manifest.notes[0]
    with pytest.raises(ManifestError, match=r"has no column 'Grupe'; it has 'file', 'label'"):
        manifest_from_table(path, columns={"Grupe": "label"})
    with pytest.raises(ManifestError, match="'klass' is no column of a manifest"):
        manifest_from_table(path, columns={"Gruppe": "klass"})


def test_two_columns_for_one_meaning_are_refused_with_what_to_type(images):
    path = write(images, "file,finding,diagnosis\na.png,x,y\n")
    with pytest.raises(
        ManifestError, match=r"'finding', 'diagnosis' can all be the label.*--column finding=label"
    ):
        manifest_from_table(path)
    assert manifest_from_table(path, columns={"finding": ""}).labels == ["y"]


def test_of_two_columns_of_files_the_one_that_is_there_is_read(images):
    path = write(images, "image_path,file,label\n/gone/a.png,a.png,x\n")
    manifest = manifest_from_table(path)
    assert manifest.frame["path"].tolist() == [str(images / "a.png")]
    assert "'image_path' (path is another)" in manifest.notes[0]


def test_a_table_without_a_class_says_what_to_type(images):
    path = write(images, "file,Gruppe\na.png,x\n")
    with pytest.raises(ManifestError, match=r"which column is the class\?.*'Gruppe'.*THEIRS=label"):
        manifest_from_table(path)


def test_who_somebody_is_never_enters(images):
    path = write(images, "file,label,Patient Name,Birth Date\na.png,x,Doe,1970-01-01\n")
    manifest = manifest_from_table(path)
    assert "Doe" not in manifest.frame.to_csv()
    assert "never read, since they say who somebody is: 'Patient Name'" in manifest.notes[0]


def test_everything_that_is_wrong_is_one_message(images):
    text = (
        "file;label;sex;age;view\n"
        "a.png;;x;40;PA\n"
        "\n"
        'b.png;"two\nlines";F;old;oblique\n'
        "./b.png;y;M;130;PA;more\n"
    )
    with pytest.raises(ManifestError) as caught:
        manifest_from_table(write(images, text))
    said = str(caught.value)
    for part in (
        "cohort.csv: 6 things are wrong",
        "'label' is empty in 1 row (2)",
        "'file' is repeated in 2 rows (4, 5): 'b.png'",
        "'view' is 'oblique' in 1 row (4)",
        "'sex' is 'x' in 1 row (2)",
        "between 0 and 120 in 2 rows (4, 5): 'old', '130'",
        "row 5 have more cells than the 5 columns",
    ):
        assert part in said, said


def test_words_for_unknown_are_empty_cells(images):
    text = "file,label,patient,sex,age,view\na.png,NA,NA,unknown,n/a,?\nb.png,x,p,U,-,frontal\n"
    frame = manifest_from_table(write(images, text)).frame
    assert frame["label"].tolist() == ["NA", "x"]  # a label may be any word
    assert frame["patient"].fillna("").tolist() == ["", "p"]
    assert frame[["sex", "age", "view"]].isna().all(axis=None)


def test_a_missing_file_is_left_out_and_named(images):
    manifest = manifest_from_table(write(images, "file,label\na.png,x\ngone.png,x\n"))
    assert len(manifest) == 1
    left = manifest.exclusions.iloc[0].tolist()
    assert left == [str(images / "gone.png"), "named in cohort.csv, but the file is missing"]
    assert "1 of 2 files are missing and left out: row 3" in manifest.notes[0]


def test_a_name_that_is_too_long_for_a_file_is_a_missing_file(images):
    manifest = manifest_from_table(write(images, f"file,label\na.png,x\n{'[' * 500},x\n"))
    assert len(manifest) == 1
    assert manifest.exclusions["reason"].tolist() == [
        "named in cohort.csv, but the file is missing"
    ]


def test_all_files_missing_is_an_error_that_says_where(images):
    path = write(images, "file,label\nx/1.png,x\nx/2.png,x\n")
    with pytest.raises(ManifestError, match=r"not one of its 2 files.*looked at .*/x/1\.png"):
        manifest_from_table(path)


def test_files_are_found_beside_and_by_their_stem(images):
    (images / "pictures").mkdir()
    (images / "pictures" / "p1.jpeg").write_bytes(b"")
    (images / "masks").mkdir()
    (images / "masks" / "a.png").write_bytes(b"")
    manifest = manifest_from_table(write(images, "image_id,label\np1,x\na,x\n"))
    found = [str(Path(p).relative_to(images)) for p in manifest.frame["path"]]
    assert found == ["pictures/p1.jpeg", "a.png"]


def test_a_name_that_two_folders_have_is_not_guessed_at(images):
    for folder in ("x", "y"):
        (images / folder).mkdir()
        (images / folder / "1.png").write_bytes(b"")
    manifest = manifest_from_table(write(images, "file,label\n1.png,x\na.png,x\n"))
    assert [Path(p).name for p in manifest.frame["path"]] == ["a.png"]
    assert "1 names are files of several folders" in manifest.notes[0]


def test_backslashes_are_folders(images):
    (images / "Ill").mkdir()
    (images / "Ill" / "1.png").write_bytes(b"")
    manifest = manifest_from_table(write(images, "file,label\nIll\\1.png,x\n"))
    assert manifest.frame["path"].tolist() == [str(images / "Ill" / "1.png")]


def test_a_set_that_is_no_split_is_not_used(images):
    text = "file,label,set\na.png,x,{}\nb.png,x,{}\n"
    given = manifest_from_table(write(images, text.format("Training", "dev")))
    assert given.frame["split"].tolist() == ["train", "validation"]
    other = manifest_from_table(write(images, text.format("1", "2")))
    assert other.frame["split"].isna().all()
    assert "not used: 'set'" in other.notes[0]


def test_a_mask_beside_its_image_is_left_out(images):
    (images / "a_mask.png").write_bytes(b"")
    manifest = manifest_from_table(write(images, "file,label\na.png,x\na_mask.png,x\n"))
    assert len(manifest) == 1
    assert "a mask by its name" in manifest.exclusions["reason"][0]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_hurdles_wrote_is_read_as_it_was(images, suffix):
    frame = pd.DataFrame({"image": ["1", "2"], "label": ["01", "1.5"], "finding": ["f", None]})
    frame["path"] = [str(images / "a.png"), str(images / "b.png")]
    saved = Manifest(frame).without(["2"], ["dark"])
    again = manifest_from_table(saved.save(images / f"m.{suffix}"))
    assert again.content_hash == saved.content_hash
    assert again.exclusions["reason"].tolist() == ["dark"]
    assert again.notes == ()


def test_what_hurdles_disarmed_is_read_as_it_was(images):
    frame = pd.DataFrame({"image": ["1", "2"], "label": ["-", "x"], "remark": ["=1+1", None]})
    frame["path"] = [str(images / "a.png"), str(images / "b.png")]
    saved = Manifest(frame).save(images / "m.csv")
    assert "'=1+1" in saved.read_text()
    again = manifest_from_table(saved).frame
    assert again["label"].tolist() == ["-", "x"]
    assert again["remark"].dropna().tolist() == ["=1+1"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"path,label\n"])
def test_an_empty_table(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=r"is empty|no row below the heading"):
        manifest_from_table(tmp_path / "x.csv")


def test_a_reader_that_names_a_class_of_python_is_not_quoted(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["path", "label"])
    book.save(tmp_path / "x.xlsx")
    with zipfile.ZipFile(tmp_path / "x.xlsx") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    core = parts["docProps/core.xml"]
    parts["docProps/core.xml"] = re.sub(rb"(>\d{4}-\d\d-\d\dT\d\d:)[^<]*", rb"\1later", core)
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(ManifestError, match=r"cannot be read as a table \(expected datetime"):
        read_sheet(tmp_path / "x.xlsx")


def test_damage_is_named(tmp_path):
    for name in ("x.xlsx", "x.parquet"):
        (tmp_path / name).write_bytes(b"PK")
        with pytest.raises(ManifestError, match="cannot be read as a table"):
            read_sheet(tmp_path / name)
    (tmp_path / "x.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(ManifestError, match=r"save it as \.xlsx|cannot be read as a table"):
        read_sheet(tmp_path / "x.xls")
