"""Closeness of small prints: a straight fit, and what it sees through."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hurdles.copies.closeness import closeness

_NONE = np.empty((0, 576), dtype=np.float32)


def blobs(n, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, 24, 24)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in images])


def rows(images):
    return np.asarray(images, dtype=np.float32).reshape(len(images), -1)


def slow_closeness(x, y, shared):
    """Fit one print after the other by least squares, the changes measured pixel by pixel."""
    common = np.stack([np.ones(576), *shared], axis=1)

    def left(row):
        row = np.asarray(row, dtype=np.float64).ravel()
        return row - common @ np.linalg.lstsq(common, row, rcond=None)[0]

    def explained(one, two):
        down, across = np.gradient(two.reshape(24, 24).astype(np.float64))
        v, u = np.mgrid[-1:1:24j, -1:1:24j]
        changes = (two, across, down, across * u, down * u, across * v, down * v)
        bases = np.stack([left(np.ravel(change)) for change in changes], axis=1)
        truth = left(one)
        told = bases @ np.linalg.lstsq(bases, truth, rcond=None)[0]
        return np.linalg.norm(told) / np.linalg.norm(truth)

    return [max(explained(a, b), explained(b, a)) for a, b in zip(x, y, strict=True)]


@pytest.mark.parametrize("k", [0, 3])
def test_all_at_once_is_as_close_as_one_by_one(k):
    x, y = rows(blobs(6)), rows(blobs(6, seed=1))
    shared = np.linalg.qr(rows(blobs(k + 1, seed=2)).T)[0].T[:k].astype(np.float32)
    assert closeness(x, y, shared) == pytest.approx(slow_closeness(x, y, shared), abs=1e-4)


def test_small_maps_and_inversion_are_seen_through():
    images = blobs(8)
    turn = cv2.getRotationMatrix2D((11.5, 11.5), 3, 1.03)
    turn[:, 2] += (0.5, -0.5)
    moved = [cv2.warpAffine(x, turn, (24, 24), borderMode=cv2.BORDER_REFLECT) for x in images]
    assert closeness(rows(images), -rows(moved), _NONE).min() > 0.9
    assert closeness(rows(images), rows(images[::-1]), _NONE).max() < 0.7


def test_flat_prints_are_close_to_nothing():
    flat = np.zeros((2, 576), dtype=np.float32)
    assert closeness(flat, rows(blobs(2)), _NONE).max() == 0
