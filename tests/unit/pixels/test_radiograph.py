"""A radiograph reads only what it is asked for."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import cv2
import numpy as np
import pytest

from hurdles.errors import ImageError, TruncatedImageError
from hurdles.pixels import decode as module
from hurdles.pixels.decode import Radiograph

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "Thorax Müller.png"
    path.write_bytes(cv2.imencode(".png", RAMP)[1].tobytes())
    return path


def test_constructing_reads_nothing(tmp_path: Path) -> None:
    image = Radiograph(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match=r"nowhere\.png.*check the path"):
        _ = image.header
    with pytest.raises(ImageError, match=r"nowhere\.png.*check the path"):
        _ = image.pixels


def test_the_header_reads_no_pixels(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])
    image = Radiograph(path)
    header = image.header
    assert (header.format, header.height, header.width, header.bits) == ("PNG", 8, 32, 8)
    with pytest.raises(TruncatedImageError, match="fetch it again"):
        _ = image.pixels


def test_pixels_are_decoded_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = module.decode
    monkeypatch.setattr(module, "decode", lambda p: calls.append(p) or real(p))
    image = Radiograph(path)
    np.testing.assert_array_equal(image.pixels, RAMP / np.float32(255))
    assert image.pixels is image.pixels
    assert calls == [path]


def test_it_cannot_be_changed(path: Path) -> None:
    image = Radiograph(path)
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        image.path = path
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0] = 1


def test_text_is_a_path_and_equal_paths_are_equal(path: Path) -> None:
    assert Radiograph(str(path)) == Radiograph(path)
    assert len({Radiograph(str(path)), Radiograph(path)}) == 1
