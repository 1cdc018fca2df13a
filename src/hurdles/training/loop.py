"""Training a network, readable top to bottom: data in, weights of two epochs and a history out."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import RecipeError, RunError
from hurdles.evaluation.statistics import auc
from hurdles.models import ModelSpec, build
from hurdles.progress import Progress, Silent
from hurdles.recipe.choices import ChosenBy, Optimizer, Scaling, Schedule, Start
from hurdles.recipe.images import network_spec, refuse_sizes
from hurdles.recipe.recipe import Recipe, TrainingSection
from hurdles.training.batches import batches_of
from hurdles.training.checkpoint import TrainingState
from hurdles.training.growth import cost_of, size_of
from hurdles.training.history import History
from hurdles.training.losses import Objective, StepLoss
from hurdles.training.machine import Machine, deterministic, this_machine
from hurdles.training.plan import (
    EpochPlanner,
    Sources,
    balance_of,
    groups_of,
    warning_of,
)
from hurdles.training.prediction import probabilities

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hurdles.models.network import Network
    from hurdles.models.starting import StartingWeights


#: Seconds between two saved states: what a kill costs at most.
SAVE_EVERY = 60.0


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The prepared pixels of N images, their classes, and the positions of each part.

    `pixels` are uint8 (N, size, size), a memory map will do; `classes` int (N,), indices into
    `labels`; `identity` a hash of the manifest, so that a resumed training meets the same data;
    `sources` where each image comes from, None if that is not known of any.
    """

    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]
    labels: tuple[str, ...]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    identity: str
    sources: Sources | None = None

    @property
    def origins(self) -> Sources:
        """The sources of all images, N of them; one that is not named where none are known."""
        return self.sources or Sources.numbered([None] * len(self.classes))


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training: weights of the best epoch and of the last, and the way there."""

    best: dict[str, torch.Tensor]
    last: dict[str, torch.Tensor]
    history: History
    spec: ModelSpec


def train(
    recipe: Recipe,
    data: TrainingData,
    *,
    start: StartingWeights | None = None,
    state_path: Path | None = None,
    progress: Progress | None = None,
    machine: Machine | None = None,
) -> Trained:
    """Train a network as the recipe says.

    The same recipe and data give the same weights bit for bit on the same machine, whether or not
    the training was interrupted: every random number is drawn from the seed, the epoch and the
    step alone.
    """
    return _Training(recipe, data, start, state_path, progress or Silent(), machine).run()


class _Training:
    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        start: StartingWeights | None,
        state_path: Path | None,
        progress: Progress,
        machine: Machine | None,
    ) -> None:
        self.machine = machine or this_machine(recipe.training.precision)
        self.settings = recipe.training
        self.data = data
        self.state_path = state_path
        self.progress = progress
        self.identity = identity_of(recipe, data, self.machine, start)
        mean, std = scaling_of(recipe, data, start, state_path)
        self.spec = network_spec(recipe, data.labels, mean=mean, std=std)
        refuse_sizes(self.settings.sizes, self.spec)
        origins = data.origins
        classes = data.classes[data.train]
        sources = Sources(origins.of[data.train], origins.names)
        groups = groups_of(classes, sources, data.labels)
        self.planner = EpochPlanner(
            data.train,
            classes,
            data.labels,
            recipe.augmentation,
            self.settings.seed,
            balance_of(recipe.remedy, sources, groups),
        )
        self.images = batches_of(data.pixels, data.train, self.machine)
        self.network = first_network(recipe, self.spec, start, self.machine)
        self.optimizer = make_optimizer(self.network.parameters(), self.settings)
        device = self.machine.device
        counts = self.planner.counts(len(data.labels))
        self.objective = Objective(self.settings, counts, device)
        self.loss = StepLoss(self.objective, recipe.remedy, origins, groups, data.train, device)
        self.warning = warning_of(recipe.remedy, groups)
        self.steps = -(-len(self.planner) // self.settings.batch_size)

    def run(self) -> Trained:
        import torch

        state = TrainingState(scaling=[self.spec.mean, self.spec.std])
        if self.state_path is not None and self.state_path.exists():
            state = TrainingState.load(self.state_path, self.network, self.optimizer, self.identity)
            if self.loss.weights is not None:
                self.loss.weights.values = state.group_weights
        self._saved_at = time.monotonic()
        costs = [cost_of(self.settings, self.spec.size, n + 1) for n in range(self.settings.epochs)]
        self.progress.start("Training", self.steps * sum(costs))
        if self.warning:
            self.progress.say(self.warning)
        if (state.epoch, state.step) > (1, 0):
            done = self.steps * sum(costs[: state.epoch - 1])
            self.progress.advance(done + state.step * sum(costs[state.epoch - 1 : state.epoch]))
            self.progress.say(f"going on at epoch {state.epoch}, step {state.step} of {self.steps}")
        devices = [self.machine.device] if self.machine.device.type == "cuda" else []
        with torch.random.fork_rng(devices), deterministic():
            while state.epoch <= self.settings.epochs and not self._has_stalled(state):
                self._epoch(state)
        if self._has_stalled(state) and state.epoch <= self.settings.epochs:
            self.progress.say(
                f"stopped after epoch {len(state.rows)} of at most {self.settings.epochs}: "
                f"{self.settings.patience} without a better validation"
            )
        return Trained(state.best, self._weights(), self._history(state), self.spec)

    def _history(self, state: TrainingState) -> History:
        return History.from_rows(state.rows, self.settings.choose_by)

    def _has_stalled(self, state: TrainingState) -> bool:
        if not self.settings.patience or not state.rows:
            return False
        # Of smaller images, validation says little: it does not wait for those.
        since = max(self._history(state).best_epoch, len(self.settings.sizes))
        return len(state.rows) - since >= self.settings.patience

    def _epoch(self, state: TrainingState) -> None:
        import torch

        draws, classes = self.planner.epoch(state.epoch)
        size = size_of(self.settings, self.spec.size, state.epoch)
        self.network.spec = replace(self.spec, size=size)
        started = time.monotonic() - state.sums[3]
        self.network.train()
        totals = torch.tensor(state.sums[:3], dtype=torch.float64, device=self.machine.device)
        for step, images, targets, positions in self._batches(draws, classes, state.step, size):
            rate = learning_rate(
                self.settings,
                step=(state.epoch - 1) * self.steps + step,
                steps=self.settings.epochs * self.steps,
                losses=[row["validation_loss"] for row in state.rows],
            )
            entropy = np.random.SeedSequence((self.settings.seed, state.epoch, step))
            seed = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
            totals += self._step(images, targets, positions, rate=rate, seed=seed)
            state.step = step + 1
            cost = cost_of(self.settings, self.spec.size, state.epoch)
            self.progress.advance(cost, _note(state, self.settings.choose_by))
            if time.monotonic() - self._saved_at > SAVE_EVERY:
                state.sums = [*totals.tolist(), time.monotonic() - started]
                self._save(state)
        state.sums = [*totals.tolist(), time.monotonic() - started]
        self._finish_epoch(state, started)
        self._save(state)

    def _batches(
        self, draws: NDArray[np.void], classes: NDArray[np.int64], first: int, side: int
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, NDArray[np.int64]]]:
        import torch

        size = self.settings.batch_size
        for step in range(first, self.steps):
            chunk = slice(step * size, (step + 1) * size)
            targets = torch.from_numpy(classes[chunk].copy()).to(self.machine.device)
            yield step, self.images(draws[chunk], side), targets, draws["position"][chunk]

    def _step(
        self,
        images: torch.Tensor,
        targets: torch.Tensor,
        positions: NDArray[np.int64],
        *,
        rate: float,
        seed: int,
    ) -> torch.Tensor:
        import torch

        torch.manual_seed(seed)  # dropout; run() keeps the caller's generator apart
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with self.machine.mixed():
            features = self.network.features(images)
            logits = self.network.logits(features)
        loss = self.loss(logits.float(), features, targets, positions)
        loss.backward()  # type: ignore[no-untyped-call] # untyped in torch
        self.optimizer.step()
        right = (logits.argmax(1) == targets).sum()
        return torch.stack(
            [
                loss.detach().double() * len(targets),
                right.double(),
                torch.as_tensor(len(targets), device=right.device).double(),
            ]
        )

    def _finish_epoch(self, state: TrainingState, started: float) -> None:
        loss, right, shown, _ = state.sums
        trained_on, self.network.spec = self.network.spec.size, self.spec
        _refuse_no_number("training", loss, state.epoch)
        images = self.data.pixels[self.data.validation]
        probability = probabilities(self.network, images, machine=self.machine)
        truth = self.data.classes[self.data.validation]
        validated = validate(probability, truth, self.objective)
        _refuse_no_number("validation", validated["validation_loss"], state.epoch)
        state.rows.append(
            {
                "epoch": state.epoch,
                "train_loss": loss / shown,
                "train_accuracy": right / shown,
                **validated,
                "size": float(trained_on),
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": time.monotonic() - started,
            }
        )
        if self._history(state).best_epoch == state.epoch:
            state.best = self._weights()
        state.epoch, state.step, state.sums = state.epoch + 1, 0, [0.0] * 4

    def _weights(self) -> dict[str, torch.Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}

    def _save(self, state: TrainingState) -> None:
        if self.loss.weights is not None:
            state.group_weights = self.loss.weights.values
        if self.state_path is not None:
            state.save(self.state_path, self.network, self.optimizer, self.identity)
        self._saved_at = time.monotonic()


def _refuse_no_number(of: str, loss: float, epoch: int) -> None:
    if not np.isfinite(loss):
        raise RunError(
            f"the {of} loss is {loss} in epoch {epoch}: the weights have left the range of "
            "numbers. Lower training.learning_rate, or set precision = 'float32'."
        )


def _note(state: TrainingState, choose_by: ChosenBy) -> str:
    if not state.rows:
        return f"epoch {state.epoch}"
    value = state.rows[-1][f"validation_{choose_by}"]
    shown = {
        ChosenBy.ACCURACY: f"{100 * value:.1f} %",
        ChosenBy.AUC: f"AUC {value:.3f}",
        ChosenBy.LOSS: f"loss {value:.4f}",
    }
    return f"epoch {state.epoch}, validation {shown[choose_by]}"


#: Share of all steps in which the cosine schedule rises.
WARM_UP = 0.05


def make_optimizer(
    parameters: Iterable[nn.Parameter], section: TrainingSection
) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe, in torch's fused form: one kernel for a step."""
    from torch import optim

    trained = [p for p in parameters if p.requires_grad]
    rate, decay = section.learning_rate, section.weight_decay
    if section.optimiser is Optimizer.SGD:
        return optim.SGD(trained, rate, momentum=section.momentum, weight_decay=decay, fused=True)
    adam = optim.AdamW if section.optimiser is Optimizer.ADAMW else optim.Adam
    return adam(trained, rate, eps=section.epsilon, weight_decay=decay, fused=True)


