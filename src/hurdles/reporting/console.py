"""Results as lines of text for a terminal, and as records for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hurdles.data.manifest import several_sources
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.metrics import METRICS
from hurdles.reporting.wording import counted, odds

if TYPE_CHECKING:
    import pandas as pd

    from hurdles.data.manifest import Manifest
    from hurdles.evaluation.comparisons import Comparison
    from hurdles.evaluation.conditions import Conditional
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
    "average_precision": "AP",
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
    yield from table_lines(
        ["", "all classes"],
        [
            [measure.replace("_", " "), _short(measure, result.get(measure), why)]
            for measure in ("accuracy", "balanced_accuracy")
        ],
    )
    yield ""
    # Files of older versions lack what is new.
    known = {m: head for m, head in _MEASURES.items() if (m, result.classes[0]) in result.estimates}
    rows = [
        [c, str(result.images.get(c, 0)), *(_short(m, result.get(m, c), why) for m in known)]
        for c in result.classes
    ]
    yield from table_lines(["class", "images", *(known[m] for m in known)], rows)
    yield from _weighted_lines(result, why)
    if result.conditional:
        yield ""
        yield from table_lines(
            ["at a condition", "class", "value", "resting on"],
            [
                [row.title, row.class_, _condition(row, why), row.basis]
                for row in result.conditional
            ],
        )
    yield from (f"undefined where {reason}" for reason in why)
    yield from (f"note: {note}" for note in result.notes)


def _weighted_lines(result: Evaluation, why: dict[str, None]) -> Iterator[str]:
    """Yield the measures in which each patient counts once, where some have several images."""
    found = result.patient_weighted
    if not found:
        return
    per_class = dict.fromkeys(measure for measure, class_ in found if class_)
    yield ""
    yield from table_lines(
        ["each patient once", "all classes"],
        [
            [measure.replace("_", " "), _short(measure, each, why)]
            for (measure, class_), each in found.items()
            if not class_
        ],
    )
    yield ""
    rows = [
        [c, str(result.patients.get(c, 0)), *(_short(m, found[m, c], why) for m in per_class)]
        for c in result.classes
    ]
    heads = (_MEASURES[m] for m in per_class)
    yield from table_lines(["each patient once", "patients", *heads], rows)


def _condition(row: Conditional, why: dict[str, None]) -> str:
    if row.estimate.is_defined:
        return row.written()
    why[row.estimate.note] = None
    return "undefined"


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


def comparison_records(
    comparisons: Sequence[Comparison], adjusted: Sequence[float]
) -> list[dict[str, Any]]:
    """Return comparisons with their adjusted p, for JSON."""
    pairs = zip(comparisons, adjusted, strict=True)
    return [{**c.to_dict(), "p_holm": p if p == p else None} for c, p in pairs]


def comparison_lines(
    comparisons: Sequence[Comparison], adjusted: Sequence[float], unit: str = "by patient"
) -> Iterator[str]:
    """Yield a table of comparisons, one row per measure and class, and how they were tested."""
    why: dict[str, None] = {}
    rows = [
        [
            _measure(c),
            c.class_,
            _short(c.metric, c.a, why),
            _short(c.metric, c.b, why),
            _difference(c),
            _p(c.p_value),
            _p(p),
        ]
        for c, p in zip(comparisons, adjusted, strict=True)
    ]
    apart = (c for c in comparisons if c.a.is_defined and c.b.is_defined)
    why |= dict.fromkeys(c.difference.note for c in apart if not c.difference.is_defined)
    yield from table_lines(["measure", "class", "A", "B", "A - B, points", "p", "p, Holm"], rows)
    yield from (f"undefined where {reason}" for reason in why)
    yield ""
    methods = dict.fromkeys(c.p_method for c in comparisons if c.p_value == c.p_value)
    level = comparisons[0].difference.level
    tests = "; ".join(methods) or "none is possible"
    yield f"Tests: {tests}. Intervals at {100 * level:g} %, paired, {unit}."
    yield "Interval and p are of one row alone; only p, Holm allows for all rows together."
    compared = {c.metric for c in comparisons}
    areas = [c.class_ for c in comparisons if c.metric == "auc"]
    # Where measures were asked for by name, all that was asked stands there.
    if {"sensitivity", "ppv"} <= compared and len(areas) == 1 and "specificity" not in compared:
        yield (
            "Of two classes, the specificity of one is the sensitivity of the other, the NPV its "
            "PPV, and the AUC one number: each stands here once."
        )
    yield ""
    yield comparison_sentence(comparisons, adjusted)
    yield from margin_lines(comparisons)


def margin_lines(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield whether A is no worse than B, for every row with a margin, and how to read that."""
    judged = [c for c in comparisons if c.margin is not None]
    if not judged:
        return
    yield ""
    yield "Is A no worse than B?"
    for c in judged:
        margin = (
            f"{c.margin:g}"
            if METRICS[c.metric].written == "number"
            else (f"{100 * (c.margin or 0):g} points")
        )
        name = _measure(c) + (f" of {c.class_}" if c.class_ else "")
        yield f"{name}, margin {margin}: {c.verdict}; A - B {_difference(c)}"
    tail = 50 * (1 - judged[0].difference.level)
    yield (
        "non-inferior: the whole interval is better than the margin; inferior: the whole of it is "
        f"worse. Only one end decides, so each is a one-sided test at {tail:g} %, of one row alone."
    )
    yield "A margin says something only if it was fixed before the numbers were seen."


