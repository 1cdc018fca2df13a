"""PNG, JPEG, WebP and TIFF: every form, every orientation, every kind of damage."""

from __future__ import annotations

import io
import pickle
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from hurdles.errors import (
    ConstantImageError,
    ImageError,
    ImageTooLargeError,
    MultiFrameError,
    NotAnImageError,
    TruncatedImageError,
    UnsupportedImageError,
)
from hurdles.pixels.decode import decode, decode_levels, read_header

SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(7).integers(0, 256, (40, 56)).astype(np.float32), (0, 0), 3
)
GREY = cv2.normalize(SMOOTH, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
GREY16 = cv2.normalize(SMOOTH, None, 0, 65535, cv2.NORM_MINMAX).astype(np.uint16)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


def saved(image: Image.Image | np.ndarray, form: str, **options: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decoded(tmp_path: Path, content: bytes, **options: int) -> np.ndarray:
    path = tmp_path / "image"
    path.write_bytes(content)
    return decode(path, **options)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ [0.299, 0.587, 0.114]


LOSSLESS = {
    "PNG": {},
    "TIFF": {},
    "WebP": {"lossless": True, "quality": 0, "exact": True},
}
SIXTEEN_BIT_COLOUR = np.stack([GREY16, GREY16[::-1], GREY16[:, ::-1]], axis=-1)


def opencv(array: np.ndarray, extension: str) -> bytes:
    return cv2.imencode(extension, array)[1].tobytes()


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", LOSSLESS)
def test_eight_bit_grey_is_divided_by_255(tmp_path: Path, form: str) -> None:
    pixels = decoded(tmp_path, saved(GREY, form, **LOSSLESS[form]))
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, GREY / np.float32(255))


@pytest.mark.parametrize("form", [*LOSSLESS, "JPEG", "BMP"])
@pytest.mark.parametrize("samples", [GREY, COLOUR, GREY16, np.dstack([COLOUR, GREY])])
@pytest.mark.parametrize("orientation", [1, 6])
def test_levels_are_bytes_where_bytes_hold_them(
    tmp_path: Path, form: str, samples: np.ndarray, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if form in ("TIFF", "BMP") else {"exif": exif}
    try:
        content = saved(samples, form, **options, **LOSSLESS.get(form, {}))
    except (OSError, ValueError):
        pytest.skip(f"no {form} holds this")
    pixels = decoded(tmp_path, content)
    levels = decode_levels(tmp_path / "image")
    assert levels.dtype in (np.uint8, np.float32)
    if samples is GREY or samples is COLOUR:
        assert levels.dtype == np.uint8
    top = 255 if levels.dtype == np.uint8 else 1
    np.testing.assert_array_equal(pixels, levels / np.float32(top))


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9)).filter(
        lambda a: a.min() < a.max()
    )
)
@settings(max_examples=40, deadline=None)
def test_any_eight_bit_png_comes_through_exactly(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray
) -> None:
    pixels = decoded(tmp_path_factory.getbasetemp(), saved(array, "PNG"))
    np.testing.assert_array_equal(np.rint(pixels * 255), array)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_sixteen_bit_grey_is_divided_by_65535(tmp_path: Path, extension: str) -> None:
    pixels = decoded(tmp_path, opencv(GREY16, extension))
    np.testing.assert_array_equal(pixels, GREY16 / np.float32(65535))


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_sixteen_bit_colour_keeps_its_depth(tmp_path: Path, extension: str) -> None:
    pixels = decoded(tmp_path, opencv(SIXTEEN_BIT_COLOUR[..., ::-1], extension))
    np.testing.assert_allclose(pixels * 65535, luma(SIXTEEN_BIT_COLOUR), rtol=0, atol=1.2)


@pytest.mark.parametrize("form", LOSSLESS)
def test_colour_becomes_luma(tmp_path: Path, form: str) -> None:
    pixels = decoded(tmp_path, saved(COLOUR, form, **LOSSLESS[form]))
    np.testing.assert_allclose(pixels * 255, luma(COLOUR), atol=0.6)


