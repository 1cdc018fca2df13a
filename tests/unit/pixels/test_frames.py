"""Compressed frames: a decoder may die, hang or grow; this process may not."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless

from hurdles.errors import ImageTooLargeError, TruncatedImageError
from hurdles.pixels import frames
from hurdles.pixels.frames import DecodingError, decode_frame

GREY = cv2.GaussianBlur(
    np.random.default_rng(5).integers(0, 256, (48, 40)).astype(np.float32), (0, 0), 3
).astype(np.uint8)


def jpeg_2000(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG2000")  # reversible by default
    return buffer.getvalue()


JPEG_2000 = jpeg_2000(GREY)
#: A stream of JPEG-LS with a precision that cannot be: GDCM aborts.
_HEAD = "ffd8 fff7 000b 11 0030 0028 01 01 11 00 ffda 0008 01 01 00 00 00 00"
DEADLY = bytes.fromhex(_HEAD) + bytes(99)


def options(**others: Any) -> dict[str, Any]:
    return {
        "rows": 48, "columns": 40, "samples_per_pixel": 1, "bits_allocated": 8, "bits_stored": 8,
        "photometric_interpretation": "MONOCHROME2", "pixel_representation": 0,
        "number_of_frames": 1, "pixel_keyword": "PixelData", "pixel_vr": "OB",
    } | others  # fmt: skip


def test_a_frame_comes_through_exactly_and_the_process_is_used_again() -> None:
    np.testing.assert_array_equal(decode_frame(JPEG_2000, JPEG2000Lossless, options()), GREY)
    workers = list(frames._IDLE.workers)
    np.testing.assert_array_equal(decode_frame(JPEG_2000, JPEG2000Lossless, options()), GREY)
    assert frames._IDLE.workers == workers


def test_a_decoder_that_dies_costs_its_frame_only() -> None:
    with pytest.raises(TruncatedImageError, match="their decoder died of them, SIG"):
        decode_frame(DEADLY, JPEGLSLossless, options())
    np.testing.assert_array_equal(decode_frame(JPEG_2000, JPEG2000Lossless, options()), GREY)


def test_a_process_that_was_killed_meanwhile_is_replaced() -> None:
    decode_frame(JPEG_2000, JPEG2000Lossless, options())
    for worker in frames._IDLE.workers:
        worker._process.kill()
        worker._process.wait()
    np.testing.assert_array_equal(decode_frame(JPEG_2000, JPEG2000Lossless, options()), GREY)


def test_what_a_decoder_says_is_passed_on() -> None:
    with pytest.raises(DecodingError, match="decode"):
        decode_frame(JPEG_2000[:200], JPEG2000Lossless, options())


def test_what_libjpeg_warns_of_is_damage() -> None:
    content = cv2.imencode(".jpg", GREY)[1].tobytes()
    decode_frame(content, JPEGBaseline8Bit, options())
    with pytest.raises(DecodingError, match="premature end"):
        decode_frame(content[: len(content) * 2 // 3] + b"\xff\xd9", JPEGBaseline8Bit, options())


def test_memory_is_limited_by_what_the_header_announces(monkeypatch: pytest.MonkeyPatch) -> None:
    big = jpeg_2000(np.zeros((4000, 4000), np.uint8))
    monkeypatch.setattr(frames, "_MEMORY", 16 << 20)
    with pytest.raises((DecodingError, ImageTooLargeError, TruncatedImageError)):
        decode_frame(big, JPEG2000Lossless, options())  # as if its own size were not looked at
    np.testing.assert_array_equal(decode_frame(JPEG_2000, JPEG2000Lossless, options()), GREY)


def test_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_frame(JPEG_2000, JPEG2000Lossless, options())  # it runs
    monkeypatch.setattr(frames, "_PATIENCE", 0.001)
    slow = np.random.default_rng(0).integers(0, 256, (2000, 2000)).astype(np.uint8)
    content = jpeg_2000(slow)
    started = time.perf_counter()
    with pytest.raises(ImageTooLargeError, match="more time"):
        decode_frame(content, JPEG2000Lossless, options(rows=2000, columns=2000))
    assert time.perf_counter() - started < 2


def test_threads_have_processes_of_their_own() -> None:
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda _: decode_frame(JPEG_2000, JPEG2000Lossless, options()), range(12))
        assert all(np.array_equal(pixels, GREY) for pixels in found)
    assert len(frames._IDLE.workers) <= 3 + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_forked_process_does_not_share_them() -> None:
    decode_frame(JPEG_2000, JPEG2000Lossless, options())
    child = os.fork()
    if not child:
        good = np.array_equal(decode_frame(JPEG_2000, JPEG2000Lossless, options()), GREY)
        frames._IDLE.close()
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(decode_frame(JPEG_2000, JPEG2000Lossless, options()), GREY)
    gc.collect()


def test_they_end_with_this_process_and_need_little() -> None:
    script = (
        "import sys; from hurdles.pixels import frames\n"
        "worker = frames._Worker(); frames._IDLE.workers.append(worker)\n"
        "print(worker._process.pid)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
    source = frames._SCRIPT.read_text()
    assert "import hurdles" not in source
    assert "from hurdles" not in source
