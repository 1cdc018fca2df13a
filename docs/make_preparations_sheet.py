"""Draw the contact sheet of preparations that the documentation shows.

Usage: ``python docs/make_preparations_sheet.py [PATH]``; default ``docs/figures/preparations.png``.
A column is a preparation by its name, a row is a phantom: one of each class, from hospitals whose
tone curves differ. The lungs are those that were drawn.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hurdles.data.files import write_bytes
from hurdles.phantom import Cohort, phantom_cohort
from hurdles.pixels.prepare import PREPARATIONS, Preparation

Bytes = npt.NDArray[np.uint8]

TILE, GAP, HEAD, ACROSS, SIZE = 148, 4, 20, 5, 256


@dataclass(frozen=True)
class Drawn:
    """The lungs that a phantom was drawn with."""

    mask: Bytes
    key: str = "drawn"
    size: int = SIZE

    def __call__(self, _: np.ndarray) -> Bytes:
        """Return the mask, whatever the pixels are."""
        return self.mask


def main() -> None:
    """Write the sheet and say how large it is."""
    here = Path(__file__).parent / "figures" / "preparations.png"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    cohort = phantom_cohort(60, seed=20, size=SIZE)
    first = cohort.frame.drop_duplicates("label").sort_values("label").index
    names = PREPARATIONS.names()
    blocks = [names[start : start + ACROSS] for start in range(0, len(names), ACROSS)]
    sheet = np.vstack([_block([_column(cohort, n, first) for n in b]) for b in blocks])
    # 64 grey levels are plenty for a picture of this size, and halve the file.
    _, code = cv2.imencode(".png", sheet & 0xFC, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, code.tobytes())
    sys.stdout.write(f"{path}: {sheet.shape[1]}x{sheet.shape[0]}, {len(code) / 1000:.0f} kB\n")


def _block(columns: list[Bytes]) -> Bytes:
    """Return columns side by side, and white where the last block lacks some."""
    lacking = ACROSS - len(columns)
    return np.hstack([*columns, *[np.full_like(columns[0], 255)] * lacking])


def _column(cohort: Cohort, name: str, rows: npt.ArrayLike) -> Bytes:
    """Return the name and under it a tile for each of these images."""
    head = np.full((HEAD, TILE + GAP), 255, np.uint8)
    where, font = (1, 14), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(head, name, where, font, 0.36, 0, 1, cv2.LINE_AA)
    tiles = []
    for i in np.asarray(rows):
        prepare = Preparation(TILE, name, Drawn(cohort.masks[i]))
        made = prepare(cohort.pixels[i] / np.float32(255))
        tiles.append(cv2.copyMakeBorder(made, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=255))
    return np.asarray(np.vstack([head, *tiles]))


if __name__ == "__main__":
    main()
