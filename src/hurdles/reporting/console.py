"""Results as lines of text, for a terminal.

Findings as lines of text, for a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from hurdles.data.manifest import several_sources
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.metrics import METRICS
from hurdles.findings.finding import COULD_NOT, Finding, Scale, Verdict
from hurdles.findings.summary import (
    CLEARED_MEANS,
    against_text,
    name_text,
    ranked,
    sentence,
    settled_text,
    value_text,
)
from hurdles.findings.table import Findings
from hurdles.reporting.wording import counted, odds

if TYPE_CHECKING:
    import pandas as pd

    from hurdles.data.manifest import Manifest
    from hurdles.evaluation.comparisons import Comparison
    from hurdles.evaluation.evaluation import Evaluation
    from hurdles.explanation.heatmap import Heatmap


#: The columns of a terminal; the miss rate, all that sensitivity leaves, is in the JSON.
_MEASURES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "auc": "AUC",
    "diagnostic_odds_ratio": "DOR",
}
#: A p-value below this is not written out.
_SMALLEST_P = 1e-4


def evaluation_lines(result: Evaluation) -> Iterator[str]:
    """Yield what a reader needs of one evaluation: overall measures, each class, and the notes."""
    level = result.get("accuracy").level
    of = f" of {counted(result.n_patients, 'patient')}" if not result.n_unknown else ""
    yield (
        f"Tested on {counted(result.n_images, 'image')}{of}; {100 * level:g} % intervals "
        f"{interval_unit(result.n_images, result.n_unknown)}."
    )
    yield ""
    why: dict[str, None] = {}
    overall = ("accuracy", "balanced_accuracy")
    yield from table_lines(
        ["", "all classes"],
        [[m.replace("_", " "), _short(m, result.get(m), why)] for m in overall],
    )
    yield ""
    rows = [
        [c, str(result.images.get(c, 0)), *(_short(m, result.get(m, c), why) for m in _MEASURES)]
        for c in result.classes
    ]
    yield from table_lines(["class", "images", *_MEASURES.values()], rows)
    yield from _reasons(why)
    yield from (f"note: {note}" for note in result.notes)


def interval_unit(n_images: int, n_unknown: int) -> str:
    """Return what an interval counts: patients, as far as they are known.

    Examples
    --------
    >>> interval_unit(44, 0), interval_unit(44, 44)
    ('by patient', 'by image, since no patient is known')
    """
    if not n_unknown:
        return "by patient"
    if n_unknown == n_images:
        return "by image, since no patient is known"
    return f"by patient, and by image for the {n_unknown} of {n_images} images without one"


def comparison_lines(
    found: Sequence[Comparison], adjusted: Sequence[float], unit: str = "by patient"
) -> Iterator[str]:
    """Yield a table of comparisons, one row per measure and class, and how they were tested."""
    why: dict[str, None] = {}
    rows = [
        [
            _MEASURES.get(c.metric, c.metric.replace("_", " ")),
            c.class_,
            _short(c.metric, c.a, why),
            _short(c.metric, c.b, why),
            _difference(c),
            _p(c.p_value),
            _p(p),
        ]
        for c, p in zip(found, adjusted, strict=True)
    ]
    yield from table_lines(["measure", "class", "A", "B", "A - B, points", "p", "p, Holm"], rows)
    yield from _reasons(why)
    yield ""
    methods = dict.fromkeys(c.p_method for c in found if c.p_value == c.p_value)
    level = found[0].difference.level
    tests = "; ".join(methods) or "none is possible"
    yield f"Tests: {tests}. Intervals at {100 * level:g} %, paired, {unit}."
    yield "Interval and p are of one row alone; only p, Holm allows for all rows together."
    if not any(c.metric == "specificity" for c in found):
        yield (
            "Of two classes, the specificity of one is the sensitivity of the other, the NPV its "
            "PPV, and the AUC one number: each stands here once."
        )
    yield ""
    yield comparison_sentence(found, adjusted)


def comparison_sentence(found: Sequence[Comparison], adjusted: Sequence[float]) -> str:
    """Return what a comparison shows, in a sentence: who is better in what, or that it is open."""
    rows = [(c, p) for c, p in zip(found, adjusted, strict=True) if p == p]
    if not rows:
        return "Inconclusive: no measure of the two can be compared on these images."
    alpha = 1 - found[0].difference.level
    shown = [(c, p) for c, p in rows if p < alpha]
    if not shown:
        return (
            f"Inconclusive: after Holm's adjustment none of the {counted(len(rows), 'row')} sets A "
            f"and B apart; {_clause(*rows[0])}."
        )
    parts = []
    for better, worse, sign in (("A", "B", 1), ("B", "A", -1)):
        won = sorted(((c, p) for c, p in shown if sign * _gain(c) > 0), key=_by_p)
        if won:
            parts.append(
                f"{better} is better than {worse} in {len(won)} of {counted(len(rows), 'row')}, "
                f"most clearly: {_clause(*won[0])}"
            )
    rest = "; the others are inconclusive" if len(shown) < len(rows) else ""
    return f"After Holm's adjustment {'; '.join(parts)}{rest}."


def _gain(comparison: Comparison) -> float:
    """Return by how much A is better than B."""
    gain = comparison.difference.value
    return gain if METRICS[comparison.metric].higher_is_better else -gain


def _by_p(row: tuple[Comparison, float]) -> float:
    return row[1]


def _clause(comparison: Comparison, adjusted: float) -> str:
    c = comparison
    name = _MEASURES.get(c.metric, c.metric.replace("_", " "))
    name += f" of {c.class_}" if c.class_ else ""
    number, ends = _difference(c).split(" ", 1)
    unit = "" if METRICS[c.metric].written == "number" else " points"
    sign = "" if adjusted < _SMALLEST_P else "= "
    return f"{name}, A - B: {number}{unit} {ends}, adjusted p {sign}{_p(adjusted)}"


def collection_lines(collections: pd.DataFrame) -> Iterator[str]:
    """Yield each collection's name, title and license, and where it is or can be had."""
    for row in collections.to_dict(orient="records"):
        yield f"{row['name']}: {row['title']}"
        yield f"    license: {row['license']}"
        here = isinstance(row["folder"], str) and row["folder"]
        yield f"    found: {here}" if here else f"    not found; from: {row['url']}"


