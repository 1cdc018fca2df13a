"""Table of findings: one row per finding, and the questions that were asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.files import write_text
from hurdles.data.inputs import Input, digest, inputs_from
from hurdles.data.schemas import Schema
from hurdles.data.untrusted import as_csv, notebook_table
from hurdles.errors import EvaluationError
from hurdles.findings.finding import COULD_NOT, Finding, Verdict

__all__ = ["Findings"]

#: What its JSON file holds.
SCHEMA = Schema("urn:hurdles:findings:1", "hurdles.findings", "findings.schema.json")
#: Columns of `Findings.frame`.
COLUMNS: dict[str, str] = {
    "hurdle": "name of the hurdle",
    "subject": "what of the data or the model; empty where there is only one",
    "statistic": "what was measured",
    "value": "the number; empty where it is undefined",
    "low": "lower bound of its interval",
    "high": "upper bound of its interval",
    "level": "confidence level of the interval, within (0, 1)",
    "n_images": "images that it rests on",
    "n_patients": "patients among these",
    "scale": "what sort of number it is: count, share, AUC, ratio, difference or number",
    "limit": "a hit if all of the interval lies beyond it; empty where it is shown and not judged",
    "beyond": "the bad side of the limit: above or below",
    "source": "where the limit comes from",
    "margin": "cleared if all of the interval lies within it",
    "margin_source": "where the margin comes from",
    "verdict": "hit, inconclusive, cleared, could not run, failed, or shown",
    "to_settle": "about how many patients would settle what is inconclusive; inf: no number would",
    "note": "why it is undefined, or what weakens it",
    "advice": "what to do about a hit",
    "evidence": "names of images to look at, separated by a semicolon",
}


@dataclass(frozen=True, eq=False)
class Findings:
    """Findings of all hurdles.

    Parameters
    ----------
    rows : tuple of Finding
        In the order in which hurdles were run.
    questions : mapping of str to str
        What each hurdle asks, by its name; a hurdle that found nothing at all is among them.
    about : mapping of str to str
        What was looked at, with which versions, on which machine, when.
    inputs : tuple of Input
        Everything that they were made of, by its SHA-256; empty where nothing was read, or an
        earlier version wrote them.

    Raises
    ------
    EvaluationError
        If a finding is of a hurdle that was not asked, or the same thing was found twice.
    """

    rows: tuple[Finding, ...]
    questions: Mapping[str, str]
    about: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()

    def __post_init__(self) -> None:
        keys: set[tuple[str, str, str]] = set()
        for row in self.rows:
            if row.hurdle not in self.questions:
                raise EvaluationError(f"a finding is of {row.hurdle!r}, which was not asked.")
            key = (row.hurdle, row.subject, row.statistic)
            if key in keys:
                raise EvaluationError(f"{' / '.join(key)} was found twice; name subjects apart.")
            keys.add(key)

    def __len__(self) -> int:
        return len(self.rows)

    def _repr_html_(self) -> str:
        """Show the verdict of each hurdle; `frame` has every finding."""
        rows = [[h, str(self.verdict(h)), q, len(self.of(h))] for h, q in self.questions.items()]
        title = f"Findings: {len(self.questions)} hurdles, {len(self)} findings"
        notes = [f"{key}: {value}" for key, value in self.about.items() if key == "patients"]
        return notebook_table(title, ["hurdle", "verdict", "question", "findings"], rows, notes)

    @property
    def hurdles(self) -> list[str]:
        """Names of the hurdles that were asked, in their order."""
        return list(self.questions)

    def of(self, hurdle: str) -> list[Finding]:
        """Return the findings of one hurdle."""
        return [row for row in self.rows if row.hurdle == hurdle]

    def verdict(self, hurdle: str) -> Verdict:
        """Return a hurdle's verdict.

        Hit if one of its findings is; cleared only if everything that it judges is. Where a part
        of that could not run, the rest does not clear it: it is inconclusive.
        """
        rows = self.of(hurdle)
        # What stopped the hurdle stopped whatever it had not judged yet.
        judged = {r.verdict for r in rows if r.limit is not None or r.subject == COULD_NOT}
        for loudest in (Verdict.HIT, Verdict.FAILED):
            if loudest in judged:
                return loudest
        if judged:
            return judged.pop() if len(judged) == 1 else Verdict.INCONCLUSIVE
        is_shown = any(row.verdict is Verdict.SHOWN for row in rows)
        return Verdict.SHOWN if is_shown else Verdict.COULD_NOT_RUN

    def with_verdict(self, verdict: Verdict) -> list[str]:
        """Return the names of the hurdles with this verdict, in their order."""
        return [hurdle for hurdle in self.hurdles if self.verdict(hurdle) is verdict]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per finding; columns as in `COLUMNS`."""
        rows: list[dict[str, Any]] = []
        for row in self.rows:
            estimate, limit = row.estimate, row.limit
            rows.append(
                {
                    "hurdle": row.hurdle,
                    "subject": row.subject,
                    "statistic": row.statistic,
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "level": estimate.level,
                    "n_images": estimate.n_images,
                    "n_patients": estimate.n_patients,
                    "scale": str(row.scale),
                    "limit": None if limit is None else limit.value,
                    "beyond": "" if limit is None else str(limit.beyond),
                    "source": "" if limit is None else limit.source,
                    "margin": None if limit is None else limit.clears,
                    "margin_source": "" if limit is None else limit.margin_source,
                    "verdict": str(row.verdict),
                    "to_settle": row.to_settle,
                    "note": estimate.note,
                    "advice": row.advice,
                    "evidence": "; ".join(e.image for e in row.evidence),
                }
            )
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def made_of(self, inputs: Iterable[Input]) -> Findings:
        """Return the same findings with what they were made of."""
        return replace(self, inputs=tuple(inputs))

    @property
    def digest(self) -> str:
        """SHA-256 of all that `to_dict` returns, by which a page and its JSON know each other."""
        return str(self.to_dict()["digest"])

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, as ``findings.schema.json`` describes it.

        What was looked at, what it was made of, the verdict of each hurdle, every finding.
        """
        plain = {
            "schema": SCHEMA.id,
            "about": dict(self.about),
            "inputs": [each.to_dict() for each in self.inputs],
            "hurdles": [
                {"name": h, "question": q, "verdict": str(self.verdict(h))}
                for h, q in self.questions.items()
            ],
            "findings": [row.to_dict() for row in self.rows],
        }
        return {**plain, "digest": digest(plain)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Findings:
        """Read what `to_dict` wrote, or an earlier version did; verdicts are judged again.

        Raises
        ------
        EvaluationError
            If it is of another schema.
        """
        SCHEMA.require_known(plain)
        questions = {h["name"]: h["question"] for h in plain["hurdles"]}
        rows = tuple(Finding.from_dict(row) for row in plain["findings"])
        return cls(rows, questions, dict(plain["about"]), inputs_from(plain))

    def save(self, path: str | Path) -> Path:
        """Write all of it to `path` (JSON) and the table beside it (CSV); return the path."""
        path = Path(path)
        write_text(path.with_suffix(".csv"), as_csv(self.frame))
        write_text(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Findings:
        """Read what `save` wrote.

        Raises
        ------
        EvaluationError
            If the file holds no findings.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (
            ArithmeticError, AttributeError, KeyError, OSError, RecursionError, TypeError,
            ValueError,
        ) as error:  # fmt: skip
            raise EvaluationError(
                f"{path} holds no findings that this version reads ({type(error).__name__}: "
                f"{error}); run the check or the audit again."
            ) from error
