"""How the rows of the race are called, and sentences that the numbers choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

DONE_RIGHT, CARELESS, PRETRAINED = "done right", "as coded", "pre-training"
#: What stands for no pre-training in a row's name.
NOTHING = "scratch"
PREPARATIONS = ("equalized+masked", "raw", "equalized", "background")
BASE_PREPARATION, BASE_START, BASE_TRAINING = "equalized+masked", "kermany", "cohen"
#: A difference is called shown where its p-value, adjusted by Holm, is below.
ALPHA = 0.05


def row_name(training: str, preparation: str = BASE_PREPARATION, start: str = BASE_START) -> str:
    """Return a row's name.

    Examples
    --------
    >>> row_name("cohen"), row_name("cohen", "raw", NOTHING)
    ('cohen, equalized+masked, from kermany', 'cohen, raw, from scratch')
    """
    return f"{training}, {preparation}, from {start}"


def points(value: float, low: float, high: float) -> str:
    """Return a difference of areas in points, with its interval.

    Examples
    --------
    >>> points(0.123, 0.05, 0.2), points(math.nan, math.nan, math.nan)
    ('+12.3 [+5.0, +20.0]', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def area(row: pd.Series[Any]) -> str:
    """Return an estimate of a matrix as text, or why there is none."""
    if math.isnan(row["value"]):
        return "undefined"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


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


def paired_sentence(what: str, table: pd.DataFrame) -> str:
    """Say what paired differences show about `what`, from their number, sign and p-values.

    Examples
    --------
    >>> one = pd.DataFrame({"difference": [0.1], "low": [0.02], "high": [0.18], "p_holm": [0.01]})
    >>> paired_sentence("Masking", one)
    'Masking raises the area in 1 of 1 comparison (by 10.0 points) and lowers it in none.'
    >>> paired_sentence("Masking", one.assign(p_holm=0.3))
    'Masking: no difference is shown in 1 comparison (interval +2.0 to +18.0 points).'
    """
    defined = table[table["difference"].notna()]
    if defined.empty:
        return f"{what.rstrip(',')}: nothing is measured yet."
    shown = defined[defined["p_holm"] < ALPHA]
    n = count_of(len(defined), "comparison")
    if shown.empty:
        low, high = 100 * defined["low"].min(), 100 * defined["high"].max()
        which = "intervals within" if len(defined) > 1 else "interval"
        span = f"{low:+.1f} to {high:+.1f} points"
        return f"{what.rstrip(',')}: no difference is shown in {n} ({which} {span})."
    up, down = shown[shown["difference"] > 0], shown[shown["difference"] < 0]
    if up.empty:
        return f"{what} lowers the area in {_by(down)} of {n}{_size(down)} and raises it in none."
    if down.empty:
        return f"{what} raises the area in {_by(up)} of {n}{_size(up)} and lowers it in none."
    return (
        f"{what} raises the area in {_by(up)}{_size(up)} and lowers it in {_by(down)}{_size(down)} "
        f"of {n}."
    )


def loss_sentence(gaps: pd.DataFrame) -> str:
    """Say what models lose outside the collection that they were trained on."""
    defined = gaps[gaps["difference"].notna() & (gaps["shared"] == "")]
    if defined.empty:
        return "No model has been tested outside its own collection yet."
    shown = defined[defined["p_holm"] < ALPHA]
    lost, gained = shown[shown["difference"] > 0], shown[shown["difference"] < 0]
    n = len(defined)
    if shown.empty:
        return (
            f"No loss is shown: none of {count_of(n, 'comparison')} of an area inside with one "
            "outside is below 0.05 after adjustment (Holm). That is no proof that there is none; "
            "see the intervals."
        )
    text = (
        f"In {len(lost)} of {count_of(n, 'comparison')} the area outside is lower than inside "
        f"after adjustment (Holm){_size(lost)}"
    )
    text += f", in {len(gained)} it is higher{_size(gained)}." if len(gained) else "."
    return text


def count_of(n: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count_of(1, "image"), count_of(2, "image")
    ('1 image', '2 images')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def line(*cells: str) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rule = "|" + "---|" * len(header)
    return "\n".join([line(*header), rule, *(line(*row) for row in rows)])


def folded(title: str, table: str) -> str:
    """Return a long table behind a line that opens it, as Markdown viewers and browsers show it."""
    return f"<details><summary>{title}</summary>\n\n{table}\n\n</details>"


def _by(rows: pd.DataFrame) -> str:
    return str(len(rows))


def _size(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    sizes = sorted(100 * abs(d) for d in rows["difference"])
    if f"{sizes[0]:.1f}" == f"{sizes[-1]:.1f}":
        return f" (by {sizes[0]:.1f} points)"
    return f" (by {sizes[0]:.1f} to {sizes[-1]:.1f} points)"
