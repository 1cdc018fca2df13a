"""What a file says about its image before a single pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from hurdles.data.vocabulary import Sex, View
from hurdles.errors import ImageTooLargeError, MultiFrameError, TruncatedImageError

__all__ = ["DEFAULT_MAX_PIXELS", "ImageHeader", "check_header"]

#: The largest detectors give about 20 megapixels; five times that is no radiograph.
DEFAULT_MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about its image.

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
    """Refuse what must not be decoded, while only the header has been read.

    Raises
    ------
    ImageTooLargeError, MultiFrameError, TruncatedImageError
        For more than `max_pixels` pixels, for several frames, for none.
    """
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
