"""Writing for people: numbers, plain values, and the templates that set them on a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from hurdles.data.untrusted import shown
from hurdles.evaluation.estimate import Estimate

if TYPE_CHECKING:
    from jinja2 import Environment, Template

#: A narrow space that no line breaks at, as ISO 80000 asks for between a number and its sign.
NARROW = "\u202f"


def count(n: int) -> str:
    """Return a whole number with commas.

    Examples
    --------
    >>> count(5856)
    '5,856'
    """
    return f"{n:,}"


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "image"), counted(1341, "image"), counted(2, "class", "classes")
    ('1 image', '1,341 images', '2 classes')
    """
    return f"{count(n)} {noun if n == 1 else plural or noun + 's'}"


def share(part: int, whole: int) -> str:
    """Return ``part`` of ``whole`` in percent, or nothing where the whole is empty.

    Examples
    --------
    >>> [share(n, 500).replace(NARROW, " ") for n in (0, 1, 125, 499, 500)]
    ['0 %', '<1 %', '25 %', '>99 %', '100 %']
    """
    if not whole:
        return ""
    number = f"{100 * part / whole:.0f}"
    if number == "0" and part:
        number = "<1"
    if number == "100" and part < whole:
        number = ">99"
    return f"{number}{NARROW}%"


def percent(value: float, digits: int = 1) -> str:
    """Return a share, 0 to 1, in percent without the sign; an em dash where there is none."""
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else "—"


def ratio(value: float) -> str:
    """Return a number between 0 and 1 with three decimals; an em dash where there is none."""
    return f"{value:.3f}" if math.isfinite(value) else "—"


def odds(value: float) -> str:
    """Return an odds ratio with about three digits; an em dash where there is none.

    Examples
    --------
    >>> odds(0.034), odds(5.04), odds(81.0), odds(1287.3), odds(float("inf"))
    ('0.03', '5.04', '81.0', '1,287', '∞')
    """
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def interval(estimate: Estimate, write: Callable[[float], str] = percent) -> str:
    """Return the bounds, in percent unless `write` says otherwise; or say that there are none.

    Examples
    --------
    >>> interval(Estimate(0.954, 0.93, 0.97, 0.95, "Wilson", 436, 436))
    '93.0 to 97.0'
    >>> interval(Estimate(335.0, 18.8, math.inf, 0.95, "Woolf", 140, 140), write=odds)
    'from 18.8 up'
    """
    if math.isfinite(estimate.low) and estimate.high == math.inf:
        return f"from {write(estimate.low)} up"
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        return f"{write(estimate.low)} to {write(estimate.high)}"
    return "no interval"


def level(value: float) -> str:
    """Return a confidence level.

    Examples
    --------
    >>> level(0.95) == f"95{NARROW}%"
    True
    """
    return f"{100 * value:g}{NARROW}%"


def and_list(words: Sequence[str]) -> str:
    """Return a list as prose.

    Examples
    --------
    >>> and_list(["a", "b", "c"]), and_list(["a"])
    ('a, b and c', 'a')
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def plain(value: Any) -> str:
    """Return a setting as a person would write it, and so that nothing of it is lost.

    Examples
    --------
    >>> plain(None), plain(True), plain(1e-05), plain([0.7, "flip"]), plain(float("nan"))
    ('not set', 'yes', '1e-05', '0.7, flip', 'not a number')
    """
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "not a number" if math.isnan(value) else repr(float(value))
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {plain(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(v) for v in value) or "none"
    return str(value)


def template(name: str) -> Template:
    """Return a template by its file's name; it escapes what it is given, and a gap raises."""
    return environment().get_template(name)


@cache
def environment() -> Environment:
    """Return the templates' environment, made once."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def finalized(value: object) -> object:
        # Pages are read in terminals too: what one would obey is written out.
        return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    made = Environment(
        loader=PackageLoader("hurdles.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalized,
    )
    made.filters["count"] = count
    return made
