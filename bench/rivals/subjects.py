"""What both are asked about: networks on planted cohorts, their features, and noise."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES, run_hurdles
from hurdles.auditing.material import Material, Subject
from hurdles.calibrating.cohorts import state_of
from hurdles.calibrating.trials import PROFILES, Measured, Record, Trial
from hurdles.calibrating.worker import (
    Plan,
    area_of,
    instructions,
    register_hurdles,
    subject_of,
)
from hurdles.data.files import replacing
from hurdles.phantom import Shortcut
from hurdles.phantom.parameters import is_planted

PATIENTS, STRENGTHS = 240, (0.8, 1.0)
#: Strength at which an attribute that no image shows goes with the class, in clean cohorts.
INVENTED = 0.8
#: Embeddings of noise: dimensions, and images as many as in ShortKit-ML's own false-positive test.
DIMENSIONS, IMAGES = (64, 256), 1000


def plan_of(out: Path, without: Sequence[str] = ()) -> Plan:
    """Return a plan in which every hurdle is asked, but for those named."""
    profile = replace(
        PROFILES["full"],
        name="rivals",
        sizes=(PATIENTS,),
        pools=1,
        pool_patients=1000,
        planted_patients=480,
    )
    register_hurdles()
    for_data, for_models = (
        tuple(name for name in registry if name not in without)
        for registry in (DATA_HURDLES, MODEL_HURDLES)
    )
    return Plan(out, profile, for_data, for_models)


def cohort(plant: str, strength: float, repeat: int, *, disease: bool = True) -> Trial:
    """Return a fresh cohort on which a network `small` is trained."""
    return Trial("small", "fresh", PATIENTS, disease, plant, strength, repeat)


def features(plan: Plan) -> Path:
    """Return the folder of embeddings, and of the answers to them."""
    return plan.out / "features"


def file_of(plan: Plan, name: str) -> Path:
    """Return the file of the embeddings of a cohort."""
    return features(plan) / f"{name.replace('/', '~')}.npz"


def audit(plan: Plan, name: str) -> Record:
    """Train the network of a cohort, write its features, and ask every hurdle.

    The seconds are the processor's, of the hurdles for a model alone.
    """
    trial = Trial.parse(name)
    subject = subject_of(plan, trial)
    write_features(plan, trial, subject)
    began = time.process_time()
    of_model = run_hurdles(MODEL_HURDLES, subject, names=plan.model)
    seconds = round(time.process_time() - began, 3)
    of_data = run_hurdles(DATA_HURDLES, subject.material, names=plan.data)
    found = tuple(Measured.of(row) for row in (*of_model.rows, *of_data.rows))
    area = area_of(subject, subject.tested)
    return Record(name, (*plan.model, *plan.data), found, area, seconds, instructions())


def write_features(plan: Plan, trial: Trial, subject: Subject) -> None:
    """Write what ShortKit-ML is given: features, class, hospital, sex, and who carries the mark."""
    material, frame = subject.material, subject.material.manifest.frame
    tied, tested = subject.labels[0], (frame["split"] == "test").to_numpy()
    told = carriers(plan, trial, material, tied)
    arrays = {
        "embeddings": subject.model.features(material.pixels),
        "labels": (material.labels == tied).astype(np.int64),
        "group.hospital": pd.factorize(frame["source"], sort=True)[0],
        "other": pd.factorize(frame["sex"].fillna("unknown"), sort=True)[0],
        "group.carriers": np.where(tested, told, -1),
        "tested": tested,
    }
    file = file_of(plan, trial.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part, part.open("wb") as handle:
        np.savez(handle, **arrays)


def carriers(plan: Plan, trial: Trial, material: Material, tied: str) -> NDArray[np.bool_]:
    """Return which images show what is planted.

    Where nothing is, an attribute is invented: it goes with the class `tied` as a shortcut of
    strength `INVENTED` does, and no image shows it.
    """
    if not trial.plant:
        invented = Shortcut("marker", INVENTED, target=tied)
        _, first, each = np.unique(material.groups, return_index=True, return_inverse=True)
        has = [
            is_planted(invented, trial.seed(1), number, material.labels[row])
            for number, row in enumerate(first)
        ]
        return np.array(has)[each]
    pools = plan.pools(trial.part)
    present = pools[trial.pool(len(pools))].images(state_of(trial.plant, True))
    rows = pd.Series(range(len(present.frame)), index=present.frame["image"])
    shown = present.pixels[rows[material.manifest.frame["image"]].to_numpy()]
    return np.asarray((shown == material.pixels).all(axis=(1, 2)))


def draw_noise(plan: Plan, number: int) -> None:
    """Write embeddings that know nothing of their labels and groups."""
    for dimensions in DIMENSIONS:
        for repeat in range(number):
            file = features(plan) / f"noise-{dimensions}-{repeat:03d}.npz"
            if file.exists():
                continue
            rng = np.random.default_rng((dimensions, repeat))
            arrays = {
                "embeddings": rng.normal(size=(IMAGES, dimensions)).astype(np.float32),
                "labels": rng.permutation(np.arange(IMAGES) % 2),
                "group.dealt": rng.permutation(np.arange(IMAGES) % 2),
                "tested": np.ones(IMAGES, dtype=bool),
            }
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as part, part.open("wb") as handle:
                np.savez(handle, **arrays)
