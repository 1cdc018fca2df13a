"""The picture: right, or refused with the true reason."""

from __future__ import annotations

import io
import os
import resource
import struct
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from words_cases import case

_FINITE = "Finite or refused"
_LUTS = "Look-up tables"
_SLIVER = "A sliver of the range"
_RASTER = "TIFF, PNG and JPEG"
_REASONS = "True reasons"
_FORMS = "Forms that are read"
_DEATH = "A native decoder may die; hurdles may not"
_BOMBS = "Time and memory"


def _levels(low: int, high: int, dtype: type = np.uint16) -> np.ndarray:
    """Return a phantom of 128 x 128 pixels from `low` to `high`."""
    from hurdles.phantom import write_phantom

    folder = Path(tempfile.mkdtemp())
    write_phantom(folder, 3, seed=1, size=128)
    grey = cv2.imread(str(sorted(folder.rglob("*.png"))[0]), cv2.IMREAD_GRAYSCALE)
    smooth = cv2.GaussianBlur(grey.astype(np.float64), (0, 0), 2)
    return np.rint(cv2.normalize(smooth, None, low, high, cv2.NORM_MINMAX)).astype(dtype)


def _dataset(pixels: np.ndarray, bits: int, **elements: Any) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = generate_uid()
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored = 8 * pixels.dtype.itemsize, bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW" if ds.BitsAllocated == 16 else "OB"
    for name, value in elements.items():
        setattr(ds, name, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _written(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _with_text(ds: Dataset, keyword: str, vr: bytes, content: bytes) -> bytes:
    """Return the file with an element as nobody should write it."""
    from pydicom.tag import Tag

    tag = Tag(keyword)
    content += b" " * (len(content) % 2)
    ds.add_new(tag, "LO", "Z" * max(len(content), 2))
    plain = _written(ds)
    head = struct.pack("<HH", tag.group, tag.element)
    old = head + b"LO" + struct.pack("<H", max(len(content), 2)) + b"Z" * max(len(content), 2)
    assert plain.count(old) == 1
    return plain.replace(old, head + vr + struct.pack("<H", len(content)) + content)


def _saved(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _seen(content: Dataset | bytes, right: np.ndarray | None = None) -> str:
    """Say what `decode` makes of a file: how near to the right picture, or which error."""
    from hurdles.pixels.decode import decode

    path = Path(tempfile.mkdtemp()) / "image"
    path.write_bytes(content if isinstance(content, bytes) else _written(content))
    try:
        pixels = decode(path)
    except OSError as error:
        return f"{type(error).__name__}: {str(error).removeprefix(f'{path}: ')}"
    if not np.isfinite(pixels).all():
        return "a picture of NaN"
    if right is None or pixels.shape != right.shape:
        return f"a picture of {pixels.shape[1]} x {pixels.shape[0]}, up to {pixels.max():.2f}"
    unit = (right - right.min()) / np.ptp(right)
    likeness = np.corrcoef(pixels.ravel(), unit.ravel())[0, 1]
    return f"correlation {likeness:.3f}, up to {pixels.max():.2f}"


def _starts(*beginnings: str) -> Callable[[str], bool]:
    return lambda text: text.startswith(beginnings)


def _full(text: str) -> bool:
    return text in ("correlation 1.000, up to 1.00", "correlation 0.999, up to 1.00")


_RIGHT = "correlation 1.000, up to 1.00"


# --- finite --------------------------------------------------------------------------------------


@case(_FINITE, "window width NaN", f"{_RIGHT}: a missing window", _full)
def nan_window() -> str:
    pixels = _levels(0, 4095)
    ds = _dataset(pixels, 12, WindowCenter=2000)
    return _seen(_with_text(ds, "WindowWidth", b"DS", b"NaN"), pixels)


@case(_FINITE, "rescale slope NaN", "an error that names it", lambda text: "slope" in text)
def nan_slope() -> str:
    ds = _dataset(_levels(0, 4095), 12, RescaleIntercept=0)
    return _seen(_with_text(ds, "RescaleSlope", b"DS", b"NaN"))


# --- tables --------------------------------------------------------------------------------------


def _lut(count: int, first: int, bits: int, data: Any, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [count & 0xFFFF, first, bits])
    item.LUTExplanation, item.ModalityLUTType = "test", "US"
    item.add_new("LUTData", vr, data)
    return item


@case(_LUTS, "VOI LUT of 4,096 entries of 8 bits, two in a word", _RIGHT, _full)
def packed_table() -> str:
    pixels = _levels(0, 4095)
    data = (np.arange(4096) // 16).astype(np.uint8).tobytes()
    return _seen(_dataset(pixels, 12, VOILUTSequence=[_lut(4096, 0, 8, data, "OW")]), pixels)


@case(_LUTS, "modality LUT over all of int16, the identity", _RIGHT, _full)
def table_over_int16() -> str:
    pixels = _levels(-32768, 32767, np.int16)
    data = np.arange(65536, dtype="<u2").tobytes()
    ds = _dataset(pixels, 16, ModalityLUTSequence=[_lut(0, -32768, 16, data, "OW")])
    return _seen(ds, pixels.astype(float))


@case(_LUTS, "modality LUT of entries of 12 bits", _RIGHT, _full)
def table_of_twelve_bits() -> str:
    pixels = _levels(0, 4095)
    item = _lut(4096, 0, 12, list(range(4096)))
    return _seen(_dataset(pixels, 12, ModalityLUTSequence=[item]), pixels)


@case(_LUTS, "signed pixels, first value -2048 written without sign", _RIGHT, _full)
def first_value_without_sign() -> str:
    pixels = _levels(-2048, 2047, np.int16)
    item = _lut(4096, 63488, 12, list(range(4096)))
    return _seen(_dataset(pixels, 12, VOILUTSequence=[item]), pixels.astype(float))


@case(_LUTS, "palette of 8 bits announced as 16", _RIGHT, _full)
def palette_of_eight_bits() -> str:
    pixels = _levels(0, 255, np.uint8)
    ds = _dataset(pixels, 8, PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", np.arange(256, dtype="<u2").tobytes())
    return _seen(ds, pixels)


# --- range ---------------------------------------------------------------------------------------


@case(_SLIVER, "VOI LUT announced with 16 bits, entries of 12 (Agfa)", _RIGHT, _full)
def narrow_voi_lut() -> str:
    pixels = _levels(0, 4095)
    item = _lut(4096, 0, 16, list(range(4096)))
    return _seen(_dataset(pixels, 12, VOILUTSequence=[item]), pixels)


@case(_SLIVER, "12 bits in a PNG of 16", _RIGHT, _full)
def twelve_bits_in_png() -> str:
    pixels = _levels(0, 4095)
    return _seen(cv2.imencode(".png", pixels)[1].tobytes(), pixels)


@case(_SLIVER, "12 bits at the left of 16 (High Bit 15)", _RIGHT, _full)
def left_aligned() -> str:
    pixels = _levels(0, 4095)
    overlay = (np.arange(128) % 3 == 0).astype(np.uint16)
    return _seen(_dataset((pixels << 4) | overlay, 12, HighBit=15), pixels)


@case(
    _SLIVER,
    "High Bit 7 for 12 bits stored",
    "refused: header and values contradict each other",
    lambda text: "contradicts" in text,
)
def contradiction() -> str:
    return _seen(_dataset(_levels(0, 4095), 12, HighBit=7))


# --- raster --------------------------------------------------------------------------------------


@case(_RASTER, "TIFF with a thumbnail as first page", "a picture of 128 x 128, up to 1.00")
def thumbnail_first() -> str:
    pixels = _levels(0, 255, np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    image.resize((32, 32)).save(buffer, "TIFF", save_all=True, append_images=[image])
    return _seen(buffer.getvalue())


@case(
    _RASTER, "TIFF of signed 8-bit samples", "UnsupportedImageError", _starts("UnsupportedImageErr")
)
def signed_tiff() -> str:
    content = _saved(_levels(0, 255, np.uint8), "TIFF", tiffinfo={339: 2})
    return _seen(content)


@case(_RASTER, "TIFF in JPEG 2000", "unsupported, not damaged", _starts("UnsupportedImageError"))
def tiff_of_unknown_compression() -> str:
    content = bytearray(_saved(_levels(0, 255, np.uint8), "TIFF"))
    at = content.index(struct.pack("<HHI", 259, 3, 1)) + 8
    content[at : at + 2] = struct.pack("<H", 34712)
    return _seen(bytes(content))


@case(_RASTER, "grey PNG whose white is transparent", "a picture of 128 x 128, up to 0.99")
def transparent_white() -> str:
    pixels = np.clip(_levels(0, 300), 0, 255).astype(np.uint8)
    pixels[pixels == 254] = 253
    pixels[pixels == 253] = 252
    return _seen(_saved(pixels, "PNG", transparency=255))


def _jpeg(**options: Any) -> bytes:
    return _saved(_levels(0, 255, np.uint8), "JPEG", quality=90, **options)


@case(_RASTER, "JPEG cut at 30 %, its end marker put back", "damaged", _starts("TruncatedImage"))
def jpeg_cut() -> str:
    content = _jpeg()
    start = content.index(b"\xff\xda")
    return _seen(content[: start + (len(content) - start) * 3 // 10] + b"\xff\xd9")


@case(_RASTER, "JPEG with its lower half zeroed", "damaged", _starts("TruncatedImage"))
def jpeg_zeroed() -> str:
    content = _jpeg()
    half = (len(content) + content.index(b"\xff\xda")) // 2
    return _seen(content[:half] + bytes(len(content) - half - 2) + b"\xff\xd9")


@case(_RASTER, "JPEG of 400 bytes that claims 3000 x 3000", "damaged", _starts("TruncatedImage"))
def jpeg_of_nothing() -> str:
    content = bytearray(_jpeg())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 3000, 3000)
    return _seen(bytes(content[:400]) + b"\xff\xd9")


# --- reasons -------------------------------------------------------------------------------------


@case(_REASONS, "empty slope and intercept", _RIGHT, _full)
def empty_slope() -> str:
    pixels = _levels(0, 4095)
    return _seen(_dataset(pixels, 12, RescaleSlope=None, RescaleIntercept=None), pixels)


@case(_REASONS, "slope written 1,0", _RIGHT, _full)
def slope_with_comma() -> str:
    pixels = _levels(0, 4095)
    ds = _dataset(pixels, 12, RescaleIntercept=0)
    return _seen(_with_text(ds, "RescaleSlope", b"DS", b"1,0"), pixels)


@case(_REASONS, "Number of Frames blank", _RIGHT, _full)
def blank_frames() -> str:
    pixels = _levels(0, 4095)
    return _seen(_with_text(_dataset(pixels, 12), "NumberOfFrames", b"IS", b"  "), pixels)


@case(_REASONS, "photometric interpretation in lower case, no samples per pixel", _RIGHT, _full)
def lower_case() -> str:
    pixels = _levels(0, 4095)
    ds = _dataset(pixels, 12)
    del ds.SamplesPerPixel
    return _seen(_with_text(ds, "PhotometricInterpretation", b"CS", b"monochrome2"), pixels)


@case(_REASONS, "modality LUT sequence with an empty item", _RIGHT, _full)
def empty_item() -> str:
    pixels = _levels(0, 4095)
    return _seen(_dataset(pixels, 12, ModalityLUTSequence=[Dataset()]), pixels)


@case(
    _REASONS,
    "RLE file cut at 90 %",
    "damaged: its pixel data end early",
    lambda text: text.startswith("TruncatedImageError") and "pixel data end early" in text,
)
def compressed_cut() -> str:
    ds = _dataset(_levels(0, 4095), 12)
    ds.compress(RLELossless, generate_instance_uid=False)
    content = _written(ds)
    return _seen(content[: len(content) * 9 // 10])


@case(
    _REASONS,
    "window beside all values",
    "an error that names window and values",
    lambda text: "40000" in text and "4095" in text,
)
def window_beside() -> str:
    return _seen(_dataset(_levels(0, 4095), 12, WindowCenter=40000, WindowWidth=100))


# --- forms ---------------------------------------------------------------------------------------


def _encapsulated(frame: bytes, syntax: str, pixels: np.ndarray, bits: int) -> Dataset:
    ds = _dataset(pixels, bits)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


@case(
    _FORMS,
    "JPEG Extended of 12 bits, lossy",
    "correlation above 0.99, up to 1.00",
    _starts("correlation 0.99", "correlation 1.0"),
)
def jpeg_of_twelve_bits() -> str:
    import gdcm

    pixels = _levels(0, 4095)
    folder = Path(tempfile.mkdtemp())
    (folder / "plain.dcm").write_bytes(_written(_dataset(pixels, 12)))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    change.SetInput(reader.GetImage())
    change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "coded.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.Write()
    content = (folder / "coded.dcm").read_bytes()
    assert JPEGExtended12Bit.encode() in content
    return _seen(content, pixels)


@case(_FORMS, "JPEG frame in a file without transfer syntax", _RIGHT, _full)
def jpeg_without_syntax() -> str:
    pixels = _levels(0, 255, np.uint8)
    ds = _encapsulated(_jpeg(), JPEGBaseline8Bit, pixels, 8)
    return _seen(_written(ds).replace(JPEGBaseline8Bit.encode(), bytes(22), 1), pixels)


@case(_FORMS, "BMP", _RIGHT, _full)
def bmp() -> str:
    pixels = _levels(0, 255, np.uint8)
    return _seen(_saved(pixels, "BMP"), pixels)


@case(
    _FORMS,
    "x.jfif, x.img (TIFF) and x.ima (DICOM without preamble) in a class folder",
    "3 images",
)
def names_that_say_nothing() -> str:
    from hurdles.data.folder import manifest_from_folder

    folder = Path(tempfile.mkdtemp()) / "Normal"
    folder.mkdir()
    pixels = _levels(0, 255, np.uint8)
    (folder / "x.jfif").write_bytes(_jpeg())
    (folder / "x.img").write_bytes(_saved(pixels, "TIFF"))
    bare = _dataset(pixels, 8)
    del bare.file_meta
    buffer = io.BytesIO()
    bare.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=False)
    (folder / "x.ima").write_bytes(buffer.getvalue())
    return f"{len(manifest_from_folder(folder.parent))} images"


# --- deaths and bombs ----------------------------------------------------------------------------


@case(_DEATH, "JPEG-LS, precision byte 17", "an error of its file", _starts("TruncatedImageError"))
def jpeg_ls_of_precision_17() -> str:
    head = b"\xff\xd8\xff\xf7\0\x0b\x11" + struct.pack(">HH", 128, 128)
    frame = head + b"\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\0\0" + bytes(99)
    return _seen(_encapsulated(frame, JPEGLSLossless, _levels(0, 255, np.uint8), 8))


@case(
    _BOMBS,
    "deflated DICOM of 0.6 MB that inflates to 600 MB",
    "ImageTooLargeError under 300 MB",
    lambda text: text.startswith("ImageTooLargeError") and text.endswith("under 300 MB"),
)
def deflated_bomb() -> str:
    plain = _written(_dataset(_levels(0, 4095), 12))
    (length,) = struct.unpack_from("<I", plain, 140)
    meta, body = plain[: 144 + length], plain[144 + length :]
    short, uid = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"
    meta = meta.replace(struct.pack("<H", len(short)) + short, struct.pack("<H", len(uid)) + uid)
    meta = meta[:140] + struct.pack("<I", length + 2) + meta[144:]
    press = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    parts = [press.compress(struct.pack("<HH2sHI", 9, 0x1001, b"OB", 0, 600 << 20))]
    parts += [press.compress(bytes(1 << 20)) for _ in range(600)]
    said = _seen(meta + b"".join(parts) + press.compress(body) + press.flush())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return f"{said.partition(':')[0]} {'under 300 MB' if most < 300 else 'over 300 MB'}"


@case(
    _BOMBS,
    "progressive JPEG of 22 kB with 2,000 scans of 9000 x 9000",
    "ImageTooLargeError within 5 s",
    _starts("ImageTooLargeError within"),
)
def jpeg_of_many_scans() -> str:
    content = bytearray(_jpeg(progressive=True))
    frame = content.index(b"\xff\xc2")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 9000, 9000)
    scan = content.index(b"\xff\xda")
    started = time.perf_counter()
    # Half of the scans of the bomb that was found, so that the earlier version ends at all.
    said = _seen(bytes(content[:-2]) + bytes(content[scan : scan + 12]) * 1000 + b"\xff\xd9")
    within = "within" if time.perf_counter() - started < 5 else "not within"
    return f"{said.partition(':')[0]} {within} 5 s"


@case(
    _BOMBS,
    "a pipe among the images",
    "NotAnImageError within 5 s",
)
def pipe() -> str:
    import signal

    from hurdles.pixels.decode import decode

    path = Path(tempfile.mkdtemp()) / "a.png"
    os.mkfifo(path)

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(5)
    try:
        decode(path)
    except TimeoutError:
        return "waits for ever"
    except OSError as error:
        if isinstance(error.__cause__, TimeoutError):
            return "waits for ever"
        return f"{type(error).__name__} within 5 s"
    return "a picture"


# --- found by bench/fuzz.py and public test files ------------------------------------------------

_PARTS = "Parts that are missing, or too many"


@case(
    _PARTS,
    "DICOM whose pixel data hold 8 times the size in its header",
    "damaged",
    _starts("Trunc"),
)
def several_pictures() -> str:
    return _seen(_dataset(_levels(0, 4095), 12, Columns=3, Rows=128))


@case(_PARTS, "TIFF with one of 32 strips", "damaged: 1 of 32 strips", _starts("Trunc"))
def strips_that_are_missing() -> str:
    coded = io.BytesIO()
    pixels = _levels(0, 255, np.uint8)
    Image.fromarray(pixels).save(coded, "TIFF", tiffinfo={278: 128})
    content = bytearray(coded.getvalue())
    (start,) = struct.unpack_from("<I", content, 4)
    for entry in range(struct.unpack_from("<H", content, start)[0]):
        at = start + 2 + 12 * entry
        if struct.unpack_from("<H", content, at)[0] == 257:
            struct.pack_into("<HIHH", content, at + 2, 3, 1, 128 * 32, 0)
    return _seen(bytes(content))


@case(_PARTS, "JPEG 2000 frame of 128 x 128 that claims 9000 x 9000", "damaged", _starts("Trunc"))
def few_bytes() -> str:
    pixels = _levels(0, 255, np.uint8)
    coded = io.BytesIO()
    Image.fromarray(pixels // 64 * 64).save(coded, "JPEG2000", no_jp2=True)
    stream = bytearray(coded.getvalue())
    size = stream.index(b"\xff\x51")
    for place in (size + 6, size + 22):
        struct.pack_into(">II", stream, place, 9000, 9000)
    ds = _encapsulated(bytes(stream), JPEG2000Lossless, pixels, 8)
    ds.Rows = ds.Columns = 9000
    return _seen(ds)


@case(
    _BOMBS,
    "PNG of 300 bytes with a chunk of 4 GB announced behind its end",
    "less than 100 MB more",
    lambda text: text.startswith("0 MB"),
)
def chunk_behind_the_end() -> str:
    coded = cv2.imencode(".png", _levels(0, 255, np.uint8)[:24, :24])[1].tobytes()
    content = coded[:33] + coded[-12:] + b"\xff\0\0\xfdIDAT" + coded[33:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = _seen(content)
    grew = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e5
    return f"{int(grew) * 100} MB more at the most: {said}"


@case(
    _RASTER,
    "TIFF of 16-bit colors with multiplied transparency",
    "correlation 1.000",
    _starts("correlation 1.000"),
)
def multiplied_transparency() -> str:
    grey = _levels(0, 65535).astype(np.float64)
    alpha = np.linspace(0.2, 1, 128)[None, :] * np.ones((128, 1))
    samples = np.stack([grey * alpha] * 3 + [65535 * alpha], axis=-1).astype("<u2").tobytes()
    tags = [(256, 3, 1, 128), (257, 3, 1, 128), (258, 3, 4, 0), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 0), (277, 3, 1, 4), (278, 3, 1, 128), (279, 4, 1, len(samples)),
            (338, 3, 1, 1)]  # fmt: skip
    behind = 8 + 2 + 12 * len(tags) + 4
    places = {258: behind, 273: behind + 8}
    directory = b"".join(struct.pack("<HHII", t, k, n, places.get(t, v)) for t, k, n, v in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + directory + bytes(4)
    content = head + struct.pack("<4H", 16, 16, 16, 16) + samples
    return _seen(content, grey * alpha)
