"""What a run starts from: found, checked against the recipe, and entered into it."""

from __future__ import annotations

from pathlib import Path

from hurdles.errors import RecipeError
from hurdles.models.imagenet import imagenet_weights
from hurdles.models.spec import ModelSpec
from hurdles.models.starting import StartingWeights
from hurdles.recipe.choices import Start
from hurdles.recipe.recipe import Recipe
from hurdles.runs.images import preparation_of
from hurdles.runs.run import Run
from hurdles.training.checkpoint import load_weights


def start_of(
    run: Run, recipe: Recipe, encoder_from: Run | str | Path | None
) -> tuple[Recipe, StartingWeights | None]:
    """Return the recipe with the origin of its starting weights, and these weights."""
    start = recipe.model.start
    if encoder_from is not None:
        if start is Start.IMAGENET:
            raise RecipeError(
                "the recipe starts from ImageNet and --encoder-from names a run; leave one out: "
                "model.start = 'run' or no --encoder-from."
            )
        return _entered(recipe, _of(encoder_from))
    if run.is_begun or (run.exists and run.start_path.is_file()):
        # It keeps what it started from, or is finished and needs it no more. That it was given by
        # --encoder-from is not in the recipe that the user names again.
        model = run.recipe.model
        if model.start in {start, Start.RUN}:
            return recipe.changed(model={"start": str(model.start), "origin": model.origin}), None
    if start is Start.SCRATCH:
        return recipe, None
    if start is Start.RUN:
        raise RecipeError(
            f"recipe {recipe.name} starts from the encoder of another run; say of which by "
            "--encoder-from RUN, or set model.start = 'scratch'."
        )
    section = recipe.model
    # The labels play no part: the head is never taken along.
    spec = ModelSpec(
        section.architecture, ("one", "other"), recipe.preparation.size, section.channels
    )
    return _entered(recipe, imagenet_weights(spec))


def _of(source: Run | str | Path) -> StartingWeights:
    if not isinstance(source, Run) and Path(source).is_file():
        weights, metadata = load_weights(Path(source))
        return StartingWeights.from_file(weights, metadata, source=Path(source).name)
    run = source if isinstance(source, Run) else Run(source)
    return run.require_finished().starting_weights()


def _entered(recipe: Recipe, start: StartingWeights) -> tuple[Recipe, StartingWeights]:
    section = recipe.model
    spec = ModelSpec(
        section.architecture, start.spec.labels, recipe.preparation.size, section.channels
    )
    start.refuse_unlike(spec, preparation_of(recipe).description)
    kind = Start.RUN if start.preparation else Start.IMAGENET
    return recipe.changed(model={"start": str(kind), "origin": start.origin}), start
