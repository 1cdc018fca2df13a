"""How fast lungs are found, and how the bounds of plausibility lie around masks drawn by hand.

``python bench/lungs.py [--images N] [--side PIXELS] [--json]`` measures the way from files to
written masks, table and sheets, and its parts. The images are synthetic radiographs with the grain
of a detector, made on the fly; files lie in the page cache. Processor time is printed beside wall
time: other processes of a shared machine slow only the latter.

``python bench/lungs.py --bounds`` prints percentiles of every measure over the masks of the
Montgomery, Shenzhen and Cohen collections, found under ``$HURDLES_DATA``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from hurdles.data.manifest import Manifest
from hurdles.lungs.files import Sheets, segment_images, thumbnail
from hurdles.lungs.find import SIZE, LungPreparation, Segmenter
from hurdles.lungs.mask import BOUNDS, clean, measures
from hurdles.phantom import write_phantom
from hurdles.pixels.cache import prepare
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import resize_square, stretched
from hurdles.training.machine import environment, in_words

MASKS = {
    "Montgomery": ("Lung Segmentation/masks", "MCUCXR*"),
    "Shenzhen": ("Lung Segmentation/masks", "CHNCXR*"),
    "Cohen, by V7 Labs": ("covid-chestxray-dataset/annotations/v7labs-lung-masks", "*"),
}
PERCENTILES = (0, 0.5, 1, 50, 99, 99.5, 100)


def write_images(folder: Path, count: int, side: int) -> dict[str, list[Path]]:
    """Write the same radiographs as PNG and as JPEG."""
    frame = write_phantom(folder / "phantom", count, size=SIZE).frame
    files: dict[str, list[Path]] = {"png": [], "jpg": []}
    for i, path in enumerate(frame["path"][:count]):
        grain = np.random.default_rng(i).normal(0, 2, (side, side))
        pixels = cv2.resize(cv2.imread(path, 0), (side, side), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(pixels + grain, 0, 255).astype(np.uint8)
        for kind, paths in files.items():
            paths.append(folder / kind / f"{i}.{kind}")
            paths[-1].parent.mkdir(exist_ok=True)
            paths[-1].write_bytes(cv2.imencode(f".{kind}", pixels)[1].tobytes())
    return files


def timed(name: str, count: int, work: Callable[[], object]) -> dict[str, object]:
    wall, spent = time.perf_counter(), time.process_time()
    work()
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    sys.stderr.write(f"{name}: measured\n")
    return {"what": name, "images_per_s": count / wall, "wall_ms": 1e3 * wall / count,
            "processor_ms": 1e3 * spent / count}  # fmt: skip


def measure_parts(files: dict[str, list[Path]], folder: Path) -> list[dict[str, object]]:
    """Each part alone, one image after another; only the network uses several processors."""
    segmenter, count = Segmenter(), len(files["png"])
    images = [decode(path) for path in files["png"]]
    squares = [resize_square(image, SIZE) for image in images]
    segmenter.probabilities(squares)  # load, and settle the allocator
    found = segmenter.probabilities(squares)
    lungs = [clean(each) for each in found]
    small = [thumbnail(image) for image in images]
    shape = images[0].shape
    sheets = Sheets(folder / "sheets")
    sheets.add(small[0], lungs[0], "loads the libraries")
    sheets.close()
    sheets = Sheets(folder / "sheets")

    def fill_sheets() -> None:
        for image, mask in zip(small, lungs, strict=True):
            sheets.add(image, mask, "name")
        sheets.close()

    def encode() -> None:
        for each in lungs:
            cv2.imencode(".png", np.multiply(stretched(each.mask, shape), 255, dtype=np.uint8))

    parts: dict[str, Callable[[], object]] = {
        "decode PNG": lambda: [decode(path) for path in files["png"]],
        "decode JPEG": lambda: [decode(path) for path in files["jpg"]],
        "shrink to 256 and to the sheet": lambda: [
            (resize_square(image, SIZE), thumbnail(image)) for image in images
        ],
        "network, 16 at once": lambda: segmenter.probabilities(squares),
        "network, one by one": lambda: [segmenter.probabilities([each]) for each in squares],
        "clean and judge": lambda: [clean(each) for each in found],
        "stretch the mask and encode it": encode,
        "sheets": fill_sheets,
    }
    return [timed(name, count, work) for name, work in parts.items()]


def measure(count: int, side: int) -> tuple[list[dict[str, object]], str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_images(folder, count, side)
        rows = measure_parts(files, folder)
        for kind, paths in files.items():
            out = folder / f"out-{kind}"
            rows.append(timed(f"segment_images, {kind.upper()}", count,
                              lambda p=paths, o=out: segment_images(p, out=o)))  # fmt: skip
        table = segment_images(files["png"], out=folder / "again")
        good = table["path"][table["status"] == "ok"].tolist()
        frame = table.assign(label="x")[["image", "path", "label"]]
        manifest = Manifest(frame[frame["path"].isin(good)].reset_index(drop=True))
        lungs = LungPreparation()
        rows.append(timed("prepare, masks into the cache", len(good),
                          lambda: prepare(manifest, lungs, cache=folder / "c")))  # fmt: skip
        return rows, f"{len(good)} of {count} synthetic radiographs of {side}x{side} have lungs"


def measured_masks(paths: Sequence[Path]) -> tuple[list[dict[str, float]], list[str]]:
    """Measure masks that are not empty, and name those that would be flagged."""
    rows, flagged = [], []
    for path in paths:
        drawn = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).astype(np.float32)
        if not drawn.any():
            continue
        lungs = clean(cv2.resize(drawn, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
        if lungs.flaw:
            flagged.append(f"{path.stem}: {lungs.flaw}")
        count, labels = cv2.connectedComponents(lungs.mask.astype(np.uint8))
        parts = sorted(
            (labels == i for i in range(1, count)), key=lambda p: np.nonzero(p)[1].mean()
        )
        if len(parts) == 2:
            rows.append(measures(*parts))
    return rows, flagged


def print_bounds(data: Path) -> None:
    everything: list[dict[str, float]] = []
    for name, (folder, pattern) in MASKS.items():
        rows, flagged = measured_masks(sorted((data / folder).glob(pattern)))
        everything += rows
        print(f"{name}: {len(rows)} masks with two parts, {len(flagged)} flagged")
        print_percentiles(rows)
        print(*(f"  {line}" for line in flagged), sep="\n")
    print(f"all: {len(everything)} masks")
    print_percentiles(everything)


def print_percentiles(rows: list[dict[str, float]]) -> None:
    print(f"  {'percentile':12}" + "".join(f"{p:8g}" for p in PERCENTILES) + "   bounds")
    for name, bound in BOUNDS.items() if rows else ():
        values = np.percentile([row[name] for row in rows], PERCENTILES)
        shown = "".join(f"{value:8.3f}" for value in values)
        print(f"  {name:12}{shown}   {bound.low:g} to {bound.high:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=96, help="synthetic radiographs")
    parser.add_argument("--side", type=int, default=1024, help="their height and width in pixels")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--bounds", action="store_true", help="measure masks drawn by hand instead")
    options = parser.parse_args()
    if options.bounds:
        print_bounds(Path(os.environ["HURDLES_DATA"]))
        return
    rows, found = measure(options.images, options.side)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'per image':32}{'images/s':>10}{'wall ms':>10}{'processor ms':>14}")
    for row in rows:
        print(f"{row['what']:32}{row['images_per_s']:10.1f}{row['wall_ms']:10.1f}"
              f"{row['processor_ms']:14.1f}")  # fmt: skip
    print(found)
    print(in_words(environment()))
    if hasattr(os, "getloadavg"):  # not on Windows
        load = os.getloadavg()[0]
        print(f"load average {load:.1f} on {os.cpu_count()} processors: above that number, wall "
              "times measure the others' work too")  # fmt: skip


if __name__ == "__main__":
    main()
