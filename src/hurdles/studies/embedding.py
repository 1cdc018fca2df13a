"""Features of a study's models in a picture, and how well they tell the collection.

As in the figure of Tartaglione et al. 2020: the images of all collections as one model sees them,
colored by class and by collection. The number beside it is what a linear probe makes of the same
features, and, as the measure before any network, of the prepared pixels themselves.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hurdles.data.files import write_bytes, write_text
from hurdles.data.sets import joined
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import Split
from hurdles.errors import EvaluationError, HurdlesError
from hurdles.evaluation.probing import Probe, source_probes, thumbnails
from hurdles.explanation.embedding import project
from hurdles.pixels.cache import Prepared
from hurdles.reporting.charts import embedding_figure
from hurdles.runs.images import prepare_pixels
from hurdles.runs.run import Run
from hurdles.studies.cells import Cell
from hurdles.studies.state import State, known_to
from hurdles.studies.tables import FIGURES, Drawn
from hurdles.training.machine import this_machine
from hurdles.training.prediction import embed

#: Columns of the table of probes.
PROBE_COLUMNS: dict[str, str] = {
    "features": "whose features: pixels of a preparation, or a model",
    "within": "the class within which collections are told apart; 'all' for all images",
    "value": "area under the curve, mean of one collection against the rest; 0.5 is chance",
    "low": "lower bound of its interval",
    "high": "upper bound of its interval",
    "n_images": "images",
    "note": "why it is undefined, or what weakens it",
}
_FILE = "embedding.json"
#: What collections call an image on which nothing was found.
_NO_FINDING = {"Normal", "No Finding"}


@FIGURES.register("embeddings")
def _embeddings(state: State, tables: Mapping[str, pd.DataFrame], stem: Path) -> Drawn:
    """Draw the first seed of the rows that the study names, as far as they are done.

    What is computed for a model is kept in its run's folder and not computed again for the same
    images.
    """
    del tables
    rows: list[dict[str, Any]] = []
    pictures: dict[str, Path] = {}
    cells = {cell.row: cell for cell in state.done if cell.tests and cell.seed == 0}
    try:
        for row in state.grid.values["embeddings"]:
            if (cell := cells.get(row)) is not None:
                seen = _seen_by(cell, state)
                rows += seen["probes"]
                name = f"embedding, {cell.recipe.preparation.name}"
                pictures[name] = stem.with_name(f"{stem.name}.{name.replace(', ', '.')}.png")
                write_bytes(pictures[name], _picture(cell, seen))
    except HurdlesError as error:  # a picture that cannot be drawn must not cost the page
        state.images.options.listener.say(f"no embedding was drawn: {error}")
        rows, pictures = [], {}
    table = pd.DataFrame(rows, columns=list(PROBE_COLUMNS))
    table = table.astype(dict.fromkeys(("value", "low", "high"), "float64"))
    files = [*pictures.values()]
    if len(table):
        files.insert(0, stem.with_name(f"{stem.name}.probes.csv"))
        write_text(files[0], as_csv(table))
    return Drawn(tuple(files), pictures, {"probes": table})


def _seen_by(cell: Cell, state: State) -> dict[str, Any]:
    """Return probes and places of a model's test images; computed once."""
    run = state.runs[cell.name]
    # The test images of all collections, without the patients that the model has seen.
    images = state.images
    manifest = joined(*images.tested(cell.tests).values()).part(Split.TEST)
    known = images.links.touching(known_to(cell, state.runs, images))
    manifest = manifest.select(~manifest.groups.isin(known))
    if not len(manifest):
        raise EvaluationError(
            f"{cell.name} has seen a patient of every test image; there is none to look at."
        )
    key = hashlib.sha256(manifest.content_hash.encode()).hexdigest()
    if (run.path / _FILE).is_file():
        before = dict(run.read_json(_FILE))
        if before["key"] == key:
            return before
    options = images.options
    options.listener.say(f"telling collections apart by what {cell.name} sees")
    prepared = prepare_pixels(manifest, run.recipe, options)
    seen = {"key": key, **_measured(cell, run, prepared)}
    run.write_json(_FILE, seen)
    return seen


def _measured(cell: Cell, run: Run, prepared: Prepared) -> dict[str, Any]:
    positive = cell.recipe.evaluation.positive

    def common_class(label: str) -> str:
        """Return a class that collections have in common."""
        if label == positive:
            return positive
        return "nothing found" if label in _NO_FINDING else "another finding"

    frame = prepared.manifest.frame
    sources, groups = frame["source"].tolist(), prepared.manifest.groups.tolist()
    classes = [common_class(label) for label in frame["label"]]
    machine = this_machine("float32")
    network = run.network().to(machine.device)
    seen = {
        f"pixels, {cell.recipe.preparation.name}": thumbnails(prepared.pixels),
        cell.row: embed(network, prepared.pixels, machine=machine),
    }
    probes = [
        row
        for name, features in seen.items()
        for row in _rows(name, source_probes(features, sources, classes, groups=groups))
    ]
    places = project(seen[cell.row])
    return {
        "probes": probes,
        "places": np.round(places.astype(float), 3).tolist(),
        "classes": classes,
        "sources": sources,
    }


def _rows(name: str, probes: list[Probe]) -> Iterator[dict[str, Any]]:
    for probe in probes:
        area = probe.auc
        numbers = {"value": area.value, "low": area.low, "high": area.high}
        yield {
            "features": name,
            "within": probe.within or "all",
            # JSON knows no NaN: None is read as one by pandas.
            **{k: None if math.isnan(v) else v for k, v in numbers.items()},
            "n_images": sum(probe.images.values()),
            "note": area.note or probe.note,
        }


def _picture(cell: Cell, seen: dict[str, Any]) -> bytes:
    notes = []
    for row in seen["probes"]:
        if row["features"] != cell.row:
            continue
        where = "all images" if row["within"] == "all" else row["within"]
        if row["value"] is None:
            notes.append(f"Collection told from the features, {where}: undefined ({row['note']})")
            continue
        span = f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        notes.append(
            f"Collection told from the features by a linear probe, {where}: area {span}, chance 0.5"
        )
    return embedding_figure(
        np.array(seen["places"], dtype=float),
        seen["classes"],
        seen["sources"],
        title=f"Test images as seen by: {cell.row} (t-SNE)",
        notes=notes,
    )
