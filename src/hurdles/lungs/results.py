"""The lung network measured: on patients it never saw, across collections, on other masks.

What is known of the lung network, in Markdown: every number follows from what was measured.
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
from hurdles.lungs.measures import mean_estimate, score_masks
from hurdles.lungs.training import LungData, LungRecipe, across, read_lungs, split_lungs
from hurdles.progress import Progress
from hurdles.training.machine import environment, in_words, this_machine

_WORST = 10
_HEAD = (
    "| images | n | Dice | median | worst | IoU | inside drawn mask | boundary, px | flagged |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def lungs_page(
    held_out: Measured,
    own: Measured,
    leaps: Sequence[Measured],
    foreign: Sequence[Measured],
    counts: Mapping[str, int],
) -> str:
    """Return the page of results."""
    parts = [
        "# Lungs: how well they are found",
        "Research use only; not a medical device. Written by `hurdles train-lungs --measure`; "
        "nothing is filled in by hand.",
        _reading_help(),
        "## Patients that the network never saw, of the collections that it was trained on",
        _trained(held_out, counts),
        _table([held_out, own], by_source=True),
        _worst(held_out),
        _ceiling(held_out, own),
    ]
    if leaps:
        parts += ["## From one collection to the other", _leap_words(leaps)]
        parts += [_table(leaps, by_source=False)]
    for each in foreign:
        parts += ["## Masks of another convention", _foreign_words(each)]
        parts += [_table([each], by_source=False), _worst(each)]
    parts += ["## Versions and machine", in_words(environment(this_machine())) + "."]
    return "\n\n".join(parts) + "\n"


def lungs_card(held_out: Measured, counts: Mapping[str, int]) -> str:
    """Return what belongs beside the weights: what they are, for what, and how good."""
    dice = mean_estimate(held_out.scores, "dice")
    sources = " and ".join(sorted(held_out.scores["source"].dropna().unique()))
    lines = [
        "# Weights: lungs on frontal chest radiographs",
        "Research use only; not a medical device.",
        "| | |\n|---|---|\n"
        "| file | `lungs.safetensors`, half precision; read by `hurdles.lungs.network.load_lungs` |"
        f"\n| network | U-Net of width {held_out.meta['width']}, 256 x 256 pixels in and out |"
        f"\n| trained on | {sources}: {counts['train']} images for training, "
        f"{counts['validation']} to choose the epoch, {counts['test']} held out |"
        f"\n| epoch | {held_out.meta['epoch']} |"
        f"\n| Dice on held-out patients | {dice} (mean over images, interval by patient) |"
        f"\n| recipe | `{held_out.meta['recipe']}` |"
        f"\n| split | `{held_out.meta['data']}` |",
        "Images and masks: Jaeger et al., Quant. Imaging Med. Surg. 4 (2014) 475-477; Candemir et "
        "al., IEEE Trans. Med. Imaging 33 (2014) 577-590; Shenzhen masks by Stirenko et al., "
        "ELNANO 2018. Free for research with citation and acknowledgement of the National Library "
        "of Medicine. The weights hold no image.",
        "Most of the drawn masks leave out the lung behind the heart, and all of them that below "
        "the domes of the diaphragm; so does the network. It was trained on "
        "adults; on children, lateral views and other body parts its masks are worth no more than "
        "their flags say.",
    ]
    return "\n\n".join(lines) + "\n"


def _reading_help() -> str:
    return (
        "Masks are compared in the square of 256 x 256 pixels that the network sees, after the "
        "clean-up that every user gets. Dice and IoU are means over images; in brackets the 95 % "
        "interval (bootstrap over patients, 2000); *median* and *worst* are of Dice. "
        "*Inside drawn mask* is the share of what was found that lies in it. *Boundary* is the "
        "mean distance between both outlines in pixels of the square (one pixel is 0.4 % of the "
        "image's side). *Flagged* counts the masks that the plausibility check rejects "
        "(interval: Wilson, each patient once); they are part of all other columns."
    )


def _trained(measured: Measured, counts: Mapping[str, int]) -> str:
    recipe = json.loads(measured.meta["recipe"])
    return (
        f"{counts['train']} images for training, {counts['validation']} to choose the epoch, "
        f"{counts['test']} measured below; split by patient, every collection and class shared out "
        f"alike, seed {recipe['seed']}. {_epochs(recipe)}; the weights are those of epoch "
        f"{measured.meta['epoch']}."
    )


def _ceiling(held_out: Measured, own: Measured) -> str:
    seen, unseen = (mean_estimate(each.scores, "dice").value for each in (own, held_out))
    words = (
        f"On the very images that it was trained on, unaltered, the network has a Dice of "
        f"{seen:.3f}, {seen - unseen:+.3f} against patients that it never saw. What is missing to "
        "1 beyond that difference is not due to new patients, but to the masks, the network's size "
        "and its training."
    )
    if "shenzhen" in set(held_out.scores["source"]):
        words += (
            " Shenzhen's masks are drawn in two ways, as the contact sheets show: most leave out "
            "the lung behind the heart, some take it in, with a straight edge along spine and "
            "diaphragm. Nothing in the image tells which; look at the worst above."
        )
    return words


def _leap_words(leaps: Sequence[Measured]) -> str:
    recipe = json.loads(leaps[0].meta["recipe"])
    return (
        "Each network is trained on one collection, which also chooses the epoch, and measured on "
        f"every image of the other. {_epochs(recipe)}: less than above."
    )


def _epochs(recipe: Mapping[str, Any]) -> str:
    return (
        f"{recipe['epochs']} epochs of {recipe['images']} altered images, then "
        f"{recipe['calm_epochs']} in which {100 * recipe['calm']:.0f} % are hardly altered"
    )


def _foreign_words(measured: Measured) -> str:
    left_out = measured.exclusions["reason"].str.startswith("its mask").sum()
    words = (
        "These masks follow another convention: they hold the heart, and the lung behind it. Dice "
        "against them says how far the conventions differ as much as how good the network is; "
        "*inside drawn mask* does not depend on the heart. None of these images was trained on."
    )
    if left_out:
        words += f" {left_out} images are left out because their mask is empty or unreadable."
    return words


def _table(measured: Sequence[Measured], *, by_source: bool) -> str:
    rows = []
    for each in measured:
        rows.append(_row(each.name, each.scores))
        sources = sorted(each.scores["source"].dropna().unique()) if by_source else []
        rows += [
            _row(f"{each.name}, {s}", each.scores[each.scores["source"] == s]) for s in sources
        ]
    return "\n".join([_HEAD, *rows])


def _row(name: str, scores: pd.DataFrame) -> str:
    cells = [
        name,
        f"{len(scores)} of {scores['group'].nunique()} patients",
        str(mean_estimate(scores, "dice")),
        f"{scores['dice'].median():.3f}",
        f"{scores['dice'].min():.3f}",
        str(mean_estimate(scores, "jaccard")),
        str(mean_estimate(scores, "inside")),
        f"{mean_estimate(scores, 'boundary').value:.2f}",
        _flagged(scores),
    ]
    return "| " + " | ".join(cells) + " |"


def _flagged(scores: pd.DataFrame) -> str:
    count: int = int((scores["flaw"] != "").sum())
    low, high = wilson_bounds(count / len(scores), scores["group"].nunique())
    return f"{count}, {100 * count / len(scores):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _worst(measured: Measured) -> str:
    worst = measured.scores.sort_values(["dice", "image"]).head(_WORST)
    listed = [
        f"`{row['image']}` {row['dice']:.3f}" + (f" ({row['flaw']})" if row["flaw"] else "")
        for row in worst.to_dict("records")
    ]
    return "The worst: " + "; ".join(listed) + "."


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

    The masks are those that `hurdles.lungs.find.Segmenter` gives, cleaned; flagged ones count
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
