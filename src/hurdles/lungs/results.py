"""The lung network measured: on patients it never saw, across collections, on other masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hurdles.data.cells import as_csv
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import RunError
from hurdles.lungs.data import LungData, across, read_lungs, split_lungs
from hurdles.lungs.measures import score_masks
from hurdles.lungs.recipe import LungRecipe
from hurdles.lungs.segmenter import Segmenter
from hurdles.progress import Progress

#: How the networks that cross from one collection to the others are trained, for less time.
CROSSED = LungRecipe(epochs=16, calm_epochs=4)

_BATCH = 64


@dataclass(frozen=True, eq=False)
class Measured:
    """One network on one set of images.

    Parameters
    ----------
    name : str
        What was measured, e.g. ``"held out"`` or ``"montgomery to others"``.
    scores : DataFrame
        A row per image, as from `hurdles.lungs.measures.score_masks`.
    exclusions : DataFrame
        Images left out, with columns ``path`` and ``reason``.
    meta : mapping of str to str
        What stands in the file of the weights.
    """

    name: str
    scores: pd.DataFrame
    exclusions: pd.DataFrame
    meta: Mapping[str, str]


def measure_lungs(
    name: str,
    data: Manifest,
    weights: Path | None = None,
    *,
    part: Split = Split.TEST,
    cache: Path | None = None,
) -> Measured:
    """Find the lungs in every image that has a mask, and compare.

    The masks are those that `hurdles.lungs.segmenter.Segmenter` gives, cleaned; flagged ones count
    like the others.
    """
    from hurdles.lungs.network import load_lungs

    _, meta = load_lungs(weights)
    ready = read_lungs(data, cache=cache)
    manifest = ready.manifest
    if manifest.frame["split"].notna().any():
        if meta.get("data") != manifest.content_hash:
            raise RunError(
                "the weights were trained on other images or another split than these: the test "
                "part may hold patients that they have seen. Measure them with the data and the "
                "recipe that stand in the weights, or train again."
            )
        ready = _part(ready, part)
    segmenter = Segmenter(weights)
    found = []
    for start in range(0, len(ready), _BATCH):
        batch = ready.pixels[start : start + _BATCH].astype("float32") / 255
        found += segmenter.masks(list(batch))
    scores = score_masks(ready.manifest, ready.masks, found)
    return Measured(name, scores, manifest.exclusions, meta)


def _part(data: LungData, part: Split) -> LungData:
    rows = data.positions(part)
    return LungData(data.manifest.part(part), data.pixels[rows], data.masks[rows])


def lungs_results(
    data: Manifest,
    out: Path,
    *,
    other: Manifest | None = None,
    recipe: LungRecipe | None = None,
    crossed: LungRecipe = CROSSED,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train what is not trained yet, measure it, and write it down.

    `out` gets ``main/`` and a folder for each collection with a training in it, and then
    ``lungs.md`` (the page), ``lungs.csv`` (a row per image) and ``card.md`` (what belongs beside
    the weights of ``main/``). An interrupted call goes on where it was when it is made again.
    """
    from hurdles.lungs.page import lungs_card, lungs_page
    from hurdles.lungs.training import train_lungs

    recipe = recipe or LungRecipe()
    masked = data.select(data.frame["mask"].notna())
    parts = split_lungs(masked, fractions=recipe.fractions, seed=recipe.seed)
    weights = train_lungs(parts, out / "main", recipe=recipe, cache=cache, progress=progress)
    held_out = measure_lungs("held out", parts, weights, cache=cache)
    own = measure_lungs("trained on", parts, weights, part=Split.TRAIN, cache=cache)
    leaps = []
    for source in masked.sources if len(masked.sources) > 1 else []:
        apart = across(masked, source, seed=crossed.seed)
        alone = train_lungs(apart, out / source, recipe=crossed, cache=cache, progress=progress)
        leaps.append(measure_lungs(f"trained on {source} only", apart, alone, cache=cache))
    foreign = []
    if other is not None:
        unsplit = Manifest(other.frame.assign(split=None), other.exclusions)
        foreign.append(measure_lungs("other masks", unsplit, weights, cache=cache))
    counts = {s.value: len(parts.part(s)) for s in Split}
    card, table, page = results_files(out)
    write_text(card, lungs_card(held_out, counts))
    _write_scores(table, [held_out, own, *leaps, *foreign])
    write_text(page, lungs_page(held_out, own, leaps, foreign, counts))
    return page


def results_files(out: Path) -> list[Path]:
    """Return what `lungs_results` writes beside the trainings: card, table and page."""
    return [out / name for name in ("card.md", "lungs.csv", "lungs.md")]


def _write_scores(path: Path, measured: list[Measured]) -> None:
    tables = [each.scores.drop(columns="group").assign(measured=each.name) for each in measured]
    write_text(path, as_csv(pd.concat(tables, ignore_index=True), float_format="%.4f"))
