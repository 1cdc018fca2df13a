"""What is minimised: cross-entropy or focal loss, with or without class weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.recipe.choices import ClassWeights, Loss
from hurdles.recipe.recipe import TrainingSection

if TYPE_CHECKING:
    import torch

__all__ = ["Objective", "balanced_weights", "focal_loss"]

# The log of a probability that was rounded to zero would be infinite.
_LEAST = 1e-12


class Objective:
    """The loss of a recipe: of logits while training, of probabilities on validation images.

    Parameters
    ----------
    section : TrainingSection
        The recipe's section: loss, gamma and class weights.
    counts : array of shape (K,)
        How many images of each class an epoch shows.
    device : torch.device or str
        Where the logits will live.
    """

    def __init__(
        self, section: TrainingSection, counts: NDArray[np.number], device: torch.device | str
    ) -> None:
        import torch

        self.gamma = section.gamma if section.loss is Loss.FOCAL else 0.0
        self.weights: NDArray[np.float64] | None = None
        self._weights: torch.Tensor | None = None
        if section.class_weights is ClassWeights.BALANCED:
            self.weights = balanced_weights(counts)
            self._weights = torch.tensor(self.weights, dtype=torch.float32, device=device)

    def of_logits(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, ready for ``backward``.

        An image's loss is multiplied by the weight of its class and the batch's mean taken over
        images, not over weights: a batch without rare images then moves the network less, and
        every image counts alike in whichever batch it comes.

        Parameters
        ----------
        logits : float32 tensor of shape (n, K)
        targets : int64 tensor of shape (n,)

        Returns
        -------
        scalar tensor, at least 0
        """
        from torch.nn.functional import cross_entropy

        if self._weights is None and not self.gamma:
            return cross_entropy(logits, targets)
        return self.of_images(logits, targets).mean()

    def of_images(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each image, float tensor (n,); arguments as for `of_logits`."""
        losses = focal_loss(logits, targets, gamma=self.gamma)
        return losses if self._weights is None else losses * self._weights[targets]

    def of_probabilities(
        self, probability: NDArray[np.float64], truth: NDArray[np.integer]
    ) -> float:
        """Return the same mean loss from probabilities.

        Parameters
        ----------
        probability : float array of shape (n, K)
            Rows that sum to one.
        truth : int array of shape (n,)
            True classes.
        """
        right = np.maximum(probability[np.arange(len(truth)), truth], _LEAST)
        losses = -np.log(right)
        if self.gamma:
            losses = losses * (1 - right) ** self.gamma
        if self.weights is not None:
            losses = losses * self.weights[truth]
        return float(losses.mean())


def focal_loss(logits: torch.Tensor, targets: torch.Tensor, *, gamma: float) -> torch.Tensor:
    """Return the focal loss of each image, -(1 - p)^gamma log p, with p that of the true class.

    Images that are named rightly with confidence hardly count; gamma = 0 is cross-entropy. Of two
    logits (0, z) it is the binary focal loss of Tartaglione et al. 2020 with sigmoid(z).

    Parameters
    ----------
    logits : float tensor of shape (n, K)
    targets : int64 tensor of shape (n,)
    gamma : float
        At least 0.

    Returns
    -------
    float tensor of shape (n,), in nats, at least 0

    References
    ----------
    Lin, Goyal, Girshick, He and Dollár 2017, Focal Loss for Dense Object Detection,
    arXiv 1708.02002, equation 4.

    Examples
    --------
    >>> import torch
    >>> logits, targets = torch.tensor([[0.0, 3.0], [0.0, 0.0]]), torch.tensor([1, 1])
    >>> [round(x, 5) for x in focal_loss(logits, targets, gamma=2.0).tolist()]
    [0.00011, 0.17329]
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

    Parameters
    ----------
    counts : array of shape (K,)
        Images of each class.

    Returns
    -------
    float64 array of shape (K,)

    Examples
    --------
    >>> balanced_weights(np.array([10, 30, 0]))
    array([2.        , 0.66666667, 1.        ])
    """
    present = counts > 0
    weights = np.ones(len(counts), dtype=np.float64)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
