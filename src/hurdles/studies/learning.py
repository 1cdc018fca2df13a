"""A learning curve: one recipe on growing numbers of patients, several seeds, each a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hurdles._version import USE_SENTENCE
from hurdles.copies.finder import Copies
from hurdles.data.files import write_text
from hurdles.data.folds import nested_training
from hurdles.data.manifest import Manifest
from hurdles.data.split import SCHEMES, resolved_scheme
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import Split, SplitScheme
from hurdles.errors import RecipeError, RunError
from hurdles.evaluation.learning import FEWEST, LearningCurve, Point
from hurdles.progress import Options
from hurdles.recipe.images import parted, refuse_images, refuse_split, refuse_untested
from hurdles.recipe.recipe import Recipe
from hurdles.runs.experiment import run_experiment
from hurdles.runs.images import prepare_pixels
from hurdles.runs.run import Run
from hurdles.runs.seen import find_copies, kept_together

#: Shares of the training patients where none are named.
SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True, eq=False)
class CurveResult:
    """A learning curve and where it was written.

    Parameters
    ----------
    curve : LearningCurve
        The curve.
    table, page : Path
        One row for each model, as CSV; the curve in words, as Markdown. JSON stands beside them.
    """

    curve: LearningCurve
    table: Path
    page: Path


def curve_files(out: Path) -> list[Path]:
    """Return what a learning curve writes besides its runs."""
    return [out / f"learning-curve.{end}" for end in ("csv", "json", "md")]


def carry_out_curve(
    recipe: Recipe,
    manifest: Manifest,
    out: Path,
    *,
    shares: Sequence[float] = SHARES,
    seeds: int = 3,
    options: Options | None = None,
) -> CurveResult:
    """Train the recipe on each share of the patients with each seed, and write the curve.

    Finished runs are not computed again, and an interrupted one is gone on with.
    """
    options = options or Options()
    ordered = sorted({*shares, 1.0})
    if len(ordered) < FEWEST or seeds < 1:
        raise RecipeError(
            f"a curve needs {FEWEST} shares or more (1 is always one of them) and a seed at least; "
            f"these are {', '.join(f'{share:g}' for share in ordered)}, with seeds: {seeds}."
        )
    if recipe.split.scheme == SplitScheme.K_FOLD:
        raise RecipeError(
            f"split.scheme = '{SplitScheme.K_FOLD}' makes several splits, and each point of a "
            f"learning curve has one; set '{SplitScheme.PATIENT}': each seed then draws its own."
        )
    refuse_images(recipe, manifest)
    prepared = prepare_pixels(manifest, recipe, options)
    copies = find_copies(recipe, prepared, options)
    cells = list(_cells(recipe, prepared.manifest, copies, ordered, seeds))
    points = []
    for number, (share, seed, own, images) in enumerate(cells, start=1):
        folder = out / f"{100 * share:03.0f}-seed{seed}"
        options.listener.say(f"model {number} of {len(cells)}: {folder}")
        run = run_experiment(own, images, folder, resume=Run(folder).exists, options=options)
        learnt = run.manifest.part(Split.TRAIN).groups.nunique()
        points.append(Point(share, seed, int(learnt), run.predictions()))
    curve = LearningCurve(tuple(points), level=recipe.evaluation.level, seed=recipe.evaluation.seed)
    return _written(curve, recipe, out)


def _cells(
    recipe: Recipe, manifest: Manifest, copies: Copies, shares: Sequence[float], seeds: int
) -> Iterator[tuple[float, int, Recipe, Manifest]]:
    """Yield each share, each seed, its recipe and its images; all are looked at before a run."""
    scheme = resolved_scheme(recipe.split.scheme, manifest)
    if not SCHEMES.get(scheme).grouped:
        raise RecipeError(
            f"split.scheme = '{scheme}' lets a patient be trained and tested on, so that no number "
            f"of patients can be counted; set '{SplitScheme.PATIENT}'."
        )
    for seed in range(seeds):
        drawn = recipe.changed(split={"scheme": scheme, "seed": recipe.split.seed + seed})
        # Copies are of one patient, whoever they are said to be: in one part, and in one share.
        whole = parted(kept_together(copies, manifest, drawn), drawn)
        refuse_untested(whole)
        own = recipe.changed(
            split={"scheme": str(SplitScheme.GIVEN)},
            training={"seed": recipe.training.seed + seed},
        )
        nested = nested_training(whole, shares, seed=drawn.split.seed)
        for share, some in zip(shares, nested, strict=True):
            kept = manifest.frame["image"].isin(some.frame["image"])
            images = manifest.select(kept).with_split(some.frame["split"])
            refuse_split(own, images)
            yield share, seed, own, images


def _written(curve: LearningCurve, recipe: Recipe, out: Path) -> CurveResult:
    table, beside, page = curve_files(out)
    rows = [
        {
            "share": point.share,
            "seed": point.seed,
            "patients": point.patients,
            "tested_images": len(point.test),
            "auc": curve.aucs[curve.shares.index(point.share), curve.seeds.index(point.seed)],
        }
        for point in curve.points
    ]
    write_text(table, as_csv(pd.DataFrame(rows)))
    write_text(beside, json.dumps(curve.to_dict(), indent=1, allow_nan=False) + "\n")
    lines = [f"- {line}" for line in curve.lines()]
    about = (
        f"Recipe {recipe.name}; {len(curve.seeds)} seed(s), AUC as the mean over classes. Numbers "
        "count patients of the training part alone; within a seed, validation and test are the "
        "same for all. Epochs are as many for all, so that fewer patients make fewer steps, too."
    )
    write_text(page, "\n".join(["# Learning curve", "", about, "", *lines, "", USE_SENTENCE, ""]))
    return CurveResult(curve, table, page)


def require_curve_folder(out: Path) -> None:
    """Raise a RunError if a folder is a run's own: a learning curve holds runs."""
    if Run(out).exists:
        raise RunError(f"{out} holds a run; give a learning curve a folder of its own by --out.")