def explained(maps: Sequence[Heatmap], images: Sequence[str]) -> list[dict[str, str]]:
    """Return, for JSON, what became of each image that was to be explained."""
    kept = ("image", "target", "speaks", "method", "status", "message")
    made = [{k: str(getattr(m, k)) for k in kept} for m in maps]
    for heat, row in zip(maps, made, strict=True):
        row["target"] = heat.target if heat.has_sign else ""
    lost = [i for i in images if i not in {m.image for m in maps}]
    message = "left out, it cannot be read"
    return [*made, *({"image": i, "status": "unreadable", "message": message} for i in lost)]


def manifest_summary(manifest: Manifest) -> dict[str, Any]:
    """Return what is in a manifest and what was left out, in numbers, for JSON."""
    frame, left_out = manifest.frame, manifest.exclusions["reason"]
    return {
        "images": len(manifest),
        "labels": manifest.counts,
        "sources": manifest.sources,
        "images_without_source": int(frame["source"].isna().sum()),
        "patients": manifest.known_patients or None,
        "patients_unknown": manifest.missing_patients == len(manifest),
        "images_without_patient": manifest.missing_patients,
        "patient_ids_under_several_sources": several_sources(manifest.frame).to_dict(),
        "splits": {str(k): int(v) for k, v in frame["split"].value_counts().items()},
        "with_mask": int(frame["mask"].notna().sum()),
        "left_out": {str(k): int(v) for k, v in left_out.value_counts().items()},
        "notes": list(manifest.notes),
    }


def manifest_lines(manifest: Manifest) -> Iterator[str]:
    """Yield the same for a reader."""
    s = manifest_summary(manifest)
    yield f"{s['images']} images: {_counts(s['labels'])}"
    nowhere = s["images_without_source"] if s["sources"] else 0
    yield f"sources: {', '.join(s['sources']) or 'not named'}" + (
        f"; not named: {nowhere} image{'s' * (nowhere != 1)}" if nowhere else ""
    )
    unknown = s["images_without_patient"]
    if s["patients"] is None:
        yield f"patients unknown: {unknown} image{'s' * (unknown != 1)}"
    else:
        yield f"patients: {s['patients']}" + (
            f"; unknown: {unknown} image{'s' * (unknown != 1)}" if unknown else ""
        )
    if several := s["patient_ids_under_several_sources"]:
        yield (
            f"patient ids under several sources: {len(several)}, for one {next(iter(several))!r} "
            f"under {', '.join(next(iter(several.values())))}; each counts as another person in "
            "each source (--join-patients: as one)"
        )
    if s["splits"]:
        yield f"splits: {_counts(s['splits'])}"
    if s["with_mask"]:
        yield f"lung masks: {s['with_mask']}"
    yield from (f"left out: {n} x {reason}" for reason, n in s["left_out"].items())


