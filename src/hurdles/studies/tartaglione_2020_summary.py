"""The race in a few sentences, each chosen by the numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from hurdles.studies.race_sheet import Sheet
from hurdles.studies.tartaglione_2020_sections import (
    background_words,
    fault_words,
    masking_words,
    start_words,
)
from hurdles.studies.tartaglione_2020_words import count_of, loss_sentence

_CHANCE = 0.5


def summary(sheet: Sheet) -> str:
    """Return what a hurried reader should know, in Markdown; empty before any model is tested."""
    if sheet.tables.matrix.empty:
        return ""
    points = [
        _inside(sheet),
        f"**Outside.** {loss_sentence(sheet.tables.gaps)} {_below_chance(sheet)}".rstrip(),
        f"**Without lungs.** {background_words(sheet)}",
        f"**Preparation.** {' '.join(masking_words(sheet))}",
        f"**Pre-training.** {' '.join(start_words(sheet)) or 'Nothing is measured yet.'}",
        f"**Habits of the published code.** {fault_words(sheet)}",
        *_probe(sheet),
    ]
    return "## In short\n\n" + "\n".join(f"- {point}" for point in points)


def _areas(sheet: Sheet) -> pd.DataFrame:
    table = sheet.tables.matrix
    return table[(table["seed"] == 0) & (table["measure"] == "auc") & table["value"].notna()]


def _inside(sheet: Sheet) -> str:
    areas = _areas(sheet)
    own = areas[areas["test"] == areas["model"].map(dict(sheet.inside))]
    if own.empty:
        return "**Inside.** No model has been tested on its own collection yet."
    able = int((own["low"] > _CHANCE).sum())
    span = f"{own['value'].min():.3f} to {own['value'].max():.3f}"
    return (
        f"**Inside**, on the test part of a model's own set, areas run from {span}; {able} of "
        f"{count_of(len(own), 'model')} are shown to tell COVID-19 at all (interval above 0.5)."
    )


def _below_chance(sheet: Sheet) -> str:
    """Say where a model is shown to be wrong more often than a coin."""
    gaps = sheet.tables.gaps
    apart = {(g["model"], g["outside"]) for _, g in gaps.iterrows() if g["shared"] == ""}
    areas = _areas(sheet)
    keys = zip(areas["model"], areas["test"], strict=True)
    outside = areas[[key in apart for key in keys]]
    below = int((outside["high"] < _CHANCE).sum())
    if not below:
        return ""
    return (
        f"In {below} of {len(outside)} such tests the model is worse than a coin (interval below "
        "0.5): what it took for COVID-19 is there the mark of the other class."
    )


def _probe(sheet: Sheet) -> Iterator[str]:
    probes = sheet.probes
    if probes.empty:
        return
    found = probes[(probes["within"] == "COVID-19") & probes["value"].notna()]
    models = found[~found["features"].str.startswith("pixels")]
    if models.empty:
        return
    said = [
        f"{r['features']}: {r['value']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"
        for _, r in models.iterrows()
    ]
    yield (
        "**The collection** can be told from a model's features even among COVID-19 images alone, "
        f"by a linear probe with an area (0.5 is chance) of {'; '.join(said)}."
        if (models["low"] > _CHANCE).all()
        else "**The collection** is told from a model's features among COVID-19 images alone with "
        f"an area (0.5 is chance) of {'; '.join(said)}."
    )
