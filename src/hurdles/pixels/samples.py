"""Integer samples of PNG, JPEG, WebP, TIFF and BMP to grey levels within [0, 1]."""

from __future__ import annotations

import numpy as np

from hurdles.pixels.notices import notice

#: Depths of detectors and of displays. A picture of fewer bits than its file has uses the next one.
_DEPTHS = (8, 10, 12, 14)


def grey(samples: np.ndarray, *, blue_first: bool = False) -> np.ndarray:
    """Return grey, RGB or RGBA integers (H, W[, C]) as ``float32`` (H, W): luma, on black."""
    import cv2

    if samples.ndim == 2:
        return unit(samples)
    code = cv2.COLOR_BGR2GRAY if blue_first else cv2.COLOR_RGB2GRAY
    highest = _highest(samples[..., :3])
    luma = np.asarray(cv2.cvtColor(np.ascontiguousarray(samples[..., :3]), code))
    if samples.shape[2] == 3:
        return unit(luma, highest)
    return np.asarray(unit(luma, highest) * unit(samples[..., 3], np.iinfo(samples.dtype).max))


def unit(samples: np.ndarray, highest: int | None = None) -> np.ndarray:
    """Divide by `highest`: by default the highest value of the bits that are in use."""
    top = np.float32(_highest(samples) if highest is None else highest)
    return np.asarray(np.divide(samples, top, dtype=np.float32))


def _highest(samples: np.ndarray) -> int:
    """Return the value that is white: of the format, or of 12 bits where 16 hold only 12.

    The same is done for DICOM, and for the same reason: taken for 16 bits, a picture of 12 has 17
    of 256 grey levels.
    """
    format_top = int(np.iinfo(samples.dtype).max)
    if samples.dtype.itemsize == 1:
        return format_top
    used = int(samples.max()).bit_length()
    depth = next((depth for depth in _DEPTHS if used <= depth), 16)
    if depth == 16 or used == 0:
        return format_top
    notice(
        "bits in use",
        f"a file of 16 bits whose values need only {used}; read as a picture of {depth} bits",
    )
    return (1 << depth) - 1
