"""Small phantoms and runs that several tests look at; none of them changes one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hurdles import api
from hurdles.data.manifest import Manifest
from hurdles.phantom.cohort import write_phantom
from hurdles.progress import Options
from hurdles.recipe.recipe import Recipe

TINY = Recipe(
    name="tiny",
    description="Is the whole way passable?",
    preparation={"size": 32},
    split={"scheme": "patient", "fractions": (0.5, 0.25, 0.25)},
    augmentation={"policy": "balanced"},
    training={"epochs": 2, "precision": "float32"},
    evaluation={"resamples": 100},
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("integration")


@pytest.fixture(scope="session")
def phantom(folder) -> Path:
    write_phantom(folder / "phantom", 24, seed=1, size=64)
    return folder / "phantom" / "manifest.csv"


@pytest.fixture(scope="session")
def other_phantom(folder) -> Path:
    write_phantom(folder / "other", 9, seed=2, size=64)
    return folder / "other" / "manifest.csv"


@pytest.fixture(scope="session")
def cache(folder) -> Path:
    return folder / "cache"


@pytest.fixture(autouse=True)
def no_other_cache(cache, monkeypatch):
    monkeypatch.setenv("HURDLES_CACHE", str(cache))


@pytest.fixture(scope="session")
def options(cache) -> Options:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return Options(cache=cache)


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    return TINY


@pytest.fixture(scope="session")
def finished(phantom, folder, options):
    """Return a finished run; treat it as read-only."""
    return api.run(TINY, data=phantom, out=folder / "finished", options=options)


@pytest.fixture
def files_of_others(tmp_path, phantom, finished) -> dict[str, Path]:
    """Return what other programs bring: predictions, features, an encoder."""
    from safetensors.torch import save_file

    from hurdles.models import ModelSpec, build

    theirs = tmp_path / "theirs"
    theirs.mkdir()
    predictions, features = theirs / "predicted.csv", theirs / "features.csv"
    encoder = theirs / "encoder.safetensors"
    shutil.copy(finished.path / "predictions" / "test.csv", predictions)
    images = Manifest.load(phantom).frame["image"]
    rows = np.random.default_rng(0).normal(size=(len(images), 3))
    pd.DataFrame(rows, index=images).to_csv(features)
    state = build(ModelSpec("resnet-18", ("a", "b")), seed=0).encoder.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, encoder)
    return {"PREDICTIONS": predictions, "FEATURES": features, "ENCODER": encoder}