def learning_rate(
    section: TrainingSection, *, step: int, steps: int, losses: Sequence[float]
) -> float:
    """Return the learning rate of one step.

    It follows from the step and from the epochs before alone, so that a resumed training needs no
    state of a schedule.
    """
    if section.schedule is Schedule.PLATEAU:
        lowest, waited, reductions = math.inf, 0, 0
        for loss in losses:
            if loss < lowest:  # not-a-number is lower than nothing
                lowest, waited = loss, 0
            else:
                waited += 1
            if waited == section.plateau:
                waited, reductions = 0, reductions + 1
        return section.learning_rate / 10.0**reductions
    if section.schedule is Schedule.COSINE:
        rising = math.ceil(WARM_UP * steps)
        if step < rising:
            return section.learning_rate * ((step + 1) / rising)
        fallen = math.pi * (step - rising) / (steps - rising)
        return section.learning_rate * (0.5 * (1 + math.cos(fallen)))
    return section.learning_rate


def validate(
    probability: NDArray[np.float64], truth: NDArray[np.integer], objective: Objective
) -> dict[str, float]:
    """Return loss, accuracy and AUC under their names in `hurdles.training.history.COLUMNS`."""
    return {
        "validation_loss": objective.of_probabilities(probability, truth),
        "validation_accuracy": float((probability.argmax(1) == truth).mean()),
        "validation_auc": mean_auc(probability, truth),
    }


