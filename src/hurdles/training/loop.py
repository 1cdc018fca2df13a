"""The training loop, readable top to bottom.

How the weights are moved, and how fast at which step.

What an epoch achieved on the validation images.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import RunError
from hurdles.evaluation.statistics import auc
from hurdles.models.spec import ModelSpec
from hurdles.pixels.augment import apply_draws
from hurdles.progress import Progress, Silent
from hurdles.recipe.choices import ChosenBy, Optimiser, Schedule
from hurdles.recipe.recipe import Recipe, TrainingSection
from hurdles.training.checkpoint import TrainingState
from hurdles.training.history import History
from hurdles.training.losses import Objective, StepLoss
from hurdles.training.machine import Machine, deterministic, this_machine
from hurdles.training.plan import (
    EpochPlanner,
    Sources,
    balance_of,
    groups_of,
    require_sources,
    warning_of,
)
from hurdles.training.prediction import as_input, probabilities
from hurdles.training.start import first_network, identity_of, scaling_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hurdles.models.starting import StartingWeights


#: Share of all steps in which the cosine schedule rises.
WARM_UP = 0.05


def make_optimiser(
    parameters: Iterable[nn.Parameter], section: TrainingSection
) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe, in torch's fused form: one kernel for a step.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(2, 2)
    >>> make_optimiser(layer.parameters(), TrainingSection(optimiser="sgd", momentum=0.9)).defaults[
    ...     "momentum"
    ... ]
    0.9
    """
    from torch import optim

    trained = [p for p in parameters if p.requires_grad]
    rate, decay = section.learning_rate, section.weight_decay
    if section.optimiser is Optimiser.SGD:
        return optim.SGD(trained, rate, momentum=section.momentum, weight_decay=decay, fused=True)
    adam = optim.AdamW if section.optimiser is Optimiser.ADAMW else optim.Adam
    return adam(trained, rate, eps=section.epsilon, weight_decay=decay, fused=True)


def learning_rate(
    section: TrainingSection, *, step: int, steps: int, losses: Sequence[float]
) -> float:
    """Return the learning rate of one step.

    It follows from the step and from the epochs before alone, so that a resumed training needs no
    state of a schedule.

    Examples
    --------
    >>> section = TrainingSection(learning_rate=0.1, schedule="plateau", plateau=2)
    >>> learning_rate(section, step=40, steps=100, losses=[0.5, 0.4, 0.4])
    0.1
    >>> round(learning_rate(section, step=50, steps=100, losses=[0.5, 0.4, 0.4, 0.6]), 6)
    0.01
    """
    if section.schedule is Schedule.PLATEAU:
        return section.learning_rate / 10.0 ** _reductions(losses, section.plateau)
    if section.schedule is Schedule.COSINE:
        return section.learning_rate * _cosine(step, steps)
    return section.learning_rate


def _reductions(losses: Sequence[float], patience: int) -> int:
    lowest, waited, reductions = math.inf, 0, 0
    for loss in losses:
        if loss < lowest:  # not-a-number is lower than nothing
            lowest, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            waited, reductions = 0, reductions + 1
    return reductions


