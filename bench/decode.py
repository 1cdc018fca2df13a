"""Images per second from file to 224 pixels, beside a plain reference in the same run.

``python bench/decode.py [--images N] [--json]``. The images are made on the fly: smooth structure
with the grain of a detector, so that they compress as radiographs do. References: Pillow (open,
convert to grey, resize), and pydicom's own ``pixel_array`` and ``apply_voi_lut`` with Pillow's
resize. One thread each, files in the page cache, per second of processor time; by the clock where
another process decodes (compressed DICOM), and for `prepare`, which runs on every processor.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pandas as pd
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

from hurdles.data.manifest import Manifest
from hurdles.pixels.cache import prepare
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import Preparation
from hurdles.training.machine import environment, in_words

SIZE = 224


def radiograph(side: int, seed: int, levels: int) -> np.ndarray:
    """Return a smooth field with grain, uint16 (side, side) below `levels`."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.random((12, 12)), (side, side), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 0.008, (side, side))
    return np.clip((coarse * 0.8 + 0.1 + grain) * levels, 0, levels - 1).astype(np.uint16)


def write_png(path: Path, side: int, seed: int) -> None:
    path.write_bytes(cv2.imencode(".png", radiograph(side, seed, 256).astype(np.uint8))[1])


def write_jpeg(path: Path, side: int, seed: int) -> None:
    pixels = radiograph(side, seed, 256).astype(np.uint8)
    path.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])[1])


def write_dicom(path: Path, side: int, seed: int, *, compress: bool = False) -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    ds.Rows = ds.Columns = side
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 2000, 3000
    ds.PixelData = radiograph(side, seed, 4096).tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if compress:
        ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def by_hurdles(path: Path) -> np.ndarray:
    return Preparation(SIZE)(decode(path))


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def by_pydicom(path: Path) -> np.ndarray:
    ds = pydicom.dcmread(path)
    pixels = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
    grey = Image.fromarray((pixels / pixels.max() * 255).astype(np.uint8))
    return np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def rates(
    readers: list[Callable[[Path], object]], paths: list[Path], *, by_clock: bool = False
) -> list[float]:
    """Return images per second of processor time, which other work on the machine hardly moves."""
    now = time.perf_counter if by_clock else time.process_time
    spent = [0.0] * len(readers)
    for read in readers:
        read(paths[0])  # imports, and the page cache
    for path in paths:
        for i, read in enumerate(readers):
            started = now()
            read(path)
            spent[i] += now() - started
    return [len(paths) / seconds for seconds in spent]


CASES: dict[str, tuple[Callable[[Path, int, int], None], int, Callable[[Path], np.ndarray]]] = {
    "PNG 1024": (write_png, 1024, by_pillow),
    "PNG 2048": (write_png, 2048, by_pillow),
    "JPEG 1024": (write_jpeg, 1024, by_pillow),
    "JPEG 2048": (write_jpeg, 2048, by_pillow),
    "DICOM 1024, plain": (write_dicom, 1024, by_pydicom),
    "DICOM 2048, plain": (write_dicom, 2048, by_pydicom),
    "DICOM 2048, JPEG 2000": (
        lambda path, side, seed: write_dicom(path, side, seed, compress=True),
        2048,
        by_pydicom,
    ),
}


def measure(images: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case, (write, side, reference) in CASES.items():
            paths = [folder / f"{case} {i}" for i in range(images)]
            for seed, path in enumerate(paths):
                write(path, side, seed)
            ours, plain = rates([by_hurdles, reference], paths, by_clock="JPEG 2000" in case)
            rows.append({"case": case, "hurdles": ours, "reference": plain,
                         "reference_is": reference.__name__.removeprefix("by_")})  # fmt: skip
            sys.stderr.write(f"{case}: measured\n")
        rows += measure_cache(folder)
    return rows


def measure_cache(folder: Path) -> list[dict[str, object]]:
    """First and second `prepare` of what was written, and reads of single images."""
    paths = sorted(p for p in folder.iterdir() if p.name.startswith(("PNG", "JPEG 1", "DICOM 1")))
    frame = pd.DataFrame({"image": [p.name for p in paths], "path": [str(p) for p in paths],
                          "label": "x"})  # fmt: skip
    manifest, rows = Manifest(frame), []
    for case in ("prepare, first run", "prepare, second run"):
        started = time.perf_counter()
        prepared = prepare(manifest, Preparation(SIZE), cache=folder / "cache", on_bad="stop")
        rows.append({"case": case, "hurdles": len(paths) / (time.perf_counter() - started)})
    order = np.random.default_rng(0).integers(0, len(paths), 20_000)
    started = time.perf_counter()
    for i in order:
        prepared.pixels[i].copy()
    rows.append({"case": "cached reads", "hurdles": len(order) / (time.perf_counter() - started)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12, help="files per case")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = measure(options.images)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'images/s':24}{'hurdles':>10}{'reference':>11}")
    for row in rows:
        plain = f"{row['reference']:11.0f}  {row['reference_is']}" if "reference" in row else ""
        print(f"{row['case']:24}{row['hurdles']:10.0f}{plain}")
    print(in_words(environment()))


if __name__ == "__main__":
    main()
