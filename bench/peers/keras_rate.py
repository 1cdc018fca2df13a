"""The first network of Lázaro and Barco 2020 in Keras over TensorFlow, measured in images/s.

Arrays in memory, ``model.fit``, as in their notebook; stopped when the time is up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import keras
import numpy as np
from lazaro_barco_keras import as_seen, baseline

SIZE, BATCH, IMAGES = 224, 32, 512


class Clock(keras.callbacks.Callback):
    """Counts batches from the second of a fit on, and ends it when the time is up."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.steps = seconds, -1

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        """Look at the clock; the first batch waits for the pipeline."""
        self.steps += 1
        if self.steps == 0:
            self.began = time.perf_counter()
        self.spent = time.perf_counter() - self.began
        if self.steps and self.spent >= self.seconds:
            self.model.stop_training = True  # looked at after each batch


def rate() -> Callable[[float], float]:
    """Return a function that trains for so many seconds and returns images/s."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = as_seen(rng.integers(0, 256, (IMAGES, SIZE, SIZE), dtype=np.uint8))
    y = np.eye(3, dtype="float32")[rng.integers(0, 3, IMAGES)]
    model = baseline(SIZE, 3)
    model.fit(x[: 2 * BATCH], y[: 2 * BATCH], batch_size=BATCH, verbose=0)

    def turn(seconds: float) -> float:
        clock = Clock(seconds)
        model.fit(x, y, batch_size=BATCH, epochs=1000, callbacks=[clock], verbose=0)
        return clock.steps * BATCH / clock.spent

    return turn