@pytest.mark.parametrize("form", LOSSLESS)
def test_equal_channels_stay_exact(tmp_path: Path, form: str) -> None:
    pixels = decoded(tmp_path, saved(np.dstack([GREY] * 3), form, **LOSSLESS[form]))
    np.testing.assert_array_equal(np.rint(pixels * 255), GREY)


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "LA"), ("PNG", "RGBA"), ("TIFF", "LA"), ("TIFF", "RGBA"), ("WebP", "RGBA")],
)
def test_what_is_transparent_lies_on_black(tmp_path: Path, form: str, mode: str) -> None:
    alpha = np.full_like(GREY, 255)
    alpha[:10], alpha[10:20] = 0, 128
    image = Image.fromarray(GREY).convert(mode)
    image.putalpha(Image.fromarray(alpha))
    pixels = decoded(tmp_path, saved(image, form, **LOSSLESS[form]))
    np.testing.assert_allclose(pixels, GREY / 255 * (alpha / 255), atol=1e-6)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_a_palette_is_looked_up(tmp_path: Path, form: str) -> None:
    image = Image.fromarray(255 - GREY)
    image.putpalette([channel for level in range(255, -1, -1) for channel in [level] * 3])
    assert image.mode == "P"
    np.testing.assert_array_equal(np.rint(decoded(tmp_path, saved(image, form)) * 255), GREY)


def test_a_palette_may_be_transparent(tmp_path: Path) -> None:
    image = Image.fromarray((GREY > 99).astype(np.uint8))
    image.putpalette([200, 200, 200, 100, 100, 100])
    pixels = decoded(tmp_path, saved(image, "PNG", transparency=0))
    np.testing.assert_allclose(pixels, np.where(GREY > 99, 100 / 255, 0), atol=1e-6)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_one_bit_is_black_and_white(tmp_path: Path, form: str) -> None:
    pixels = decoded(tmp_path, saved(Image.fromarray(GREY > 99), form))
    np.testing.assert_array_equal(pixels, (GREY > 99).astype(np.float32))


@pytest.mark.parametrize("bits", [2, 4])
def test_png_of_few_bits_fills_the_range(tmp_path: Path, bits: int) -> None:
    levels = np.arange(2**bits, dtype=np.uint8)
    packed = np.packbits(np.unpackbits(levels[:, None], axis=1)[:, 8 - bits :].ravel())
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", len(levels), 1, bits, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + packed.tobytes())),
        (b"IEND", b""),
    ]
    pixels = decoded(tmp_path, png(chunks))
    np.testing.assert_allclose(pixels[0], levels / levels.max(), atol=1e-6)
    assert read_header(tmp_path / "image").bits == bits


@pytest.mark.parametrize("array", [GREY > 99, GREY, GREY16], ids=["1 bit", "8 bit", "16 bit"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_white_is_zero_is_inverted(
    tmp_path: Path, array: np.ndarray, compression: str | None
) -> None:
    white_is_zero = saved(array, "TIFF", tiffinfo={262: 0}, compression=compression)
    assert read_written(tmp_path, white_is_zero).photometric == "MONOCHROME1"
    usual = decoded(tmp_path, saved(array, "TIFF", compression=compression))
    with Image.open(io.BytesIO(white_is_zero)) as image:
        stored_inverted = array.dtype != np.uint16  # Pillow writes 16-bit samples as they are
        assert image.tag_v2[262] == 0
    pixels = decoded(tmp_path, white_is_zero)
    np.testing.assert_allclose(pixels, usual if stored_inverted else 1 - usual, atol=1e-6)


def read_written(tmp_path: Path, content: bytes) -> object:
    path = tmp_path / "image"
    path.write_bytes(content)
    return read_header(path)


def big_endian_tiff(values: np.ndarray, orientation: int = 1) -> bytes:
    """Write a TIFF by hand: uint16 (H, W) or (H, W, 3), uncompressed, one strip."""
    height, width = values.shape[:2]
    samples = 1 if values.ndim == 2 else 3
    at = 8 + 2 + 10 * 12 + 4
    entries = [
        (256, 3, 1, width << 16),
        (257, 3, 1, height << 16),
        (258, 3, samples, 16 << 16 if samples == 1 else at),
        (259, 3, 1, 1 << 16),
        (262, 3, 1, (1 if samples == 1 else 2) << 16),
        (273, 4, 1, at + 6),
        (274, 3, 1, orientation << 16),
        (277, 3, 1, samples << 16),
        (278, 3, 1, height << 16),
        (279, 4, 1, values.nbytes),
    ]
    content = b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries))
    content += b"".join(struct.pack(">HHII", *entry) for entry in entries) + bytes(4)
    return content + struct.pack(">3H", 16, 16, 16) + values.astype(">u2").tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("colour", [False, True])
