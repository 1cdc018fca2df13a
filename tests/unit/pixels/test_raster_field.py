"""PNG, JPEG, TIFF, WebP and BMP as they are found: read as they are meant, or refused truly."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hurdles.errors import (
    ImageError,
    ImageTooLargeError,
    MultiFrameError,
    NotAnImageError,
    TruncatedImageError,
    UnsupportedImageError,
)
from hurdles.pixels import header, raster
from hurdles.pixels.decode import decode, read_header

SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(7).integers(0, 256, (96, 80)).astype(np.float32), (0, 0), 3
)
RAMP = cv2.normalize(SMOOTH.astype(np.float64), None, 0, 1, cv2.NORM_MINMAX)
GREY = np.rint(RAMP * 255).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    header._counts.clear()


def saved(array: np.ndarray, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def decoded(tmp_path: Path, content: bytes) -> np.ndarray:
    path = tmp_path / "image"
    path.write_bytes(content)
    pixels = decode(path)
    assert pixels.dtype == np.float32
    assert pixels.shape == (read_header(path).height, read_header(path).width)
    return pixels


# --- bits in use ---------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [".png", ".tiff"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("needed", "depth"), [(8, 8), (9, 10), (12, 12), (13, 14), (15, 16)])
def test_few_bits_in_a_file_of_sixteen(
    tmp_path: Path, extension: str, colour: bool, needed: int, depth: int,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    values = np.rint(RAMP * ((1 << needed) - 1)).astype(np.uint16)
    content = cv2.imencode(extension, np.dstack([values] * 3) if colour else values)[1].tobytes()
    pixels = decoded(tmp_path, content)
    np.testing.assert_allclose(pixels, values / ((1 << depth) - 1), atol=2e-5)
    said = f"{tmp_path / 'image'}: a file of 16 bits whose values need only {needed}; read as a"
    assert (said in caplog.text) == (depth < 16)


def test_alpha_of_sixteen_bits_is_no_part_of_the_picture(tmp_path: Path) -> None:
    values = np.rint(RAMP * 4095).astype(np.uint16)
    content = cv2.imencode(".png", np.dstack([values] * 3 + [np.full_like(values, 65535)]))[1]
    np.testing.assert_allclose(decoded(tmp_path, content.tobytes()), values / 4095, atol=2e-5)


# --- PNG -----------------------------------------------------------------------------------------


def with_transparent(content: bytes, value: int) -> bytes:
    body = b"tRNS" + struct.pack(">H", value)
    chunk = struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body))
    at = content.index(b"IDAT") - 4
    return content[:at] + chunk + content[at:]


@pytest.mark.parametrize("value", [255, 0, 77])
def test_a_transparent_grey_lies_on_black(tmp_path: Path, value: int) -> None:
    grey = GREY.copy()
    grey[0] = value
    pixels = decoded(tmp_path, with_transparent(saved(grey, "PNG"), value))
    np.testing.assert_array_equal(np.rint(pixels * 255), np.where(grey == value, 0, grey))


def test_a_transparent_grey_of_sixteen_bits_and_of_one(tmp_path: Path) -> None:
    deep = np.rint(RAMP * 65535).astype(np.uint16)
    content = with_transparent(cv2.imencode(".png", deep)[1].tobytes(), 65535)
    np.testing.assert_allclose(
        decoded(tmp_path, content), np.where(deep == 65535, 0, deep) / 65535, atol=1e-6
    )
    bits = Image.fromarray(GREY > 99)
    buffer = io.BytesIO()
    bits.save(buffer, "PNG")
    with pytest.raises(ImageError, match="same value, 0 of 1"):
        decoded(tmp_path, with_transparent(buffer.getvalue(), 1))


def test_a_transparent_colour_as_pillow_has_it(tmp_path: Path) -> None:
    content = saved(COLOUR, "PNG", transparency=tuple(int(c) for c in COLOUR[5, 5]))
    with Image.open(io.BytesIO(content)) as image:
        rgba = np.asarray(image.convert("RGBA"), dtype=float)
    expected = rgba[..., :3] @ [0.299, 0.587, 0.114] / 255 * (rgba[..., 3] / 255)
    np.testing.assert_allclose(decoded(tmp_path, content), expected, atol=0.003)


# --- TIFF ----------------------------------------------------------------------------------------


def tiff(samples: np.ndarray, *, planar: int = 1, form: int = 1, compression: int = 1) -> bytes:
    """Write a TIFF by hand: (H, W) or (H, W, 3), one strip a plane."""
    height, width = samples.shape[:2]
    count = 1 if samples.ndim == 2 else 3
    bits = 8 * samples.dtype.itemsize
    planes = [samples] if planar == 1 else [samples[..., i] for i in range(3)]
    data = b"".join(np.ascontiguousarray(p).astype(p.dtype.newbyteorder("<")).tobytes()
                    for p in planes)  # fmt: skip
    size, number = len(data) // len(planes), len(planes)
    at = 8 + 2 + 12 * 12 + 4
    more = struct.pack("<4H", bits, bits, bits, 0) + struct.pack("<4H", form, form, form, 0)
    start = at + len(more) + 24
    more += struct.pack("<3I", *(start + size * i for i in range(3)))
    more += struct.pack("<3I", size, size, size)
    entries = [
        (256, 3, 1, width), (257, 3, 1, height),
        (258, 3, count, bits if count == 1 else at), (259, 3, 1, compression),
        (262, 3, 1, 1 if count == 1 else 2), (273, 4, number, start if number == 1 else at + 16),
        (277, 3, 1, count), (278, 3, 1, height), (279, 4, number, size if number == 1 else at + 28),
        (284, 3, 1, planar), (339, 3, count, form if count == 1 else at + 8), (65000, 3, 1, 0),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + directory
            + bytes(4) + more + data)  # fmt: skip


def test_the_hand_written_tiff_is_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(np.rint(decoded(tmp_path, tiff(GREY)) * 255), GREY)
    planes = decoded(tmp_path, tiff(COLOUR, planar=2))
    np.testing.assert_array_equal(planes, decoded(tmp_path, tiff(COLOUR)))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (tiff(GREY, form=2), "signed 8-bit samples"),
        (tiff((RAMP * 30000).astype(np.uint16), form=2), "signed 16-bit samples"),
        (tiff(RAMP.astype(np.float32), form=3), "floating-point 32-bit samples"),
        (tiff(COLOUR.astype(np.uint16) * 257, planar=2), "16-bit colors in separate planes"),
        (tiff(GREY, compression=34712), r"compression \(34712\) that is not read"),
        (tiff(GREY, compression=50001), r"compression \(50001\) that is not read"),
        (tiff(COLOUR.astype(np.uint16) * 257, compression=50000), r"compression \(50000\)"),
        (tiff(RAMP.astype(np.float16), form=3), "form of pixels that is not read"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_forms_that_are_not_read_are_unsupported_and_not_damaged(
    tmp_path: Path, content: bytes, what: str
) -> None:
    with pytest.raises(UnsupportedImageError, match=what):
        decoded(tmp_path, content)


@pytest.mark.parametrize("deep", [False, True])
def test_the_largest_page_is_the_image(tmp_path: Path, deep: bool) -> None:
    buffer = io.BytesIO()
    if deep:
        big = np.rint(RAMP * 65535).astype(np.uint16)
        colours = np.dstack([big] * 3)
        content = cv2.imencodemulti(".tiff", [colours[::4, ::4], colours])[1].tobytes()
    else:
        pages = [Image.fromarray(GREY), Image.fromarray(GREY[::4, ::4])]
        small = Image.fromarray(GREY[::3, ::3])
        small.save(buffer, "TIFF", save_all=True, append_images=pages)
        content = buffer.getvalue()
    np.testing.assert_allclose(decoded(tmp_path, content), GREY / 255, atol=0.003)


def test_two_large_pages_are_two_frames(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    other = Image.fromarray(GREY[:90])
    Image.fromarray(GREY).save(buffer, "TIFF", save_all=True, append_images=[other])
    with pytest.raises(MultiFrameError, match="holds 2 frames"):
        decoded(tmp_path, buffer.getvalue())


# --- JPEG ----------------------------------------------------------------------------------------


JPEGS = {
    "baseline": saved(GREY, "JPEG", quality=95),
    "progressive": saved(COLOUR, "JPEG", quality=95, progressive=True),
    "CMYK": b"",
}
_BUFFER = io.BytesIO()
Image.fromarray(COLOUR).convert("CMYK").save(_BUFFER, "JPEG", quality=95)
JPEGS["CMYK"] = _BUFFER.getvalue()


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("how", ["cut, with its end put back", "zeroed"])
def test_a_jpeg_of_which_a_part_is_missing_is_damaged(
    tmp_path: Path, kind: str, share: float, how: str
) -> None:
    whole = JPEGS[kind]
    assert decoded(tmp_path, whole).shape == GREY.shape
    at = whole.index(b"\xff\xda") + int(share * (len(whole) - whole.index(b"\xff\xda")))
    rest = b"" if how.startswith("cut") else bytes(len(whole) - at - 2)
    with pytest.raises(TruncatedImageError, match=r"Corrupt JPEG data|Premature|Bogus"):
        decoded(tmp_path, whole[:at] + rest + b"\xff\xd9")


@pytest.mark.parametrize("place", [0.2, 0.5])
def test_four_hundred_bytes_overwritten_are_damage(tmp_path: Path, place: float) -> None:
    rough = np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)
    content = bytearray(saved(rough, "JPEG", quality=95))
    at = int(len(content) * place)
    content[at : at + 400] = np.random.default_rng(1).bytes(400)
    with pytest.raises(TruncatedImageError, match="the JPEG file is damaged"):
        decoded(tmp_path, bytes(content))


def test_a_few_bytes_that_claim_a_large_picture_are_damaged(tmp_path: Path) -> None:
    content = bytearray(JPEGS["baseline"][:454])
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 3000, 3000)
    with pytest.raises(TruncatedImageError, match="the JPEG file is damaged"):
        decoded(tmp_path, bytes(content))


@given(st.lists(st.sampled_from([b"\xff", b"\xda", b"\x00", b"\xff\xda"])).map(b"".join))
def test_scans_are_counted_wherever_they_begin(data: bytes) -> None:
    data = b"\xff\xd8\xff" + data
    assert raster._count_scans(data) == data.count(b"\xff\xda")


def test_a_jpeg_of_thousands_of_scans_is_refused_at_once(tmp_path: Path) -> None:
    content = bytearray(JPEGS["progressive"])
    frame = content.index(b"\xff\xc2")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 9000, 9000)
    scan = content.index(b"\xff\xda")
    started = time.perf_counter()
    with pytest.raises(ImageTooLargeError, match=r"goes 2,\d\d\d times over its 9000 x"):
        decoded(tmp_path, bytes(content[:-2] + content[scan : scan + 12] * 2000 + b"\xff\xd9"))
    assert time.perf_counter() - started < 1


def test_unusual_subsampling_is_read_by_pillow(tmp_path: Path) -> None:
    content = bytearray(saved(COLOUR, "JPEG", quality=95, subsampling=0))
    at = content.index(b"\xff\xc0") + 11
    assert content[at] == 0x11
    content[at] = 0x31  # no library writes this: what is decoded is no picture
    assert decoded(tmp_path, bytes(content)).shape == GREY.shape
    with pytest.raises(TruncatedImageError, match="image file is truncated"):
        decoded(tmp_path, bytes(content[: len(content) // 2]))


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_whole_jpegs_are_what_opencv_makes_of_them(tmp_path: Path, kind: str) -> None:
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    expected = cv2.imdecode(np.frombuffer(JPEGS[kind], np.uint8), flags)
    np.testing.assert_array_equal(decoded(tmp_path, JPEGS[kind]), expected / np.float32(255))


# --- BMP, and names ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp_is_read(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLOUR if mode == "RGB" else GREY).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    expected = np.asarray(image.convert("RGB"), dtype=float) @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(decoded(tmp_path, buffer.getvalue()), expected, atol=0.003)
    assert read_header(tmp_path / "image").format == "BMP"


def test_a_cut_bmp_is_damaged_and_a_large_one_refused(tmp_path: Path) -> None:
    content = saved(GREY, "BMP")
    with pytest.raises(TruncatedImageError, match="the BMP file is damaged"):
        decoded(tmp_path, content[: len(content) // 2])
    large = content[:18] + struct.pack("<ii", 20000, 20000) + content[26:]
    with pytest.raises(ImageTooLargeError, match="20000 x 20000"):
        decoded(tmp_path, large)


# --- what is no plain file -----------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_refused_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(NotAnImageError, match=r"pipe.png: this is no plain file"):
        decode(tmp_path / "pipe.png")


def test_a_device_and_an_impossible_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"this is no plain file"):
        decode(os.devnull)
    with pytest.raises(ImageError, match="the path is none that a file can have"):
        decode(f"{tmp_path}/a\0b.png")


def test_a_file_that_is_larger_than_any_radiograph_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    path.write_bytes(bytes(128) + b"DICM")
    os.truncate(path, 3 << 30)  # a hole: it takes no space
    with pytest.raises(ImageTooLargeError, match="has 3,072 MB, more than 826 MB"):
        decode(path)
