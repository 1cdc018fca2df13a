"""Large files of other formats, prepared the first time: PNG, and DICOM plain and compressed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pairs import Row, Side
from preparing import first_time

_FOLDER = Path(tempfile.gettempdir()) / "hurdles-bench"
_SIDE = 2048


def prepared(kind: str) -> Callable[[float], float]:
    return first_time(str(made(kind)))


def peer(kind: str) -> Callable[[float], float]:
    """Let Pillow read PNGs, and pydicom DICOM files."""
    import pillow_loop
    import pydicom_loop

    folder = str(made(kind))
    if kind == "png":
        return pillow_loop.images_per_second(folder, "png")
    return pydicom_loop.images_per_second(folder)


def made(kind: str) -> Path:
    """Return two class folders of smooth fields with the grain of a detector, made but once."""
    writer, images = _KINDS[kind]
    folder = _FOLDER / kind
    for n in range(images):
        path = folder / "AB"[n % 2] / f"{n}.{kind[:5].strip('-')}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            writer(part, n)
            part.replace(path)
    return folder


def _field(seed: int, levels: int) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.random((12, 12)), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 0.008, (_SIDE, _SIDE))
    return np.clip((coarse * 0.8 + 0.1 + grain) * levels, 0, levels - 1).astype(np.uint16)


def _png(path: Path, seed: int) -> None:
    import cv2

    path.write_bytes(cv2.imencode(".png", _field(seed, 256).astype(np.uint8))[1])


def _dicom(path: Path, seed: int, *, compress: bool = False) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import (
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        JPEG2000Lossless,
        generate_uid,
    )

    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    ds.Rows = ds.Columns = _SIDE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 2000, 3000
    ds.PixelData = _field(seed, 4096).tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if compress:
        ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


_KINDS: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "png": (_png, 24),
    "dicom": (_dicom, 24),
    "dicom-jpeg2000": (lambda path, seed: _dicom(path, seed, compress=True), 6),
}


def _row(kind: str, what: str, reader: str) -> Row:
    sides = (
        Side("hurdles", "formats:prepared", {"kind": kind}),
        Side(reader, "formats:peer", {"kind": kind}),
    )
    return Row(f"prepare-{kind}", f"prepare {what} of 2,048 px the first time", "images/s", sides)


ROWS = (
    _row("png", "PNGs", "Pillow"),
    _row("dicom", "plain DICOM files", "pydicom"),
    _row("dicom-jpeg2000", "DICOM files in JPEG 2000", "pydicom"),
)
