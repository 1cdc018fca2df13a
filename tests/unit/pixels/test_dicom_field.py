"""DICOM as it is found: what is odd is read as it is meant, or refused with the true reason."""

from __future__ import annotations

import io
import math
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from hurdles.data.manifest import Manifest
from hurdles.errors import (
    ConstantImageError,
    ImageError,
    ImageTooLargeError,
    TruncatedImageError,
    UnsupportedImageError,
)
from hurdles.pixels import header
from hurdles.pixels.decode import decode, read_header
from hurdles.pixels.facts import facts_of

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value")  # as pydicom writes them


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    header._counts.clear()


SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(3).integers(0, 256, (48, 32)).astype(np.float32), (0, 0), 3
)


def levels(low: int, high: int, dtype: type = np.uint16) -> np.ndarray:
    scaled = cv2.normalize(SMOOTH.astype(np.float64), None, low, high, cv2.NORM_MINMAX)
    return np.rint(scaled).astype(dtype)


TWELVE = levels(0, 4095)
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}  # all of 12 bits
EIGHT = levels(0, 255, np.uint8)
JPEG = cv2.imencode(".jpg", EIGHT, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


def dataset(pixels: np.ndarray, bits: int | None = None, **elements: Any) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = generate_uid()
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    for name, value in elements.items():
        setattr(ds, name, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def as_written(ds: Dataset, keyword: str, vr: str, content: bytes) -> Dataset:
    """Put bytes into an element that pydicom would not write so."""
    tag = Tag(keyword)
    content += b" " * (len(content) % 2)
    ds[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)
    return ds


def decoded(tmp_path: Path, content: Dataset | bytes) -> np.ndarray:
    path = tmp_path / "image"
    if isinstance(content, Dataset):
        content.save_as(path, enforce_file_format=True)
    else:
        path.write_bytes(content)
    pixels = decode(path)
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() < pixels.max() <= 1
    return pixels


def stretched(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


# --- finite or refused ---------------------------------------------------------------------------


def test_pixels_of_several_pictures_under_the_size_of_one_are_refused(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12, Columns=3)  # pydicom returns them all, as frames of three columns
    with pytest.raises(TruncatedImageError, match=r"announces 3 x 48 pixels, 288 bytes, .* 3,072"):
        decoded(tmp_path, ds)
    ds = dataset(TWELVE, 12, **WINDOW)
    ds.PixelData += bytes(100)  # padding
    np.testing.assert_allclose(decoded(tmp_path, ds), TWELVE / 4095, atol=0.001)


def test_a_frame_of_few_bytes_for_its_size_is_damaged(tmp_path: Path) -> None:
    coded = io.BytesIO()
    Image.fromarray(EIGHT).save(coded, "JPEG2000", no_jp2=True, num_resolutions=3)
    stream = bytearray(coded.getvalue())
    size = stream.index(b"\xff\x51")
    for place in (size + 6, size + 22):  # of the grid, and of its one tile
        struct.pack_into(">II", stream, place, 9000, 9000)
    ds = dataset(EIGHT, 8, Rows=9000, Columns=9000)
    ds.PixelData = encapsulate([bytes(stream)])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    with pytest.raises(TruncatedImageError, match="bytes for 9000 x 9000 pixels, too few"):
        decoded(tmp_path, ds)


@pytest.mark.parametrize(
    ("keyword", "value"), [("PixelRepresentation", 9), ("SamplesPerPixel", 64)]
)
def test_what_decoders_die_of_is_refused_before(tmp_path: Path, keyword: str, value: int) -> None:
    with pytest.raises(TruncatedImageError, match=f"{value} .*fetch the file again"):
        decoded(tmp_path, dataset(TWELVE, 12, **{keyword: value}))


def test_a_number_of_frames_that_is_none_is_one(tmp_path: Path) -> None:
    path = tmp_path / "image.dcm"
    dataset(TWELVE, 12, **WINDOW, NumberOfFrames=11111).save_as(path, enforce_file_format=True)
    content = path.read_bytes().replace(
        b"11111", b"1e999"
    )  # which pydicom neither reads nor writes
    np.testing.assert_allclose(decoded(tmp_path, content), TWELVE / 4095, atol=0.001)


@pytest.mark.parametrize("content", [b"NaN", b"inf", b"-inf", b"wide", b"1e400"])
@pytest.mark.parametrize("keyword", ["WindowCenter", "WindowWidth"])
def test_a_window_that_is_no_number_counts_as_missing(
    tmp_path: Path, keyword: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    ds = dataset(TWELVE, 12, WindowCenter=2000, WindowWidth=3000)
    result = decoded(tmp_path, as_written(ds, keyword, "DS", content))
    np.testing.assert_allclose(result, stretched(TWELVE), atol=1e-6)
    assert f"{tmp_path / 'image'}: the window" in caplog.text


@pytest.mark.parametrize("content", [b"NaN", b"inf", b"steep"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_slope_that_is_no_number_is_named(tmp_path: Path, keyword: str, content: bytes) -> None:
    ds = dataset(TWELVE, 12, RescaleSlope=1, RescaleIntercept=0)
    with pytest.raises(TruncatedImageError, match=r"rescale (slope|intercept) is no finite number"):
        decoded(tmp_path, as_written(ds, keyword, "DS", content))


def test_what_is_not_finite_never_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = np.full((4, 4), np.nan, dtype=np.float32)
    monkeypatch.setattr("hurdles.pixels.dicom._looked_up", lambda *_: broken)
    with pytest.raises(TruncatedImageError, match="gray levels run from nan to nan"):
        decoded(tmp_path, dataset(TWELVE, 12))


def test_a_window_beside_all_values_is_named_with_both(tmp_path: Path) -> None:
    expected = r"center 40000, width 100\) lies beside the values \(0 to 4095"
    with pytest.raises(ConstantImageError, match=expected):
        decoded(tmp_path, dataset(TWELVE, 12, WindowCenter=40000, WindowWidth=100))


def test_a_sliver_of_the_range_is_questioned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    decoded(tmp_path, dataset(TWELVE, 12, WindowCenter=32768, WindowWidth=65536))
    assert f"{tmp_path / 'image'}: the picture uses gray levels from 0.000 to 0.062" in caplog.text


# --- tables --------------------------------------------------------------------------------------


def lut(first: int, bits: int, data: np.ndarray | bytes, vr: str = "US") -> Dataset:
    item = Dataset()
    count = len(data) if isinstance(data, np.ndarray) else 4096
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [count & 0xFFFF, first, bits])
    item.LUTExplanation = "test"
    item.add_new("LUTData", vr, data.tolist() if isinstance(data, np.ndarray) else data)
    return item


def test_a_modality_lut_over_all_of_int16_does_not_wrap(tmp_path: Path) -> None:
    pixels = levels(-30000, 30000, np.int16)
    ds = dataset(pixels)
    item = lut(-32768, 16, np.arange(65536, dtype="<u2").tobytes(), "OW")
    item.LUTDescriptor = [0, -32768, 16]
    item.ModalityLUTType = "US"
    ds.ModalityLUTSequence = [item]
    np.testing.assert_allclose(decoded(tmp_path, ds), stretched(pixels), atol=1e-6)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("packed", [False, True])
def test_a_voi_lut_of_eight_bits_fills_the_range(tmp_path: Path, bits: int, packed: bool) -> None:
    curve = np.arange(4096) // 16
    data = curve.astype(np.uint8).tobytes() if packed else curve.astype(np.uint16)
    ds = dataset(TWELVE, 12, VOILUTSequence=[lut(0, bits, data, "OW" if packed else "US")])
    np.testing.assert_allclose(decoded(tmp_path, ds), TWELVE // 16 / 255, atol=1e-6)


def test_empty_items_of_luts_count_as_missing(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12, **WINDOW, RescaleSlope=1, RescaleIntercept=0)
    ds.ModalityLUTSequence, ds.VOILUTSequence = [Dataset()], [Dataset()]
    np.testing.assert_allclose(decoded(tmp_path, ds), TWELVE / 4095, atol=1e-6)


def palette(ds: Dataset, bits: int, entries: np.ndarray) -> Dataset:
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(ds, f"{colour}PaletteColorLookupTableData", entries.tobytes())
    return ds


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_a_palette_of_eight_bits_fills_the_range(tmp_path: Path, bits: int, dtype: str) -> None:
    ds = palette(dataset(EIGHT), bits, (255 - np.arange(256)).astype(dtype))
    np.testing.assert_allclose(decoded(tmp_path, ds), 1 - EIGHT / 255, atol=1e-6)


def test_a_big_endian_palette(tmp_path: Path) -> None:
    ds = palette(dataset(EIGHT), 16, ((255 - np.arange(256)) * 257).astype(">u2"))
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    np.testing.assert_allclose(decoded(tmp_path, ds), 1 - EIGHT / 255, atol=1e-4)


# --- where the bits are --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("overlay", [False, True])
def test_left_aligned_values_are_shifted(tmp_path: Path, dtype: type, overlay: bool) -> None:
    pixels = TWELVE if dtype is np.uint16 else levels(-2000, 2000, np.int16)
    shifted = (pixels << 4) | (np.arange(32) % 5 == 0 if overlay else 0)
    ds = dataset(shifted.astype(dtype), 12, HighBit=15)
    np.testing.assert_allclose(decoded(tmp_path, ds), stretched(pixels), atol=1e-6)


@pytest.mark.parametrize("high", [7, 15, 16, 99])
def test_a_high_bit_that_contradicts_the_values_is_refused(tmp_path: Path, high: int) -> None:
    with pytest.raises(UnsupportedImageError, match=f"12 bits stored, the highest is bit {high}"):
        decoded(tmp_path, dataset(TWELVE, 12, HighBit=high))


def test_without_a_high_bit_samples_are_at_the_right(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12)
    del ds.HighBit
    np.testing.assert_allclose(decoded(tmp_path, ds), stretched(TWELVE), atol=1e-6)


# --- what is left empty, or written otherwise ----------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "vr", "content"),
    [
        ("RescaleSlope", "DS", b""),
        ("NumberOfFrames", "IS", b""),
        ("NumberOfFrames", "IS", b"  "),
        ("NumberOfFrames", "IS", b"1.0"),
        ("PhotometricInterpretation", "CS", b"monochrome2"),
        ("PhotometricInterpretation", "CS", b""),
        ("WindowCenter", "DS", b"2047,5"),
        ("WindowWidth", "DS", b"4096\\"),
        ("VOILUTFunction", "CS", b"linear"),
    ],
)
def test_odd_elements_are_read_as_they_are_meant(
    tmp_path: Path, keyword: str, vr: str, content: bytes
) -> None:
    ds = dataset(TWELVE, 12, **WINDOW, RescaleSlope=1, RescaleIntercept=0)
    result = decoded(tmp_path, as_written(ds, keyword, vr, content))
    np.testing.assert_allclose(result, TWELVE / 4095, atol=2e-4)
    assert read_header(tmp_path / "image").photometric == "MONOCHROME2"


def test_a_slope_with_a_comma(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12, WindowCenter=2048, WindowWidth=4096, RescaleIntercept=0)
    result = decoded(tmp_path, as_written(ds, "RescaleSlope", "DS", b"0,5"))
    np.testing.assert_allclose(result, TWELVE / 2 / 4095, atol=1e-6)


def test_a_slope_of_0_is_not_applied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = decoded(tmp_path, dataset(TWELVE, 12, RescaleSlope=0, RescaleIntercept=5))
    np.testing.assert_allclose(result, stretched(TWELVE), atol=1e-6)
    assert "slope of 0" in caplog.text


def test_missing_elements_that_grey_does_not_need(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12)
    del ds.SamplesPerPixel, ds.PixelRepresentation, ds.PhotometricInterpretation
    np.testing.assert_allclose(decoded(tmp_path, ds), stretched(TWELVE), atol=1e-6)


def test_an_unknown_photometric_interpretation_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match="'HSV' of how pixels are to be read"):
        decoded(tmp_path, dataset(TWELVE, 12, PhotometricInterpretation="HSV"))


def test_every_warning_names_its_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "image"
    as_written(dataset(TWELVE, 12), "NumberOfFrames", "IS", b"1.0").save_as(path)
    caplog.clear()  # of what pydicom said when it wrote it
    decode(path)
    assert any("Invalid value for VR IS" in message for message in caplog.messages)
    assert all(message.startswith(f"{path}: ") for message in caplog.messages)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"PatientOrientation": ["L", "F"], "PixelSpacing": [0.14, 0.14]}, ""),
        ({"PatientOrientation": ["P", "F"], "ImagerPixelSpacing": None}, ""),
        ({"PatientOrientation": ["R", "F"]}, "its rows run to R, its columns to F"),
        ({"PatientOrientation": ["L", "HP"]}, "its rows run to L, its columns to H"),
        (
            {"PatientOrientation": "", "PixelAspectRatio": ["2", "1"]},
            "square (PixelAspectRatio",
        ),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, "not square (ImagerPixelSpacing 0.1 by 0.2)"),
    ],
)
def test_a_picture_that_lies_otherwise_is_read_as_stored_and_said(
    tmp_path: Path, elements: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = decoded(tmp_path, dataset(TWELVE, 12, **elements))
    np.testing.assert_allclose(result, stretched(TWELVE), atol=1e-6)
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


# --- compressed ----------------------------------------------------------------------------------


def encapsulated(frame: bytes, syntax: str) -> Dataset:
    ds = dataset(EIGHT)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


@pytest.mark.parametrize("syntax", [None, ExplicitVRLittleEndian])
def test_a_jpeg_without_its_transfer_syntax(tmp_path: Path, syntax: str | None) -> None:
    ds = encapsulated(JPEG, "1.2.840.10008.1.2.4.50")
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    uid = b"1.2.840.10008.1.2.4.50"
    other = b"1.2.840.10008.1.2.1\0\0\0" if syntax else bytes(len(uid))
    content = buffer.getvalue().replace(uid, other, 1)
    assert np.abs(decoded(tmp_path, content) * 255 - EIGHT).max() < 6


@pytest.mark.parametrize("share", [0.7, 0.9, 0.98])
def test_a_compressed_file_that_is_cut_is_damaged(tmp_path: Path, share: float) -> None:
    ds = dataset(TWELVE, 12)
    ds.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    with pytest.raises(TruncatedImageError, match=r"damaged \(its pixel data end early"):
        decoded(tmp_path, content[: int(len(content) * share)])


def test_a_plain_file_that_is_cut_says_how_much_is_there(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    dataset(TWELVE, 12).save_as(buffer, enforce_file_format=True)
    with pytest.raises(TruncatedImageError, match=r"end early: 3,002 of 3,072 bytes"):
        decoded(tmp_path, buffer.getvalue()[:-70])


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_jpeg_whose_end_marker_was_put_back_is_damaged(tmp_path: Path, cut: float) -> None:
    frame = JPEG[: int(len(JPEG) * cut)] + b"\xff\xd9"
    with pytest.raises(TruncatedImageError, match="pixels are damaged"):
        decoded(tmp_path, encapsulated(frame, "1.2.840.10008.1.2.4.50"))


@pytest.mark.parametrize("precision", [0, 1, 17, 255])
def test_a_stream_that_kills_its_decoder_is_an_error_of_its_file(
    tmp_path: Path, precision: int
) -> None:
    head = b"\xff\xd8\xff\xf7\0\x0b" + bytes([precision]) + struct.pack(">HH", 48, 32)
    frame = head + b"\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\0\0" + bytes(99)
    with pytest.raises(ImageError, match="image: "):
        decoded(tmp_path, encapsulated(frame, JPEGLSLossless))


# --- bombs ---------------------------------------------------------------------------------------


def deflated(ds: Dataset, extra: bytes) -> bytes:
    """Write a deflated file with `extra` bytes, as elements, before the group of the pixels."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    (length,) = struct.unpack_from("<I", content, 140)
    meta, body = content[: 144 + length], content[144 + length :]
    uid = b"1.2.840.10008.1.2.1.99"
    short = b"1.2.840.10008.1.2.1\0"
    meta = meta.replace(struct.pack("<H", len(short)) + short, struct.pack("<H", len(uid)) + uid)
    meta = meta[:140] + struct.pack("<I", length + len(uid) - len(short)) + meta[144:]
    press = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return meta + press.compress(extra) + press.compress(body) + press.flush()


def padding(size: int) -> bytes:
    return struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, size) + bytes(size)


def test_a_deflated_file_is_inflated(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12)
    np.testing.assert_array_equal(
        decoded(tmp_path, deflated(ds, padding(4000))), decoded(tmp_path, ds)
    )


@pytest.mark.parametrize("read", [decode, read_header])
def test_a_deflated_bomb_is_refused_in_little_memory(tmp_path: Path, read: Any) -> None:
    path = tmp_path / "bomb.dcm"
    path.write_bytes(deflated(dataset(TWELVE, 12), padding(300 << 20)))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(ImageTooLargeError, match="inflates to more than 16 MB before its pixels"):
        read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100 << 20


def test_what_follows_the_pixels_may_not_be_a_bomb_either(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12)
    ds.add(DataElement(0xFFFCFFFC, "OB", bytes(80 << 20)))
    with pytest.raises(ImageTooLargeError, match="which the size in its header does not explain"):
        decoded(tmp_path, deflated(ds, b""))


def test_facts_do_not_inflate_it_either(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "a.dcm"
    path.write_bytes(deflated(dataset(TWELVE, 12), b""))
    facts = facts_of(Manifest(pd.DataFrame({"image": ["a"], "path": [str(path)], "label": ["x"]})))
    assert facts["coding"][0] == "Deflated Explicit VR Little Endian"
    assert not math.isnan(facts["height"][0])
