"""A thorax of simple solids, projected: path lengths in cm along parallel rays.

Coordinates are those of the image: x to the right (the patient's left), y down, in cm of an
average adult, with the origin on the midline at the lung apices. z runs from back to front.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hurdles.data.phantom.parameters import ImageParameters, PatientParameters
from hurdles.data.vocabulary import View

__all__ = ["Chest", "Frame", "Thorax", "project"]

Float = npt.NDArray[np.float32]

_FIELD_CM = 37.0  # side of the usual image in the plane of the patient
_DOME_CURVE = 0.036  # 1/cm: how fast the diaphragm falls away behind and in front of its top


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
    wall, breast, slope, infancy : float
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
            heart=(2.1 * heart, left - 4.7 * heart, 7.0 * heart, 5.0 * heart),
            turn=float(8.0 * np.sin(np.deg2rad(image.rotation))),
            wall=patient.wall,
            breast=patient.breast,
            slope=patient.rib_slope * (1.0 - 0.12 * image.inspiration) * (1.0 - 0.35 * infancy),
            infancy=infancy,
            front=ap,
        )

    def lateral(self, y: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the half-width of the chest cavity at the heights `y`, 0 above the apices."""
        rise = np.clip(1.0 - y / 14.0, 0.0, 1.0)
        dome = np.sqrt(np.clip(1.0 - rise**2.7, 0.0, 1.0))
        taper = 1.0 - 0.0009 * np.clip(y - 19.0, 0.0, None) ** 2
        return self.width * dome * taper * (y > 0)

    def medial(self, y: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return how far the lungs keep from the midline at the heights `y`."""
        thymus = 1.3 * self.infancy * np.exp(-(((y - 6.0) / 3.0) ** 2))
        return 1.9 + 2.4 * np.exp(-np.clip(y, 0.0, None) / 1.4) + thymus

    def place(self, side: int, across: float, down: float) -> tuple[float, float]:
        """Return the point (x, y) of a lung, from shares across and down as in `Blob`."""
        y = 1.0 + down * (self.domes[0 if side < 0 else 1] - 0.5)
        inner, outer = float(self.medial(np.array(y))), float(self.lateral(np.array(y)))
        return side * (inner + across * max(outer - inner, 0.0)), y


@dataclass(frozen=True)
class Chest:
    """Path lengths in cm, float32 (size, size), and the lung fields.

    Parameters
    ----------
    body : array
        Soft tissue from skin to skin, air included.
    lung : array
        Aerated lung.
    air : array
        Free air: trachea, bronchi, stomach bubble.
    field : array of bool
        What a reader outlines as lung: above the diaphragm, beside heart and mediastinum.
    """

    body: Float
    lung: Float
    air: Float
    field: npt.NDArray[np.bool_]


def project(frame: Frame, thorax: Thorax) -> Chest:
    """Return the path lengths of the soft parts and of the air in them."""
    x, y = frame.x, frame.y
    cavity = _cavity(thorax, x, y)
    above, field = _above_diaphragm(thorax, x, y, cavity)
    central = _heart(thorax, x, y) + _mediastinum(thorax, x, y)
    lung = np.clip(above - central, 0.0, None)
    # A reader follows the silhouette: lung that only shows through heart or liver is not outlined.
    field &= (central < 0.35 * np.maximum(cavity, 1e-3)) & (cavity > 1.2)
    return Chest(_body(thorax, x, y), lung, _air(thorax, x, y), field)


def _smoothstep(low: float, high: float, value: Float) -> Float:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def _chord(x: Float, y: Float, radius: tuple[float, float], depth: float, turn: float = 0) -> Float:
    """Return the path length through an ellipsoid at the origin, its plane turned by `turn`."""
    c, s = np.cos(turn), np.sin(turn)
    across, along = (c * x + s * y) / radius[0], (c * y - s * x) / radius[1]
    inside = np.clip(1.0 - across * across - along * along, 0.0, None)
    return (2.0 * depth * np.sqrt(inside)).astype(np.float32)


def _cavity(thorax: Thorax, x: Float, y: Float) -> Float:
    lateral = np.maximum(thorax.lateral(y), 1e-3).astype(np.float32)
    rise = np.clip(1.0 - y / 12.0, 0.0, 1.0)
    depth = 2.0 * thorax.depth * np.clip(1.0 - rise**2.0, 0.0, 1.0) ** 0.55 * (y > 0)
    u = np.minimum(np.abs(x) / lateral, 1.0)
    profile = np.sqrt(1.0 - u * u * np.sqrt(u))
    inner = thorax.medial(y).astype(np.float32)
    edge = np.clip((np.abs(x) - inner) / 0.9 + 0.5, 0.0, 1.0)
    return (depth * profile * edge).astype(np.float32)


def _above_diaphragm(
    thorax: Thorax, x: Float, y: Float, cavity: Float
) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Cut the cavity at the domes; what hangs behind and before them thins out downwards."""
    right, left = thorax.domes
    share = np.abs(x) / thorax.width
    fall = 7.0 * np.clip(share - 0.52, 0.0, None) ** 1.7 * 2.2
    fall = fall + 4.0 * np.clip(0.42 - share, 0.0, None) ** 2
    top = np.where(x < 0, right, left).astype(np.float32) + fall.astype(np.float32)
    below = np.clip(y - top, 0.0, None)
    reach = np.sqrt(below / _DOME_CURVE)
    half = 0.5 * cavity
    centre = 2.5  # the top of the dome lies in front of the middle
    left_over = np.clip(half + centre - reach, 0.0, None) + np.clip(
        half - centre - reach, 0.0, None
    )
    return np.minimum(left_over, cavity).astype(np.float32), (below <= 0.0) & (cavity > 0)


def _heart(thorax: Thorax, x: Float, y: Float) -> Float:
    cx, cy, long, short = thorax.heart
    cx += 0.5 * thorax.turn
    main = _chord(x - cx, y - cy, (long, short), 1.05 * short, np.deg2rad(32))
    # The right atrium bulges to the right of the spine.
    atrium = _chord(x - (cx - 0.62 * long), y - (cy + 0.05 * long), (3.3, 4.3), 3.4)
    return np.maximum(main, atrium)


def _mediastinum(thorax: Thorax, x: Float, y: Float) -> Float:
    turn, infancy = 0.35 * thorax.turn, thorax.infancy
    knob = _chord(x - (2.0 + turn), y - 6.4, (1.75, 2.0), 2.4) * (1.0 - 0.8 * infancy)
    cava = _chord(x + 1.0 - turn, y - 8.5, (1.9, 9.0), 3.0)
    trunk = _chord(x - (2.3 + turn), y - 10.0, (2.2, 2.6), 3.0)
    aorta = _chord(x - 1.6, y - 15.0, (1.5, 11.0), 1.4)
    hila = _chord(np.abs(x) - 3.3, y - 10.6, (1.7, 2.6), 0.8)
    return knob + cava + trunk + aorta + hila


def _body(thorax: Thorax, x: Float, y: Float) -> Float:
    outer = thorax.width + thorax.wall
    neck = 5.3 + 0.25 * thorax.wall
    width = neck + (outer - neck) * _smoothstep(-3.5, 6.5, y)
    depth = 5.6 + (thorax.depth + 0.6 * thorax.wall - 4.2) * _smoothstep(-5.0, 9.0, y)
    u = np.minimum(np.abs(x) / width, 1.0)
    trunk = 2.0 * depth * np.sqrt(1.0 - u**2.6)
    top = -5.0 + 0.30 * np.clip(np.abs(x) - neck + 0.6, 0.0, None)
    bottom = 8.0 + 0.9 * np.clip(np.abs(x) - outer, 0.0, None)
    v = np.clip((2.0 * y - top - bottom) / (bottom - top), -1.0, 1.0)
    shoulder = (9.0 + thorax.wall) * np.sqrt(1.0 - v * v) * _smoothstep(3.0, 9.0, np.abs(x))
    body = np.maximum(trunk, shoulder)
    if thorax.breast:
        q = _chord(np.abs(x) - 7.2, y - 16.6, (6.2, 5.6), 0.5 * thorax.breast)
        body = body + q * (body > 0)
    return body.astype(np.float32)


def _air(thorax: Thorax, x: Float, y: Float) -> Float:
    bend = 0.25 * thorax.turn + 0.25 * _smoothstep(3.0, 8.0, y)
    tube = np.clip(1.0 - ((x + bend) / 0.95) ** 2, 0.0, None) * (y < 9.3)
    trachea = 1.7 * np.sqrt(tube) * _smoothstep(-9.0, -4.0, y)
    right = np.clip(1.0 - ((x + 0.3 + 0.62 * (y - 9.0)) / 0.75) ** 2, 0.0, None)
    left = np.clip(1.0 - ((x - 0.25 - 1.15 * (y - 9.2)) / 1.0) ** 2, 0.0, None)
    bronchi = 1.1 * np.sqrt(np.maximum(right, left)) * ((y > 9.0) & (y < 12.5))
    stomach = _chord(x - 6.4, y - (thorax.domes[1] + 2.6), (3.0, 1.5), 2.2)
    level = _smoothstep(0.0, 0.35, thorax.domes[1] + 3.1 - y)  # air over a fluid level
    return (trachea + bronchi + stomach * level).astype(np.float32)