def test_big_endian_sixteen_bit_tiff_upright(
    tmp_path: Path, colour: bool, orientation: int
) -> None:
    values = np.dstack([GREY16] * 3) if colour else GREY16
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(io.BytesIO(saved(Image.fromarray(SMOOTH), "TIFF", exif=exif))) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    pixels = decoded(tmp_path, big_endian_tiff(values, orientation))
    header = read_header(tmp_path / "image")
    assert (header.height, header.width) == pixels.shape == expected.shape
    order = np.argsort(expected.ravel(), kind="stable")
    assert (np.diff(pixels.ravel()[order]) >= 0).all()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
@pytest.mark.parametrize("array", [GREY, COLOUR], ids=["grey", "colour"])
def test_jpeg_is_close_to_what_pillow_reads(
    tmp_path: Path, array: np.ndarray, options: dict[str, bool]
) -> None:
    content = saved(array, "JPEG", quality=92, **options)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=float)
    assert np.abs(decoded(tmp_path, content) * 255 - expected).max() <= 2


def test_jpeg_with_restart_markers_and_bytes_after_its_end(tmp_path: Path) -> None:
    flags = [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
    content = cv2.imencode(".jpg", GREY, flags)[1].tobytes()
    assert b"\xff\xd0" in content
    np.testing.assert_array_equal(
        decoded(tmp_path, content + b"trailing"), decoded(tmp_path, content)
    )


def test_cmyk_jpeg(tmp_path: Path) -> None:
    content = saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decoded(tmp_path, content) * 255 - luma(COLOUR)).mean() < 3
    assert read_header(tmp_path / "image").photometric == "CMYK"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WebP", "TIFF"])
def test_exif_orientation_is_applied(tmp_path: Path, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(GREY, form, exif=exif, **LOSSLESS.get(form, {"quality": 95}))
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("L"), dtype=float)
    pixels = decoded(tmp_path, content)
    header = read_header(tmp_path / "image")
    assert pixels.shape == expected.shape == (header.height, header.width)
    assert np.abs(pixels * 255 - expected).max() <= 1


def test_a_damaged_exif_block_does_not_cost_the_image(tmp_path: Path) -> None:
    content = saved(GREY, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decoded(tmp_path, content).shape == GREY.shape


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "Röntgen Bild.dcm"
    path.write_bytes(saved(GREY, "PNG"))
    np.testing.assert_array_equal(decode(path), GREY / np.float32(255))


# --- refusals ------------------------------------------------------------------------------------


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    content = b"\x89PNG\r\n\x1a\n"
    for name, body in chunks:
        content += struct.pack(">I", len(body)) + name + body
        content += struct.pack(">I", zlib.crc32(name + body))
    return content


COMPLETE = {
    "PNG": saved(GREY, "PNG"),
    "JPEG": saved(GREY, "JPEG"),
    "progressive JPEG": saved(COLOUR, "JPEG", progressive=True),
    "WebP": saved(GREY, "WebP"),
    "lossless WebP": saved(COLOUR, "WebP", lossless=True),
    "TIFF": saved(GREY, "TIFF"),
    "LZW TIFF": saved(GREY, "TIFF", compression="tiff_lzw"),
    "16-bit colour TIFF": opencv(SIXTEEN_BIT_COLOUR, ".tiff"),
}


@pytest.mark.parametrize("kind", COMPLETE)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_truncated_file_is_named(tmp_path: Path, kind: str, share: float) -> None:
    content = COMPLETE[kind]
    with pytest.raises(TruncatedImageError, match=r"image: .*(ends|damaged|bytes).*fetch it again"):
        decoded(tmp_path, content[: max(12, int(len(content) * share))])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "progressive JPEG", "WebP"])
