"""The page and the table of all cells."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from tally import GOALS, is_as_promised

from hurdles._version import __version__

_INTRO = """
Sets are drawn from populations whose true value is known, and it is counted how often a 95 %
interval holds it. The true value has a closed form, is a numerical integral, or is taken from a
million images; the tables say which. Intervals should hold it in 93 to 98.5 % of sets; a test at
5 % should reject what is so in at most 7 % (2,000 sets show a rate of 5 % as 4.1 to 6.0 %). Power
has no goal. Shares stand with their exact interval (Clopper and Pearson). *Width* is the mean width
of the interval; *undefined* the share of sets without one, which count neither way; *inconclusive*
the share of verdicts that decide nothing. A quantity in italics is a rival: another way to make the
interval or the test, which hurdles does not use. In a cell, `images` is how many images a patient
has ("1-20": any of these, each as often), `rho` their correlation, `spread` the deviation of the
scores of the sick beside 1, `looking_well` the share of the sick who look well in all their images,
`fading` how much harder to tell (below 0: easier) patients with the most images are.
""".strip()

_LISTED = {
    "McNemar, exact": "`evaluation.comparisons.mcnemar`, one image a patient",
    "sign flip over patients": "`evaluation.comparisons.mcnemar`, several images a patient",
    "test of": "`evaluation.comparisons.compare`, each measure by its own test",
    "any": "`evaluation.comparisons.holm`, over a table of measures and over hospitals",
    "DeLong": "`evaluation.delong.compare_aucs`, paired, unpaired, some patients shared",
    "DeLong, mean over classes": "`evaluation.macro.compare_macro_auc`",
    "mean change over seeds": "studies, remedies: `evaluation.delong.compare_aucs` over seeds",
    "DeLong within folds": "`evaluation.fold_comparisons.compare_folds`, AUC",
    "accuracies over folds": "`evaluation.fold_comparisons.compare_folds`, accuracy",
    "no worse by the margin": "`evaluation.comparisons.Comparison.verdict`",
    "slope is not 1": "`evaluation.calibration.calibration_slope`, by its interval",
    "intercept is not 0": "`evaluation.calibration.calibration_intercept`, by its interval",
    "error above 0": "`evaluation.calibration.calibration_error`, by its interval",
    "sizes go with answers": "`evaluation.cluster_size.association`",
    "any note": "`evaluation.cluster_size.size_notes`",
    "largest of ten, beyond chance": "`auditing.model.acquisition.gap`, at 0.33 %",
    "group minus rest, from the interval": "`auditing.model.subgroups`",
    "ratio above 1": "`auditing.model.stability`, by its interval",
    "heat is not that of random": "`auditing.model.attention`, by its interval",
    "apart": "`auditing.data.files`, marks, by its interval",
    "exact": "`evaluation.bounds.exact_bounds`, its lower end (hurdle `perturbations`)",
}


def write(lines: Sequence[dict[str, Any]], planned: int, folder: Path) -> None:
    """Write ``coverage.csv`` and ``coverage.md``."""
    rows = [
        {"part": line["part"], "cell": line["cell"], **row}
        for line in lines
        for row in line["rows"]
    ]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "coverage.csv", index=False, float_format="%.5g", lineterminator="\n")
    text = "\n".join(_page(rows, lines, planned)) + "\n"
    (folder / "coverage.md").write_text(text, encoding="utf-8")


def _page(
    rows: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]], planned: int
) -> Iterator[str]:
    yield "---\nhide:\n  - toc\n---\n"
    yield "# Coverage of intervals and errors of tests\n"
    yield _INTRO.replace("\n", " ") + "\n"
    if len(lines) < planned:
        yield f"**{planned - len(lines)} of {planned} cells are not measured yet.**\n"
    yield f"Sets a cell: {_sets(lines)}.\n"
    own = [row for row in rows if row["role"] == "house"]
    off = [row for row in own if not is_as_promised(row)]
    yield "## What is not as promised\n"
    yield (
        f"{len(off)} of {len(own)} counts of hurdles' own intervals and tests miss their goals. "
        "[Statistics](../statistics.md#where-intervals-and-tests-miss-their-level) says what "
        "follows.\n"
    )
    yield "| part | cell | quantity | kind | share | sets |\n|---|---|---|---|---|---|"
    for row in off:
        sets = f"{row['sets']:,}" if row["sets"] else "all"
        words = (row["part"], row["cell"], row["quantity"], row["kind"], _share(row), sets)
        yield f"| {' | '.join(words)} |"
    yield "\n## Every interval\n"
    yield "Lowest and highest coverage over the cells of a part, intervals of the house alone.\n"
    yield "| part | interval | cells | lowest | highest |\n|---|---|---|---|---|"
    for (part, quantity), mine in _grouped(own, "coverage"):
        yield _extremes(part, quantity, mine)
    yield "\n## Every test\n"
    yield "| test | type I: least, most | power: least, most | cells |"
    yield "|---|---|---|---|"
    yield from _tests(own)
    for part, mine in groupby(rows, key=lambda row: row["part"]):
        yield f"\n## {part}\n"
        yield from _part(list(mine))
    seconds = sum(line["seconds"] for line in lines)
    seeds = sorted({line["seed"] for line in lines})
    names = ("numpy", "scipy", "pandas")
    yield (
        f"\nMade by `python bench/coverage --out runs/coverage` with hurdles {__version__}, Python "
        f"{platform.python_version()}, {', '.join(f'{n} {version(n)}' for n in names)} on "
        f"{platform.system()} {platform.machine()}, {datetime.now(UTC).date().isoformat()}: "
        f"{_sets(lines)}, seed "
        f"{', '.join(map(str, seeds))}, {seconds / 60:.0f} processor minutes."
    )


def _sets(lines: Sequence[dict[str, Any]]) -> str:
    """Say how many cells rest on how many sets, the most first."""
    counted = Counter(max((row["sets"] for row in line["rows"]), default=0) for line in lines)
    exact = counted.pop(0, 0)  # where every outcome was gone through, no set is drawn
    words = [f"{counted[n]} cells of {n:,} sets" for n in sorted(counted, reverse=True)]
    return "; ".join(words + ([f"{exact} cells of all outcomes"] if exact else []))


def statement(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows of the table in statistics.md: all cells that miss their goals."""
    missed = [row for row in rows if row["role"] == "house" and not is_as_promised(row)]
    keyed: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in missed:
        low, _ = GOALS[row["kind"]]
        side = "too often" if row["share"] > low else "too seldom"
        keyed.setdefault((row["part"], f"{row['quantity']} ({row['kind']})", side), []).append(row)
    for (part, quantity, side), mine in keyed.items():
        shares = sorted(100 * row["share"] for row in mine)
        ends = f"{shares[0]:.1f}" + (f" to {shares[-1]:.1f}" if len(mine) > 1 else "")
        cells = "; ".join(row["cell"] for row in mine)
        yield f"| {part} | {quantity} | {side}: {ends} % | {cells} |"


