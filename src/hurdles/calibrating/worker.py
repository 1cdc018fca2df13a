"""One trial from its name to its findings, in a process of its own.

For hurdles for models, a model is trained on the cohort: a small network in seconds, see `MODELS`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES, run_hurdles
from hurdles.auditing.material import Elsewhere, Material, Model, NetworkModel, Subject
from hurdles.calibrating.cohorts import Planting, Pool, RealImages, draw_materials
from hurdles.calibrating.limits import TARGETS
from hurdles.calibrating.trials import (
    CALIBRATION,
    FAULTS,
    FRESH,
    MODELS,
    Measured,
    Profile,
    Record,
    Trial,
    is_calibrated,
)
from hurdles.data.vocabulary import Split
from hurdles.evaluation.statistics import auc
from hurdles.findings.limits import load_limits
from hurdles.foreign.function import FunctionModel
from hurdles.recipe.recipe import Recipe

#: Patients on whom a network of a `network` trial is tried, beside those of its cohort.
_TRIED = 160
#: Patients of the other collection that hurdles for models are given.
_ELSEWHERE = 80
_POOL_SEEDS = {CALIBRATION: 1000, FRESH: 2000}
#: Hurdles that take as long as all others together, and how many networks of a condition they see.
_DEAR = {"attention": 24, "stability": 60}
#: Seeds beside its own of a network without a shortcut, where `stability` is asked about it.
_SIBLINGS = 2
#: Side of the images that the pipeline looks at, and components that it keeps of them.
_SIDE, _COMPONENTS = 24, 20
#: How long a trial takes beside others of as many patients: networks are trained, and asked.
_COSTS = {"data": 1.0, "network": 3.0, "small": 6.0, "pipeline": 3.0, "resnet-18": 60.0}


@dataclass(frozen=True)
class Plan:
    """Settings that a process has to know.

    The folder of the calibration, how much is tried, the names of the hurdles that are asked, and
    the modules that register hurdles beside the shipped ones.
    """

    out: Path
    profile: Profile
    data: tuple[str, ...]
    model: tuple[str, ...]
    imports: tuple[str, ...] = ()

    def real_images(self, name: str) -> Path:
        """Return the file of a real collection's images."""
        return self.out / f"real.{name}.npz"

    def pools(self, part: str) -> list[Pool]:
        """Return the pools of calibration or of fresh cohorts."""
        return [_pool(self, _POOL_SEEDS[part] + n) for n in range(self.profile.pools)]


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
def _real_images(path: Path) -> RealImages:
    return RealImages.load(path)


def register_hurdles(imports: Sequence[str] = ()) -> None:
    """Import the modules that register hurdles."""
    for module in ("hurdles.auditing.data", "hurdles.auditing.model", *imports):
        import_module(module)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread within the block, so that sums are made in one order everywhere."""
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

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
    trial, auc = Trial.parse(name), None
    seed, epochs = trial.seed(plan.profile.seed), plan.profile.epochs
    names = hurdles_for(plan, trial)
    findings = None
    if trial.kind == "data":
        (material,) = draw(plan, trial, [trial.patients])
        if trial.plant in FAULTS:
            rng = np.random.default_rng((seed, 3))
            material = FAULTS.get(trial.plant).plant(material, int(trial.strength), rng)
        findings = run_hurdles(DATA_HURDLES, material, names=names)
    elif trial.kind == "network":
        material, tried = draw(plan, trial, [trial.patients, min(_TRIED, trial.patients)])
        auc = area_of(trained("small", material, epochs=epochs, seed=seed), tried)
    else:
        subject = subject_of(plan, trial)
        findings = run_hurdles(MODEL_HURDLES, subject, names=names)
        auc = area_of(subject, subject.tested)
    measured = () if findings is None else tuple(Measured.of(row) for row in findings.rows)
    seconds = round(time.monotonic() - started, 3)
    return Record(name, names, measured, auc, seconds, instructions())


def instructions() -> str:
    """Return the processor's instructions, which decide the bits of a trained network."""
    from hurdles.training.machine import this_machine

    return this_machine().instructions


def cost_of(trial: Trial) -> float:
    """Return how long a trial takes beside others, roughly, for the time left."""
    return _COSTS[trial.kind] * trial.patients


def draw(
    plan: Plan, trial: Trial, counts: Sequence[int], *, strengths: Sequence[float] | None = None
) -> list[Material]:
    """Draw the cohorts of a trial, with so many patients each; see `draw_materials`."""
    if trial.is_real:
        source: Pool | RealImages = _real_images(plan.real_images(trial.part))
    else:
        pools = plan.pools(trial.part)
        source = pools[trial.pool(len(pools))]
    planting = Planting(trial.disease)
    if trial.plant not in FAULTS:
        planting = Planting(trial.disease, trial.plant, trial.strength)
    seed = trial.seed(plan.profile.seed)
    materials = draw_materials(source, planting, counts, seed=seed, strengths=strengths)
    # Nothing that is only shown has a limit, an alarm or power.
    return [replace(material, judged_only=True) for material in materials]


