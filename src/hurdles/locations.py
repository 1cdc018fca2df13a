"""What the user says by ``--data``, turned into a manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from hurdles.data.cache import cache_folder
from hurdles.data.manifest import Manifest
from hurdles.data.phantom.store import FORMAT, write_phantom
from hurdles.data.reading import merge, read_manifest
from hurdles.errors import ManifestError

__all__ = ["PHANTOM", "Data", "files_of", "manifest_of", "name_of", "named_folders"]

#: A manifest; a path; a collection's name; ``NAME=PATH``; several of these; or a mapping.
Data: TypeAlias = "Manifest | str | Path | Sequence[str | Path] | Mapping[str, str | Path]"

#: The embedded default: synthetic radiographs, made when they are first asked for.
PHANTOM = "phantom"
PHANTOM_PATIENTS = 300

# A table of such a name says nothing; its folder does.
_NAMELESS = {"data", "dataset", "images", "index", "manifest", "metadata", "split"}
_NAMELESS |= {"test", "train", "validation"}  # what a run calls its own parts


def named_folders(data: Data | None) -> dict[str, Path]:
    """Return the collections that `data` names with their folders: its ``NAME=PATH`` parts."""
    if data is None or isinstance(data, Manifest):
        return {}
    if isinstance(data, Mapping):
        return {name: Path(path) for name, path in data.items()}
    parts = [data] if isinstance(data, str | Path) else list(data)
    pairs = [str(part).partition("=") for part in parts if _is_pair(str(part))]
    return {name: Path(path) for name, _, path in pairs}


def manifest_of(data: Data | None, *, default: str = "") -> Manifest:
    """Return the images that `data` means; several parts are merged.

    Parameters
    ----------
    data : Data or None
        What the user gave. Of several parts, one that names no source becomes one by its name.
    default : str
        The collection to use if nothing was given.

    Raises
    ------
    ManifestError
        If nothing was given and there is no default.
    """
    if isinstance(data, Manifest):
        return data
    named = named_folders(data)
    if not data:
        if not default:
            raise ManifestError(
                "which images? Give --data PATH, --data NAME=PATH or --data NAME; "
                "hurdles collections lists the names."
            )
        return _one(default, named)
    if isinstance(data, Mapping):
        parts: list[str | Path] = list(data)
    else:
        parts = [data] if isinstance(data, str | Path) else list(data)
    manifests = [_one(part, named) for part in parts]
    if len(manifests) == 1:
        return manifests[0]
    # What is given apart comes from apart: where no source is named, the part's own name is it.
    names = [name_of(part) for part in parts]
    sources = [n if names.count(n) == 1 else f"{n}-{i}" for i, n in enumerate(names, start=1)]
    return merge([_sourced(m, s) for m, s in zip(manifests, sources, strict=True)])


def files_of(data: Data | None) -> list[Path]:
    """Return the files that `data` names themselves: tables, not the images in them."""
    if data is None or isinstance(data, Manifest):
        return []
    named = list(named_folders(data).values())
    parts = [data] if isinstance(data, str | Path) else list(data)
    return [path for path in [*named, *map(Path, parts)] if path.is_file()]


def name_of(data: Data) -> str:
    """Return a short name for images, of lower-case letters, digits and hyphens.

    Examples
    --------
    >>> name_of("kermany=/data/chest_xray"), name_of("/data/Our Ward 3/manifest.csv")
    ('kermany', 'our-ward-3')
    """
    if isinstance(data, Manifest) or not data:
        return "images"
    first = data if isinstance(data, str | Path) else next(iter(data))
    text = str(first)
    path = Path(text.partition("=")[0] if _is_pair(text) else text)
    named = path.absolute().parent if path.stem.lower() in _NAMELESS else path
    stem = named.name if named.is_dir() else named.stem
    return re.sub(r"[\W_]+", "-", stem.lower()).strip("-") or "images"


def _sourced(manifest: Manifest, source: str) -> Manifest:
    frame = manifest.frame
    return replace(manifest, frame=frame.assign(source=frame["source"].fillna(source)))


def _one(part: str | Path, named: Mapping[str, Path]) -> Manifest:
    text = str(part)
    if text == PHANTOM and PHANTOM not in named:
        return write_phantom(cache_folder() / f"phantom-{FORMAT}", PHANTOM_PATIENTS)
    if _is_pair(text):
        name, _, path = text.partition("=")
        return read_manifest(path, collection=name)
    if text in named:
        return read_manifest(named[text], collection=text)
    return read_manifest(part)


def _is_pair(text: str) -> bool:
    return "=" in text and not Path(text).exists()
