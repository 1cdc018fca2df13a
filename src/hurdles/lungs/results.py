"""The lung network measured: on patients it never saw, across collections, on other masks.

What is written of it, the page, the table and the card of the weights, follows from what was
measured; the words stand in ``templates``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import Split
from hurdles.errors import RunError
from hurdles.evaluation.bounds import wilson_bounds
from hurdles.lungs.find import Segmenter
from hurdles.lungs.mask import mean_estimate, score_masks
from hurdles.lungs.training import LungRecipe, across, read_lungs, split_lungs, train_lungs
from hurdles.progress import Progress
from hurdles.training.machine import environment, in_words, this_machine

#: How the networks that cross from one collection to the others are trained, for less time.
CROSSED = LungRecipe(epochs=16, calm_epochs=4)

_BATCH = 64


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
    scores = [
        each.scores.drop(columns="group").assign(measured=each.name)
        for each in (held_out, own, *leaps, *foreign)
    ]
    write_text(table, as_csv(pd.concat(scores, ignore_index=True), float_format="%.4f"))
    write_text(page, lungs_page(held_out, own, leaps, foreign, counts))
    return page


def results_files(out: Path) -> list[Path]:
    """Return what `lungs_results` writes beside the trainings: card, table and page."""
    return [out / name for name in ("card.md", "lungs.csv", "lungs.md")]


@dataclass(frozen=True, eq=False)
class Measured:
    """One network on one set of images.

    `scores` are those of `hurdles.lungs.mask.score_masks`, `exclusions` the images left out,
    and `meta` what stands in the file of the weights.
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

    The masks are those that `hurdles.lungs.find.Segmenter` gives, cleaned; flagged ones count
    like the others.
    """
    from hurdles.lungs.training import load_lungs

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
        ready = ready.part(part)
    segmenter = Segmenter(weights)
    masks = []
    for start in range(0, len(ready), _BATCH):
        batch = ready.pixels[start : start + _BATCH].astype("float32") / 255
        masks += segmenter.masks(list(batch))
    return Measured(
        name, score_masks(ready.manifest, ready.masks, masks), manifest.exclusions, meta
    )


def lungs_page(
    held_out: Measured,
    own: Measured,
    leaps: Sequence[Measured],
    foreign: Sequence[Measured],
    counts: Mapping[str, int],
) -> str:
    """Return the page of results in Markdown."""
    return _rendered(
        "results.md.j2",
        held_out=held_out,
        own=own,
        leaps=leaps,
        foreign=foreign,
        counts=counts,
        sources=set(held_out.scores["source"]),
        seen=mean_estimate(own.scores, "dice").value,
        unseen=mean_estimate(held_out.scores, "dice").value,
        machine=in_words(environment(this_machine())),
    )


def lungs_card(held_out: Measured, counts: Mapping[str, int]) -> str:
    """Return what belongs beside the weights: what they are, for what, and how good."""
    sources = sorted(held_out.scores["source"].dropna().unique())
    dice = mean_estimate(held_out.scores, "dice")
    return _rendered("card.md.j2", held_out=held_out, counts=counts, sources=sources, dice=dice)


def _rendered(name: str, **values: Any) -> str:
    """Return a filled-in template, which may call the functions here."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    def recipe_of(measured: Measured) -> dict[str, Any]:
        return dict(json.loads(measured.meta["recipe"]))

    def epochs(measured: Measured) -> str:
        recipe = recipe_of(measured)
        return (
            f"{recipe['epochs']} epochs of {recipe['images']} altered images, then "
            f"{recipe['calm_epochs']} in which {100 * recipe['calm']:.0f} % are hardly altered"
        )

    def worst(measured: Measured) -> str:
        listed = [
            f"`{row['image']}` {row['dice']:.3f}" + (f" ({row['flaw']})" if row["flaw"] else "")
            for row in measured.scores.sort_values(["dice", "image"]).head(10).to_dict("records")
        ]
        return "The worst: " + "; ".join(listed) + "."

    def without_mask(measured: Measured) -> int:
        return int(measured.exclusions["reason"].str.startswith("its mask").sum())

    environment = Environment(
        loader=PackageLoader("hurdles.lungs"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    functions = (recipe_of, epochs, worst, without_mask, _table)
    environment.globals |= {f.__name__.lstrip("_"): f for f in functions}
    return environment.get_template(name).render(**values)


def _table(measured: Sequence[Measured], *, by_source: bool) -> str:
    rows = [
        "| images | n | Dice | median | worst | IoU | inside drawn mask | boundary, px | flagged |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in measured:
        rows.append(_row(each.name, each.scores))
        for source, scores in each.scores.groupby("source") if by_source else ():
            rows.append(_row(f"{each.name}, {source}", scores))
    return "\n".join(rows)


def _row(name: str, scores: pd.DataFrame) -> str:
    patients, flagged = scores["group"].nunique(), int((scores["flaw"] != "").sum())
    low, high = wilson_bounds(flagged / len(scores), patients)
    cells = [
        name,
        f"{len(scores)} of {patients} patients",
        str(mean_estimate(scores, "dice")),
        f"{scores['dice'].median():.3f}",
        f"{scores['dice'].min():.3f}",
        str(mean_estimate(scores, "jaccard")),
        str(mean_estimate(scores, "inside")),
        f"{mean_estimate(scores, 'boundary').value:.2f}",
        f"{flagged}, {100 * flagged / len(scores):.1f} % [{100 * low:.1f}, {100 * high:.1f}]",
    ]
    return "| " + " | ".join(cells) + " |"
