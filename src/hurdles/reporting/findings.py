"""Findings for people: lines for a terminal, a page, and a part of a run's report.

Findings as rows of text and of places on an axis, for a page to set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles._version import __version__
from hurdles.data.files import write_text
from hurdles.findings.finding import COULD_NOT, COUNTED, Beyond, Finding, Scale, Verdict
from hurdles.findings.summary import (
    CLEARED_MEANS,
    answer,
    limit_text,
    margin_text,
    name_text,
    ranked,
    settled_text,
    value_text,
    worst,
)
from hurdles.findings.table import Findings
from hurdles.reporting import pictures, wording
from hurdles.reporting.charts import Drawing, drawings, ticks
from hurdles.reporting.template import template

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


def hurdle_rows(findings: Findings) -> list[dict[str, Any]]:
    """Return the table of hurdles: each with its verdict and the number that tells most."""
    rows = []
    for hurdle, question in findings.questions.items():
        loudest = worst(findings, hurdle)
        rows.append(
            {
                "name": hurdle,
                "anchor": _anchor(hurdle),
                "question": question,
                **_hurdle_badge(findings, hurdle),
                "subject": "" if loudest is None else _named(loudest),
                "value": "" if loudest is None or _is_open(loudest) else _value(loudest),
                "why": loudest.estimate.note if loudest and _is_open(loudest) else "",
                "limit": "" if loudest is None or loudest.limit is None else limit_text(loudest),
                "settled": "" if loudest is None else settled_text(loudest),
            }
        )
    return rows


def hurdle_blocks(
    findings: Findings, thumbnails: Mapping[str, NDArray[np.uint8]]
) -> list[dict[str, Any]]:
    """Return what is shown of each hurdle: rows in groups, limits, advice, images, what lacks."""
    return [_block(findings, hurdle, thumbnails) for hurdle in findings.hurdles]


def _block(
    findings: Findings, hurdle: str, thumbnails: Mapping[str, NDArray[np.uint8]]
) -> dict[str, Any]:
    found = findings.of(hurdle)
    rows = found if hurdle == "views" else ranked(found)
    shown = [row for row in rows if not _is_open(row)]
    hits = [row for row in ranked(found) if row.verdict is Verdict.HIT]
    return {
        "name": hurdle,
        "anchor": _anchor(hurdle),
        "question": findings.questions[hurdle],
        **_hurdle_badge(findings, hurdle),
        "note": (note := _shared_note(shown)),
        "groups": _groups(shown[:_ROWS], note),
        "more": _groups(shown[_ROWS:], note),
        "n_more": len(shown[_ROWS:]),
        "advice": list(dict.fromkeys(row.advice for row in hits if row.advice)),
        "open": _missing([row for row in found if _is_open(row)]),
        "limits": _limits(found),
        "methods": _methods(found),
        **_evidence(ranked(found), thumbnails),
    }


def _shared_note(rows: Sequence[Finding]) -> str:
    """Return the note that all rows have, so that it is said once; empty where they differ."""
    notes = {row.estimate.note for row in rows}
    return notes.pop() if len(rows) > 1 and len(notes) == 1 else ""


def _hurdle_badge(findings: Findings, hurdle: str) -> dict[str, str]:
    verdict = findings.verdict(hurdle)
    words = "nothing judged" if verdict is Verdict.SHOWN else str(verdict)
    return {"verdict": words, "class": _CLASSES[verdict]}


def _badge(finding: Finding) -> dict[str, str]:
    verdict = finding.verdict
    words = "not judged" if verdict is Verdict.SHOWN else str(verdict)
    return {"verdict": words, "class": _CLASSES[verdict]}


def _is_open(finding: Finding) -> bool:
    return finding.verdict in (Verdict.COULD_NOT_RUN, Verdict.FAILED)


def _named(finding: Finding) -> str:
    return "" if finding.subject == COULD_NOT else name_text(finding)


def _value(finding: Finding) -> str:
    return value_text(finding).replace(" %", f"{wording.NARROW}%")


def _anchor(hurdle: str) -> str:
    kept = "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in hurdle.lower())
    return f"hurdle-{kept}"


def _groups(rows: Sequence[Finding], said: str) -> list[dict[str, Any]]:
    """Return the rows by what sort of number they are; each group has an axis of its own.

    Areas share an axis, and so do shares, whatever exactly was measured; other numbers only with
    those of the same statistic.
    """
    groups: dict[tuple[Scale, str], list[Finding]] = {}
    for row in rows:
        alone = row.scale not in (Scale.COUNT, Scale.SHARE, Scale.AUC)
        groups.setdefault((row.scale, row.statistic if alone else ""), []).append(row)
    model = _model_area(rows)
    return [_group(scale, together, model, said) for (scale, _), together in groups.items()]


def _group(sort: Scale, rows: list[Finding], model: float, said: str) -> dict[str, Any]:
    on_axis = sort is not Scale.COUNT and any(not _is_exact(r) or r.limit for r in rows)
    axis = _axis(sort, rows) if on_axis else []
    marks = []
    if sort is Scale.AUC and axis:
        marks = [("chance", _CHANCE)] + ([("the model", model)] if math.isfinite(model) else [])
    heading, rests = _shared_words([row.statistic for row in rows])
    own = [
        "" if rest.casefold() == row.subject.casefold() else rest
        for row, rest in zip(rows, rests, strict=True)
    ]
    return {
        "statistic": heading,
        "axis": [_written(tick, sort) for tick in axis],
        "step": f"{100 / (len(axis) - 1):.4f}%" if axis else "",
        "marks": [
            {"name": name, "value": f"{value:.3g}", "left": _place(value, axis)}
            for name, value in marks
        ],
        "rows": [
            {**_row(r, axis, said), "statistic": says} for r, says in zip(rows, own, strict=True)
        ],
    }


def _shared_words(texts: Sequence[str]) -> tuple[str, list[str]]:
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


def _is_exact(finding: Finding) -> bool:
    found = finding.estimate
    return found.low == found.value == found.high


def _row(finding: Finding, axis: Sequence[float], said: str) -> dict[str, Any]:
    found = finding.estimate
    row = {
        "name": finding.subject or "in all",
        "value": _value(finding).partition(" [")[0].removesuffix(", no interval"),
        "interval": _bounds(finding),
        "limit_text": limit_text(finding) if finding.limit is not None else "",
        "margin_text": margin_text(finding),
        "settled": settled_text(finding),
        "note": "" if found.note == said else found.note,
        **_badge(finding),
    }
    if not axis:
        return {**row, "left": ""}
    low = axis[0] if found.low == -math.inf else found.low
    high = axis[-1] if found.high == math.inf else found.high
    has_interval = math.isfinite(low) and math.isfinite(high)
    row |= {
        "left": _place(found.value, axis),
        "low": "",
        "width": "",
        "limit": "",
        "bad": "",
        "margin": "",
    }
    if has_interval:
        width = (_share(high, axis) - _share(low, axis)) * 100
        row |= {"low": _place(low, axis), "width": f"{width:.2f}%"}
    if finding.limit is not None:
        at = _share(finding.limit.value, axis)
        above = finding.limit.beyond is Beyond.ABOVE
        row["limit"] = f"{100 * at:.2f}%"
        row["bad"] = f"left:{100 * at:.2f}%;right:0" if above else f"left:0;width:{100 * at:.2f}%"
        row["margin"] = (
            f"{100 * _share(finding.limit.clears, axis):.2f}%" if margin_text(finding) else ""
        )
    return row


def _bounds(finding: Finding) -> str:
    if _is_exact(finding) or finding.scale is Scale.COUNT:
        return ""
    write = wording.percent if finding.scale is Scale.SHARE else wording.ratio
    found = finding.estimate
    if found.low == -math.inf and math.isfinite(found.high):
        return f"up to {write(found.high)}"
    return wording.interval(found, write=write)


def _axis(sort: Scale, rows: Sequence[Finding]) -> list[float]:
    numbers = [n for row in rows for n in (row.estimate.value, row.estimate.low, row.estimate.high)]
    numbers += [n for r in rows if r.limit is not None for n in (r.limit.value, r.limit.clears)]
    # Beyond an open bound the axis goes on, so that it is seen to be open.
    numbers += [2 * row.estimate.value for row in rows if row.estimate.high == math.inf]
    finite = [n for n in numbers if math.isfinite(n)]
    if sort is Scale.AUC:
        finite += [_CHANCE, 1.0]
    if sort is Scale.SHARE:
        finite += [0.0, 1.0]
    return ticks(min(finite), max(finite)) if finite else []


def _share(value: float, axis: Sequence[float]) -> float:
    return min(max((value - axis[0]) / (axis[-1] - axis[0]), 0.0), 1.0)


def _place(value: float, axis: Sequence[float]) -> str:
    return f"{100 * _share(value, axis):.2f}%"


def _written(tick: float, sort: Scale) -> str:
    return f"{100 * tick:g}{wording.NARROW}%" if sort is Scale.SHARE else f"{tick:g}"


def _model_area(rows: Sequence[Finding]) -> float:
    """Return the model's own area, where the details of a finding give it."""
    for row in rows:
        said = row.details.get("auc_of_model")
        said = said.get("value") if isinstance(said, Mapping) else said
        if isinstance(said, int | float) and math.isfinite(said):
            return float(said)
    return math.nan


