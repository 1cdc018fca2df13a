"""What the user says by ``--data``, turned into a manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from hurdles.data.classes import judged_classes
from hurdles.data.manifest import Manifest
from hurdles.data.reading import merge, read_manifest
from hurdles.data.sets import matched, relabeled
from hurdles.data.table import known_columns
from hurdles.errors import ManifestError
from hurdles.phantom.cohort import FORMAT, write_phantom
from hurdles.pixels.cache import cache_folder

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


def manifest_of(
    data: Data | None, *, default: str = "", columns: Mapping[str, str] | None = None
) -> Manifest:
    """Return the images that `data` means; several parts are merged."""
    return _merged(_parts(data, default, columns or {}))


def classified(
    data: Data | None,
    *,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    default: str = "",
    refuse: bool = True,
    join_patients: bool = False,
) -> Manifest:
    """Return the images that `data` means under the classes that the user wants."""
    wanted = labels or {}
    found = _merged(_under(_parts(data, default, columns or {}), wanted))
    found = found.with_patients_joined() if join_patients else found
    return judged_classes(found, requested=wanted.values(), refuse=refuse)


def classified_apart(
    data: Data | None,
    *,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Manifest]:
    """Return each part of `data` by its name, otherwise as `classified`; none if none is given."""
    if not data:
        return {}
    wanted, found = labels or {}, {}
    for name, manifest in _under(_parts(data, "", columns or {}), wanted):
        found[name] = judged_classes(manifest, requested=wanted.values())
    return found


def _parts(
    data: Data | None, default: str, columns: Mapping[str, str]
) -> list[tuple[str, Manifest]]:
    """Return what the user gave, part by part, each with its name."""
    if isinstance(data, Manifest):
        return [(name_of(data), data)]
    named = named_folders(data)
    if not data:
        if not default:
            raise ManifestError(
                "which images? Give --data PATH, --data NAME=PATH or --data NAME; "
                "hurdles collections lists the names."
            )
        return [(default, _one(default, named, columns))]
    if isinstance(data, Mapping):
        parts: list[str | Path] = list(data)
    else:
        parts = [data] if isinstance(data, str | Path) else list(data)
    if len(parts) == 1:
        return [(name_of(parts[0]), _one(parts[0], named, columns))]
    there = {part: known_columns(part, columns) for part in parts}
    if lost := [theirs for theirs in columns if not any(theirs in own for own in there.values())]:
        raise ManifestError(f"no table of {', '.join(map(str, parts))} has a column {lost[0]!r}.")
    names = [name_of(part) for part in parts]
    names = [n if names.count(n) == 1 else f"{n}-{i}" for i, n in enumerate(names, start=1)]
    return [(n, _one(p, named, there[p])) for n, p in zip(names, parts, strict=True)]


def _under(
    parts: Sequence[tuple[str, Manifest]], labels: Mapping[str, str]
) -> list[tuple[str, Manifest]]:
    """Return the parts under the classes that the user wants; every wish has to find a class."""
    callings = {name: {name, *manifest.sources} for name, manifest in parts}
    used: set[str] = set()
    found = []
    for name, manifest in parts:
        mine: dict[str, str] = {}
        for own in (True, False):  # what is said of this part alone wins
            for said, ours in labels.items():
                where, _, theirs = said.partition(":")
                special = bool(theirs) and any(where in calls for calls in callings.values())
                key = theirs if special else said
                here = special == own and (not special or where in callings[name])
                if here and matched({key: ours}, manifest.labels):
                    mine.setdefault(key, ours)
                    used.add(said)
        found.append((name, relabeled(manifest, mine)))
    if lost := [said for said in labels if said not in used]:
        classes = "; ".join(
            (f"{name}: " if len(parts) > 1 else "") + ", ".join(manifest.labels)
            for name, manifest in parts
        )
        raise ManifestError(f"no image is of class {lost[0]!r}; the classes are {classes}.")
    if not any(len(manifest) for _, manifest in found):
        raise ManifestError("no image is left: every class is left out by a --label THEIRS=.")
    return found


def _merged(parts: Sequence[tuple[str, Manifest]]) -> Manifest:
    if len(parts) == 1:
        return parts[0][1]
    # What is given apart comes from apart: where no source is named, the part's own name is it.
    return merge([_sourced(manifest, name) for name, manifest in parts])


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


def _one(
    part: str | Path, named: Mapping[str, Path], columns: Mapping[str, str] | None = None
) -> Manifest:
    text = str(part)
    if text == PHANTOM and PHANTOM not in named:
        return write_phantom(cache_folder() / f"phantom-{FORMAT}", PHANTOM_PATIENTS)
    if _is_pair(text):
        name, _, path = text.partition("=")
        return read_manifest(path, collection=name, columns=columns)
    if text in named:
        return read_manifest(named[text], collection=text, columns=columns)
    return read_manifest(part, columns=columns)


def _is_pair(text: str) -> bool:
    return "=" in text and not Path(text).exists()
