"""One trial from its name to its findings, in a process of its own.

Small networks, trained on a cohort in seconds, and put before the hurdles.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.calibrate.cohorts import Planting, Pool, RealStock, Stock, draw_materials
from hurdles.auditing.calibrate.journal import Measured, Record, is_calibrated
from hurdles.auditing.calibrate.limits import MEANT
from hurdles.auditing.calibrate.trials import FAULTS, Profile, Trial
from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES, run_hurdles
from hurdles.auditing.material import Material
from hurdles.auditing.subject import Elsewhere, Subject
from hurdles.data.vocabulary import Split
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import auc
from hurdles.findings.limits import load_limits
from hurdles.recipe.recipe import Recipe

if TYPE_CHECKING:
    from hurdles.models.network import Network


def _recipe(size: int, epochs: int, seed: int) -> Recipe:
    """Return how a network is trained: quickly, and well enough to read what is planted."""
    return Recipe(name="calibrate-audit").changed(
        preparation={"size": size},
        model={"architecture": "small", "scaling": "training"},
        training={
            "epochs": epochs,
            "batch_size": 16,
            "learning_rate": 2e-3,
            "schedule": "cosine",
            "choose_by": "auc",
            "seed": seed,
        },
    )


def train_network(material: Material, *, epochs: int, seed: int) -> Network:
    """Train the network `small` on the training part of a cohort, in memory."""
    from hurdles.models.spec import build
    from hurdles.training.loop import TrainingData, train

    labels = tuple(material.manifest.labels)
    data = TrainingData(
        material.pixels,
        np.searchsorted(labels, material.labels).astype(np.int64),
        labels,
        material.rows(Split.TRAIN),
        material.rows(Split.VALIDATION),
        material.name,
    )
    recipe = _recipe(material.pixels.shape[1], epochs, seed)
    trained = train(recipe, data)
    network = build(trained.spec, seed=seed)
    network.load_state_dict(trained.best)
    return network.eval()


def area_of(network: Network, material: Material) -> float:
    """Return the network's AUC for the first of two classes on images that it never saw."""
    from hurdles.training.prediction import probabilities

    said = probabilities(network, material.pixels)
    return auc(material.labels == network.spec.labels[0], said[:, 0])


def subject_of(
    network: Network, material: Material, *, elsewhere: Material, siblings: int, epochs: int
) -> Subject:
    """Put a network before the hurdles."""
    from hurdles.training.prediction import probabilities

    parts = {part: material.take(material.rows(part)) for part in Split}
    test = parts[Split.TEST]

    def said_of(images: Material, by: Network) -> Predictions:
        return _predictions(by, images, probabilities(by, images.pixels))

    others = [
        train_network(material, epochs=epochs, seed=material.seed + 1 + n) for n in range(siblings)
    ]
    return Subject(
        material.name,
        network,
        "raw",
        material,
        said_of(parts[Split.VALIDATION], network),
        said_of(test, network),
        elsewhere=(Elsewhere(elsewhere, said_of(elsewhere, network)),),
        siblings=tuple(said_of(test, other) for other in others),
    )


def _predictions(network: Network, material: Material, said: NDArray[np.float64]) -> Predictions:
    frame = material.manifest.frame
    return Predictions.from_arrays(
        network.spec.labels,
        y_true=frame["label"].tolist(),
        y_prob=said,
        images=frame["image"].tolist(),
        groups=material.groups.tolist(),
        sources=[None if s != s else s for s in frame["source"]],
        paths=frame["path"].tolist(),
    )


#: Patients on whom a network of a `network` trial is tried, beside those of its cohort.
_TRIED = 160
#: Patients of the other collection that hurdles for models are given.
_ELSEWHERE = 80
_POOL_SEEDS = {"calibration": 1000, "fresh": 2000}


@dataclass(frozen=True)
class Plan:
    """What a process has to know.

    Parameters
    ----------
    out : Path
        Folder of the calibration.
    profile : Profile
    data, model : tuple of str
        Names of the hurdles that are asked.
    imports : tuple of str
        Modules that register hurdles beside the shipped ones.
    """

    out: Path
    profile: Profile
    data: tuple[str, ...]
    model: tuple[str, ...]
    imports: tuple[str, ...] = ()

    def pools(self, part: str) -> list[Pool]:
        """Return the pools of calibration or of fresh cohorts."""
        return [_pool(self, _POOL_SEEDS[part] + n) for n in range(self.profile.pools)]

    @property
    def real(self) -> RealStock:
        """The stock of real images."""
        return _real(self.out / "real.npz")


