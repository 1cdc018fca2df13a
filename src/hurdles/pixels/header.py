"""Headers of image files, read before a single pixel is decoded, and warnings about files.

JPEG, PNG and WebP are walked from part to part here; of TIFF and BMP Pillow reads the header
(`hurdles.pixels.raster`), of DICOM pydicom (`hurdles.pixels.dicom`). OpenCV fills a missing rest
with gray, so that a missing part of a PNG or WebP is an error here. A JPEG has no checksums:
whether it is whole its decoder says. Sources: ITU-T T.81 (JPEG), the PNG specification (third
edition), the WebP container specification, CIPA DC-008 (EXIF).

A file that is read all the same may deserve a warning: `notice` logs it with the file's path.
pydicom and Pillow warn through Python's `warnings`, whose filters belong to all threads at once and
whose texts name no file; they are caught while a file is read, and logged with its path as well.
"""

from __future__ import annotations

import logging
import struct
import threading
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from hurdles.data.vocabulary import Sex, View
from hurdles.errors import ImageError, ImageTooLargeError, MultiFrameError, TruncatedImageError

__all__ = ["ImageHeader"]

#: The largest detectors give about 20 megapixels; five times that is no radiograph.
DEFAULT_MAX_PIXELS = 100_000_000

#: Start-of-frame markers of JPEG.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_COLORS = {1: "MONOCHROME2", 3: "RGB", 4: "CMYK"}
_PNG_COLORS = {2: "RGB", 3: "PALETTE COLOR", 6: "RGB"}


@dataclass(frozen=True)
class ImageHeader:
    """Facts that a file states about its image.

    Parameters
    ----------
    format : str
        ``PNG``, ``JPEG``, ``WebP``, ``TIFF``, ``BMP`` or ``DICOM``.
    height, width : int
        Pixels, upright: as `hurdles.pixels.decode.decode` returns them.
    bits : int
        Bits stored per sample.
    photometric : str
        How samples are to be read, in the terms of DICOM Photometric Interpretation
        (0028,0004) for every format: ``MONOCHROME2``, ``RGB``, ``PALETTE COLOR`` ...
    frames : int
        How many images the file holds; only files of one are decoded.
    view, sex, age, patient
        From a DICOM header, where they are present and make sense; age in years.
    """

    format: str
    height: int
    width: int
    bits: int
    photometric: str
    frames: int = 1
    view: View | None = None
    sex: Sex | None = None
    age: float | None = None
    patient: str | None = None


def check_header(header: ImageHeader, max_pixels: int) -> None:
    """Refuse an image of no pixels, of more than `max_pixels`, or of several frames."""
    if header.height < 1 or header.width < 1:
        raise TruncatedImageError(
            f"the header announces {header.width} x {header.height} pixels; fetch the file again."
        )
    if header.height * header.width > max_pixels:
        raise ImageTooLargeError(
            f"the header announces {header.width} x {header.height} pixels, more than "
            f"{max_pixels:,} in all; raise max_pixels if you trust this file."
        )
    if header.frames > 1:
        raise MultiFrameError(
            f"the file holds {header.frames} frames; export the one radiograph that is meant."
        )


# --- JPEG, PNG and WebP --------------------------------------------------------------------------


class Container(NamedTuple):
    """Facts from the parts of a file; height and width as stored, before any orientation."""

    height: int
    width: int
    bits: int
    photometric: str
    frames: int = 1
    orientation: int = 1
    process: int = 0  # JPEG: its start-of-frame marker
    transparent: int | None = None  # PNG: the one gray value that is

    def header(self, kind: str) -> ImageHeader:
        """Return the same as a header: the image upright."""
        size = self.height, self.width
        height, width = size[::-1] if self.orientation >= 5 else size
        return ImageHeader(kind, height, width, self.bits, self.photometric, self.frames)


def damaged(kind: str, why: str) -> TruncatedImageError:
    """Return the error for a file whose parts contradict each other."""
    return TruncatedImageError(f"the {kind} file is damaged ({why}); fetch it again.")


