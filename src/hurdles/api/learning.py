"""The verb that says what more patients would buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hurdles.data.files import outputs
from hurdles.progress import Options
from hurdles.recipe.recipe import Recipe, load_recipe
from hurdles.recipe.settings import with_settings
from hurdles.runs.images import Data, classified, files_of

if TYPE_CHECKING:
    from hurdles.studies.learning import CurveResult


def learning_curve(
    recipe: Recipe | str | Path,
    *,
    data: Data | None = None,
    out: str | Path,
    shares: Sequence[float] = (0.25, 0.5, 1.0),
    seeds: int = 3,
    labels: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    join_patients: bool = False,
    force: bool = False,
    options: Options | None = None,
) -> CurveResult:
    """Train a recipe on growing numbers of patients, and say what more of them would buy.

    Parameters
    ----------
    recipe : Recipe, str or Path
        A recipe, the name of a shipped one, or a TOML file.
    data : Data, optional
        The images; default: the collection that the recipe names.
    out : path
        Folder of the runs, one for each share and seed; finished ones are not computed again.
    shares : sequence of float
        Shares of the training patients, within (0, 1]; 1 is always one of them. By patient, every
        class alike, each share within the next.
    seeds : int
        How often each share is trained; each seed draws its own split by patient, unless the images
        bring one, and its own weights.
    labels, columns, settings, join_patients
        As for `run`.
    force : bool
        Replace files that hurdles did not write; never an input.
    options : Options, optional
        As for `run`.

    Returns
    -------
    CurveResult
        The curve (`hurdles.evaluation.learning.LearningCurve`), with its table and its page.

    Raises
    ------
    RecipeError
        If there are fewer than three shares, or the split is not by patient.
    RunError
        If a run in the folder was begun with another recipe or other images.
    """
    from hurdles.studies.learning import carry_out_curve, curve_files, require_curve_folder

    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    recipe, folder = with_settings(recipe, settings or {}), Path(out)
    require_curve_folder(folder)
    with outputs(*curve_files(folder), inputs=files_of(data), force=force):
        images = classified(
            data, labels=labels, columns=columns, default=recipe.data, join_patients=join_patients
        )
        return carry_out_curve(recipe, images, folder, shares=shares, seeds=seeds, options=options)
