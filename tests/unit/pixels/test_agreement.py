"""Agreement with Pillow and tifffile on every form of picture that they write and hurdles reads."""

from __future__ import annotations

import itertools
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from hurdles.errors import TruncatedImageError, UnsupportedImageError
from hurdles.pixels.decode import decode

SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(4).random((40, 34, 4)).astype(np.float32), (0, 0), 3
)
SMOOTH = (SMOOTH - SMOOTH.min((0, 1))) / np.ptp(SMOOTH, axis=(0, 1))
_LUMA = (0.299, 0.587, 0.114)


def picture(mode: str) -> Image.Image:
    rgb = Image.fromarray((SMOOTH[..., :3] * 255).astype(np.uint8))
    if mode == "P":
        return rgb.quantize(64)
    if mode == "I;16":
        return Image.fromarray((SMOOTH[..., 0] * 65535).astype(np.uint16))
    if mode in ("LA", "RGBA"):
        alpha = Image.fromarray((SMOOTH[..., 3] * 255).astype(np.uint8))
        rgb.putalpha(alpha)
    return rgb.convert(mode)


def grey(values: np.ndarray, highest: int) -> np.ndarray:
    """Return what stored samples mean: colour as luma, transparency over black."""
    unit = values.astype(np.float64) / highest
    if unit.ndim == 2:
        return unit
    alpha = unit[..., -1] if unit.shape[2] in (2, 4) else 1.0
    colour = unit[..., :3] @ _LUMA if unit.shape[2] >= 3 else unit[..., 0]
    return np.asarray(colour * alpha)


PILLOW = [
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("PNG", mode, {"bits": 4}) for mode in ("P",)),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB")),
    *(("WEBP", mode, {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")),
    *(("JPEG", mode, {"progressive": p}) for mode in ("L", "RGB") for p in (False, True)),
    ("JPEG", "RGB", {"subsampling": 0}), ("JPEG", "RGB", {"subsampling": 2}),
    *(
        ("TIFF", mode, {"compression": way})
        for mode in ("1", "L", "P", "RGB", "RGBA", "I;16", "CMYK")
        for way in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma")
    ),
    ("TIFF", "1", {"compression": "group3"}), ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "L", {"compression": "jpeg"}), ("TIFF", "RGB", {"compression": "jpeg"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "mode", "options"), PILLOW, ids=lambda each: str(each).replace("/", " ")
)
def test_as_pillow_reads_it(tmp_path: Path, kind: str, mode: str, options: dict[str, object]):
    path = tmp_path / "image"
    picture(mode).save(path, kind, **options)
    with Image.open(path) as image:
        if image.mode == "I;16":
            theirs = grey(np.asarray(image), 65535)
        elif image.mode in ("1", "L"):
            theirs = grey(np.asarray(image.convert("L")), 255)
        else:
            wanted = "RGBA" if "A" in image.mode else "RGB"
            theirs = grey(np.asarray(image.convert(wanted)), 255)
    tolerance = 2 / 65535 if mode == "I;16" else 1.1 / 255
    if kind == "JPEG" and mode == "RGB":
        tolerance = 3 / 255  # they go through RGB, and round there
    np.testing.assert_allclose(decode(path), theirs, atol=tolerance)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("dtype", "photometric", "layout"),
    [
        *itertools.product(
            ("uint8", "uint16"),
            ("minisblack", "miniswhite"),
            ({}, {"tile": (16, 16)}, {"rowsperstrip": 7}),
        ),
        *itertools.product(
            ("uint8", "uint16"), ("rgb",), ({}, {"tile": (16, 16)}, {"rowsperstrip": 7})
        ),
        ("uint8", "rgb", {"planarconfig": "separate"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_as_tifffile_reads_it(
    tmp_path: Path,
    dtype: str,
    photometric: str,
    layout: dict[str, object],
    compression: str | None,
    order: str,
) -> None:
    highest = int(np.iinfo(dtype).max)
    values = (SMOOTH[..., : 3 if photometric == "rgb" else 1] * highest).astype(dtype)
    if photometric != "rgb":
        values = values[..., 0]
    separate = layout.get("planarconfig") == "separate"
    path = tmp_path / "image"
    tifffile.imwrite(
        path, np.moveaxis(values, -1, 0) if separate else values, photometric=photometric,
        compression=compression, byteorder=order, metadata=None, **layout,
    )  # fmt: skip
    if (dtype, photometric, order) == ("uint16", "miniswhite", ">"):  # Pillow does not know it
        with pytest.raises(UnsupportedImageError, match="unknown pixel mode"):
            decode(path)
        return
    read = tifffile.imread(path)
    theirs = grey(np.moveaxis(read, 0, -1) if separate else read, highest)
    if photometric == "miniswhite":
        theirs = 1 - theirs
    np.testing.assert_allclose(decode(path), theirs, atol=1.1 / highest)


@pytest.mark.parametrize("layout", [{"rowsperstrip": 8}, {"tile": (16, 16)}], ids=str)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("damage", ["fewer", "nowhere"])
def test_a_tiff_of_which_a_part_is_missing_is_damaged(
    tmp_path: Path, layout: dict[str, object], compression: str | None, damage: str
) -> None:
    path = tmp_path / "image.tif"
    values = (SMOOTH[..., 0] * 255).astype(np.uint8)
    tifffile.imwrite(path, values, compression=compression, metadata=None, **layout)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
    if damage == "fewer":  # rows are announced for which there are no strips
        height = tags["ImageLength"]
        content[height.valueoffset : height.valueoffset + 2] = (4000).to_bytes(2, "little")
    else:
        places = tags.get("StripOffsets") or tags["TileOffsets"]
        size = 4 if places.dtype == 4 else 2
        content[places.valueoffset + size : places.valueoffset + 2 * size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(TruncatedImageError, match=r"it holds .* of .* (strips|tiles)"):
        decode(path)


def test_multiplied_transparency_is_not_multiplied_again(tmp_path: Path) -> None:
    opaque, alpha = SMOOTH[..., :3], 0.5 + SMOOTH[..., 3:] / 2
    values = np.concatenate([opaque * alpha, alpha], axis=-1)
    path = tmp_path / "image.tif"
    deep = (values * 65535).astype(np.uint16)
    tifffile.imwrite(path, deep, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    theirs = (opaque * alpha) @ _LUMA
    np.testing.assert_allclose(decode(path), theirs, atol=2 / 65535)


def test_what_lies_behind_a_picture_is_not_decoded(tmp_path: Path) -> None:
    """OpenCV asked for 4 GB, as a chunk behind the end announces."""
    coded = cv2.imencode(".png", (SMOOTH[..., 0] * 255).astype(np.uint8))[1].tobytes()
    head, rest = coded[:33], coded[33:]
    behind = head + rest[-12:] + b"\xff\0\0\xfdIDAT" + rest
    whole = tmp_path / "whole.png"
    whole.write_bytes(coded + b"\xff\0\0\xfdIDAT")
    np.testing.assert_allclose(decode(whole), SMOOTH[..., 0], atol=1.1 / 255)
    empty = tmp_path / "empty.png"
    empty.write_bytes(behind)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TruncatedImageError, match="cannot be decoded"):
        decode(empty)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
