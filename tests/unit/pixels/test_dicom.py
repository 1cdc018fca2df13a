"""DICOM: grey-scale pipeline against pydicom's own, transfer syntaxes, damage."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import gdcm
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.uid import (
    MPEG2MPML,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    generate_uid,
)

from hurdles.data.vocabulary import Sex, View
from hurdles.errors import (
    ConstantImageError,
    ImageError,
    ImageTooLargeError,
    MultiFrameError,
    NotAnImageError,
    TruncatedImageError,
    UnsupportedImageError,
)
from hurdles.pixels.decode import decode, read_header
from hurdles.pixels.grayscale import gray_table
from hurdles.pixels.header import ImageHeader

SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(3).integers(0, 256, (48, 32)).astype(np.float32), (0, 0), 3
)


def levels(low: int, high: int, dtype: type = np.uint16) -> np.ndarray:
    scaled = cv2.normalize(SMOOTH.astype(np.float64), None, low, high, cv2.NORM_MINMAX)
    return np.rint(scaled).astype(dtype)


TWELVE = levels(0, 4095)
EIGHT = levels(0, 255, np.uint8)


def dataset(pixels: np.ndarray, bits: int | None = None, **elements: Any) -> Dataset:
    """Make a plain DX object of these stored values."""
    ds = Dataset()
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = generate_uid()
    ds.Modality = "DX"
    ds.PatientID = "p7"
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
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


def written(ds: Dataset, **options: Any) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, **({"enforce_file_format": True} | options))
    return buffer.getvalue()


def decoded(tmp_path: Path, content: Dataset | bytes, **options: int) -> np.ndarray:
    path = tmp_path / "image"
    path.write_bytes(content if isinstance(content, bytes) else written(content))
    pixels = decode(path, **options)
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() < pixels.max() <= 1
    header = read_header(path)
    assert (header.format, header.height, header.width) == ("DICOM", *pixels.shape)
    return pixels


def stretched(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


# --- grey values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "bits"),
    [
        (levels(100, 3000), 12),
        (levels(100, 60000), 16),
        (levels(-900, 1000, np.int16), 12),
        (levels(-30000, 1000, np.int16), 16),
    ],
)
def test_without_a_window_deep_pixels_are_stretched(
    tmp_path: Path, pixels: np.ndarray, bits: int
) -> None:
    result = decoded(tmp_path, dataset(pixels, bits))
    np.testing.assert_allclose(result, stretched(pixels), atol=1e-6)
    assert read_header(tmp_path / "image").bits == bits


@pytest.mark.parametrize(("low", "dtype"), [(0, np.uint8), (-128, np.int8)])
def test_without_a_window_eight_bits_keep_their_range(
    tmp_path: Path, low: int, dtype: type
) -> None:
    pixels = levels(low + 50, low + 200, dtype)
    result = decoded(tmp_path, dataset(pixels))
    np.testing.assert_allclose(result, (pixels.astype(float) - low) / 255, atol=1e-6)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = decoded(tmp_path, dataset(TWELVE, 12))
    inverted = decoded(tmp_path, dataset(TWELVE, 12, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(inverted, 1 - plain, atol=1e-6)
    window = {"WindowCenter": 2000, "WindowWidth": 1500}
    plain = decoded(tmp_path, dataset(TWELVE, 12, **window))
    inverted = decoded(
        tmp_path, dataset(TWELVE, 12, PhotometricInterpretation="MONOCHROME1", **window)
    )
    np.testing.assert_allclose(inverted, 1 - plain, atol=1e-6)


@given(
    centre=st.floats(-3000, 5000),
    width=st.floats(1, 9000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    slope=st.sampled_from([1, 0.5, 2.5]),
    intercept=st.sampled_from([0, -1024]),
    signed=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_windows_agree_with_pydicom_pixel_by_pixel(
    tmp_path_factory: pytest.TempPathFactory,
    centre: float,
    width: float,
    function: str,
    slope: float,
    intercept: float,
    signed: bool,
) -> None:
    ds = dataset(levels(-2000, 2000, np.int16) if signed else TWELVE, 12)
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    ds.WindowCenter, ds.WindowWidth = f"{centre:.6g}", f"{width:.6g}"
    ds.VOILUTFunction = function
    with np.errstate(over="ignore"):
        slow = apply_windowing(apply_modality_lut(ds.pixel_array, ds), ds)
    low = -2048 if signed else 0
    ends = np.array([low, low + 4095]) * slope + intercept
    expected = (slow - ends[0]) / (ends[1] - ends[0])
    path = tmp_path_factory.getbasetemp() / "windowed.dcm"
    path.write_bytes(written(ds))
    if np.ptp(expected) < 0.5 / 65535:
        with pytest.raises(ConstantImageError, match="same value"):
            decode(path)
    else:
        np.testing.assert_allclose(decode(path), expected, atol=2e-6)


def test_the_low_end_of_a_window_is_0_and_the_high_end_1(tmp_path: Path) -> None:
    # PS3.3 C.11.2.1.2.1: with centre 2048 and width 4096 the input range 0 to 4095 is kept whole
    result = decoded(tmp_path, dataset(TWELVE, 12, WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(result, TWELVE / 4095, atol=1e-6)


def test_of_several_windows_the_first_counts(tmp_path: Path) -> None:
    several = dataset(TWELVE, 12, WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    one = dataset(TWELVE, 12, WindowCenter=1000, WindowWidth=500)
    np.testing.assert_array_equal(decoded(tmp_path, several), decoded(tmp_path, one))


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 1000, "WindowWidth": 0},
        {"WindowCenter": 1000, "WindowWidth": -5},
        {"WindowCenter": 1000},
        {"WindowCenter": None, "WindowWidth": None},
    ],
)
def test_a_window_that_is_not_allowed_counts_as_missing(
    tmp_path: Path, window: dict[str, Any]
) -> None:
    result = decoded(tmp_path, dataset(TWELVE, 12, **window))
    np.testing.assert_allclose(result, stretched(TWELVE), atol=1e-6)


def test_a_window_of_width_1_is_a_threshold(tmp_path: Path) -> None:
    result = decoded(tmp_path, dataset(TWELVE, 12, WindowCenter=2000, WindowWidth=1))
    np.testing.assert_array_equal(result, TWELVE > 1999.5)


def lut(first: int, bits: int, data: np.ndarray) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(data), first, bits])
    item.LUTExplanation = "test"
    item.add_new("LUTData", "US", data.tolist())
    return item


def test_a_voi_lut_goes_before_a_window_and_the_first_counts(tmp_path: Path) -> None:
    curve = (np.linspace(0, 1, 4096) ** 2 * 1023).astype(np.uint16)
    ds = dataset(TWELVE, 12, WindowCenter=2000, WindowWidth=100)
    ds.VOILUTSequence = [lut(0, 10, curve), lut(0, 10, curve[::-1])]
    expected = apply_voi_lut(ds.pixel_array, ds, index=0) / 1023
    np.testing.assert_allclose(decoded(tmp_path, ds), expected, atol=1e-6)
    np.testing.assert_allclose(decoded(tmp_path, ds), curve[TWELVE] / 1023, atol=1e-6)


def test_a_modality_lut_goes_before_the_voi_lut(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12)
    item = lut(0, 16, (4095 - np.arange(4096)).astype(np.uint16))
    item.ModalityLUTType = "US"
    ds.ModalityLUTSequence = [item]
    ds.VOILUTSequence = [lut(0, 12, (np.arange(4096) // 2).astype(np.uint16))]
    expected = ((4095 - TWELVE.astype(int)) // 2) / 2047  # its own maximum
    np.testing.assert_allclose(decoded(tmp_path, ds), expected, atol=1e-6)


def test_a_voi_lut_after_a_fractional_rescale(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12, RescaleSlope=0.25, RescaleIntercept=-3)
    ds.VOILUTSequence = [lut(0, 10, np.arange(1024, dtype=np.uint16))]
    expected = np.clip(np.rint(TWELVE * 0.25 - 3), 0, 1023) / 1023
    np.testing.assert_allclose(decoded(tmp_path, ds), expected, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 3000}])
def test_padding_counts_for_no_range_and_is_black(
    tmp_path: Path, photometric: str, window: dict[str, int]
) -> None:
    bare = levels(1000, 3000)
    expected = decoded(tmp_path, dataset(bare, 16, PhotometricInterpretation=photometric, **window))
    padded = bare.copy()
    padded[:5], padded[5] = 65535, 65530
    elements = {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 65530, **window}
    # the extremes must stay among what is left
    assert {bare.min(), bare.max()} <= set(bare[6:].ravel())
    result = decoded(
        tmp_path, dataset(padded, 16, PhotometricInterpretation=photometric, **elements)
    )
    np.testing.assert_array_equal(result[:6], 0)
    np.testing.assert_array_equal(result[6:], expected[6:])


def test_signed_padding(tmp_path: Path) -> None:
    pixels = levels(-100, 900, np.int16)
    pixels[:4] = -2000
    result = decoded(tmp_path, dataset(pixels, 16, PixelPaddingValue=-2000))
    np.testing.assert_allclose(result[4:], stretched(pixels[4:]), atol=1e-6)
    np.testing.assert_array_equal(result[:4], 0)


@pytest.mark.parametrize("signed", [False, True])
def test_the_table_ignores_unused_high_bits_by_itself(signed: bool) -> None:
    pixels = levels(-2000, 2000, np.int16) if signed else TWELVE
    ds = dataset(pixels, 12, WindowCenter=500, WindowWidth=2000)
    table = gray_table(ds, pixels, ImageHeader("DICOM", *pixels.shape, 12, "MONOCHROME2"))
    codes = pixels.view(np.uint16)
    for overlay in (0x0000, 0xA000, 0xF000):
        np.testing.assert_array_equal(table[codes & 0xFFF | overlay], table[codes])


def test_unused_high_bits_are_ignored(tmp_path: Path) -> None:
    overlaid = TWELVE | ((np.arange(TWELVE.size).reshape(TWELVE.shape) % 2) << 12).astype(np.uint16)
    result = decoded(tmp_path, dataset(overlaid, 12))
    np.testing.assert_allclose(result, stretched(TWELVE), atol=1e-6)


# --- colour --------------------------------------------------------------------------------------


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_becomes_luma(tmp_path: Path, bits: int, planar: int) -> None:
    grey = EIGHT if bits == 8 else levels(0, 65535)
    rgb = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    ds = dataset(rgb)
    ds.PlanarConfiguration = planar
    if planar:
        ds.PixelData = np.moveaxis(rgb, -1, 0).tobytes()
    top = 2**bits - 1
    np.testing.assert_allclose(decoded(tmp_path, ds) * top, luma(rgb), rtol=0, atol=1.2)


def test_ybr_is_converted(tmp_path: Path) -> None:
    ybr = np.dstack([EIGHT, np.full_like(EIGHT, 128), np.full_like(EIGHT, 128)])
    ds = dataset(ybr, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(decoded(tmp_path, ds), EIGHT / 255, atol=1 / 255)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    ds = dataset(EIGHT, PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = (65535 - np.arange(256) * 257).astype("<u2")
        setattr(ds, f"{colour}PaletteColorLookupTableData", table.tobytes())
    np.testing.assert_allclose(decoded(tmp_path, ds), 1 - EIGHT / 255, atol=1e-4)


# --- transfer syntaxes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("syntax", "implicit", "little"),
    [
        (ImplicitVRLittleEndian, True, True),
        (ExplicitVRLittleEndian, False, True),
        (ExplicitVRBigEndian, False, False),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_plain_transfer_syntaxes(
    tmp_path: Path, syntax: str, implicit: bool, little: bool, signed: bool
) -> None:
    pixels = levels(-2000, 2000, np.int16) if signed else TWELVE
    ds = dataset(pixels, 12, WindowCenter=900, WindowWidth=1700, PixelPaddingValue=3)
    expected = decoded(tmp_path, ds)
    ds.file_meta.TransferSyntaxUID = syntax
    if not little:
        ds.PixelData = pixels.byteswap().tobytes()
    np.testing.assert_array_equal(decoded(tmp_path, ds), expected)


def transcoded(tmp_path: Path, ds: Dataset, syntax: int) -> bytes:
    source, target = tmp_path / "plain.dcm", tmp_path / "coded.dcm"
    source.write_bytes(written(ds))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target.read_bytes()


LOSSLESS = {
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
    "RLE": gdcm.TransferSyntax.RLELossless,
    "deflated": None,
}


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize(("pixels", "bits"), [(EIGHT, 8), (TWELVE, 12), (levels(9, 60000), 16)])
def test_lossless_transfer_syntaxes_are_exact(
    tmp_path: Path, name: str, pixels: np.ndarray, bits: int
) -> None:
    ds = dataset(pixels, bits, PhotometricInterpretation="MONOCHROME1")
    expected = decoded(tmp_path, ds)
    if LOSSLESS[name] is None:
        ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        content = written(ds)
    else:
        content = transcoded(tmp_path, ds, LOSSLESS[name])
    np.testing.assert_array_equal(decoded(tmp_path, content), expected)


def jpeg_dataset(content: bytes) -> Dataset:
    ds = dataset(EIGHT)
    ds.PixelData = encapsulate([content])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return ds


def test_baseline_jpeg(tmp_path: Path) -> None:
    content = cv2.imencode(".jpg", EIGHT, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    result = decoded(tmp_path, jpeg_dataset(content))
    assert np.abs(result * 255 - EIGHT).max() < 6


def test_pydicom_can_compress_and_we_read_it(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12)
    expected = decoded(tmp_path, ds)
    ds.compress(JPEG2000Lossless)
    np.testing.assert_array_equal(decoded(tmp_path, ds), expected)


# --- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "years"),
    [("045Y", 45.0), ("018M", 1.5), ("000D", 0.0), ("", None), ("forty", None), (None, None)],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_the_header_tells_who_and_how(tmp_path: Path, age: str | None, years: float | None) -> None:
    ds = dataset(EIGHT, PatientAge=age, PatientSex="F", ViewPosition="AP")
    decoded(tmp_path, ds)
    header = read_header(tmp_path / "image")
    assert (header.age, header.sex, header.view) == (years, Sex.FEMALE, View.AP)
    assert (header.patient, header.photometric, header.bits) == ("p7", "MONOCHROME2", 8)


def test_what_the_header_does_not_know_is_none(tmp_path: Path) -> None:
    ds = dataset(EIGHT, PatientSex="", ViewPosition="RAO", PatientID=" ")
    decoded(tmp_path, ds)
    header = read_header(tmp_path / "image")
    assert (header.age, header.sex, header.view, header.patient) == (None, None, None, None)


def test_lateral_views(tmp_path: Path) -> None:
    for position in ("LL", "RL"):
        decoded(tmp_path, dataset(EIGHT, ViewPosition=position))
        assert read_header(tmp_path / "image").view is View.LATERAL


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_file_without_preamble(tmp_path: Path, syntax: str) -> None:
    ds = dataset(TWELVE, 12)
    expected = decoded(tmp_path, ds)
    del ds.file_meta
    implicit = syntax == ImplicitVRLittleEndian
    content = written(ds, enforce_file_format=False, implicit_vr=implicit, little_endian=True)
    assert content[:2] == b"\x08\x00"
    np.testing.assert_array_equal(decoded(tmp_path, content), expected)


def test_a_preamble_that_looks_like_a_tiff(tmp_path: Path) -> None:
    content = b"II*\0" + written(dataset(TWELVE, 12))[4:]
    np.testing.assert_allclose(decoded(tmp_path, content), stretched(TWELVE), atol=1e-6)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("coding", ["plain", "JPEG-LS", "JPEG 2000", "RLE"])
def test_a_truncated_file_is_named(tmp_path: Path, coding: str, share: float) -> None:
    ds = dataset(TWELVE, 12)
    content = written(ds) if coding == "plain" else transcoded(tmp_path, ds, LOSSLESS[coding])
    with pytest.raises(ImageError, match=r"image: .*(damaged|holds no image)") as caught:
        decoded(tmp_path, content[: int(len(content) * share)])
    assert isinstance(caught.value, (TruncatedImageError, NotAnImageError))


def test_a_truncated_jpeg_inside_is_named(tmp_path: Path) -> None:
    content = cv2.imencode(".jpg", EIGHT, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    with pytest.raises(TruncatedImageError, match="pixels are damaged"):
        decoded(tmp_path, jpeg_dataset(content[: len(content) // 2]))


@pytest.mark.parametrize("damage", ["symbol", "counts", "stray bytes"])
def test_lossless_jpeg_that_brings_down_its_decoder_is_named(tmp_path: Path, damage: str) -> None:
    content = bytearray(transcoded(tmp_path, dataset(TWELVE, 12), LOSSLESS["JPEG lossless"]))
    table = content.index(b"\xff\xc4") + 5  # the counts of codes of 1 to 16 bits, then symbols
    if damage == "symbol":
        content[table + 16] = 0xEB
    elif damage == "counts":
        content[table] = 3
    else:
        content[table - 5 : table - 3] = b"\x09\x2a"
    with pytest.raises(TruncatedImageError, match="pixels are damaged"):
        decoded(tmp_path, bytes(content))


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    ds = dataset(EIGHT)
    ds.Rows = ds.Columns = 20_000
    with pytest.raises(ImageTooLargeError, match="20000 x 20000 pixels, more than 100,000,000"):
        decoded(tmp_path, ds)


@pytest.mark.parametrize("extension", [".jpg", ".jp2"])
def test_a_bomb_within_a_small_header_is_refused(tmp_path: Path, extension: str) -> None:
    big = np.zeros((3000, 3000), np.uint8)
    big[:9] = 200
    ds = jpeg_dataset(cv2.imencode(extension, big)[1].tobytes())
    if extension == ".jp2":
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    with pytest.raises(ImageError, match="3000 x 3000"):
        decoded(tmp_path, ds, max_pixels=1_000_000)


def test_several_frames_are_refused(tmp_path: Path) -> None:
    ds = dataset(EIGHT, NumberOfFrames=2)
    ds.PixelData = EIGHT.tobytes() * 2
    with pytest.raises(MultiFrameError, match="holds 2 frames"):
        decoded(tmp_path, ds)


@pytest.mark.parametrize("value", [0, 1234])
def test_a_constant_image_is_named(tmp_path: Path, value: int) -> None:
    with pytest.raises(ConstantImageError, match="same value"):
        decoded(tmp_path, dataset(np.full((9, 9), value, np.uint16)))


def test_an_image_that_its_window_makes_constant_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConstantImageError, match="same value, 1 of 1"):
        decoded(tmp_path, dataset(levels(2000, 3000), WindowCenter=100, WindowWidth=50))


def test_an_object_without_pixels_is_no_image(tmp_path: Path) -> None:
    ds = dataset(EIGHT, Modality="SR")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(ds, name)
    with pytest.raises(NotAnImageError, match=r"\(SR\) has no Rows, Columns, so it holds no image"):
        decoded(tmp_path, ds)


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_that_make_no_sense_are_refused(tmp_path: Path, bits: int) -> None:
    ds = dataset(np.dstack([EIGHT] * 3))
    ds.BitsStored = bits
    with pytest.raises(TruncatedImageError, match=f"{bits} of 8 bits"):
        decoded(tmp_path, ds)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    ds = dataset(EIGHT)
    del ds.PixelData
    ds.FloatPixelData = SMOOTH.tobytes()
    with pytest.raises(UnsupportedImageError, match="no integer Pixel Data"):
        decoded(tmp_path, ds)


def test_32_bit_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match="32 bits; radiographs have 8 or 16 bits"):
        decoded(tmp_path, dataset(EIGHT.astype(np.uint32)))


def test_a_transfer_syntax_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    ds = jpeg_dataset(b"\0" * 20)
    ds.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(UnsupportedImageError, match=r"no installed decoder reads .*MPEG2"):
        decoded(tmp_path, ds)


def test_jpeg_of_twelve_bits(tmp_path: Path) -> None:
    ds = dataset(TWELVE, 12, WindowCenter=2048, WindowWidth=4096)
    content = transcoded(tmp_path, ds, gdcm.TransferSyntax.JPEGExtendedProcess2_4)
    assert JPEGExtended12Bit.encode() in content
    assert np.abs(decoded(tmp_path, content) * 4095 - TWELVE).max() < 40


@given(st.integers(132, 900), st.binary(min_size=1, max_size=12))
@settings(max_examples=80, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_damage_never_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    content = bytearray(written(dataset(EIGHT, WindowCenter=100, WindowWidth=180)))
    content[at : at + len(junk)] = junk
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(bytes(content))
    try:
        pixels = decode(path, max_pixels=100_000)
    except ImageError:
        return
    assert 0 <= pixels.min() < pixels.max() <= 1