@functools.cache
def _pool(plan: Plan, seed: int) -> Pool:
    p = plan.profile
    return Pool(
        plan.out / "pool",
        seed=seed + 10_000 * p.seed,
        patients=p.pool_patients,
        planted_patients=p.planted_patients,
        size=p.size,
    )


@functools.cache
def _real(path: Path) -> RealStock:
    return RealStock.load(path)


def register_hurdles(imports: Sequence[str] = ()) -> None:
    """Import the modules that register hurdles."""
    for module in ("hurdles.auditing.data", "hurdles.auditing.model", *imports):
        import_module(module)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread within the block, so that sums are made in one order everywhere."""
    import cv2
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # no stubs

    before = torch.get_num_threads(), cv2.getNumThreads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            cv2.setNumThreads(before[1])


def render(plan: Plan, part: str, number: int, state: str, first: int) -> None:
    """Render one task of a pool, see `Pool.make`."""
    plan.pools(part)[number].make(state, first)


def run_trial(plan: Plan, name: str) -> Record:
    """Carry out a trial; nothing but the plan and its name decides what comes out."""
    started = time.monotonic()
    trial = Trial.parse(name)
    seed = trial.seed(plan.profile.seed)
    run = {"data": _data, "model": _model, "network": _network}[trial.kind]
    names, found, auc = run(plan, trial, seed)
    return Record(name, names, found, auc, round(time.monotonic() - started, 3))


_Outcome = tuple[tuple[str, ...], tuple[Measured, ...], float | None]


def _stock(plan: Plan, trial: Trial) -> Stock:
    if trial.part == "real":
        return plan.real
    pools = plan.pools(trial.part)
    return pools[trial.repeat % len(pools)]


def _planting(trial: Trial) -> Planting:
    if trial.plant in FAULTS:
        return Planting(trial.disease)
    return Planting(trial.disease, trial.plant, trial.strength)


#: Hurdles that take as long as all others together, and how many networks of a condition they see.
_DEAR = {"attention": 8}


def asked(plan: Plan, trial: Trial) -> tuple[str, ...]:
    """Return the hurdles that a trial can say something about, and no others: time is dear.

    Limits are only set for hurdles that have none by definition. Hurdles that are there for faults
    alone look at no shortcut: they are asked about what is clean, and about their own faults.
    """
    if trial.plant in FAULTS:
        return (FAULTS.get(trial.plant).seen_by,)
    names = plan.data if trial.kind == "data" else plan.model
    if trial.part == "calibration":
        return tuple(name for name in names if _has_calibrated_limit(name))
    clean = trial.part == "fresh" and trial.disease and not trial.plant
    if trial.kind == "model":
        return tuple(name for name in names if trial.repeat < _DEAR.get(name, trial.repeat + 1))
    if clean and trial.patients == max(plan.profile.sizes):
        return names
    of_faults = {FAULTS.get(name).seen_by for name in FAULTS}
    return tuple(name for name in names if name in MEANT or name not in of_faults)


def _has_calibrated_limit(hurdle: str) -> bool:
    own = [limit for (name, _), limit in load_limits().items() if name == hurdle]
    return not own or any(map(is_calibrated, own))


def _data(plan: Plan, trial: Trial, seed: int) -> _Outcome:
    stock = _stock(plan, trial)
    material = draw_materials(stock, _planting(trial), [trial.patients], seed=seed)[0]
    if trial.plant in FAULTS:
        rng = np.random.default_rng((seed, 3))
        material = FAULTS.get(trial.plant).plant(material, int(trial.strength), rng)
    names = asked(plan, trial)
    found = run_hurdles(DATA_HURDLES, material, names=names)
    return names, tuple(Measured.of(f) for f in found.rows), None


def _network(plan: Plan, trial: Trial, seed: int) -> _Outcome:
    counts = [trial.patients, min(_TRIED, trial.patients)]
    own, tried = draw_materials(_stock(plan, trial), _planting(trial), counts, seed=seed)
    network = train_network(own, epochs=plan.profile.epochs, seed=seed)
    return (), (), area_of(network, tried)


def _model(plan: Plan, trial: Trial, seed: int) -> _Outcome:
    planting = _planting(trial)
    counts = [trial.patients, min(_ELSEWHERE, trial.patients)]
    strengths = [planting.strength, 0.0]
    own, other = draw_materials(
        _stock(plan, trial), planting, counts, seed=seed, strengths=strengths
    )
    epochs = plan.profile.epochs
    network = train_network(own, epochs=epochs, seed=seed)
    subject = subject_of(network, own, elsewhere=other, siblings=0, epochs=epochs)
    names = asked(plan, trial)
    found = run_hurdles(MODEL_HURDLES, subject, names=names)
    tested = own.take(own.rows("test"))
    return names, tuple(Measured.of(f) for f in found.rows), area_of(network, tested)
