"""Which of a study's collections are here: by name, by ``NAME=PATH``, by folder, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from hurdles.data.manifest import Manifest
from hurdles.data.reading import read_manifest, recognise
from hurdles.data.sources import COLLECTIONS
from hurdles.errors import CollectionError, ManifestError
from hurdles.runs.images import Data, named_folders

#: What the user said, or manifests by the collection's name.
Given: TypeAlias = "Data | Mapping[str, Manifest] | None"


def found_collections(
    given: Given, names: Iterable[str]
) -> tuple[dict[str, Manifest], dict[str, str]]:
    """Return the collections that are here, and why the others are not."""
    wanted = list(names)
    here, folders = _given(given)
    strange = sorted((set(here) | set(folders)) - set(wanted))
    if strange:
        raise ManifestError(
            f"this study has no use for {strange[0]!r}; its collections are {', '.join(wanted)}."
        )
    missing: dict[str, str] = {}
    for name in wanted:
        if name in here:
            continue
        if name in folders:
            here[name] = read_manifest(folders[name], collection=name)
            continue
        try:
            here[name] = read_manifest(name)
        except CollectionError as error:
            missing[name] = str(error)
    return here, missing


def _given(given: Given) -> tuple[dict[str, Manifest], dict[str, Path]]:
    """Return the manifests and the folders that were given, by collection."""
    if given is None or isinstance(given, Manifest):
        if given is not None:
            raise ManifestError(
                "a study of several collections must know which is which; give NAME=PATH for each, "
                "or a mapping of names to manifests."
            )
        return {}, {}
    if isinstance(given, Mapping):
        manifests = {name: m for name, m in given.items() if isinstance(m, Manifest)}
        folders = {n: Path(p) for n, p in given.items() if not isinstance(p, Manifest)}
        return manifests, folders
    folders = named_folders(given)
    for part in [given] if isinstance(given, str | Path) else given:
        text = str(part)
        if text.partition("=")[0] in folders or text in COLLECTIONS:
            continue
        folders[_name_of(Path(text))] = Path(text)
    return {}, folders


def _name_of(path: Path) -> str:
    layouts = recognise(path) if path.is_dir() else []
    if len(layouts) != 1:
        what = " or ".join(item.name for item in layouts) or "no collection that hurdles knows"
        raise ManifestError(f"{path} looks like {what}. Say which by NAME={path}.")
    return layouts[0].name
