"""Print the reference of `hurdles.pixels.prepare`: grey levels and energies of plain phantoms.

    python bench/harmonize_reference.py

It is fixed: other numbers are another preparation, and need a higher version of its step.
"""

from __future__ import annotations

import numpy as np

from hurdles.phantom import phantom_cohort
from hurdles.pixels.prepare import SIDE, band_energies, gray_quantiles

PATIENTS, HOSPITALS, SEED, RANKS = 200, 10, 2015, 17


def main() -> None:
    """Measure the first image of each patient and print the medians."""
    cohort = phantom_cohort(PATIENTS, seed=SEED, size=SIDE, hospitals=HOSPITALS)
    first = cohort.frame.drop_duplicates("patient").index.to_numpy()
    images = cohort.pixels[first].astype(np.float32) / 255
    grays = np.median([gray_quantiles(image, RANKS) for image in images], axis=0)
    energies = np.median([list(band_energies(image).values()) for image in images], axis=0)
    print("GRAYS =", tuple(float(g) for g in grays.round(3)))
    print("ENERGIES =", tuple(float(e) for e in energies.round(4)))


if __name__ == "__main__":
    main()