def table_lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    r"""Yield a heading and rows in columns as wide as their widest cell.

    Examples
    --------
    >>> print(*table_lines(["class", "n"], [["Normal", "12"]]), sep="\n")
    class   n
    Normal  12
    """
    widths = [max(len(str(r[i])) for r in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        cells = (str(c).ljust(w) for c, w in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{label} {n}" for label, n in counts.items())


def _short(measure: str, found: Estimate, why: dict[str, None]) -> str:
    """Return an estimate, shares in percent; why one is undefined is said once, below the table."""
    if not found.is_defined:
        why[found.note] = None
        return "undefined"
    written = METRICS[measure].written
    if written == "odds":
        value, low, high = (odds(x) for x in (found.value, found.low, found.high))
        return f"{value} [{low}, {high}]"
    return str(found) if written == "number" else found.percent()


def _reasons(why: dict[str, None]) -> Iterator[str]:
    yield from (f"undefined where {reason}" for reason in why)


def _difference(comparison: Comparison) -> str:
    """Return a difference in points of percent; of an AUC, as it is."""
    d = comparison.difference
    if not d.is_defined:
        return "undefined"
    scale, digits = (1, 3) if METRICS[comparison.metric].written == "number" else (100, 1)
    value, low, high = (scale * x for x in (d.value, d.low, d.high))
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _p(value: float) -> str:
    return "-" if value != value else f"{value:.4f}" if value >= _SMALLEST_P else "< 0.0001"


def lineage_lines(
    summary: pd.DataFrame, n_images: int, compared: Mapping[str, str]
) -> Iterator[str]:
    """Yield how many images come from which collection, and what was compared to find out."""
    yield f"Where {n_images:,} images are found:"
    yield ""
    rows = [
        [
            str(row["collection"]),
            f"{row['images']:,}",
            f"{100 * row['share']:.1f} %",
            "" if row["collection"] == summary["collection"].iloc[-1] else f"{row['certain']:,}",
        ]
        for _, row in summary.iterrows()
    ]
    yield from table_lines(["collection", "images", "share", "certain"], rows)
    yield ""
    by = {how: [n for n, what in compared.items() if what == how] for how in ("pixels", "hashes")}
    if by["pixels"]:
        yield f"Compared by aligned pixels: {', '.join(by['pixels'])} (found on this machine)."
    if by["hashes"]:
        yield (
            f"Compared by hashes only: {', '.join(by['hashes'])}. Hashes miss copies that were "
            "cropped unevenly or drawn upon: an image that is found nowhere may still be one. Put "
            "the collection under $HURDLES_DATA to compare its pixels."
        )
    yield "An image may stand in several collections. Research use only."


def lungs_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield what became of each image that is not well, and how many are."""
    for row in table[table["status"] != "ok"].itertuples():
        yield f"{row.status}: {row.path}: {row.flaw}"
    counts = table["status"].value_counts()
    parts = [f"{counts.get(s, 0)} {s}" for s in ("ok", "flagged", "unreadable")]
    yield f"lungs in {len(table)} images: {', '.join(parts)}"


def plan_lines(plan: pd.DataFrame) -> Iterator[str]:
    """Yield a study's cells with their status and numbers of images."""
    columns = [c for c in plan.columns if c not in {"folder", "message"}]
    rows = [[_number(value) for value in row] for row in plan[columns].to_numpy().tolist()]
    yield from table_lines(columns, rows)
    counts = plan["status"].value_counts()
    yield ""
    yield "; ".join(f"{n} {status}" for status, n in counts.items())


def _number(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return "" if value is None else str(value)


_WIDTH = 100
_INDENT = "    "
#: How many findings of a hurdle are named: those of a hit, and those of any other verdict.
_HITS, _OTHERS = 4, 2
_ADVICE = 3
_WORDS = {
    Verdict.HIT: "HIT",
    Verdict.FAILED: "FAILED",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.CLEARED: "cleared",
    Verdict.COULD_NOT_RUN: "could not run",
    Verdict.SHOWN: "not judged",
}


def finding_lines(findings: Findings) -> list[str]:
    r"""Return what a reader needs of all findings, in lines of at most 100 characters.

    For each hurdle its verdict and its question, the findings that speak loudest with interval and
    limit, what to do about a hit, and why something could not run; then the overall answer.

    Examples
    --------
    >>> from hurdles.findings.finding import Limit, counted
    >>> shared = Finding("duplicates", "", "pairs", counted(3, n_images=90), Limit(0, "by name"))
    >>> findings = Findings((shared,), {"duplicates": "Are any images shared?"})
    >>> print(*finding_lines(findings), sep="\n")
    HIT            duplicates - Are any images shared?
        pairs: 3 (hit above 0)
    <BLANKLINE>
    1 of 1 hurdle is hit (duplicates).
    Research use only. Not a medical device.
    """
    lines = [line for hurdle in findings.hurdles for line in _hurdle_lines(findings, hurdle)]
    lines += [""] if lines else []
    lines += _wrapped(sentence(findings), "", "")
    if findings.with_verdict(Verdict.CLEARED):
        lines += _wrapped(CLEARED_MEANS, "", "")
    if patients := findings.about.get("patients"):
        lines += _wrapped(f"Patients: {patients}.", "", "")
    return [*lines, "Research use only. Not a medical device."]


def _hurdle_lines(findings: Findings, hurdle: str) -> Iterator[str]:
    verdict = findings.verdict(hurdle)
    widest = max(map(len, _WORDS.values())) + 2
    head = f"{_WORDS[verdict].ljust(widest)}{hurdle} - {findings.questions[hurdle]}"
    yield from _wrapped(head, "", " " * widest)
    rows = ranked(findings.of(hurdle))
    hits = [row for row in rows if row.verdict is Verdict.HIT]
    missing = [row for row in rows if row.verdict in (Verdict.COULD_NOT_RUN, Verdict.FAILED)]
    if hits:
        yield from _named(hits, _HITS, "more hit")
    else:
        for other in (Verdict.INCONCLUSIVE, Verdict.CLEARED, Verdict.SHOWN):
            if those := [row for row in rows if row.verdict is other]:
                yield from _named(those, _OTHERS, f"more {_WORDS[other]}")
                break
    counts = [row for row in rows if row.scale is Scale.COUNT and row.estimate.is_defined]
    if len(counts) > 1:
        yield from _wrapped(f"counts: {', '.join(f'{r.subject} {value_text(r)}' for r in counts)}")
    advice = list(dict.fromkeys(row.advice for row in hits if row.advice))
    for line in advice[:_ADVICE]:
        yield from _wrapped(f"do: {line}")
    if len(advice) > _ADVICE:
        yield f"{_INDENT}and {len(advice) - _ADVICE} more to do; see the page"
    for why in dict.fromkeys(row.estimate.note for row in missing):
        which = [row.subject for row in missing if row.estimate.note == why and _is_named(row)]
        yield from _wrapped(f"could not run ({_few(which)}): {why}" if which else why)


def _named(rows: list[Finding], most: int, rest: str) -> Iterator[str]:
    """Yield the first findings; those of one statistic in a table beneath its words."""
    tables: dict[str, list[Finding]] = {}
    for row in rows[:most]:
        tables.setdefault(f"{row.statistic} ({against_text(row)})", []).append(row)
    for words, together in tables.items():
        if len(together) == 1:
            (row,) = together
            against = "; ".join(filter(None, (against_text(row), settled_text(row))))
            yield from _wrapped(f"{name_text(row)}: {value_text(row)} ({against})")
            continue
        yield from _wrapped(f"{words}:")
        widest = min(max(len(row.subject) for row in together), _WIDTH // 2)
        for row in together:
            more = settled_text(row)
            text = f"{row.subject.ljust(widest)}  {value_text(row)}{f'; {more}' if more else ''}"
            yield from _wrapped(text, _INDENT * 2, _INDENT * 3)
    if len(rows) > most:
        yield f"{_INDENT}and {len(rows) - most} {rest}"


def _is_named(finding: Finding) -> bool:
    # What `run_hurdles` says of a hurdle that could not run as a whole is said by the verdict.
    return finding.subject not in ("", COULD_NOT)


def _few(names: list[str], most: int = 4) -> str:
    named = ", ".join(names[:most])
    return named + (f" and {len(names) - most} more" if len(names) > most else "")


def _wrapped(text: str, first: str = _INDENT, later: str = _INDENT * 2) -> list[str]:
    return wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
    )
