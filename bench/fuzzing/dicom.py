"""DICOM objects written element by element, so that each may say what no writer would let it.

The grammar draws values that mean something to a reader: depths, sizes, counts, NaN, empty, a comma
for a point, tables of another length than announced. Written by hand in every transfer syntax,
since writers of the field refuse such values.
"""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from fuzzing.mutations import NUMBERS, Rng, blind, jpeg

__all__ = ["SYNTAXES", "case", "header_case"]

_UID = "1.2.840.10008.1.2"
_LONG = frozenset({"OB", "OW", "SQ", "UN", "UT", "OF"})


class Syntax(NamedTuple):
    """A transfer syntax, and how its pixels are coded; no code means that they are plain."""

    uid: str
    code: str = ""


SYNTAXES = {
    "implicit little endian": Syntax(_UID),
    "explicit little endian": Syntax(_UID + ".1"),
    "explicit big endian": Syntax(_UID + ".2"),
    "deflated": Syntax(_UID + ".1.99"),
    "RLE": Syntax(_UID + ".5", "rle"),
    "JPEG baseline": Syntax(_UID + ".4.50", "jpeg"),
    "JPEG extended": Syntax(_UID + ".4.51", "jpeg12"),
    "JPEG lossless": Syntax(_UID + ".4.57", "lossless"),
    "JPEG lossless SV1": Syntax(_UID + ".4.70", "lossless"),
    "JPEG-LS": Syntax(_UID + ".4.80", "ls"),
    "JPEG-LS near-lossless": Syntax(_UID + ".4.81", "ls"),
    "JPEG 2000 lossless": Syntax(_UID + ".4.90", "j2k"),
    "JPEG 2000": Syntax(_UID + ".4.91", "j2k"),
    "HTJ2K lossless": Syntax(_UID + ".4.201", "j2k"),
    "HTJ2K": Syntax(_UID + ".4.203", "j2k"),
}

#: What a text of the header may be made to say.
_TEXTS = ("", " ", "0", "1", "-1", "0.5", "1e-9", "1e30", "1e999", "nan", "NaN", "inf", "-inf",
          "1,5", "40.0", "255", "4096", "65535", "-32768", "1\\2", "\\", "400\\40", "40\\400\\4",
          "abc", "9" * 20, "\x00", "LINEAR", "LINEAR_EXACT", "SIGMOID", "sigmoid", "MONOCHROME1",
          "monochrome2", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422",
          "YBR_RCT", "IDENTITY", "INVERSE", "045Y", "É")  # fmt: skip

#: Elements that say how the pixels are to be read: (group, element, VR).
_SAMPLES, _PHOTOMETRIC = (0x0028, 0x0002, "US"), (0x0028, 0x0004, "CS")
_PLANAR, _FRAMES = (0x0028, 0x0006, "US"), (0x0028, 0x0008, "IS")
_ROWS, _COLUMNS, _ASPECT = (0x0028, 0x0010, "US"), (0x0028, 0x0011, "US"), (0x0028, 0x0034, "IS")
_ALLOCATED, _STORED = (0x0028, 0x0100, "US"), (0x0028, 0x0101, "US")
_HIGH, _SIGNED = (0x0028, 0x0102, "US"), (0x0028, 0x0103, "US")
_SMALLEST, _LARGEST = (0x0028, 0x0106, "US"), (0x0028, 0x0107, "US")
_PADDING = (0x0028, 0x0120, "US")
_CENTER, _WIDTH = (0x0028, 0x1050, "DS"), (0x0028, 0x1051, "DS")
_INTERCEPT, _SLOPE = (0x0028, 0x1052, "DS"), (0x0028, 0x1053, "DS")
_FUNCTION, _SHAPE = (0x0028, 0x1056, "CS"), (0x2050, 0x0020, "CS")
_MODALITY_LUT, _VOI_LUT = (0x0028, 0x3000, "SQ"), (0x0028, 0x3010, "SQ")
_DESCRIPTOR, _ENTRIES = (0x0028, 0x3002, "US"), (0x0028, 0x3006, "OW")
_MODALITY, _SEX, _AGE = (0x0008, 0x0060, "CS"), (0x0010, 0x0040, "CS"), (0x0010, 0x1010, "AS")
_PATIENT, _VIEW, _CHARSET = (0x0010, 0x0020, "LO"), (0x0018, 0x5101, "CS"), (0x0008, 0x0005, "CS")
_PIXELS = (0x7FE0, 0x0010, "OW")
_RED = [(0x0028, 0x1101 + i, "US") for i in range(3)]
_RED_DATA = [(0x0028, 0x1201 + i, "OW") for i in range(3)]

_WORDS = (_SAMPLES, _PLANAR, _ROWS, _COLUMNS, _ALLOCATED, _STORED, _HIGH, _SIGNED, _SMALLEST,
          _LARGEST, _PADDING)  # fmt: skip
