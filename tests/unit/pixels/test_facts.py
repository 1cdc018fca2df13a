"""What files say of themselves."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hurdles.data.manifest import Manifest
from hurdles.errors import ImageError
from hurdles.pixels.facts import COLUMNS, facts_of, jpeg_quality


def facts(*paths: Path) -> pd.DataFrame:
    rows = {"image": [p.name for p in paths], "path": [str(p) for p in paths], "label": "x"}
    return facts_of(Manifest(pd.DataFrame(rows)))


def noise(mode: str = "L") -> Image.Image:
    shape = (48, 64) if mode == "L" else (48, 64, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape).astype("uint8"))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 100))
def test_quality_is_the_one_with_which_the_library_wrote(quality: int):
    buffer = io.BytesIO()
    noise().save(buffer, "JPEG", quality=quality)
    table = Image.open(buffer).quantization[0]
    found = jpeg_quality(table)
    again = io.BytesIO()
    noise().save(again, "JPEG", quality=found)
    assert Image.open(again).quantization[0] == table  # qualities 1 and 2 may share a table


def test_a_table_of_another_program_has_the_quality_that_is_as_coarse():
    assert jpeg_quality([1] * 63 + [2]) >= 98
    assert jpeg_quality([60] * 64) < 60


def test_a_table_that_is_none_is_refused():
    with pytest.raises(ImageError, match="64 entries, this one 3"):
        jpeg_quality([1, 2, 3])


def test_every_column_has_its_type_also_where_nothing_can_be_read(tmp_path: Path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    found = facts(tmp_path / "absent.png", bad)
    assert list(found) == list(COLUMNS)
    assert found.isna().all().all()
    texts = ["format", "photometric", "coding", "software", *list(COLUMNS)[-5:]]
    assert [str(found[c].dtype) for c in texts] == ["str"] * len(texts)
    assert all(found[c].dtype == "float64" for c in COLUMNS if c not in texts)


def test_jpeg_says_how_it_was_written(tmp_path: Path):
    exif = Image.Exif()
    exif[305] = "scanner 3"
    noise("RGB").save(tmp_path / "a.jpg", quality=35, subsampling=2, progressive=True, exif=exif)
    noise("RGB").save(tmp_path / "b.jpg", quality=90, subsampling=0, dpi=(300, 300), comment="hi")
    found = facts(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert found["coding"].tolist() == ["progressive 4:2:0", "baseline 4:4:4"]
    assert found["jpeg_quality"].tolist() == [35, 90]
    assert found["exif"].tolist() == [1, 0]
    assert found["comment"].tolist() == [0, 1]
    assert found["software"].isna().tolist() == [False, True]
    assert found["software"][0] == "scanner 3"
    assert found["dpi"][1] == 300
    sizes = [(tmp_path / name).stat().st_size for name in ("a.jpg", "b.jpg")]
    assert found["bytes_per_pixel"].tolist() == [size / (48 * 64) for size in sizes]
    assert found["aspect"].tolist() == [64 / 48] * 2


def test_png_and_tiff_say_what_they_hold(tmp_path: Path):
    text = PngInfo()
    text.add_text("Software", "exporter 1")
    text.add_text("Patient", "somebody")
    noise().save(tmp_path / "a.png", pnginfo=text)
    Image.fromarray(np.zeros((8, 9), dtype=np.uint16)).save(tmp_path / "b.png")
    noise().save(tmp_path / "c.tif", compression="tiff_lzw")
    found = facts(*(tmp_path / name for name in ("a.png", "b.png", "c.tif")))
    assert found["format"].tolist() == ["PNG", "PNG", "TIFF"]
    assert found["bits"].tolist() == [8, 16, 8]
    assert found["software"][0] == "exporter 1"
    assert found["comment"].tolist()[:2] == [1, 0]
    assert found["coding"][2] == "tiff_lzw"
    assert found["jpeg_quality"].isna().all()


def test_dicom_says_who_made_it(tmp_path: Path):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset("a.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns, data.BitsStored, data.BitsAllocated = 4, 5, 12, 16
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME1"
    data.PixelRepresentation, data.HighBit = 0, 11
    data.Modality, data.Manufacturer, data.BodyPartExamined = "DX", "Acme", "CHEST"
    data.ManufacturerModelName, data.ViewPosition, data.BurnedInAnnotation = "X1", "AP", "YES"
    data.ImagerPixelSpacing = [0.254, 0.254]
    data.PixelData = np.zeros(20, dtype=np.uint16).tobytes()
    data.save_as(tmp_path / "a.dcm")
    row = facts(tmp_path / "a.dcm").iloc[0]
    said = row[["modality", "manufacturer", "body_part", "view_position", "burned_in"]].tolist()
    assert said == ["DX", "Acme X1", "CHEST", "AP", "YES"]
    assert (row["bits"], row["photometric"], row["dpi"]) == (12, "MONOCHROME1", 100)
    assert row["coding"] == "Explicit VR Little Endian"


def test_rows_keep_their_order(tmp_path: Path):
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for i, path in enumerate(paths):
        Image.new("L", (10 + i, 8)).save(path)
    rows = {"image": [p.name for p in paths], "path": [str(p) for p in paths], "label": "x"}
    found = facts_of(Manifest(pd.DataFrame(rows)))
    assert found["width"].tolist() == list(range(10, 30))
