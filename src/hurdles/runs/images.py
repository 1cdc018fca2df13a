"""The images of an experiment: what is said by ``--data`` as a manifest, and prepared pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, cast

import pandas as pd

from hurdles.data.classes import judged_classes
from hurdles.data.files import expanded
from hurdles.data.manifest import Manifest
from hurdles.data.reading import merge, read_manifest
from hurdles.data.sets import matched, relabeled
from hurdles.data.sources import COLLECTIONS
from hurdles.data.spreadsheet import SUFFIXES
from hurdles.data.table import known_columns
from hurdles.data.unlabeled import is_place_of_images, manifest_of_images
from hurdles.errors import ImageError, LungsNotFoundError, ManifestError
from hurdles.phantom.cohort import FORMAT, write_phantom
from hurdles.pixels.cache import PixelPreparation, Prepared, cache_folder, prepare
from hurdles.pixels.prepare import Preparation, needs_lungs
from hurdles.progress import Options, counting
from hurdles.recipe.recipe import Recipe
from hurdles.runs.run import Run

#: A manifest; a path; a collection's name; ``NAME=PATH``; several of these; or a mapping.
Data: TypeAlias = "Manifest | str | Path | Sequence[str | Path] | Mapping[str, str | Path]"

#: The embedded default: synthetic radiographs, made when they are first asked for.
PHANTOM = "phantom"
PHANTOM_PATIENTS = 300

#: Parts that a title names.
_NAMED = 6
# A table of such a name says nothing; its folder does.
_NAMELESS = {"data", "dataset", "images", "index", "manifest", "metadata", "split"}
_NAMELESS |= {"test", "train", "validation"}  # what a run calls its own parts


def named_folders(data: Data | None) -> dict[str, Path]:
    """Return the collections that `data` names with their folders: its ``NAME=PATH`` parts."""
    if data is None or isinstance(data, Manifest):
        return {}
    if isinstance(data, Mapping):
        return {name: Path(path) for name, path in data.items()}
    pairs = [str(part).partition("=") for part in _given(data) if _is_pair(str(part))]
    return {name: Path(path) for name, _, path in pairs}


def manifest_of(
    data: Data | None,
    *,
    default: str = "",
    columns: Mapping[str, str] | None = None,
    unlabeled: bool = False,
) -> Manifest:
    """Return the images that `data` means; several parts are merged.

    If `unlabeled`, images without classes are read too; see `hurdles.data.reading.read_manifest`.
    """
    return _merged(_parts(data, default, columns or {}, unlabeled))


def classified(
    data: Data | None,
    *,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    default: str = "",
    refuse: bool = True,
    join_patients: bool = False,
    unlabeled: bool = False,
) -> Manifest:
    """Return the images that `data` means under the classes that the user wants."""
    wanted = labels or {}
    manifest = _merged(_under(_parts(data, default, columns or {}, unlabeled), wanted))
    manifest = manifest.with_patients_joined() if join_patients else manifest
    if not manifest.has_classes:
        return manifest
    return judged_classes(manifest, requested=wanted.values(), refuse=refuse)


def classified_apart(
    data: Data | None,
    *,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    unlabeled: bool = False,
) -> dict[str, Manifest]:
    """Return each part of `data` by its name, otherwise as `classified`; none if none is given."""
    wanted = labels or {}
    parts = _under(_parts(data, "", columns or {}, unlabeled), wanted) if data else []
    return {
        name: judged_classes(part, requested=wanted.values()) if part.has_classes else part
        for name, part in parts
    }


def _parts(
    data: Data | None, default: str, columns: Mapping[str, str], unlabeled: bool = False
) -> list[tuple[str, Manifest]]:
    """Return what the user gave, part by part, each with its name."""
    if isinstance(data, Manifest):
        return [(name_of(data), data)]
    folders = named_folders(data)
    if not data:
        if not default:
            raise ManifestError(
                "which images? Give --data PATH, --data NAME=PATH or --data NAME; "
                "hurdles collections lists the names."
            )
        return [(default, _one(default, folders, columns))]
    parts = _given(data)
    loose = [part for part in parts if unlabeled and is_place_of_images(part)]
    if loose and len(loose) == len(parts):
        return [(name_of(data), manifest_of_images(loose))]
    if loose:
        raise ManifestError(
            f"{loose[0]} names images, and {next(p for p in parts if p not in loose)} does not; "
            "give the images alone, or the folder that they lie in."
        )
    if len(parts) == 1:
        return [(name_of(parts[0]), _one(parts[0], folders, columns, unlabeled))]
    present = {part: known_columns(part, columns) for part in parts}
    lost = [theirs for theirs in columns if not any(theirs in own for own in present.values())]
    if lost:
        raise ManifestError(f"no table of {', '.join(map(str, parts))} has a column {lost[0]!r}.")
    pairs = zip(names_of(data), parts, strict=True)
    return [(name, _one(part, folders, present[part], unlabeled)) for name, part in pairs]


def parts_of(
    data: Data | Sequence[str | Path | Manifest] | None,
) -> list[str | Path | Manifest]:
    """Return each part of what was given, of a mapping as ``NAME=PATH``."""
    if data is None:
        return []
    if isinstance(data, Mapping):
        return [f"{name}={path}" for name, path in data.items()]
    return [data] if isinstance(data, str | Path | Manifest) else list(data)


def _given(data: str | Path | Sequence[str | Path] | Mapping[str, str | Path]) -> list[str | Path]:
    return [data] if isinstance(data, str | Path) else list(data)


def _one(
    part: str | Path,
    folders: Mapping[str, Path],
    columns: Mapping[str, str],
    unlabeled: bool = False,
) -> Manifest:
    text = str(part)
    if text == PHANTOM and PHANTOM not in folders:
        return write_phantom(cache_folder() / f"phantom-{FORMAT}", PHANTOM_PATIENTS)
    if _is_pair(text):
        name, _, path = text.partition("=")
        return read_manifest(path, collection=name, columns=columns)
    if text in folders:
        return read_manifest(folders[text], collection=text, columns=columns)
    return read_manifest(part, columns=columns, unlabeled=unlabeled)


def _is_pair(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _under(
    parts: Sequence[tuple[str, Manifest]], labels: Mapping[str, str]
) -> list[tuple[str, Manifest]]:
    """Return the parts under the classes that the user wants; every wish has to find a class."""
    callings = {name: {name, *manifest.sources} for name, manifest in parts}
    used: set[str] = set()
    renamed = []
    for name, manifest in parts:
        mine: dict[str, str] = {}
        for own in (True, False):  # what is said of this part alone wins
            for theirs, ours in labels.items():
                where, _, label = theirs.partition(":")
                special = bool(label) and any(where in calls for calls in callings.values())
                key = label if special else theirs
                here = special == own and (not special or where in callings[name])
                if here and matched({key: ours}, manifest.labels):
                    mine.setdefault(key, ours)
                    used.add(theirs)
        renamed.append((name, relabeled(manifest, mine)))
    if lost := [theirs for theirs in labels if theirs not in used]:
        classes = "; ".join(
            (f"{name}: " if len(parts) > 1 else "") + ", ".join(manifest.labels)
            for name, manifest in parts
        )
        raise ManifestError(f"no image is of class {lost[0]!r}; the classes are {classes}.")
    if not any(len(manifest) for _, manifest in renamed):
        raise ManifestError("no image is left: every class is left out by a --label THEIRS=.")
    return renamed


def _merged(parts: Sequence[tuple[str, Manifest]]) -> Manifest:
    if len(parts) == 1:
        return parts[0][1]
    # What is given apart comes from apart: where no source is named, the part's own name is it.
    return merge(
        [
            replace(part, frame=part.frame.assign(source=part.frame["source"].fillna(name)))
            for name, part in parts
        ]
    )


def files_of(data: Data | None) -> list[Path]:
    """Return the files that `data` names themselves: tables, not the images in them."""
    if data is None or isinstance(data, Manifest):
        return []
    paths = [*named_folders(data).values(), *map(Path, _given(data))]
    return [path for path in paths if path.is_file() and not is_place_of_images(path)]


def name_of(data: Data) -> str:
    """Return a short name for images, of lower-case letters, digits and hyphens."""
    if isinstance(data, Manifest) or not data:
        return "images"
    text = str(_given(data)[0])
    path = Path(text.partition("=")[0] if _is_pair(text) else text)
    path = path.absolute().parent if path.stem.lower() in _NAMELESS else path
    stem = path.name if path.is_dir() else path.stem
    return re.sub(r"[\W_]+", "-", stem.lower()).strip("-") or "images"


def names_of(data: Data) -> list[str]:
    """Return a short name for each part of images, as `name_of`; equal ones are numbered."""
    parts = [data] if isinstance(data, Manifest) else _given(data)
    names = [name_of(part) for part in parts]
    return [n if names.count(n) == 1 else f"{n}-{i}" for i, n in enumerate(names, start=1)]


def title_of(data: Data) -> str:
    """Return what a reader calls images of several parts; of many, the first are named."""
    names = names_of(data)
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return " + ".join([*names[:_NAMED], *more])


def preparation_of(recipe: Recipe) -> Preparation:
    """Return a recipe's preparation, with the lungs' network in the package where it needs one.

    Examples
    --------
    >>> preparation_of(Recipe(name="plain")).key
    'raw-224px-v1'
    """
    section = recipe.preparation
    if not needs_lungs(section.name):
        return Preparation(section.size, section.name)
    from hurdles.lungs.find import shipped_lungs

    return Preparation(section.size, section.name, shipped_lungs())


def prepare_pixels(manifest: Manifest, recipe: Recipe, options: Options) -> Prepared:
    """Decode and prepare a manifest's images as the recipe says, through the cache.

    ManifestError if none of them can be used; ImageError if one cannot and the options say stop.
    """
    prepared = prepare_as(manifest, preparation_of(recipe), options)
    for line in left_out_lines(manifest, prepared.failures):
        options.listener.say(line)
    if not len(prepared):
        last = prepared.manifest.exclusions.iloc[-1]
        raise ManifestError(
            f"none of {len(manifest)} images could be used; {last['path']}: {last['reason']}"
        )
    return prepared


def prepare_as(
    manifest: Manifest,
    preparation: PixelPreparation,
    options: Options,
    doing: str = "Reading images",
) -> Prepared:
    """Prepare images through the cache; the listener hears how far it is, and nothing else."""
    return prepare(
        manifest,
        preparation,
        cache=options.cache,
        on_bad=options.on_bad,
        progress=counting(options.listener, doing),
    )


def prepare_for(run: Run, manifest: Manifest, options: Options) -> Prepared:
    """Prepare images for a run's network, exactly as those that it was trained on.

    RunError if they would be prepared otherwise now, for instance with other lungs.
    """
    run.require_prepared(preparation_of(run.recipe).description)
    return prepare_pixels(manifest, run.recipe, options)


def left_out_lines(manifest: Manifest, failures: Mapping[str, ImageError]) -> Iterator[str]:
    """Yield how many images are left out: those that cannot be read, and those without lungs."""
    lost = {i: e for i, e in failures.items() if isinstance(e, LungsNotFoundError)}
    unread = {i: e for i, e in failures.items() if i not in lost}
    if unread:
        yield (
            f"{len(unread)} of {len(manifest)} images cannot be read and are left out; for one, "
            f"{list(unread.values())[-1]}"
        )
    if lost:
        # A class that loses more of its images than another is tested on its easier cases.
        labels = manifest.frame.set_index("image")["label"]
        of_all, of_lost = labels.value_counts(), labels[list(lost)].value_counts()
        counts = ", ".join(f"{of_lost.get(c, 0)} of {of_all[c]} {c}" for c in manifest.labels)
        yield (
            f"{len(lost)} of {len(manifest)} images are left out because their lungs were not "
            f"found ({counts}); for one, {list(lost.values())[-1]}"
        )


def given_images(
    images: Data, columns: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, int]:
    """Return the images that are to be answered, and how many other files the folders hold.

    Columns are ``image`` and ``path``. Of a folder all that can be images, whatever its sub-folders
    are called; of a table also files that are missing.
    """
    nothing = "no image is to be answered; name files, folders, patterns or tables."
    if isinstance(images, Manifest):
        if not len(images):
            raise ManifestError(nothing)
        return images.frame[["image", "path"]], 0
    parts = cast("list[str | Path]", parts_of(images))
    folders = named_folders(images)
    if not parts:
        raise ManifestError("which images? Name files, folders, patterns or tables.")
    places = [part for part in parts if not _is_read_by_name(part, folders)]
    if columns and len(places) == len(parts):
        raise ManifestError(
            f"no table is given, so none has a column {next(iter(columns))!r}; leave --column out."
        )
    frames, others = [], 0
    if places:
        manifest = manifest_of_images(places)
        frames, others = [manifest.frame], len(manifest.exclusions)
    for part in (part for part in parts if part not in places):
        manifest = manifest_of(part, columns=columns, unlabeled=True)
        reasons = manifest.exclusions["reason"]
        is_missing = reasons.str.endswith("but the file is missing")
        others += int((~is_missing).sum())  # as masks beside their images
        missing = manifest.exclusions[is_missing]
        frames += [manifest.frame, missing.assign(image=missing["path"])]
    if not sum(map(len, frames)):
        raise ManifestError(nothing)
    given = pd.concat([frame[["image", "path"]] for frame in frames], ignore_index=True)
    given = given[~given["path"].duplicated()].reset_index(drop=True)
    twice = given["image"].duplicated(keep=False)
    return given.assign(image=given["image"].where(~twice, given["path"])), others


def _is_read_by_name(part: str | Path, folders: Mapping[str, Path]) -> bool:
    """Return whether a part is a table, a collection's name or ``NAME=PATH``."""
    text, path = str(part), expanded(part)
    if text in COLLECTIONS or text == PHANTOM or text.partition("=")[0] in folders:
        return True
    return path.suffix.lower() in SUFFIXES and path.is_file()
