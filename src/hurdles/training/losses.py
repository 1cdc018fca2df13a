"""The loss: cross-entropy or focal, class weights, group DRO, and features without the source.

Label smoothing (Szegedy et al. 2016, arXiv 1512.00567, section 7) is that of cross-entropy.

**Group DRO** (Sagawa, Koh, Hashimoto and Liang 2020, arXiv 1911.08731, algorithm 1). Each group of
class by source has a weight; in every step the weight of each group in the batch is multiplied by
``exp(step size * its mean loss)``, and all are scaled to sum to one. What is minimized is the sum
of the groups' mean losses, each times its weight: in the end that of the group that goes worst. The
weights belong to the saved state of a training. Groups are drawn equally often, as there, if the
recipe says ``sampling = "class-by-source"``; the remedy of that name does.

**EnD** (Tartaglione, Barbano and Grangetto 2021, CVPR, arXiv 2103.02023). Of the features that the
head is given, scaled to length one, the matrix of all cosines in the batch is formed. The
disentangling term is, for each source, the absolute sum of the cosines of its pairs of images, over
the number of such pairs in all: features of one source are to be orthogonal, whichever their class.
The entangling term is the mean of ``(1 - cosine) / 2`` over the pairs of one class and two sources:
what makes a class is to look alike wherever it comes from. Both are zero where a batch has no such
pair, and are added to the loss, each times its weight.

``remedy.unit_features`` is EnD as the authors' code has it, in two points (``EnD.py`` and
``models.py`` of EIDOSlab/entangling-disentangling-bias on GitHub). The features are scaled to
length one in the network itself, so that the head sees no lengths either, in training and in use.
And of the pairs of the second kind those count in which the later image of the batch has the
lower-numbered source: in batches of random order half of them, others in every step. Without it
every pair counts once, and the head sees the features as they are. Both weights are 0.1 in the
authors' own example; they advise to search them within 0 and 1. They end some encoders with tanh in
the place of ReLU, which is not done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.recipe.choices import ClassWeights, Loss
from hurdles.recipe.recipe import RemedySection, TrainingSection
from hurdles.training.plan import Groups, Sources

if TYPE_CHECKING:
    import torch

# The log of a probability that was rounded to zero would be infinite.
_LEAST = 1e-12


class Objective:
    """The loss of a recipe: of logits while training, of probabilities on validation images.

    `counts`, of shape (K,), says how many images of each class an epoch shows.
    """

    def __init__(
        self, section: TrainingSection, counts: NDArray[np.number], device: torch.device | str
    ) -> None:
        import torch

        self.gamma = section.gamma if section.loss is Loss.FOCAL else 0.0
        self.smoothing = section.label_smoothing
        self.weights: NDArray[np.float64] | None = None
        self._weights: torch.Tensor | None = None
        if section.class_weights is ClassWeights.BALANCED:
            self.weights = balanced_weights(counts)
            self._weights = torch.tensor(self.weights, dtype=torch.float32, device=device)

    def of_logits(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, of logits (n, K) and classes (n,).

        An image's loss is multiplied by the weight of its class and the batch's mean taken over
        images, not over weights: a batch without rare images then moves the network less, and
        every image counts alike in whichever batch it comes.
        """
        from torch.nn.functional import cross_entropy

        if self._weights is None and not self.gamma:
            return cross_entropy(logits, targets, label_smoothing=self.smoothing)
        return self.of_images(logits, targets).mean()

    def of_images(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image, float tensor (n,); arguments as for `of_logits`."""
        from torch.nn.functional import cross_entropy

        if self.smoothing:
            s = self.smoothing
            losses = cross_entropy(logits, targets, reduction="none", label_smoothing=s)
        else:
            losses = focal_loss(logits, targets, gamma=self.gamma)
        return losses if self._weights is None else losses * self._weights[targets]

    def of_probabilities(
        self, probability: NDArray[np.float64], truth: NDArray[np.integer]
    ) -> float:
        """Return the same mean loss of probabilities (n, K) whose rows sum to one."""
        right = np.maximum(probability[np.arange(len(truth)), truth], _LEAST)
        losses = -np.log(right)
        if self.smoothing:
            others = -np.log(np.maximum(probability, _LEAST)).mean(axis=1)
            losses = (1 - self.smoothing) * losses + self.smoothing * others
        if self.gamma:
            losses = losses * (1 - right) ** self.gamma
        if self.weights is not None:
            losses = losses * self.weights[truth]
        return float(losses.mean())


def focal_loss(logits: torch.Tensor, targets: torch.Tensor, *, gamma: float) -> torch.Tensor:
    """Return the focal loss of each image, -(1 - p)^gamma log p, with p that of the true class.

    Images that are named rightly with confidence hardly count; gamma = 0 is cross-entropy. Of two
    logits (0, z) it is the binary focal loss of Tartaglione et al. 2020 with sigmoid(z).

    Lin, Goyal, Girshick, He and Dollár 2017 (arXiv 1708.02002), equation 4; in nats.
    """
    import torch
    from torch.nn.functional import cross_entropy

    entropy = cross_entropy(logits, targets, reduction="none")
    # expm1 keeps the digits of 1 - p that p near one would lose. At p = 1 the slope of a power
    # below one is infinite, and infinite times zero no number: hence the smallest positive base.
    missing = (-torch.expm1(-entropy)).clamp(min=torch.finfo(entropy.dtype).tiny)
    return missing.pow(gamma) * entropy


def balanced_weights(counts: NDArray[np.number]) -> NDArray[np.float64]:
    """Return a weight for each class with which all classes weigh alike.

    They are inversely proportional to the counts, and their mean over the images is one, so that
    the learning rate means what it means without weights. A class without an image has weight one.
    """
    present = counts > 0
    weights = np.ones(len(counts), dtype=np.float64)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


class GroupWeights:
    """The weights of `n` groups in group DRO, equal at first, moved by steps of size `step`."""

    def __init__(self, n: int, step: float, device: torch.device | str) -> None:
        import torch

        self.step = step
        self._weights = torch.full((n,), 1 / n, dtype=torch.float64, device=device)

    @property
    def values(self) -> list[float]:
        """The weights, which sum to one."""
        return [float(w) for w in self._weights.tolist()]

    @values.setter
    def values(self, weights: list[float]) -> None:
        import torch

        self._weights = torch.tensor(weights, dtype=torch.float64, device=self._weights.device)

    def robust(self, losses: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Move the weights by a batch, and return its loss by the new ones."""
        import torch

        # A product with zeros and ones: scattered sums have no fixed order on an accelerator.
        member = torch.nn.functional.one_hot(groups, len(self._weights)).to(losses.dtype)
        counts = member.sum(0)
        means = (losses @ member) / counts.clamp(min=1)
        with torch.no_grad():
            moved = self._weights * torch.exp(self.step * means.double())  # an absent group: by 1
            self._weights = moved / moved.sum()
        return (means * self._weights.to(means.dtype)).sum()


class StepLoss:
    """The loss of a step: the objective, as the remedies weigh and supplement it.

    `sources` are those of all prepared images, `groups` those of the training images, whose
    positions among all are `train`.
    """

    def __init__(
        self,
        objective: Objective,
        section: RemedySection,
        sources: Sources,
        groups: Groups,
        train: NDArray[np.int64],
        device: torch.device | str,
    ) -> None:
        self.objective = objective
        self.section = section
        self.weights: GroupWeights | None = None
        self._sources = sources.of
        self._groups = np.full(len(sources.of), -1, dtype=np.int64)
        self._groups[train] = groups.of
        self._device = device
        if section.group_dro:
            self.weights = GroupWeights(len(groups), section.group_dro, device)

    def __call__(
        self,
        logits: torch.Tensor,
        features: torch.Tensor,
        targets: torch.Tensor,
        positions: NDArray[np.integer],
    ) -> torch.Tensor:
        """Return the loss of a batch, ready for ``backward``."""
        if self.weights is None:
            loss = self.objective.of_logits(logits, targets)
        else:
            losses = self.objective.of_images(logits, targets)
            loss = self.weights.robust(losses, self._on_device(self._groups[positions]))
        a, b = self.section.disentangle, self.section.entangle
        if not (a or b):
            return loss
        sources = self._on_device(self._sources[positions])
        wide, coded = features.float().flatten(1), self.section.unit_features
        alike = entangling(wide, targets, sources, as_coded=coded)
        return loss + a * disentangling(wide, sources) + b * alike

    def _on_device(self, numbers: NDArray[np.int64]) -> torch.Tensor:
        import torch

        return torch.from_numpy(numbers.copy()).to(self._device)


def disentangling(features: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """Return how alike the features of one source are: 0 where they are orthogonal on average."""
    import torch

    one = torch.nn.functional.one_hot(sources, int(sources.max()) + 1).to(features.dtype)
    cosines, pairs = _pairs(features)
    pairs = pairs * (sources[:, None] == sources[None, :])
    # Row i of each source's members: the sum over its pairs, then its absolute value.
    sums = (one * ((cosines * pairs) @ one)).sum(0)
    return sums.abs().sum() / pairs.sum().clamp(min=1)


def entangling(
    features: torch.Tensor,
    classes: torch.Tensor,
    sources: torch.Tensor,
    *,
    as_coded: bool = False,
) -> torch.Tensor:
    """Return how unlike the features of one class are across sources: 0 where they are parallel.

    `as_coded` counts the pairs that the authors' code counts, about half of them.
    """
    cosines, pairs = _pairs(features)
    one, two = sources[:, None], sources[None, :]  # of the later image, of the earlier one
    pairs = pairs * (classes[:, None] == classes[None, :]) * (one < two if as_coded else one != two)
    return ((1 - cosines) / 2 * pairs).sum() / pairs.sum().clamp(min=1)


def _pairs(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cosines of all features, and ones below the diagonal: every pair once."""
    import torch

    directions = torch.nn.functional.normalize(features, dim=1)
    cosines = directions @ directions.T
    return cosines, torch.ones_like(cosines).tril(-1)
