"""Taking in a folder without losing a file: what is kept, what is left out, and why."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.formats import IMAGE_SUFFIXES, is_image
from hurdles.data.manifest import Manifest, exclusions_table
from hurdles.data.untrusted import shown
from hurdles.errors import ManifestError

_LITTER = {"thumbs.db", "desktop.ini", "ehthumbs.db"}


@dataclass(frozen=True)
class Seen:
    """One file of a folder.

    Parameters
    ----------
    path : Path
        Absolute path, links not followed.
    name : str
        Path relative to the root, with ``/`` between folders and in Unicode's composed form, so
        that one folder has the same names on every system.
    refusal : str
        Why it cannot be an image; empty where it can.
    real : str
        Path with every link followed: two entries with one `real` are one file.
    """

    path: Path
    name: str
    refusal: str
    real: str


def walk(root: str | Path) -> Iterator[Seen]:
    """Yield every file below `root`, sorted by name, links followed but never in circles.

    Hidden folders and ``__MACOSX`` are yielded once, as a whole, with the reason for refusing them.

    Examples
    --------
    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> _ = (root / "a.png").write_bytes(b""), (root / "notes.txt").write_text("")
    >>> [(seen.name, seen.refusal) for seen in walk(root)]
    [('a.png', ''), ('notes.txt', 'not an image, by its extension')]
    """
    above = Path(os.path.realpath(root)).parents
    yield from _walk(Path(root).absolute(), "", frozenset(map(str, above)))


def _walk(folder: Path, prefix: str, above: frozenset[str]) -> Iterator[Seen]:
    here = os.path.realpath(folder)
    if here in above:
        yield Seen(folder, prefix.rstrip("/"), "a link back to a folder that holds it", here)
        return
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = folder / entry.name
        if not _is_text(entry.name):
            spelt = shown(entry.name)
            yield Seen(folder / spelt, prefix + spelt, "its name is not UTF-8; rename it", spelt)
            continue
        name = prefix + unicodedata.normalize("NFC", entry.name)
        refusal = _refusal(path, entry)
        if not refusal and entry.is_dir():
            yield from _walk(path, name + "/", above | {here})
        else:
            real = os.path.realpath(path) if entry.is_symlink() else f"{here}{os.sep}{entry.name}"
            yield Seen(path, name, refusal, real)


def _is_text(name: str) -> bool:
    """Whether a name can be written down; some systems allow any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refusal(path: Path, entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return "hidden"
    if entry.name == "__MACOSX":
        return "macOS side files, no images"
    if entry.name.lower() in _LITTER:
        return "a system file, no image"
    if entry.is_dir():
        return ""
    if not entry.is_file():
        return "a link that leads nowhere" if entry.is_symlink() else "not a plain file"
    if entry.name.upper() == "DICOMDIR":
        return "a DICOM directory, no image"
    # PACS exports often have no extension, or one that means something else (.ima, .img, .dic).
    if path.suffix.lower() in IMAGE_SUFFIXES or is_image(path):
        return ""
    return "not an image, by its extension"


class Tally:
    """Collects the rows of a manifest and the reasons for what is left out.

    Every file or row of a table is either kept or left, so that both together account for
    everything that was seen.

    Parameters
    ----------
    root : Path
        Images are named by their path relative to this folder.
    source : str, optional
        Written into every row that does not say its own.

    Examples
    --------
    >>> tally = Tally(Path("/data"), source="somewhere")
    >>> tally.keep(Path("/data/a/1.png"), "Normal", patient="p1")
    >>> tally.leave(Path("/data/a/2.png"), "a lateral view")
    >>> tally.manifest().frame.loc[0, ["image", "label", "source"]].tolist()
    ['a/1.png', 'Normal', 'somewhere']
    """

    def __init__(self, root: Path, source: str | None = None) -> None:
        self.root = root
        self.source = source
        self._rows: dict[Path, dict[str, Any]] = {}
        self._left: list[tuple[str, str]] = []
        self._met: set[Path] = set()
        self._disputed: dict[Path, str] = {}

    def keep(self, path: Path, label: str, **cells: Any) -> None:
        """Add one image.

        A second row for the same file is left out; if its label is another, so is the first.
        """
        if path in self._disputed:
            self.leave(path, self._disputed[path])
        elif path not in self._rows:
            image = unicodedata.normalize("NFC", path.relative_to(self.root).as_posix())
            row = {"image": image, "path": str(path), "label": label, "source": self.source}
            self._rows[path] = row | cells
            self._met.add(path)
        elif (first := self._rows[path]["label"]) == label:
            self.leave(path, "named again by a later row; the first one is used")
        else:
            del self._rows[path]
            self._disputed[path] = f"called {first!r} by one row and {label!r} by another"
            self.leave(path, self._disputed[path])
            self.leave(path, self._disputed[path])

    def leave(self, path: Path, reason: str) -> None:
        """Note a file, or a row that names it, as left out."""
        self._left.append((str(path), reason))
        self._met.add(path)

    def leave_rest(self, files: Iterable[Path], reason: str) -> None:
        """Leave out those of `files` that were neither kept nor left so far."""
        for path in files:
            if path not in self._met:
                self.leave(path, reason)

    def manifest(self) -> Manifest:
        """Return what was kept, with what was left."""
        if not self._rows:
            reasons = Counter(reason for _, reason in self._left).most_common(5)
            why = "; ".join(f"{count} x {reason}" for reason, count in reasons) or "it is empty"
            raise ManifestError(f"{self.root} holds no usable image ({why}).")
        frame = pd.DataFrame(list(self._rows.values()))
        for column in frame.columns:
            if frame[column].dtype == object:
                # Text stays text: a column of empty strings and None must not turn into float.
                frame[column] = frame[column].astype("str").where(frame[column].notna(), None)
        return Manifest(frame, exclusions_table(self._left))
