"""Draw the contact sheet of perturbations, and of a change of style, that the documentation shows.

Usage: ``python docs/make_perturbations_sheet.py [PATH]``; default:
``docs/figures/perturbations.png``.
A row is a perturbation, a column an amount: none, mild, moderate (by which models are judged) and
strong. Two phantoms stand side by side: directions are drawn anew for each. The last rows bring
one hospital's images to the gray levels and the sharpness of another.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hurdles.data.files import write_bytes
from hurdles.phantom import phantom_cohort
from hurdles.pixels.perturb import PERTURBATIONS
from hurdles.pixels.style import restyle, style_of

Bytes = npt.NDArray[np.uint8]

TILE, GAP, HEAD, SIZE, SHOWN = 112, 3, 18, 224, (0, 5)


def main() -> None:
    """Write the sheet and say how large it is."""
    here = Path(__file__).parent / "figures" / "perturbations.png"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    cohort = phantom_cohort(60, seed=20, size=SIZE)
    images = cohort.pixels[list(SHOWN)]
    blocks = [_ladder(name, images) for name in PERTURBATIONS]
    masks, sources = cohort.masks > 127, cohort.frame["source"].to_numpy(dtype=str)
    blocks += [_swap(cohort.pixels, masks, sources, name) for name in np.unique(sources)]
    blocks += [np.full_like(blocks[0], 255)] * (-len(blocks) % 2)
    half = len(blocks) // 2
    gap = np.full((sum(len(b) for b in blocks[:half]), 4 * GAP), 255, np.uint8)
    sheet = np.hstack([np.vstack(blocks[:half]), gap, np.vstack(blocks[half:])])
    # 64 grey levels are plenty for a picture of this size, and halve the file.
    _, code = cv2.imencode(".png", sheet & 0xFC, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, code.tobytes())
    sys.stdout.write(f"{path}: {sheet.shape[1]}x{sheet.shape[0]}, {len(code) / 1000:.0f} kB\n")


def _ladder(name: str, images: Bytes) -> Bytes:
    one = PERTURBATIONS.get(name)
    ladder = [0.0, *one.ladder][:4]
    made = [one.apply(images, amount) for amount in ladder]
    return _block(f"{name}: {', '.join(f'{a:g}' for a in ladder)}", made)


def _swap(
    pixels: Bytes, masks: npt.NDArray[np.bool_], sources: npt.NDArray[np.str_], name: str
) -> Bytes:
    """Show patients of the first other hospital as they are, then in the style of `name`."""
    own = next(source for source in np.unique(sources) if source != name)
    one, two = (style_of(pixels[sources == s], masks[sources == s]) for s in (own, name))
    shown = pixels[np.flatnonzero(sources == own)[: len(SHOWN)]]
    ends = (replace(one, histogram=two.histogram), replace(one, spectrum=two.spectrum), two)
    made = [restyle(shown, one, end) for end in ends]
    return _block(f"{own} to {name}: gray levels, sharpness, both", [shown, *made])


def _block(title: str, columns: list[Bytes]) -> Bytes:
    """Return the title and under it, for each amount, the images side by side."""
    width = 4 * len(SHOWN) * (TILE + GAP)
    head = np.full((HEAD, width), 255, np.uint8)
    cv2.putText(head, title, (1, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 0, 1, cv2.LINE_AA)
    row = np.full((TILE + GAP, width), 255, np.uint8)
    for place, image in enumerate(image for column in columns for image in column):
        left = place * (TILE + GAP)
        row[:TILE, left : left + TILE] = cv2.resize(
            image, (TILE, TILE), interpolation=cv2.INTER_AREA
        )
    return np.vstack([head, row])


if __name__ == "__main__":
    main()