def _grouped(rows: Sequence[dict[str, Any]], kind: str):
    keyed: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["kind"] == kind and not math.isnan(row["share"]):
            keyed.setdefault((row["part"], row["quantity"]), []).append(row)
    return keyed.items()


def _extremes(part: str, quantity: str, rows: Sequence[dict[str, Any]]) -> str:
    low, high = (pick(rows, key=lambda r: r["share"]) for pick in (min, max))
    return f"| {part} | {quantity} | {len(rows)} | {_share(low)} | {_share(high)} |"


def _tests(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    for name, where in _LISTED.items():
        mine = [r for r in rows if r["kind"] != "coverage" and _is_of(r["quantity"], name)]
        ends = []
        for power in (False, True):
            shares = [r for r in mine if (r["kind"] == "power") == power]
            least, most = (
                pick(shares, key=lambda r: r["share"], default=None) for pick in (min, max)
            )
            ends.append(f"{_share(least)}, {_share(most)}" if shares else "not measured")
        yield f"| {where} | {ends[0]} | {ends[1]} | {len(mine)} |"


def _is_of(quantity: str, name: str) -> bool:
    """Return whether a quantity is of a test: of that name, or of a family that it opens."""
    if name == "test of":
        return quantity.startswith("test of ")
    if name == "any":
        return quantity.startswith("any") and quantity.endswith("Holm")
    return quantity == name


def _part(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield one line a cell and quantity; rivals in italics."""
    shown = any(r["undefined"] > 0 or r["inconclusive"] > 0 for r in rows)
    yield "| cell | quantity | kind | share | width | truth |" + (
        " undefined, inconclusive |" if shown else ""
    )
    yield "|---|---|---|---|---|---|" + ("---|" if shown else "")
    before = ""
    for row in rows:
        name = f"*{row['quantity']}*" if row["role"] == "rival" else row["quantity"]
        share = _share(row)
        if row["role"] == "house" and not is_as_promised(row):
            share = f"**{share}**"
        truth = "" if math.isnan(row["truth"]) else f"{row['truth']:.4g} ({row['known']})"
        width = "" if math.isnan(row["width"]) else f"{row['width']:.3g}".replace("inf", "open")
        cell = row["cell"] if row["cell"] != before else ""
        before = row["cell"]
        line = f"| {cell} | {name} | {row['kind']} | {share} | {width} | {truth} |"
        if shown:
            line += f" {_percent(row['undefined'])}, {_percent(row['inconclusive'])} |"
        yield line


def _share(row: dict[str, Any] | None) -> str:
    if row is None or math.isnan(row["share"]):
        return "none"
    if row["low"] == row["high"] and not row["sets"]:
        return f"{100 * row['share']:.2f} (all outcomes)"
    digits = 2 if row["share"] < 0.01 else 1
    numbers = (f"{100 * row[k]:.{digits}f}" for k in ("share", "low", "high"))
    return "{} [{}, {}]".format(*numbers)


def _percent(share: float) -> str:
    return "0" if not share > 0 else f"{100 * share:.1f} %"


__all__ = ["GOALS", "write"]
