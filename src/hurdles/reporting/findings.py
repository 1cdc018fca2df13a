"""Findings for people: lines for a terminal, a page, and a part of a run's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles._version import __version__
from hurdles.data.files import write_text
from hurdles.findings.finding import Verdict
from hurdles.findings.summary import CLEARED_MEANS, answer
from hurdles.findings.table import Findings
from hurdles.reporting.findings_figures import Drawing, drawings
from hurdles.reporting.findings_rows import hurdle_blocks, hurdle_rows
from hurdles.reporting.template import template


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
