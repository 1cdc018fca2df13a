"""From a run's folder to its page: the heat-map sheets, and everything the report shows."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hurdles.data.files import replacing
from hurdles.data.manifest import Manifest
from hurdles.errors import EvaluationError, RunError
from hurdles.evaluation.predictions import Predictions
from hurdles.explanation.heatmap import choose_examples
from hurdles.explanation.methods import explain
from hurdles.findings.table import Findings
from hurdles.pixels.cache import Prepared
from hurdles.progress import Progress
from hurdles.recipe.images import same_ids
from hurdles.recipe.recipe import Recipe
from hurdles.reporting.page import ReportContent, Sheet, SheetItem, render, write_report
from hurdles.runs.run import Run
from hurdles.runs.seals import reading

_log = logging.getLogger("hurdles")
#: Radiographs shown of each class, right and wrong.
PER_CELL = 6
METHOD = "grad-cam"


def sheets_of(
    run: Run, prepared: Prepared, predictions: Predictions, progress: Progress
) -> list[Sheet]:
    """Return contact sheets of right and wrong answers of every class, with heat-maps."""
    examples = choose_examples(predictions, per_cell=PER_CELL)
    progress.start("Heat-maps", sum(map(len, examples.values())))
    network = run.network()
    rows = {str(row["image"]): row for row in predictions.frame.to_dict("records")}
    sheets = []
    for (label, outcome), images in examples.items():
        pixels = prepared.pixels[prepared.index(images)]
        maps = explain(network, network.spec, pixels, images=images, method=METHOD)
        items = [
            SheetItem(
                image=image,
                pixels=np.asarray(picture),
                heat=heat.values if heat.is_drawable else None,
                true=str(rows[image]["label"]),
                predicted=str(rows[image]["prediction"]),
                probability=float(rows[image][f"p:{rows[image]['prediction']}"]),
                message=heat.message,
            )
            for image, heat, picture in zip(images, maps, pixels, strict=True)
        ]
        of_label = predictions.y_true == label
        of_outcome = (predictions.y_pred == label) == (outcome == "right")
        total = int((of_label & of_outcome).sum())
        note = f"{len(items)} of {total}, spread over the probability that the network gave"
        sheets.append(Sheet(f"{label}: {outcome} answers", items, note if total else ""))
        progress.advance(len(items))
    return sheets


def save_sheets(path: Path, sheets: Sequence[Sheet]) -> None:
    """Write sheets into one NumPy archive without pickles: pixels, maps, and captions as JSON."""
    items = [item for sheet in sheets for item in sheet.items]
    arrays: dict[str, np.ndarray] = {}
    for number, item in enumerate(items):
        arrays[f"pixels/{number}"] = item.pixels
        if item.heat is not None:
            arrays[f"heat/{number}"] = np.asarray(item.heat, dtype=np.float16)
    captions = [
        {
            "title": sheet.title,
            "note": sheet.note,
            "items": [
                {k: getattr(i, k) for k in ("image", "true", "predicted", "probability", "message")}
                for i in sheet.items
            ],
        }
        for sheet in sheets
    ]
    arrays["captions"] = np.frombuffer(json.dumps(captions).encode(), dtype=np.uint8)
    with replacing(path) as part, part.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)


def load_sheets(path: Path) -> list[Sheet]:
    """Read what `save_sheets` wrote."""
    if not path.is_file():
        raise RunError.missing(path)
    # Opened here: np.load leaves a file open that turns out to be damaged.
    with reading(path), path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
        captions = json.loads(archive["captions"].tobytes().decode())
        sheets, number = [], 0
        for sheet in captions:
            items = []
            for caption in sheet["items"]:
                key = f"heat/{number}"
                heat = archive[key].astype(np.float32) if key in archive else None
                items.append(SheetItem(pixels=archive[f"pixels/{number}"], heat=heat, **caption))
                number += 1
            sheets.append(Sheet(sheet["title"], items, sheet["note"]))
    return sheets


def write_page(
    run: Run,
    *,
    on: str = "test",
    meta: Mapping[str, Any] | None = None,
    pictures: bool = True,
) -> Path:
    """Write the report of a run, or of its evaluation on another set, and return its path."""
    content = _content(run, on, meta if meta is not None else run.meta, pictures)
    return write_report(content, run.page_path(on))


def page_text(run: Run, *, on: str = "test", pictures: bool = True) -> str:
    """Return the report as it would be written now."""
    return render(_content(run, on, run.meta, pictures))


def _content(run: Run, on: str, meta: Mapping[str, Any], pictures: bool) -> ReportContent:
    recipe, own = run.recipe, on == "test"
    if own:
        manifest = run.manifest
    else:  # the images' own split means nothing for this run
        manifest = Manifest.load(run.path / f"manifest.{on}.csv")
        manifest = manifest.with_split(["test"] * len(manifest))
    evaluation = run.evaluation(on)
    # What is said of the split and of copies stands among the warnings, above.
    above = [*run.encoder_remarks, *run.copy_remarks, *run.remarks()] if own else []
    notes = tuple(note for note in evaluation.notes if note not in above)
    environment = {**meta["environment"], "finished": meta["finished"], "seconds": meta["seconds"]}
    if start := meta.get("start"):
        environment["encoder started from"] = start["source"]
        environment["origin (SHA-256)"] = start["origin"][:16]
        for key in ("license", "from", "sha256"):
            if start.get("like"):
                environment[f"encoder: {key}"] = start[key]
        if images := start.get("images"):
            compared = "; ".join(images["compared_with"]) or "nothing"
            environment["test images held against the encoder's"] = compared
    environment |= {f"{each} (SHA-256)": each.sha256 for each in evaluation.inputs}
    sheets = run.path / ("heatmaps.npz" if own else f"heatmaps.{on}.npz")
    return ReportContent(
        title=recipe.name if own else f"{recipe.name}, tested on {on}",
        research_sentence=recipe.description,
        manifest=manifest,
        evaluation=replace(evaluation, notes=notes),
        copies=run.copies if own else None,
        n_encoder=run.n_encoder if own else 0,
        predictions=run.predictions(on),
        history=None if run.is_ensemble else run.history.frame,
        chosen_epoch=None if run.is_ensemble else run.chosen_epoch(),
        sheets=load_sheets(sheets) if pictures else [],
        heat_method="Grad-CAM on the last convolution",
        recipe=recipe.model_dump(mode="json", exclude={"name", "description"}, exclude_none=True),
        recipe_notes=Recipe.explanations(),
        # What the report sees for itself (shared patients, patients not known) is added there.
        warnings=[*run.encoder_remarks, *run.copy_remarks, *run.remarks(shared=False)]
        if own
        else tuple(same_ids(manifest)),
        environment=environment,
        findings=audited(run) if own else None,
    )


def audited(run: Run) -> Findings | None:
    """Return what an audit found of a run; None where there was none.

    Findings that this version cannot read cost no report: a warning names them.
    """
    path = run.path / "audit.json"
    try:
        return Findings.load(path) if path.is_file() else None
    except EvaluationError as error:
        _log.warning("%s", error)
        return None