def comparison_sentence(comparisons: Sequence[Comparison], adjusted: Sequence[float]) -> str:
    """Return what a comparison shows, in a sentence: who is better in what, or that it is open."""

    def gain(c: Comparison) -> float:  # of A over B
        return c.difference.value if METRICS[c.metric].higher_is_better else -c.difference.value

    rows = [(c, p) for c, p in zip(comparisons, adjusted, strict=True) if p == p]
    if not rows and any(c.difference.is_defined for c in comparisons):
        return "None of these rows has a test; their intervals say how far A and B may be apart."
    if not rows:
        return "Inconclusive: no measure of the two can be compared on these images."
    of = counted(len(rows), "row")
    shown = [(c, p) for c, p in rows if p < 1 - comparisons[0].difference.level]
    if not shown:
        return (
            f"Inconclusive: after Holm's adjustment none of the {of} sets A and B apart; "
            f"{_clause(*rows[0])}."
        )
    parts = []
    for better, worse, sign in (("A", "B", 1), ("B", "A", -1)):
        won = [(c, p) for c, p in shown if sign * gain(c) > 0]
        if won:
            clearest = min(won, key=lambda row: row[1])
            parts.append(
                f"{better} is better than {worse} in {len(won)} of {of}, "
                f"most clearly: {_clause(*clearest)}"
            )
    rest = "; the others are inconclusive" if len(shown) < len(rows) else ""
    return f"After Holm's adjustment {'; '.join(parts)}{rest}."


def _clause(comparison: Comparison, adjusted: float) -> str:
    name = _measure(comparison) + (f" of {comparison.class_}" if comparison.class_ else "")
    number, ends = _difference(comparison).split(" ", 1)
    unit = "" if METRICS[comparison.metric].written == "number" else " points"
    sign = "" if adjusted < _SMALLEST_P else "= "
    return f"{name}, A - B: {number}{unit} {ends}, adjusted p {sign}{_p(adjusted)}"


def _measure(comparison: Comparison) -> str:
    return _MEASURES.get(comparison.metric, comparison.metric.replace("_", " "))


def collection_lines(collections: pd.DataFrame) -> Iterator[str]:
    """Yield each collection's name, title and license, and where it is or can be had."""
    for row in collections.to_dict(orient="records"):
        yield f"{row['name']}: {row['title']}"
        yield f"    license: {row['license']}"
        here = isinstance(row["folder"], str) and row["folder"]
        yield f"    found: {here}" if here else f"    not found; from: {row['url']}"


def heatmap_records(maps: Sequence[Heatmap], images: Sequence[str]) -> list[dict[str, str]]:
    """Return, for JSON, what became of each image that was to be explained."""
    kept = ("image", "target", "speaks", "method", "status", "message")
    records = [{k: str(getattr(heat, k)) for k in kept} for heat in maps]
    for heat, record in zip(maps, records, strict=True):
        record["target"] = heat.target if heat.has_sign else ""
    message = "left out, it cannot be read"
    lost = [image for image in images if image not in {heat.image for heat in maps}]
    return records + [{"image": i, "status": "unreadable", "message": message} for i in lost]


def heatmap_lines(records: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield the same for a reader."""
    for r in records:
        yield f"{r['image']}: {r['message'] or r['method'] + ' ' + r['speaks']}"


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

    def images(n: int) -> str:
        return f"{n} image{'s' * (n != 1)}"

    def counts(numbers: dict[str, int]) -> str:
        return ", ".join(f"{label} {n}" for label, n in numbers.items())

    s = manifest_summary(manifest)
    yield f"{s['images']} images: {counts(s['labels'])}"
    nowhere = s["images_without_source"] if s["sources"] else 0
    yield f"sources: {', '.join(s['sources']) or 'not named'}" + (
        f"; not named: {images(nowhere)}" if nowhere else ""
    )
    unknown = images(s["images_without_patient"])
    if s["patients"] is None:
        yield f"patients unknown: {unknown}"
    else:
        more = f"; unknown: {unknown}" if s["images_without_patient"] else ""
        yield f"patients: {s['patients']}{more}"
    if several := s["patient_ids_under_several_sources"]:
        yield (
            f"patient ids under several sources: {len(several)}, for one {next(iter(several))!r} "
            f"under {', '.join(next(iter(several.values())))}; each counts as another person in "
            "each source (--join-patients: as one)"
        )
    if s["splits"]:
        yield f"splits: {counts(s['splits'])}"
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


def _short(measure: str, estimate: Estimate, why: dict[str, None]) -> str:
    """Return an estimate, shares in percent; why one is undefined is said once, below the table."""
    if not estimate.is_defined:
        why[estimate.note] = None
        return "undefined"
    written = METRICS[measure].written
    if written == "odds":
        value, low, high = (odds(x) for x in (estimate.value, estimate.low, estimate.high))
        return f"{value} [{low}, {high}]"
    return str(estimate) if written == "number" else estimate.percent()


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

    def written(value: Any) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:g}"
        return "" if value is None else str(value)

    columns = [c for c in plan.columns if c not in {"folder", "message"}]
    rows = [[written(value) for value in row] for row in plan[columns].to_numpy().tolist()]
    yield from table_lines(columns, rows)
    counts = plan["status"].value_counts()
    yield ""
    yield "; ".join(f"{n} {status}" for status, n in counts.items())
