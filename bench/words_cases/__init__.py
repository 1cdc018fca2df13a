"""The cases of `bench/words.py`: one module a subject, one function a case.

A case is a function without arguments that returns, as one short line of text, what hurdles says or
does. It runs under whichever `hurdles` can be imported, today's or an earlier one, so it must not
need names that only one of them has: reach what changed through the command line (`command`), or
through what both of them have. What a case raises becomes its text.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["CASES", "Case", "Said", "case", "command"]


@dataclass(frozen=True)
class Case:
    """A small input with the right answer.

    Parameters
    ----------
    point : str
        The promise that it belongs to, in a few words; cases of one point stand together.
    what : str
        The input, in one line.
    right : str
        What is to be said or done.
    run : callable
        Returns what is said or done.
    holds : callable
        Whether a text is right; by default it must equal `right`.
    """

    point: str
    what: str
    right: str
    run: Callable[[], str]
    holds: Callable[[str], bool]

    @property
    def name(self) -> str:
        """Name by which a case is known from one version to another."""
        return f"{self.run.__module__.rpartition('.')[2]}.{self.run.__name__}"


class Said(NamedTuple):
    """What a command did: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


#: All cases by name, in the order in which their modules are imported.
CASES: dict[str, Case] = {}


def case(
    point: str, what: str, right: str, holds: Callable[[str], bool] | None = None
) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register a function as a case; parameters as for `Case`."""

    def keep(run: Callable[[], str]) -> Callable[[], str]:
        made = Case(point, what, right, run, holds or (lambda text: text == right))
        if made.name in CASES:
            raise ValueError(f"two cases are called {made.name}")
        CASES[made.name] = made
        return run

    return keep


def command(*words: str | os.PathLike[str], cwd: str | os.PathLike[str] | None = None) -> Said:
    """Run a command of hurdles in a process of its own; return its exit code and what it prints."""
    call = [sys.executable, "-c", "from hurdles.cli import main; main()", *map(str, words)]
    plain = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(call, cwd=cwd, env=plain, capture_output=True, text=True, check=False)
    return Said(done.returncode, done.stdout, done.stderr)
