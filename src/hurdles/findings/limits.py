"""The limits that ship with hurdles: data beside the code, each with its source.

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
from typing import Any

from hurdles.errors import RecipeError
from hurdles.findings.finding import Limit
from hurdles.findings.table import Findings

__all__ = ["CALIBRATED", "judged_again", "limit_for", "load_limits"]

#: How the source of a limit begins that ``hurdles calibrate-audit`` has set.
CALIBRATED = "calibrate-audit"


def limit_for(hurdle: str, subject: str = "") -> Limit:
    """Return the shipped limit of a hurdle.

    Parameters
    ----------
    hurdle : str
        Its name.
    subject : str
        Of what; a hurdle may have one limit for all.

    Raises
    ------
    RecipeError
        If none ships.

    Examples
    --------
    >>> limit_for("duplicates").value
    0.0
    """
    limits = load_limits()
    found = limits.get((hurdle, subject)) or limits.get((hurdle, ""))
    if found is None:
        raise RecipeError(
            f"limits.toml has no limit for the hurdle {hurdle!r} ({subject or 'any subject'}); "
            "give its findings a Limit of their own, with its source."
        )
    return found


def judged_again(findings: Findings) -> Findings:
    """Return findings held against the calibrated limits that ship now; nothing is computed anew.

    Limits that hold by definition, and those of one's own hurdles, stay as they were.

    Parameters
    ----------
    findings : Findings
        Found by any version.
    """
    shipped = load_limits().items()
    calibrated = {hurdle for (hurdle, _), limit in shipped if limit.source.startswith(CALIBRATED)}
    rows = tuple(
        replace(row, limit=limit_for(row.hurdle, row.subject))
        if row.limit is not None and row.hurdle in calibrated
        else row
        for row in findings.rows
    )
    return replace(findings, rows=rows)


def load_limits(path: Path | None = None) -> Mapping[tuple[str, str], Limit]:
    """Return all limits of a file by hurdle and subject; without one, those that ship.

    Raises
    ------
    RecipeError
        If the file is not TOML or a limit in it lacks something.
    """
    if path is None:
        return _shipped()
    return _parsed(path.read_text(encoding="utf-8"), str(path))


@cache
def _shipped() -> Mapping[tuple[str, str], Limit]:
    file = resources.files("hurdles.findings") / "limits.toml"
    return _parsed(file.read_text(encoding="utf-8"), "limits.toml")


def _parsed(text: str, where: str) -> dict[tuple[str, str], Limit]:
    try:
        tables = tomllib.loads(text)
        return {
            (hurdle, subject): Limit(**entry)
            for hurdle, table in tables.items()
            for subject, entry in _entries(table)
        }
    except (TypeError, ValueError, RecursionError) as error:
        raise RecipeError(f"{where} holds no limits: {error}") from error


def _entries(table: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if "value" in table:
        return [("", table)]
    shared = {key: value for key, value in table.items() if not isinstance(value, dict)}
    return [(k, {**shared, **value}) for k, value in table.items() if isinstance(value, dict)]
