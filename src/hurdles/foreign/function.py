"""A model that is a function: from gray images to probabilities, in the caller's own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.data.untrusted import listed
from hurdles.errors import ModelError

__all__ = ["FunctionModel"]

#: A row of probabilities may miss 1 by this much: half precision does.
_SUM = 0.01


class FunctionModel:
    """A classifier that is any function of images.

    Parameters
    ----------
    function : callable
        Takes float32 of shape (n, size, size), 0 black and 1 white, and returns the probability of
        every class, shape (n, K), within [0, 1], rows that sum to one.
    labels : sequence of str
        The classes, in the order of the columns, two or more.
    size : int, default 224
        Side of the images.
    name : str, optional
        As a reader calls it. Default: the function's own name.
    batch : int, default 64
        Images at a time.

    Raises
    ------
    ModelError
        If there are fewer than two classes, or one twice, or `size` is below 16.

    Examples
    --------
    >>> bright = FunctionModel(lambda x: np.stack([x.mean((1, 2)), 1 - x.mean((1, 2))], axis=1),
    ...                        ["COVID-19", "Normal"], size=32)
    >>> bright.ask(np.full((1, 32, 32), 255, np.uint8)).tolist()
    [[1.0, 0.0]]
    """

    preparation = "raw"
    capabilities = frozenset({"answers"})

    def __init__(
        self,
        function: Callable[[NDArray[np.float32]], ArrayLike],
        labels: Sequence[str],
        *,
        size: int = 224,
        name: str | None = None,
        batch: int = 64,
    ) -> None:
        self.function, self.labels, self.size, self.batch = function, tuple(labels), size, batch
        if isinstance(labels, str) or len(set(self.labels)) < max(2, len(self.labels)):
            given = labels if isinstance(labels, str) else listed(self.labels, 8)
            raise ModelError(f"a model tells two or more classes apart, not {given}.")
        if size < 16 or batch < 1:
            raise ModelError(f"size is {size}, batch {batch}; give 16 or more, and 1 or more.")
        self.name = str(name or getattr(function, "__name__", type(function).__name__))

    def ask(
        self,
        pixels: NDArray[np.uint8],
        masks: NDArray[np.bool_] | None = None,  # noqa: ARG002 - a function is given images only
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class, float64 (n, K), of uint8 (n, size, size).

        Raises
        ------
        ModelError
            If the function fails, or what it returns are no probabilities of these images.
        """
        starts = range(0, len(pixels), self.batch)
        answers = [self._answer(pixels[k : k + self.batch]) for k in starts]
        return np.concatenate(answers) if answers else np.empty((0, len(self.labels)))

    def _answer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        try:
            given = self.function(pixels.astype(np.float32) / np.float32(255))
            answer = np.asarray(given)
            if np.iscomplexobj(answer):
                raise TypeError("it returns complex numbers")
            answer = answer.astype(np.float64)
        except (Exception, SystemExit) as error:  # a model's exit would end its caller in silence
            raise ModelError(
                f"{self.name} fails on {len(pixels)} images of float32, shape "
                f"{pixels.shape}, within [0, 1]: {type(error).__name__}: {error}"
            ) from error
        wanted = (len(pixels), len(self.labels))
        if answer.shape != wanted:
            raise ModelError(
                f"{self.name} returns shape {answer.shape} for {len(pixels)} images; the "
                f"{len(self.labels)} classes ({', '.join(self.labels)}) need {wanted}, a column a "
                "class."
            )
        if not np.isfinite(answer).all():
            row = int(np.flatnonzero(~np.isfinite(answer).all(axis=1))[0])
            raise ModelError(f"{self.name} returns {answer[row].tolist()} for an image.")
        low, high, sums = answer.min(), answer.max(), answer.sum(axis=1)
        if low < -1e-6 or high > 1 + 1e-6 or np.abs(sums - 1).max() > _SUM:
            raise ModelError(
                f"{self.name} returns numbers within {low:.4g} and {high:.4g} whose rows sum to "
                f"{sums.min():.4g} to {sums.max():.4g}; probabilities of exclusive classes lie "
                "within 0 and 1 and sum to 1. Of logits return the softmax; of one finding return "
                "p and 1 - p."
            )
        answer = np.clip(answer, 0, 1)
        return np.asarray(answer / answer.sum(axis=1, keepdims=True))