def _cosine(step: int, steps: int) -> float:
    rising = math.ceil(WARM_UP * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def validate(
    probability: NDArray[np.float64], truth: NDArray[np.integer], objective: Objective
) -> dict[str, float]:
    """Return loss, accuracy and AUC under their names in `hurdles.training.history.COLUMNS`."""
    return {
        "validation_loss": objective.of_probabilities(probability, truth),
        "validation_accuracy": float((probability.argmax(1) == truth).mean()),
        "validation_auc": macro_auc(probability, truth),
    }


def macro_auc(probability: NDArray[np.float64], truth: NDArray[np.integer]) -> float:
    """Return the AUC of each class against the rest, averaged over the classes that are present.

    Examples
    --------
    >>> said = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9]])
    >>> macro_auc(said, np.array([0, 0, 1, 1]))
    0.75
    """
    present = np.unique(truth)
    if len(present) < 2 or np.isnan(probability).any():
        return float("nan")
    return float(np.mean([auc(truth == c, probability[:, c]) for c in present]))


#: Seconds between two saved states: what a kill costs at most.
SAVE_EVERY = 60.0


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The pixels of a manifest, and which of them are for what.

    Parameters
    ----------
    pixels : uint8 array of shape (N, size, size)
        Prepared pixels; a memory map will do.
    classes : int array of shape (N,)
        Class of each image, as an index into `labels`.
    labels : tuple of str
        The classes.
    train, validation : int arrays
        Positions of the images of each part.
    identity : str
        Hash of the manifest, so that a resumed training meets the same data.
    sources : Sources, optional
        Where each image comes from, for remedies that need it; None: not known of any.
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
    """A finished training.

    Parameters
    ----------
    best, last : dict of str to Tensor
        Weights of the epoch that was best on the validation images, and of the last one.
    history : History
        The way there, one row per epoch.
    spec : ModelSpec
        What is needed beside the weights to build the network and feed it.
    """

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
        model = recipe.model
        size = recipe.preparation.size
        self.spec = ModelSpec(
            model.architecture, data.labels, size, model.channels, model.hidden, mean, std
        )
        origins = data.origins
        seen = Sources(origins.of[data.train], origins.names)
        require_sources(recipe.remedy, [origins.names[s] for s in seen.of])
        groups = groups_of(data.classes[data.train], seen, data.labels)
        self.planner = EpochPlanner(
            data.train,
            data.classes[data.train],
            data.labels,
            recipe.augmentation,
            self.settings.seed,
            balance_of(recipe.remedy, seen, groups),
        )
        self.network = first_network(recipe, self.spec, start, self.machine)
        self.optimiser = make_optimiser(self.network.parameters(), self.settings)
        counts = self.planner.counts(len(data.labels))
        self.objective = Objective(self.settings, counts, self.machine.device)
        device = self.machine.device
        self.loss = StepLoss(self.objective, recipe.remedy, origins, groups, data.train, device)
        self.warning = warning_of(recipe.remedy, groups)
        self.steps = -(-len(self.planner) // self.settings.batch_size)

    def run(self) -> Trained:
        import torch

        state = self._begin()
        self._saved_at = time.monotonic()
        done = (state.epoch - 1) * self.steps + state.step
        self.progress.start("Training", self.settings.epochs * self.steps)
        if self.warning:
            self.progress.say(self.warning)
        if done:
            self.progress.advance(done)
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
        last = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}
        return Trained(state.best, last, self._history(state), self.spec)

    def _history(self, state: TrainingState) -> History:
        return History.from_rows(state.rows, self.settings.choose_by)

    def _begin(self) -> TrainingState:
        if self.state_path is None or not self.state_path.exists():
            return TrainingState(scaling=[self.spec.mean, self.spec.std])
        state = TrainingState.load(self.state_path, self.network, self.optimiser, self.identity)
        if self.loss.weights is not None:
            self.loss.weights.values = state.group_weights
        return state

    def _has_stalled(self, state: TrainingState) -> bool:
        if not self.settings.patience or not state.rows:
            return False
        return len(state.rows) - self._history(state).best_epoch >= self.settings.patience

    def _epoch(self, state: TrainingState) -> None:
        draws, classes = self.planner.epoch(state.epoch)
        started = time.monotonic() - state.sums[3]
        self.network.train()
        totals = self._totals(state)
        for step, images, targets, positions in self._batches(draws, classes, state.step):
            self._set_rate(state, step)
            seed = _mix(self.settings.seed, state.epoch, step)
            totals += self._step(images, targets, positions, seed=seed)
            state.step = step + 1
            self.progress.advance(1, _note(state, self.settings.choose_by))
            if time.monotonic() - self._saved_at > SAVE_EVERY:
                state.sums = [*totals.tolist(), time.monotonic() - started]
                self._save(state)
        state.sums = [*totals.tolist(), time.monotonic() - started]
        self._finish_epoch(state, started)
        self._save(state)

    def _totals(self, state: TrainingState) -> torch.Tensor:
        import torch

        return torch.tensor(state.sums[:3], dtype=torch.float64, device=self.machine.device)

    def _batches(
        self, draws: NDArray[np.void], classes: NDArray[np.int64], first: int
    ) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, NDArray[np.int64]]]:
        import torch

        size = self.settings.batch_size
        for step in range(first, self.steps):
            chunk = slice(step * size, (step + 1) * size)
            images = apply_draws(self.data.pixels, draws[chunk])
            targets = torch.from_numpy(classes[chunk].copy()).to(self.machine.device)
            yield step, as_input(images, self.machine.device), targets, draws["position"][chunk]

    def _step(
        self,
        images: torch.Tensor,
        targets: torch.Tensor,
        positions: NDArray[np.int64],
        *,
        seed: int,
    ) -> torch.Tensor:
        import torch

        torch.manual_seed(seed)  # dropout; run() keeps the caller's generator apart
        self.optimiser.zero_grad(set_to_none=True)
        with self.machine.mixed():
            features = self.network.features(images)
            logits = self.network.logits(features)
        loss = self.loss(logits.float(), features, targets, positions)
        loss.backward()  # type: ignore[no-untyped-call] # untyped in torch
        self.optimiser.step()
        right = (logits.argmax(1) == targets).sum()
        return torch.stack(
            [
                loss.detach().double() * len(targets),
                right.double(),
                torch.as_tensor(len(targets), device=right.device).double(),
            ]
        )

    def _finish_epoch(self, state: TrainingState, started: float) -> None:
        loss, right, seen, _ = state.sums
        _refuse_no_number("training", loss, state.epoch)
        validated = self._validate()
        _refuse_no_number("validation", validated["validation_loss"], state.epoch)
        rate = self.optimiser.param_groups[0]["lr"]
        state.rows.append(
            {
                "epoch": state.epoch,
                "train_loss": loss / seen,
                "train_accuracy": right / seen,
                **validated,
                "learning_rate": rate,
                "seconds": time.monotonic() - started,
            }
        )
        if self._history(state).best_epoch == state.epoch:
            state.best = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}
        state.epoch, state.step, state.sums = state.epoch + 1, 0, [0.0] * 4

    def _validate(self) -> dict[str, float]:
        images = self.data.pixels[self.data.validation]
        truth = self.data.classes[self.data.validation]
        probability = probabilities(self.network, images, machine=self.machine)
        return validate(probability, truth, self.objective)

    def _set_rate(self, state: TrainingState, step: int) -> None:
        rate = learning_rate(
            self.settings,
            step=(state.epoch - 1) * self.steps + step,
            steps=self.settings.epochs * self.steps,
            losses=[row["validation_loss"] for row in state.rows],
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _save(self, state: TrainingState) -> None:
        if self.loss.weights is not None:
            state.group_weights = self.loss.weights.values
        if self.state_path is not None:
            state.save(self.state_path, self.network, self.optimiser, self.identity)
        self._saved_at = time.monotonic()


def _refuse_no_number(of: str, loss: float, epoch: int) -> None:
    if not np.isfinite(loss):
        raise RunError(
            f"the {of} loss is {loss} in epoch {epoch}: the weights have left the range of "
            "numbers. Lower training.learning_rate, or set precision = 'float32'."
        )


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


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
