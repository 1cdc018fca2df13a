"""Agreement with DCMTK, where it is installed: on made files, and on those of pydicom's package."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from hurdles.errors import ImageError
from hurdles.pixels.decode import decode

pytestmark = [
    pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="DCMTK is not installed"),
    pytest.mark.filterwarnings("ignore"),
]

SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(3).integers(0, 256, (40, 30)).astype(np.float32), (0, 0), 3
).astype(np.float64)
_DECOMPRESS = {"4.50": "dcmdjpeg", "4.51": "dcmdjpeg", "4.57": "dcmdjpeg", "4.70": "dcmdjpeg",
               "4.80": "dcmdjpls", "4.81": "dcmdjpls"}  # fmt: skip


def by_dcmtk(path: Path, ds: Dataset) -> np.ndarray | None:
    """Return what dcm2pnm makes of a file, told to use what we use; None if it makes nothing."""
    syntax = str(ds.file_meta.get("TransferSyntaxUID", "")) if hasattr(ds, "file_meta") else ""
    tool = _DECOMPRESS.get(syntax.removeprefix("1.2.840.10008.1.2."))
    if tool is not None:
        plain = path.with_name("plain.dcm")
        plain.unlink(missing_ok=True)
        subprocess.run([tool, str(path), str(plain)], capture_output=True, check=False)
        path = plain
    if ds.get("VOILUTSequence"):
        window = ["+Wl", "1"]
    elif ds.get("WindowWidth"):
        window = ["+Wi", "1"]
    else:
        window = ["+Wm"] if ds.BitsStored > 8 else ["-W"]
    made = path.with_name("made.pnm")
    made.unlink(missing_ok=True)
    call = ["dcm2pnm", "-O", "+opw", *window, str(path), str(made)]
    subprocess.run(call, capture_output=True, check=False)
    if not made.is_file():
        return None
    kind, *lines = (x for x in made.read_text().splitlines() if not x.startswith("#"))
    width, height, top, *values = map(int, " ".join(lines).split())
    pixels = np.array(values, dtype=np.float64) / top
    if kind == "P2":
        return pixels.reshape(height, width)
    return np.asarray(pixels.reshape(height, width, 3) @ [0.299, 0.587, 0.114])


def made(bits: int, signed: bool, photometric: str) -> tuple[Dataset, int]:
    """Return a picture that uses its whole depth, and the lowest value of that."""
    low = -(1 << (bits - 1)) if signed else 0
    values = low + np.rint(
        cv2.normalize(SMOOTH, None, 0, (1 << bits) - 1, cv2.NORM_MINMAX)
    ).astype(np.int64)  # fmt: skip
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    ds.Rows, ds.Columns = SMOOTH.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.BitsAllocated = 8 if bits <= 8 else 16
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(signed)
    dtype = np.dtype(("u", "i")[signed] + str(ds.BitsAllocated // 8))
    ds.PixelData = values.astype(dtype).tobytes()
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds, low


def lut(first: int, bits: int, entries: np.ndarray) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) & 0xFFFF, first, bits])
    item.LUTExplanation, item.ModalityLUTType = "test", "US"
    item.add_new("LUTData", "OW", entries.tobytes())
    return item


def with_modality(ds: Dataset, kind: str, low: int, bits: int) -> None:
    if kind == "rescale":
        ds.RescaleSlope, ds.RescaleIntercept = 2, -100
    elif kind == "LUT":
        curve = (np.linspace(0, 1, 1 << bits) ** 2 * 4095).astype("<u2")
        ds.ModalityLUTSequence = [lut(low, 12, curve)]


def with_voi(ds: Dataset, kind: str, low: int, bits: int) -> None:
    modal_low, modal_high = low, low + (1 << bits) - 1
    if "RescaleSlope" in ds:
        modal_low, modal_high = 2 * modal_low - 100, 2 * modal_high - 100
    elif "ModalityLUTSequence" in ds:
        modal_low, modal_high = 0, 4095
    if kind.startswith("window"):
        ds.WindowCenter = (modal_low + modal_high) // 2 + 3
        ds.WindowWidth = (modal_high - modal_low) * 3 // 4
        ds.VOILUTFunction = kind.partition(" ")[2]
    elif kind.startswith("LUT"):
        depth = int(kind.partition(" ")[2])
        count = min(modal_high - modal_low + 1, 65536)
        curve = np.sqrt(np.linspace(0, 1, count)) * ((1 << depth) - 1)
        ds.VOILUTSequence = [lut(modal_low, depth, curve.astype("u1" if depth == 8 else "<u2"))]


MATRIX = list(
    itertools.product(
        (8, 12, 16),
        (False, True),
        ("MONOCHROME1", "MONOCHROME2"),
        ("none", "rescale", "LUT"),
        ("none", "window LINEAR", "window SIGMOID", "LUT 8", "LUT 16"),
    )
)


@pytest.mark.parametrize(
    ("syntax", "step"),
    [
        pytest.param(ExplicitVRLittleEndian, 1, marks=pytest.mark.full),
        (ExplicitVRLittleEndian, 11),
        (ImplicitVRLittleEndian, 13),
        (RLELossless, 17),
    ],
)
def test_a_made_matrix_agrees(tmp_path: Path, syntax: str, step: int) -> None:
    wrong = []
    compared = 0
    path = tmp_path / "made.dcm"
    for bits, signed, photometric, modality, voi in MATRIX[::step]:
        if bits == 16 and modality == "rescale" and voi.startswith("LUT"):
            # a table's first value has 16 bits only
            continue
        ds, low = made(bits, signed, photometric)
        with_modality(ds, modality, low, bits)
        with_voi(ds, voi, low, bits)
        if syntax == RLELossless:
            ds.compress(RLELossless, generate_instance_uid=False)
        else:
            ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(path, enforce_file_format=True)
        theirs, ours = by_dcmtk(path, ds), decode(path)
        assert theirs is not None
        compared += 1
        if np.abs(ours - theirs).max() > 0.005:
            wrong.append((bits, signed, photometric, modality, voi, np.abs(ours - theirs).max()))
    assert not wrong
    assert compared > 8


def test_the_files_of_pydicom_agree(tmp_path: Path) -> None:
    folder = Path(pydicom.data.__file__).parent
    wrong, agree = [], 0
    path = tmp_path / "theirs.dcm"
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.suffix in (".py", ".pyc", ".json", ".txt", ".md"):
            continue
        shutil.copyfile(file, path)
        try:
            ours = decode(path)
        except ImageError:
            continue
        ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        theirs = by_dcmtk(path, ds)
        if theirs is None or ds.BitsAllocated == 1:  # DCMTK makes grey of white there
            continue
        agree += 1
        if ours.shape != theirs.shape or np.abs(ours - theirs).max() > 0.01:
            wrong.append(file.name)
    assert not wrong
    assert agree > 50


def test_left_aligned_and_big_endian_agree(tmp_path: Path) -> None:
    path = tmp_path / "made.dcm"
    for signed in (False, True):
        ds, _ = made(12, signed, "MONOCHROME2")
        values = np.frombuffer(ds.PixelData, dtype="<i2" if signed else "<u2")
        ds.PixelData, ds.HighBit = (values << 4).tobytes(), 15
        ds.save_as(path, enforce_file_format=True)
        np.testing.assert_allclose(decode(path), by_dcmtk(path, ds), atol=0.001)
        ds, _ = made(12, signed, "MONOCHROME1")
        ds.PixelData = np.frombuffer(ds.PixelData, dtype="<u2").byteswap().tobytes()
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        ds.save_as(path, enforce_file_format=True)
        np.testing.assert_allclose(decode(path), by_dcmtk(path, ds), atol=0.001)
