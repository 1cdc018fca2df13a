"""Trainings that are cut off, and what it means that two of them are the same."""

from __future__ import annotations

import pandas as pd
import torch

from hurdles.progress import Silent
from hurdles.training.loop import Trained


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """What Ctrl-C or a full disk would be."""


class StopAt(Silent):
    """Raises at a step, counted over this session."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.said: list[str] = []
        self.notes: list[str] = []

    def advance(self, steps: int = 1, note: str = "") -> None:
        if note or steps == 1:
            self.notes.append(note)
            self.left -= 1
            if not self.left:
                raise Stopped

    def say(self, line: str) -> None:
        self.said.append(line)


def assert_same(one: Trained, two: Trained) -> None:
    """Compare every bit but the wall time."""
    histories = [t.history.frame.drop(columns="seconds") for t in (one, two)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert one.spec == two.spec
    for a, b in ((one.best, two.best), (one.last, two.last)):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


def differ(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Return whether any weight does."""
    return any(not torch.equal(one[k], two[k]) for k in one)
