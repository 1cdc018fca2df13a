"""The grid of cells, and the measurement of one of them in a worker."""

from __future__ import annotations

import importlib
import itertools
import os
import time
import tomllib
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tally import PARTS, Tally

HERE = Path(__file__).parent
MODULES = ("areas", "conditionals", "hurdle_tests", "models", "probabilities", "shares")


@dataclass(frozen=True)
class Cell:
    """One population, and what is measured on sets drawn from it."""

    part: str  # title of the part
    run: str  # name of the function that draws
    settings: dict[str, Any] = field(hash=False)

    @property
    def name(self) -> str:
        """The settings in words."""
        return ", ".join(f"{key} {_written(value)}" for key, value in self.settings.items())

    @property
    def key(self) -> str:
        """Part and settings, which no other cell has."""
        return f"{self.part}: {self.name}"


def _written(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def cells(path: Path = HERE / "grid.toml") -> list[Cell]:
    """Return every cell of the grid, in its order."""
    found = []
    for part in tomllib.loads(path.read_text(encoding="utf-8"))["part"]:
        fixed = {k: v for k, v in part.items() if k not in ("title", "run", "over")}
        over = part["over"]
        for values in itertools.product(*over.values()):
            settings: dict[str, Any] = {}
            for axis, value in zip(over, values, strict=True):
                settings |= value if isinstance(value, dict) else {axis: value}
            found.append(Cell(part["title"], part["run"], settings | fixed))
    keys = [cell.key for cell in found]
    if twice := {key for key in keys if keys.count(key) > 1}:  # one would hide the other
        raise SystemExit(f"two cells are called {', '.join(sorted(twice))}")
    return found


def measured(cell: Cell, sets: int, seed: int) -> dict[str, Any]:
    """Return what a cell shows, as a line of the journal."""
    started, tally = time.process_time(), Tally()
    rng = np.random.default_rng([seed, zlib.crc32(cell.key.encode())])
    PARTS[cell.run](tally, rng, sets, **cell.settings)
    seconds = round(time.process_time() - started, 1)
    settings = {"sets": sets, "seed": seed, "seconds": seconds}
    return {"part": cell.part, "cell": cell.name, **settings, "rows": list(tally.rows())}


def ready() -> None:
    """Make a worker one that gives way, computes on one thread and knows all parts."""
    os.nice(19)
    from draws import in_one_order

    for module in MODULES:
        importlib.import_module(module)
    in_one_order()
