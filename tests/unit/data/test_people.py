"""Whom DICOM headers show: read without names, never guessed, never one person for all."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from hurdles.data.folder import manifest_from_folder
from hurdles.data.image_file import MAX_HEADER_BYTES, read_headers
from hurdles.data.people import without_placeholders
from hurdles.data.table import manifest_from_table


def dicom(path: Path, **tags: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientName = "Doe^Jane"
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.Rows = dataset.Columns = 8
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.PixelData = np.arange(64, dtype=np.uint8).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def folder(root: Path) -> Path:
    for i in range(4):
        for label in ("Ill", "Well"):
            dicom(
                root / label / f"{i}.dcm",
                PatientID=f" P{i // 2}{label} ",
                PatientSex="F",
                PatientAge="018M" if i else "045Y",
                ViewPosition="AP",
            )
    return root


def test_a_folder_tells_patient_sex_age_and_view(tmp_path):
    frame = manifest_from_folder(folder(tmp_path)).frame
    named = [name for name in ("P0Ill", "P1Ill", "P0Well", "P1Well") for _ in range(2)]
    assert frame["patient"].tolist() == named
    assert frame["sex"].unique().tolist() == ["F"]
    assert frame["age"].tolist()[:2] == [45, 1.5]
    assert frame["view"].unique().tolist() == ["AP"]
    assert frame["source"].isna().all()
    assert "Doe" not in frame.to_csv()


def test_what_was_read_is_said_and_the_institution_is_no_source(tmp_path):
    dicom(tmp_path / "A" / "1.dcm", PatientID="1", InstitutionName="St. Mary")
    dicom(tmp_path / "A" / "2.dcm", PatientID="2", InstitutionName="St Mary")
    manifest = manifest_from_folder(tmp_path)
    assert manifest.notes[0] == "read from 2 DICOM headers: patient of 2 images"
    assert "name 2 institutions: kept in the column 'institution', not used" in manifest.notes[1]
    assert manifest.frame["institution"].tolist() == ["St. Mary", "St Mary"]
    assert manifest.sources == []


@pytest.mark.parametrize("name", ["IM0001", "scan.ima", "1.2.840.5", "picture.png"])
def test_dicom_is_known_by_its_content(tmp_path, name):
    dicom(tmp_path / "A" / name, PatientID="7")
    assert manifest_from_folder(tmp_path).frame["patient"].tolist() == ["7"]


def test_a_dicom_directory_is_no_image(tmp_path):
    dicom(tmp_path / "A" / "1.dcm", PatientID="7")
    dicom(tmp_path / "A" / "DICOMDIR")
    manifest = manifest_from_folder(tmp_path)
    assert len(manifest) == 1
    assert manifest.exclusions["reason"].tolist() == ["a DICOM directory, no image"]


@pytest.mark.parametrize("name", ["", "Anonymous", "ANONYMIZED", "0", "000", "N/A", "xxx", "?"])
def test_an_id_that_names_nobody_is_no_patient(tmp_path, name):
    for i in range(3):
        dicom(tmp_path / "A" / f"{i}.dcm", PatientID=name)
    dicom(tmp_path / "A" / "9.dcm", PatientID="B12")
    manifest = manifest_from_folder(tmp_path)
    assert manifest.missing_patients == 3
    assert manifest.known_patients == 1
    if name:
        assert f"the patient is {name!r} in 3 of 4 DICOM headers" in " ".join(manifest.notes)


def test_one_id_on_every_file_is_no_patient(tmp_path):
    for i in range(4):
        dicom(tmp_path / "A" / f"{i}.dcm", PatientID="4711")
    manifest = manifest_from_folder(tmp_path)
    assert manifest.missing_patients == 4
    assert "'4711' in all 4 DICOM headers" in manifest.notes[0]


def test_three_images_may_show_one_patient(tmp_path):
    for i in range(3):
        dicom(tmp_path / "A" / f"{i}.dcm", PatientID="4711")
    assert manifest_from_folder(tmp_path).known_patients == 1


def test_numbers_from_zero_on_are_numbers():
    ids, notes = without_placeholders(pd.Series(["0", "1", "2"]), where="rows")
    assert ids.tolist() == ["0", "1", "2"]
    assert notes == []


def table(root: Path, patients: list[str]) -> Path:
    rows = [f"{i}.dcm,A,{p}" for i, p in enumerate(patients)]
    path = root / "cohort.csv"
    path.write_text("\n".join(["path,label,patient", *rows]) + "\n")
    return path


def test_the_table_wins_and_the_difference_is_said(tmp_path):
    for i, name in enumerate(("a", "a", "c", "d")):
        dicom(tmp_path / f"{i}.dcm", PatientID=name, PatientSex="M")
    manifest = manifest_from_table(table(tmp_path, ["a", "x", "", "d"]))
    # An empty cell is not filled: the table calls people otherwise than the headers.
    assert manifest.frame["patient"].fillna("-").tolist() == ["a", "x", "-", "d"]
    assert manifest.frame["sex"].tolist() == ["M"] * 4
    notes = " ".join(manifest.notes)
    assert "'patient' of the table and of the DICOM header differ in 1 of 3 rows (row 3)" in notes
    assert "one PatientID of the DICOM headers is several patients of the table ('a', 'x')" in notes


def test_gaps_of_a_table_that_agrees_are_filled(tmp_path):
    for i, name in enumerate(("a", "b", "b")):
        dicom(tmp_path / f"{i}.dcm", PatientID=name)
    assert manifest_from_table(table(tmp_path, ["a", "", ""])).frame["patient"].tolist() == [
        "a",
        "b",
        "b",
    ]


def test_a_damaged_header_says_nothing(tmp_path):
    whole = dicom(tmp_path / "1.dcm", PatientID="7").read_bytes()
    (tmp_path / "2.dcm").write_bytes(whole[:140])
    (tmp_path / "3.dcm").write_bytes(whole[:132] + b"\xff" * 40)
    headers = read_headers([str(tmp_path / f"{i}.dcm") for i in (1, 2, 3)])
    assert headers["dicom"].tolist() == [True] * 3
    assert headers["patient"].notna().tolist() == [True, False, False]


def test_little_of_a_deflated_file_is_inflated(tmp_path, monkeypatch):
    plain = dicom(tmp_path / "1.dcm", PatientID="7")
    dataset = pydicom.dcmread(plain)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dataset.save_as(tmp_path / "2.dcm", enforce_file_format=True)
    inflated = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, bits: int) -> None:
            self._inner = real(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            inflated.append(most)
            return self._inner.decompress(data, most)

    monkeypatch.setattr("hurdles.data.image_file.zlib.decompressobj", Watched)
    headers = read_headers([str(tmp_path / "2.dcm")])
    assert headers["patient"].tolist() == ["7"]
    assert inflated == [MAX_HEADER_BYTES]
