"""Draw the contact sheet of phantoms that the documentation shows.

Usage: ``python docs/make_phantom_sheet.py [PATH]`` (default: ``docs/images/phantom.png``). Each
class has two rows, every picture is another patient, and the last column is the lung mask of the
picture beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hurdles.data.files import write_bytes
from hurdles.phantom import Cohort, phantom_cohort

Bytes = npt.NDArray[np.uint8]

COLUMNS, ROWS, TILE = 6, 2, 180


def main() -> None:
    """Write the sheet and say how large it is."""
    here = Path(__file__).parent / "images" / "phantom.png"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    cohort = phantom_cohort(60, seed=20)
    rows = [
        _row(cohort, label, number)
        for label in ("COVID-19", "Normal", "Pneumonia")
        for number in range(ROWS)
    ]
    sheet = np.vstack(rows)
    # 64 grey levels are plenty for a picture of this size, and halve the file.
    _, code = cv2.imencode(".png", sheet & 0xFC, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    write_bytes(path, code.tobytes())
    sys.stdout.write(f"{path}: {sheet.shape[1]}x{sheet.shape[0]}, {len(code) / 1000:.0f} kB\n")


def _row(cohort: Cohort, label: str, number: int) -> Bytes:
    first = cohort.frame[cohort.frame["label"] == label].drop_duplicates("patient").index
    chosen = first[number * COLUMNS : (number + 1) * COLUMNS]
    tiles = [_tile(cohort.pixels[i]) for i in chosen]
    tiles.append(_tile(cohort.masks[chosen[-1]] // 2))
    tiles[0][-20:-2, 2:-2] = 0
    cv2.putText(tiles[0], label, (8, TILE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)
    return np.hstack(tiles)


def _tile(pixels: Bytes) -> Bytes:
    small = cv2.resize(pixels, (TILE - 4, TILE - 4), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.copyMakeBorder(small, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=255))


if __name__ == "__main__":
    main()
