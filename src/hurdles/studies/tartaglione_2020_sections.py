"""Sections of the race's page: what choices, faults and seeds are worth."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hurdles.studies.race_sheet import Sheet
from hurdles.studies.race_tables import FAULTS
from hurdles.studies.tartaglione_2020_words import (
    ALPHA,
    BASE_PREPARATION,
    area,
    count_of,
    folded,
    markdown,
    p_value,
    paired_sentence,
    points,
)

#: Question of the paired table -> the subject of its sentence.
_ASKED = {
    "equalized": "Equalizing, against raw images,",
    BASE_PREPARATION: "Equalizing and masking, against raw images,",
    "masking alone": "Masking, against images equalized alone,",
}


def pneumonia(sheet: Sheet) -> str:
    """Say what share of images of other pneumonias each model calls COVID-19."""
    table = sheet.tables.matrix
    if table.empty:
        return ""
    rx = set(sheet.sets.loc[~sheet.sets["of_covid"].astype(bool), "test"])
    chosen = table[table["test"].isin(rx) & (table["seed"] == 0)]
    if chosen.empty:
        return ""
    wide = {(r["model"], r["test"], r["measure"]): r for _, r in chosen.iterrows()}
    rows = []
    for model, test in dict.fromkeys(zip(chosen["model"], chosen["test"], strict=True)):
        of = {m: wide[model, test, m] for m in ("sensitivity", "specificity", "auc")}
        rows.append([model, test, _percent(of["sensitivity"]), _others(of["specificity"]),
                     area(of["auc"])])  # fmt: skip
    called = chosen[(chosen["measure"] == "sensitivity") & chosen["value"].notna()]["value"]
    span = ""
    if len(called):
        low, high = 100 * called.min(), 100 * called.max()
        span = f" The models call {low:.0f} to {high:.0f} % of the RX+ images so."
    header = ["model", "test set", "of RX+ called COVID-19", "of RX- called COVID-19",
              "area, RX+ against RX-"]  # fmt: skip
    return (
        "## What share of other pneumonias does it call COVID-19?\n\n"
        "No image of these sets shows COVID-19: the right share is none, and whatever is called "
        f"COVID-19 is a false alarm.{span} An area above 0.5 here means that the model ranks "
        "other pneumonia as COVID-19 above images without it.\n\n"
        f"{folded(count_of(len(rows), 'row'), markdown(header, rows))}"
    )


def _percent(row: pd.Series[Any]) -> str:
    if row["value"] != row["value"]:
        return "undefined"
    return f"{100 * row['value']:.0f} % [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


def _others(row: pd.Series[Any]) -> str:
    """Return the share of false alarms: the complement of the specificity."""
    flipped = pd.Series({"value": 1 - row["value"], "low": 1 - row["high"], "high": 1 - row["low"]})
    return _percent(flipped)


def preparations(sheet: Sheet) -> str:
    """Say whether equalizing and masking help, and what the background alone reaches."""
    paired = sheet.tables.paired
    return (
        f"## Does masking help?\n\n{' '.join(masking_words(sheet))} {background_words(sheet)}\n\n"
        f"{_pairs(paired[paired['question'].isin(_ASKED)])}"
    ).rstrip()


def masking_words(sheet: Sheet) -> list[str]:
    """Return a sentence on each preparation, from the paired differences."""
    paired = sheet.tables.paired
    return [paired_sentence(text, paired[paired["question"] == q]) for q, text in _ASKED.items()]


def background_words(sheet: Sheet) -> str:
    """Say what a model reaches that sees everything but the lungs."""
    table = sheet.tables.matrix
    if table.empty:
        return "The background alone has not been tried yet."
    said = []
    for model, own in sheet.inside.items():
        if ", background, " not in model:
            continue
        rows = table[
            (table["model"] == model) & (table["test"] == own) & (table["seed"] == 0)
            & (table["measure"] == "auc")
        ]  # fmt: skip
        for _, row in rows.iterrows():
            low = float(row["low"])
            if low == low:
                shown = "tells the classes" if low > 0.5 else "is not shown to tell the classes"
                said.append(f"{own}: {area(row)}, so it {shown}")
    if not said:
        return "The background alone has not been tried yet."
    return (
        "A model that sees everything but the lungs has nothing of the disease to look at; inside "
        f"its own collection it reaches {'; '.join(said)}."
    )


def starts(sheet: Sheet) -> str:
    """Say what each pre-training is worth."""
    paired = sheet.tables.paired
    said = start_words(sheet)
    if not said:
        return "## What is pre-training worth?\n\nNothing is measured yet."
    return (
        f"## What is pre-training worth?\n\n{' '.join(said)}\n\n"
        f"{_pairs(paired[paired['question'].isin(_starts(paired))])}"
    )


def start_words(sheet: Sheet) -> list[str]:
    """Return a sentence on each pre-training, from the paired differences."""
    paired = sheet.tables.paired
    return [
        paired_sentence(
            f"Pre-training {q}, against random weights,", paired[paired["question"] == q]
        )
        for q in _starts(paired)
    ]


def _starts(paired: pd.DataFrame) -> list[str]:
    return [str(q) for q in dict.fromkeys(paired["question"]) if str(q).startswith("from ")]


def _pairs(table: pd.DataFrame) -> str:
    header = ["question", "model", "against", "test", "areas", "difference, points", "p, Holm"]
    rows = [
        [
            r["question"],
            r["model_a"],
            r["model_b"],
            r["test_a"],
            f"{r['auc_a']:.3f}, {r['auc_b']:.3f}",
            points(r["difference"], r["low"], r["high"]),
            p_value(r["p_holm"]),
        ]
        for _, r in table[table["difference"].notna()].iterrows()
    ]
    if not rows:
        return ""
    return (
        "Paired, on the images that both models can use. Test sets share images, so comparisons "
        "on two of them are not independent. Holm's adjustment is over this table and the other "
        "paired ones of this page together; the intervals are of one row alone.\n\n"
        f"{folded(count_of(len(rows), 'comparison'), markdown(header, rows))}"
    )


def faults(sheet: Sheet) -> str:
    """Say what each fault of the published code is worth."""
    table = sheet.tables.faults
    title = "## What each fault is worth\n\n"
    if table.empty:
        return f"{title}Nothing is measured yet."
    header = ["fault", "model", "test", "measure", "as coded", "done right", "worth, points", "p"]
    rows = [
        [
            f["fault"],
            f["model"],
            f["test"],
            str(f["measure"]).replace("_", " "),
            f"{f['as_coded']:.3f}",
            f"{f['done_right']:.3f}",
            points(f["difference"], f["low"], f["high"]),
            p_value(f["p_value"]),
        ]
        for _, f in table.iterrows()
    ]
    kinds = [f"*{name}*: {text}" for name, text in FAULTS.items() if name in set(table["fault"])]
    return (
        f"{title}As coded less done right: what the published way of working adds. "
        f"{fault_words(sheet)} "
        f"{'; '.join(kinds)}. Where the two sides share patients, their covariance counts.\n\n"
        f"{markdown(header, rows)}"
    )


def fault_words(sheet: Sheet) -> str:
    """Say in how many measurements a fault of the published code is shown to flatter."""
    table = sheet.tables.faults
    if table.empty:
        return "No fault is measured yet."
    shown = table[(table["difference"] > 0) & (table["p_value"] < ALPHA)]
    total = count_of(len(table), "measurement")
    if shown.empty:
        return (
            f"In none of {total} is it shown, at p < 0.05, that the fault makes the result better."
        )
    return (
        f"In {len(shown)} of {total} the fault makes the result better with p < 0.05 (unadjusted)."
    )


def seeds(sheet: Sheet) -> str:
    """Show how far apart the same row lies under other seeds."""
    table = sheet.tables.matrix
    if table.empty or table["seed"].nunique() < 2:
        return ""
    areas = table[table["measure"] == "auc"]
    rows = []
    for (model, test), group in areas.groupby(["model", "test"], sort=False):
        values = group["value"].dropna()
        if len(group) > 1 and len(values):
            rows.append([str(model), str(test), str(len(group)),
                         f"{values.min():.3f} to {values.max():.3f}"])  # fmt: skip
    return (
        "## What a seed is worth\n\nThe same recipe and images, trained from other random numbers: "
        "a difference between two rows of the matrix that is smaller than this spread says "
        f"nothing.\n\n{markdown(['model', 'test', 'seeds', 'areas'], rows)}"
    )
