"""Bones and vessels, drawn as polygons: fine structures that give a chest its texture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hurdles.phantom.geometry import Frame, Thorax

Float = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

_SHIFT = 4  # cv2 takes sub-pixel coordinates as integers of 1/16 pixel


def _cv2() -> Any:
    import cv2

    return cv2


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
    cv2 = _cv2()
    for outline in _fixed(frame.to_pixels(outlines)).reshape(-1, *outlines.shape[-2:]):
        cv2.fillPoly(canvas, [outline], value, cv2.LINE_AA, _SHIFT)


def _shell(
    canvas: npt.NDArray[np.uint8], frame: Frame, line: Points, half: Points, value: int
) -> None:
    """Draw hollow bones: the cortex lies tangentially at both borders and is brighter there."""
    _fill(canvas, frame, _ribbon(line, half), value)
    _fill(canvas, frame, _ribbon(line, 0.6 * half), int(0.68 * value))


def bones(frame: Frame, thorax: Thorax, amount: float) -> Float:
    """Return the excess attenuation of the skeleton, as cm of trabecular bone."""
    back = np.zeros((frame.size, frame.size), np.uint8)
    front, girdle = np.zeros_like(back), np.zeros_like(back)
    _ribs(back, front, frame, thorax)
    _spine(girdle, frame, thorax)
    for side in (-1, 1):
        _scapula(girdle, frame, thorax, side)
        _clavicle(girdle, frame, thorax, side)
    cv2 = _cv2()
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
    number = np.arange(-4.0, 14.0)
    top, half = 0.6 + 2.2 * number, 1.35 + 0.035 * (number + 4.0)
    across = np.array([-1.0, 1.0, 0.9, 1.0, -1.0, -0.9])[None, :] * half[:, None]
    down = np.array([0.0, 0.0, 1.0, 1.9, 1.9, 1.0])[None, :] + top[:, None]
    shift = 0.15 * thorax.turn
    _fill(canvas, frame, np.stack([across - shift, down], axis=-1), 105)
    cv2 = _cv2()
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
    away = 0.0 if thorax.front else 2.2  # PA: the shoulders are rolled off the lungs
    blade = np.array(
        [
            [10.6, 1.2],
            [10.2, 6.5],
            [11.6, 12.6],
            [12.6, 12.4],
            [14.4, 6.2],
            [15.4, 2.8],
            [14.0, 0.8],
        ]
    )
    blade[:, 0] = side * (blade[:, 0] + away)
    _fill(canvas, frame, blade, 52)
    border = blade[2:6]
    _fill(canvas, frame, _ribbon(border, np.full(len(border), 0.28)), 120)
    cv2 = _cv2()
    head = frame.to_pixels(np.array([side * (17.6 + 0.4 * away), 1.9]))
    radius = int(2.3 * frame.scale * (1 << _SHIFT))
    cv2.circle(canvas, tuple(int(v) for v in _fixed(head)), radius, 150, -1, cv2.LINE_AA, _SHIFT)


def vessels(frame: Frame, thorax: Thorax, seed: int) -> Float:
    """Return the vascular tree of both lungs as cm of blood; it thins out towards the wall."""
    cv2 = _cv2()
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
