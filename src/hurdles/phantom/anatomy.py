"""A thorax of simple solids, projected: path lengths in cm along parallel rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hurdles.phantom.geometry import Frame, Thorax

Float = npt.NDArray[np.float32]

_DOME_CURVE = 0.036  # 1/cm: how fast the diaphragm falls away behind and in front of its top
_MIDLINE = 0.3  # share of the depth that lungs fill in front of and behind the mediastinum


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
    cavity, beside = _cavity(thorax, x, y)
    below = np.clip(y - thorax.diaphragm(x).astype(np.float32), 0.0, None)
    above = _above_diaphragm(cavity, below)
    central = _centre(frame, thorax)
    lung = np.clip(above - central, 0.0, None)
    # A reader follows the silhouette: lung that only shows through heart or liver is not outlined.
    field = (below <= 0.0) & beside & (central < 0.3 * cavity) & (cavity > 1.2)
    return Chest(_body(frame, thorax), lung, _air(frame, thorax), field)


def _smoothstep(low: float | Float, high: float | Float, value: Float) -> Float:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def _add_solid(
    canvas: Float,
    frame: Frame,
    centre: tuple[float, float],
    radius: tuple[float, float],
    depth: float,
    turn: float = 0.0,
    power: float = 0.5,
) -> None:
    """Add the path length through a round solid; only its bounding square is computed.

    A `power` of 0.5 is an ellipsoid, less is flatter with a steeper rim.
    """
    reach = max(radius)
    columns = _span(frame.x[0], centre[0], reach)
    rows = _span(frame.y[:, 0], centre[1], reach)
    x, y = frame.x[:, columns] - np.float32(centre[0]), frame.y[rows] - np.float32(centre[1])
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    across = (c * x + s * y) / np.float32(radius[0])
    along = (c * y - s * x) / np.float32(radius[1])
    inside = np.maximum(1.0 - across * across - along * along, 0.0)
    canvas[rows, columns] += np.float32(2.0 * depth) * inside ** np.float32(power)


def _span(values: Float, middle: float, reach: float) -> slice:
    low, high = np.searchsorted(values, [middle - reach, middle + reach])
    return slice(int(low), int(high))


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


def _above_diaphragm(cavity: Float, below: Float) -> Float:
    """Cut the cavity at the domes; what hangs behind and before them thins out downwards."""
    reach = np.sqrt(below * np.float32(1.0 / _DOME_CURVE))
    half = 0.5 * cavity
    centre = np.float32(2.5)  # the top of the dome lies in front of the middle
    behind, before = half + centre - reach, half - centre - reach
    hanging = np.maximum(behind, 0.0) + np.maximum(before, 0.0)
    return np.asarray(np.where(below > 0.0, np.minimum(hanging, cavity), cavity))


def _centre(frame: Frame, thorax: Thorax) -> Float:
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
