"""One radiograph, read only as far as it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hurdles.pixels.decode import decode, read_header
from hurdles.pixels.header import ImageHeader

__all__ = ["Radiograph"]


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
        """What the file says about its image; raises `ImageError` as `read_header` does."""
        return read_header(self.path)

    @cached_property
    def pixels(self) -> np.ndarray:
        """``float32`` (H, W) within [0, 1]; raises `ImageError` as `decode` does."""
        pixels = decode(self.path)
        pixels.setflags(write=False)
        return pixels
