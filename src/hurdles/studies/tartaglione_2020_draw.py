"""What the race leaves in its results folder: tables, pictures and the page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from hurdles.data.files import write_bytes, write_text
from hurdles.data.untrusted import as_csv
from hurdles.errors import HurdlesError
from hurdles.reporting.plots import matrix_figure
from hurdles.studies.answers import Book
from hurdles.studies.race import Standing
from hurdles.studies.race_embedding import PROBE_COLUMNS, embeddings
from hurdles.studies.race_sheet import Sheet
from hurdles.studies.race_tables import Tables, tables_of
from hurdles.studies.stock import Stock
from hurdles.studies.tartaglione_2020_page import page
from hurdles.studies.tartaglione_2020_sets import COVID
from hurdles.training.machine import in_words

_NOTES = (
    "Outlined: the test part of the model's own set. Above 0.5 better than chance, below worse.",
    "Columns RX+/RX-: no image shows COVID-19; how far other findings are ranked as COVID-19.",
)


def draw(standing: Standing, folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """Write everything that a race has brought so far."""
    stem = f"{standing.name}.{standing.profile.name}"
    book = Book.of(standing)
    tables = tables_of(book)
    files = [_save(folder / f"{stem}.{name}.csv", t) for name, t in _frames(tables).items()]
    inside = {c.row: c.training for c in standing.done if c.asked}
    pictures: dict[str, str] = {}
    if len(tables.matrix):
        files += _matrix(standing, tables, inside, folder / f"{stem}.matrix")
        pictures["matrix"] = f"{stem}.matrix.png"
    probes = pd.DataFrame(columns=list(PROBE_COLUMNS))
    try:
        probes, drawn = embeddings(standing, folder, stem)
    except HurdlesError as error:  # a picture that cannot be drawn must not cost the page
        standing.stock.options.listener.say(f"no embedding was drawn: {error}")
        drawn = {}
    if len(probes):
        files.append(_save(folder / f"{stem}.probes.csv", probes))
    pictures |= {name: path.name for name, path in drawn.items()}
    files += drawn.values()
    sheet = Sheet(
        profile=standing.profile.name,
        explanation=standing.profile.explanation,
        tables=tables,
        cells=standing.cells_table,
        sets=_sets(standing.stock),
        inside=inside,
        twins=_twins(standing.stock),
        probes=probes,
        pictures=pictures,
        machines=_machines(standing),
        missing=_missing(standing.stock),
    )
    write_text(folder / f"{stem}.md", page(sheet))
    return folder / f"{stem}.md", tuple(files)


def _frames(tables: Tables) -> dict[str, pd.DataFrame]:
    return {
        "matrix": tables.matrix,
        "gaps": tables.gaps,
        "paired": tables.paired,
        "faults": tables.faults,
        "left-out": tables.left_out,
    }


def _save(path: Path, table: pd.DataFrame) -> Path:
    write_text(path, as_csv(table))
    return path


def _matrix(standing: Standing, tables: Tables, inside: dict[str, str], path: Path) -> list[Path]:
    first = tables.matrix[tables.matrix["seed"] == 0]
    if first.empty:
        return []
    title = f"{standing.name}, {standing.profile.name}: area under the curve for COVID-19"
    found = []
    for form in ("png", "svg"):
        picture = matrix_figure(
            first,
            inside=inside,
            tests=list(standing.stock.design.tests),
            title=title,
            notes=_NOTES,
            form=form,
        )
        found.append(path.with_name(f"{path.name}.{form}"))
        write_bytes(found[-1], picture)
    return found


def _sets(stock: Stock) -> pd.DataFrame:
    rows = []
    for name, manifest in stock.tests.items():
        described = stock.design.tests[name]
        rows.append(
            {
                "test": name,
                "of_covid": described.of_covid,
                "says": described.says,
                "images": len(manifest),
                "patients": f"{manifest.known_patients}"
                + (
                    f" + {missing} images without" if (missing := manifest.missing_patients) else ""
                ),
                "positive": manifest.counts.get(COVID, 0),
            }
        )
    return pd.DataFrame(
        rows, columns=["test", "of_covid", "says", "images", "patients", "positive"]
    )


def _twins(stock: Stock) -> pd.DataFrame:
    """Count the pairs by collections; none where no search was needed yet."""
    columns = ["between", "pairs"]
    if not stock.twins_known:
        return pd.DataFrame(columns=columns)
    where = {image: name for name, m in stock.here.items() for image in m.frame["image"]}
    pairs = zip(stock.twins["image_a"], stock.twins["image_b"], strict=True)
    counts = Counter(tuple(sorted((where[a], where[b]))) for a, b in pairs)
    rows = [
        (f"within {one}" if one == two else f"between {one} and {two}", n)
        for (one, two), n in sorted(counts.items())
    ]
    return pd.DataFrame(rows, columns=columns)


def _machines(standing: Standing) -> list[str]:
    seconds: dict[str, float] = {}
    for run in standing.runs.values():
        words = in_words(run.meta["environment"])
        seconds[words] = seconds.get(words, 0.0) + float(run.meta["seconds"])
    return [f"{words}; {s / 60:.0f} minutes of computing in all." for words, s in seconds.items()]


def _missing(stock: Stock) -> list[str]:
    return [name for name in stock.design.collections if name not in stock.here]
