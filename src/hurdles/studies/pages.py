"""The page of a study: a template in Markdown, filled from the tables of whatever is done."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hurdles.data.untrusted import shown
from hurdles.errors import RecipeError
from hurdles.evaluation import sample_size
from hurdles.evaluation.bounds import wilson
from hurdles.recipe.remedies import REMEDIES
from hurdles.reporting.findings import together
from hurdles.studies.published import PUBLISHED_COLUMNS
from hurdles.studies.state import State
from hurdles.studies.tables import inside_of
from hurdles.training.machine import in_words

if TYPE_CHECKING:
    from jinja2 import Environment


def page_of(state: State, tables: Mapping[str, pd.DataFrame], pictures: Mapping[str, Path]) -> str:
    """Return the page of whatever is done."""
    return rendered(
        state.grid.page,
        folder=state.grid.folder,
        study=state.grid,
        profile=state.profile,
        explanation=state.grid.profile(state.profile).explanation,
        cells=_cells(state),
        sets=test_sets(state),
        inside=inside_of(state),
        tables={name: records(table) for name, table in tables.items()},
        pictures={name: path.name for name, path in pictures.items()},
        copies=_copies(state),
        missing=state.images.absent,
        machines=_machines(state),
    )


def rendered(name: str, *, folder: Path | None = None, **given: Any) -> str:
    """Return a page by its template's name: one beside the study's file, or a shipped one."""
    from jinja2 import TemplateError

    try:
        text = _environment(folder).get_template(name).render(**given)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"{name}, line {line}" if line else name
        raise RecipeError(f"the page {where} cannot be made: {error}.") from error
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def require_template(name: str, folder: Path | None) -> None:
    """Raise a RecipeError if there is no template of a name, or it is no template."""
    from jinja2 import TemplateError, TemplateNotFound

    try:
        _environment(folder).get_template(name)
    except TemplateNotFound as error:
        raise RecipeError(
            f"there is no template {name}; give a file beside the study's, or one of "
            f"{', '.join(_environment(None).list_templates())}."
        ) from error
    except TemplateError as error:
        raise RecipeError(f"the template {name} is not right: {error}.") from error


@cache
def _environment(folder: Path | None) -> Environment:
    """Return what templates can use; one that came from elsewhere gets at nothing but that."""
    from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    shipped = PackageLoader("hurdles.studies", "pages")
    own = [FileSystemLoader(folder)] if folder is not None else []
    environment = SandboxedEnvironment(
        loader=ChoiceLoader([*own, shipped]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, and every text in it went through `records`
    )
    environment.filters |= {
        "area": area,
        "counted": lambda n, noun: f"{n} {noun}" if n == 1 else f"{n} {noun}s",
        "by_first": lambda rows, key: together((str(row[key]), row) for row in rows),
        "p": p_value,
        "points": points,
    }
    environment.tests["known"] = lambda value: value is not None and value == value
    environment.tests["below"] = lambda value, limit: value < limit
    environment.tests["above"] = lambda value, limit: value > limit
    environment.tests["starting"] = lambda value, text: str(value).startswith(text)
    effects = {name: REMEDIES.get(name).effect for name in REMEDIES}
    environment.globals |= {"wilson": wilson, "sample_size": sample_size, "remedies": effects}
    environment.globals["columns"] = {"published": PUBLISHED_COLUMNS}
    return environment


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table row by row; what a terminal would obey is written out."""
    return [
        {str(k): shown(v) if isinstance(v, str) else v for k, v in row.items()}
        for row in table.to_dict("records")
    ]


def area(row: Mapping[str, Any]) -> str:
    """Return an estimate of an area as text, or that there is none.

    Examples
    --------
    >>> area({"value": 0.9, "low": 0.8, "high": 0.95}), area({"value": math.nan})
    ('0.900 [0.800, 0.950]', 'undefined')
    """
    if math.isnan(row["value"]):
        return "undefined"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def points(row: Mapping[str, Any]) -> str:
    """Return a difference of areas in points, with its interval.

    Examples
    --------
    >>> points({"difference": 0.123, "low": 0.05, "high": 0.2}), points({"difference": math.nan})
    ('+12.3 [+5.0, +20.0]', 'undefined')
    """
    if math.isnan(row["difference"]):
        return "undefined"
    return f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def p_value(p: float) -> str:
    """Return a p-value as text.

    Examples
    --------
    >>> p_value(0.0004), p_value(0.04), p_value(math.nan)
    ('<0.001', '0.040', '-')
    """
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _cells(state: State) -> list[dict[str, Any]]:
    """Return every cell with its status and, if it is done, how good it is on its own test part."""
    table = state.table.reindex(columns=list(dict.fromkeys([*state.table.columns, "message"])))
    rows = []
    for cell, row in zip(state.cells, records(table), strict=True):
        row |= {"way": cell.way, "row": cell.row, "seed": cell.seed, "train": cell.train}
        row["positive"] = cell.recipe.evaluation.positive
        row |= {"message": state.failed.get(cell.name, ""), "status": state.status[cell.name]}
        if (result := state.evaluations.get(cell.name)) is not None:
            run = state.runs[cell.name]
            row["result"] = result
            row["measures"] = {h: result.get(*which) for h, which in state.grid.measures.items()}
            row["networks"] = len(run.fold_runs()) or 1
            row["epochs"] = (
                f"{row['networks']} networks, each its own"
                if cell.in_folds
                else f"{run.chosen_epoch(cell.epoch)} of {len(run.history)}"
            )
        rows.append(row)
    return rows


def test_sets(state: State) -> list[dict[str, Any]]:
    """Return the test sets that can be made here: how many images and patients, and what it is."""
    tested = dict.fromkeys(test for cell in state.done for test in cell.tests)
    rows = []
    for name, manifest in state.images.tests(tested).items():
        described, missing = state.grid.image_set(name), manifest.missing_patients
        without = f" + {missing} images without" if missing else ""
        rows.append(
            {
                "test": name,
                "holds": described.holds,
                "says": described.says,
                "images": len(manifest),
                "patients": f"{manifest.known_patients}{without}",
                "positive": manifest.counts.get(state.grid.positive, 0),
            }
        )
    return rows


def _copies(state: State) -> list[dict[str, Any]]:
    """Count the pairs of copies by collections; none where no search was needed yet."""
    if not state.images.copies_known:
        return []
    where = {image: name for name, m in state.images.here.items() for image in m.frame["image"]}
    copies = state.images.copies
    pairs = zip(copies["image_a"], copies["image_b"], strict=True)
    counts = Counter(tuple(sorted((where[a], where[b]))) for a, b in pairs)
    return [
        {"between": f"within {one}" if one == two else f"between {one} and {two}", "pairs": n}
        for (one, two), n in sorted(counts.items())
    ]


def _machines(state: State) -> list[dict[str, Any]]:
    """Return what the runs were made with, and in how many minutes; a shared run counts once."""
    seconds: dict[str, dict[Path, float]] = {}
    for run in state.runs.values():
        words = in_words(run.meta["environment"])
        seconds.setdefault(words, {})[run.path] = float(run.meta["seconds"])
    return [{"words": words, "minutes": sum(runs.values()) / 60}
            for words, runs in seconds.items()]  # fmt: skip