def mean_auc(probability: NDArray[np.float64], truth: NDArray[np.integer]) -> float:
    """Return the AUC of each class against the rest, averaged over the classes that are present."""
    present = np.unique(truth)
    if len(present) < 2 or np.isnan(probability).any():
        return float("nan")
    return float(np.mean([auc(truth == c, probability[:, c]) for c in present]))


def first_network(
    recipe: Recipe, spec: ModelSpec, start: StartingWeights | None, machine: Machine
) -> Network:
    """Return the network before its first step, on the machine's device."""
    import torch

    network = build(spec, seed=recipe.training.seed)
    if start is not None:
        from hurdles.models.starting import apply_start

        apply_start(network, start)
    if recipe.model.freeze:
        from hurdles.models.starting import freeze

        freeze(network, recipe.model.freeze)
    # oneDNN has no gradient of a batch normalization that keeps its statistics.
    frozen = not all(part.training for part in network.train().modules())
    network.opaque = network.takes_opaque and machine.has_opaque and not frozen
    if network.opaque:
        return network
    # mypy does not know this keyword of Module.to.
    return network.to(machine.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return] # stubs


def scaling_of(
    recipe: Recipe, data: TrainingData, start: StartingWeights | None, state_path: Path | None
) -> tuple[float, float]:
    """Return the mean and standard deviation that the network takes off pixels within [0, 1].

    They are those of the starting weights, or else what ``model.scaling`` says.
    """
    model = recipe.model
    if start is not None:
        if model.start is Start.SCRATCH:
            raise RecipeError(
                "model.start = 'scratch', but weights were given to start from. Set model.start = "
                "'imagenet' or 'run', or leave the weights out."
            )
        if model.origin not in {"", start.origin}:
            raise RecipeError(
                f"model.origin = '{model.origin[:12]}...', but the weights given to start from are "
                f"'{start.origin[:12]}...'. Give the weights that the recipe names, or clear "
                "model.origin."
            )
        return start.spec.mean, start.spec.std
    if model.start is not Start.SCRATCH:
        if state_path is None or not state_path.exists():
            raise RecipeError(
                f"model.start = '{model.start}', but no weights were given to start from. Give "
                "them (--encoder-from RUN), or set model.start = 'scratch'."
            )
        mean, std = TrainingState.scaling_in(state_path)
        return mean, std
    if model.scaling is Scaling.TRAINING:
        return pixel_scaling(data.pixels, data.train)
    return 0.0, 1.0


