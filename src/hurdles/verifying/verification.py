"""Outcome of a verification: a line for everything that was held against something else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from hurdles.data.untrusted import notebook_table
from hurdles.findings.summary import ExitCode

__all__ = ["Line", "Outcome", "Verification"]

#: Stands below every verification.
REMARK = (
    "No image was looked at by a hurdle and no model asked again: that takes hurdles check, audit "
    "or evaluate. A digest notices a change; it is no signature, and says nothing of who made the "
    "file."
)


class Outcome(StrEnum):
    """Result of one comparison."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_CHECKED = "could not be checked"


@dataclass(frozen=True)
class Line:
    """One comparison.

    Parameters
    ----------
    outcome : Outcome
        Its result.
    of : str
        The things compared, in a few words.
    why : str
        Against what, in what it differs, or why it could not be checked.
    """

    outcome: Outcome
    of: str
    why: str


@dataclass(frozen=True)
class Verification:
    """All comparisons that were made of a file, and those that could not be made.

    Parameters
    ----------
    file : str
        The file, or the folder of a run, as it was given.
    lines : tuple of Line
        In the order in which they were made.
    """

    file: str
    lines: tuple[Line, ...]

    def of(self, outcome: Outcome | str) -> list[Line]:
        """Return the lines of one outcome."""
        return [line for line in self.lines if line.outcome is Outcome(outcome)]

    @property
    def exit_code(self) -> ExitCode:
        """0 where all agrees, 3 where something differs, 4 where something was not checked."""
        if self.of(Outcome.DIFFERS):
            return ExitCode.HIT
        return ExitCode.OPEN if self.of(Outcome.NOT_CHECKED) or not self.lines else ExitCode.NOTHING

    @property
    def tally(self) -> str:
        """Number of lines of each outcome, in a sentence."""
        agree, differ, left = (len(self.of(outcome)) for outcome in Outcome)
        words = [f"{agree} {'agrees' if agree == 1 else 'agree'}"]
        words.append(f"{differ} {'differs' if differ == 1 else 'differ'}")
        words.append(f"{left} could not be checked")
        return f"{', '.join(words)}."

    @property
    def frame(self) -> pd.DataFrame:
        """One row per line: ``outcome``, ``of``, ``why``."""
        rows = [(str(line.outcome), line.of, line.why) for line in self.lines]
        return pd.DataFrame(rows, columns=["outcome", "of", "why"])

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "file": self.file,
            "agrees": not self.of(Outcome.DIFFERS) and not self.of(Outcome.NOT_CHECKED),
            "tally": self.tally,
            "lines": self.frame.to_dict("records"),
            "remark": REMARK,
        }

    def _repr_html_(self) -> str:
        """Show every line."""
        rows = list(self.frame.itertuples(index=False, name=None))
        return notebook_table(f"Verification of {self.file}", ["", "", ""], rows, [REMARK])


def agrees(of: str, why: str) -> Line:
    """Return a comparison that agrees."""
    return Line(Outcome.AGREES, of, why)


def differs(of: str, why: str) -> Line:
    """Return a comparison that differs."""
    return Line(Outcome.DIFFERS, of, why)


def not_checked(of: str, why: str) -> Line:
    """Return a comparison that could not be made."""
    return Line(Outcome.NOT_CHECKED, of, why)


def of_all(of: str, good: str, faults: Iterable[str]) -> list[Line]:
    """Return a line for each fault, or one that says that there is none."""
    return [differs(of, fault) for fault in faults] or [agrees(of, good)]
