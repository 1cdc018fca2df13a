"""Findings as HTML: a page of their own, and a part of a run's report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles._version import __version__
from hurdles.data.files import write_text
from hurdles.findings.finding import COUNTED, Beyond, Finding, Scale, Verdict
from hurdles.findings.summary import CLEARED_MEANS, answer, caveats
from hurdles.findings.table import Findings
from hurdles.reporting import pictures, wording
from hurdles.reporting.charts import drawings, ticks
from hurdles.reporting.findings import Hurdle, Row, hurdles_of, together

#: What is in sight before a reader asks for more.
_ROWS, _IMAGES, _NAMES = 12, 12, 24
_THUMBNAIL = 144
#: Words that several statistics must share before they are said once, above their rows.
_COMMON = 4
_CHANCE = 0.5
_CLASSES = {
    Verdict.HIT: "is-hit",
    Verdict.CLEARED: "is-cleared",
    Verdict.INCONCLUSIVE: "is-unsure",
    Verdict.COULD_NOT_RUN: "is-open",
    Verdict.FAILED: "is-hit",
    Verdict.SHOWN: "is-shown",
}


def write_findings(
    findings: Findings,
    path: str | Path,
    *,
    title: str,
    thumbnails: Mapping[str, NDArray[np.uint8]] | None = None,
) -> Path:
    """Write findings as one self-contained HTML page, whole or not at all, and return its path."""
    write_text(path, render_findings(findings, title=title, thumbnails=thumbnails))
    return Path(path)


def render_findings(
    findings: Findings,
    *,
    title: str,
    thumbnails: Mapping[str, NDArray[np.uint8]] | None = None,
) -> str:
    """Return the same page as text: no script, nothing loaded from anywhere."""
    return wording.template("findings.html.j2").render(
        title=title,
        version=__version__,
        pictures=bool(thumbnails),
        audit=findings_content(findings, thumbnails),
    )


def findings_content(
    findings: Findings, thumbnails: Mapping[str, NDArray[np.uint8]] | None = None
) -> dict[str, Any]:
    """Return what the parts of the templates that show findings need."""
    hurdles, overall = hurdles_of(findings), answer(findings)
    fact, tally = (f"{text[:1].upper()}{text[1:]}." for text in (overall.fact, overall.tally))
    return {
        "headline": fact if overall.fact else tally,
        "tally": tally if overall.fact else "",
        "cleared_means": CLEARED_MEANS if findings.with_verdict(Verdict.CLEARED) else "",
        "caveats": caveats(findings),
        "rows": [_overview(hurdle) for hurdle in hurdles],
        "blocks": [hurdle_block(hurdle, thumbnails or {}) for hurdle in hurdles],
        "about": list(findings.about.items()),
        "inputs": findings.inputs,
        "digest": findings.digest,
    }


def _overview(hurdle: Hurdle) -> dict[str, Any]:
    """Return a hurdle's line in the table: its verdict and the number that tells most."""
    if not hurdle.ranked:
        return {**_head(hurdle), "value": "", "why": ""}
    loudest = hurdle.ranked[0]
    return {
        **_head(hurdle),
        "subject": loudest.name,
        "value": "" if loudest.is_open else _narrow(loudest.value),
        "why": loudest.finding.estimate.note,
        "limit": loudest.limit,
        "settled": loudest.settled,
    }


def _head(hurdle: Hurdle) -> dict[str, str]:
    anchor = "".join(c if c.isalnum() and c.isascii() else "-" for c in hurdle.name.lower())
    return {
        "name": hurdle.name,
        "anchor": f"hurdle-{anchor}",
        "question": hurdle.question,
        **_badge(hurdle.verdict, "nothing judged"),
    }


def _badge(verdict: Verdict, shown: str) -> dict[str, str]:
    words = shown if verdict is Verdict.SHOWN else str(verdict)
    return {"verdict": words, "class": _CLASSES[verdict]}


def _narrow(value: str) -> str:
    return value.replace(" %", f"{wording.NARROW}%")


