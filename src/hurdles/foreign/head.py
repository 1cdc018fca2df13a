"""A linear head on frozen features: multinomial logistic regression, and the model that it makes.

The features are standardized by the training images, and the strength of the ridge penalty is the
one with the lowest log-loss on the validation images; a feature that is the same in all training
images is not used. The regression is scikit-learn's.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hurdles.data.files import replacing
from hurdles.errors import ModelError

#: C of scikit-learn, the inverse strength of the penalty, strongest first.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_STEPS = 5000


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Weights of the regression: `weights` of shape (D, K) and `bias` (K) on standardized features.

    `losses` are the log-losses on validation images by strength; `unused` counts constant features.
    """

    labels: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    strength: float
    losses: Mapping[float, float]
    unused: int = 0

    def probabilities(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of every class, shape (n, K), for features of shape (n, D)."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ModelError(
                f"the head takes {len(self.mean)} features, not shape {features.shape}."
            )
        logits = (features.astype(np.float64) - self.mean) / self.scale @ self.weights + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def save(self, path: Path) -> Path:
        """Write the head (``.npz``, no pickle)."""
        with replacing(path) as part, part.open("wb") as stream:
            np.savez(
                stream,
                labels=np.array(self.labels, dtype=str),
                mean=self.mean,
                scale=self.scale,
                weights=self.weights,
                bias=self.bias,
                strength=np.array([self.strength]),
                losses=np.array(list(self.losses.items())),
                unused=np.array([self.unused]),
            )
        return path

    @classmethod
    def load(cls, path: Path) -> LinearHead:
        """Read what `save` wrote."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return cls(
                tuple(arrays["labels"].tolist()),
                arrays["mean"],
                arrays["scale"],
                arrays["weights"],
                arrays["bias"],
                float(arrays["strength"][0]),
                {float(c): float(loss) for c, loss in arrays["losses"]},
                int(arrays["unused"][0]),
            )
        except Exception as error:  # numpy raises whatever the bytes provoke
            raise ModelError(f"{path} is damaged ({error}); fit the head again.") from error


def fit_linear_head(
    train: NDArray[np.floating],
    train_labels: Sequence[str],
    validation: NDArray[np.floating],
    validation_labels: Sequence[str],
) -> LinearHead:
    """Fit a head on training images, its penalty chosen on validation images.

    Features have shapes (n, D) and (m, D); classes are those of the training images, in order.
    """
    names = np.asarray(train_labels, dtype=str)
    labels = tuple(np.unique(names).tolist())
    if len(labels) < 2:
        raise ModelError(f"all training images are of class {labels[0]!r}; two are needed.")
    held = np.asarray(validation_labels, dtype=str)
    judged = np.isin(held, labels)
    if not judged.any():
        raise ModelError(
            "no validation image is of a class of the training images, so the penalty cannot be "
            "chosen; name some images as validation."
        )
    mean = train.mean(axis=0, dtype=np.float64)
    deviation = train.std(axis=0, dtype=np.float64)
    varies = np.ptp(train, axis=0) > 0
    if not varies.any():
        raise ModelError("every feature is the same in all training images; nothing can be learnt.")
    scale = np.where(varies, deviation, 1.0)
    table = ((train - mean) / scale)[:, varies]
    heads = []
    for strength in STRENGTHS:
        weights = np.zeros((len(mean), len(labels)))
        weights[varies], bias = _fitted(table, names, strength)
        heads.append(LinearHead(labels, mean, scale, weights, bias, strength, {}))
    rows = np.arange(judged.sum()), np.searchsorted(labels, held[judged])
    losses = {
        head.strength: float(-np.log(head.probabilities(validation[judged])[rows] + 1e-300).mean())
        for head in heads
    }
    best = min(heads, key=lambda head: losses[head.strength])  # of equals the strongest penalty
    return replace(best, losses=losses, unused=int((~varies).sum()))


def _fitted(
    table: NDArray[np.float64], names: NDArray[np.str_], strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(table, names)
    weights, bias = model.coef_.T, model.intercept_
    if weights.shape[1] == 1:  # two classes: the log-odds of the second
        weights, bias = np.hstack([weights * 0, weights]), np.array([0.0, bias[0]])
    return np.asarray(weights), np.asarray(bias)


class FrozenModel:
    """A linear head with the features of certain images: a model that knows no others.

    An image is known by its pixels, uint8 of shape (size, size). An altered image has no features
    here, so hurdles that alter images could not run.
    """

    preparation = "raw"
    capabilities = frozenset({"features"})

    def __init__(self, name: str, head: LinearHead, *, size: int = 224) -> None:
        self.name, self.head, self.size = name, head, size
        self.labels = head.labels
        self._rows: dict[bytes, NDArray[np.float32]] = {}

    def know(self, pixels: NDArray[np.uint8], features: NDArray[np.float32]) -> None:
        """Add images of shape (n, size, size) with their features, (n, D)."""
        for image, row in zip(pixels, features, strict=True):
            self._rows[_digest(image)] = row

    def ask(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class, shape (n, K), of images that are known."""
        return self.head.probabilities(self.features(pixels, masks))

    def features(
        self,
        pixels: NDArray[np.uint8],
        masks: NDArray[np.bool_] | None = None,  # noqa: ARG002 - as models have it
    ) -> NDArray[np.float32]:
        """Return the features of images that are known, shape (n, D)."""
        rows = [self._rows.get(_digest(image)) for image in pixels]
        known = [row for row in rows if row is not None]
        if len(known) < len(rows):
            raise ModelError(
                f"{len(rows) - len(known)} of {len(rows)} images have no features: of {self.name} "
                "there is a table of features, and no encoder to be asked."
            )
        width = len(self.head.mean)
        return np.stack(known) if known else np.empty((0, width), dtype=np.float32)


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
