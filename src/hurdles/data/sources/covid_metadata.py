"""The ``metadata.csv`` that Cohen's, Figure 1's and Actualmed's collections have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.cells import age_of, sex_of, view_of
from hurdles.data.sources.collection import read_rows
from hurdles.data.tally import Tally, walk
from hurdles.data.vocabulary import View

_UNKNOWN = {"", "todo", "unknown", "?", "nan"}
#: What the tables call pneumonia without always saying the word: germs, and kinds.
_PNEUMONIAS = {
    "aspiration", "aspergillosis", "bacterial", "chlamydophila", "e.coli", "fungal", "h1n1",
    "herpes", "influenza", "klebsiella", "legionella", "lipoid", "mers", "mers-cov", "mrsa",
    "mycoplasma", "nocardia", "pneumocystis", "pneumonia", "sars", "staphylococcus",
    "streptococcus", "varicella", "viral",
}  # fmt: skip

Row = dict[str, str]


def label_of(finding: str) -> str | None:
    """Return the class of a raw ``finding``, or None where it tells no class.

    COVID-19 wins over what is named beside it; then every named pneumonia is "Other Pneumonia";
    "No Finding" is "Normal". ARDS alone is a syndrome, tuberculosis another disease: neither is a
    class here.

    Examples
    --------
    >>> label_of("COVID-19, ARDS"), label_of("Pneumonia/Viral/COVID-19")
    ('COVID-19', 'COVID-19')
    >>> label_of("Mycoplasma Bacterial Pneumonia"), label_of("No Finding")
    ('Other Pneumonia', 'Normal')
    >>> label_of("todo") is None, label_of("ARDS") is None, label_of("Tuberculosis") is None
    (True, True, True)
    """
    text = finding.strip().lower()
    if text in _UNKNOWN:
        return None
    words = {word for word in re.split(r"[\s,/]+", text) if word}
    if "covid-19" in words:
        return "COVID-19"
    if words & _PNEUMONIAS:
        return "Other Pneumonia"
    return "Normal" if text == "no finding" else None


def read_family(
    root: Path,
    source: str,
    *,
    locate: Callable[[Row, dict[str, Path]], Path],
    patient: Callable[[Row], str | None],
    view_required: bool,
    extra: Iterable[tuple[str, str]],
    mask: Callable[[Path], Path | None] = lambda _: None,
) -> Manifest:
    """Read ``metadata.csv`` and ``images/``; every row and every file is kept or left out."""
    tally = Tally(root, source)
    columns = list(extra)
    seen = list(walk(root / "images")) if (root / "images").is_dir() else []
    files = {file.path.name: file.path for file in seen if not file.refusal}
    for row in read_rows(root / "metadata.csv"):
        path = locate(row, files)
        label = label_of(row.get("finding", ""))
        reason = _reason(row, path, files, label, view_required)
        if reason or label is None:
            tally.leave(path, reason)
            continue
        lungs = mask(path)
        tally.keep(
            path,
            label,
            patient=patient(row),
            view=view_of(row.get("view", "")),
            sex=sex_of(row.get("sex", "")),
            age=age_of(row.get("age", "")),
            mask=str(lungs) if lungs else None,
            **{name: row.get(column) or None for column, name in columns},
        )
    for file in seen:
        if file.refusal:
            tally.leave(file.path, file.refusal)
    tally.leave_rest(files.values(), "not named in metadata.csv")
    return tally.manifest()


def _reason(
    row: Row, path: Path, files: dict[str, Path], label: str | None, view_required: bool
) -> str:
    """Return why a row cannot be used, the plainest reason first; empty where it can."""
    modality, view = row.get("modality", ""), row.get("view", "")
    known = view_of(view)
    if modality and modality.lower() not in {"x-ray", "cxr", "dx", "cr"}:
        return f"{modality}, no X-ray"
    if known == View.LATERAL.value:
        return "a lateral view"
    if known is None and view not in {"", "?"}:
        return f"view {view!r}, not frontal"
    if known is None and view_required:
        return "the view is not stated"
    if label is None:
        finding = row.get("finding", "")
        return f"finding {finding!r} tells no class" if finding else "no finding is stated"
    if path.name not in files:
        return "named in metadata.csv, but the file is missing"
    return ""
