"""What hurdles makes of public test files, beside Pillow; of drawn DICOM headers, beside DCMTK.

    python bench/agreement.py FOLDER > docs/results/bench-agreement.txt

All pictures below FOLDER are read: here the test files of Pillow 9.4, libpng 1.6.39, libtiff 4.5.0
and libjpeg-turbo 2.1.5, as their source packages hold them. Headers come from the grammar of
`bench/fuzz.py`; dcm2pnm is asked as tests/unit/pixels/test_dcmtk.py asks it. Every picture that
differs is named: what the rules of `hurdles.pixels.raster` and `hurdles.pixels.grayscale` explain
is for the reader to judge.
"""

from __future__ import annotations

import argparse
import collections
import logging
import shutil
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageOps

from fuzzing import dicom
from hurdles.errors import ImageError
from hurdles.pixels.decode import decode

_SUFFIXES = {".apng", ".bmp", ".dib", ".jfif", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff",
             ".webp"}  # fmt: skip
#: Of white: colors are rounded on other ways.
_ALIKE = 0.02
_LUMA = (0.299, 0.587, 0.114)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--headers", type=int, default=700)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # pydicom's and hurdles' own warnings of odd files
    files = sorted(p for p in chosen.folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    _report("pictures, beside Pillow", ((str(p.relative_to(chosen.folder)), p) for p in files),
            _by_pillow)  # fmt: skip
    if shutil.which("dcm2pnm"):
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from tests.unit.data.test_dcmtk import by_dcmtk

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.dcm"
            drawn = ((f"header {n}", _written(path, n)) for n in range(chosen.headers))
            _report("DICOM headers, beside DCMTK", drawn,
                    lambda p: by_dcmtk(p, pydicom.dcmread(p, force=True)))  # fmt: skip
    names = ("pillow", "pydicom", "opencv-python-headless", "simplejpeg")
    print(", ".join(f"{name} {version(name)}" for name in names))


def _report(title, named, reference) -> None:
    """Print what becomes of each picture: counts first, then those that differ or are refused."""
    counts, lines = collections.Counter(), []
    for name, path in named:
        ours = theirs = None
        try:
            ours = decode(path)
            why = ""
        except ImageError as error:
            why = str(error).removeprefix(f"{path}: ")
        try:
            theirs = reference(path)
        except Exception:  # a reference fails in any way
            theirs = None
        outcome = _outcome(ours, theirs)
        counts[outcome] += 1
        if outcome.startswith("differ"):
            apart = "" if ours.shape != theirs.shape else f" by up to {_apart(ours, theirs):.2f}"
            lines.append(f"  {outcome}{apart}: {name}")
        elif outcome == "refused by hurdles alone":
            lines.append(f"  {outcome}: {name}: {why}")
    print(f"{title}: {sum(counts.values())}")
    for outcome, n in counts.most_common():
        print(f"{n:6d}  {outcome}")
    print("\n".join(lines) + "\n")


def _outcome(ours, theirs) -> str:
    if ours is None:
        return "refused by both" if theirs is None else "refused by hurdles alone"
    if theirs is None:
        return "read by hurdles alone"
    if ours.shape != theirs.shape:
        return "differ in shape"
    return "alike" if _apart(ours, theirs) < _ALIKE else "differ"


def _apart(ours, theirs) -> float:
    return float(np.abs(ours - theirs).max())


def _by_pillow(path: Path):
    """Return what Pillow reads, as grey levels within [0, 1], transparency over black."""
    Image.MAX_IMAGE_PIXELS = 50_000_000  # it would fill the memory with bombs otherwise
    with Image.open(path) as opened:
        image = opened if opened.format == "TIFF" else ImageOps.exif_transpose(opened)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return None if image.mode == "F" else np.asarray(image) / 65535
        if image.mode in ("1", "L"):
            return np.asarray(image.convert("L")) / 255
        clear = "A" in image.mode or "transparency" in image.info
        samples = np.asarray(image.convert("RGBA" if clear else "RGB")) / 255
        grey = samples[..., :3] @ _LUMA
        return grey * samples[..., 3] if clear else grey


def _written(path: Path, number: int) -> Path:
    """Write a picture under a drawn header; only the header is odd."""
    rng = np.random.default_rng(number)
    path.write_bytes(dicom.header_case(rng))
    return path


if __name__ == "__main__":
    main()
