"""How the weights are moved, and how fast at which step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hurdles.recipe.choices import Optimiser, Schedule
from hurdles.recipe.recipe import TrainingSection

if TYPE_CHECKING:
    import torch
    from torch import nn

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
