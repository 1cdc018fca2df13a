"""The page of the race: every sentence follows from what was measured."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hurdles.studies.race_sheet import Sheet
from hurdles.studies.tartaglione_2020_sections import (
    faults,
    pneumonia,
    preparations,
    seeds,
    starts,
)
from hurdles.studies.tartaglione_2020_sets import COVID
from hurdles.studies.tartaglione_2020_summary import summary
from hurdles.studies.tartaglione_2020_words import (
    area,
    count_of,
    folded,
    loss_sentence,
    markdown,
    p_value,
    points,
)


def page(sheet: Sheet) -> str:
    """Return the page in Markdown, from whatever is done."""
    parts = [
        _head(sheet),
        summary(sheet),
        _matrix(sheet),
        _loss(sheet),
        pneumonia(sheet),
        preparations(sheet),
        starts(sheet),
        faults(sheet),
        seeds(sheet),
        _embedding(sheet),
        _left_out(sheet),
        _limits(sheet),
        _machines(sheet),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def _head(sheet: Sheet) -> str:
    done = int((sheet.cells["status"] == "done").sum())
    fast = " --fast" if sheet.profile == "fast" else ""
    text = (
        f"# Tartaglione et al. 2020, the race: profile *{sheet.profile}*\n\n"
        "Research use only; not a medical device. Written by "
        f"`hurdles study tartaglione-2020{fast} --data ...`; nothing is filled in by hand.\n\n"
        f"Profile *{sheet.profile}*: {sheet.explanation}\n\n"
        f"{done} of {count_of(len(sheet.cells), 'cell')} are done. A row is a model: what it was "
        "trained on, how its images were prepared, and what its encoder was trained on before. "
        "Areas are under the ROC curve for COVID-19 against everything else, with 95 % intervals "
        "that count patients."
    )
    if sheet.missing:
        text += f" Not here, so their cells wait: {', '.join(sheet.missing)}."
    return text


def _matrix(sheet: Sheet) -> str:
    table = sheet.tables.matrix
    if table.empty:
        return "## Train x test\n\nNo model has been tested yet."
    first = table[(table["seed"] == 0) & (table["measure"] == "auc")]
    tests = [t for t in sheet.sets["test"] if t in set(first["test"])]
    cells = {(r["model"], r["test"]): area(r) for _, r in first.iterrows()}
    rows = []
    for model in dict.fromkeys(first["model"]):
        own = sheet.inside.get(model)
        said = [cells.get((model, t), "") for t in tests]
        rows.append(
            [model, *(f"**{s}**" if t == own else s for t, s in zip(tests, said, strict=True))]
        )
    picture = f"![The matrix]({sheet.pictures['matrix']})\n\n" if "matrix" in sheet.pictures else ""
    listing = markdown(
        ["test set", "images", "patients", "in the column COVID-19", "what it is"],
        [_set(row) for _, row in sheet.sets.iterrows()],
    )
    return (
        f"## Train x test\n\n{picture}Area under the curve; bold: inside, on the test part of the "
        "model's own set. Every other measure is in the CSV.\n\n"
        f"{markdown(['trained on', *tests], rows)}\n\nThe test sets, before a model's own left-out "
        f"images:\n\n{listing}"
    )


def _set(row: pd.Series[Any]) -> list[str]:
    asked = "" if row["of_covid"] else " (not COVID-19)"
    return [
        str(row["test"]),
        str(row["images"]),
        str(row["patients"]),
        f"{row['positive']}{asked}",
        str(row["says"]),
    ]


def _loss(sheet: Sheet) -> str:
    gaps = sheet.tables.gaps
    title = "## What is lost outside the training collection\n\n"
    if gaps.empty:
        return f"{title}{loss_sentence(gaps)}"
    header = ["model", "inside", "outside", "shared", "area inside", "area outside", "loss, points",
              "p, Holm"]  # fmt: skip
    rows = [
        [
            g["model"],
            g["inside"],
            g["outside"],
            g["shared"],
            f"{g['auc_inside']:.3f}",
            f"{g['auc_outside']:.3f}",
            points(g["difference"], g["low"], g["high"]),
            p_value(g["p_holm"]),
        ]
        for _, g in gaps[gaps["difference"].notna()].iterrows()
    ]
    undefined = int(gaps["difference"].isna().sum())
    rest = f" {count_of(undefined, 'comparison')} undefined." if undefined else ""
    return (
        f"{title}{loss_sentence(gaps)}{rest} The sentence is about sets that share no collection "
        "with the model's own; the others are outside only in part. First seed of every row; "
        "Holm's adjustment is over the whole table; the intervals are of one row alone.\n\n"
        f"{folded(count_of(len(rows), 'comparison'), markdown(header, rows))}"
    )


def _embedding(sheet: Sheet) -> str:
    pictures = [
        f"![{name}]({file})"
        for name, file in sheet.pictures.items()
        if name.startswith("embedding")
    ]
    if sheet.probes.empty and not pictures:
        return ""
    rows = [
        [r["features"], r["within"], area(r), str(r["n_images"]), r["note"]]
        for _, r in sheet.probes.iterrows()
    ]
    table = markdown(["features", "within", "area", "images", "note"], rows) if rows else ""
    return (
        "## Does it see the collection?\n\nHow well a linear probe tells from which collection an "
        "image comes, given nothing but the features; one against the rest, cross-validated by "
        "patient, 0.5 is chance. Within one class the class cannot give the answer away. Where "
        "two collections hold images of one hospital (the Radiography Database's images without "
        "COVID-19 are Kermany's), nothing but the re-packaging can part them.\n\n"
        + "\n\n".join(filter(None, [table, *pictures]))
    )


def _left_out(sheet: Sheet) -> str:
    table = sheet.tables.left_out
    pairs = [f"{r['pairs']} {r['between']}" for _, r in sheet.twins.iterrows()]
    found = f"Pairs of images that show one radiograph: {', '.join(pairs)}." if pairs else ""
    if table.empty:
        return f"## Left out\n\n{found} No image was left out of a test.".replace("  ", " ")
    rows = []
    for (cell, reason), group in table.groupby(["cell", "reason"], sort=False):
        counts = group["test"].value_counts(sort=False)
        said = ", ".join(f"{test}: {n}" for test, n in counts.items())
        rows.append([str(cell), str(reason), said])
    listing = markdown(["model", "reason", "images of each test set"], rows)
    return (
        f"## Left out\n\n{found} They are left out of the test of every model that has seen the "
        "patient; each image is named in the CSV.\n\n"
        f"{folded(count_of(len(rows), 'row'), listing)}"
    )


def _limits(sheet: Sheet) -> str:
    fast = (
        " This is the fast profile: small network, few epochs, sampled collections."
        if sheet.profile == "fast"
        else ""
    )
    return (
        "## Limits\n\n"
        "- Who is a patient is known for Cohen's, Kermany's and the NIH's images only as far as "
        "file names and tables tell; of the Radiography Database only for viral pneumonia. Every "
        "other image counts as a patient of its own.\n"
        "- Mirrored copies, and two images of one patient under two names, are not found as "
        "twins.\n"
        f"- {COVID} stands against whatever else a collection holds, which differs between "
        "collections: an area in another column answers another question, too.\n"
        "- One training of each row but one; see what a seed is worth before reading a small "
        f"difference.{fast}"
    )


def _machines(sheet: Sheet) -> str:
    return (
        "## Made with\n\n" + "\n".join(f"- {m}" for m in sheet.machines) if sheet.machines else ""
    )