# Images at a time, so that a memory map larger than the memory will do.
_CHUNK = 256


def pixel_scaling(pixels: NDArray[np.uint8], positions: NDArray[np.integer]) -> tuple[float, float]:
    """Return the mean and the standard deviation of all pixels of some images, from 0 to 1.

    Bytes are counted by their value, so that sums are of integers and nothing depends on the order.
    """
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(positions), _CHUNK):
        chunk = pixels[positions[start : start + _CHUNK]]
        counts += np.bincount(chunk.reshape(-1), minlength=256)
    by_value: list[int] = counts.tolist()  # Python integers: squares overflow nowhere
    n = sum(by_value)
    total = sum(value * count for value, count in enumerate(by_value))
    squares = sum(value * value * count for value, count in enumerate(by_value))
    spread = n * squares - total * total
    if not spread:
        raise RecipeError(
            f"all {len(positions)} training images are of one and the same gray, which "
            "model.scaling = 'training' would divide by zero. Look at the images, or set 'none'."
        )
    return total / n / 255, math.sqrt(spread) / n / 255


def identity_of(
    recipe: Recipe, data: TrainingData, machine: Machine, start: StartingWeights | None
) -> str:
    """Return a hash of all that decides a training's bits; a saved state carries it."""
    import torch

    sections = {"preparation", "model", "augmentation", "training"}
    settings = recipe.model_dump(mode="json", include=sections)
    del settings["training"]["choose"]  # both epochs are kept, whichever is asked for
    if start is not None:
        settings["model"]["origin"] = start.origin
    # What changes the weights; rejecting images comes afterwards. Nothing enters without a remedy.
    remedies = recipe.remedy.model_dump(mode="json", exclude={"reject", "reject_by"})
    if recipe.remedy.needs_sources:
        settings["remedy"] = [remedies, data.origins.of.tolist(), data.origins.names]
    parts = {
        "settings": settings,
        "data": data.identity,
        "labels": data.labels,
        "machine": [
            str(machine.device),
            machine.format_name,
            machine.instructions,
            torch.__version__,
            torch.get_num_threads(),
        ],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
