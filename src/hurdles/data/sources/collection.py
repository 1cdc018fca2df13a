"""A public collection: where it comes from, how its folder looks, how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.spreadsheet import read_sheet
from hurdles.errors import CollectionError, ManifestError
from hurdles.registry import Registry

__all__ = ["COLLECTIONS", "collection"]


@dataclass(frozen=True)
class Layout:
    """A form of a folder by which it is recognized as a collection."""

    text: str  # in words, for people
    needs: tuple[str, ...]  # paths or glob patterns below the root; each must match at least once
    header: tuple[str, tuple[str, ...]] | None = None  # a table, and columns that it must name

    def missing(self, root: Path) -> list[str]:
        """Return what `root` lacks, in words; nothing where it has this layout."""
        lacks = [need for need in self.needs if not any(True for _ in root.glob(need))]
        if self.header is None or lacks:
            return lacks
        table, columns = self.header
        try:
            heading = read_sheet(root / table).columns
        except ManifestError:
            heading = []
        return [f"column '{column}' in {table}" for column in columns if column not in heading]


@dataclass(frozen=True)
class Collection:
    """A public collection of chest X-rays."""

    name: str  # short, as in ``--data NAME=PATH``
    title: str  # as its makers call it
    license: str  # terms of use, as its makers state them
    citation: str
    url: str  # where to get it
    quirks: tuple[str, ...]  # what a user of these images has to know, a sentence each
    layouts: tuple[Layout, ...]  # forms that its folder may have
    folders: tuple[str, ...]  # names that it has as distributed; looked for in ``$HURDLES_DATA``
    reader: Callable[[Path], Manifest]  # call `read`, which checks the folder first

    @property
    def layout(self) -> str:
        """The layout of its folder, in words."""
        return " Or: ".join(layout.text for layout in self.layouts)

    def missing(self, root: Path) -> list[str]:
        """Return what `root` lacks of the layout that it is closest to; nothing if it has it."""
        return min((layout.missing(root) for layout in self.layouts), key=len)

    def recognizes(self, root: str | Path) -> bool:
        """Return whether `root` looks like this collection."""
        return Path(root).is_dir() and not self.missing(Path(root))

    def read(self, root: str | Path) -> Manifest:
        """Read the collection in `root`; an error names what was looked for."""
        root = Path(root).absolute()
        if not root.is_dir():
            raise CollectionError(
                f"{root} is not a folder. {self.title} has this layout: {self.layout} "
                f"Get it from {self.url}."
            )
        if missing := self.missing(root):
            below = next((each for each in sorted(root.iterdir()) if self.recognizes(each)), None)
            hint = f"Did you mean {below}?" if below else f"Get it from {self.url}."
            raise CollectionError(
                f"{root} is not {self.name} ({self.title}): {', '.join(missing)} not found there. "
                f"Its layout: {self.layout} {hint}"
            )
        try:
            return self.reader(root)
        except ManifestError as error:
            raise CollectionError(f"{self.name}: {error}") from error


#: Every collection that hurdles reads, by name.
COLLECTIONS: Registry[Collection] = Registry("collection", alphabetical=True)

_Reader = Callable[[Path], Manifest]


def collection(
    name: str,
    *,
    title: str,
    license: str,
    citation: str,
    url: str,
    quirks: tuple[str, ...],
    layouts: tuple[Layout, ...],
    folders: tuple[str, ...],
) -> Callable[[_Reader], _Reader]:
    """Return a decorator that registers a reader as the collection `name`.

    Parameters
    ----------
    name : str
        Short name, as in ``--data NAME=PATH``.
    title : str
        As its makers call it.
    license : str
        Terms of use, as its makers state them.
    citation : str
        With a year.
    url : str
        Where to get it.
    quirks : tuple of str
        What a user of these images has to know, a sentence each.
    layouts : tuple of Layout
        Forms that its folder may have, by which it is recognized.
    folders : tuple of str
        Names that it has as distributed; looked for in ``$HURDLES_DATA``.

    Returns
    -------
    callable
        Registers a function from a folder to a Manifest, and returns it.

    Raises
    ------
    RegistryError
        If there is a collection of this name.
    """

    def keep(reader: _Reader) -> _Reader:
        item = Collection(name, title, license, citation, url, quirks, layouts, folders, reader)
        COLLECTIONS.register(name)(item)
        return reader

    return keep


def read_rows(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table as text, stripped; an absent cell is an empty string.

    Somebody may have saved it again, with other separators and letters; see `read_sheet`.
    """
    sheet = read_sheet(table)
    for row in sheet.cells.itertuples(index=False, name=None):
        yield {name: cell for name, cell in zip(sheet.columns, row, strict=True) if name}
