"""Lungs of files: masks at the images' own size, a table of them, and sheets to look at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.cells import as_csv
from hurdles.data.files import reads, remove, write_bytes, write_text, writes
from hurdles.data.vocabulary import OnBad
from hurdles.errors import ImageError, ManifestError
from hurdles.lungs.mask import LungMask, clean, stretched
from hurdles.lungs.naming import image_files, mask_names
from hurdles.lungs.segmenter import SIZE, Segmenter
from hurdles.lungs.sheet import Sheets, thumbnail
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import resize_square
from hurdles.progress import Progress, Silent

#: Columns of ``masks.csv``; shares are of the image's area, empty where it cannot be read.
COLUMNS: dict[str, str] = {
    "image": "name of the image in this table and on the sheets, unique",
    "path": "absolute path of the file",
    "status": "ok, flagged (the mask cannot be two lungs) or unreadable",
    "flaw": "why it is flagged or unreadable; empty where it is ok",
    "area": "share of the image that lies in the mask, 0 to 1",
    "left": "share of the part on the image's left, the patient's right lung; 0 if there is none",
    "right": "share of the part on the image's right; 0 if there is none",
    "mask": "its file, relative to the folder of the table: 255 inside the lungs, 0 outside",
}

_CHUNK = 16
_FLAGGED = "flagged"
_TABLE = "masks.csv"


@dataclass(frozen=True, eq=False)
class _Read:
    """What is kept of a radiograph once its own pixels are let go."""

    shape: tuple[int, int]
    square: NDArray[np.float32]
    small: NDArray[np.uint8]


_Chunk: TypeAlias = list[tuple[Path, str, "Future[_Read | ImageError]"]]


def segment_images(
    paths: Iterable[str | Path],
    *,
    out: Path,
    weights: Path | None = None,
    progress: Progress | None = None,
    on_bad: OnBad | str = OnBad.SKIP,
) -> pd.DataFrame:
    """Find the lungs in images and write what was found.

    In `out`: ``NAME.png`` for each image, at its own size; a mask that cannot be two lungs lies
    under ``flagged/`` instead, never among the others; ``sheet.png`` (several are numbered) with
    the outlines on the images, and one of the flagged alone under ``flagged/``; at last
    ``masks.csv``: while it is missing, the folder is not finished. Results of an earlier call
    with the same names are replaced.
    """
    on_bad, out, listener = OnBad(on_bad), Path(out), progress or Silent()
    files, others = image_files(paths, out)
    if others:
        listener.say(f"left out, being no images by their names: {others} of the folders' files")
    names = mask_names(files)
    reads(files)
    writes(out / _TABLE, *(folder / f"{n}.png" for n in names for folder in (out, out / _FLAGGED)))
    segmenter = Segmenter(weights)
    segmenter.load()  # before anything is written
    _cleared(out)
    sheets = [Sheets(out), Sheets(out / _FLAGGED)]
    listener.start("Finding lungs", len(files))
    rows: list[dict[str, Any]] = []
    with _pool() as pool:
        for chunk in _ahead(files, names, pool):
            rows += _segmented(chunk, segmenter, out, sheets, on_bad, pool)
            listener.advance(len(chunk))
    for sheet in sheets:
        sheet.close()
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_text(out / _TABLE, as_csv(table, float_format="%.4f"))
    return table


@contextmanager
def _pool() -> Iterator[Executor]:
    """Yield threads that, when interrupted, do not first finish all that is queued."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cleared(out: Path) -> None:
    """Make the folder, without the table and the sheets of an earlier call."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ManifestError(f"{out} is no folder; name another one for the results.") from error
    sheets = [sheet for folder in (out, out / _FLAGGED) for sheet in folder.glob("sheet*.png")]
    writes(*sheets)  # refused before a mask is written
    for old in [out / _TABLE, *sheets]:
        remove(old)


def _ahead(files: Sequence[Path], names: Sequence[str], pool: Executor) -> Iterator[_Chunk]:
    """Yield the files in chunks, of which the next is read while this one is worked on."""
    waiting: _Chunk | None = None
    for start in range(0, len(files), _CHUNK):
        part = slice(start, start + _CHUNK)
        chunk = [
            (f, n, pool.submit(_read, f)) for f, n in zip(files[part], names[part], strict=True)
        ]
        if waiting is not None:
            yield waiting
        waiting = chunk
    if waiting is not None:
        yield waiting


def _read(path: Path) -> _Read | ImageError:
    try:
        pixels = decode(path)
    except ImageError as error:
        return error
    height, width = pixels.shape
    return _Read((height, width), resize_square(pixels, SIZE), thumbnail(pixels))


def _segmented(
    chunk: _Chunk,
    segmenter: Segmenter,
    out: Path,
    sheets: Sequence[Sheets],
    on_bad: OnBad,
    pool: Executor,
) -> list[dict[str, Any]]:
    """Write the masks of a chunk and return its rows of the table."""
    results = [future.result() for _, _, future in chunk]
    failures = [result for result in results if isinstance(result, ImageError)]
    if failures and on_bad is OnBad.STOP:
        raise failures[0]
    reads = [result for result in results if isinstance(result, _Read)]
    found = iter(segmenter.probabilities([read.square for read in reads]))
    rows: list[dict[str, Any]] = []
    writing: list[Future[None]] = []
    for (path, name, _), result in zip(chunk, results, strict=True):
        row: dict[str, Any] = {"image": name, "path": str(path.absolute())}
        if isinstance(result, ImageError):
            rows.append(row | {"status": "unreadable", "flaw": result.message, "mask": ""})
            continue
        lungs = clean(next(found))
        mask = f"{name}.png" if lungs.is_plausible else f"{_FLAGGED}/{name}.png"
        writing.append(pool.submit(_write, lungs, result.shape, out, mask))
        for sheet in sheets[: 1 if lungs.is_plausible else 2]:
            sheet.add(result.small, lungs, name)
        rows.append(row | _cells(lungs) | {"mask": mask})
    for future in writing:
        future.result()
    return rows


def _cells(lungs: LungMask) -> dict[str, Any]:
    half = lungs.mask.shape[1] // 2
    left, right = (*lungs.parts, 0.0, 0.0)[:2]
    if len(lungs.parts) == 1 and lungs.mask[:, half:].sum() > lungs.mask[:, :half].sum():
        left, right = 0.0, left
    status = "ok" if lungs.is_plausible else _FLAGGED
    return {"status": status, "flaw": lungs.flaw, "area": lungs.area, "left": left, "right": right}


def _write(lungs: LungMask, shape: tuple[int, int], out: Path, name: str) -> None:
    """Write a mask at the image's size, and remove what an earlier call judged otherwise."""
    import cv2

    pixels = np.multiply(stretched(lungs.mask, shape), 255, dtype=np.uint8)
    write_bytes(out / name, cv2.imencode(".png", pixels)[1].tobytes())
    other = out / Path(name).name if name.startswith(f"{_FLAGGED}/") else out / _FLAGGED / name
    remove(other)
