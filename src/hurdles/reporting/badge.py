"""A badge: how many hurdles are hit, as a small SVG that needs no network and no font."""

from __future__ import annotations

from html import escape

from hurdles._version import USE_SENTENCE
from hurdles.findings.finding import Verdict
from hurdles.findings.summary import sentence
from hurdles.findings.table import Findings

#: No color says that all is well: what is cleared proves that much and no more.
_HIT, _OPEN, _NONE, _NAME = "#9f2a1f", "#6a5f2a", "#3f5870", "#3a3a3a"
_HEIGHT, _PAD, _SIZE = 20, 7, 11
#: Widths of Verdana's signs in thousandths of the size, and that of any other.
_NARROW, _WIDE, _USUAL = {*"fijlrtI.,: "}, {*"mwMW%"}, 620


def badge_text(findings: Findings) -> str:
    """Return how many hurdles are hit, of how many, and how many say nothing either way.

    Examples
    --------
    >>> badge_text(Findings((), {}))
    'no hurdle was run'
    """
    total = len(findings.hurdles)
    if not total:
        return "no hurdle was run"
    numbers = {verdict: len(findings.with_verdict(verdict)) for verdict in Verdict}
    hits, faults = numbers[Verdict.HIT], numbers[Verdict.FAILED]
    undecided = numbers[Verdict.INCONCLUSIVE] + numbers[Verdict.COULD_NOT_RUN]
    if undecided == total:
        return f"none of {total} decided"
    words = [f"{hits} hit{'' if hits == 1 else 's'} of {total}"]
    words += [f"{faults} failed"] if faults else []
    words += [f"{undecided} undecided"] if undecided else []
    return ", ".join(words)


def badge_svg(findings: Findings) -> str:
    """Return the badge of findings; who points at it reads the whole sentence."""
    name, text = "hurdles", badge_text(findings)
    left, right = (_width(words) + 2 * _PAD for words in (name, text))
    title = escape(f"{sentence(findings)} {USE_SENTENCE}")
    color = _color(findings)
    middle = f'y="14" font-size="{_SIZE}" text-anchor="middle" fill="#fff" lengthAdjust="spacing"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" '
        f'role="img" aria-label="{escape(f"{name}: {text}")}">\n'
        f"<title>{title}</title>\n"
        f'<rect width="{left + right}" height="{_HEIGHT}" rx="3" fill="{_NAME}"/>\n'
        f'<path fill="{color}" d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v{_HEIGHT - 6}a3 3 0 0 1-3 3'
        f'h-{right - 3}z"/>\n'
        f'<g font-family="Verdana,DejaVu Sans,sans-serif">\n'
        f'<text x="{left / 2:g}" {middle} textLength="{left - 2 * _PAD}">{name}</text>\n'
        f'<text x="{left + right / 2:g}" {middle} textLength="{right - 2 * _PAD}">'
        f"{escape(text)}</text>\n"
        "</g>\n</svg>\n"
    )


def _color(findings: Findings) -> str:
    if findings.with_verdict(Verdict.HIT) or findings.with_verdict(Verdict.FAILED):
        return _HIT
    undecided = (Verdict.INCONCLUSIVE, Verdict.COULD_NOT_RUN)
    return _OPEN if any(map(findings.with_verdict, undecided)) else _NONE


def _width(text: str) -> int:
    """Return about how wide text is in Verdana, in pixels; the SVG stretches it to that."""
    signs = (390 if c in _NARROW else 950 if c in _WIDE else _USUAL for c in text)
    return round(sum(signs) * _SIZE / 1000)
