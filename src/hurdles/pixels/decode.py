"""One door for every file: bytes in, ``float32`` pixels within [0, 1] out.

The format is told from the content, never from the name: PNG, JPEG, WebP, TIFF, BMP and DICOM. The
rules that turn a file's numbers into [0, 1] stand in `hurdles.pixels.raster` and
`hurdles.pixels.dicom`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hurdles.data.image_file import SNIFFED_BYTES, format_of, opened
from hurdles.errors import (
    ConstantImageError,
    ImageError,
    ImageTooLargeError,
    TruncatedImageError,
)
from hurdles.pixels import dicom, raster
from hurdles.pixels.header import DEFAULT_MAX_PIXELS, ImageHeader, about, notice
from hurdles.pixels.raster import unit

__all__ = ["Radiograph", "decode", "read_header"]


#: Part of every cache key. Raise it when the same file comes to give other pixels.
DECODER_VERSION = 2

#: The largest file: so many bytes a pixel (four samples of 16 bits), and so many for the rest.
_BYTES_PER_PIXEL, _MORE_BYTES = 8, 64 << 20
#: Half a gray level of 16 bits: only a window that cuts everything off leaves less.
_SMALLEST_STEP = 0.5 / 65535
#: A 12-bit picture that is taken for one of 16 bits uses a sixteenth.
_SLIVER = 1 / 8


def decode(path: str | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> np.ndarray:
    """Read one radiograph.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG, WebP, TIFF, BMP or DICOM file; its name does not matter.
    max_pixels : int
        The header's height times width may not exceed this; it is checked before decoding.

    Returns
    -------
    ndarray of float32, shape (H, W), within [0, 1]
        0 is the darkest value that the file's format can hold, or the low end of the DICOM
        window; 1 the brightest. Bone is bright.

    Raises
    ------
    ImageError
        With the path, and as the subclass that says what is wrong: `NotAnImageError`,
        `TruncatedImageError`, `ImageTooLargeError`, `ConstantImageError`, `MultiFrameError`,
        `UnsupportedImageError`; plain `ImageError` where the file itself cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> path = Path(tempfile.mkdtemp()) / "ramp.png"
    >>> Image.fromarray(np.array([[0, 51, 255]], dtype=np.uint8)).save(path)
    >>> decode(path).tolist()
    [[0.0, 0.20000000298023224, 1.0]]
    """
    return unit(decode_levels(path, max_pixels=max_pixels))


def decode_levels(path: str | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> np.ndarray:
    """Read one radiograph as `decode`, but leave bytes as they are: ``uint8``, 255 for 1.

    Where 8 bits hold the image, a pixel is a byte; what is deeper is ``float32`` within [0, 1].
    """
    with _naming(path), opened(path) as handle:
        size, most = os.fstat(handle.fileno()).st_size, _BYTES_PER_PIXEL * max_pixels + _MORE_BYTES
        if size > most:
            raise ImageTooLargeError(
                f"the file has {size >> 20:,} MB, more than {most >> 20:,} MB, in which "
                f"{max_pixels:,} pixels are written without compression; leave it out, or raise "
                "max_pixels."
            )
        data = handle.read()
        kind = format_of(data)
        if kind == "DICOM":
            levels = dicom.decode_dicom(data, max_pixels)
        else:
            levels = raster.decode_raster(data, kind, max_pixels)
        _check_levels(levels)
        return levels


def _check_levels(levels: np.ndarray) -> None:
    """Hold decoded levels to what `decode` promises, whatever their format."""
    white = 255 if levels.dtype == np.uint8 else 1
    low, high = float(levels.min()) / white, float(levels.max()) / white
    if not 0 <= low <= high <= 1:  # NaN is none of these
        raise TruncatedImageError(
            f"the file is damaged (its gray levels run from {low:g} to {high:g} of 1); fetch it "
            "again."
        )
    if high - low < _SMALLEST_STEP:
        raise ConstantImageError(
            f"every pixel has the same value, {low:.3g} of 1; there is nothing to see, leave the "
            "file out."
        )
    if high - low < _SLIVER:
        notice(
            "sliver",
            f"the picture uses gray levels from {low:.3f} to {high:.3f} of 1 only; if that is not "
            "meant, correct the window or the depth that the file states",
        )


def read_header(path: str | Path) -> ImageHeader:
    """Return what the file says about its image; no pixel is decoded.

    Raises
    ------
    ImageError
        With the path, as `decode` does.
    """
    with _naming(path), opened(path) as handle:
        kind = format_of(handle.read(SNIFFED_BYTES))
        handle.seek(0)
        if kind == "DICOM":
            return dicom.read_dicom_header(handle)
        return raster.read_raster_header(handle, kind)


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Attach the path to every error on its way out."""
    try:
        with about(path):
            yield
    except ImageError as error:
        error.path = error.path or Path(path)
        raise
    except MemoryError as error:
        raise ImageTooLargeError(
            "there is not enough memory to decode it; free some, or leave the file out.", path
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise ImageError(f"the file cannot be opened ({why}); check the path.", path) from error


@dataclass(frozen=True)
class Radiograph:
    """One radiograph.

    =============  ==================================================
    access         what it reads
    =============  ==================================================
    constructing   nothing
    ``.header``    the file's header; kept
    ``.pixels``    the whole file, decoded once; kept, read-only
    =============  ==================================================

    Parameters
    ----------
    path : Path
        A PNG, JPEG, WebP, TIFF, BMP or DICOM file.

    Examples
    --------
    >>> Radiograph(Path("no such file.dcm")).path.name
    'no such file.dcm'
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @cached_property
    def header(self) -> ImageHeader:
        """Facts that the file states of its image; raises `ImageError` as `read_header` does."""
        return read_header(self.path)

    @cached_property
    def pixels(self) -> np.ndarray:
        """``float32`` (H, W) within [0, 1]; raises `ImageError` as `decode` does."""
        pixels = decode(self.path)
        pixels.setflags(write=False)
        return pixels