def hurdle_block(hurdle: Hurdle, thumbnails: Mapping[str, NDArray[np.uint8]]) -> dict[str, Any]:
    """Return what is shown of a hurdle: rows in groups, limits, advice, images, what lacks."""
    # Views are nested: their own order says more.
    order = hurdle.rows if hurdle.name == "views" else hurdle.ranked
    shown = [row for row in order if not row.is_open]
    # A note that all rows have is said once.
    notes = {row.finding.estimate.note for row in shown}
    note = notes.pop() if len(shown) > 1 and len(notes) == 1 else ""
    return {
        **_head(hurdle),
        "note": note,
        "groups": _groups(shown[:_ROWS], note),
        "more": _groups(shown[_ROWS:], note),
        "n_more": len(shown[_ROWS:]),
        "advice": hurdle.advice,
        "open": [
            {"how": how.capitalize(), "what": "; ".join(filter(None, names)), "why": why}
            for (how, why), names in together(
                ((str(row.verdict), row.finding.estimate.note), row.name)
                for row in hurdle.rows
                if row.is_open
            ).items()
        ],
        "limits": _limits(hurdle),
        "methods": _methods(hurdle),
        "drawings": list(drawings([row.finding for row in hurdle.rows])),
        **_evidence(hurdle, thumbnails),
    }


def _groups(rows: Sequence[Row], shared_note: str) -> list[dict[str, Any]]:
    """Return the rows by what sort of number they are; each group has an axis of its own.

    Areas share an axis, and so do shares, whatever exactly was measured; other numbers only with
    those of the same statistic.
    """

    def key(row: Row) -> tuple[Scale, str]:
        alone = row.finding.scale not in (Scale.COUNT, Scale.SHARE, Scale.AUC)
        return row.finding.scale, row.finding.statistic if alone else ""

    groups = together((key(row), row) for row in rows)
    # The model's own area, where the details of a finding give it.
    details = (row.finding.details.get("auc_of_model") for row in rows)
    areas = (given.get("value") if isinstance(given, Mapping) else given for given in details)
    numbers = (float(area) for area in areas if isinstance(area, int | float))
    model = next(filter(math.isfinite, numbers), math.nan)
    return [_group(scale, group, model, shared_note) for (scale, _), group in groups.items()]


def _group(scale: Scale, rows: list[Row], model: float, shared_note: str) -> dict[str, Any]:
    axis = _axis(scale, [row.finding for row in rows])
    marks = {}
    if scale is Scale.AUC and axis:
        marks = {"chance": _CHANCE} | ({"the model": model} if math.isfinite(model) else {})
    heading, statistics = shared_words([row.finding.statistic for row in rows])
    return {
        "statistic": heading,
        "axis": [
            f"{100 * tick:g}{wording.NARROW}%" if scale is Scale.SHARE else f"{tick:g}"
            for tick in axis
        ],
        "step": f"{100 / (len(axis) - 1):.4f}%" if axis else "",
        "marks": [
            {"name": name, "value": f"{value:.3g}", "left": _place(value, axis)}
            for name, value in marks.items()
        ],
        "rows": [
            {
                **_words(row, shared_note),
                **_places(row.finding, axis),
                "statistic": "" if own.casefold() == row.finding.subject.casefold() else own,
            }
            for row, own in zip(rows, statistics, strict=True)
        ],
    }


def _axis(scale: Scale, rows: Sequence[Finding]) -> list[float]:
    """Return the ticks of the axis on which rows are drawn; none if there is nothing to see."""
    if scale is Scale.COUNT or all(_is_exact(row) and not row.limit for row in rows):
        return []
    numbers = [n for row in rows for n in (row.estimate.value, row.estimate.low, row.estimate.high)]
    numbers += [n for r in rows if r.limit is not None for n in (r.limit.value, r.limit.clears)]
    # Beyond an open bound the axis goes on, so that it is seen to be open.
    numbers += [2 * row.estimate.value for row in rows if row.estimate.high == math.inf]
    finite = [n for n in numbers if math.isfinite(n)]
    finite += {Scale.AUC: [_CHANCE, 1.0], Scale.SHARE: [0.0, 1.0]}.get(scale, [])
    return ticks(min(finite), max(finite)) if finite else []


def _is_exact(finding: Finding) -> bool:
    return finding.estimate.low == finding.estimate.value == finding.estimate.high


def _share(value: float, axis: Sequence[float]) -> float:
    return min(max((value - axis[0]) / (axis[-1] - axis[0]), 0.0), 1.0)


def _place(value: float, axis: Sequence[float]) -> str:
    return f"{100 * _share(value, axis):.2f}%"


def shared_words(texts: Sequence[str]) -> tuple[str, list[str]]:
    """Return what texts have in common at their start and end, and what each has of its own."""
    words = [text.split() for text in texts]
    if len(set(texts)) == 1:
        return texts[0], [""] * len(texts)
    shortest = min(map(len, words))
    before = next((i for i in range(shortest) if len({w[i] for w in words}) > 1), shortest)
    left = shortest - before
    after = next((i for i in range(left) if len({w[-1 - i] for w in words}) > 1), left)
    if before + after < _COMMON:
        return "", list(texts)
    own = [" ".join(w[before : len(w) - after]) for w in words]
    return " ".join([*words[0][:before], "…", *words[0][len(words[0]) - after :]]), own


