"""Phantoms as files: what the demonstration and the tests read, in the layout of a collection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.cells import as_csv
from hurdles.data.files import write_bytes, write_text
from hurdles.data.manifest import Manifest
from hurdles.errors import CollectionError
from hurdles.phantom.cohort import Case, Shortcuts, draw_cohort, planted
from hurdles.phantom.disease import PATTERNS
from hurdles.phantom.render import render

__all__ = ["FORMAT", "is_phantom", "write_phantom"]

#: Goes up whenever the same settings would give other pixels.
FORMAT = 1

_SETTINGS, _MANIFEST = "parameters.json", "manifest.csv"


def write_phantom(
    folder: str | Path,
    n_patients: int = 200,
    *,
    seed: int = 0,
    size: int = 224,
    classes: Sequence[str] = tuple(PATTERNS),
    hospitals: int = 3,
    shortcut: Shortcuts = None,
) -> Manifest:
    """Write a cohort to `folder` and return its manifest; see `phantom_cohort` for the settings.

    ``<label>/<patient>-<number>.png`` are the images, ``masks/<label>/...`` the lung masks,
    ``parameters.json`` the settings and all drawn parameters, and ``manifest.csv``, written last,
    the table (its paths are relative, so the folder may be moved). A folder that already holds
    the same phantom is reused; one whose writing was interrupted is written again.

    Raises
    ------
    CollectionError
        If the folder holds something else: other settings, or files that are no phantom.
    """
    folder = Path(folder)
    plants = planted(shortcut)
    settings = json.loads(
        json.dumps(
            {
                "format": FORMAT,
                "n_patients": n_patients,
                "seed": seed,
                "size": size,
                "classes": list(classes),
                "hospitals": hospitals,
                "shortcuts": [asdict(plant) for plant in plants],
            }
        )
    )
    if _is_there(folder, settings):
        return Manifest.load(folder / _MANIFEST)
    cases = draw_cohort(
        n_patients, seed=seed, classes=classes, hospitals=hospitals, shortcut=plants
    )
    write_text(folder / _SETTINGS, _as_json(settings, cases))
    rows = [row for case in cases for row in _write_case(folder, case, size)]
    write_text(folder / _MANIFEST, as_csv(pd.DataFrame(rows)))
    return Manifest.load(folder / _MANIFEST)


def _is_there(folder: Path, settings: dict[str, Any]) -> bool:
    """Return whether the finished phantom is there; raise if the folder is something else."""
    # A writer that was killed at once leaves no more than a hidden part of a file.
    if not folder.exists() or all(p.name.endswith(".part") for p in folder.iterdir()):
        return False
    found = _found_settings(folder)
    if found != settings:
        differing = ", ".join(
            f"{k} is {found.get(k)!r}, not {v!r}" for k, v in settings.items() if found.get(k) != v
        )
        raise CollectionError(
            f"{folder} holds a phantom with other settings: {differing}. Choose another folder."
        )
    if not (folder / _MANIFEST).is_file():
        return False
    table = pd.read_csv(folder / _MANIFEST, usecols=["path", "mask"])
    return all((folder / p).is_file() for p in [*table["path"], *table["mask"]])


def is_phantom(folder: Path) -> bool:
    """Return whether `write_phantom` has filled a folder."""
    try:
        return bool(_found_settings(folder))
    except CollectionError:
        return False


def _found_settings(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / _SETTINGS).read_text("utf-8"))["settings"]
    except (OSError, ValueError, KeyError) as error:
        raise CollectionError(
            f"{folder} is not empty, and its {_SETTINGS} does not say that it is a phantom "
            f"({error}). Choose another folder."
        ) from error
    return found


def _as_json(settings: dict[str, Any], cases: Sequence[Case]) -> str:
    drawn = [asdict(case) for case in cases]
    return json.dumps({"settings": settings, "cases": drawn}, indent=1, allow_nan=False) + "\n"


def _write_case(folder: Path, case: Case, size: int) -> list[dict[str, Any]]:
    import cv2

    rows = []
    for image, row in case.rows():
        made = render(case.patient, image, size=size)
        paths = {"path": str(row["image"]), "mask": f"masks/{row['image']}"}
        for path, array in ((paths["path"], made.pixels), (paths["mask"], made.mask)):
            _, code = cv2.imencode(".png", array, [cv2.IMWRITE_PNG_COMPRESSION, 3])
            write_bytes(folder / path, code.tobytes())
        rows.append({"image": row["image"], "path": paths["path"], **row, "mask": paths["mask"]})
    return rows