@contextmanager
def failing_as(describe: Callable[[Exception], ImageError]) -> Iterator[None]:
    """Turn whatever a library raises on damaged bytes, in many ways, into an image error."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise describe(error) from error


def read_container(handle: BinaryIO, kind: str) -> Container:
    """Read the parts that describe the image, and skip those that are the image."""
    reader = {"JPEG": _read_jpeg, "PNG": _read_png, "WebP": _read_webp}[kind]
    handle.seek(0)
    try:
        container = reader(handle)
    except struct.error as error:
        raise damaged(kind, "its header is incomplete") from error
    if container is None:
        raise damaged(kind, "it has no header")
    return container


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
        if byte[0] in JPEG_FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", body)
            colors = _JPEG_COLORS.get(components, "RGB")
            return Container(height, width, bits, colors, 1, orientation, byte[0])


def _read_png(handle: BinaryIO) -> Container | None:
    handle.seek(8)
    header: tuple[int, ...] | None = None
    frames, orientation, transparent = 1, 1, None
    while len(head := handle.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        following = handle.tell() + length + 4  # behind the checksum
        if name == b"IHDR":
            header = struct.unpack_from(">IIBB", handle.read(length))
        elif name == b"acTL":
            (frames,) = struct.unpack_from(">I", handle.read(length))
        elif name == b"tRNS" and length == 2:
            (transparent,) = struct.unpack(">H", handle.read(2))
        elif name == b"eXIf":
            orientation = _exif_orientation(handle.read(length))
        elif name == b"IEND":
            break
        handle.seek(following)
    if header is None:
        return None
    width, height, bits, color = header
    photometric = _PNG_COLORS.get(color, "MONOCHROME2")
    if color != 0:
        transparent = None  # of a palette: transparency of its first two colors
    return Container(
        height, width, bits, photometric, max(frames, 1), orientation, transparent=transparent
    )


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


def whole(data: bytes, kind: str) -> bytes:
    """Return a PNG or WebP without what lies behind its end, at which decoders look as well."""
    if kind == "WebP":
        announced = 8 + int.from_bytes(data[4:8], "little")
        if len(data) < announced:
            raise TruncatedImageError(
                f"the WebP file has {len(data)} of {announced} bytes; fetch it again."
            )
        return data[:announced]
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise damaged("PNG", f"wrong checksum in chunk {name.decode('latin-1')!r}")
        if name == b"IEND":
            return data[:end]
        at = end
    raise TruncatedImageError("the PNG file ends before its last chunk; fetch it again.")


# --- warnings about files ------------------------------------------------------------------------


#: A collection may have thousands of files of one kind: so many of them are warned of, the rest is
#: logged for debugging.
_WARNED_OF_ONE_KIND = 5

_log = logging.getLogger("hurdles.data")  # which the command line speaks
_path: ContextVar[str | Path | None] = ContextVar("_path", default=None)
_counts: Counter[str] = Counter()


def notice(kind: str, message: str) -> None:
    """Warn about the file that is being read."""
    _counts[kind] += 1
    last = " (more files like this are not listed)"
    _log.log(
        logging.WARNING if _counts[kind] <= _WARNED_OF_ONE_KIND else logging.DEBUG,
        "%s: %s%s", _path.get() or "a file", message,
        last if _counts[kind] == _WARNED_OF_ONE_KIND else "",
    )  # fmt: skip


@contextmanager
def about(path: str | Path) -> Iterator[None]:
    """Name `path` in every notice, and in every Python warning, until the block ends."""
    token = _path.set(path)
    try:
        with _SHARED:
            yield
    finally:
        _path.reset(token)


class _SharedCatch:
    """One `warnings.catch_warnings` for all threads that read files at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._catch = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            self._catch = warnings.catch_warnings()
            self._catch.__enter__()
            usual = warnings.showwarning

            def show(message: Warning | str, *rest: Any, **more: Any) -> None:
                if _path.get() is None:  # of a thread that reads no file
                    usual(message, *rest, **more)
                else:
                    notice(f"{type(message).__name__} {message}", str(message))

            warnings.simplefilter("always")
            warnings.showwarning = show

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._catch.__exit__(None, None, None)


_SHARED = _SharedCatch()


def _add_path(record: logging.LogRecord) -> bool:
    """Name the file in what pydicom logs beside its warnings."""
    if _path.get() is not None:
        record.msg = f"{_path.get()}: {record.msg}"
    return True


logging.getLogger("pydicom").addFilter(_add_path)
