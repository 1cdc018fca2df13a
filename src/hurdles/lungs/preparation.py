"""Lung masks as prepared pixels, so that the cache keeps them as it keeps images."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import LungsNotFoundError
from hurdles.lungs.segmenter import SIZE, Segmenter

#: Part of every key. Raise it when one and the same mask comes to be stored otherwise.
_VERSION = 1


@dataclass(frozen=True)
class LungPreparation:
    """Turns decoded pixels into the mask of their lungs; a `hurdles.pixels.cache.PixelPreparation`.

    Parameters
    ----------
    segmenter : Segmenter
        Finds the lungs; default: the network in the package.
    """

    segmenter: Segmenter = field(default_factory=Segmenter)

    @property
    def size(self) -> int:
        """Height and width of the masks: 256."""
        return SIZE

    @property
    def key(self) -> str:
        """The segmenter's key and the version of the format; loads the weights."""
        return f"{self.segmenter.key}-v{_VERSION}"

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the mask of the lungs."""
        lungs = self.segmenter(pixels)
        if not lungs.is_plausible:
            raise LungsNotFoundError(
                f"the lungs were not found: {lungs.flaw}. Leave the image out, or choose a "
                "preparation that needs no lungs, such as 'raw'."
            )
        return np.multiply(lungs.mask, 255, dtype=np.uint8)


@cache
def shipped_lungs() -> LungPreparation:
    """Return the one `LungPreparation` of this process that uses the network in the package."""
    return LungPreparation()
