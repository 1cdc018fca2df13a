"""Where things are in one patient on one image: the pixel grid and the shape of the thorax.

Coordinates are those of the image: x to the right (the patient's left), y down, in cm of an
average adult, with the origin on the midline at the lung apices. z runs from back to front.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hurdles.data.vocabulary import View
from hurdles.phantom.parameters import ImageParameters, PatientParameters

Float = npt.NDArray[np.float32]
Values = npt.NDArray[np.floating]

_FIELD_CM = 33.5  # side of the usual image in the plane of the patient


@dataclass(frozen=True)
class Frame:
    """The pixel grid in the patient's own coordinates.

    Parameters
    ----------
    size : int
        Pixels along a side.
    scale : float
        Pixels per (adult) cm.
    x, y : float32 arrays
        Shapes (1, size) and (size, 1): coordinates of the pixel centres in cm.
    """

    size: int
    scale: float
    x: Float
    y: Float

    @classmethod
    def of(cls, patient: PatientParameters, image: ImageParameters, size: int) -> Frame:
        """Return the grid of an image: small bodies are collimated, but not all the way."""
        field = _FIELD_CM * image.zoom * (0.35 + 0.65 * patient.body_size)
        scale = size * patient.body_size / field
        centres = (np.arange(size, dtype=np.float32) + 0.5) / scale
        half = size / scale / 2.0
        x = centres - half + image.shift_x
        y = centres - half + 12.0 + image.shift_y
        return cls(size, scale, x[None, :].astype(np.float32), y[:, None].astype(np.float32))

    def to_pixels(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return points (..., 2) in cm as pixel coordinates (x, y), 0 at the first centre."""
        corner = np.array([self.x[0, 0], self.y[0, 0]], dtype=np.float64)
        return (points - corner) * self.scale


@dataclass(frozen=True)
class Thorax:
    """The few numbers that the shapes share, in adult cm.

    Parameters
    ----------
    width, depth : float
        Half-width and half-depth of the chest cavity.
    domes : tuple of float
        Height of the diaphragm's top, right and left.
    heart : tuple of float
        Centre x and y, long and short half-axis.
    turn : float
        How far the front of the chest is shifted by the patient's rotation.
    wall, breast, slope, infancy, stomach : float
        As drawn for the patient.
    front : bool
        Whether the beam comes from the front (AP).
    """

    width: float
    depth: float
    domes: tuple[float, float]
    heart: tuple[float, float, float, float]
    turn: float
    wall: float
    breast: float
    slope: float
    infancy: float
    stomach: float
    front: bool

    @classmethod
    def of(cls, patient: PatientParameters, image: ImageParameters) -> Thorax:
        """Return the shapes of one patient on the day of one image."""
        ap = image.view is View.AP
        infancy = patient.infancy
        right = 20.6 + 1.5 * image.inspiration - 3.6 * infancy
        left = right + 1.3 - 0.4 * infancy
        magnified = (1.14 if ap else 1.0) * (1.0 - 0.05 * image.inspiration)
        heart = patient.heart_size * magnified * (1.0 + 0.10 * infancy)
        return cls(
            width=12.9 * patient.chest_width * (1.0 - 0.02 * infancy),
            depth=8.6 * patient.chest_depth * (1.0 + 0.1 * infancy),
            domes=(right, left),
            heart=(2.3 * heart, left - 4.2 * heart, 6.4 * heart, 4.7 * heart),
            turn=float(8.0 * np.sin(np.deg2rad(image.rotation))),
            wall=patient.wall,
            breast=patient.breast,
            slope=patient.rib_slope * (1.0 - 0.12 * image.inspiration) * (1.0 - 0.35 * infancy),
            infancy=infancy,
            stomach=patient.stomach,
            front=ap,
        )

    def lateral(self, y: Values) -> Values:
        """Return the half-width of the chest cavity at the heights `y`, 0 above the apices."""
        rise = np.clip(1.0 - y / 14.0, 0.0, 1.0)
        dome = np.sqrt(np.clip(1.0 - rise**2.7, 0.0, 1.0))
        taper = 1.0 - 0.0009 * np.clip(y - 19.0, 0.0, None) ** 2
        return np.asarray(self.width * dome * taper * (y > 0))

    def medial(self, y: Values) -> Values:
        """Return how far the lungs keep from the midline at the heights `y`."""
        thymus = 1.3 * self.infancy * np.exp(-(((y - 6.0) / 3.0) ** 2))
        upper = 0.5 * np.exp(-(((y - 3.5) / 2.5) ** 2))
        return np.asarray(1.7 + upper + 2.2 * np.exp(-np.clip(y, 0.0, None) / 1.3) + thymus)

    def diaphragm(self, x: Values) -> Values:
        """Return the height of the top of the diaphragm's domes above each `x`."""
        right, left = self.domes
        share = np.abs(x) / self.width
        outer = 4.6 * (np.clip(share - 0.42, 0.0, None) / 0.58) ** 2.3
        inner = 0.4 * (np.clip(0.42 - share, 0.0, None) / 0.34) ** 2
        # Both domes meet in the middle without a step.
        side = np.clip(0.5 + x / 3.0, 0.0, 1.0)
        return np.asarray(right + (left - right) * side + outer + inner)

    def place(self, side: int, across: float, down: float) -> tuple[float, float]:
        """Return the point (x, y) of a lung, from shares across and down as in `Blob`."""
        y = 1.0 + down * (self.domes[0 if side < 0 else 1] - 0.5)
        inner, outer = float(self.medial(np.array(y))), float(self.lateral(np.array(y)))
        return side * (inner + across * max(outer - inner, 0.0)), y