def _words(row: Row, shared_note: str) -> dict[str, Any]:
    """Return the texts of a row."""
    estimate, scale = row.finding.estimate, row.finding.scale
    write = wording.percent if scale is Scale.SHARE else wording.ratio
    if _is_exact(row.finding) or scale is Scale.COUNT:
        bounds = ""
    elif estimate.low == -math.inf and math.isfinite(estimate.high):
        bounds = f"up to {write(estimate.high)}"
    else:
        bounds = wording.interval(estimate, write=write)
    return {
        "name": row.finding.subject or "in all",
        "value": _narrow(row.value).partition(" [")[0].removesuffix(", no interval"),
        "interval": bounds,
        "limit_text": row.limit,
        "margin_text": row.margin,
        "settled": row.settled,
        "note": "" if estimate.note == shared_note else estimate.note,
        **_badge(row.verdict, "not judged"),
    }


def _places(finding: Finding, axis: Sequence[float]) -> dict[str, str]:
    """Return where the marks of a row lie on its axis, in percent of its length."""
    places = dict.fromkeys(("left", "low", "width", "limit", "bad", "margin"), "")
    if not axis:
        return places
    estimate, limit = finding.estimate, finding.limit
    places["left"] = _place(estimate.value, axis)
    low = axis[0] if estimate.low == -math.inf else estimate.low
    high = axis[-1] if estimate.high == math.inf else estimate.high
    if math.isfinite(low) and math.isfinite(high):
        places["low"] = _place(low, axis)
        places["width"] = f"{100 * (_share(high, axis) - _share(low, axis)):.2f}%"
    if limit is not None:
        at = places["limit"] = _place(limit.value, axis)
        is_above = limit.beyond is Beyond.ABOVE
        places["bad"] = f"left:{at};right:0" if is_above else f"left:0;width:{at}"
        if limit.clears != limit.value:
            places["margin"] = _place(limit.clears, axis)
    return places


def _limits(hurdle: Hurdle) -> list[dict[str, str]]:
    """Return every limit and every margin with its source and with what it is of."""
    pairs = []
    for row in hurdle.rows:
        if limit := row.finding.limit:
            pairs.append(((f"No hit if {row.limit}", limit.source), row.finding.subject))
            if row.margin:
                cleared = f"Cleared if all of the interval is {row.margin}"
                pairs.append(((cleared, limit.margin_source), row.finding.subject))
    sources = together(pairs)
    return [
        {
            "limit": limit,
            "source": source,
            "of": "" if len(sources) == 1 else ", ".join(filter(None, subjects)),
        }
        for (limit, source), subjects in sources.items()
    ]


def _methods(hurdle: Hurdle) -> list[str]:
    """Return how intervals were made and what they rest on, each once."""
    lines = []
    for estimate in (row.finding.estimate for row in hurdle.rows):
        if estimate.is_defined:
            on = wording.counted(estimate.n_images, "image")
            if estimate.n_patients:
                on += f" of {wording.counted(estimate.n_patients, 'patient')}"
            # A level shared out over several findings has many digits; those after 99 matter.
            level = f"{100 * estimate.level:.4g}{wording.NARROW}%"
            is_count = estimate.method == COUNTED
            lines.append(
                f"counted in {on}" if is_count else f"{level} {estimate.method}, from {on}"
            )
    return list(dict.fromkeys(lines))


def _evidence(hurdle: Hurdle, thumbnails: Mapping[str, NDArray[np.uint8]]) -> dict[str, Any]:
    """Return the images to look at, each once: as pictures where there are pixels, else by name."""
    rows = [row.finding for row in reversed(hurdle.ranked)]
    # Turned twice, so that an image goes with the loudest of the findings that cite it.
    cited = {(e.image, e.says): row.subject for row in rows for e in reversed(row.evidence)}
    order = list(reversed(cited))
    pictured = [(image, says) for image, says in order if image in thumbnails][:_IMAGES]
    listed = [key for key in order if key not in pictured]
    return {
        "images": [
            {
                "image": image,
                "says": says,
                "subject": cited[image, says],
                "uri": pictures.data_uri(thumbnails[image], "jpeg", longest=_THUMBNAIL),
            }
            for image, says in pictured
        ],
        "listed": [f"{image}: {says}" if says else image for image, says in listed[:_NAMES]],
        "n_unlisted": max(0, len(listed) - _NAMES),
    }
