"""Contact sheets of found lungs: the outline on the radiograph, what is wrong below it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hurdles.data.files import write_bytes
from hurdles.lungs.mask import LungMask, stretched
from hurdles.reporting.contact_sheet import contact_sheet

#: Images on one sheet: six rows of eight.
PER_SHEET = 48
_COLUMNS = 8
_CELL = 200
#: Red, green, blue. Told apart by lightness too, and the caption says the same in words.
_PLAUSIBLE, _FLAGGED = (94, 224, 255), (255, 96, 64)


class Sheets:
    """Numbered contact sheets that are written as they fill, so that memory stays small.

    Parameters
    ----------
    folder : Path
        Where ``sheet.png`` goes, or ``sheet-1.png`` and so on where there are several.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells: list[tuple[NDArray[np.uint8], str]] = []
        self._full = 0

    def add(self, image: NDArray[np.uint8], lungs: LungMask, name: str) -> None:
        """Put an image, as from `thumbnail`, with its lungs and its name on the sheet."""
        if len(self._cells) == PER_SHEET:
            self._write(f"sheet-{self._full + 1}.png")
        caption = name if lungs.is_plausible else f"{name}\nflagged: {lungs.flaw}"
        self._cells.append((outlined(image, lungs), caption))

    def close(self) -> None:
        """Write the sheet that is not full yet."""
        if self._cells:
            self._write(f"sheet-{self._full + 1}.png" if self._full else "sheet.png")

    def _write(self, name: str) -> None:
        images, captions = zip(*self._cells, strict=True)
        page = contact_sheet(images, captions, _COLUMNS, cell=_CELL, font_size=11)
        write_bytes(self.folder / name, page)
        self._cells, self._full = [], self._full + 1


def thumbnail(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a radiograph small enough for a sheet."""
    import cv2

    scale = _CELL / max(pixels.shape)
    if scale < 1:
        size = tuple(max(1, round(scale * side)) for side in pixels.shape[::-1])
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * np.float32(255)), dtype=np.uint8)


def outlined(image: NDArray[np.uint8], lungs: LungMask) -> NDArray[np.uint8]:
    """Draw the edge of a mask, of any shape, on a radiograph.

    Examples
    --------
    >>> lungs = LungMask(np.eye(2, dtype=bool).repeat(8, 0).repeat(8, 1), "", (0.25, 0.25))
    >>> outlined(np.zeros((16, 16), np.uint8), lungs).shape
    (16, 16, 3)
    """
    import cv2

    picture = np.ascontiguousarray(np.repeat(image[..., None], 3, axis=2))
    mask = stretched(lungs.mask, (image.shape[0], image.shape[1])).astype(np.uint8)
    edges, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    colour = _PLAUSIBLE if lungs.is_plausible else _FLAGGED
    return np.asarray(cv2.polylines(picture, edges, True, colour, 1, cv2.LINE_AA))