def _missing(rows: Sequence[Finding]) -> list[dict[str, str]]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        how = str(row.verdict).capitalize()
        reasons.setdefault((how, row.estimate.note), []).append(_named(row))
    return [
        {"how": how, "what": "; ".join(name for name in names if name), "why": why}
        for (how, why), names in reasons.items()
    ]


def _limits(rows: Sequence[Finding]) -> list[dict[str, str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.limit is not None:
            hit = (f"No hit if {limit_text(row)}", row.limit.source)
            found.setdefault(hit, []).append(row.subject)
            if margin := margin_text(row):
                cleared = (f"Cleared if all of the interval is {margin}", row.limit.margin_source)
                found.setdefault(cleared, []).append(row.subject)
    alone = len(found) == 1
    return [
        {"limit": limit, "source": source, "of": "" if alone else ", ".join(filter(None, subjects))}
        for (limit, source), subjects in found.items()
    ]


def _methods(rows: Sequence[Finding]) -> list[str]:
    """Return how intervals were made and what they rest on, each once."""
    defined = [row.estimate for row in rows if row.estimate.is_defined]
    lines = []
    for e in defined:
        on = wording.counted(e.n_images, "image")
        on += f" of {wording.counted(e.n_patients, 'patient')}" if e.n_patients else ""
        is_count = e.method == COUNTED
        lines.append(f"counted in {on}" if is_count else f"{_level(e.level)} {e.method}, from {on}")
    return list(dict.fromkeys(lines))


def _level(value: float) -> str:
    # A level shared out over several findings has many digits; its place after 99 is what matters.
    return f"{100 * value:.4g}{wording.NARROW}%"


def _evidence(
    rows: Sequence[Finding], thumbnails: Mapping[str, NDArray[np.uint8]]
) -> dict[str, Any]:
    cited = {(e.image, e.says): (row, e) for row in reversed(rows) for e in reversed(row.evidence)}
    seen = list(reversed(cited.values()))
    pictured = [(row, e) for row, e in seen if e.image in thumbnails][:_IMAGES]
    drawn = {(e.image, e.says) for _, e in pictured}
    named = [(row, e) for row, e in seen if (e.image, e.says) not in drawn]
    return {
        "images": [
            {
                "image": e.image,
                "says": e.says,
                "subject": row.subject,
                "uri": pictures.data_uri(thumbnails[e.image], "jpeg", longest=_THUMBNAIL),
            }
            for row, e in pictured
        ],
        "named": [f"{e.image}: {e.says}" if e.says else e.image for _, e in named[:_NAMES]],
        "n_unnamed": max(0, len(named) - _NAMES),
    }


def write_findings(
    findings: Findings,
    path: str | Path,
    *,
    title: str,
    intro: str = "",
    figures: Sequence[Drawing] = (),
    thumbnails: Mapping[str, NDArray[np.uint8]] | None = None,
) -> Path:
    """Write findings as one self-contained HTML page, whole or not at all, and return its path."""
    page = render_findings(
        findings, title=title, intro=intro, figures=figures, thumbnails=thumbnails
    )
    write_text(path, page)
    return Path(path)


def render_findings(
    findings: Findings,
    *,
    title: str,
    intro: str = "",
    figures: Sequence[Drawing] = (),
    thumbnails: Mapping[str, NDArray[np.uint8]] | None = None,
) -> str:
    """Return the same page as text: no script, nothing loaded from anywhere."""
    return template("findings.html.j2").render(
        title=title,
        intro=intro,
        version=__version__,
        pictures=bool(thumbnails),
        audit=findings_content(findings, figures=figures, thumbnails=thumbnails),
    )


def findings_content(
    findings: Findings,
    *,
    figures: Sequence[Drawing] = (),
    thumbnails: Mapping[str, NDArray[np.uint8]] | None = None,
) -> dict[str, Any]:
    """Return what the parts of the templates that show findings need."""
    said = answer(findings)
    blocks = hurdle_blocks(findings, thumbnails or {})
    drawn = [*drawings(findings), *figures]
    for block in blocks:
        block["drawings"] = [_drawing(d) for d in drawn if d.hurdle == block["name"]]
    return {
        "headline": _sentence(said.fact or said.tally),
        "tally": _sentence(said.tally) if said.fact else "",
        "cleared_means": CLEARED_MEANS if findings.with_verdict(Verdict.CLEARED) else "",
        "rows": hurdle_rows(findings),
        "blocks": blocks,
        "about": list(findings.about.items()),
    }


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _drawing(drawing: Drawing) -> dict[str, str]:
    from base64 import b64encode

    encoded = b64encode(drawing.png).decode("ascii") if drawing.png else ""
    uri = f"data:image/png;base64,{encoded}" if encoded else ""
    return {
        "title": drawing.title,
        "svg": drawing.svg,
        "summary": drawing.summary,
        "uri": uri,
    }
