"""How JPEG, PNG and WebP are built: header, orientation, and whether all is there.

OpenCV fills a missing rest with grey; here PNG and WebP are walked from part to part, and a missing
part is an error. A JPEG has no checksums: whether it is whole its decoder says. Sources: ITU-T T.81
(JPEG), the PNG specification (third edition), the WebP container specification, CIPA DC-008 (EXIF).
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, NamedTuple

from hurdles.errors import TruncatedImageError

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_COLOURS = {1: "MONOCHROME2", 3: "RGB", 4: "CMYK"}
_PNG_COLOURS = {2: "RGB", 3: "PALETTE COLOR", 6: "RGB"}


class Container(NamedTuple):
    """What the parts of a file say; height and width as stored, before any orientation."""

    height: int
    width: int
    bits: int
    photometric: str
    frames: int = 1
    orientation: int = 1
    process: int = 0  # JPEG: its start-of-frame marker
    transparent: int | None = None  # PNG: the one grey value that is


def damaged(kind: str, why: str) -> TruncatedImageError:
    """Return the error for a file whose parts contradict each other."""
    return TruncatedImageError(f"the {kind} file is damaged ({why}); fetch it again.")


def read_container(handle: BinaryIO, kind: str) -> Container:
    """Read the parts that describe the image, and skip those that are the image."""
    handle.seek(0)
    try:
        found = _READERS[kind](handle)
    except struct.error as error:
        raise damaged(kind, "its header is incomplete") from error
    if found is None:
        raise damaged(kind, "it has no header")
    return found


def whole(data: bytes, kind: str) -> bytes:
    """Return a PNG or WebP without what lies behind its end, at which decoders look as well."""
    return data[: _ENDS[kind](data)]


# --- JPEG ----------------------------------------------------------------------------------------


def _read_jpeg(handle: BinaryIO) -> Container | None:
    handle.seek(2)
    orientation = 1
    while True:
        byte = handle.read(1)
        while byte == b"\xff":  # any number of fill bytes may stand before a marker
            byte = handle.read(1)
        if byte in (b"", b"\xd9", b"\xda"):
            return None
        (length,) = struct.unpack(">H", handle.read(2))
        body = handle.read(max(length - 2, 0))
        if byte == b"\xe1" and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = _exif_orientation(body[6:])
        if byte[0] in _JPEG_FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", body)
            colours = _JPEG_COLOURS.get(components, "RGB")
            return Container(height, width, bits, colours, 1, orientation, byte[0])


# --- PNG -----------------------------------------------------------------------------------------


def _read_png(handle: BinaryIO) -> Container | None:
    handle.seek(8)
    header: tuple[int, ...] | None = None
    frames, orientation, transparent = 1, 1, None
    while len(head := handle.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"IHDR":
            header = struct.unpack_from(">IIBB", handle.read(length))
            handle.seek(4, 1)
        elif name == b"acTL":
            (frames,) = struct.unpack_from(">I", handle.read(length))
            handle.seek(4, 1)
        elif name == b"tRNS" and length == 2:
            (transparent,) = struct.unpack(">H", handle.read(2))
            handle.seek(4, 1)
        elif name == b"eXIf":
            orientation = _exif_orientation(handle.read(length))
            handle.seek(4, 1)
        elif name == b"IEND":
            break
        else:
            handle.seek(length + 4, 1)
    if header is None:
        return None
    width, height, bits, colour = header
    photometric = _PNG_COLOURS.get(colour, "MONOCHROME2")
    if colour != 0:
        transparent = None  # of a palette: transparency of its first two colours
    return Container(
        height, width, bits, photometric, max(frames, 1), orientation, transparent=transparent
    )


def _png_end(data: bytes) -> int:
    view = memoryview(data)
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end: int = position + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise damaged("PNG", f"wrong checksum in chunk {name.decode('latin-1')!r}")
        if name == b"IEND":
            return end
        position = end
    raise TruncatedImageError("the PNG file ends before its last chunk; fetch it again.")


# --- WebP ----------------------------------------------------------------------------------------


def _read_webp(handle: BinaryIO) -> Container | None:
    handle.seek(12)
    size: tuple[int, int] | None = None
    frames, orientation = 0, 1
    while len(head := handle.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        following = handle.tell() + length + length % 2
        if name in (b"VP8X", b"VP8 ", b"VP8L"):
            size = size or _webp_size(name, handle.read(10))
        elif name == b"ANMF":
            frames += 1
        elif name == b"EXIF":
            body = handle.read(length)
            orientation = _exif_orientation(body.removeprefix(b"Exif\0\0"))
        handle.seek(following)
    if size is None:
        return None
    return Container(*size, 8, "RGB", max(frames, 1), orientation)


def _webp_size(name: bytes, body: bytes) -> tuple[int, int]:
    """Return height and width from the first bytes of an image chunk."""
    if name == b"VP8X":
        struct.unpack_from("10x", body)
        width, height = (1 + int.from_bytes(body[i : i + 3], "little") for i in (4, 7))
    elif name == b"VP8L":
        (word,) = struct.unpack_from("<xI", body)
        width, height = 1 + (word & 0x3FFF), 1 + (word >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<6xHH", body))
    return height, width


def _webp_end(data: bytes) -> int:
    announced = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < announced:
        raise TruncatedImageError(
            f"the WebP file has {len(data)} of {announced} bytes; fetch it again."
        )
    return announced


# --- EXIF ----------------------------------------------------------------------------------------


def _exif_orientation(exif: bytes) -> int:
    """Return tag 0x0112 of the first directory; 1, upright, where the block is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for i in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * i)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_READERS = {"JPEG": _read_jpeg, "PNG": _read_png, "WebP": _read_webp}
_ENDS = {"PNG": _png_end, "WebP": _webp_end}
