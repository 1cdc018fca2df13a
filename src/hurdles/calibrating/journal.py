"""The file of finished trials: lines are only ever added, so a kill costs the trials under way."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hurdles.data.files import write_text
from hurdles.errors import RunError
from hurdles.findings.finding import Beyond, Finding, Limit
from hurdles.findings.limits import CALIBRATED


@dataclass(frozen=True)
class Measured:
    """Part of a finding that decides its verdict, whatever the limit will be.

    Numbers are NaN where the estimate is undefined. `beyond` is empty where the finding is not
    judged; `fixed` is the limit where it holds by definition or from a paper, None where it is
    calibrated; within `margin` it is cleared.
    """

    hurdle: str
    subject: str
    value: float
    low: float
    high: float
    beyond: str
    fixed: float | None
    margin: float | None = None

    @classmethod
    def of(cls, finding: Finding) -> Measured:
        """Take from a finding what is needed."""
        estimate, limit = finding.estimate, finding.limit
        numbers = (finding.hurdle, finding.subject, estimate.value, estimate.low, estimate.high)
        if limit is None:
            return cls(*numbers, "", None)
        fixed = None if is_calibrated(limit) else limit.value
        return cls(*numbers, str(limit.beyond), fixed, limit.clears)

    @property
    def is_defined(self) -> bool:
        """True where there is a number."""
        return not math.isnan(self.value)

    @property
    def bound(self) -> float:
        """The deciding end of the interval, turned so that higher is worse; NaN if undefined."""
        return self.low if self.beyond == Beyond.ABOVE else -self.high


@dataclass(frozen=True)
class Record:
    """Result of a trial, known by its name: the hurdles that were asked, and every finding.

    `auc` is that of the network on images that it never saw, where one was trained.
    """

    trial: str
    asked: tuple[str, ...]
    found: tuple[Measured, ...]
    auc: float | None
    seconds: float

    def to_json(self) -> str:
        """Return one line, with infinity as text and NaN as null."""
        return json.dumps(_plain(asdict(self)), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Read what `to_json` wrote."""
        plain = json.loads(line)
        for row in plain["found"]:
            for key in ("value", "low", "high"):
                row[key] = math.nan if row[key] is None else float(row[key])
        measured = tuple(Measured(**row) for row in plain["found"])
        return cls(plain["trial"], tuple(plain["asked"]), measured, plain["auc"], plain["seconds"])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


class Journal:
    """Records in a file, one a line, under a first line that says what they are of.

    `about` holds whatever can change a number (profile, versions, code), for JSON. A file with
    trials of another calibration raises `RunError`.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        head = json.dumps({"about": dict(about)}, sort_keys=True)
        if not path.exists():
            write_text(path, head + "\n")
            return
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        lines = whole.splitlines()
        if not lines or lines[0] != head:
            raise RunError(
                f"{path} holds trials of another calibration (settings, versions or hurdles "
                "differ), or other things; give another --out."
            )
        if whole != text:  # killed within a line
            write_text(path, whole)
        for line in lines[1:]:
            record = Record.from_json(line)
            self.records[record.trial] = record

    def add(self, record: Record) -> None:
        """Append a record; a trial that is there already is not written again."""
        if record.trial in self.records:
            return
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(record.to_json() + "\n")
        self.records[record.trial] = record

    def among(self, names: Iterable[str]) -> list[Record]:
        """Return the records of these trials, in this order, as far as they are there."""
        return [self.records[name] for name in names if name in self.records]


def is_calibrated(limit: Limit) -> bool:
    """Return whether a limit comes from a calibration, or is to come from one."""
    return limit.source.startswith(("provisional", CALIBRATED))
