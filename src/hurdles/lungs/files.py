"""Lungs of files: masks at the images' own size, a table of them, and sheets to look at."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.files import reads, remove, write_bytes, write_text, writes
from hurdles.data.folder import walk
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import OnBad
from hurdles.errors import ImageError, ManifestError
from hurdles.lungs.find import SIZE, Segmenter
from hurdles.lungs.mask import LungMask, clean
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import resize_square, stretched
from hurdles.progress import Progress, Silent
from hurdles.reporting.pictures import contact_sheet

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


class _Read(NamedTuple):
    """A radiograph, small, once its own pixels are let go."""

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
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ManifestError(f"{out} is no folder; name another one for the results.") from error
    earlier = [sheet for folder in (out, out / _FLAGGED) for sheet in folder.glob("sheet*.png")]
    writes(*earlier)  # refused before a mask is written
    for old in [out / _TABLE, *earlier]:
        remove(old)
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
    squares = [result.square for result in results if isinstance(result, _Read)]
    probabilities = iter(segmenter.probabilities(squares))
    rows: list[dict[str, Any]] = []
    writing: list[Future[None]] = []
    for (path, name, _), result in zip(chunk, results, strict=True):
        row: dict[str, Any] = {"image": name, "path": str(path.absolute())}
        if isinstance(result, ImageError):
            rows.append(row | {"status": "unreadable", "flaw": result.message, "mask": ""})
            continue
        lungs = clean(next(probabilities))
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


#: Names that the results themselves need: a mask may not be called like a contact sheet.
_TAKEN = re.compile(r"sheet(-\d+)?", re.IGNORECASE)
#: Bytes: file systems take 255, of which the extension and a temporary name need some.
_LONGEST = 180


def image_files(paths: Iterable[str | Path], out: Path) -> tuple[list[Path], int]:
    """Return the files that are meant: those named, and the images below the folders named."""
    results = os.path.realpath(out)
    kept: dict[str, Path] = {}
    others = 0
    for path in map(Path, paths):
        if not path.exists():
            raise ManifestError(f"{path} does not exist; give images, or folders of images.")
        if not path.is_dir():
            kept.setdefault(os.path.realpath(path), path)
            continue
        if os.path.realpath(path) == results:
            raise ManifestError(f"{path} is the folder for the results too; give another one.")
        for file in walk(path):
            if not _is_below(file.real, results):
                others += bool(file.refusal)
                if not file.refusal:
                    kept.setdefault(file.real, file.path)
    inside = [path for real, path in kept.items() if _is_below(real, results)]
    if inside:
        raise ManifestError(
            f"{inside[0]} lies in {out}, the folder for the results, where a mask might replace "
            "it; give another folder."
        )
    if not kept:
        raise ManifestError(
            f"there is no image to segment ({others} other files were seen); give PNG, JPEG, "
            "WebP, TIFF or DICOM files, or folders of them."
        )
    return list(kept.values()), others


def mask_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each file's mask, without extension: its stem where no other has it.

    Where several have it, the folders in which they differ come before it, then the extension
    after it, at last a number. Names that differ only in case count as one: some systems see no
    difference.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[path.stem.casefold()].append(path)
    names = {path: name for group in groups.values() for path, name in _distinct(group)}
    taken: set[str] = set()
    free: list[str] = []
    for path in paths:
        short = names[path].encode()[-_LONGEST:].decode(errors="ignore")  # its end tells it apart
        candidates = (f"{short}_{n}" if n > 1 else short for n in count(1))
        free.append(
            next(c for c in candidates if c.casefold() not in taken and not _TAKEN.fullmatch(c))
        )
        taken.add(free[-1].casefold())
    return free


def _distinct(group: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield paths of one stem, each with a name that says where it differs from the others."""
    if len(group) == 1:
        yield group[0], group[0].stem
        return
    folders = [path.absolute().parent.parts for path in group]
    levels = zip(*folders, strict=False)  # to the shortest
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    stems = [
        "__".join([*(part.strip(os.sep) for part in parts[shared:]), path.stem])
        for parts, path in zip(folders, group, strict=True)
    ]
    counts = Counter(name.casefold() for name in stems)
    for path, name in zip(group, stems, strict=True):
        repeated = counts[name.casefold()] > 1
        yield path, name + path.suffix.replace(".", "_") if repeated else name


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


#: Images on one sheet: six rows of eight.
PER_SHEET = 48
_COLUMNS = 8
_CELL = 200
#: Red, green, blue. Told apart by lightness too, and the caption says the same in words.
_PLAUSIBLE_COLOR, _FLAGGED_COLOR = (94, 224, 255), (255, 96, 64)


class Sheets:
    """Numbered contact sheets that are written as they fill, so that memory stays small.

    ``sheet.png`` goes into the folder, or ``sheet-1.png`` and so on where there are several.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells: list[tuple[NDArray[np.uint8], str]] = []
        self._full = 0

    def add(self, image: NDArray[np.uint8], lungs: LungMask, name: str) -> None:
        """Put an image, as from `thumbnail`, with its lungs and its name on the sheet."""
        if len(self._cells) == PER_SHEET:
            self._write(f"sheet-{self._full + 1}.png")
        caption = name if lungs.is_plausible else f"{name}\nflagged: {lungs.flaw}"
        self._cells.append((outlined(image, lungs), caption))

    def close(self) -> None:
        """Write the sheet that is not full yet."""
        if self._cells:
            self._write(f"sheet-{self._full + 1}.png" if self._full else "sheet.png")

    def _write(self, name: str) -> None:
        images, captions = zip(*self._cells, strict=True)
        page = contact_sheet(images, captions, _COLUMNS, cell=_CELL, font_size=11)
        write_bytes(self.folder / name, page)
        self._cells, self._full = [], self._full + 1


def thumbnail(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a radiograph small enough for a sheet."""
    import cv2

    scale = _CELL / max(pixels.shape)
    if scale < 1:
        size = tuple(max(1, round(scale * side)) for side in pixels.shape[::-1])
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * np.float32(255)), dtype=np.uint8)


def outlined(image: NDArray[np.uint8], lungs: LungMask) -> NDArray[np.uint8]:
    """Draw the edge of a mask, of any shape, on a radiograph."""
    import cv2

    picture = np.ascontiguousarray(np.repeat(image[..., None], 3, axis=2))
    mask = stretched(lungs.mask, (image.shape[0], image.shape[1])).astype(np.uint8)
    edges, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    color = _PLAUSIBLE_COLOR if lungs.is_plausible else _FLAGGED_COLOR
    return np.asarray(cv2.polylines(picture, edges, True, color, 1, cv2.LINE_AA))