_SAID = (_PHOTOMETRIC, _FRAMES, _ASPECT, _CENTER, _WIDTH, _INTERCEPT, _SLOPE, _FUNCTION, _SHAPE,
         _MODALITY, _SEX, _AGE, _PATIENT, _VIEW, _CHARSET)  # fmt: skip


def _picture(bits: int, size: tuple[int, int] = (20, 24)) -> np.ndarray:
    noise = np.random.default_rng(7).random(size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (smooth * ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def _coded(code: str, bits: int) -> bytes:
    """Return one frame of `_picture` in a code stream."""
    pixels = _picture(bits)
    if code == "jpeg":
        return cv2.imencode(".jpg", pixels)[1].tobytes()
    if code == "j2k":
        coded = io.BytesIO()
        Image.fromarray(pixels).save(coded, "JPEG2000", no_jp2=True, num_resolutions=3)
        return coded.getvalue()
    if code == "rle":
        from pydicom.pixels.encoders import RLELosslessEncoder

        height, width = pixels.shape
        depth = 8 * pixels.itemsize
        return RLELosslessEncoder.encode(
            pixels.tobytes(), rows=height, columns=width, samples_per_pixel=1,
            photometric_interpretation="MONOCHROME2", bits_allocated=depth, bits_stored=bits,
            pixel_representation=0, number_of_frames=1,
        )  # fmt: skip
    return _by_gdcm(code, pixels, bits)


def _by_gdcm(code: str, pixels: np.ndarray, bits: int) -> bytes:
    import gdcm
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    names = {"jpeg12": "JPEGExtendedProcess2_4", "lossless": "JPEGLosslessProcess14_1"}
    change = gdcm.ImageChangeTransferSyntax()
    wanted = getattr(gdcm.TransferSyntax, names.get(code, "JPEGLSLossless"))
    change.SetTransferSyntax(gdcm.TransferSyntax(wanted))
    with tempfile.TemporaryDirectory() as folder:
        plain, coded = (str(Path(folder) / name) for name in ("plain.dcm", "coded.dcm"))
        elements = _header(bits) | {(0x0008, 0x0016, "UI"): "1.2.840.10008.5.1.4.1.1.7"}
        Path(plain).write_bytes(_file(_UID + ".1", elements, pixels.ravel(), encapsulated=False))
        reader, writer = gdcm.ImageReader(), gdcm.ImageWriter()
        reader.SetFileName(plain)
        if not reader.Read():
            raise RuntimeError("GDCM does not read what is to be coded")
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError(f"GDCM does not write {code}")
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(coded)
        writer.Write()
        return get_frame(dcmread(coded, force=True).PixelData, 0, number_of_frames=1)


_FRAMES_MADE: dict[tuple[str, int], bytes] = {}


def case(syntax: str, rng: Rng) -> bytes:
    """Return a file in this transfer syntax, changed in its header, its frame, or anywhere."""
    uid, code = SYNTAXES[syntax]
    bits = 8 if code == "jpeg" else int(rng.choice((8, 12, 12, 16)))
    if code == "jpeg12":
        bits = 12
    elements = _header(bits)
    if rng.random() < 0.3:
        elements |= _tables(rng)
    for _ in range(int(rng.choice((0, 1, 1, 2, 3)))):
        _say(elements, rng)
    if code:
        frame = _FRAMES_MADE.get((code, bits)) or _coded(code, bits)
        _FRAMES_MADE[code, bits] = frame
        for _ in range(int(rng.choice((0, 1, 1, 2)))):
            frame = (blind if rng.random() < 0.6 or code == "rle" else jpeg)(frame, rng)
        pixels: Any = _encapsulated(frame, rng)
    else:
        pixels = _picture(bits).ravel()
        if rng.random() < 0.2:
            pixels = pixels[: rng.integers(len(pixels))]
    content = _file(uid, elements, pixels, encapsulated=bool(code))
    return blind(content, rng) if rng.random() < 0.3 else content


def header_case(rng: Rng) -> bytes:
    """Return a whole picture without compression under a header that says odd things."""
    bits = int(rng.choice((8, 12, 16)))
    elements = _header(bits)
    if rng.random() < 0.5:
        elements |= _tables(rng)
    for _ in range(int(rng.choice((1, 1, 2)))):
        _say(elements, rng)
    uid = _UID + str(rng.choice(("", ".1", ".2")))
    return _file(uid, elements, _picture(bits).ravel(), encapsulated=False)


def _header(bits: int) -> dict[tuple[int, int, str], Any]:
    height, width = _picture(bits).shape
    return {
        _MODALITY: "DX", _PATIENT: "p1", _SEX: "F", _AGE: "045Y", _VIEW: "PA", _SAMPLES: [1],
        _PHOTOMETRIC: "MONOCHROME2", _ROWS: [height], _COLUMNS: [width],
        _ALLOCATED: [8 if bits == 8 else 16], _STORED: [bits], _HIGH: [bits - 1], _SIGNED: [0],
        _CENTER: str(1 << (bits - 1)), _WIDTH: str(1 << bits),
    }  # fmt: skip


def _tables(rng: Rng) -> dict[tuple[int, int, str], Any]:
    """Draw look-up tables: for modality and VOI, or of a palette, with descriptors that may lie."""
    depth = int(rng.choice((8, 10, 12, 16)))
    many = int(rng.choice((0, 1, 16, 256, 4096)))
    entries = np.sort(rng.integers(0, 1 << depth, many or 256)).astype(np.uint16)
    said = [many, int(rng.choice((0, 0, 1, 100, 65535))), int(rng.choice((depth, 8, 16, 12, 0)))]
    values: Any = entries if rng.random() < 0.8 else entries.astype(np.uint8)
    if rng.random() < 0.3:
        descriptors = dict.fromkeys(_RED, said)
        return descriptors | dict.fromkeys(_RED_DATA, values) | {_PHOTOMETRIC: "PALETTE COLOR"}
    name = (_MODALITY_LUT, _VOI_LUT)[rng.integers(2)]
    items = {0: {}, 1: {_DESCRIPTOR: said}}.get(int(rng.integers(8)))
    return {name: {_DESCRIPTOR: said, _ENTRIES: values} if items is None else items}


def _say(elements: dict[tuple[int, int, str], Any], rng: Rng) -> None:
    if rng.random() < 0.5:
        key = _WORDS[rng.integers(len(_WORDS))]
        value = NUMBERS[rng.integers(len(NUMBERS))] & 0xFFFF
        elements[key] = [[value], [], [value, 1], [value] * 3][int(rng.choice((0, 0, 0, 1, 2, 3)))]
    else:
        key = _SAID[rng.integers(len(_SAID))]
        elements[key] = _TEXTS[rng.integers(len(_TEXTS))]
    if rng.random() < 0.1:
        del elements[key]


# --- writing -------------------------------------------------------------------------------------


def _encapsulated(frame: bytes, rng: Rng) -> bytes:
    """Put a frame into one or two fragments behind an offset table that may lie."""
    table = b"" if rng.random() < 0.8 else struct.pack("<I", NUMBERS[rng.integers(len(NUMBERS))])
    at = len(frame) if rng.random() < 0.9 else 2 * int(rng.integers(len(frame) // 2 + 1))
    items = [table] + [piece for piece in (frame[:at], frame[at:]) if piece]
    content = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(item) + len(item) % 2)
        + item
        + b"\0" * (len(item) % 2)
        for item in items
    )
    return content + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def _file(uid: str, elements: dict[Any, Any], pixels: Any, *, encapsulated: bool) -> bytes:
    order, explicit = ">" if uid == _UID + ".2" else "<", uid != _UID
    body = _dataset(elements, order, explicit)
    if encapsulated:
        body += struct.pack("<HH2sHI", *_PIXELS[:2], b"OB", 0, 0xFFFFFFFF) + pixels
    else:
        vr = "OB" if pixels.itemsize == 1 and explicit else "OW"
        body += _dataset({(*_PIXELS[:2], vr): pixels}, order, explicit)
    if uid == _UID + ".1.99":
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = deflate.compress(body) + deflate.flush()
    meta = _dataset({(0x0002, 0x0010, "UI"): uid}, "<", True)
    meta = _dataset({(0x0002, 0x0000, "UL"): [len(meta)]}, "<", True) + meta
    return bytes(128) + b"DICM" + meta + body


def _dataset(elements: dict[Any, Any], order: str, explicit: bool) -> bytes:
    written = io.BytesIO()
    for (group, element, vr), value in sorted(elements.items(), key=lambda item: item[0][:2]):
        content = _value(value, vr, order, explicit)
        content += (b"\0" if vr in _LONG | {"UI"} else b" ") * (len(content) % 2)
        written.write(struct.pack(order + "HH", group, element))
        if not explicit:
            written.write(struct.pack(order + "I", len(content)))
        elif vr in _LONG:
            written.write(vr.encode() + struct.pack(order + "HI", 0, len(content)))
        else:
            written.write(vr.encode() + struct.pack(order + "H", len(content)))
        written.write(content)
    return written.getvalue()


def _value(value: Any, vr: str, order: str, explicit: bool) -> bytes:
    if isinstance(value, dict):
        item = _dataset(value, order, explicit)
        return struct.pack(order + "HHI", 0xFFFE, 0xE000, len(item)) + item
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder(order)).tobytes()
    return struct.pack(f"{order}{len(value)}{'I' if vr == 'UL' else 'H'}", *value)
