"""A page against its JSON: it is rendered again, and every word and number compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np

from hurdles._version import __version__
from hurdles.findings.table import Findings
from hurdles.reporting.findings import findings_markdown
from hurdles.reporting.findings_page import render_findings
from hurdles.runs.presentation import page_text
from hurdles.runs.run import Run
from hurdles.verifying.verification import Line, agrees, differs, not_checked

_URI = re.compile(r"data:image/[^\"]+")
_META = r'<meta name="{}" content="([^"]*)">'
#: A difference is shown from this many signs before it on.
_BEFORE, _SHOWN = 20, 70


def page_lines(path: Path, findings: Findings, source: str) -> Iterator[Line]:
    """Yield whether a page of findings shows those of a JSON file, which `source` names."""
    page = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        again = findings_markdown(findings, title="")
        parts = [text.partition("\n")[2] for text in (page, again)]  # the title is the page's own
        yield from _compared(path.name, source, *parts)
        return
    known = _first(_META.format("findings"), page)
    if known and known != findings.digest:
        yield differs(path.name, f"made of the findings {known[:16]}..., not of {source}")
    elif not known:
        yield not_checked(path.name, "it names no findings: an earlier version wrote it")
    version = _first(_META.format("generator"), page)
    if version != f"hurdles {__version__}":
        why = f"written by {version or 'nobody named'}, and this is hurdles {__version__}"
        yield not_checked(f"{path.name}, its words and numbers", why)
        return
    names = [unescape(name) for name in re.findall(r'<span class="file" title="([^"]*)">', page)]
    blank = np.zeros((2, 2), np.uint8)
    title = unescape(_first(r"<title>(.*?)</title>", page))
    again = render_findings(findings, title=title, thumbnails=dict.fromkeys(names, blank))
    yield from _compared(path.name, source, page, again)
    if names:
        why = f"whether {len(names)} pictures are the images that they are called"
        yield not_checked(f"{path.name}, its pictures", why)


def report_lines(run: Run, on: str) -> Iterator[Line]:
    """Yield whether the report of a run shows what the run's folder holds."""
    path = run.page_path(on)
    page = path.read_text(encoding="utf-8")
    version = _first(_META.format("generator"), page)
    if version != f"hurdles {__version__}":
        why = f"written by {version or 'nobody named'}, not by hurdles {__version__}"
        yield not_checked(path.name, why)
        return
    pictures = "<code>hurdles report RUN --no-images</code>" in page
    again = page_text(run, on=on, pictures=pictures)
    yield from _compared(path.name, "the run's folder", page, again)
    if pictures and len(_URI.findall(page)) == len(_URI.findall(again)):
        same = _URI.findall(page) == _URI.findall(again)
        of = f"{path.name}, its pictures"
        yield agrees(of, "those of heatmaps.npz") if same else differs(of, "others in heatmaps.npz")


def _compared(name: str, source: str, page: str, again: str) -> Iterator[Line]:
    of = f"{name}, its words and numbers"
    one, two = (_URI.sub("", text) for text in (page, again))
    if one == two:
        yield agrees(of, f"all as {source} gives them")
        return
    pairs = enumerate(zip(one, two, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(one), len(two)))
    begin = max(0, at - _BEFORE)
    before, after = (" ".join(text[begin : begin + _SHOWN].split()) for text in (one, two))
    yield differs(of, f"{before!r} stands there, {source} gives {after!r}")


def _first(pattern: str, page: str) -> str:
    match = re.search(pattern, page, re.DOTALL)
    return match.group(1) if match else ""
