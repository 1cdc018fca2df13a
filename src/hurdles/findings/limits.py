"""Limits that ship with hurdles: data beside the code, each with its source.

``limits.toml`` holds one table per hurdle, and in it one limit for all its subjects or one for
each; a margin that stands beside the subjects is that of all of them. Limits that rest on a
simulation are written by ``hurdles calibrate-audit``, which leaves margins as they are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path

from hurdles.data.inputs import Input, Role
from hurdles.errors import RecipeError
from hurdles.findings.finding import Limit
from hurdles.findings.table import Findings

#: Begins the source of a limit that ``hurdles calibrate-audit`` has set.
CALIBRATED = "calibrate-audit"
#: Begins the source of a limit that no calibration can move.
_DEFINED = "by definition"


def limit_for(hurdle: str, subject: str = "") -> Limit:
    """Return the shipped limit of a hurdle's subject, or that of all its subjects."""
    limits = load_limits()
    limit = limits.get((hurdle, subject)) or limits.get((hurdle, ""))
    if limit is None:
        raise RecipeError(
            f"limits.toml has no limit for the hurdle {hurdle!r} ({subject or 'any subject'}); "
            "give its findings a Limit of their own, with its source."
        )
    return limit


def judged_again(findings: Findings) -> Findings:
    """Return findings of any version held against the calibrated limits that ship now.

    Nothing is computed anew; limits that hold by definition, and those of one's own hurdles, stay.
    """
    shipped = load_limits().items()
    calibrated = {hurdle for (hurdle, _), limit in shipped if limit.source.startswith(CALIBRATED)}
    rows = tuple(
        replace(row, limit=limit_for(row.hurdle, row.subject))
        if row.limit is not None
        and row.hurdle in calibrated
        and not row.limit.source.startswith(_DEFINED)
        else row
        for row in findings.rows
    )
    return replace(findings, rows=rows)


def load_limits(path: Path | None = None) -> Mapping[tuple[str, str], Limit]:
    """Return all limits of a file by hurdle and subject; without one, those that ship."""
    if path is None:
        return _shipped()
    return _parsed(path.read_text(encoding="utf-8"), str(path))


def limits_input() -> Input:
    """Return the limits that ship, as an input of whatever is held against them."""
    with resources.as_file(resources.files("hurdles.findings") / "limits.toml") as path:
        return Input.of_file(Role.LIMITS, path)


@cache
def _shipped() -> Mapping[tuple[str, str], Limit]:
    file = resources.files("hurdles.findings") / "limits.toml"
    return _parsed(file.read_text(encoding="utf-8"), "limits.toml")


def _parsed(text: str, where: str) -> dict[tuple[str, str], Limit]:
    limits = {}
    try:
        for hurdle, table in tomllib.loads(text).items():
            shared = {key: value for key, value in table.items() if not isinstance(value, dict)}
            entries = {"": table} if "value" in table else table
            for subject, entry in entries.items():
                if isinstance(entry, dict):
                    limits[hurdle, subject] = Limit(**(shared | entry))
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise RecipeError(f"{where} holds no limits: {error}") from error
    return limits
