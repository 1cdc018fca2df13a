"""How the lung network is trained, as data."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from hurdles.errors import RecipeError


@dataclass(frozen=True)
class LungRecipe:
    """Every setting that the weights depend on, beside the data.

    Parameters
    ----------
    width : int
        Channels of the first level, see `hurdles.lungs.network.LungNet`.
    epochs : int
        Rounds of `images` altered images each; the network is validated after each.
    calm_epochs : int
        Further rounds, in which most images are hardly altered: outlines become exact once the
        network knows what lungs may look like. May be 0.
    calm : float
        Share of the images of those rounds that are hardly altered, within [0, 1].
    images : int
        Altered images in an epoch: one number for small and large collections, so that the same
        recipe means the same amount of training.
    batch_size : int
        Images in a step.
    learning_rate : float
        Its peak: AdamW (Loshchilov and Hutter, arXiv:1711.05101) climbs to it over the first
        `warm_up` of the steps of `epochs` and comes down in a half cosine to zero; the calm
        rounds come down once more from a tenth of it.
    warm_up : float
        Share of those steps, within (0, 1).
    weight_decay : float
        Of AdamW.
    seed : int
        Of the split, the first weights and every alteration.
    fractions : tuple of three floats
        Shares of patients for training, validation and test, where the data have no split.

    Raises
    ------
    RecipeError
        If a number is out of its range.

    Examples
    --------
    >>> LungRecipe(epochs=3, calm_epochs=1).steps
    120
    """

    width: int = 16
    epochs: int = 60
    calm_epochs: int = 12
    calm: float = 0.75
    images: int = 480
    batch_size: int = 16
    learning_rate: float = 3e-3
    warm_up: float = 0.1
    weight_decay: float = 0.02
    seed: int = 0
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)

    def __post_init__(self) -> None:
        for name in ("width", "epochs", "images", "batch_size"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if not 0 < self.learning_rate < 1:
            raise RecipeError(f"learning_rate is {self.learning_rate}; it must be within (0, 1).")
        if not 0 < self.warm_up < 1:
            raise RecipeError(f"warm_up is {self.warm_up}; it must be within (0, 1).")
        if not 0 <= self.calm <= 1:
            raise RecipeError(f"calm is {self.calm}; it must be within [0, 1].")
        for name in ("calm_epochs", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must not be negative.")

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in an epoch; the last batch may be smaller."""
        return -(-self.images // self.batch_size)

    @property
    def all_epochs(self) -> int:
        """Rounds in all, the calm ones last."""
        return self.epochs + self.calm_epochs

    @property
    def steps(self) -> int:
        """Steps of the optimiser in all."""
        return self.all_epochs * self.steps_per_epoch

    def to_json(self) -> str:
        """Return every setting as one line of JSON, which goes with the weights."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)
