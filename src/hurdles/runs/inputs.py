"""Inputs of what is made of a run and of images, each by its SHA-256."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hurdles.data.inputs import Input, Role
from hurdles.data.manifest import Manifest
from hurdles.pixels.cache import contents_of
from hurdles.runs.run import Run

#: Files of a run that decide how it answers, beside its weights.
_SETTINGS = {"recipe.toml": Role.RECIPE, "threshold.json": Role.THRESHOLD}


def image_inputs(
    images: Mapping[str, Manifest], *, cache: str | Path | None = None
) -> Iterator[Input]:
    """Yield the files, and the rows, of images by what they are called.

    Nothing is read that the cache has hashed already. Files that cannot be opened do not count.
    """
    for name, manifest in images.items():
        contents = contents_of(manifest, cache=cache)
        yield Input.of_images(name, [each for each in contents if isinstance(each, str)])
        yield Input.of_rows(name, manifest)


def run_inputs(run: Run, *sets: str) -> Iterator[Input]:
    """Yield a run's weights, its settings, and its predictions on these sets of images.

    Each goes by its place in the run's folder.
    """
    choice = run.recipe.training.choose
    yield _of_run(run, Role.WEIGHTS, f"weights/{choice}.safetensors")
    for name, role in _SETTINGS.items():
        if (run.path / name).is_file():
            yield _of_run(run, role, name)
    for name in sets:
        yield _of_run(run, Role.PREDICTIONS, f"predictions/{name}.csv")


def sibling_inputs(runs: Iterable[Run]) -> Iterator[Input]:
    """Yield the test predictions of runs of other seeds, by the names of their folders."""
    for run in runs:
        name = "predictions/test.csv"
        yield Input.of_file(Role.PREDICTIONS, run.path / name, f"{run.path.resolve().name}/{name}")


def _of_run(run: Run, role: Role, name: str) -> Input:
    return Input.of_file(role, run.path / name, name)