def hurdles_for(plan: Plan, trial: Trial) -> tuple[str, ...]:
    """Return the hurdles that a trial can say something about, and no others: time is dear.

    Of a network whose AUC alone is wanted, none.

    Limits are only set for hurdles that have none by definition. Hurdles that are there for faults
    alone look at no shortcut: they are asked about what is clean, and about their own faults.
    """
    if trial.kind == "network":
        return ()
    if trial.plant in FAULTS:
        return (FAULTS.get(trial.plant).seen_by,)
    names = plan.data if trial.kind == "data" else plan.model
    if trial.part == CALIBRATION:
        limits = load_limits()
        own = {name: [v for (h, _), v in limits.items() if h == name] for name in names}
        return tuple(n for n, each in own.items() if not each or any(map(is_calibrated, each)))
    if trial.kind in MODELS:
        return tuple(name for name in names if trial.repeat < _DEAR.get(name, trial.repeat + 1))
    if trial.part == FRESH and trial.disease and not trial.plant:
        return names
    of_faults = {FAULTS.get(name).seen_by for name in FAULTS}
    return tuple(name for name in names if name in TARGETS or name not in of_faults)


def trained(kind: str, material: Material, *, epochs: int, seed: int) -> Model:
    """Train a model of one of `MODELS` on the training part of a cohort, in memory.

    Quickly, and well enough to read what is planted.
    """
    if kind == "pipeline":
        return _trained_pipeline(material, seed)
    from hurdles.models import build
    from hurdles.training.loop import TrainingData, train

    recipe = Recipe(name="calibrate-audit").changed(
        preparation={"size": material.pixels.shape[1]},
        model={"architecture": kind, "scaling": "training"},
        training={
            "epochs": epochs,
            "batch_size": 32,
            "learning_rate": 3e-3,
            "schedule": "cosine",
            "choose_by": "auc",
            "seed": seed,
        },
    )
    labels = tuple(material.manifest.labels)
    data = TrainingData(
        material.pixels,
        np.searchsorted(labels, material.labels).astype(np.int64),
        labels,
        material.rows(Split.TRAIN),
        material.rows(Split.VALIDATION),
        material.name,
    )
    done = train(recipe, data)
    network = build(done.spec, seed=seed)
    network.load_state_dict(done.best)
    return NetworkModel(network.eval())


def _trained_pipeline(material: Material, seed: int) -> Model:
    """Train what a user without a network would: a logistic regression on principal components."""
    import cv2
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def thumbnails(images: NDArray[np.floating]) -> NDArray[np.float32]:
        size = (_SIDE, _SIDE)
        small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA).ravel() for image in images]
        return np.array(small, dtype=np.float32)

    known = material.take(~np.isin(np.arange(len(material)), material.rows(Split.TEST)))
    components = PCA(min(_COMPONENTS, len(known) - 1), random_state=seed)
    pipeline = make_pipeline(components, StandardScaler(), LogisticRegression(C=0.1))
    pipeline.fit(thumbnails(known.pixels.astype(np.float32) / 255), known.labels)
    labels = [str(label) for label in pipeline.classes_]
    size = material.pixels.shape[1]
    return FunctionModel(lambda x: pipeline.predict_proba(thumbnails(x)), labels, size=size)


def area_of(model: Model | Subject, material: Material) -> float:
    """Return the model's AUC for the first of two classes on images that it never saw."""
    probability = model.ask(material.pixels)
    return auc(material.labels == model.labels[0], probability[:, 0])


def subject_of(plan: Plan, trial: Trial) -> Subject:
    """Draw the cohorts of a trial with a model, train that, and return what hurdles are given."""
    counts = [trial.patients, min(_ELSEWHERE, trial.patients)]
    material, elsewhere = draw(plan, trial, counts, strengths=[trial.strength, 0.0])
    seed, epochs = trial.seed(plan.profile.seed), plan.profile.epochs
    model = trained(trial.kind, material, epochs=epochs, seed=seed)
    validation, test = (material.take(material.rows(p)) for p in (Split.VALIDATION, Split.TEST))
    of_validation, of_test, of_others = (
        images.predictions(model.labels, model.ask(images.pixels))
        for images in (validation, test, elsewhere)
    )
    siblings = []
    if trial.kind == "small" and not trial.plant and "stability" in hurdles_for(plan, trial):
        for other in range(1, 1 + _SIBLINGS):
            sibling = trained(trial.kind, material, epochs=epochs, seed=seed + other)
            siblings.append(test.predictions(sibling.labels, sibling.ask(test.pixels)))
    return Subject(
        material.name,
        model,
        material,
        of_validation,
        of_test,
        elsewhere=(Elsewhere(elsewhere, of_others),),
        siblings=siblings,
    )
