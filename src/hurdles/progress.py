"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Somebody who listens: a progress bar, a log, or nobody."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` steps; the one before it is over."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that `steps` more are done, and what is worth a glance."""

    def say(self, line: str) -> None:
        """Say one line that should stay on the screen."""


class Silent:
    """Nobody listens: the library's default."""

    def start(self, stage: str, total: int) -> None:
        """Do nothing."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""
