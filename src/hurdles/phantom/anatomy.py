"""A thorax of simple solids, projected to path lengths in cm along parallel rays.

Bones and vessels, the fine structures that give a chest its texture, are drawn as polygons.
Coordinates are those of the image: x to the right (the patient's left), y down, in cm of an
average adult, with the origin on the midline at the lung apices. z runs from back to front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hurdles.data.vocabulary import View
from hurdles.phantom.parameters import ImageParameters, PatientParameters

Float = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Values = npt.NDArray[np.floating]

_FIELD_CM = 33.5  # side of the usual image in the plane of the patient
_DOME_CURVE = 0.036  # 1/cm: how fast the diaphragm falls away behind and in front of its top
_MIDLINE = 0.3  # share of the depth that lungs fill in front of and behind the mediastinum
_SHIFT = 4  # cv2 takes sub-pixel coordinates as integers of 1/16 pixel


@dataclass(frozen=True)
class Frame:
    """The pixel grid in the patient's own coordinates."""

    size: int  # pixels along a side
    scale: float  # pixels per (adult) cm
    x: Float  # (1, size): coordinates of the pixel centers in cm
    y: Float  # (size, 1)

    @classmethod
    def of(cls, patient: PatientParameters, image: ImageParameters, size: int) -> Frame:
        """Return the grid of an image: small bodies are collimated, but not all the way."""
        field = _FIELD_CM * image.zoom * (0.35 + 0.65 * patient.body_size)
        scale = size * patient.body_size / field
        centers = (np.arange(size, dtype=np.float32) + 0.5) / scale
        half = size / scale / 2.0
        x = centers - half + image.shift_x
        y = centers - half + 12.0 + image.shift_y
        return cls(size, scale, x[None, :].astype(np.float32), y[:, None].astype(np.float32))

    def to_pixels(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return points (..., 2) in cm as pixel coordinates (x, y), 0 at the first center."""
        corner = np.array([self.x[0, 0], self.y[0, 0]], dtype=np.float64)
        return (points - corner) * self.scale


@dataclass(frozen=True)
class Thorax:
    """The few numbers that the shapes share, in adult cm."""

    width: float  # half-width of the chest cavity
    depth: float  # its half-depth
    domes: tuple[float, float]  # height of the diaphragm's top, right and left
    heart: tuple[float, float, float, float]  # center x and y, long and short half-axis
    turn: float  # shift of the front of the chest by the patient's rotation
    wall: float  # this and the next four: as drawn for the patient
    breast: float
    slope: float
    infancy: float
    stomach: float
    front: bool  # whether the beam comes from the front (AP)

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


class Chest(NamedTuple):
    """Path lengths in cm, float32 (size, size), and the lung fields."""

    body: Float  # soft tissue from skin to skin, air included
    lung: Float  # aerated lung
    air: Float  # free air: trachea, bronchi, stomach bubble
    field: npt.NDArray[np.bool_]  # a reader's outline: above the diaphragm, beside the heart


def project(frame: Frame, thorax: Thorax) -> Chest:
    """Return the path lengths of the soft parts and of the air in them."""
    x, y = frame.x, frame.y
    cavity, beside = _cavity(thorax, x, y)
    below = np.clip(y - thorax.diaphragm(x).astype(np.float32), 0.0, None)
    # The domes cut the cavity; what hangs behind and before them thins out downwards.
    reach = np.sqrt(below * np.float32(1.0 / _DOME_CURVE))
    center = np.float32(2.5)  # the top of the dome lies in front of the middle
    behind, before = 0.5 * cavity + center - reach, 0.5 * cavity - center - reach
    hanging = np.maximum(behind, 0.0) + np.maximum(before, 0.0)
    above = np.where(below > 0.0, np.minimum(hanging, cavity), cavity)
    central = _mediastinum(frame, thorax)
    lung = np.clip(above - central, 0.0, None)
    # A reader follows the silhouette: lung that only shows through heart or liver is not outlined.
    field = (below <= 0.0) & beside & (central < 0.3 * cavity) & (cavity > 1.2)
    return Chest(_body(frame, thorax), lung, _air(frame, thorax), field)


def _cavity(thorax: Thorax, x: Float, y: Float) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Return the depth of the pleural space, and where it lies beside the mediastinum."""
    lateral = np.maximum(thorax.lateral(y), 1e-3).astype(np.float32)
    rise = np.clip(1.0 - y / 12.0, 0.0, 1.0)
    depth = 2.0 * thorax.depth * np.clip(1.0 - rise**2.0, 0.0, 1.0) ** 0.55 * (y > 0)
    u = np.minimum(np.abs(x) / lateral, 1.0)
    profile = np.sqrt(1.0 - u * u * np.sqrt(u))
    inner = thorax.medial(y).astype(np.float32)
    edge = _smoothstep(inner - 1.5, inner + 1.5, np.abs(x))
    middle = _MIDLINE * _smoothstep(2.0, 7.0, y)
    cavity = depth.astype(np.float32) * profile * (middle + (1.0 - middle) * edge)
    return np.asarray(cavity, dtype=np.float32), edge > 0.5


def _mediastinum(frame: Frame, thorax: Thorax) -> Float:
    """Return heart and great vessels: what takes the place of lung in the middle."""
    shape = (frame.size, frame.size)
    heart, atrium, vessels = (np.zeros(shape, np.float32) for _ in range(3))
    x, y, long, short = thorax.heart
    x += 0.5 * thorax.turn
    _add_solid(heart, frame, (x, y), (long, short), 1.4 * short, float(np.deg2rad(36)), 0.4)
    _add_solid(atrium, frame, (x - 0.62 * long, y - 0.9), (2.5, 4.6), 5.0, power=0.4)
    turn, adult = 0.35 * thorax.turn, 1.0 - 0.8 * thorax.infancy
    for place, radius, depth in (
        ((1.9 + turn, 6.6), (1.75, 1.9), 2.6 * adult),  # aortic knob
        ((-1.0 + turn, 9.0), (2.1, 8.0), 3.0),  # superior vena cava, ascending aorta
        ((2.1 + turn, 9.9), (2.5, 2.7), 3.5),  # pulmonary trunk
        ((3.0 + turn, 12.6), (3.0, 3.9), 4.5),  # left atrial appendage
        ((1.3, 15.0), (1.5, 11.0), 1.3),  # descending aorta
        ((0.8, thorax.domes[1] + 0.2), (5.0, 2.2), 2.0),  # vena cava, fat beside the heart
        ((-3.3, 11.2), (1.3, 2.3), 1.3),  # right hilum, a little lower than the left
        ((3.5, 10.2), (1.5, 2.1), 1.3),
    ):
        _add_solid(vessels, frame, place, radius, depth, power=0.4)
    # Where structures lie behind one another, their inner borders are lost (silhouette sign).
    total = np.maximum(heart, atrium) + vessels
    most = np.float32(1.55 * thorax.depth)
    return np.asarray(most * (1.0 - np.exp(-total / np.float32(0.6 * most))))


def _body(frame: Frame, thorax: Thorax) -> Float:
    x, y = np.abs(frame.x), frame.y
    outer = thorax.width + thorax.wall
    neck = 5.3 + 0.25 * thorax.wall
    width = neck + (outer - neck) * _smoothstep(-3.5, 6.5, y)
    depth = 5.6 + (thorax.depth + 0.6 * thorax.wall - 4.6) * _smoothstep(-5.0, 9.0, y)
    # The muscles from the arm pit downwards, then the waist.
    width = width + 1.0 * np.exp(-(((y - 9.0) / 5.0) ** 2))
    u = np.minimum(x / width, 1.0)
    body = 2.0 * depth * np.sqrt(1.0 - (u * u) ** 2)
    top = -5.0 + 0.30 * np.clip(x - neck + 0.6, 0.0, None)
    bottom = 8.5 + 0.9 * np.clip(x - outer, 0.0, None)
    v = np.clip((2.0 * y - top - bottom) / (bottom - top), -1.0, 1.0)
    shoulder = (15.0 + thorax.wall) * np.sqrt(1.0 - v * v) * _smoothstep(3.0, 9.0, x)
    body = np.maximum(body, shoulder)
    if thorax.front:  # at the bedside the arms lie along the body
        arm = np.clip(1.0 - ((x - outer - 4.2) / 3.8) ** 2, 0.0, None)
        body = np.maximum(body, 8.0 * np.sqrt(arm) * _smoothstep(3.0, 8.0, y))
    body = np.asarray(body, dtype=np.float32)
    if thorax.breast:
        more = np.zeros_like(body)
        for side in (-1.0, 1.0):
            _add_solid(more, frame, (7.2 * side, 16.6), (6.2, 5.6), 0.5 * thorax.breast)
        body += more * (body > 0)
    return body


def _air(frame: Frame, thorax: Thorax) -> Float:
    x, y = frame.x, frame.y
    air = np.zeros((frame.size, frame.size), np.float32)
    narrow = _span(x[0], 0.0, 6.0)
    x = x[:, narrow]
    bend = 0.25 * thorax.turn + 0.25 * _smoothstep(3.0, 8.0, y)
    tube = np.clip(1.0 - ((x + bend) / 0.95) ** 2, 0.0, None) * _smoothstep(9.9, 9.0, y)
    right = np.clip(1.0 - ((x + 0.3 + 0.62 * (y - 9.0)) / 0.8) ** 2, 0.0, None)
    left = np.clip(1.0 - ((x - 0.25 - 1.15 * (y - 9.2)) / 1.0) ** 2, 0.0, None)
    fade = _smoothstep(8.6, 9.6, y) * _smoothstep(12.8, 10.5, y)
    bronchi = np.sqrt(np.maximum(right, left)) * fade
    air[:, narrow] = 1.7 * np.sqrt(tube) * _smoothstep(-9.0, -4.0, y) + 1.1 * bronchi
    level = thorax.domes[1] + 3.3
    size = thorax.stomach
    _add_solid(air, frame, (6.0, level - 0.6), (3.0 * size, 1.6 * size), 2.2 * size + 1e-3)
    # Air stands over a fluid level in the stomach.
    return np.asarray(air * np.where(frame.y > 15.0, _smoothstep(level + 0.3, level, frame.y), 1))


def _smoothstep(low: float | Float, high: float | Float, value: Float) -> Float:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def _add_solid(
    canvas: Float,
    frame: Frame,
    center: tuple[float, float],
    radius: tuple[float, float],
    depth: float,
    turn: float = 0.0,
    power: float = 0.5,
) -> None:
    """Add the path length through a round solid; only its bounding square is computed.

    A `power` of 0.5 is an ellipsoid, less is flatter with a steeper rim.
    """
    reach = max(radius)
    columns = _span(frame.x[0], center[0], reach)
    rows = _span(frame.y[:, 0], center[1], reach)
    x, y = frame.x[:, columns] - np.float32(center[0]), frame.y[rows] - np.float32(center[1])
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    across = (c * x + s * y) / np.float32(radius[0])
    along = (c * y - s * x) / np.float32(radius[1])
    inside = np.maximum(1.0 - across * across - along * along, 0.0)
    canvas[rows, columns] += np.float32(2.0 * depth) * inside ** np.float32(power)


def _span(values: Float, middle: float, reach: float) -> slice:
    low, high = np.searchsorted(values, [middle - reach, middle + reach])
    return slice(int(low), int(high))


def bones(frame: Frame, thorax: Thorax, amount: float) -> Float:
    """Return the excess attenuation of the skeleton, as cm of trabecular bone."""
    import cv2

    back, front, girdle = (np.zeros((frame.size, frame.size), np.uint8) for _ in range(3))
    _ribs(back, front, frame, thorax)
    _spine(girdle, frame, thorax)
    for side in (-1, 1):
        _scapula(girdle, frame, thorax, side)
        _clavicle(girdle, frame, thorax, side)
    total = back.astype(np.float32) + 0.6 * front + girdle
    sigma = max(0.08 * frame.scale, 0.3)
    return np.asarray(cv2.GaussianBlur(total, (0, 0), sigma) * (amount / 255.0), dtype=np.float32)


def _ribs(
    back: npt.NDArray[np.uint8], front: npt.NDArray[np.uint8], frame: Frame, thorax: Thorax
) -> None:
    """Draw eleven pairs: tilted ellipses from the spine round to the breastbone's cartilage."""
    number = np.arange(11.0)[None, :, None]
    side = np.array([-1.0, 1.0])[:, None, None]
    spacing = (thorax.domes[0] + 2.2) / 10.6
    start = -0.2 + spacing * number
    drop = thorax.slope * (5.2 + 0.95 * number)
    reach = thorax.lateral(np.maximum(start + 0.5 * drop, 1.5)) + 0.25
    share = np.linspace(0.0, 1.0, 18)[None, None, :]
    ends = (0.80 - 0.012 * number) * np.pi
    for canvas, theta, width, value in (
        (back, 0.12 + (0.5 * np.pi - 0.12) * share + 0.0 * number, 0.46, 215),
        (front, 0.5 * np.pi + (ends - 0.5 * np.pi) * share, 0.58, 165),
    ):
        # The front of the ribs goes with the patient's rotation, their back against it.
        x = side * reach * np.sin(theta) - 0.2 * thorax.turn * np.cos(theta)
        tilt = 0.42 * (1.0 - np.cos(theta)) + 0.13 * np.sin(0.5 * theta)
        y = start + drop * tilt + 0.0 * side
        y = y - 0.25 * np.maximum(np.sin(2.0 * theta), 0.0)
        half = width * (0.74 + 0.04 * number) * (0.8 + 0.2 * np.abs(np.cos(theta))) + 0.0 * side
        _shell(canvas, frame, np.stack([x, y], axis=-1), np.minimum(half, 0.66), value)


def _spine(canvas: npt.NDArray[np.uint8], frame: Frame, thorax: Thorax) -> None:
    """Draw eighteen vertebrae, waisted, each with the two rings of its pedicles."""
    import cv2

    number = np.arange(-4.0, 14.0)
    top, half = 0.6 + 2.2 * number, 1.35 + 0.035 * (number + 4.0)
    across = np.array([-1.0, 1.0, 0.9, 1.0, -1.0, -0.9])[None, :] * half[:, None]
    down = np.array([0.0, 0.0, 1.0, 1.9, 1.9, 1.0])[None, :] + top[:, None]
    shift = 0.15 * thorax.turn
    _fill(canvas, frame, np.stack([across - shift, down], axis=-1), 105)
    sides = np.array([-0.62, 0.62])[None, :] * half[:, None]
    rings = np.stack([sides - shift, np.repeat(top[:, None] + 0.7, 2, axis=1)], axis=-1)
    radius = int(0.32 * frame.scale * (1 << _SHIFT))
    for x, y in _fixed(frame.to_pixels(rings)).reshape(-1, 2).tolist():
        cv2.circle(canvas, (x, y), radius, 150, -1, cv2.LINE_AA, _SHIFT)


def _clavicle(canvas: npt.NDArray[np.uint8], frame: Frame, thorax: Thorax, side: int) -> None:
    t = np.linspace(0.0, 1.0, 18)
    lift = 1.3 if thorax.front else 0.0  # the beam tilts them up over the apices
    x = 1.7 + 13.3 * t
    y = 3.6 - lift - 4.3 * t + 0.75 * np.sin(2.0 * np.pi * t)
    line = np.stack([side * x + 0.6 * thorax.turn * (1.0 - t), y], axis=1)
    half = 0.42 + 0.3 * (1.0 - t) ** 3 + 0.12 * t
    _shell(canvas, frame, line, half, 215)


def _scapula(canvas: npt.NDArray[np.uint8], frame: Frame, thorax: Thorax, side: int) -> None:
    import cv2

    away = 0.0 if thorax.front else 2.2  # PA: the shoulders are rolled off the lungs
    x = [10.6, 10.2, 11.6, 12.6, 14.4, 15.4, 14.0]
    y = [1.2, 6.5, 12.6, 12.4, 6.2, 2.8, 0.8]
    blade = np.stack([x, y], axis=1)
    blade[:, 0] = side * (blade[:, 0] + away)
    _fill(canvas, frame, blade, 52)
    border = blade[2:6]
    _fill(canvas, frame, _ribbon(border, np.full(len(border), 0.28)), 120)
    head = frame.to_pixels(np.array([side * (17.6 + 0.4 * away), 1.9]))
    radius = int(2.3 * frame.scale * (1 << _SHIFT))
    cv2.circle(canvas, tuple(int(v) for v in _fixed(head)), radius, 150, -1, cv2.LINE_AA, _SHIFT)


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    return np.asarray(np.round(points * (1 << _SHIFT)), dtype=np.int32)


def _ribbon(line: Points, half_width: Points) -> Points:
    """Return the outlines of bands along lines (..., n, 2), in cm, all at once."""
    along = np.empty_like(line)
    along[..., 1:-1, :] = line[..., 2:, :] - line[..., :-2, :]
    along[..., 0, :] = line[..., 1, :] - line[..., 0, :]
    along[..., -1, :] = line[..., -1, :] - line[..., -2, :]
    along /= np.sqrt((along**2).sum(axis=-1, keepdims=True)) + 1e-9
    normal = np.stack([-along[..., 1], along[..., 0]], axis=-1) * half_width[..., None]
    return np.concatenate([line + normal, (line - normal)[..., ::-1, :]], axis=-2)


def _fill(canvas: npt.NDArray[np.uint8], frame: Frame, outlines: Points, value: int) -> None:
    """Fill outlines (..., n, 2) one after another, so that where two overlap nothing cancels."""
    import cv2

    for outline in _fixed(frame.to_pixels(outlines)).reshape(-1, *outlines.shape[-2:]):
        cv2.fillPoly(canvas, [outline], value, cv2.LINE_AA, _SHIFT)


def _shell(
    canvas: npt.NDArray[np.uint8], frame: Frame, line: Points, half: Points, value: int
) -> None:
    """Draw hollow bones: the cortex lies tangentially at both borders and is brighter there."""
    _fill(canvas, frame, _ribbon(line, half), value)
    _fill(canvas, frame, _ribbon(line, 0.6 * half), int(0.68 * value))


def vessels(frame: Frame, thorax: Thorax, seed: int) -> Float:
    """Return the vascular tree of both lungs as cm of blood; it thins out towards the wall."""
    import cv2

    total = np.zeros((frame.size, frame.size), np.float32)
    stretch = np.array([thorax.width / 12.9, thorax.domes[0] / 20.6])
    for level, (lines, radius) in enumerate(_tree(seed)):
        canvas = np.zeros((frame.size, frame.size), np.uint8)
        pixels = _fixed(frame.to_pixels(lines * stretch))
        wide = 2.0 * radius * frame.scale
        thickness = max(round(wide), 1)
        cv2.polylines(canvas, list(pixels), False, 150, thickness, cv2.LINE_AA, _SHIFT)
        if thickness > 2:
            cv2.polylines(canvas, list(pixels), False, 255, thickness // 2, cv2.LINE_AA, _SHIFT)
        fade = min(wide / thickness, 1.0) * (1.0 if thickness > 2 else 1.6)
        total += canvas * np.float32(4.6 * radius * fade / 255.0 * (1.0 if level else 0.7))
    return np.asarray(cv2.GaussianBlur(total, (0, 0), max(0.07 * frame.scale, 0.3)))


def _tree(seed: int) -> list[tuple[Points, float]]:
    """Grow the tree level by level: curved segments (n, 4, 2) in cm, and their radius in cm."""
    rng = np.random.default_rng(seed)
    fan = np.deg2rad(np.array([-78.0, -52.0, -24.0, 4.0, 28.0, 50.0, 72.0]))
    side = np.repeat([-1.0, 1.0], len(fan))
    angle = np.concatenate([fan, fan]) + rng.normal(0.0, 0.12, 2 * len(fan))
    start = np.stack([side * 3.4, np.where(side < 0, 10.9, 10.1)], axis=1)
    start[:, 1] += 1.2 * np.sin(angle)
    levels, radius, length = [], 0.42, 3.0
    for _ in range(6):
        step = length * rng.uniform(0.55, 1.2, len(angle))
        bend = angle[:, None] + rng.normal(0.0, 0.16, (len(angle), 3)).cumsum(axis=1)
        moves = np.stack([side[:, None] * np.cos(bend), np.sin(bend) * 1.18], axis=2)
        moves *= step[:, None, None] / 3.0
        points = start[:, None, :] + np.concatenate(
            [np.zeros((len(angle), 1, 2)), moves.cumsum(axis=1)], axis=1
        )
        levels.append((points, radius))
        spread = rng.uniform(0.18, 0.55, len(angle))
        angle = np.concatenate([bend[:, -1] - spread, bend[:, -1] + spread * 0.8])
        start, side = np.tile(points[:, -1], (2, 1)), np.tile(side, 2)
        radius, length = 0.78 * radius, 0.86 * length
    return levels