def test_two_missing_bytes_are_noticed(tmp_path: Path, kind: str) -> None:
    with pytest.raises(TruncatedImageError, match="fetch it again"):
        decoded(tmp_path, COMPLETE[kind][:-2])


def test_a_truncated_jpeg_with_a_whole_thumbnail_is_noticed(tmp_path: Path) -> None:
    thumbnail = saved(GREY[:8, :8], "JPEG")
    body = b"Exif\0\0" + thumbnail
    app1 = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    whole = COMPLETE["JPEG"][:2] + app1 + COMPLETE["JPEG"][2:]
    assert decoded(tmp_path, whole).shape == GREY.shape
    with pytest.raises(TruncatedImageError, match="Premature end of JPEG file"):
        decoded(tmp_path, whole[:-40])


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path) -> None:
    content = bytearray(COMPLETE["PNG"])
    content[len(content) // 2] ^= 1
    with pytest.raises(TruncatedImageError, match="wrong checksum in chunk 'IDAT'"):
        decoded(tmp_path, bytes(content))


@given(st.binary(max_size=200), st.sampled_from(sorted(COMPLETE)), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.filterwarnings("ignore:Metadata Warning")
def test_damage_never_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, kind: str, at: int
) -> None:
    content = bytearray(COMPLETE[kind])
    content[at : at + len(junk)] = junk
    try:
        pixels = decoded(tmp_path_factory.getbasetemp(), bytes(content), max_pixels=100_000)
    except ImageError:
        return
    assert pixels.ndim == 2
    assert 0 <= pixels.min() < pixels.max() <= 1


def bombs() -> dict[str, bytes]:
    side = 16_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    jpeg = bytearray(COMPLETE["JPEG"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    tiff = bytearray(COMPLETE["TIFF"])
    for tag in (256, 257):
        at = tiff.index(struct.pack("<HHI", tag, 4, 1))
        tiff[at + 8 : at + 12] = struct.pack("<I", side)
    webp = bytearray(COMPLETE["WebP"])
    at = webp.index(b"\x9d\x01\x2a")
    webp[at + 3 : at + 7] = struct.pack("<HH", side, side)
    lossless = bytearray(COMPLETE["lossless WebP"])
    at = lossless.index(b"VP8L") + 9
    lossless[at : at + 4] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    return {
        "PNG": png([(b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")]),
        "JPEG": bytes(jpeg),
        "TIFF": bytes(tiff),
        "WebP": bytes(webp),
        "lossless WebP": bytes(lossless),
    }


@pytest.mark.parametrize("kind", bombs())
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ImageTooLargeError, match=r"image: .*16000.*16000.*pixels"):
        decoded(tmp_path, bombs()[kind])
    assert time.perf_counter() - started < 1


def test_the_limit_is_inclusive_and_may_be_chosen(tmp_path: Path) -> None:
    assert decoded(tmp_path, COMPLETE["PNG"], max_pixels=GREY.size).shape == GREY.shape
    with pytest.raises(ImageTooLargeError, match="56 x 40 pixels, more than 2,239"):
        decoded(tmp_path, COMPLETE["PNG"], max_pixels=GREY.size - 1)


@pytest.mark.parametrize("form", ["PNG", "WebP", "TIFF"])
def test_several_frames_are_refused(tmp_path: Path, form: str) -> None:
    pages = {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]}
    content = saved(GREY, form, **pages)
    with pytest.raises(MultiFrameError, match="holds 2 frames"):
        decoded(tmp_path, content)


def test_a_smaller_copy_in_a_tiff_is_no_second_frame(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    small = Image.fromarray(GREY[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(GREY).save(buffer, "TIFF", save_all=True, append_images=[small])
    np.testing.assert_array_equal(np.rint(decoded(tmp_path, buffer.getvalue()) * 255), GREY)


@pytest.mark.parametrize("value", [0, 77, 255])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_constant_image_is_named(tmp_path: Path, form: str, value: int) -> None:
    with pytest.raises(ConstantImageError, match=r"image: every pixel has the same value"):
        decoded(tmp_path, saved(np.full((9, 9), value, np.uint8), form))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_tiff_without_a_range_of_its_own_is_refused(tmp_path: Path, dtype: type) -> None:
    with pytest.raises(UnsupportedImageError, match=r"32-bit samples .* scale them to 16-bit"):
        decoded(tmp_path, saved(GREY.astype(dtype), "TIFF"))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", TruncatedImageError, "the file is empty"),
        (bytes(5000), TruncatedImageError, "nothing but zeros"),
        (b"patient,finding\n1,COVID-19\n", NotAnImageError, "neither PNG, JPEG"),
        (b"\x89PNG", NotAnImageError, "neither PNG, JPEG"),
        (b"%PDF-1.7", UnsupportedImageError, "a PDF file; convert it to PNG"),
        (saved(GREY, "GIF"), UnsupportedImageError, "a GIF file"),
        (saved(GREY, "JPEG2000"), UnsupportedImageError, "a JPEG 2000 file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), TruncatedImageError, "the PNG file is damaged"),
    ],
)
def test_what_is_no_radiograph_is_named(
    tmp_path: Path, content: bytes, error: type[ImageError], message: str
) -> None:
    with pytest.raises(error, match=f"image: .*{message}") as caught:
        decoded(tmp_path, content)
    assert caught.value.path == tmp_path / "image"
    with pytest.raises(error, match=message):
        read_header(tmp_path / "image")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file or directory"):
        decode(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="this is no plain file"):
        decode(tmp_path)


def test_the_path_survives_another_process(tmp_path: Path) -> None:
    with pytest.raises(TruncatedImageError, match="is empty") as caught:
        decoded(tmp_path, b"")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (TruncatedImageError, str(caught.value))


@pytest.mark.parametrize(
    ("content", "bits", "photometric"),
    [
        (saved(GREY, "PNG"), 8, "MONOCHROME2"),
        (saved(COLOUR, "PNG"), 8, "RGB"),
        (opencv(GREY16, ".png"), 16, "MONOCHROME2"),
        (saved(Image.fromarray(GREY).convert("P"), "PNG"), 8, "PALETTE COLOR"),
        (saved(GREY, "JPEG"), 8, "MONOCHROME2"),
        (saved(COLOUR, "JPEG"), 8, "RGB"),
        (opencv(GREY16, ".tiff"), 16, "MONOCHROME2"),
        (saved(GREY > 9, "TIFF"), 1, "MONOCHROME2"),
        (saved(COLOUR, "WebP"), 8, "RGB"),
    ],
)
def test_the_header_says_what_decoding_gives(
    tmp_path: Path, content: bytes, bits: int, photometric: str
) -> None:
    shape = decoded(tmp_path, content).shape
    header = read_header(tmp_path / "image")
    assert (header.height, header.width) == shape
    assert (header.bits, header.photometric, header.frames) == (bits, photometric, 1)


def test_a_header_needs_only_the_head_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    path.write_bytes(opencv(np.random.default_rng(0).integers(0, 256, (300, 200)), ".png")[:500])
    assert (read_header(path).height, read_header(path).width) == (300, 200)
